//! `cases/requests/*.json`: requests in the hub dialect, and what is sent.
//!
//! `request` is merged into the smallest request there is and `sent` into what
//! that one becomes, so a case shows only what it is about. `sent`, `dropped`
//! and `betas` are compared exactly; `refused` is the whole message.

use serde_json::{Value, json};

use super::cases;
use crate::config::{self, Config};
use crate::request::translate;

#[test]
fn requests_are_translated() {
    let mut wrong = Vec::new();
    for case in cases("requests") {
        if let Err(what) = check(&case) {
            wrong.push(format!("{}: {what}", case["name"]));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn check(case: &Value) -> Result<(), String> {
    let request = merged(
        json!({"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "hi"}]}),
        &case["request"],
    );
    let config = match case.get("config") {
        Some(config) => {
            config::parse(&config.to_string()).map_err(|errors| format!("{errors:?}"))?
        }
        None => Config::default(),
    };
    let version = case["version"].as_str().unwrap_or(&config.version);
    let translated = translate(request.to_string().as_bytes(), &config, version);

    if let Some(refused) = case["refused"].as_str() {
        let message = translated.err().map(|refusal| refusal.message);
        return equal(&json!(message), &json!(refused));
    }
    let translation = translated.map_err(|refusal| refusal.message)?;
    let content = json!([{"type": "text", "text": "hi"}]);
    let smallest = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 4096,
        "messages": [{"role": "user", "content": content}],
    });
    equal(&translation.body, &merged(smallest, &case["sent"]))?;
    equal(
        &json!(translation.report.dropped),
        case.get("dropped").unwrap_or(&json!([])),
    )?;
    equal(
        &json!(translation.report.betas),
        case.get("betas").unwrap_or(&json!([])),
    )
}

fn merged(mut base: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

fn equal(found: &Value, expected: &Value) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("\n found    {found}\n expected {expected}"))
    }
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for (body, message) in [
        ("[]", "the body: expected a JSON object"),
        ("{", "the body: not JSON"),
    ] {
        let refusal = translate(body.as_bytes(), &Config::default(), "2023-06-01").unwrap_err();
        assert!(refusal.message.starts_with(message), "{}", refusal.message);
        assert_eq!(refusal.reason, "request.malformed");
    }
}

#[test]
fn a_refusal_and_the_reports_are_bounded() {
    let role = "x".repeat(1_000_000);
    let body = json!({"model": "m", "messages": [{"role": role}]}).to_string();
    let refusal = translate(body.as_bytes(), &Config::default(), "2023-06-01").unwrap_err();
    assert!(refusal.message.len() < 4096);

    let message = json!({"role": "user", "name": "Ada", "content": "hi"});
    let body = json!({"model": "m", "messages": vec![message; 1000]}).to_string();
    let translation = translate(body.as_bytes(), &Config::default(), "2023-06-01").unwrap();
    assert_eq!(translation.report.dropped.len(), 32);
}

/// Prompt caches of providers compare bytes (agentgateway#3371).
#[test]
fn members_keep_their_order() {
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [
            {"id": "a", "function": {"name": "t", "arguments": "{\"z\": 1, \"a\": {\"y\": 2, \"b\": 3}}"}},
        ]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ], "tools": [{"type": "function", "function": {"name": "t", "parameters":
        {"type": "object", "required": ["z"], "properties": {"z": {}, "a": {}}}}}]});
    let sent = translate(
        body.to_string().as_bytes(),
        &Config::default(),
        "2023-06-01",
    )
    .unwrap();
    let text = sent.body.to_string();
    assert!(
        text.contains(r#""input":{"z":1,"a":{"y":2,"b":3}}"#),
        "{text}"
    );
    assert!(
        text.contains(r#"{"type":"object","required":["z"],"properties":{"z":{},"a":{}}}"#),
        "{text}"
    );
}
