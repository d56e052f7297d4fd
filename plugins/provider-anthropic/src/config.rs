//! The configuration; `lib.rs` shows what it looks like.

use serde_json::{Map, Value};

use crate::exports::palisade::plugin::configuration::ConfigError;
use crate::hub::escape;
use crate::models::{self, Abilities, Sampling, Thinking};

/// Anthropic's smallest budget for thinking, in tokens.
pub const MIN_BUDGET: u64 = 1024;

/// What the operator chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The API version that is asked for if the client names none.
    pub version: String,
    /// Beta features that every request asks for.
    pub betas: Vec<String>,
    /// The limit of output tokens for a request that sets none: Anthropic
    /// demands one. What the model may think comes on top.
    pub default_max_tokens: u64,
    pub budgets: Budgets,
    /// What models take, where it differs from what the plugin knows; the
    /// first rule that matches counts.
    pub models: Vec<ModelRule>,
}

/// How many tokens a model may think with for each `reasoning_effort`, if it
/// takes a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    pub minimal: u64,
    pub low: u64,
    pub medium: u64,
    pub high: u64,
    pub xhigh: u64,
}

/// What the operator knows of the models that match a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelRule {
    pattern: String,
    thinking: Option<Thinking>,
    sampling: Option<Sampling>,
    forced_tools: Option<bool>,
    json_schema: Option<bool>,
    system_messages: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // The newer version, 2026-10-21, refuses `temperature` and its
            // like from every model.
            version: "2023-06-01".to_owned(),
            betas: Vec::new(),
            default_max_tokens: 4096,
            // With the default limit on top, the largest stays below the
            // 32,000 tokens that Claude Opus 4 can write.
            budgets: Budgets {
                minimal: 1024,
                low: 2048,
                medium: 8192,
                high: 16384,
                xhigh: 24576,
            },
            models: Vec::new(),
        }
    }
}

impl Config {
    /// What the model takes.
    pub fn abilities(&self, model: &str) -> Abilities {
        let mut abilities = models::built_in(model);
        let rule = self
            .models
            .iter()
            .find(|rule| models::matches(&rule.pattern, model));
        let Some(rule) = rule else { return abilities };
        if let Some(thinking) = rule.thinking {
            abilities.thinking = thinking;
            abilities.budget = thinking == Thinking::Budget;
        }
        abilities.sampling = rule.sampling.unwrap_or(abilities.sampling);
        abilities.forced_tools = rule.forced_tools.unwrap_or(abilities.forced_tools);
        abilities.json_schema = rule.json_schema.unwrap_or(abilities.json_schema);
        abilities.system_messages = rule.system_messages.unwrap_or(abilities.system_messages);
        abilities
    }
}

/// Reads the configuration, or says all that is wrong with it.
pub fn parse(json: &str) -> Result<Config, Vec<ConfigError>> {
    let mut config = Config::default();
    let mut errors = Errors::default();
    match serde_json::from_str::<Value>(json) {
        Ok(value) => read(&value, &mut config, &mut errors),
        Err(error) => errors.add("", &format!("not JSON: {error}")),
    }
    if errors.0.is_empty() {
        Ok(config)
    } else {
        Err(errors.0)
    }
}

fn read(value: &Value, config: &mut Config, errors: &mut Errors) {
    for (key, value) in errors.table("", value) {
        let at = format!("/{}", escape(key));
        match key.as_str() {
            "anthropic-version" => errors.set(&mut config.version, text(value), &at),
            "anthropic-beta" => {
                config.betas = errors.list(&at, value, "the name of a beta feature", text);
            }
            "default-max-tokens" => {
                errors.set(&mut config.default_max_tokens, count(value, 1), &at);
            }
            "reasoning-budgets" => read_budgets(&at, value, &mut config.budgets, errors),
            "models" => {
                let Some(rules) = value.as_array() else {
                    errors.add(&at, "expected an array of tables");
                    continue;
                };
                for (index, rule) in rules.iter().enumerate() {
                    config
                        .models
                        .push(read_rule(&format!("{at}/{index}"), rule, errors));
                }
            }
            _ => errors.unknown(
                &at,
                "anthropic-version, anthropic-beta, default-max-tokens, reasoning-budgets, models",
            ),
        }
    }
}

fn read_budgets(at: &str, value: &Value, budgets: &mut Budgets, errors: &mut Errors) {
    for (level, tokens) in errors.table(at, value) {
        let at = format!("{at}/{}", escape(level));
        let budget = match level.as_str() {
            "minimal" => &mut budgets.minimal,
            "low" => &mut budgets.low,
            "medium" => &mut budgets.medium,
            "high" => &mut budgets.high,
            "xhigh" => &mut budgets.xhigh,
            _ => {
                errors.unknown(&at, "minimal, low, medium, high, xhigh");
                continue;
            }
        };
        errors.set(budget, count(tokens, MIN_BUDGET), &at);
    }
}

