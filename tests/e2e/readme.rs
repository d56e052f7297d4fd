//! README.md and `proxy.toml` say what is: their commands print what they say,
//! they name every key and every plugin, and their defaults are the real ones.

mod document;
mod shell;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use palisade::manifest::{Environment, Manifest};
use serde_json::Value;

use document::{Step, blocks, code, matches, rows};

fn read(name: &str) -> String {
    let file = shell::root().join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Runs a group of blocks and compares what they print with what is said.
fn works_as_printed(group: &str) {
    let mut blocks = blocks(&read("README.md"));
    blocks.retain(|block| block.group == group);
    let told = blocks.iter().filter(|block| block.output.is_some());
    assert!(told.count() > 2, "the blocks of \"{group}\" have marks");
    let Some(finished) = shell::run(group, &blocks) else {
        return;
    };
    let mut wrong = String::new();
    for block in &blocks {
        let printed = finished.printed(block);
        let expected = match (&block.output, &block.step) {
            (Some(output), _) => finished.with_ports(output),
            (None, Step::File(_)) => continue,
            // What prints nothing worth telling may still have failed.
            (None, _) => "…\n".to_owned(),
        };
        if let Err(difference) = matches(&expected, &printed) {
            let _ = writeln!(wrong, "README.md:{}: {difference}\n", block.line);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_first_commands_work_as_printed() {
    works_as_printed("first");
}

#[test]
fn the_demonstration_works_as_printed() {
    works_as_printed("demo");
}

/// `cargo run` has to know which of the workspace's programs is meant.
#[test]
fn cargo_run_runs_palisade() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let output = cargo.current_dir(shell::root()).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let members = list(&metadata["workspace_default_members"]);
    let mut packages = list(&metadata["packages"]);
    packages.retain(|package| members.contains(&package["id"]));
    let by_default: Vec<&str> = packages
        .iter()
        .filter_map(|package| package["default_run"].as_str())
        .collect();
    let programs: Vec<String> = packages
        .iter()
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| list(&target["kind"]).iter().any(|kind| kind == "bin"))
        .map(|target| target["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let chosen = match &by_default[..] {
        [] => programs.iter().map(String::as_str).collect(),
        chosen => chosen.to_vec(),
    };
    assert_eq!(
        chosen,
        ["palisade"],
        "`cargo run` finds {programs:?} and no `default-run = \"palisade\"`"
    );
}

/// The keys that reading the manifest asks for, by the calls that ask.
fn known_keys() -> BTreeSet<String> {
    let directory = shell::root().join("host/src/manifest/read");
    let files = std::fs::read_dir(directory).expect("the manifest's reader");
    let source: String = files
        .filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let calls = [
        ".string(",
        ".required(",
        ".count(",
        ".size(",
        ".duration(",
        ".duration_or_off(",
        ".flag(",
        ".strings(",
        ".table(",
        ".tables(",
        ".pairs(",
        ".json(",
        "size(",
        "named(root,",
        "choice(&fields,",
        "choice(fields,",
        "string_is(",
        "size(",
        "count(",
    ];
    let asked = calls.iter().flat_map(|call| {
        let after = source.split(*call).skip(1);
        after.filter_map(|rest| rest.strip_prefix('"')?.split_once('"'))
    });
    asked.map(|(key, _)| key.to_owned()).collect()
}

/// Whether a word stands in a text by itself.
fn names(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[test]
fn every_key_and_every_plugin_is_named() {
    let keys = known_keys();
    assert!(keys.len() > 40 && keys.contains("settle"), "{keys:?}");
    let (readme, reference) = (read("README.md"), read("proxy.toml"));
    let told = code(&readme.replace("```", "")).join(" ");
    let mut missing = Vec::new();
    for key in &keys {
        missing.extend((!names(&told, key)).then(|| format!("`{key}` in README.md")));
        missing.extend((!names(&reference, key)).then(|| format!("`{key}` in proxy.toml")));
    }
    for plugin in palisade::builtin::names() {
        let source = format!("source = \"builtin:{plugin}\"");
        missing.extend((!names(&told, plugin)).then(|| format!("`{plugin}` in README.md")));
        missing.extend((!reference.contains(&source)).then(|| format!("{source} in proxy.toml")));
        for key in documented_keys(plugin) {
            let is_told = told_keys(&readme, plugin).contains(&key);
            missing.extend((!is_told).then(|| format!("`{key}` of {plugin} in README.md")));
        }
    }
    assert!(missing.is_empty(), "missing: {}", missing.join(", "));
}

/// The keys of a plugin's configuration, as the head of its `lib.rs` shows.
fn documented_keys(plugin: &str) -> Vec<String> {
    let source = read(&format!("plugins/{plugin}/src/lib.rs"));
    let example = source.split("//! ```toml\n").nth(1).unwrap_or_default();
    let lines = example.lines().take_while(|line| *line != "//! ```");
    let keys = lines.filter_map(|line| {
        let (key, _) = line.strip_prefix("//! ")?.split_once(" = ")?;
        let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        (is_key && !key.is_empty()).then(|| key.to_owned())
    });
    keys.collect()
}

/// The keys of a plugin's configuration, as the table in README.md shows.
fn told_keys(readme: &str, plugin: &str) -> Vec<String> {
    let rows = rows(readme, "plugin | key");
    let from = rows
        .iter()
        .skip_while(|(names, _)| !names.iter().any(|name| name == plugin));
    let own = from
        .enumerate()
        .take_while(|(i, (names, _))| *i == 0 || names.is_empty());
    own.flat_map(|(_, (_, keys))| code(keys)).collect()
}

/// A manifest that says nothing but what it must, besides these lines.
fn manifest(tables: [&str; 5]) -> Manifest {
    let [server, reload, log, plugin, route] = tables;
    let text = format!(
        "[server]\n{server}\n[reload]\n{reload}\n[log]\n{log}\n\
         [plugins.echo]\nsource = \"builtin:provider-echo\"\n{plugin}\n\
         [[routes]]\nname = \"all\"\nprovider = \"echo\"\n{route}\n"
    );
    let environment = Environment::of(&[], Path::new("."));
    Manifest::parse(Path::new("told"), &text, &environment)
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn assert_defaults(what: &str, told: &Manifest) {
    let real = manifest([""; 5]);
    assert_eq!(told.server, real.server, "{what}");
    assert_eq!(told.reload, real.reload, "{what}");
    assert_eq!(told.log, real.log, "{what}");
    let (a, b) = (&told.plugins["echo"], &real.plugins["echo"]);
    assert_eq!(
        (&a.config, &a.grants, &a.limits, &a.output),
        (&b.config, &b.grants, &b.limits, &b.output),
        "{what}"
    );
    assert_eq!((a.breaker, a.instances), (b.breaker, b.instances), "{what}");
    let (a, b) = (&told.routes[0], &real.routes[0]);
    assert_eq!(
        (a.without_credential, a.first_byte_timeout, a.idle_timeout),
        (b.without_credential, b.first_byte_timeout, b.idle_timeout),
        "{what}"
    );
    assert_eq!((a.filters.len(), a.loggers.len()), (0, 0), "{what}");
}

#[test]
fn the_defaults_that_the_readme_tells_are_the_real_ones() {
    let readme = read("README.md");
    let lines = |table: &str, least: usize| {
        let mut lines = String::new();
        for (keys, default) in rows(&readme, table) {
            if let ([key], [value]) = (&keys[..], &code(&default)[..]) {
                let _ = writeln!(lines, "{key} = {value}");
            }
        }
        assert!(lines.lines().count() >= least, "{table}: {lines}");
        lines
    };
    let told = manifest([
        &lines("`[server]`", 10),
        &lines("`[reload]`", 5),
        &lines("`[log]`", 2),
        &lines("`[plugins.NAME]`", 4),
        &lines("`[[routes]]`", 6),
    ]);
    assert_defaults("README.md", &told);
}

#[test]
fn the_defaults_that_the_reference_shows_are_the_real_ones() {
    let reference = read("proxy.toml");
    let shown = |keys: &[&str]| {
        let mut lines = String::new();
        for key in keys {
            let commented = format!("# {key} = ");
            let mut found = reference
                .lines()
                .filter(|line| line.starts_with(&commented));
            let line = found
                .next()
                .unwrap_or_else(|| panic!("no default of {key}"));
            let _ = writeln!(lines, "{}", &line[2..]);
        }
        lines
    };
    let told = manifest([
        &shown(&[
            "max-request-body",
            "max-response-body",
            "max-frame",
            "max-connections",
            "max-exchanges",
            "max-instances",
            "request-timeout",
            "drain-timeout",
            "settle",
        ]),
        &shown(&["watch", "keep", "max-draining", "auto-rollback", "locked"]),
        &shown(&["format"]),
        &shown(&[
            "config",
            "grants",
            "limits",
            "breaker",
            "instances",
            "output",
        ]),
        &shown(&[
            "filters",
            "loggers",
            "without-credential",
            "first-byte-timeout",
            "idle-timeout",
        ]),
    ]);
    assert_defaults("proxy.toml", &told);
}
