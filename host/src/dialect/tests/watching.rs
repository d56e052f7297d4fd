//! Answers that are passed through.

use super::*;
use crate::dialect::Watch;

/// What is seen of frames, of which each is a name and data.
fn seen(dialect: &str, frames: &[(&str, &str)]) -> Watch {
    let mut watch = Watch::new(by_name(dialect).unwrap());
    for (name, data) in frames {
        watch.frame((!name.is_empty()).then_some(*name), data.as_bytes());
    }
    watch
}

fn flags(watch: &Watch) -> (bool, bool, bool) {
    (watch.finished, watch.terminated, watch.failed)
}

fn tokens(watch: &Watch) -> (Option<u64>, Option<u64>) {
    (watch.input_tokens, watch.output_tokens)
}

#[test]
fn chat_streams() {
    let said = (
        "",
        r#"{"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":9}"},"finish_reason":null}],"usage":null}"#,
    );
    let reason = ("", r#"{"choices":[{"delta":{},"finish_reason": "stop"}]}"#);
    let usage = (
        "",
        r#"{"choices":[],"usage" : {"prompt_tokens":3,"completion_tokens":2}}"#,
    );
    let done = ("", " [DONE] ");
    let error = ("", r#"{"error":{"message":"no"}}"#);

    let watch = seen("openai.chat", &[said]);
    assert_eq!(
        (flags(&watch), tokens(&watch)),
        ((false, false, false), (None, None))
    );
    assert!(watch.truncated());
    let watch = seen("openai.chat", &[said, reason, usage]);
    assert_eq!(
        (flags(&watch), tokens(&watch)),
        ((true, false, false), (Some(3), Some(2)))
    );
    assert!(watch.truncated());
    let watch = seen("openai.chat", &[said, reason, usage, done]);
    assert_eq!(flags(&watch), (true, true, false));
    assert!(!watch.truncated());
    let watch = seen("openai.chat", &[said, error]);
    assert_eq!(flags(&watch), (false, false, true));
    assert!(!watch.truncated());
    // Some servers say that there is no error, or give a reason that is empty.
    let calm = ("", r#"{"choices":[{"finish_reason":""}],"error":null}"#);
    assert_eq!(
        flags(&seen("openai.chat", &[calm, ("", "{broken \"error\"")])),
        (false, false, false)
    );
}

#[test]
fn message_streams_with_and_without_names() {
    let frames = [
        (
            "message_start",
            r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":60,"output_tokens":1}}}"#,
        ),
        ("ping", r#"{"type":"ping"}"#),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"message_stop"}}"#,
        ),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":20,"cache_read_input_tokens":61}}"#,
        ),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ];
    let nameless = frames.map(|(_, data)| ("", data));
    for frames in [frames, nameless] {
        let watch = seen("anthropic.messages", &frames[..3]);
        assert_eq!(
            (flags(&watch), tokens(&watch)),
            ((false, false, false), (Some(100), Some(1)))
        );
        let watch = seen("anthropic.messages", &frames);
        assert_eq!(
            (flags(&watch), tokens(&watch)),
            ((true, true, false), (Some(101), Some(20)))
        );
    }
    let error = (
        "error",
        r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
    );
    assert_eq!(
        flags(&seen("anthropic.messages", &[error])),
        (false, false, true)
    );
    assert_eq!(
        flags(&seen("anthropic.messages", &[("", error.1)])),
        (false, false, true)
    );
}

#[test]
fn whole_bodies() {
    let mut watch = Watch::new(by_name("openai.chat").unwrap());
    let body = r#"{"choices":[{"message":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    watch.body(body.as_bytes());
    assert_eq!(
        (flags(&watch), tokens(&watch)),
        ((true, true, false), (Some(3), Some(2)))
    );

    let mut watch = Watch::new(by_name("anthropic.messages").unwrap());
    let body = r#"{"type":"message","stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}"#;
    watch.body(body.as_bytes());
    assert_eq!(
        (flags(&watch), tokens(&watch)),
        ((true, true, false), (Some(3), Some(2)))
    );
}

#[test]
fn what_we_write_we_can_watch() {
    let events = [
        start(),
        cached_usage(),
        text(0, "Hi"),
        finish(FinishReason::Stop),
    ];
    for dialect in ["openai.chat", "anthropic.messages"] {
        let mut watch = Watch::new(by_name(dialect).unwrap());
        let stream = streamed(dialect, settings(), &events);
        frames(&stream)
            .iter()
            .for_each(|data| watch.frame(None, data.as_bytes()));
        assert_eq!(
            (flags(&watch), tokens(&watch)),
            ((true, true, false), (Some(100), Some(20)))
        );
    }
}
