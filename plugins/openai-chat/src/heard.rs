//! For tests: what a client hears of an answer, in lines that can be compared.

use serde_json::{Value, json};

use crate::Decoder;
use crate::model::{FinishReason, ModelEvent};

/// What events say, one line each, without the start.
pub fn told(events: &[ModelEvent]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event {
            ModelEvent::Start(start) => format!(
                "start {} {} {}",
                start.id.as_deref().unwrap_or("-"),
                start.model.as_deref().unwrap_or("-"),
                start.created.unwrap_or(0)
            ),
            ModelEvent::Text(f) => format!("{}.{} text {}", f.choice, f.part, f.text),
            ModelEvent::Reasoning(f) => format!("{}.{} reasoning {}", f.choice, f.part, f.text),
            ModelEvent::ReasoningSignature(f) => {
                format!("{}.{} signature {}", f.choice, f.part, f.text)
            }
            ModelEvent::Refusal(f) => format!("{}.{} refusal {}", f.choice, f.part, f.text),
            ModelEvent::ToolCall(c) => format!("{}.{} call {} {}", c.choice, c.part, c.id, c.name),
            ModelEvent::ToolArguments(f) => format!("{}.{} arguments {}", f.choice, f.part, f.text),
            ModelEvent::Usage(u) => {
                format!(
                    "usage {} {}",
                    u.input_tokens.unwrap_or(0),
                    u.output_tokens.unwrap_or(0)
                )
            }
            ModelEvent::Finish(f) => {
                let reason = match f.reason {
                    FinishReason::Stop => "stop",
                    FinishReason::Length => "length",
                    FinishReason::ToolCalls => "tool-calls",
                    FinishReason::ContentFilter => "content-filter",
                    FinishReason::Pause => "pause",
                };
                let stop = f.stop_sequence.as_deref().map(|s| format!(" at {s}"));
                format!("{} {reason}{}", f.choice, stop.unwrap_or_default())
            }
            ModelEvent::Error(e) => format!("error {} {} {}", e.status, e.kind, e.message),
            ModelEvent::Other(o) => format!("{}.{} other {} {}", o.choice, o.part, o.kind, o.json),
        })
        .collect()
}

/// The events of a stream with these frames; the start is left out.
pub fn streamed(frames: &[&str]) -> Vec<String> {
    let mut decoder = Decoder::new(200, true);
    let mut events: Vec<_> = frames
        .iter()
        .flat_map(|frame| decoder.push(None, frame.as_bytes()))
        .collect();
    events.extend(decoder.finish());
    let mut told = told(&events);
    told.retain(|event| !event.starts_with("start"));
    told
}

/// The same with one choice, given as deltas, and `[DONE]`.
pub fn deltas(deltas: &[Value]) -> Vec<String> {
    let chunks = deltas
        .iter()
        .map(|delta| json!({"id": "a", "choices": [{"delta": delta}]}));
    let mut frames: Vec<String> = chunks.map(|chunk| chunk.to_string()).collect();
    frames.push("[DONE]".into());
    streamed(&frames.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn whole(body: &Value) -> Vec<String> {
    let mut decoder = Decoder::new(200, false);
    let mut events = decoder.push(None, body.to_string().as_bytes());
    events.extend(decoder.finish());
    told(&events)
}
