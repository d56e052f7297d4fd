//! Tests of the dialects at their outside: requests and events in, texts,
//! hub requests and bytes out.

mod answers;
mod corpus;
mod errors;
mod hub;
mod joining;
mod requests;
mod stream_chat;
mod stream_messages;
mod watching;
mod whole;

use super::{Settings, StreamRenderer, by_name};
use crate::event::{
    Failure, Finish, FinishReason, Fragment, ModelEvent, Other, Start, ToolCall, Usage,
};

/// A client that asks "m" in exchange "x1" at second 7, for usage as well.
fn settings() -> Settings {
    Settings {
        exchange: "x1".into(),
        model: "m".into(),
        created: 7,
        usage_in_stream: true,
        same_dialect: false,
    }
}

fn same_dialect() -> Settings {
    Settings {
        same_dialect: true,
        ..settings()
    }
}

fn start() -> ModelEvent {
    let (id, model) = (Some("id1".into()), Some("real".into()));
    ModelEvent::Start(Start {
        id,
        model,
        created: Some(5),
    })
}

fn piece(part: u32, text: &str) -> Fragment {
    Fragment {
        choice: 0,
        part,
        text: text.into(),
    }
}

fn text(part: u32, text: &str) -> ModelEvent {
    ModelEvent::Text(piece(part, text))
}

fn thought(part: u32, text: &str) -> ModelEvent {
    ModelEvent::Reasoning(piece(part, text))
}

fn signature(part: u32, text: &str) -> ModelEvent {
    ModelEvent::ReasoningSignature(piece(part, text))
}

fn refusal(part: u32, text: &str) -> ModelEvent {
    ModelEvent::Refusal(piece(part, text))
}

fn call(part: u32, id: &str, name: &str) -> ModelEvent {
    ModelEvent::ToolCall(ToolCall {
        choice: 0,
        part,
        id: id.into(),
        name: name.into(),
    })
}

fn arguments(part: u32, text: &str) -> ModelEvent {
    ModelEvent::ToolArguments(piece(part, text))
}

fn finish(reason: FinishReason) -> ModelEvent {
    ModelEvent::Finish(Finish {
        choice: 0,
        reason,
        stop_sequence: None,
    })
}

/// The event, in another choice.
fn in_choice(choice: u32, mut event: ModelEvent) -> ModelEvent {
    match &mut event {
        ModelEvent::Text(piece)
        | ModelEvent::Refusal(piece)
        | ModelEvent::Reasoning(piece)
        | ModelEvent::ReasoningSignature(piece)
        | ModelEvent::ToolArguments(piece) => piece.choice = choice,
        ModelEvent::ToolCall(call) => call.choice = choice,
        ModelEvent::Finish(finish) => finish.choice = choice,
        ModelEvent::Other(other) => other.choice = choice,
        ModelEvent::Start(_) | ModelEvent::Usage(_) | ModelEvent::Error(_) => {}
    }
    event
}

fn other(part: u32, kind: &str, json: &str) -> ModelEvent {
    ModelEvent::Other(Other {
        choice: 0,
        part,
        kind: kind.into(),
        json: json.into(),
    })
}

fn no_usage() -> Usage {
    Usage {
        input_tokens: None,
        output_tokens: None,
        cache_read_tokens: None,
        cache_write_tokens: None,
        reasoning_tokens: None,
    }
}

fn usage(input: u64, output: u64) -> ModelEvent {
    let (input_tokens, output_tokens) = (Some(input), Some(output));
    ModelEvent::Usage(Usage {
        input_tokens,
        output_tokens,
        ..no_usage()
    })
}

/// 100 tokens read, of which 60 from a cache and 30 into it; 20 written, of
/// which 8 were thought.
fn cached_usage() -> ModelEvent {
    ModelEvent::Usage(Usage {
        input_tokens: Some(100),
        output_tokens: Some(20),
        cache_read_tokens: Some(60),
        cache_write_tokens: Some(30),
        reasoning_tokens: Some(8),
    })
}

fn failure() -> Failure {
    Failure {
        status: 529,
        kind: "overloaded_error".into(),
        code: None,
        message: "Overloaded".into(),
    }
}

fn renderer(dialect: &str, settings: Settings) -> Box<dyn StreamRenderer> {
    by_name(dialect).unwrap().stream_renderer(settings)
}

/// The stream of these events, which must be the same however they are cut
/// into calls.
fn streamed(dialect: &str, settings: Settings, events: &[ModelEvent]) -> String {
    let mut at_once = Vec::new();
    let mut stream = renderer(dialect, settings.clone());
    stream.events(events, &mut at_once);
    stream.finish(&mut at_once);

    let mut one_by_one = Vec::new();
    let mut stream = renderer(dialect, settings);
    for event in events {
        stream.events(std::slice::from_ref(event), &mut one_by_one);
    }
    stream.finish(&mut one_by_one);
    stream.finish(&mut one_by_one);
    stream.events(events, &mut one_by_one);

    let at_once = String::from_utf8(at_once).unwrap();
    assert_eq!(
        String::from_utf8(one_by_one).unwrap(),
        at_once,
        "cut into single events"
    );
    at_once
}

/// The whole body of these events, as JSON.
fn whole(dialect: &str, settings: &Settings, events: &[ModelEvent]) -> serde_json::Value {
    let body = by_name(dialect)
        .unwrap()
        .render_body(settings, events)
        .unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// The data of each frame of a stream of ours.
fn frames(stream: &str) -> Vec<&str> {
    let frames = stream.split_terminator("\n\n");
    frames
        .map(|frame| frame.split_once("data: ").unwrap().1)
        .collect()
}

/// The frames of a chat stream without what all of them have in common.
fn chat_lines(stream: &str) -> String {
    let shown = frames(stream).into_iter().map(|frame| {
        let frame = frame.replace(
            r#"{"id":"id1","object":"chat.completion.chunk","created":5,"model":"real","#,
            "{",
        );
        frame.replace(r#","logprobs":null,"finish_reason":null}]"#, "}]") + "\n"
    });
    shown.collect()
}

/// The frames of a messages stream; the name of each must be its `type`.
fn message_lines(stream: &str) -> String {
    let shown = stream.split_terminator("\n\n").map(|frame| {
        let (name, data) = frame.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        let rest = data.strip_prefix(&format!(r#"{{"type":"{name}""#)).unwrap();
        format!(
            "{name} {}\n",
            rest.trim_start_matches(',').strip_suffix('}').unwrap()
        )
    });
    shown.collect()
}