fn read_rule(at: &str, value: &Value, errors: &mut Errors) -> ModelRule {
    let mut rule = ModelRule::default();
    let mut pattern = None;
    for (key, value) in errors.table(at, value) {
        let at = format!("{at}/{}", escape(key));
        match key.as_str() {
            "match" => errors.set(&mut pattern, text(value).map(Some), &at),
            "thinking" => errors.set(&mut rule.thinking, thinking(value).map(Some), &at),
            "sampling" => errors.set(&mut rule.sampling, sampling(value).map(Some), &at),
            "forced-tools" => errors.set(&mut rule.forced_tools, flag(value).map(Some), &at),
            "json-schema" => errors.set(&mut rule.json_schema, flag(value).map(Some), &at),
            "system-messages" => errors.set(&mut rule.system_messages, flag(value).map(Some), &at),
            _ => errors.unknown(
                &at,
                "match, thinking, sampling, forced-tools, json-schema, system-messages",
            ),
        }
    }
    match pattern {
        Some(pattern) => rule.pattern = pattern,
        None => errors.add(at, "needs `match`, a pattern of model names"),
    }
    rule
}

fn text(value: &Value) -> Result<String, &'static str> {
    let text = value
        .as_str()
        .filter(|text| !text.is_empty() && text.is_ascii());
    text.map(str::to_owned)
        .ok_or("expected a text of ASCII characters")
}

fn flag(value: &Value) -> Result<bool, &'static str> {
    value.as_bool().ok_or("expected true or false")
}

fn count(value: &Value, least: u64) -> Result<u64, &'static str> {
    let count = value.as_u64().filter(|count| *count >= least);
    count.ok_or(if least > 1 {
        "expected a number of tokens, at least 1024"
    } else {
        "expected a number of tokens, at least 1"
    })
}

fn thinking(value: &Value) -> Result<Thinking, &'static str> {
    match value.as_str() {
        Some("never") => Ok(Thinking::Never),
        Some("budget") => Ok(Thinking::Budget),
        Some("adaptive") => Ok(Thinking::Adaptive),
        _ => Err("expected \"never\", \"budget\" or \"adaptive\""),
    }
}

fn sampling(value: &Value) -> Result<Sampling, &'static str> {
    match value.as_str() {
        Some("all") => Ok(Sampling::All),
        Some("either") => Ok(Sampling::Either),
        Some("none") => Ok(Sampling::None),
        _ => Err("expected \"all\", \"either\" or \"none\""),
    }
}

/// All that is wrong, in the order in which it was found.
#[derive(Default)]
struct Errors(Vec<ConfigError>);

impl Errors {
    fn add(&mut self, pointer: &str, message: &str) {
        self.0.push(ConfigError {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        });
    }

    fn unknown(&mut self, pointer: &str, known: &str) {
        self.add(pointer, &format!("unknown key; known are {known}"));
    }

    fn set<T>(&mut self, place: &mut T, value: Result<T, &'static str>, pointer: &str) {
        match value {
            Ok(value) => *place = value,
            Err(message) => self.add(pointer, message),
        }
    }

    fn table<'v>(&mut self, pointer: &str, value: &'v Value) -> &'v Map<String, Value> {
        static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
        value.as_object().unwrap_or_else(|| {
            self.add(pointer, "expected a table");
            EMPTY.get_or_init(Map::new)
        })
    }

    fn list<T>(
        &mut self,
        pointer: &str,
        value: &Value,
        what: &str,
        read: fn(&Value) -> Result<T, &'static str>,
    ) -> Vec<T> {
        let Some(values) = value.as_array() else {
            self.add(pointer, "expected an array");
            return Vec::new();
        };
        let mut list = Vec::new();
        for (index, value) in values.iter().enumerate() {
            match read(value) {
                Ok(item) => list.push(item),
                Err(_) => self.add(&format!("{pointer}/{index}"), &format!("expected {what}")),
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_has_a_default() {
        assert_eq!(parse("{}").unwrap(), Config::default());
    }

    #[test]
    fn everything_can_be_set() {
        let config = parse(
            r#"{
                "anthropic-version": "2026-10-21",
                "anthropic-beta": ["context-1m-2025-08-07"],
                "default-max-tokens": 1000,
                "reasoning-budgets": {"low": 1024},
                "models": [{"match": "claude-next-*", "thinking": "budget", "sampling": "all",
                            "forced-tools": false, "json-schema": false, "system-messages": true}]
            }"#,
        )
        .unwrap();
        assert_eq!(config.version, "2026-10-21");
        assert_eq!(config.default_max_tokens, 1000);
        assert_eq!(config.budgets.low, 1024);
        assert_eq!(config.budgets.medium, 8192);
        let next = config.abilities("claude-next-1");
        assert_eq!(
            (next.thinking, next.sampling),
            (Thinking::Budget, Sampling::All)
        );
        assert!(next.budget && next.system_messages && !next.forced_tools && !next.json_schema);
        assert_eq!(
            config.abilities("claude-opus-5").thinking,
            Thinking::Adaptive
        );
    }

    #[test]
    fn all_errors_are_told_with_their_place() {
        let cases: [(&str, &[&str]); 5] = [
            ("3", &[""]),
            ("{", &[""]),
            (
                r#"{"anthropic-version": 1, "anthropic-beta": ["a", 2], "x/y": 0}"#,
                &["/anthropic-version", "/anthropic-beta/1", "/x~1y"],
            ),
            (
                r#"{"default-max-tokens": 0, "reasoning-budgets": {"low": 1, "huge": 9999}}"#,
                &[
                    "/default-max-tokens",
                    "/reasoning-budgets/low",
                    "/reasoning-budgets/huge",
                ],
            ),
            (
                r#"{"models": [{"thinking": "a lot"}, 7]}"#,
                &["/models/0/thinking", "/models/0", "/models/1", "/models/1"],
            ),
        ];
        for (json, expected) in cases {
            let errors = parse(json).unwrap_err();
            let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{json}");
        }
    }
}
