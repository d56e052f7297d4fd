//! From TOML to a valid manifest. One function a table; each reads all of its
//! keys, so that every problem is found at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use http::HeaderName;
use toml::de::DeTable;

use super::reader::{At, Fields, Source as Text, nearest};
use super::{
    ClientKey, Credential, Environment, Log, Manifest, Match, OutputTarget, PluginEntry, Problem,
    Problems, RouteEntry, SecretSource, Server, Source, WithoutCredential,
};
use crate::plugin::{Grant, Limits, MAX_MEMORY, OnFailure};

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

fn whole(file: &Path, root: &Fields, environment: &Environment) -> Option<Manifest> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let server = server(root);
    let log = log(root);
    let credentials: std::collections::BTreeMap<_, _> = named(root, "credentials")
        .into_iter()
        .filter_map(|(name, fields)| Some((name, credential(fields, environment)?)))
        .collect();
    let keys: Vec<_> = named(root, "keys")
        .into_iter()
        .filter_map(|(name, fields)| client_key(name, fields, environment))
        .collect();
    let plugins: std::collections::BTreeMap<_, _> = named(root, "plugins")
        .into_iter()
        .filter_map(|(name, fields)| Some((name.clone(), plugin(name, fields, directory)?)))
        .collect();
    let routes: Vec<_> = root
        .tables("routes")
        .into_iter()
        .filter_map(route)
        .collect();
    let manifest = Manifest {
        file: file.to_owned(),
        server,
        log,
        credentials,
        keys,
        plugins,
        routes,
    };
    references(root, &manifest);
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

fn server(root: &Fields) -> Server {
    let default = Server::default();
    let Some(fields) = root.table("server") else {
        return default;
    };
    let listen = fields
        .string("listen")
        .and_then(|at| match at.value.parse::<SocketAddr>() {
            Ok(address) => Some(address),
            Err(_) => {
                let hint = "write an address and a port: \"127.0.0.1:8000\", \"[::]:8000\"";
                fields.problem(at.line, format!("`listen` is {:?}", at.value), Some(hint));
                None
            }
        });
    let size = |key, default: usize| fields.size(key).map_or(default, |at| at.value.max(1));
    let server = Server {
        listen: listen.unwrap_or(default.listen),
        cors_origins: fields
            .strings("cors-origins")
            .into_iter()
            .map(|at| at.value)
            .collect(),
        max_request_body: size("max-request-body", default.max_request_body),
        max_response_body: size("max-response-body", default.max_response_body),
        max_frame: size("max-frame", default.max_frame),
        max_connections: fields
            .count("max-connections")
            .unwrap_or(default.max_connections),
        max_exchanges: fields
            .count("max-exchanges")
            .unwrap_or(default.max_exchanges),
        max_instances: fields
            .count("max-instances")
            .unwrap_or(default.max_instances),
        request_timeout: fields
            .duration("request-timeout")
            .unwrap_or(default.request_timeout),
        drain_timeout: fields
            .duration("drain-timeout")
            .unwrap_or(default.drain_timeout),
        settle: fields.duration("settle").unwrap_or(default.settle),
    };
    fields.done();
    server
}

