//! `[plugins.…]`: what an operator decides about a plugin.

use std::collections::BTreeSet;
use std::path::Path;

use super::choice;
use crate::manifest::reader::Fields;
use crate::manifest::{OutputTarget, PluginEntry, Source};
use crate::plugin::{Grant, Limits, MAX_MEMORY, OnFailure};

/// The largest `http-body`: bodies are held whole, several at a time.
const MAX_HTTP_BODY: usize = 64 << 20;

pub(super) fn plugin(name: String, fields: Fields, directory: &Path) -> Option<PluginEntry> {
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
        grants_line: fields.line_of("grants"),
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
    let http_body = fields.size("http-body");
    if let Some(at) = http_body.as_ref().filter(|at| at.value > MAX_HTTP_BODY) {
        let message = format!("`http-body` is {} bytes", at.value);
        fields.problem(at.line, message, Some("it is at most 64MiB"));
    }
    let limits = Limits {
        time: fields.duration("time").unwrap_or(default.time),
        memory: memory.map_or(default.memory, |at| at.value),
        output: fields.size("output").map_or(default.output, |at| at.value),
        http_body: http_body.map_or(default.http_body, |at| at.value),
        http_requests: fields
            .count("http-requests")
            .map_or(default.http_requests, |n| n as usize),
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
