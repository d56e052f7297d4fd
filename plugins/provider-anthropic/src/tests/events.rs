//! Events as lines of text, which cases can spell and failures can show.

use crate::palisade::plugin::model::{FinishReason, ModelEvent, Usage};

pub fn line(event: &ModelEvent) -> String {
    match event {
        ModelEvent::Start(start) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            format!("start {} {}", text(&start.id), text(&start.model))
        }
        ModelEvent::Text(piece) => format!("text {} {}", piece.part, piece.text),
        ModelEvent::Reasoning(piece) => format!("reasoning {} {}", piece.part, piece.text),
        ModelEvent::ReasoningSignature(piece) => format!("signature {} {}", piece.part, piece.text),
        ModelEvent::Refusal(piece) => format!("refusal {} {}", piece.part, piece.text),
        ModelEvent::ToolCall(call) => format!("call {} {} {}", call.part, call.id, call.name),
        ModelEvent::ToolArguments(piece) => format!("arguments {} {}", piece.part, piece.text),
        ModelEvent::Usage(usage) => usage_line(usage),
        ModelEvent::Finish(finish) => {
            let reason = match finish.reason {
                FinishReason::Stop => "stop",
                FinishReason::Length => "length",
                FinishReason::ToolCalls => "tool-calls",
                FinishReason::ContentFilter => "content-filter",
                FinishReason::Pause => "pause",
            };
            let sequence = finish
                .stop_sequence
                .iter()
                .map(|text| format!(" at {text:?}"));
            format!("finish {reason}{}", sequence.collect::<String>())
        }
        ModelEvent::Error(failure) => {
            let code = failure
                .code
                .iter()
                .map(|code| format!(" ({code})"))
                .collect::<String>();
            format!(
                "error {} {}{code}: {}",
                failure.status, failure.kind, failure.message
            )
        }
        ModelEvent::Other(other) => format!("other {} {} {}", other.part, other.kind, other.json),
    }
}

fn usage_line(usage: &Usage) -> String {
    let counts = [
        ("in", usage.input_tokens),
        ("out", usage.output_tokens),
        ("read", usage.cache_read_tokens),
        ("written", usage.cache_write_tokens),
        ("thought", usage.reasoning_tokens),
    ];
    let told = counts
        .iter()
        .filter_map(|(name, count)| count.map(|count| format!(" {name}={count}")));
    format!("usage{}", told.collect::<String>())
}
