//! The configuration; `lib.rs` shows what it looks like.

use serde_json::{Map, Value};

use crate::exports::palisade::plugin::configuration::ConfigError;

/// What the operator chose.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// Whether tools are made strict where their schemas allow it. Some of
    /// Cerebras's models refuse strict tools (livekit/agents#3134).
    pub strict_tools: bool,
    /// Whether `parallel_tool_calls` is left to the client.
    pub parallel_tool_calls: bool,
    /// Members of a request that are sent although they are not in the list of
    /// `request.rs`: what Cerebras has learnt since.
    pub allow: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            strict_tools: true,
            parallel_tool_calls: false,
            allow: vec![],
        }
    }
}

/// Reads the configuration, or says all that is wrong with it.
pub fn parse(json: &str) -> Result<Config, Vec<ConfigError>> {
    let table: Map<String, Value> =
        serde_json::from_str(json).map_err(|_| vec![error("", "expected a table")])?;
    let mut config = Config::default();
    let mut errors = Vec::new();
    for (key, value) in table {
        match (key.as_str(), value) {
            ("strict-tools", Value::Bool(flag)) => config.strict_tools = flag,
            ("parallel-tool-calls", Value::Bool(flag)) => config.parallel_tool_calls = flag,
            ("strict-tools" | "parallel-tool-calls", _) => {
                errors.push(error(&format!("/{key}"), "expected true or false"));
            }
            ("allow", Value::Array(names)) => {
                for (index, name) in names.into_iter().enumerate() {
                    match name {
                        Value::String(name) if !name.is_empty() => config.allow.push(name),
                        _ => errors.push(error(
                            &format!("/allow/{index}"),
                            "expected a member's name",
                        )),
                    }
                }
            }
            ("allow", _) => errors.push(error("/allow", "expected an array of strings")),
            _ => {
                // RFC 6901 writes ~ and / within a name as ~0 and ~1.
                let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                let known = "strict-tools, parallel-tool-calls, allow";
                errors.push(error(&pointer, &format!("unknown key; known are {known}")));
            }
        }
    }
    if errors.is_empty() {
        Ok(config)
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
    use super::{Config, parse};

    #[test]
    fn what_is_absent_has_a_default() {
        assert_eq!(parse("{}").unwrap(), Config::default());
        let json = r#"{"strict-tools": false, "parallel-tool-calls": true, "allow": ["n"]}"#;
        let expected = Config {
            strict_tools: false,
            parallel_tool_calls: true,
            allow: vec!["n".into()],
        };
        assert_eq!(parse(json).unwrap(), expected);
    }

    #[test]
    fn all_errors_are_told_with_their_place() {
        let cases = [
            ("\"\"", vec![""]),
            (
                r#"{"strict-tools": 1, "strict_tools": true, "allow": ["a", ""]}"#,
                { vec!["/strict-tools", "/strict_tools", "/allow/1"] },
            ),
            (r#"{"parallel-tool-calls": "no", "allow": "n", "~": 0}"#, {
                vec!["/parallel-tool-calls", "/allow", "/~0"]
            }),
        ];
        for (json, expected) in cases {
            let errors = parse(json).unwrap_err();
            let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{json}");
        }
    }
}
