//! Streams of messages, as readable texts.

use super::*;

const MESSAGES: &str = "anthropic.messages";

fn lines(settings: Settings, events: &[ModelEvent]) -> String {
    message_lines(&streamed(MESSAGES, settings, events))
}

/// The lines about content, without the head and the end.
fn content_lines(settings: Settings, events: &[ModelEvent]) -> String {
    let lines = lines(settings, events);
    let of_content = lines.lines().filter(|line| !line.starts_with("message_"));
    of_content
        .map(|line| format!("{}\n", line.trim_start_matches("content_block_")))
        .collect()
}

#[test]
fn a_short_answer_in_full() {
    // Usage that comes after the reason is told all the same.
    let events = [
        start(),
        text(0, "Hi"),
        finish(FinishReason::Stop),
        usage(3, 1),
    ];
    let expected = r#"event: message_start
data: {"type":"message_start","message":{"id":"id1","type":"message","role":"assistant","model":"real","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(streamed(MESSAGES, settings(), &events), expected);
}

#[test]
fn usage_that_is_known_at_the_start_is_told_there() {
    // litellm#31069: what came from a cache is counted apart.
    let events = [start(), cached_usage(), text(0, "Hi")];
    let usage = r#""usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":60,"output_tokens":20,"output_tokens_details":{"thinking_tokens":8}}"#;
    let lines = lines(settings(), &events);
    let told = lines
        .lines()
        .filter(|line| line.contains(usage))
        .map(|l| l.split_once(' ').unwrap().0);
    assert_eq!(
        told.collect::<Vec<_>>(),
        ["message_start", "message_delta"],
        "{lines}"
    );
}

#[test]
fn thinking_text_and_calls_are_blocks_one_after_the_other() {
    let events = [
        start(),
        thought(0, "Hm"),
        thought(0, "."),
        signature(0, "s1"),
        signature(0, "s2"),
        text(1, "I look."),
        call(2, "a", "f"),
        arguments(2, "{\"x\":"),
        arguments(2, "1}"),
        call(3, "b", "g"),
        finish(FinishReason::ToolCalls),
    ];
    let expected = r#"start "index":0,"content_block":{"type":"thinking","thinking":"","signature":""}
delta "index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}
delta "index":0,"delta":{"type":"thinking_delta","thinking":"."}
delta "index":0,"delta":{"type":"signature_delta","signature":"s1s2"}
stop "index":0
start "index":1,"content_block":{"type":"text","text":""}
delta "index":1,"delta":{"type":"text_delta","text":"I look."}
stop "index":1
start "index":2,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}
delta "index":2,"delta":{"type":"input_json_delta","partial_json":"{\"x\":"}
delta "index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}
stop "index":2
start "index":3,"content_block":{"type":"tool_use","id":"b","name":"g","input":{}}
stop "index":3
"#;
    assert_eq!(content_lines(settings(), &events), expected);
}

#[test]
fn calls_whose_fragments_interleave_come_out_one_after_the_other() {
    // ruby_llm#710. The first call is written as it comes, the second as far
    // as it has come when the first is complete, and then as it comes.
    let events = [
        start(),
        call(0, "a", "f"),
        call(1, "b", "g"),
        arguments(0, "{\"x\""),
        arguments(1, "{\"y\""),
        arguments(1, ":"),
        text(2, "aside"),
        arguments(0, ":1}"),
        arguments(1, "2}"),
        text(2, "."),
        finish(FinishReason::ToolCalls),
    ];
    let expected = r#"start "index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}
delta "index":0,"delta":{"type":"input_json_delta","partial_json":"{\"x\""}
delta "index":0,"delta":{"type":"input_json_delta","partial_json":":1}"}
stop "index":0
start "index":1,"content_block":{"type":"tool_use","id":"b","name":"g","input":{}}
delta "index":1,"delta":{"type":"input_json_delta","partial_json":"{\"y\":"}
delta "index":1,"delta":{"type":"input_json_delta","partial_json":"2}"}
stop "index":1
start "index":2,"content_block":{"type":"text","text":""}
delta "index":2,"delta":{"type":"text_delta","text":"aside"}
delta "index":2,"delta":{"type":"text_delta","text":"."}
stop "index":2
"#;
    assert_eq!(content_lines(settings(), &events), expected);
}

#[test]
fn a_call_that_stays_incomplete_lets_the_rest_out_at_the_end() {
    let events = [
        start(),
        call(0, "a", "f"),
        call(1, "b", "g"),
        arguments(1, "{\"y\":"),
        text(2, "after"),
        arguments(1, "2"),
        finish(FinishReason::Length),
    ];
    let expected = r#"start "index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}
stop "index":0
start "index":1,"content_block":{"type":"tool_use","id":"b","name":"g","input":{}}
delta "index":1,"delta":{"type":"input_json_delta","partial_json":"{\"y\":2"}
stop "index":1
start "index":2,"content_block":{"type":"text","text":""}
delta "index":2,"delta":{"type":"text_delta","text":"after"}
stop "index":2
"#;
    assert_eq!(content_lines(settings(), &events), expected);
}

#[test]
fn text_that_goes_on_has_a_second_block() {
    let events = [start(), text(0, "a"), thought(1, "b"), text(0, "c")];
    let starts = content_lines(settings(), &events);
    assert_eq!(starts.matches("start ").count(), 3, "{starts}");
}

#[test]
fn what_is_held_back_has_a_bound() {
    let mut stream = renderer(MESSAGES, settings());
    let mut out = Vec::new();
    stream.events(&[start(), call(0, "a", "f"), text(1, "x")], &mut out);
    let long = text(1, &"y".repeat(1 << 20));
    for _ in 0..9 {
        stream.events(std::slice::from_ref(&long), &mut out);
    }
    stream.finish(&mut out);
    let out = String::from_utf8(out).unwrap();
    let last = message_lines(&out).lines().last().unwrap().to_owned();
    assert!(
        last.starts_with(r#"error "error":{"type":"api_error","#),
        "{last}"
    );
}

#[test]
fn reasons_have_their_own_names() {
    let stopped_at = |sequence: &str| {
        let (choice, stop_sequence) = (0, Some(sequence.to_owned()));
        ModelEvent::Finish(Finish {
            choice,
            reason: FinishReason::Stop,
            stop_sequence,
        })
    };
    let cases = [
        (
            vec![finish(FinishReason::Stop)],
            r#""end_turn","stop_sequence":null"#,
        ),
        (
            vec![stopped_at("###")],
            r####""stop_sequence","stop_sequence":"###""####,
        ),
        (
            vec![finish(FinishReason::Length)],
            r#""max_tokens","stop_sequence":null"#,
        ),
        (
            vec![finish(FinishReason::ToolCalls)],
            r#""tool_use","stop_sequence":null"#,
        ),
        (
            vec![finish(FinishReason::ContentFilter)],
            r#""refusal","stop_sequence":null"#,
        ),
        (
            vec![finish(FinishReason::Pause)],
            r#""pause_turn","stop_sequence":null"#,
        ),
        (
            vec![refusal(0, "no"), finish(FinishReason::Stop)],
            r#""refusal","stop_sequence":null"#,
        ),
        (vec![], r#""end_turn","stop_sequence":null"#),
        (
            vec![call(0, "a", "f")],
            r#""tool_use","stop_sequence":null"#,
        ),
    ];
    for (events, expected) in cases {
        let lines = lines(settings(), &events);
        let delta = lines
            .lines()
            .find(|line| line.starts_with("message_delta"))
            .unwrap();
        let expected = format!(r#"message_delta "delta":{{"stop_reason":{expected}}},"#);
        assert!(delta.starts_with(&expected), "{delta} is not {expected}");
    }
}

#[test]
fn further_choices_are_left_out() {
    let events = [
        start(),
        text(0, "a"),
        in_choice(1, text(0, "b")),
        in_choice(1, finish(FinishReason::Length)),
        finish(FinishReason::Stop),
    ];
    let one = [start(), text(0, "a"), finish(FinishReason::Stop)];
    assert_eq!(lines(settings(), &events), lines(settings(), &one));
}

#[test]
fn what_the_upstream_added_reaches_clients_of_its_dialect_only() {
    let events = [
        start(),
        other(0, "container", r#"{"id":"c1"}"#),
        usage(5, 0),
        other(
            0,
            "content_block_start",
            r#"{"type":"content_block_start","index":4,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
        ),
        other(
            0,
            "content_block_delta",
            r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        ),
        other(
            0,
            "content_block_stop",
            r#"{"type":"content_block_stop","index":4}"#,
        ),
        other(
            1,
            "content_block_delta",
            r#"{"type":"content_block_delta","index":5,"delta":{"type":"citations_delta","citation":{"cited_text":"q"}}}"#,
        ),
        text(1, "q"),
        other(0, "news", r#"{"type":"news","x":1}"#),
        other(0, "context_management", "{}"),
        other(0, "bad\nname", r#"{"type":"bad\nname"}"#),
        finish(FinishReason::Stop),
    ];
    let expected = r#"message_start "message":{"id":"id1","type":"message","role":"assistant","model":"real","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}
content_block_start "index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}
content_block_delta "index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}
content_block_stop "index":0
content_block_start "index":1,"content_block":{"type":"text","text":""}
content_block_delta "index":1,"delta":{"type":"citations_delta","citation":{"cited_text":"q"}}
content_block_delta "index":1,"delta":{"type":"text_delta","text":"q"}
news "x":1
content_block_stop "index":1
message_delta "delta":{"stop_reason":"end_turn","stop_sequence":null,"container":{"id":"c1"}},"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0},"context_management":{}
message_stop 
"#;
    let lines_of = |settings| lines(settings, &events);
    assert_eq!(lines_of(same_dialect()), expected);
    let hidden = lines_of(settings());
    for absent in [
        "server_tool_use",
        "cited_text",
        "news",
        "container",
        "context_management",
    ] {
        assert!(!hidden.contains(absent), "{absent} in {hidden}");
    }
}

#[test]
fn redacted_thinking_comes_from_every_dialect() {
    let block = r#"{"type":"redacted_thinking","data":"zz"}"#;
    let events = [start(), other(0, "redacted_thinking", block), text(1, "Hi")];
    let expected = r#"start "index":0,"content_block":{"type":"redacted_thinking","data":"zz"}
stop "index":0
"#;
    let lines = content_lines(settings(), &events);
    assert!(lines.starts_with(expected), "{lines}");
}

#[test]
fn nothing_follows_an_error() {
    let events = [
        start(),
        text(0, "Hi"),
        finish(FinishReason::Stop),
        ModelEvent::Error(failure()),
        text(0, "more"),
    ];
    let lines = lines(settings(), &events);
    let last = r#"error "error":{"type":"overloaded_error","message":"Overloaded"}"#;
    assert_eq!(lines.lines().last(), Some(last));
    assert!(
        !lines.contains("message_delta") && !lines.contains("more"),
        "{lines}"
    );
}

#[test]
fn nothing_is_written_before_there_is_something_to_say() {
    let mut stream = renderer(MESSAGES, settings());
    let mut out = Vec::new();
    let member = other(0, "container", "{}");
    stream.events(
        &[start(), usage(1, 1), member, finish(FinishReason::Stop)],
        &mut out,
    );
    assert!(out.is_empty());
    stream.open(&mut out);
    stream.open(&mut out);
    assert_eq!(frames(std::str::from_utf8(&out).unwrap()).len(), 1);
}
