//! `[plugins.…]`: what an operator decides about a plugin.

use std::collections::BTreeSet;
use std::path::Path;

use super::choice;
use crate::manifest::reader::Fields;
use crate::manifest::{OutputTarget, PluginEntry, Source};
use crate::plugin::{Grant, Limits, MAX_MEMORY, OnFailure};
use crate::upstream::Base;

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
