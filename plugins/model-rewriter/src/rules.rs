//! The rules: reading them from the configuration, and choosing a model.

use serde_json::{Map, Value};

use crate::exports::palisade::plugin::configuration::ConfigError;
use crate::glob;

/// Which model is asked in place of which.
#[derive(Debug, Default, PartialEq)]
pub struct Rules {
    rules: Vec<Rule>,
    default: Option<String>,
}

#[derive(Debug, PartialEq)]
struct Rule {
    /// A pattern for the model that the client asked for.
    from: String,
    /// The model to ask, where `*` is what the first `*` of `from` matched.
    to: String,
}

impl Rules {
    /// The model to ask in place of `model`; none to leave it as it is. The
    /// first rule that matches decides, also if it changes nothing.
    pub fn apply(&self, model: &str) -> Option<String> {
        let matched = self
            .rules
            .iter()
            .find_map(|rule| Some(rule.to.replace('*', glob::capture(&rule.from, model)?)));
        let to = matched.or_else(|| self.default.clone())?;
        (!to.is_empty() && to != model).then_some(to)
    }

    /// The model for a request that names none.
    pub fn default_model(&self) -> Option<&str> {
        self.default.as_deref()
    }
}

/// Reads the configuration, or says all that is wrong with it.
pub fn parse(json: &str) -> Result<Rules, Vec<ConfigError>> {
    let config: Map<String, Value> =
        serde_json::from_str(json).map_err(|_| vec![error("", "expected a table")])?;
    let mut rules = Rules::default();
    let mut errors = Vec::new();
    for (key, value) in &config {
        match (key.as_str(), value) {
            ("rules", Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    rules
                        .rules
                        .extend(rule(&format!("/rules/{index}"), item, &mut errors));
                }
            }
            ("rules", _) => errors.push(error("/rules", "expected an array of tables")),
            ("default", Value::String(name)) if !name.is_empty() => {
                rules.default = Some(name.clone());
            }
            ("default", _) => errors.push(error("/default", "expected the name of a model")),
            _ => errors.push(error(
                &child("", key),
                "unknown key; known are rules, default",
            )),
        }
    }
    if errors.is_empty() {
        Ok(rules)
    } else {
        Err(errors)
    }
}

fn rule(pointer: &str, value: &Value, errors: &mut Vec<ConfigError>) -> Option<Rule> {
    let Value::Object(table) = value else {
        errors.push(error(pointer, "expected a table with from and to"));
        return None;
    };
    for key in table
        .keys()
        .filter(|key| !["from", "to"].contains(&key.as_str()))
    {
        errors.push(error(
            &child(pointer, key),
            "unknown key; known are from, to",
        ));
    }
    let mut name = |key: &str, what: &str| match table.get(key) {
        Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
        Some(_) => {
            errors.push(error(&child(pointer, key), &format!("expected {what}")));
            None
        }
        None => {
            errors.push(error(pointer, &format!("{key} is missing: {what}")));
            None
        }
    };
    let (from, to) = (name("from", "a pattern"), name("to", "the name of a model"));
    let (from, to) = (from?, to?);
    if to.contains('*') && !from.contains('*') {
        errors.push(error(
            &child(pointer, "to"),
            "has a * but from has none to take it from",
        ));
        return None;
    }
    Some(Rule { from, to })
}

/// The RFC 6901 pointer to the member `key` of what `parent` points to.
fn child(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn error(pointer: &str, message: &str) -> ConfigError {
    ConfigError {
        pointer: pointer.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = parse(
            r#"{"rules": [
                {"from": "gpt-4o", "to": "gpt-4o"},
                {"from": "gpt-4*", "to": "llama-3.3-70b"},
                {"from": "openai/*", "to": "*"},
                {"from": "*-old-*", "to": "*-new"}
            ]}"#,
        )
        .unwrap();
        let cases = [
            ("gpt-4o", None),
            ("gpt-4-turbo", Some("llama-3.3-70b")),
            ("openai/gpt-5", Some("gpt-5")),
            ("openai/", None),
            ("qwen-old-3", Some("qwen-new")),
            ("claude", None),
            ("", None),
        ];
        for (model, expected) in cases {
            assert_eq!(rules.apply(model).as_deref(), expected, "{model}");
        }
        assert_eq!(rules.default_model(), None);
    }

    #[test]
    fn the_default_is_for_what_no_rule_matches() {
        let rules = parse(r#"{"default": "b", "rules": [{"from": "a", "to": "a"}]}"#).unwrap();
        assert_eq!(rules.apply("a"), None);
        assert_eq!(rules.apply("b"), None);
        assert_eq!(rules.apply("c").as_deref(), Some("b"));
        assert_eq!(rules.default_model(), Some("b"));
    }

    #[test]
    fn all_errors_are_told_with_their_place() {
        let cases = [
            ("[]", vec![""]),
            (
                r#"{"rules": {}, "defualt": 1, "a/b~": 2}"#,
                vec!["/rules", "/defualt", "/a~1b~0"],
            ),
            (r#"{"default": "", "rules": []}"#, vec!["/default"]),
            (
                r#"{"rules": ["x", {"from": "a"}, {"from": "a", "to": 1}, {"from": "", "to": "a", "if": 1}]}"#,
                vec![
                    "/rules/0",
                    "/rules/1",
                    "/rules/2/to",
                    "/rules/3/if",
                    "/rules/3/from",
                ],
            ),
            (
                r#"{"rules": [{"from": "a?", "to": "b*"}]}"#,
                vec!["/rules/0/to"],
            ),
        ];
        for (config, expected) in cases {
            let errors = parse(config).unwrap_err();
            let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{config}");
        }
        assert!(parse("{}").is_ok());
    }
}
