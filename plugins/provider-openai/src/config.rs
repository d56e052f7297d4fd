//! The configuration; `lib.rs` shows what it looks like.

use openai_chat::forward::{self, Header};
use serde_json::{Map, Value};

use crate::exports::palisade::plugin::configuration::ConfigError;
use crate::translated::EXTENSIONS;

/// What the operator chose.
#[derive(Debug, Default, PartialEq)]
pub struct Config {
    /// The value of `openai-organization`.
    pub organization: Option<String>,
    /// The value of `openai-project`.
    pub project: Option<String>,
    /// Whether the client's own values win over these.
    pub client_organization: bool,
    pub credential_kind: CredentialKind,
    /// Taken off the beginning of the model.
    pub strip_prefix: Option<String>,
    /// Pointers into the body.
    pub drop: Vec<String>,
    pub max_tokens: Option<MaxTokens>,
    /// Some of [`EXTENSIONS`].
    pub extensions: Vec<String>,
    /// Whether answers are always decoded and written anew.
    pub normalise: bool,
    /// Whether a stream may end without `[DONE]`.
    pub ends_at_finish_reason: bool,
}

/// Where the host puts the credential.
#[derive(Debug, Default, PartialEq)]
pub enum CredentialKind {
    #[default]
    Bearer,
    None,
    Header(String),
    Query(String),
}

/// The only name that the server knows for the limit of output tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxTokens {
    /// `max_tokens`, OpenAI's until 2024 and everybody's.
    Older,
    /// `max_completion_tokens`.
    Newer,
}

const KEYS: &str = "organization, project, client-organization, credential-kind, strip-prefix, \
                    drop, rename-max-tokens, extensions, normalise, stream-end";

impl Config {
    /// The header fields that are sent, of the client's and of our own.
    pub fn headers(&self, client: Vec<Header>, is_chat: bool) -> Vec<Header> {
        let own = [
            ("openai-organization", self.organization.as_ref()),
            ("openai-project", self.project.as_ref()),
        ];
        let is_own = |name: &str| own.iter().any(|(known, _)| *known == name);
        let also =
            |name: &str| name.starts_with("openai-") && (self.client_organization || !is_own(name));
        let mut headers = forward::headers(client, also);
        if is_chat {
            set(&mut headers, "content-type", "application/json");
        }
        for (name, value) in own {
            if let Some(value) = value
                && !headers.iter().any(|(known, _)| known == name)
            {
                set(&mut headers, name, value);
            }
        }
        headers
    }
}

fn set(headers: &mut Vec<Header>, name: &str, value: &str) {
    headers.retain(|(known, _)| known != name);
    headers.push((name.to_owned(), value.as_bytes().to_vec()));
}

/// Reads the configuration, or says all that is wrong with it.
pub fn parse(json: &str) -> Result<Config, Vec<ConfigError>> {
    let table: Map<String, Value> =
        serde_json::from_str(json).map_err(|_| vec![error("", "expected a table")])?;
    let mut config = Config::default();
    let mut errors = Vec::new();
    for (key, value) in &table {
        if let Err(mut wrong) = member(&mut config, key, value) {
            errors.append(&mut wrong);
        }
    }
    if errors.is_empty() {
        Ok(config)
    } else {
        Err(errors)
    }
}

