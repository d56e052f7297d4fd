//! Answers as a client would read them: each choice on a line of its own.

use serde_json::{Value, json};

use super::{Asked, GREETING, answer};
use crate::palisade::plugin::model::{FinishReason, ModelEvent};

fn asked(choices: u32, max_tokens: Option<u64>) -> Asked {
    Asked {
        id: "x1".into(),
        model: Some("m".into()),
        choices,
        max_tokens,
        input_tokens: 5,
    }
}

fn ask(body: &Value, asked: &Asked) -> Vec<ModelEvent> {
    let chat = crate::chat::parse(body.to_string().as_bytes()).unwrap();
    answer(&chat, asked, "You said: ").unwrap()
}

/// What one choice says, and how it ended.
fn told(events: &[ModelEvent], choice: u32) -> String {
    let mut told = String::new();
    for event in events {
        match event {
            ModelEvent::Text(fragment) | ModelEvent::ToolArguments(fragment)
                if fragment.choice == choice =>
            {
                assert!(!fragment.text.is_empty());
                told += &fragment.text;
            }
            ModelEvent::ToolCall(call) if call.choice == choice => {
                told += &format!("<{}>", call.name);
            }
            ModelEvent::Finish(finish) if finish.choice == choice => {
                told += match finish.reason {
                    FinishReason::Stop => "|stop",
                    FinishReason::Length => "|length",
                    FinishReason::ToolCalls => "|tool-calls",
                    _ => "|?",
                };
                told += &finish
                    .stop_sequence
                    .as_deref()
                    .map_or(String::new(), |s| format!("={s}"));
            }
            _ => {}
        }
    }
    told
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

fn check(cases: Vec<(Value, Option<u64>, &str)>) {
    for (body, max_tokens, expected) in cases {
        assert_eq!(
            told(&ask(&body, &asked(1, max_tokens)), 0),
            expected,
            "{body}"
        );
    }
}

#[test]
fn texts_are_echoed_within_their_bounds() {
    let greeted = format!("{GREETING}|stop");
    check(vec![
        (
            json!({"messages": user("hi there")}),
            None,
            "You said: hi there|stop",
        ),
        (json!({"messages": []}), None, greeted.as_str()),
        (
            json!({"messages": user("a b c d")}),
            Some(3),
            "You said: a |length",
        ),
        (
            json!({"messages": user("a b c d")}),
            Some(6),
            "You said: a b c d|stop",
        ),
        (json!({"messages": user("a b")}), Some(0), "|length"),
        (
            json!({"messages": user("a b c"), "stop": "b"}),
            None,
            "You said: a |stop=b",
        ),
        (
            json!({"messages": user("a b c"), "stop": ["c", "", "b"]}),
            None,
            "You said: a |stop=b",
        ),
        (
            json!({"messages": user("a b c"), "stop": "c"}),
            Some(3),
            "You said: a |length",
        ),
        (
            json!({"messages": user("a"), "stop": "You"}),
            None,
            "|stop=You",
        ),
    ]);
}

#[test]
fn structured_answers_are_json() {
    let schema = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {
        "type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}}});
    check(vec![
        (
            json!({"messages": user("say \"x\""), "response_format": {"type": "json_object"}}),
            None,
            r#"{"echo":"say \"x\""}|stop"#,
        ),
        (
            json!({"messages": user("a"), "response_format": schema}),
            None,
            r#"{"ok":false}|stop"#,
        ),
    ]);
}

#[test]
fn tools_are_called_and_their_results_told() {
    let tools = json!([{"type": "function", "function": {"name": "add", "parameters": {
        "type": "object", "required": ["a", "b"],
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}}]);
    let results = json!([
        {"role": "user", "content": "call add"},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "add"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "3"},
    ]);
    check(vec![
        (
            json!({"messages": user("call add {\"a\": 1, \"b\": 2}"), "tools": tools}),
            None,
            r#"<add>{"a":1,"b":2}|tool-calls"#,
        ),
        (
            json!({"messages": user("call add"), "tools": tools}),
            Some(2),
            r#"<add>{"a":0,|length"#,
        ),
        (
            json!({"messages": results, "tools": tools}),
            None,
            "add said: 3|stop",
        ),
    ]);
}

#[test]
fn events_are_in_order_and_counted() {
    let body = json!({"messages": [{"role": "user", "content": "hi"}]});
    let events = ask(&body, &asked(2, None));
    let kinds: Vec<_> = events
        .iter()
        .map(|event| match event {
            ModelEvent::Start(_) => "start",
            ModelEvent::Text(_) => "text",
            ModelEvent::Usage(_) => "usage",
            ModelEvent::Finish(_) => "finish",
            _ => "other",
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "start", "text", "text", "text", "text", "text", "text", "usage", "finish", "finish"
        ]
    );
    assert_eq!(told(&events, 0), told(&events, 1));
    let usage = events.iter().find_map(|event| match event {
        ModelEvent::Usage(usage) => Some((usage.input_tokens, usage.output_tokens)),
        _ => None,
    });
    assert_eq!(usage, Some((Some(5), Some(6))));
    assert_eq!(
        events,
        ask(&body, &asked(2, None)),
        "the same request has the same answer"
    );
}

#[test]
fn calls_have_identifiers_of_their_own() {
    let body = json!({
        "messages": [{"role": "user", "content": "call f\ncall f"}],
        "tools": [{"function": {"name": "f"}}],
    });
    let events = ask(&body, &asked(2, None));
    let mut ids: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::ToolCall(call) => Some(call.id.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| id.len() <= 40 && !id.contains('/')));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn too_many_choices_are_refused() {
    let chat = crate::chat::parse(br#"{"messages": []}"#).unwrap();
    assert!(answer(&chat, &asked(129, None), "").is_err());
}
