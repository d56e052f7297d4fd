//! Palisade as a subject: manifests with so many plugins, and with each policy
//! of instances that the program knows.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Found, Launch, Subject, Workshop, chat, free_address, version};

/// How long an instance of a plugin lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// What a manifest that says nothing gets: made for each exchange from
    /// memory as it was after its configuration.
    Default,
    /// Made and configured for each exchange.
    Fresh,
    /// Used again, so many times.
    Reuse,
}

impl Policy {
    const NAMED: [Self; 2] = [Self::Fresh, Self::Reuse];

    /// The line of a plugin's manifest entry.
    fn line(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Fresh => "instances = \"fresh\"\n",
            Self::Reuse => "instances = { reuse = 1000 }\n",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Default => "palisade-4",
            Self::Fresh => "palisade-4-fresh",
            Self::Reuse => "palisade-4-reuse",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Default => "filter, rewriter, adapter, logger, from snapshots",
            Self::Fresh => "the four, instances fresh",
            Self::Reuse => "the four, instances reused",
        }
    }
}

const ADAPTER: &str = r#"
[plugins.adapter]
source = "builtin:provider-openai"
upstream = "http://{upstream}/v1"
credential = "upstream"
"#;

const ANTHROPIC: &str = r#"
[plugins.adapter]
source = "builtin:provider-anthropic"
upstream = "http://{upstream}"
credential = "upstream"
"#;

const FILTER: &str = r#"
[plugins.filter]
source = "builtin:security-filter"
config = { forbidden-instructions = [
    "system:*ignore previous instructions*",
    "user:*ignore all previous instructions*",
], allowed-models = ["gpt-4o*", "claude-*"], max-tokens = 4000 }
"#;

const REWRITER: &str = r#"
[plugins.rewriter]
source = "builtin:model-rewriter"
config = { rules = [
    { from = "openai/*", to = "*" },
    { from = "anthropic/*", to = "*" },
    { from = "gpt-4o", to = "gpt-4o-2024-08-06" },
] }
"#;

const LOGGER: &str = r#"
[plugins.logger]
source = "builtin:logger"
output = "exchanges.jsonl"
"#;

const WATCHER: &str = r#"
[plugins.watcher]
source = "watcher.wasm"
"#;

/// The route of four plugins; a list of filters stands for `{filters}`.
const FOUR: &str = r#"
[[routes]]
name = "all"
filters = [{filters}]
rewriter = "rewriter"
provider = "adapter"
loggers = ["logger"]
"#;

/// Every manifest that the program at hand takes.
pub fn all(workshop: &Workshop) -> anyhow::Result<Vec<Found>> {
    let route = |stages: &str| format!("[[routes]]\nname = \"all\"\n{stages}");
    let none = route("upstream = \"http://{upstream}\"\ncredential = \"upstream\"\n");
    let adapter = format!("{ADAPTER}{}", route("provider = \"adapter\"\n"));
    let filter = route("filters = [\"filter\"]\nprovider = \"adapter\"\n");
    let filter = format!("{ADAPTER}{FILTER}{filter}");
    let watched = four(ADAPTER, Policy::Default, "\"filter\", \"watcher\"") + WATCHER;
    let translated = four(ANTHROPIC, Policy::Default, "\"filter\"");
    let manifests = [
        ("palisade-0", "no plugin", none),
        ("palisade-1", "adapter", adapter),
        ("palisade-2", "filter, adapter", filter),
        (
            "palisade-4-events",
            "the four and a filter of every event",
            watched,
        ),
        (
            "palisade-4-anthropic",
            "the four, translated to Anthropic and back",
            translated,
        ),
    ];
    let mut found = vec![Found::here(with_policy(workshop, Policy::Default)?)];
    for (name, what, manifest) in manifests {
        found.push(Found::here(subject(workshop, (name, what), &manifest)?));
    }
    for policy in Policy::NAMED {
        let subject = with_policy(workshop, policy)?;
        found.push(match check(&workshop.palisade, &subject) {
            Ok(()) => Found::here(subject),
            Err(_) => Found::absent(&subject.name, "this palisade does not know the policy"),
        });
    }
    Ok(found)
}

