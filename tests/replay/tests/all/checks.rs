//! What the providers take and what they refuse, and in which words. Each case
//! that is refused is one change to a request that is taken.

use std::path::PathBuf;

use crate::client::{Answer, ask, receive, send, server, to};
use replay::Server;
use serde_json::{Value, json};

/// A request that is taken, and changes to it that are refused.
fn cases(provider: &str) -> (Value, Vec<Value>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/all/refused");
    let text = std::fs::read(folder.join(format!("{provider}.json"))).unwrap();
    let mut cases: Value = serde_json::from_slice(&text).unwrap();
    let Value::Array(refused) = cases["refused"].take() else {
        panic!("refused is a list");
    };
    (cases["request"].take(), refused)
}

/// Puts a value where the pointer says, or removes what is there (null).
fn change(body: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match body
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("{pointer}"))
    {
        Value::Object(object) if value.is_null() => drop(object.shift_remove(key)),
        Value::Object(object) => drop(object.insert(key.to_owned(), value)),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) if value.is_null() => drop(list.remove(key.parse().unwrap())),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{pointer} is in {other}"),
    }
}

async fn is_taken(server: &Server, provider: &str, body: &Value) {
    let answer = ask(server, provider, body).await;
    let text = String::from_utf8_lossy(&answer.body()).into_owned();
    assert_eq!(answer.status, 200, "{provider} refuses {body}: {text}");
}

/// Makes each change, a pointer and a value, by itself, and looks for the words
/// in the answer.
async fn are_refused(provider: &str, good: Value, changes: &[Value]) {
    let server = server().await;
    is_taken(&server, provider, &good).await;
    for case in changes {
        let (pointer, words) = (case[0].as_str().unwrap(), case[2].as_str().unwrap());
        let mut body = good.clone();
        change(&mut body, pointer, case[1].clone());
        let answer = ask(&server, provider, &body).await;
        let text = String::from_utf8_lossy(&answer.body()).into_owned();
        assert_eq!(answer.status, 400, "{provider} takes {case}: {text}");
        assert!(
            message(provider, &answer).contains(words),
            "{provider}, {case}: {text}"
        );
        assert_eq!(
            server.requests().last().unwrap().refused,
            Some(message(provider, &answer))
        );
    }
}

fn message(provider: &str, answer: &Answer) -> String {
    let body = answer.json();
    let error = if provider == "cerebras" {
        &body
    } else {
        &body["error"]
    };
    assert_eq!(error["type"], "invalid_request_error");
    error["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_provider_refuses_what_it_does_not_take() {
    for provider in ["openai", "anthropic", "cerebras"] {
        let (good, changes) = cases(provider);
        are_refused(provider, good, &changes).await;
    }
}

#[tokio::test]
async fn anthropic_knows_what_it_thought() {
    let server = server().await;
    let folder = server.transcripts();
    let whole = folder
        .file(replay::Provider::Anthropic, "tool-thinking", "whole.json")
        .unwrap();
    let said: Value = serde_json::from_slice(whole).unwrap();
    let call = said["content"][2]["id"].clone();
    let (mut good, _) = cases("anthropic");
    good["thinking"] = json!({"type": "enabled", "budget_tokens": 2048});
    good["messages"] = json!([
        {"role": "user", "content": "The weather in Paris?"},
        {"role": "assistant", "content": said["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "19"}]}
    ]);
    let changes = [
        json!(["/messages/1/content/0", null, "Expected `thinking`"]),
        json!([
            "/messages/1/content/0/thinking",
            "otherwise",
            "cannot be modified"
        ]),
        json!(["/temperature", 0.5, "may only be set to 1"]),
        json!(["/top_k", 5, "must be unset"]),
        json!(["/tool_choice", {"type": "any"}, "forces tool use"]),
    ];
    are_refused("anthropic", good, &changes).await;
}

#[tokio::test]
async fn an_instruction_may_stand_in_mid_conversation_where_anthropic_has_a_place_for_it() {
    let server = server().await;
    let (mut body, _) = cases("anthropic");
    change(
        &mut body,
        "/messages/-",
        json!({"role": "system", "content": "Answer in French."}),
    );
    is_taken(&server, "anthropic", &body).await;
    change(
        &mut body,
        "/messages/-",
        json!({"role": "user", "content": "Well?"}),
    );
    assert_eq!(ask(&server, "anthropic", &body).await.status, 400);
}

#[tokio::test]
async fn a_credential_must_be_the_providers_own() {
    let server = server().await;
    let version = "anthropic-version: 2023-06-01";
    let client = "authorization: Bearer palisade-client";
    for (provider, own, wrong) in [
        ("openai", "authorization: Bearer sk-x", client.to_owned()),
        (
            "cerebras",
            "authorization: Bearer csk-x",
            "authorization: Bearer sk-x".to_owned(),
        ),
        (
            "anthropic",
            &format!("x-api-key: sk-ant-x\r\n{version}"),
            format!("{client}\r\n{version}"),
        ),
        (
            "anthropic",
            &format!("authorization: Bearer sk-ant-x\r\n{version}"),
            version.to_owned(),
        ),
    ] {
        let path = to(provider).0;
        let body = crate::client::hello(provider, "chat", false).to_string();
        let fine = receive(send(&server, "POST", path, own, &body).await).await;
        assert_eq!(fine.status, 200, "{provider} takes {own}");
        for fields in ["", &wrong] {
            let answer = receive(send(&server, "POST", path, fields, &body).await).await;
            assert_eq!(answer.status, 401, "{provider} refuses {fields:?}");
        }
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_in_the_providers_words() {
    let server = server().await;
    for (provider, pointer) in [
        ("openai", "/error/message"),
        ("anthropic", "/error/message"),
        ("cerebras", "/message"),
    ] {
        let answer = ask(
            &server,
            provider,
            &crate::client::hello(provider, "no-such", false),
        )
        .await;
        assert_eq!(answer.status, 404);
        let body = answer.json();
        let message = body.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        assert!(message.contains("no-such"), "{message}");
        let fields = to(provider).1;
        let path = format!("/{provider}/v1/nothing");
        assert_eq!(
            receive(send(&server, "GET", &path, fields, "").await)
                .await
                .status,
            404
        );
        let path = format!("/{provider}/v1/models");
        assert_eq!(
            receive(send(&server, "GET", &path, fields, "").await)
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn a_scenario_can_need_something_of_the_request() {
    let server = server().await;
    let body = crate::client::hello("openai", "structured", false);
    let answer = ask(&server, "openai", &body).await;
    assert_eq!(answer.status, 400);
    assert!(message("openai", &answer).contains("/response_format/json_schema/schema"));
}
