//! When the echo calls tools, and with which arguments.
//!
//! It calls the tools that the last user text asks for, on lines of their own:
//!
//! ```text
//! call get_weather {"city": "Lyon"}
//! call get_time
//! ```
//!
//! and the tool that `tool_choice` demands, asked for or not. Arguments that
//! nobody gave are the smallest that the tool's schema allows. A conversation
//! that ends with a tool's result gets a text, unless `tool_choice` demands a
//! call again.

use serde_json::{Value, json};

use crate::chat::{Chat, Function};
use crate::palisade::plugin::types::{Denial, DenialKind};
use crate::schema;

/// A call that is to be made.
#[derive(Debug, PartialEq)]
pub struct Call {
    pub name: String,
    /// A JSON text.
    pub arguments: String,
}

/// What `tool_choice` says.
enum Choice<'a> {
    None,
    Auto,
    /// Any of the tools, but one at least.
    Required,
    /// This one.
    Named(&'a str),
}

/// The calls to make; none for an answer in words.
pub fn calls(chat: &Chat) -> Result<Vec<Call>, Denial> {
    let mut calls = match choice(chat) {
        Choice::None => vec![],
        Choice::Auto if chat.tool_results().is_empty() => requested(chat, None),
        Choice::Auto => vec![],
        Choice::Required => {
            let requested = requested(chat, None);
            if requested.is_empty() {
                chat.functions()
                    .take(1)
                    .map(|function| call(function, None))
                    .collect()
            } else {
                requested
            }
        }
        Choice::Named(name) => {
            let Some(function) = chat.functions().find(|function| function.name == name) else {
                let message = format!("tool_choice names {name:?}, which is not among the tools");
                return Err(crate::denial(
                    DenialKind::InvalidRequest,
                    "request.malformed",
                    message,
                ));
            };
            let requested = requested(chat, Some(name));
            if requested.is_empty() {
                vec![call(function, None)]
            } else {
                requested
            }
        }
    };
    if chat.parallel_tool_calls == Some(false) {
        calls.truncate(1);
    }
    Ok(calls)
}

fn choice(chat: &Chat) -> Choice<'_> {
    let Some(choice) = &chat.tool_choice else {
        return Choice::Auto;
    };
    let mode = choice
        .as_str()
        .or_else(|| choice["allowed_tools"]["mode"].as_str());
    match (mode, choice["function"]["name"].as_str()) {
        (Some("none"), _) => Choice::None,
        (Some("required"), _) => Choice::Required,
        (None, Some(name)) => Choice::Named(name),
        _ => Choice::Auto,
    }
}

/// The calls that the last user text asks for, of one tool or of all.
fn requested(chat: &Chat, only: Option<&str>) -> Vec<Call> {
    let text = chat.last_user_text().unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let wish = line.trim().strip_prefix("call ")?.trim_start();
            let (name, arguments) = wish.split_once(char::is_whitespace).unwrap_or((wish, ""));
            let function = chat.functions().find(|function| function.name == name)?;
            let arguments = match arguments.trim() {
                "" => None,
                json => Some(serde_json::from_str(json).ok()?),
            };
            only.is_none_or(|only| only == name)
                .then(|| call(function, arguments))
        })
        .collect()
}

fn call(function: &Function, arguments: Option<Value>) -> Call {
    let smallest = || match &function.parameters {
        Some(schema) => schema::instance(schema),
        None => json!({}),
    };
    let arguments = arguments.unwrap_or_else(smallest);
    Call {
        name: function.name.clone(),
        arguments: arguments.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(text: &str, more: Value) -> Chat {
        let mut body = json!({
            "messages": [{"role": "user", "content": text}],
            "tools": [
                {"type": "function", "function": {"name": "weather", "parameters": {
                    "type": "object", "properties": {"city": {"type": "string"}, "days": {}},
                    "required": ["city"]}}},
                {"type": "custom", "custom": {"name": "grep"}},
                {"type": "function", "function": {"name": "time"}},
            ],
        });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        crate::chat::parse(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn calls_follow_the_text_and_the_choice() {
        let smallest = ("weather", r#"{"city":"echo"}"#);
        let lyon = ("weather", r#"{"city":"Lyon"}"#);
        let time = ("time", "{}");
        let named = |name| json!({"tool_choice": {"type": "function", "function": {"name": name}}});
        let both = "call time\n  call weather {\"city\": \"Lyon\"} ";
        let cases = [
            ("hello", json!({}), vec![]),
            ("call weather", json!({}), vec![smallest]),
            ("please call weather", json!({}), vec![]),
            ("call weather {oops", json!({}), vec![]),
            ("call nothing {}", json!({}), vec![]),
            ("call grep", json!({}), vec![]),
            (both, json!({}), vec![time, lyon]),
            (both, json!({"parallel_tool_calls": false}), vec![time]),
            (both, json!({"tool_choice": "none"}), vec![]),
            (both, json!({"tool_choice": "auto"}), vec![time, lyon]),
            (both, named("weather"), vec![lyon]),
            ("hello", named("time"), vec![time]),
            ("hello", json!({"tool_choice": "required"}), vec![smallest]),
            (both, json!({"tool_choice": "required"}), vec![time, lyon]),
            (
                "hello",
                json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}}),
                vec![smallest],
            ),
        ];
        for (text, more, expected) in cases {
            let calls = calls(&chat(text, more.clone())).unwrap();
            let calls: Vec<_> = calls
                .iter()
                .map(|call| (call.name.as_str(), call.arguments.as_str()))
                .collect();
            assert_eq!(calls, expected, "{text} with {more}");
        }
        assert!(calls(&chat("hello", named("grep"))).is_err());
    }

    #[test]
    fn a_result_is_not_answered_by_the_same_call() {
        let messages = json!({"messages": [
            {"role": "user", "content": "call time"},
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "time"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "noon"},
        ]});
        assert_eq!(calls(&chat("", messages)).unwrap(), []);
    }
}