/// The four plugins, with instances by a policy.
pub fn with_policy(workshop: &Workshop, policy: Policy) -> anyhow::Result<Subject> {
    let manifest = four(ADAPTER, policy, "\"filter\"");
    subject(workshop, (policy.name(), policy.what()), &manifest)
}

/// See [`super::for_streams`].
pub fn for_streams(workshop: &Workshop, streams: usize, watched: bool) -> anyhow::Result<Subject> {
    let filters = if watched {
        "filters = [\"watcher\"]\n"
    } else {
        ""
    };
    let watcher = if watched { WATCHER } else { "" };
    let room = streams + 100;
    let server = format!(
        "max-connections = {room}\nmax-exchanges = {room}\nmax-instances = {}\n",
        room * 2
    );
    let manifest =
        format!("{ADAPTER}{watcher}[[routes]]\nname = \"all\"\nprovider = \"adapter\"\n{filters}");
    with_server(
        workshop,
        ("palisade-streams", "adapter"),
        &server,
        &manifest,
    )
}

/// The file of the plugin that is saved anew (`bench reload`).
pub const RELOADED: &str = "security-filter.wasm";

/// See [`super::for_reload`].
pub fn for_reload(workshop: &Workshop) -> anyhow::Result<(Subject, PathBuf)> {
    let name = "palisade-reload";
    let source = format!("source = \"{RELOADED}\"");
    let manifest = four(ADAPTER, Policy::Default, "\"filter\"");
    let manifest = manifest.replace("source = \"builtin:security-filter\"", &source);
    let manifest = format!("[admin]\nlisten = \"unix:admin.sock\"\n{manifest}");
    let subject = with_server(workshop, (name, "the four"), "", &manifest)?;
    let place = workshop.directory.join(name);
    let exported = Command::new(&workshop.palisade)
        .arg("export")
        .arg(&place)
        .output()?;
    let told = String::from_utf8_lossy(&exported.stderr);
    anyhow::ensure!(exported.status.success(), "{told}");
    Ok((subject, place))
}

fn four(adapter: &str, policy: Policy, filters: &str) -> String {
    let plugins = [adapter, FILTER, REWRITER, LOGGER];
    let plugins = plugins.map(|plugin| format!("{plugin}{}", policy.line()));
    let plugins = plugins.concat();
    // The watcher is a plugin like the others, and comes after the route.
    format!("{plugins}{}", FOUR.replace("{filters}", filters))
}

fn subject(workshop: &Workshop, names: (&str, &str), manifest: &str) -> anyhow::Result<Subject> {
    with_server(workshop, names, "", manifest)
}

fn with_server(
    workshop: &Workshop,
    (name, what): (&str, &str),
    server: &str,
    manifest: &str,
) -> anyhow::Result<Subject> {
    let place = workshop.place(name)?;
    let address = free_address()?;
    let file = place.join("proxy.toml");
    let text = format!("{}{manifest}", head(address, server));
    let text = text.replace("{upstream}", &workshop.upstream.to_string());
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    fs::write(place.join("key"), "sk-bench")?;
    fs::copy(&workshop.watcher, place.join("watcher.wasm"))
        .with_context(|| workshop.watcher.display().to_string())?;
    let config = file.display().to_string();
    let launch = Launch::new(&workshop.palisade, &["--config", &config], &place);
    let mut built = version(&workshop.palisade, "--version");
    if workshop.guided {
        built += ", profile-guided";
    }
    Ok(Subject {
        name: name.to_owned(),
        what: what.to_owned(),
        version: built,
        target: chat(address),
        launch: Some(launch),
        starts_quickly: true,
    })
}

fn head(listen: SocketAddr, server: &str) -> String {
    format!(
        "[server]\nlisten = \"{listen}\"\ncache = \"../palisade-cache\"\n{server}\n[log]\nlevel = \"warn\"\n\n\
         [credentials.upstream]\nfile = \"key\"\nhosts = [\"127.0.0.1\"]\n"
    )
}

/// Whether the program takes a subject's manifest.
fn check(palisade: &Path, subject: &Subject) -> anyhow::Result<()> {
    let launch = subject.launch.as_ref().context("it is not started")?;
    let output = Command::new(palisade)
        .args(&launch.arguments)
        .arg("check")
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{told}");
    Ok(())
}
