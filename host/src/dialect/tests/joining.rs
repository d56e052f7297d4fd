//! Frames that went out as they came, and what is written after them.

use super::*;

/// What is written for `events` after these frames, each with the events that
/// it was decoded to, were sent as they came.
fn after(dialect: &str, frames: &[(&str, Vec<ModelEvent>)], events: &[ModelEvent]) -> String {
    let mut stream = renderer(dialect, same_dialect());
    for (data, events) in frames {
        stream.sent(data.as_bytes(), events);
    }
    let mut out = Vec::new();
    stream.events(events, &mut out);
    stream.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_chat_stream_goes_on_where_the_frames_ended() {
    let lines = |frames: &[_], events: &[_]| chat_lines(&after("openai.chat", frames, events));
    let role = (
        r#"{"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}],"usage":null}"#,
        vec![start()],
    );
    let said = (
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        vec![text(0, "a")],
    );
    let call_frame = (
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{}]}}]}"#,
        vec![call(1, "a", "f")],
    );
    let reason = (
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        vec![finish(FinishReason::Stop)],
    );
    let usage_frame = (
        r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#,
        vec![usage(3, 1)],
    );
    let done = ("[DONE]", vec![]);

    let frames = [role.clone(), said.clone(), call_frame];
    let expected = r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}],"usage":null}
{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null}
[DONE]
"#;
    assert_eq!(lines(&frames, &[arguments(1, "{}")]), expected);

    let frames = [role, said, reason, usage_frame, done];
    assert_eq!(lines(&frames[..4], &[]), "[DONE]\n");
    assert_eq!(lines(&frames, &[text(0, "late")]), "");
}

#[test]
fn a_messages_stream_goes_on_where_the_frames_ended() {
    let lines =
        |frames: &[_], events: &[_]| message_lines(&after("anthropic.messages", frames, events));
    let frames = [
        (
            r#"{"type":"message_start","message":{}}"#,
            vec![start(), usage(3, 0)],
        ),
        (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
            vec![],
        ),
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"thinking":"Hm"}}"#,
            vec![thought(0, "Hm")],
        ),
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"signature":"s"}}"#,
            vec![signature(0, "s")],
        ),
        (r#"{"type":"content_block_stop","index":0}"#, vec![]),
        (r#"{"type":"ping"}"#, vec![]),
        (
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
            vec![],
        ),
        (
            r#"{"type":"content_block_delta","index":1,"delta":{"text":"a"}}"#,
            vec![text(1, "a")],
        ),
        (r#"{"type":"content_block_stop","index":1}"#, vec![]),
        (
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use"}}"#,
            vec![call(2, "a", "f")],
        ),
        (r#"{"type":"content_block_stop","index":2}"#, vec![]),
        (
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#,
            vec![usage(3, 2)],
        ),
        (
            r#"{"type":"message_stop"}"#,
            vec![finish(FinishReason::ToolCalls)],
        ),
    ];
    let end = r#"message_delta "delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}
message_stop 
"#;
    // The head has been told.
    let began =
        "content_block_start \"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}\n";
    assert!(lines(&frames[..1], &[text(0, "b")]).starts_with(began));

    // A block that the frames began is neither begun nor signed again.
    let expected = format!("content_block_stop \"index\":0\n{end}");
    assert_eq!(lines(&frames[..4], &[]), expected);

    // Text goes on in the block that the frames began, empty or not.
    for count in [7, 8] {
        let expected = format!(
            "content_block_delta \"index\":1,\"delta\":{{\"type\":\"text_delta\",\"text\":\"b\"}}\n\
             content_block_stop \"index\":1\n{end}"
        );
        assert_eq!(
            lines(&frames[..count], &[text(1, "b")]),
            expected,
            "after {count}"
        );
    }

    // A block that the frames ended is not ended again.
    assert_eq!(lines(&frames[..9], &[]), end);
    let after_call = lines(&frames[..10], &[arguments(2, "{}")]);
    let argued = "content_block_delta \"index\":2,\"delta\":{\"type\":\"input_json_delta\"";
    assert!(after_call.starts_with(argued), "{after_call}");

    // Neither are the end and the terminator told again.
    assert_eq!(lines(&frames[..12], &[]), "message_stop \n");
    assert_eq!(lines(&frames, &[text(9, "late")]), "");
}
