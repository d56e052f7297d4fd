//! What a choice says and how it ends, in the forms of many servers.

use serde_json::{Value, json};

use crate::heard::{deltas, streamed, whole};

fn check(cases: Vec<(Vec<Value>, Vec<&str>)>) {
    for (given, expected) in cases {
        assert_eq!(deltas(&given), expected, "{given:?}");
    }
}

#[test]
fn parts_begin_where_the_kind_changes() {
    let call = json!([{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]);
    check(vec![
        (vec![json!({"role": "assistant"})], vec!["0 stop"]),
        (
            vec![
                json!({"role": "assistant", "content": ""}),
                json!({"content": "a"}),
                json!({"content": null}),
                json!({"content": "b"}),
            ],
            vec!["0.0 text a", "0.0 text b", "0 stop"],
        ),
        (
            vec![
                json!({"reasoning": "t"}),
                json!({"reasoning": "u", "content": ""}),
                json!({"content": "a"}),
            ],
            vec!["0.0 reasoning t", "0.0 reasoning u", "0.1 text a", "0 stop"],
        ),
        (
            vec![
                json!({"reasoning_content": "t", "reasoning": "t"}),
                json!({"reasoning_content": null, "content": "a"}),
                json!({"reasoning_content": "v"}),
            ],
            vec!["0.0 reasoning t", "0.1 text a", "0.2 reasoning v", "0 stop"],
        ),
        (
            vec![json!({"refusal": "no"})],
            vec!["0.0 refusal no", "0 stop"],
        ),
        (
            vec![
                json!({"content": "a"}),
                json!({"tool_calls": call}),
                json!({"content": "b"}),
            ],
            vec![
                "0.0 text a",
                "0.1 call c f",
                "0.1 arguments {}",
                "0.2 text b",
                "0 tool-calls",
            ],
        ),
    ]);
}

#[test]
fn content_may_be_parts() {
    let thought = json!({"type": "thinking", "thinking": [{"type": "text", "text": "t"}]});
    let signed = json!({"type": "thinking", "thinking": "u", "signature": "s"});
    let reference = json!({"type": "reference", "reference_ids": [1]});
    check(vec![(
        vec![
            json!({"content": [thought]}),
            json!({"content": [signed]}),
            json!({"content": [{"type": "text", "text": "a"}, reference]}),
            json!({"content": "b"}),
        ],
        vec![
            "0.0 reasoning t",
            "0.0 reasoning u",
            "0.0 signature s",
            "0.1 text a",
            r#"0.1 other reference {"type":"reference","reference_ids":[1]}"#,
            "0.1 text b",
            "0 stop",
        ],
    )]);
}

#[test]
fn what_events_cannot_express_is_other() {
    let custom = json!({"id": "c", "type": "custom", "custom": {"name": "f", "input": "i"}});
    check(vec![
        (
            vec![
                json!({"content": "a", "annotations": [], "audio": {"id": "x"}}),
                json!({"audio": {"id": "x"}}),
            ],
            vec![
                "0.0 text a",
                r#"0.0 other audio {"id":"x"}"#,
                r#"0.0 other audio {"id":"x"}"#,
                "0 stop",
            ],
        ),
        (
            vec![json!({"tool_calls": [custom]})],
            vec![
                r#"0.0 other tool_calls [{"id":"c","type":"custom","custom":{"name":"f","input":"i"}}]"#,
                "0 stop",
            ],
        ),
    ]);
}

#[test]
fn the_call_of_older_servers_is_a_call() {
    check(vec![(
        vec![
            json!({"function_call": {"name": "f", "arguments": "{"}}),
            json!({"function_call": {"arguments": "}"}}),
        ],
        vec![
            "0.0 call call_a_0_0 f",
            "0.0 arguments {",
            "0.0 arguments }",
            "0 tool-calls",
        ],
    )]);
}

#[test]
fn signed_reasoning_keeps_its_signature() {
    let block = |thinking: &str, signature: &str| json!({"index": 0, "type": "thinking", "thinking": thinking, "signature": signature});
    let redacted = json!({"type": "redacted_thinking", "data": "d"});
    // As this project writes it, and others: the text comes twice.
    assert_eq!(
        deltas(&[
            json!({"reasoning_content": "a"}),
            json!({"reasoning_content": "b"}),
            json!({"thinking_blocks": [block("ab", "s")]}),
            json!({"thinking_blocks": [redacted.clone()]}),
            json!({"reasoning_content": "c"}),
        ]),
        [
            "0.0 reasoning a",
            "0.0 reasoning b",
            "0.0 signature s",
            r#"0.1 other redacted_thinking {"type":"redacted_thinking","data":"d"}"#,
            "0.2 reasoning c",
            "0 stop"
        ]
    );
    assert_eq!(
        whole(&json!({"choices": [{"message": {
            "reasoning_content": "ab", "content": "x",
            "thinking_blocks": [block("a", "s"), redacted, block("b", "t")]}}]})),
        [
            "start - - 0",
            "0.0 reasoning a",
            "0.0 signature s",
            r#"0.1 other redacted_thinking {"type":"redacted_thinking","data":"d"}"#,
            "0.2 reasoning b",
            "0.2 signature t",
            "0.3 text x",
            "0 stop"
        ]
    );
}

#[test]
fn reasons_to_finish() {
    let call = json!({"tool_calls": [{"id": "c", "function": {"name": "f"}}]});
    let cases = [
        (json!({"finish_reason": "stop"}), "0 stop"),
        (json!({"finish_reason": "length"}), "0 length"),
        (json!({"finish_reason": "model_length"}), "0 length"),
        (
            json!({"finish_reason": "content_filter"}),
            "0 content-filter",
        ),
        (json!({"finish_reason": "function_call"}), "0 tool-calls"),
        (json!({"finish_reason": "some_new_one"}), "0 stop"),
        (json!({"finish_reason": ""}), "0 stop"),
        (json!({"finish_reason": null}), "0 stop"),
        (
            json!({"finish_reason": "stop", "stop_reason": "END"}),
            "0 stop at END",
        ),
        (
            json!({"finish_reason": "stop", "matched_stop": "\n"}),
            "0 stop at \n",
        ),
        (
            json!({"delta": call, "finish_reason": "stop"}),
            "0 tool-calls",
        ),
        (
            json!({"delta": call, "finish_reason": "length"}),
            "0 length",
        ),
        (json!({"delta": call}), "0 tool-calls"),
    ];
    for (choice, expected) in cases {
        let chunk = json!({"id": "a", "choices": [choice]}).to_string();
        let told = streamed(&[&chunk, &chunk, "[DONE]"]);
        let finishes: Vec<_> = told
            .iter()
            .filter(|event| event.starts_with("0 "))
            .collect();
        assert_eq!(finishes, [expected], "{chunk}");
    }
    let failed = streamed(&[
        r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(failed.len(), 1);
    assert!(failed[0].starts_with("error 502 upstream_failed"));
}
