//! Streams of chat completions, as readable texts.

use super::*;

const CHAT: &str = "openai.chat";

/// The lines of a stream of these events.
fn lines(settings: Settings, events: &[ModelEvent]) -> String {
    chat_lines(&streamed(CHAT, settings, events))
}

#[test]
fn a_short_answer_in_full() {
    let settings = Settings {
        usage_in_stream: false,
        ..settings()
    };
    let events = [
        start(),
        text(0, "Hi"),
        finish(FinishReason::Stop),
        usage(3, 1),
    ];
    let expected = r#"data: {"id":"id1","object":"chat.completion.chunk","created":5,"model":"real","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

data: {"id":"id1","object":"chat.completion.chunk","created":5,"model":"real","choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}]}

data: {"id":"id1","object":"chat.completion.chunk","created":5,"model":"real","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}

data: [DONE]

"#;
    assert_eq!(streamed(CHAT, settings, &events), expected);
}

#[test]
fn usage_comes_last_and_is_null_before_if_it_was_asked_for() {
    // litellm#28735. The usage is told before the reason, as Anthropic does.
    let events = [
        start(),
        cached_usage(),
        text(0, "Hi"),
        finish(FinishReason::Length),
    ];
    let expected = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}
{"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}
{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}],"usage":null}
{"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":60,"audio_tokens":0,"cache_write_tokens":30},"completion_tokens_details":{"reasoning_tokens":8,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}
[DONE]
"#;
    assert_eq!(lines(settings(), &events), expected);
}

#[test]
fn calls_keep_their_index_while_fragments_interleave() {
    // litellm#5231, ruby_llm#710, bifrost#3443: a repeated head is not told
    // again, and a call without arguments ends as an empty object.
    let settings = Settings {
        usage_in_stream: false,
        ..settings()
    };
    let events = [
        start(),
        call(0, "a", "f"),
        call(1, "b", "g"),
        arguments(0, "{\"x\""),
        arguments(1, "{}"),
        call(0, "a", "f"),
        arguments(0, ":1}"),
        call(2, "c", "h"),
        arguments(9, "{}"),
        finish(FinishReason::ToolCalls),
    ];
    let expected = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}
{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}}]}
{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]}}]}
{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]}}]}
{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}}]}
{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}
{"choices":[{"index":0,"delta":{"tool_calls":[{"index":2,"id":"c","type":"function","function":{"name":"h","arguments":""}}]}}]}
{"choices":[{"index":0,"delta":{"tool_calls":[{"index":2,"function":{"arguments":"{}"}}]}}]}
{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}]}
[DONE]
"#;
    assert_eq!(lines(settings, &events), expected);
}

#[test]
fn reasoning_is_shown_and_its_signed_block_comes_whole() {
    let settings = Settings {
        usage_in_stream: false,
        ..settings()
    };
    let redacted = r#"{"type":"redacted_thinking","data":"zz"}"#;
    let events = [
        start(),
        thought(0, "One, "),
        thought(0, "two."),
        signature(0, "sig"),
        other(1, "redacted_thinking", redacted),
        text(2, "Two."),
        finish(FinishReason::Stop),
    ];
    let expected = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}
{"choices":[{"index":0,"delta":{"reasoning_content":"One, "}}]}
{"choices":[{"index":0,"delta":{"reasoning_content":"two."}}]}
{"choices":[{"index":0,"delta":{"thinking_blocks":[{"index":0,"type":"thinking","thinking":"One, two.","signature":"sig"}]}}]}
{"choices":[{"index":0,"delta":{"thinking_blocks":[{"type":"redacted_thinking","data":"zz","index":1}]}}]}
{"choices":[{"index":0,"delta":{"content":"Two."}}]}
{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}
[DONE]
"#;
    assert_eq!(lines(settings, &events), expected);
}