fn log(root: &Fields) -> Log {
    let mut log = Log {
        level: "info".to_owned(),
        json: false,
    };
    let Some(fields) = root.table("log") else {
        return log;
    };
    if let Some(level) = fields.string("level") {
        if level
            .value
            .parse::<tracing_subscriber::filter::Targets>()
            .is_err()
        {
            let hint = "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
            fields.problem(
                level.line,
                format!("`level` is {:?}", level.value),
                Some(hint),
            );
        }
        log.level = level.value;
    }
    log.json = choice(&fields, "format", &[("text", false), ("json", true)]).unwrap_or(false);
    fields.done();
    log
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

/// `env = "NAME"` or `file = "path"`: exactly one of them.
fn secret_source(fields: &Fields) -> Option<SecretSource> {
    match (fields.string("env"), fields.string("file")) {
        (Some(name), None) => Some(SecretSource::Variable(name.value)),
        (None, Some(path)) => Some(SecretSource::File(path.value.into())),
        _ => {
            let hint = "a secret itself never stands in the manifest";
            let message = format!("[{}] needs either `env` or `file`", fields.name);
            fields.problem(fields.line, message, Some(hint));
            None
        }
    }
}

fn credential(fields: Fields, environment: &Environment) -> Option<Credential> {
    let source = secret_source(&fields);
    let hosts: BTreeSet<_> = fields
        .strings("hosts")
        .into_iter()
        .map(|at| at.value.to_ascii_lowercase())
        .collect();
    if hosts.is_empty() {
        let message = format!("[{}] is bound to no host", fields.name);
        fields.problem(
            fields.line,
            message,
            Some("name them: hosts = [\"api.openai.com\"]"),
        );
    }
    let secret = source.as_ref().and_then(|source| {
        environment.secret(source).unwrap_or_else(|message| {
            fields.problem(fields.line_of("file"), message, None);
            None
        })
    });
    if secret
        .as_ref()
        .is_some_and(|s| !s.expose().bytes().all(|b| (0x21..0x7f).contains(&b)))
    {
        let message = format!(
            "the secret of [{}] holds white space or control characters",
            fields.name
        );
        fields.problem(fields.line, message, None);
    }
    fields.done();
    Some(Credential {
        source: source?,
        secret,
        hosts,
    })
}

fn client_key(name: String, fields: Fields, environment: &Environment) -> Option<ClientKey> {
    let source = secret_source(&fields);
    let secret = source
        .as_ref()
        .and_then(|source| match environment.secret(source) {
            Ok(Some(secret)) => Some(secret),
            Ok(None) => {
                let message =
                    format!("the key \"{name}\" is not there: {source} is not set or empty");
                fields.problem(fields.line, message, None);
                None
            }
            Err(message) => {
                fields.problem(fields.line_of("file"), message, None);
                None
            }
        });
    fields.done();
    Some(ClientKey {
        name,
        secret: secret?,
    })
}

fn plugin(name: String, fields: Fields, directory: &Path) -> Option<PluginEntry> {
    let source = fields.required("source");
    let (config, config_lines) = fields.json("config").unwrap_or_default();
    let config = if config.is_null() {
        "{}".to_owned()
    } else {
        config.to_string()
    };
    let entry = source.map(|source| PluginEntry {
        name,
        line: fields.line,
        source: match source.value.strip_prefix("builtin:") {
            Some(builtin) => Source::Builtin(builtin.to_owned()),
            None => Source::File(directory.join(&source.value)),
        },
        source_line: source.line,
        config,
        config_lines,
        grants: grants(&fields),
        limits: limits(&fields),
        on_failure: choice(
            &fields,
            "on-failure",
            &[("reject", OnFailure::Reject), ("bypass", OnFailure::Bypass)],
        ),
        output: output(&fields, directory),
        upstream: upstream(&fields),
        credential: fields.string("credential").map(|at| at.value),
    });
    if entry.is_some() {
        fields.done();
    }
    entry
}

fn grants(fields: &Fields) -> BTreeSet<Grant> {
    let asked = fields.strings("grants").into_iter();
    let known = asked.filter_map(|at| {
        let grant = Grant::ALL
            .into_iter()
            .find(|grant| grant.to_string() == at.value);
        if grant.is_none() {
            let all: Vec<_> = Grant::ALL
                .iter()
                .map(|grant| format!("\"{grant}\""))
                .collect();
            let hint = format!("there are {}", all.join(", "));
            fields.problem(
                at.line,
                format!("there is no grant \"{}\"", at.value),
                Some(&hint),
            );
        }
        grant
    });
    known.collect()
}

fn limits(fields: &Fields) -> Limits {
    let default = Limits::default();
    let Some(fields) = fields.table("limits") else {
        return default;
    };
    let memory = fields.size("memory");
    if let Some(at) = memory
        .as_ref()
        .filter(|at| at.value > MAX_MEMORY || at.value < 1 << 20)
    {
        let message = format!("`memory` is {} bytes", at.value);
        fields.problem(
            at.line,
            message,
            Some("it is at least 1MiB and at most 1GiB"),
        );
    }
    let limits = Limits {
        time: fields.duration("time").unwrap_or(default.time),
        memory: memory.map_or(default.memory, |at| at.value),
        output: fields.size("output").map_or(default.output, |at| at.value),
    };
    fields.done();
    limits
}

fn output(fields: &Fields, directory: &Path) -> OutputTarget {
    match fields.string("output").map(|at| at.value).as_deref() {
        None | Some("log") => OutputTarget::Log,
        Some("stdout") => OutputTarget::Stdout,
        Some(path) => OutputTarget::File(directory.join(path)),
    }
}

fn upstream(fields: &Fields) -> Option<reqwest::Url> {
    let at = fields.string("upstream")?;
    let wrong = |message: String, hint: &str| {
        fields.problem(at.line, message, Some(hint));
        None
    };
    let url = match reqwest::Url::parse(&at.value) {
        Ok(url) => url,
        Err(e) => {
            return wrong(
                format!("`upstream` is not a URL: {e}"),
                "\"https://host/path\"",
            );
        }
    };
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return wrong(
            "`upstream` is not an http or https URL".into(),
            "\"https://host/path\"",
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "name a credential instead";
        return wrong("`upstream` holds a user name or a password".into(), hint);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong(
            "`upstream` has a query or a fragment".into(),
            "write the path alone",
        );
    }
    Some(url)
}

fn route(fields: Fields) -> Option<RouteEntry> {
    let name = fields.required("name");
    if let Some(name) = &name {
        check_name(&fields, &name.value);
    }
    let provider = fields.required("provider");
    let matches = fields.table("match").map(matches).unwrap_or_default();
    let filters = fields.strings("filters");
    let rewriter = fields.string("rewriter");
    let loggers = fields.strings("loggers");
    let without_credential = choice(
        &fields,
        "without-credential",
        &[
            ("refuse", WithoutCredential::Refuse),
            ("skip", WithoutCredential::Skip),
        ],
    );
    let first_byte = fields.duration("first-byte-timeout");
    let idle = fields.duration("idle-timeout");
    let line = fields.line;
    fields.done();
    Some(RouteEntry {
        name: name?.value,
        line,
        matches,
        filters,
        rewriter,
        provider: provider?,
        loggers,
        without_credential: without_credential.unwrap_or(WithoutCredential::Refuse),
        first_byte_timeout: first_byte.unwrap_or(Duration::from_secs(600)),
        idle_timeout: idle.unwrap_or(Duration::from_secs(300)),
    })
}

fn matches(fields: Fields) -> Match {
    let globs = |list: Vec<At<String>>| list.iter().filter_map(|at| glob(&fields, at)).collect();
    let headers = fields.pairs("header").into_iter().filter_map(|(name, at)| {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            fields.problem(
                at.line,
                format!("{name:?} is not a header field's name"),
                None,
            );
            return None;
        };
        Some((name, glob(&fields, &at)?))
    });
    let matches = Match {
        paths: globs(fields.strings("path")),
        models: globs(fields.strings("model")),
        headers: headers.collect(),
        keys: fields
            .strings("key")
            .into_iter()
            .map(|at| at.value)
            .collect(),
    };
    fields.done();
    matches
}

