//! `[[routes]]`: which requests go where.

use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use http::HeaderName;

use super::plugins::upstream;
use super::{check_name, choice};
use crate::manifest::reader::{At, Fields};
use crate::manifest::{Direct, Match, Provider, RouteEntry, WithoutCredential};
use crate::plugin::Credential;

pub(super) fn route(fields: Fields) -> Option<RouteEntry> {
    let name = fields.required("name");
    if let Some(name) = &name {
        check_name(&fields, &name.value);
    }
    let provider = provider(&fields);
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

/// What the route speaks to: a plugin, or an upstream of its own.
fn provider(fields: &Fields) -> Option<Provider> {
    let upstream_line = fields.line_of("upstream");
    let (plugin, upstream) = (fields.string("provider"), fields.has("upstream"));
    let direct = direct(fields);
    match (plugin, upstream) {
        (Some(at), false) => {
            for key in ["credential", "credential-kind"] {
                if fields.has(key) {
                    let message =
                        format!("`{key}` in [{}] has no `upstream` beside it", fields.name);
                    let hint = "a provider's credential is named in its [plugins] table";
                    fields.problem(fields.line_of(key), message, Some(hint));
                }
            }
            Some(Provider::Plugin(at))
        }
        (Some(_), true) => {
            let message = format!("[{}] has both `provider` and `upstream`", fields.name);
            let hint = "name a plugin, or an upstream that takes requests as they come";
            fields.problem(upstream_line, message, Some(hint));
            None
        }
        (None, true) => direct.map(Provider::Direct),
        (None, false) => {
            if !fields.has("provider") {
                let message = format!("[{}] has no `provider`", fields.name);
                fields.problem(fields.line, message, None);
            }
            None
        }
    }
}

fn direct(fields: &Fields) -> Option<Direct> {
    let (upstream, credential) = (upstream(fields), fields.string("credential"));
    let kind = credential_kind(fields);
    Some(Direct {
        upstream: upstream?,
        credential,
        kind,
    })
}

/// Where the credential is put: `"bearer"`, `{ header = "…" }` or
/// `{ query = "…" }`.
fn credential_kind(fields: &Fields) -> Credential {
    let Some((kind, lines)) = fields.json("credential-kind") else {
        return Credential::Bearer;
    };
    let named = |key: &str| {
        let only = kind.as_object().filter(|object| object.len() == 1)?;
        only.get(key)?.as_str().filter(|name| !name.is_empty())
    };
    if kind == "bearer" {
        return Credential::Bearer;
    }
    let is_field = |name: &&str| HeaderName::from_bytes(name.as_bytes()).is_ok();
    if let Some(name) = named("header").filter(is_field) {
        return Credential::Header(name.to_owned());
    }
    if let Some(name) = named("query") {
        return Credential::Query(name.to_owned());
    }
    let line = lines.first().map_or(fields.line, |(_, line)| *line);
    let hint = "write \"bearer\", { header = \"x-api-key\" } or { query = \"key\" }";
    fields.problem(line, format!("`credential-kind` is {kind}"), Some(hint));
    Credential::Bearer
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
