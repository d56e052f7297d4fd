//! `[plugins.…]`: what an operator decides about a plugin.

use std::collections::BTreeSet;
use std::path::Path;

use super::choice;
use crate::manifest::reader::{At, Fields};
use crate::manifest::{OutputTarget, PluginEntry, Source};
use crate::plugin::{
    Breaker, Grant, Instances, Limits, MAX_HTTP_BODY, MAX_MEMORY, MAX_TABLE, OnFailure,
};
use crate::upstream::Base;

pub(super) fn plugin(name: String, fields: Fields, directory: &Path) -> Option<PluginEntry> {
    let source = fields.required("source");
    let from = source.as_ref().map(|at| component(&fields, at, directory));
    let (config, config_lines) = fields.json("config").unwrap_or_default();
    let config = if config.is_null() {
        "{}".to_owned()
    } else {
        config.to_string()
    };
    let entry = source.zip(from).map(|(source, from)| PluginEntry {
        name,
        line: fields.line,
        source: from,
        source_line: source.line,
        sha256: sha256(&fields),
        config,
        config_lines,
        grants: grants(&fields),
        grants_line: fields.line_of("grants"),
        limits: limits(&fields),
        breaker: breaker(&fields),
        instances: instances(&fields),
        on_failure: choice(
            &fields,
            "on-failure",
            &[("reject", OnFailure::Reject), ("bypass", OnFailure::Bypass)],
        ),
        fixtures: fields.string("fixtures").map(|at| At {
            value: directory.join(at.value),
            line: at.line,
        }),
        output: output(&fields, directory),
        upstream: upstream(&fields),
        credential: fields.string("credential").map(|at| at.value),
    });
    if entry.is_some() {
        fields.done();
    }
    entry
}

/// Where a component comes from. What looks like a scheme is one: a name that
/// is not known yet must not become a file that is not found.
fn component(fields: &Fields, at: &At<String>, directory: &Path) -> Source {
    match at.value.split_once(':') {
        Some(("builtin", name)) => return Source::Builtin(name.to_owned()),
        Some((scheme, _)) if is_scheme(scheme) => {
            let message =
                format!("`source` has the scheme \"{scheme}:\", which is not supported yet");
            let hint = "write the path of a file, or \"builtin:NAME\"; a path with a colon begins with \"./\"";
            fields.problem(at.line, message, Some(hint));
        }
        _ => {}
    }
    Source::File(directory.join(&at.value))
}

/// Whether a word is the scheme of a URL.
fn is_scheme(word: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(fits)
}

/// The digest that a component must have, in lower case.
fn sha256(fields: &Fields) -> Option<At<String>> {
    let at = fields.string("sha256")?;
    if at.value.len() != 64 || !at.value.bytes().all(|b| b.is_ascii_hexdigit()) {
        let hint = "it has 64 hexadecimal digits; `palisade check` prints it";
        fields.problem(at.line, format!("`sha256` is {:?}", at.value), Some(hint));
        return None;
    }
    let value = at.value.to_ascii_lowercase();
    Some(At { value, ..at })
}

fn grants(fields: &Fields) -> BTreeSet<Grant> {
    let asked = fields.strings("grants").into_iter();
    let read = asked.filter_map(|at| match at.value.parse::<Grant>() {
        Ok(grant) => Some(grant),
        Err(wrong) => {
            fields.problem(at.line, wrong.message, Some(&wrong.hint));
            None
        }
    });
    read.collect()
}

fn limits(fields: &Fields) -> Limits {
    let default = Limits::default();
    let Some(fields) = fields.table("limits") else {
        return default;
    };
    let within = |key, at: Option<usize>, (least, most): (usize, usize), default, hint: &str| {
        if let Some(value) = at.filter(|value| !(least..=most).contains(value)) {
            let message = format!("`{key}` is {value}");
            fields.problem(fields.line_of(key), message, Some(hint));
        }
        at.unwrap_or(default)
    };
    let size = |key| fields.size(key).map(|at| at.value);
    let count = |key| fields.count(key).map(|count| count as usize);
    let limits = Limits {
        time: fields.duration("time").unwrap_or(default.time),
        cpu: fields.duration("cpu").unwrap_or(default.cpu),
        memory: within(
            "memory",
            size("memory"),
            (1 << 20, MAX_MEMORY),
            default.memory,
            "it is at least 1MiB and at most 1GiB",
        ),
        tables: within(
            "tables",
            count("tables"),
            (1, MAX_TABLE),
            default.tables,
            "it is at most 100000 elements",
        ),
        transfer: size("transfer").unwrap_or(default.transfer),
        handles: count("handles").unwrap_or(default.handles),
        output: size("output").unwrap_or(default.output),
        edits: fields.count("edits").unwrap_or(default.edits),
        log: fields.count("log").unwrap_or(default.log),
        http_body: within(
            "http-body",
            size("http-body"),
            (0, MAX_HTTP_BODY),
            default.http_body,
            "it is at most 64MiB",
        ),
        http_requests: count("http-requests").unwrap_or(default.http_requests),
    };
    fields.done();
    limits
}

fn breaker(fields: &Fields) -> Breaker {
    let default = Breaker::default();
    if fields.string_is("breaker", "off") {
        return Breaker {
            failures: 0,
            ..default
        };
    }
    let Some(fields) = fields.table("breaker") else {
        return default;
    };
    let breaker = Breaker {
        failures: fields.count("failures").unwrap_or(default.failures),
        backoff: fields.duration("backoff").unwrap_or(default.backoff),
    };
    fields.done();
    breaker
}

fn instances(fields: &Fields) -> Instances {
    if fields.holds_table("instances")
        && let Some(fields) = fields.table("instances")
    {
        let reuse = fields.count("reuse");
        if reuse.is_none() {
            let hint = "write `instances = { reuse = 100 }`: how many exchanges each serves";
            let message = format!("[{}] has no `reuse`", fields.name);
            fields.problem(fields.line, message, Some(hint));
        }
        fields.done();
        return reuse.map_or(Instances::Snapshot, Instances::Reuse);
    }
    let words = [
        ("snapshot", Instances::Snapshot),
        ("fresh", Instances::Fresh),
    ];
    choice(fields, "instances", &words).unwrap_or(Instances::Snapshot)
}

fn output(fields: &Fields, directory: &Path) -> OutputTarget {
    match fields.string("output").map(|at| at.value).as_deref() {
        None | Some("log") => OutputTarget::Log,
        Some("stdout") => OutputTarget::Stdout,
        Some(path) => OutputTarget::File(directory.join(path)),
    }
}

/// A base URL.
pub(super) fn upstream(fields: &Fields) -> Option<Base> {
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
    let base = Base::new(url);
    if base.is_none() {
        return wrong(
            "`upstream` is not an http or https URL".into(),
            "\"https://host/path\"",
        );
    }
    base
}
