//! From TOML to a valid manifest. One function a table; each reads all of its
//! keys, so that every problem is found at once.
//!
//! A file a table, or two that belong together; `references` then checks what
//! one table says of another.

mod admin;
mod plugins;
mod references;
mod reload;
mod routes;
mod secrets;
mod server;

use std::path::Path;

use toml::de::DeTable;

use super::reader::{Fields, Source as Text};
use super::{Admin, Environment, Manifest, Problem, Problems};

/// Names of plugins, routes, keys and credentials stand in headers, logs and
/// metrics, so they are kept to what needs no quoting anywhere.
const NAME_RULE: &str = "1 to 64 letters, digits, \"-\", \"_\" or \".\"";

pub(super) fn manifest(
    file: &Path,
    text: &str,
    environment: &Environment,
) -> Result<Manifest, Problems> {
    let source = Text::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map(|span| source.line(&span));
        source.problem(line, error.message().to_owned(), None);
    }
    let manifest = errors.is_empty().then(|| {
        let root = Fields::new(&source, String::new(), &root);
        let manifest = whole(file, &root, environment);
        root.done();
        manifest
    });
    let mut list: Vec<Problem> = source.into_problems();
    match manifest.flatten() {
        Some(manifest) if list.is_empty() => Ok(manifest),
        _ => {
            list.sort_by_key(|problem| problem.line);
            Err(Problems {
                file: file.to_owned(),
                list,
            })
        }
    }
}

/// Reads where a gateway is administered, and nothing else.
pub(super) fn only_admin(file: &Path, text: &str) -> Result<Option<Admin>, Problems> {
    let source = Text::new(text);
    let (root, _) = DeTable::parse_recoverable(text);
    let root = Fields::new(&source, String::new(), &root);
    let admin = admin::admin(&root, directory(file));
    let list = source.into_problems();
    if list.is_empty() {
        return Ok(admin);
    }
    Err(Problems {
        file: file.to_owned(),
        list,
    })
}

/// What paths in a manifest are relative to.
fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

fn whole(file: &Path, root: &Fields, environment: &Environment) -> Option<Manifest> {
    let directory = directory(file);
    let server = server::server(root, directory);
    let log = server::log(root);
    let reload = reload::reload(root);
    let admin = admin::admin(root, directory);
    let credentials: std::collections::BTreeMap<_, _> = named(root, "credentials")
        .into_iter()
        .filter_map(|(name, fields)| Some((name, secrets::credential(fields, environment)?)))
        .collect();
    let keys: Vec<_> = named(root, "keys")
        .into_iter()
        .filter_map(|(name, fields)| secrets::client_key(name, fields, environment))
        .collect();
    let plugins: std::collections::BTreeMap<_, _> = named(root, "plugins")
        .into_iter()
        .filter_map(|(name, fields)| {
            Some((name.clone(), plugins::plugin(name, fields, directory)?))
        })
        .collect();
    let routes: Vec<_> = root
        .tables("routes")
        .into_iter()
        .filter_map(routes::route)
        .collect();
    let manifest = Manifest {
        file: file.to_owned(),
        server,
        reload,
        admin,
        log,
        credentials,
        keys,
        plugins,
        routes,
    };
    references::references(root, &manifest);
    Some(manifest)
}

/// The entries of a table of tables whose names are in order.
fn named<'s, 't>(root: &Fields<'s, 't>, key: &'static str) -> Vec<(String, Fields<'s, 't>)> {
    let entries = root.named(key);
    for (name, fields) in &entries {
        check_name(fields, name);
    }
    entries
}

fn check_name(fields: &Fields, name: &str) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        fields.problem(
            fields.line,
            format!("{name:?} is not a name: {NAME_RULE}"),
            None,
        );
    }
}

/// One of a few words.
fn choice<T: Copy>(fields: &Fields, key: &'static str, words: &[(&str, T)]) -> Option<T> {
    let at = fields.string(key)?;
    let found = words
        .iter()
        .find(|(word, _)| *word == at.value)
        .map(|(_, value)| *value);
    if found.is_none() {
        let all: Vec<_> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let hint = format!("write {}", all.join(" or "));
        fields.problem(at.line, format!("`{key}` is {:?}", at.value), Some(&hint));
    }
    found
}
