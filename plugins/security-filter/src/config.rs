//! The configuration; `lib.rs` shows what it looks like.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::exports::palisade::plugin::configuration::ConfigError;
use crate::normal::normal;

/// What the operator chose.
#[derive(Debug, Default, PartialEq)]
pub struct Config {
    /// Patterns; empty allows every model.
    pub allowed_models: Vec<String>,
    /// Of all choices together.
    pub max_tokens: Option<u64>,
    pub on_missing: OnMissing,
    pub forbidden: Vec<Forbidden>,
    /// A word of each forbidden pattern, or what it begins with if it is long,
    /// each of them once.
    pub words: Vec<String>,
}

/// The longest word that the host looks for, in bytes.
const MAX_WORD: usize = 256;

/// What to do about a request that sets no limit of output tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OnMissing {
    #[default]
    Allow,
    Reject,
    /// Set the limit that is configured.
    Inject,
}

/// A pattern for texts of a role.
#[derive(Debug, PartialEq)]
pub struct Forbidden {
    /// None is any role.
    role: Option<&'static str>,
    /// In the plain form of `normal.rs`.
    pub pattern: String,
}

impl Forbidden {
    pub fn is_about(&self, role: &str) -> bool {
        self.role.is_none_or(|own| own == role)
    }

    /// The longest word of the pattern; empty if it has none. A text that the
    /// pattern matches has it somewhere.
    pub fn word(&self) -> &str {
        let words = self.pattern.split(['*', '?', ' ']);
        words.max_by_key(|word| word.len()).unwrap_or_default()
    }
}

/// As much of a word as the host looks for.
fn beginning(word: &str) -> &str {
    &word[..word.floor_char_boundary(MAX_WORD)]
}

/// Names that configurations use, and the contract's.
const ROLES: [(&str, Option<&str>); 8] = [
    ("*", None),
    ("system", Some("system")),
    ("developer", Some("system")),
    ("user", Some("user")),
    ("assistant", Some("assistant")),
    ("tool", Some("tool")),
    ("function", Some("tool")),
    ("tool-definition", Some("tool-definition")),
];

const KEYS: &str = "allowed-models, max-tokens, on-missing-max-tokens, forbidden-instructions";

/// Reads the configuration, or says all that is wrong with it.
pub fn parse(json: &str) -> Result<Config, Vec<ConfigError>> {
    let table: Map<String, Value> =
        serde_json::from_str(json).map_err(|_| vec![error("", "expected a table")])?;
    let mut config = Config::default();
    let mut errors = Vec::new();
    for (key, value) in &table {
        match key.as_str() {
            "allowed-models" => {
                config.allowed_models = list("/allowed-models", value, &mut errors, |name| {
                    Ok(name.to_owned())
                });
            }
            "max-tokens" => match value.as_u64().filter(|&tokens| tokens > 0) {
                Some(tokens) => config.max_tokens = Some(tokens),
                None => errors.push(error("/max-tokens", "expected a whole number above 0")),
            },
            "on-missing-max-tokens" => match value.as_str() {
                Some("allow") => config.on_missing = OnMissing::Allow,
                Some("reject") => config.on_missing = OnMissing::Reject,
                Some("inject") => config.on_missing = OnMissing::Inject,
                _ => errors.push(error(
                    "/on-missing-max-tokens",
                    "expected \"allow\", \"reject\" or \"inject\"",
                )),
            },
            "forbidden-instructions" => {
                config.forbidden = list("/forbidden-instructions", value, &mut errors, forbidden);
            }
            _ => {
                // RFC 6901 writes ~ and / within a name as ~0 and ~1.
                let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                errors.push(error(&pointer, &format!("unknown key; known are {KEYS}")));
            }
        }
    }
    if config.on_missing == OnMissing::Inject && !table.contains_key("max-tokens") {
        errors.push(error(
            "/on-missing-max-tokens",
            "there is no max-tokens to inject",
        ));
    }
    let words = config.forbidden.iter().map(|rule| beginning(rule.word()));
    let words: BTreeSet<_> = words.collect();
    config.words = words.into_iter().map(str::to_owned).collect();
    if errors.is_empty() {
        Ok(config)
    } else {
        Err(errors)
    }
}

/// An array of strings, or one string with commas between the entries.
fn list<T>(
    pointer: &str,
    value: &Value,
    errors: &mut Vec<ConfigError>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let entries = match value {
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        Value::String(text) => match separated(text) {
            Ok(entries) => return read_all(pointer, &entries, errors, read),
            Err(message) => {
                errors.push(error(pointer, message));
                return vec![];
            }
        },
        _ => vec![],
    };
    if !value.is_array() {
        errors.push(error(
            pointer,
            "expected an array of strings, or one with commas",
        ));
    }
    let mut all = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let read = match entry.filter(|entry| !entry.trim().is_empty()) {
            Some(entry) => read(entry),
            None => Err("expected a string that is not empty".into()),
        };
        match read {
            Ok(entry) => all.push(entry),
            Err(message) => errors.push(error(&format!("{pointer}/{index}"), &message)),
        }
    }
    all
}

/// Entries of one string, all of which have the place of the string.
fn read_all<T>(
    pointer: &str,
    entries: &[String],
    errors: &mut Vec<ConfigError>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut all = Vec::new();
    for entry in entries {
        match read(entry) {
            Ok(entry) => all.push(entry),
            Err(message) => errors.push(error(pointer, &format!("{entry:?}: {message}"))),
        }
    }
    all
}

