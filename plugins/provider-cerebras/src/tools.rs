//! The tools of a request, and how they may be called.
//!
//! * `strict`: Cerebras wants all tools strict or none ("Tools with mixed
//!   values for 'strict' are not allowed", RooCodeInc/Roo-Code#10334, and
//!   absent is false). They are all made strict if each allows it: if the
//!   client asked for it, or said nothing and the schema can be (`strict.rs`).
//!   Otherwise none is, and a wish for it is reported.
//! * `parallel_tool_calls` is false, unless the configuration leaves it to the
//!   client; a client that asked for several calls is told.
//! * Tools that are no functions, members that Cerebras does not know, and a
//!   description that is null are left out.

use serde_json::{Map, Value};

use crate::config::Config;
use crate::request::{Dropped, keep_only};
use crate::strict;

/// Gives the tools of a request the form that Cerebras takes.
pub fn adapt(request: &mut Map<String, Value>, config: &Config, dropped: &mut Dropped) {
    let tools = match request.get_mut("tools") {
        Some(Value::Array(tools)) => tools,
        _ => &mut vec![],
    };
    let mut index = 0;
    tools.retain_mut(|tool| {
        let is_function = function(tool, dropped, index);
        index += 1;
        is_function
    });
    make_strict(tools, config.strict_tools, dropped);
    if tools.is_empty() {
        for name in ["tools", "tool_choice", "parallel_tool_calls"] {
            request.shift_remove(name);
        }
        return;
    }
    choice(request, dropped);
    if !config.parallel_tool_calls {
        let before = request.insert("parallel_tool_calls".into(), false.into());
        if before == Some(Value::Bool(true)) {
            dropped.report("/parallel_tool_calls");
        }
    }
}

/// Whether the tool is a function, whose members are then those that Cerebras
/// knows.
fn function(tool: &mut Value, dropped: &mut Dropped, index: usize) -> bool {
    let Some(members) = tool
        .as_object_mut()
        .filter(|tool| tool.contains_key("function"))
    else {
        dropped.report(format!("/tools/{index}"));
        return false;
    };
    keep_only(members, &["type", "function"]);
    if let Some(Value::Object(function)) = members.get_mut("function") {
        keep_only(function, &["name", "description", "parameters", "strict"]);
    }
    true
}

fn make_strict(tools: &mut [Value], wanted: bool, dropped: &mut Dropped) {
    let asked = |tool: &Value| tool["function"]["strict"].as_bool();
    let closed: Option<Vec<Option<Value>>> = tools
        .iter()
        .map(|tool| strict_parameters(tool, asked(tool)))
        .collect();
    let schemas = closed.filter(|_| wanted);
    for (index, tool) in tools.iter_mut().enumerate() {
        let was_asked = asked(tool);
        let Some(function) = tool["function"].as_object_mut() else {
            continue;
        };
        match &schemas {
            Some(schemas) => {
                function.insert("strict".into(), true.into());
                if let Some(schema) = &schemas[index] {
                    function.insert("parameters".into(), schema.clone());
                }
            }
            None => {
                function.shift_remove("strict");
                if was_asked == Some(true) {
                    dropped.report(format!("/tools/{index}/function/strict"));
                }
            }
        }
    }
}

/// The parameters that a tool has if it is strict, where they change; none if
/// it cannot be strict.
fn strict_parameters(tool: &Value, asked: Option<bool>) -> Option<Option<Value>> {
    match (asked, &tool["function"]["parameters"]) {
        (Some(false), _) => None,
        // The client knows what it asks for.
        (Some(true), _) | (None, Value::Null) => Some(None),
        (None, parameters) => strict::closed(parameters).map(Some),
    }
}

