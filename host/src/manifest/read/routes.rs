//! `[[routes]]`: which requests go where.

use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use http::HeaderName;

use super::{check_name, choice};
use crate::manifest::reader::{At, Fields};
use crate::manifest::{Match, RouteEntry, WithoutCredential};

pub(super) fn route(fields: Fields) -> Option<RouteEntry> {
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
