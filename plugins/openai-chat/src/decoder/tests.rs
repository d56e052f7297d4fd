//! Answers that servers give, and what a client hears of them.

use serde_json::json;

use super::{Decoder, ModelEvent};
use crate::heard::{streamed, told, whole};

const TRUNCATED: &str =
    "error 502 upstream_truncated the upstream's answer was cut off before it was complete";

#[test]
fn usage_is_told_when_it_changes() {
    let told = streamed(&[
        r#"{"id":"a","choices":[{"delta":{"content":"x"}}],"usage":null}"#,
        r#"{"id":"a","choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        r#"{"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        r#"{"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2},"x_groq":{"usage":{"prompt_tokens":9}}}"#,
        "[DONE]",
    ]);
    assert_eq!(
        told[..4],
        ["0.0 text x", "usage 1 1", "0 stop", "usage 1 2"]
    );
}

#[test]
fn choices_do_not_mix() {
    let told = streamed(&[
        r#"{"choices":[{"index":1,"delta":{"content":"b"}},{"index":0,"delta":{"reasoning":"t"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"c"}}]}"#,
        "[DONE]",
    ]);
    assert_eq!(
        told,
        [
            "1.0 text b",
            "0.0 reasoning t",
            "0.1 text a",
            "0 stop",
            "1.0 text c",
            "1 stop"
        ]
    );
}

#[test]
fn the_first_chunk_of_azure_waits_for_the_second() {
    let mut decoder = Decoder::new(200, true);
    let first = decoder.push(
        None,
        br#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[1]}"#,
    );
    assert_eq!(first, []);
    let second = decoder.push(None, br#"{"choices":[{"delta":{"role":"assistant"}}],"created":7,"id":"i","model":"m","object":"chat.completion.chunk"}"#);
    assert_eq!(
        told(&second),
        ["start i m 7", "0.0 other prompt_filter_results [1]"]
    );
}

#[test]
fn members_that_repeat_are_told_once() {
    let chunk = r#"{"id":"a","object":"chat.completion.chunk","system_fingerprint":"f","service_tier":null,
        "obfuscation":"zzz","provider":"p","choices":[{"delta":{"content":"x"},"logprobs":{"content":[1]},
        "content_filter_results":{"hate":1},"native_finish_reason":null}]}"#;
    let told = streamed(&[chunk, chunk, "[DONE]"]);
    assert_eq!(
        told,
        [
            r#"0.0 other provider "p""#,
            r#"0.0 other system_fingerprint "f""#,
            "0.0 text x",
            r#"0.0 other logprobs {"content":[1]}"#,
            r#"0.0 other content_filter_results {"hate":1}"#,
            "0.0 text x",
            r#"0.0 other logprobs {"content":[1]}"#,
            "0 stop",
        ]
    );
}

#[test]
fn a_stream_ends_once() {
    let text = r#"{"id":"a","choices":[{"delta":{"content":"x"}}]}"#;
    let stop = r#"{"id":"a","choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    let cases = [
        (vec![text, stop, "[DONE]"], vec!["0.0 text x", "0 stop"]),
        (
            vec![text, "[DONE]", text, "[DONE]", "junk"],
            vec!["0.0 text x", "0 stop"],
        ),
        (vec!["[DONE]"], vec!["0 stop"]),
        (vec!["", " \n", "[DONE] "], vec!["0 stop"]),
        (vec![], vec![TRUNCATED]),
        (vec![text], vec!["0.0 text x", TRUNCATED]),
        (vec![text, stop], vec!["0.0 text x", "0 stop", TRUNCATED]),
        (
            vec![text, stop, text, "[DONE]"],
            vec!["0.0 text x", "0 stop", "0.0 text x"],
        ),
    ];
    for (frames, expected) in cases {
        assert_eq!(streamed(&frames), expected, "{frames:?}");
    }
}