fn member(config: &mut Config, key: &str, value: &Value) -> Result<(), Vec<ConfigError>> {
    // RFC 6901 writes ~ and / within a name as ~0 and ~1.
    let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
    let wrong = |what: &str| vec![error(&pointer, what)];
    let text = || {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let field = || text().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    match key {
        "organization" => {
            config.organization = Some(field().ok_or_else(|| wrong("expected a header's value"))?);
        }
        "project" => {
            config.project = Some(field().ok_or_else(|| wrong("expected a header's value"))?);
        }
        "client-organization" => {
            config.client_organization = value
                .as_bool()
                .ok_or_else(|| wrong("expected true or false"))?;
        }
        "credential-kind" => {
            config.credential_kind = credential_kind(value).ok_or_else(|| {
                wrong(r#"expected "bearer", "none", { header = "…" } or { query = "…" }"#)
            })?;
        }
        "strip-prefix" => {
            config.strip_prefix = Some(text().ok_or_else(|| wrong("expected a prefix"))?);
        }
        "drop" => {
            let what = "expected an RFC 6901 pointer, such as /user";
            config.drop = list(value, &pointer, what, |text| text.starts_with('/'))?;
        }
        "rename-max-tokens" => {
            config.max_tokens = Some(match value.as_str() {
                Some("max_tokens") => MaxTokens::Older,
                Some("max_completion_tokens") => MaxTokens::Newer,
                _ => {
                    return Err(wrong(
                        "expected \"max_tokens\" or \"max_completion_tokens\"",
                    ));
                }
            });
        }
        "extensions" => {
            let what = format!("expected one of {}", EXTENSIONS.join(", "));
            config.extensions = list(value, &pointer, &what, |text| EXTENSIONS.contains(&text))?;
        }
        "normalise" => {
            config.normalise = value
                .as_bool()
                .ok_or_else(|| wrong("expected true or false"))?;
        }
        "stream-end" => {
            config.ends_at_finish_reason = match value.as_str() {
                Some("done") => false,
                Some("finish-reason") => true,
                _ => return Err(wrong("expected \"done\" or \"finish-reason\"")),
            };
        }
        _ => return Err(wrong(&format!("unknown key; known are {KEYS}"))),
    }
    Ok(())
}

fn credential_kind(value: &Value) -> Option<CredentialKind> {
    let is_name = |name: &&str| {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !name.is_empty() && name.bytes().all(is_token)
    };
    let name = |key: &str| value.get(key)?.as_str().filter(is_name).map(str::to_owned);
    match (value.as_str(), value.as_object().map(Map::len)) {
        (Some("bearer"), _) => Some(CredentialKind::Bearer),
        (Some("none"), _) => Some(CredentialKind::None),
        (None, Some(1)) => {
            let header = name("header").map(|name| name.to_ascii_lowercase());
            header
                .map(CredentialKind::Header)
                .or_else(|| name("query").map(CredentialKind::Query))
        }
        _ => None,
    }
}

fn list(
    value: &Value,
    pointer: &str,
    what: &str,
    allows: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Vec<ConfigError>> {
    let Value::Array(items) = value else {
        return Err(vec![error(pointer, "expected an array of strings")]);
    };
    let mut texts = Vec::new();
    let mut errors = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item.as_str().filter(|text| allows(text)) {
            Some(text) => texts.push(text.to_owned()),
            None => errors.push(error(&format!("{pointer}/{index}"), what)),
        }
    }
    if errors.is_empty() {
        Ok(texts)
    } else {
        Err(errors)
    }
}

fn error(pointer: &str, message: &str) -> ConfigError {
    ConfigError {
        pointer: pointer.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, CredentialKind, MaxTokens, parse};

    #[test]
    fn every_key_is_read() {
        assert_eq!(parse("{}").unwrap(), Config::default());
        let config = parse(
            r#"{"organization": "o", "project": "p", "client-organization": true,
                "credential-kind": {"header": "Api-Key"}, "strip-prefix": "x/", "drop": ["/user"],
                "rename-max-tokens": "max_tokens", "extensions": ["top_k"], "normalise": true,
                "stream-end": "finish-reason"}"#,
        )
        .unwrap();
        let expected = Config {
            organization: Some("o".into()),
            project: Some("p".into()),
            client_organization: true,
            credential_kind: CredentialKind::Header("api-key".into()),
            strip_prefix: Some("x/".into()),
            drop: vec!["/user".into()],
            max_tokens: Some(MaxTokens::Older),
            extensions: vec!["top_k".into()],
            normalise: true,
            ends_at_finish_reason: true,
        };
        assert_eq!(config, expected);
        let query = parse(r#"{"credential-kind": {"query": "key"}}"#).unwrap();
        assert_eq!(query.credential_kind, CredentialKind::Query("key".into()));
    }

    #[test]
    fn all_errors_are_told_with_their_place() {
        let cases = [
            ("null", vec![""]),
            (
                r#"{"organisation": "o", "project": "a\nb", "normalise": "yes", "a/b": 1}"#,
                vec!["/organisation", "/project", "/normalise", "/a~1b"],
            ),
            (
                r#"{"drop": ["/a", "b", 3], "extensions": ["top_k", "top_p"], "stream-end": ""}"#,
                vec!["/drop/1", "/drop/2", "/extensions/1", "/stream-end"],
            ),
            (r#"{"credential-kind": "basic"}"#, vec!["/credential-kind"]),
            (
                r#"{"credential-kind": {"header": "a", "query": "b"}}"#,
                vec!["/credential-kind"],
            ),
            (
                r#"{"credential-kind": {"header": "a b"}}"#,
                vec!["/credential-kind"],
            ),
            (r#"{"rename-max-tokens": 1, "strip-prefix": ""}"#, {
                vec!["/rename-max-tokens", "/strip-prefix"]
            }),
        ];
        for (json, expected) in cases {
            let errors = parse(json).unwrap_err();
            let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{json}");
        }
    }

    #[test]
    fn the_organization_goes_with_the_key() {
        let client = || {
            [
                "openai-organization",
                "openai-beta",
                "content-type",
                "user-agent",
            ]
            .map(|name| (name.to_owned(), b"client".to_vec()))
            .to_vec()
        };
        let sent = |config: &str, is_chat: bool| {
            let headers = parse(config).unwrap().headers(client(), is_chat);
            let text = |(name, value)| format!("{name}: {}", String::from_utf8(value).unwrap());
            headers.into_iter().map(text).collect::<Vec<_>>()
        };
        let cases = [
            (
                "{}",
                true,
                vec!["openai-beta: client", "content-type: application/json"],
            ),
            (
                "{}",
                false,
                vec!["openai-beta: client", "content-type: client"],
            ),
            (
                r#"{"organization": "o", "project": "p"}"#,
                false,
                vec![
                    "openai-beta: client",
                    "content-type: client",
                    "openai-organization: o",
                    "openai-project: p",
                ],
            ),
            (
                r#"{"organization": "o", "project": "p", "client-organization": true}"#,
                false,
                vec![
                    "openai-organization: client",
                    "openai-beta: client",
                    "content-type: client",
                    "openai-project: p",
                ],
            ),
        ];
        for (config, is_chat, expected) in cases {
            assert_eq!(sent(config, is_chat), expected, "{config}");
        }
    }
}