/// A choice is a word or a function; of `allowed_tools` only the mode is left.
fn choice(request: &mut Map<String, Value>, dropped: &mut Dropped) {
    let Some(choice) = request.get_mut("tool_choice") else {
        return;
    };
    if choice.is_string() || choice["function"].is_object() {
        return;
    }
    if !choice.is_null() {
        dropped.report("/tool_choice");
    }
    match choice["allowed_tools"]["mode"].take() {
        mode @ Value::String(_) => *choice = mode,
        _ => _ = request.shift_remove("tool_choice"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn adapted(request: Value, config: &Config) -> (Value, Vec<String>) {
        let Value::Object(mut request) = request else {
            unreachable!()
        };
        let mut dropped = Dropped::default();
        adapt(&mut request, config, &mut dropped);
        (Value::Object(request), dropped.into_pointers())
    }

    fn tool(name: &str, required: Value, strict: Option<bool>) -> Value {
        let mut tool = json!({"type": "function", "function": {"name": name, "parameters": {
            "type": "object", "properties": {"a": {"type": "string"}}, "required": required}}});
        if let Some(strict) = strict {
            tool["function"]["strict"] = strict.into();
        }
        tool
    }

    /// What `strict` is in each tool, and what is reported.
    fn strictness(tools: Value, config: &Config) -> (Vec<Value>, Vec<String>) {
        let (request, dropped) = adapted(json!({ "tools": tools }), config);
        let tools = request["tools"].as_array().unwrap();
        (
            tools
                .iter()
                .map(|tool| tool["function"]["strict"].clone())
                .collect(),
            dropped,
        )
    }

    #[test]
    fn all_tools_are_strict_or_none() {
        let can = |strict| tool("can", json!(["a"]), strict);
        let cannot = |strict| tool("cannot", json!([]), strict);
        let (yes, no) = (json!(true), json!(null));
        let on = Config::default();
        let off = Config {
            strict_tools: false,
            ..Config::default()
        };
        let cases = [
            (json!([can(None)]), &on, vec![yes.clone()], vec![]),
            (
                json!([can(None), can(Some(true))]),
                &on,
                vec![yes.clone(), yes.clone()],
                vec![],
            ),
            (json!([cannot(None)]), &on, vec![no.clone()], vec![]),
            (
                json!([can(None), cannot(None)]),
                &on,
                vec![no.clone(), no.clone()],
                vec![],
            ),
            (json!([cannot(Some(true))]), &on, vec![yes.clone()], vec![]),
            (
                json!([can(Some(true)), cannot(None)]),
                &on,
                vec![no.clone(), no.clone()],
                vec!["/tools/0/function/strict"],
            ),
            (
                json!([can(Some(false)), can(None)]),
                &on,
                vec![no.clone(), no.clone()],
                vec![],
            ),
            (
                json!([can(Some(true))]),
                &off,
                vec![no.clone()],
                vec!["/tools/0/function/strict"],
            ),
        ];
        for (tools, config, expected, reported) in cases {
            let (found, dropped) = strictness(tools.clone(), config);
            assert_eq!(found, expected, "{tools}");
            assert_eq!(dropped, reported, "{tools}");
        }
    }

    #[test]
    fn a_tool_that_becomes_strict_is_closed() {
        let (request, _) = adapted(
            json!({"tools": [tool("f", json!(["a"]), None), {"type": "function", "function": {
                "name": "g", "description": null, "x": 1}, "cache_control": {}}]}),
            &Config::default(),
        );
        assert_eq!(
            request,
            json!({
                "tools": [
                    {"type": "function", "function": {"name": "f", "strict": true, "parameters": {
                        "type": "object", "properties": {"a": {"type": "string"}},
                        "required": ["a"], "additionalProperties": false}}},
                    {"type": "function", "function": {"name": "g", "strict": true}},
                ],
                "parallel_tool_calls": false,
            })
        );
    }

    #[test]
    fn calls_are_one_at_a_time() {
        let tools = json!([tool("f", json!([]), None)]);
        let left = Config {
            parallel_tool_calls: true,
            ..Config::default()
        };
        let cases = [
            (json!({"tools": tools}), Config::default(), json!(false), 0),
            (
                json!({"tools": tools, "parallel_tool_calls": false}),
                Config::default(),
                json!(false),
                0,
            ),
            (
                json!({"tools": tools, "parallel_tool_calls": true}),
                Config::default(),
                json!(false),
                1,
            ),
            (
                json!({"tools": tools, "parallel_tool_calls": true}),
                left,
                json!(true),
                0,
            ),
            (
                json!({"tools": [], "tool_choice": "auto", "parallel_tool_calls": true}),
                Config::default(),
                json!(null),
                0,
            ),
            (
                json!({"parallel_tool_calls": false}),
                Config::default(),
                json!(null),
                0,
            ),
        ];
        for (request, config, expected, reported) in cases {
            let (found, dropped) = adapted(request.clone(), &config);
            assert_eq!(found["parallel_tool_calls"], expected, "{request}");
            assert_eq!(dropped.len(), reported, "{request}");
            assert!(found["tool_choice"].is_null());
        }
    }

    #[test]
    fn only_functions_can_be_called() {
        let tools =
            json!([{"type": "custom", "custom": {"name": "c"}}, tool("f", json!([]), None)]);
        let named = json!({"type": "function", "function": {"name": "f"}});
        let cases = [
            (json!("required"), json!("required"), 1),
            (named.clone(), named, 1),
            (json!(null), json!(null), 1),
            (
                json!({"type": "allowed_tools", "allowed_tools": {"mode": "required"}}),
                json!("required"),
                2,
            ),
            (
                json!({"type": "custom", "custom": {"name": "c"}}),
                json!(null),
                2,
            ),
        ];
        for (choice, expected, reported) in cases {
            let request = json!({"tools": tools, "tool_choice": choice});
            let (found, dropped) = adapted(request, &Config::default());
            assert_eq!(found["tools"].as_array().unwrap().len(), 1);
            assert_eq!(found["tool_choice"], expected, "{choice}");
            assert_eq!(dropped.len(), reported, "{choice}: {dropped:?}");
        }
    }
}