#[test]
fn a_server_without_terminator_ends_at_the_finish_reason() {
    for (chunk, whole) in [
        (
            r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#,
            true,
        ),
        (r#"{"choices":[{"delta":{"content":"x"}}]}"#, false),
        (
            r#"{"choices":[{"delta":{}},{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
            false,
        ),
    ] {
        let mut decoder = Decoder::new(200, true);
        decoder.ends_at_finish_reason(true);
        decoder.push(None, chunk.as_bytes());
        assert_eq!(told(&decoder.finish()).is_empty(), whole, "{chunk}");
    }
}

#[test]
fn nothing_follows_an_error() {
    let text = r#"{"id":"a","choices":[{"delta":{"content":"x"}}]}"#;
    let cases = [
        (
            r#"{"error":{"message":"m","type":"server_error"}}"#,
            "error 500 server_error m",
        ),
        (r#"{"error":"m"}"#, "error 502  m"),
        (
            r#"{"error":{"code":503,"message":"m"},"choices":[{"delta":{"content":"no"},"finish_reason":"stop"}]}"#,
            "error 503  m",
        ),
        (
            r#"{"choices":[{"delta":{},"error":{"code":429,"message":"m"},"finish_reason":"stop"}]}"#,
            "error 429  m",
        ),
        (
            r#"{"message":"m","type":"too_many_requests_error"}"#,
            "error 429 too_many_requests_error m",
        ),
        (
            r#"{"object":"error","message":"m","code":400}"#,
            "error 400  m",
        ),
        (
            r#"{"id":"#,
            "error 502 upstream_malformed the upstream sent what is not JSON: EOF while parsing a value at line 1 column 6",
        ),
    ];
    for (frame, expected) in cases {
        assert_eq!(
            streamed(&[text, frame, text, "[DONE]"]),
            ["0.0 text x", expected]
        );
        assert_eq!(streamed(&[frame, text]), [expected]);
    }
    // An error that is null is none.
    let chunk = r#"{"error":null,"choices":[{"delta":{"content":"x"}}]}"#;
    assert_eq!(streamed(&[chunk, "[DONE]"]), ["0.0 text x", "0 stop"]);
}

#[test]
fn frames_with_names() {
    let mut decoder = Decoder::new(200, true);
    assert_eq!(decoder.push(Some("ping"), b"{}"), []);
    assert_eq!(decoder.push(None, br#"{"type":"ping"}"#), []);
    decoder.push(None, br#"{"choices":[{"delta":{}}]}"#);
    assert_eq!(
        told(&decoder.push(Some("status"), br#"{"queue":3}"#)),
        [r#"0.0 other status {"queue":3}"#]
    );
    let error = decoder.push(Some("error"), br#"{"reason":"x"}"#);
    assert_eq!(
        told(&error),
        [r#"error 502  the upstream failed: {"reason":"x"}"#]
    );
    assert_eq!(decoder.finish(), []);
}

#[test]
fn whole_answers() {
    let body = json!({
        "id": "a", "object": "chat.completion", "created": 5, "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "logprobs": null, "message": {
                "role": "assistant", "content": null, "refusal": null, "annotations": [],
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{oops"}},
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}},
            {"index": 1, "finish_reason": "length", "message": {
                "content": "x", "reasoning": "t", "function_call": null}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
        "service_tier": "default",
    });
    assert_eq!(
        whole(&body),
        [
            "start a m 5",
            "usage 3 4",
            r#"0.0 other service_tier "default""#,
            "0.0 call c f",
            "0.0 arguments {oops",
            "0.1 call c f",
            "0 tool-calls",
            "1.0 reasoning t",
            "1.1 text x",
            "1 length",
        ]
    );
    assert_eq!(whole(&json!({"choices": []})), ["start - - 0", "0 stop"]);
}

#[test]
fn whole_answers_that_are_none() {
    let cases = [
        (200, "", TRUNCATED.to_owned()),
        (200, r#"{"id":"a","cho"#, TRUNCATED.to_owned()),
        (200, "<html>", "error 502 upstream_malformed the upstream sent what is not JSON: expected value at line 1 column 1".into()),
        (200, r#"{"id":"a"}"#, "error 502 upstream_malformed the upstream sent an answer without choices".into()),
        (200, r#"{"error":{"message":"m","code":401}}"#, "error 401  m".into()),
        (200, r#"{"detail":"m"}"#, "error 502  m".into()),
        (200, r#"["m"]"#, "error 502  m".into()),
        (404, r#"{"error":{"message":"m","type":"t","code":"c"}}"#, "error 404 t m".into()),
        (500, "", "error 500  the upstream answered with status 500 and no body".into()),
    ];
    for (status, body, expected) in cases {
        let mut decoder = Decoder::new(status, false);
        let mut events = decoder.push(None, body.as_bytes());
        events.extend(decoder.finish());
        assert_eq!(told(&events), [expected], "{body}");
    }
    // No frame at all.
    assert_eq!(told(&Decoder::new(200, false).finish()), [TRUNCATED]);
    assert_eq!(told(&Decoder::new(429, true).finish()).len(), 1);
}

/// What no server means to send costs as little as an error does.
#[test]
fn an_answer_is_bounded() {
    let numbers = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let joined = |entry: &dyn Fn(&String) -> String, count: usize| {
        let entries: Vec<_> = numbers(count).iter().map(entry).collect();
        entries.join(",")
    };
    let choices = joined(
        &|n| format!(r#"{{"index":{n},"delta":{{"content":"x"}}}}"#),
        2000,
    );
    let calls = joined(
        &|n| format!(r#"{{"index":{n},"function":{{"name":"f"}}}}"#),
        2000,
    );
    let members = joined(&|n| format!(r#""a{n}":1"#), 2000);
    let cases = [
        (
            format!(r#"{{"choices":[{choices}]}}"#),
            Some("too many choices"),
        ),
        (
            format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{calls}]}}}}]}}"#),
            Some("too many tool calls"),
        ),
        (format!(r#"{{"choices":[],"id":"x",{members}}}"#), None),
    ];
    for (chunk, wrong) in cases {
        let events = Decoder::new(200, true).push(None, chunk.as_bytes());
        let told = events.iter().find_map(|event| match event {
            ModelEvent::Error(error) => Some(error.message.clone()),
            _ => None,
        });
        let expected = wrong.map(|wrong| format!("the upstream sent {wrong}"));
        assert_eq!(told, expected, "{chunk:.80}");
    }
}