#[test]
fn each_choice_has_its_own_role_and_reason() {
    let settings = Settings {
        usage_in_stream: false,
        ..settings()
    };
    let events = [
        start(),
        in_choice(1, text(0, "b")),
        text(0, "a"),
        in_choice(1, finish(FinishReason::Length)),
        refusal(1, "no"),
        finish(FinishReason::ContentFilter),
        finish(FinishReason::Stop),
    ];
    let expected = r#"{"choices":[{"index":1,"delta":{"role":"assistant","content":""}}]}
{"choices":[{"index":1,"delta":{"content":"b"}}]}
{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}
{"choices":[{"index":0,"delta":{"content":"a"}}]}
{"choices":[{"index":0,"delta":{"refusal":"no"}}]}
{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"content_filter"}]}
{"choices":[{"index":1,"delta":{},"logprobs":null,"finish_reason":"length"}]}
[DONE]
"#;
    assert_eq!(lines(settings, &events), expected);
}

#[test]
fn what_the_upstream_added_reaches_clients_of_its_dialect_only() {
    let events = [
        start(),
        other(0, "service_tier", r#""default""#),
        text(0, "Hi"),
        other(0, "logprobs", r#"{"content":[],"refusal":null}"#),
        other(0, "annotations", r#"[{"type":"url_citation"}]"#),
        other(0, "content", r#""again""#),
        other(0, "audio", "not json"),
        other(
            1,
            "tool_calls",
            r#"[{"index":0,"id":"k","type":"custom","custom":{"name":"n","input":"a"}}]"#,
        ),
        call(2, "a", "f"),
        other(1, "tool_calls", r#"[{"index":0,"custom":{"input":"b"}}]"#),
        arguments(2, "{}"),
        finish(FinishReason::ToolCalls),
    ];
    let shown = Settings {
        usage_in_stream: false,
        ..same_dialect()
    };
    let expected = r#"{"service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}
{"service_tier":"default","choices":[{"index":0,"delta":{"content":"Hi"}}]}
{"service_tier":"default","choices":[{"index":0,"delta":{},"logprobs":{"content":[],"refusal":null},"finish_reason":null}]}
{"service_tier":"default","choices":[{"index":0,"delta":{"annotations":[{"type":"url_citation"}]}}]}
{"service_tier":"default","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"k","type":"custom","custom":{"name":"n","input":"a"}}]}}]}
{"service_tier":"default","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}}]}
{"service_tier":"default","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"custom":{"input":"b"}}]}}]}
{"service_tier":"default","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}}]}
{"service_tier":"default","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}]}
[DONE]
"#;
    assert_eq!(lines(shown, &events), expected);

    let hidden = Settings {
        usage_in_stream: false,
        ..settings()
    };
    let seen = lines(hidden, &events);
    for absent in ["service_tier", "annotations", "custom", "again"] {
        assert!(!seen.contains(absent), "{absent} in {seen}");
    }
}

#[test]
fn nothing_follows_an_error() {
    // Portkey#722: neither a reason, nor the terminator.
    let events = [
        start(),
        text(0, "Hi"),
        finish(FinishReason::Stop),
        ModelEvent::Error(failure()),
        text(0, "more"),
    ];
    let expected = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}
{"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}
{"error":{"message":"Overloaded","type":"overloaded_error","param":null,"code":null}}
"#;
    assert_eq!(lines(settings(), &events), expected);
}

#[test]
fn what_is_missing_is_made_up() {
    // vercel/ai#12218: a reason; and identifier, model and time.
    let empty = ModelEvent::Start(Start {
        id: None,
        model: Some(String::new()),
        created: None,
    });
    let expected = r#"data: {"id":"chatcmpl-x1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":null},"logprobs":null,"finish_reason":null}],"usage":null}"#;
    let stream = streamed(CHAT, settings(), &[empty, call(0, "a", "f"), text(1, "")]);
    assert!(stream.starts_with(expected), "{stream}");
    assert!(
        stream.contains(r#""finish_reason":"tool_calls""#),
        "{stream}"
    );

    let silent = streamed(CHAT, settings(), &[]);
    assert_eq!(frames(&silent).len(), 3, "{silent}");
    assert!(silent.contains(r#""finish_reason":"stop""#), "{silent}");
}

#[test]
fn nothing_is_written_before_there_is_something_to_say() {
    let mut stream = renderer(CHAT, settings());
    let mut out = Vec::new();
    stream.events(
        &[start(), usage(1, 1), finish(FinishReason::Stop)],
        &mut out,
    );
    assert!(out.is_empty());
    stream.open(&mut out);
    stream.open(&mut out);
    assert_eq!(frames(std::str::from_utf8(&out).unwrap()).len(), 1);
}
