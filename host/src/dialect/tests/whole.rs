//! Whole answers.

use serde_json::json;

use super::*;

const CHAT: &str = "openai.chat";
const MESSAGES: &str = "anthropic.messages";

#[test]
fn a_chat_completion_has_every_member_that_the_schema_demands() {
    let events = [
        start(),
        text(0, "Hi"),
        finish(FinishReason::Stop),
        cached_usage(),
    ];
    let expected = json!({
        "id": "id1",
        "object": "chat.completion",
        "created": 5,
        "model": "real",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {
                "cached_tokens": 60,
                "audio_tokens": 0,
                "cache_write_tokens": 30,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 8,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    });
    assert_eq!(whole(CHAT, &settings(), &events), expected);
}

#[test]
fn content_is_null_beside_calls_and_refusals() {
    let called = [
        start(),
        call(0, "a", "f"),
        call(1, "b", "g"),
        arguments(1, "{\"x\": 1"),
    ];
    let body = whole(CHAT, &settings(), &called);
    let message = json!({
        "role": "assistant",
        "content": null,
        "refusal": null,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{\"x\": 1"}},
        ],
    });
    assert_eq!(body["choices"][0]["message"], message);
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(body.get("usage"), None);

    let body = whole(CHAT, &settings(), &[start(), refusal(0, "No.")]);
    let message = json!({"role": "assistant", "content": null, "refusal": "No."});
    assert_eq!(body["choices"][0]["message"], message);

    let body = whole(CHAT, &settings(), &[]);
    let message = json!({"role": "assistant", "content": "", "refusal": null});
    assert_eq!(body["choices"][0]["message"], message);
}

#[test]
fn a_chat_completion_has_all_choices_and_the_upstreams_members() {
    let events = [
        start(),
        thought(0, "Hm"),
        signature(0, "s"),
        text(1, "b"),
        in_choice(1, text(0, "c")),
        other(1, "logprobs", r#"{"content":[1],"refusal":null}"#),
        other(1, "logprobs", r#"{"content":[2],"refusal":null}"#),
        other(1, "annotations", "[]"),
        other(0, "system_fingerprint", r#""fp""#),
        other(
            1,
            "tool_calls",
            r#"[{"index":0,"id":"k","type":"custom","custom":{"name":"n","input":"a"}}]"#,
        ),
        other(1, "tool_calls", r#"[{"index":0,"custom":{"input":"b"}}]"#),
        in_choice(1, finish(FinishReason::Pause)),
        finish(FinishReason::ContentFilter),
    ];
    let body = whole(CHAT, &same_dialect(), &events);
    let choices = json!([
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "b",
                "refusal": null,
                "reasoning_content": "Hm",
                "thinking_blocks": [{"type": "thinking", "thinking": "Hm", "signature": "s"}],
                "tool_calls": [{"id": "k", "type": "custom", "custom": {"name": "n", "input": "ab"}}],
                "annotations": [],
            },
            "logprobs": {"content": [1, 2], "refusal": null},
            "finish_reason": "content_filter",
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": "c", "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        },
    ]);
    assert_eq!(body["choices"], choices);
    assert_eq!(body["system_fingerprint"], "fp");
}

#[test]
fn a_message_has_every_member_that_the_schema_demands() {
    let events = [
        start(),
        thought(0, "Hm"),
        signature(0, "s"),
        text(1, "b"),
        call(2, "a", "f"),
        arguments(2, "{\"x\": 1}"),
        finish(FinishReason::ToolCalls),
        cached_usage(),
    ];
    let expected = json!({
        "id": "id1",
        "type": "message",
        "role": "assistant",
        "model": "real",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "s"},
            {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": null,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 60,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 8},
        },
    });
    assert_eq!(whole(MESSAGES, &settings(), &events), expected);

    let silent = whole(MESSAGES, &settings(), &[]);
    assert_eq!(silent["id"], "msg_x1");
    assert_eq!(silent["content"], json!([]));
    assert_eq!(silent["stop_reason"], "end_turn");
}

#[test]
fn arguments_that_are_no_object_stay_legible() {
    // hermes-agent#107830, smg#2433.
    let cases = [
        ("", json!({})),
        (" ", json!({})),
        ("{\"x\": 1}", json!({"x": 1})),
        ("{\"city\": \"Par", json!({"raw": "{\"city\": \"Par"})),
        ("[1]", json!({"raw": "[1]"})),
        ("{}{}", json!({"raw": "{}{}"})),
    ];
    for (text, input) in cases {
        let events = [start(), call(0, "a", "f"), arguments(0, text)];
        let body = whole(MESSAGES, &settings(), &events);
        assert_eq!(body["content"][0]["input"], input, "{text:?}");
    }
}

#[test]
fn a_message_keeps_what_the_upstream_added() {
    let events = [
        start(),
        other(
            0,
            "content_block_start",
            r#"{"content_block":{"type":"server_tool_use","id":"s","input":{}}}"#,
        ),
        other(
            0,
            "content_block_delta",
            r#"{"delta":{"type":"input_json_delta","partial_json":"{\"q\":1}"}}"#,
        ),
        other(0, "content_block_stop", "{}"),
        other(
            1,
            "content_block_start",
            r#"{"content_block":{"type":"compaction","content":null}}"#,
        ),
        other(
            1,
            "content_block_delta",
            r#"{"delta":{"type":"compaction_delta","content":"short"}}"#,
        ),
        text(2, "q"),
        other(
            2,
            "content_block_delta",
            r#"{"delta":{"type":"citations_delta","citation":{"n":1}}}"#,
        ),
        other(
            2,
            "content_block_delta",
            r#"{"delta":{"type":"citations_delta","citation":{"n":2}}}"#,
        ),
        other(0, "stop_details", r#"{"type":"refusal"}"#),
    ];
    let body = whole(MESSAGES, &same_dialect(), &events);
    let content = json!([
        {"type": "server_tool_use", "id": "s", "input": {"q": 1}},
        {"type": "compaction", "content": "short"},
        {"type": "text", "text": "q", "citations": [{"n": 1}, {"n": 2}]},
    ]);
    assert_eq!(body["content"], content);
    assert_eq!(body["stop_details"], json!({"type": "refusal"}));
    let hidden = whole(MESSAGES, &settings(), &events);
    assert_eq!(hidden["content"], json!([{"type": "text", "text": "q"}]));
}

#[test]
fn an_error_anywhere_is_the_answer() {
    let events = [start(), text(0, "Hi"), ModelEvent::Error(failure())];
    for dialect in [CHAT, MESSAGES] {
        let error = by_name(dialect)
            .unwrap()
            .render_body(&settings(), &events)
            .unwrap_err();
        assert_eq!(
            (error.status, error.kind.as_str()),
            (529, "overloaded_error")
        );
    }
}