/// Cuts at commas. An entry in double quotes may contain them, and two double
/// quotes for one. Empty entries are left out.
fn separated(text: &str) -> Result<Vec<String>, &'static str> {
    let mut entries = vec![];
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut entry = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (before, after) = quoted
                    .split_once('"')
                    .ok_or("a double quote is not closed")?;
                entry.push_str(before);
                let Some(more) = after.strip_prefix('"') else {
                    rest = after.trim_start();
                    break;
                };
                entry.push('"');
                quoted = more;
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err("expected a comma after a closing double quote");
            }
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        } else {
            let (before, after) = rest.split_once(',').unwrap_or((rest, ""));
            entry.push_str(before.trim_end());
            rest = after.trim_start();
        }
        if !entry.trim().is_empty() {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Reads `role:pattern`.
fn forbidden(entry: &str) -> Result<Forbidden, String> {
    let (role, pattern) = entry.split_once(':').ok_or("expected role:pattern")?;
    let role = role.trim().to_ascii_lowercase();
    let Some((_, role)) = ROLES.into_iter().find(|(name, _)| *name == role) else {
        let names: Vec<_> = ROLES.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "unknown role {role:?}; known are {}",
            names.join(", ")
        ));
    };
    let pattern = normal(pattern);
    if pattern.is_empty() {
        return Err("the pattern is empty".into());
    }
    Ok(Forbidden { role, pattern })
}

fn error(pointer: &str, message: &str) -> ConfigError {
    ConfigError {
        pointer: pointer.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Forbidden, OnMissing, parse, separated};

    #[test]
    fn lists_may_be_one_string() {
        let expected = Config {
            allowed_models: vec!["gpt-4*".into(), "claude".into()],
            max_tokens: Some(10),
            on_missing: OnMissing::Inject,
            forbidden: vec![
                Forbidden {
                    role: Some("system"),
                    pattern: "*a, b*".into(),
                },
                Forbidden {
                    role: None,
                    pattern: "*http://x*".into(),
                },
            ],
            words: vec!["a,".into(), "http://x".into()],
        };
        for config in [
            r#"{"allowed-models": ["gpt-4*", "claude"], "max-tokens": 10,
                "on-missing-max-tokens": "inject",
                "forbidden-instructions": ["Developer: *A,  b*", "*:*http://x*"]}"#,
            r#"{"allowed-models": " gpt-4* ,claude,, ", "max-tokens": 10,
                "on-missing-max-tokens": "inject",
                "forbidden-instructions": "\"system:*a, b*\", *:*http://x*"}"#,
        ] {
            assert_eq!(parse(config).unwrap(), expected, "{config}");
        }
        assert_eq!(parse("{}").unwrap(), Config::default());
        assert_eq!(
            parse(r#"{"allowed-models": ""}"#).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn a_long_word_is_looked_for_in_part() {
        let entry = format!("*:*x {}*", "é".repeat(200));
        let config = serde_json::json!({"forbidden-instructions": [entry, entry, "user:*"]});
        let words = parse(&config.to_string()).unwrap().words;
        assert_eq!(words, [String::new(), "é".repeat(128)]);
    }

    #[test]
    fn quotes_hold_commas() {
        let cases: [(&str, Result<Vec<&str>, ()>); 8] = [
            ("", Ok(vec![])),
            ("a", Ok(vec!["a"])),
            ("a,b , c", Ok(vec!["a", "b", "c"])),
            (r#""a,b",c"#, Ok(vec!["a,b", "c"])),
            (r#" "a ""b"" " , "c" "#, Ok(vec![r#"a "b" "#, "c"])),
            (r#"a"b,c"#, Ok(vec![r#"a"b"#, "c"])),
            (r#""a"#, Err(())),
            (r#""a"b"#, Err(())),
        ];
        for (text, expected) in cases {
            let found = separated(text).map_err(|_| ());
            let expected = expected.map(|entries| entries.into_iter().map(str::to_owned).collect());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn all_errors_are_told_with_their_place() {
        let cases = [
            ("1", vec![""]),
            (
                r#"{"allowed-models": ["a", 1, " "], "max_tokens": 5, "max-tokens": 0}"#,
                vec![
                    "/allowed-models/1",
                    "/allowed-models/2",
                    "/max_tokens",
                    "/max-tokens",
                ],
            ),
            (
                r#"{"forbidden-instructions": ["nothing", "sytem:*a*", "user: ", "user:x"]}"#,
                vec![
                    "/forbidden-instructions/0",
                    "/forbidden-instructions/1",
                    "/forbidden-instructions/2",
                ],
            ),
            (
                r#"{"forbidden-instructions": "user:x,bad", "allowed-models": {"a": 1}}"#,
                vec!["/forbidden-instructions", "/allowed-models"],
            ),
            (
                r#"{"on-missing-max-tokens": "inject"}"#,
                vec!["/on-missing-max-tokens"],
            ),
            (r#"{"on-missing-max-tokens": "no", "max-tokens": "5"}"#, {
                vec!["/on-missing-max-tokens", "/max-tokens"]
            }),
        ];
        for (config, expected) in cases {
            let errors = parse(config).unwrap_err();
            let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{config}");
        }
    }
}
