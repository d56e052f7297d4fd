//! The configuration; `lib.rs` shows what it looks like.

use serde_json::{Map, Value};

use crate::exports::palisade::plugin::configuration::ConfigError;

/// What the operator chose.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// What stands before the echoed text; may be empty.
    pub prefix: String,
    /// The models that are listed. Any other name is answered just as well.
    pub models: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            prefix: "You said: ".into(),
            models: vec!["echo".into()],
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
            ("prefix", Value::String(prefix)) => config.prefix = prefix,
            ("prefix", _) => errors.push(error("/prefix", "expected a string")),
            ("models", Value::Array(names)) => config.models = models(names, &mut errors),
            ("models", _) => errors.push(error("/models", "expected an array of strings")),
            _ => {
                // RFC 6901 writes ~ and / within a name as ~0 and ~1.
                let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                errors.push(error(&pointer, "unknown key; known are prefix, models"));
            }
        }
    }
    if errors.is_empty() {
        Ok(config)
    } else {
        Err(errors)
    }
}

fn models(names: Vec<Value>, errors: &mut Vec<ConfigError>) -> Vec<String> {
    let mut models = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        match name {
            Value::String(name) if !name.is_empty() => models.push(name),
            _ => errors.push(error(
                &format!("/models/{index}"),
                "expected the name of a model",
            )),
        }
    }
    models
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
        let config = parse(r#"{"prefix": "", "models": ["a", "b/c"]}"#).unwrap();
        assert_eq!(
            config,
            Config {
                prefix: "".into(),
                models: vec!["a".into(), "b/c".into()]
            }
        );
    }

    #[test]
    fn all_errors_are_told_with_their_place() {
        let cases = [
            ("3", vec![""]),
            (r#"{"prefix": 1, "model/s~": [], "models": "a"}"#, {
                vec!["/prefix", "/model~1s~0", "/models"]
            }),
            (
                r#"{"models": ["a", 2, ""]}"#,
                vec!["/models/1", "/models/2"],
            ),
        ];
        for (json, expected) in cases {
            let errors = parse(json).unwrap_err();
            let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{json}");
        }
    }
}