fn glob(fields: &Fields, at: &At<String>) -> Option<GlobMatcher> {
    match GlobBuilder::new(&at.value).literal_separator(false).build() {
        Ok(glob) => Some(glob.compile_matcher()),
        Err(e) => {
            fields.problem(
                at.line,
                format!("{:?} is not a glob: {}", at.value, e.kind()),
                None,
            );
            None
        }
    }
}

/// Checks every name that refers to another table, and what belongs together.
fn references(root: &Fields, manifest: &Manifest) {
    if root.tables("routes").is_empty() {
        root.problem(
            1,
            "there is no route".to_owned(),
            Some("add a [[routes]] table"),
        );
    }
    let mut seen = BTreeSet::new();
    for route in &manifest.routes {
        if !seen.insert(&route.name) {
            root.problem(
                route.line,
                format!("there are two routes \"{}\"", route.name),
                None,
            );
        }
        let single = route.rewriter.iter().chain([&route.provider]);
        for at in route.filters.iter().chain(&route.loggers).chain(single) {
            refer(root, "plugin", at, manifest.plugins.keys());
        }
        for key in &route.matches.keys {
            let at = At {
                value: key.clone(),
                line: route.line,
            };
            refer(root, "key", &at, manifest.keys.iter().map(|key| &key.name));
        }
    }
    for plugin in manifest.plugins.values() {
        let Some(name) = &plugin.credential else {
            continue;
        };
        let at = At {
            value: name.clone(),
            line: plugin.line,
        };
        refer(root, "credential", &at, manifest.credentials.keys());
        bound(root, plugin, manifest.credentials.get(name));
    }
}

/// Whether the plugin's upstream is one of the hosts that its credential is
/// bound to.
fn bound(root: &Fields, plugin: &PluginEntry, credential: Option<&Credential>) {
    let (Some(credential), Some(name)) = (credential, &plugin.credential) else {
        return;
    };
    let Some(host) = plugin.upstream.as_ref().and_then(|url| url.host_str()) else {
        let message = format!(
            "[plugins.{}] has a credential and no `upstream`",
            plugin.name
        );
        root.problem(
            plugin.line,
            message,
            Some("name the base URL that it is for"),
        );
        return;
    };
    if !credential.hosts.contains(host) {
        let message = format!("credential \"{name}\" is not bound to host {host}");
        let hint = format!("add it to `hosts` in [credentials.{name}], if it may be sent there");
        root.problem(plugin.line, message, Some(&hint));
    }
}

fn refer<'n>(
    root: &Fields,
    what: &str,
    at: &At<String>,
    known: impl Iterator<Item = &'n String> + Clone,
) {
    if known.clone().any(|name| *name == at.value) {
        return;
    }
    let near = nearest(&at.value, known.map(String::as_str));
    let hint = near.map(|near| format!("did you mean \"{near}\"?"));
    root.problem(
        at.line,
        format!("there is no {what} \"{}\"", at.value),
        hint.as_deref(),
    );
}
