//! Model events as a test writes them in a configuration.
//!
//! The form is that of the WIT, in JSON: an object with one member, named after
//! the case, whose value holds the fields of its record by their names.
//! `choice` and `part` are 0 if they are absent, and what is optional in the WIT
//! may be absent:
//!
//! ```json
//! [ {"start": {"id": "a-1", "model": "m"}},
//!   {"text": {"text": "Hello"}},
//!   {"tool-call": {"part": 1, "id": "call_1", "name": "find"}},
//!   {"tool-arguments": {"part": 1, "text": "{}"}},
//!   {"usage": {"input-tokens": 3, "output-tokens": 5}},
//!   {"finish": {"reason": "tool-calls"}} ]
//! ```
//!
//! No rule of the sequence is checked: a guest that breaks them is built from
//! the same list. `misbehaving` compiles this file too.

use serde::Deserialize;

use crate::palisade::plugin::model;

/// One model event.
#[derive(Deserialize, Clone)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    Start(Start),
    Text(Fragment),
    Reasoning(Fragment),
    ReasoningSignature(Fragment),
    Refusal(Fragment),
    ToolCall(ToolCall),
    ToolArguments(Fragment),
    Usage(Usage),
    Finish(Finish),
    Error(Failure),
    Other(Other),
}

/// See `model.start`.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Start {
    id: Option<String>,
    model: Option<String>,
    created: Option<u64>,
}

/// See `model.fragment`.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    #[serde(default)]
    choice: u32,
    #[serde(default)]
    part: u32,
    text: String,
}

/// See `model.tool-call`.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    #[serde(default)]
    choice: u32,
    #[serde(default)]
    part: u32,
    id: String,
    name: String,
}

/// See `model.usage`.
#[derive(Deserialize, Clone)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

/// See `model.finish`.
#[derive(Deserialize, Clone)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Finish {
    #[serde(default)]
    choice: u32,
    reason: FinishReason,
    stop_sequence: Option<String>,
}

/// See `model.finish-reason`.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Pause,
}

/// See `model.failure`.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    status: u16,
    kind: String,
    code: Option<String>,
    message: String,
}

/// See `model.other`.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Other {
    #[serde(default)]
    choice: u32,
    #[serde(default)]
    part: u32,
    kind: String,
    json: String,
}

impl From<Event> for model::ModelEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Start(Start { id, model, created }) => {
                Self::Start(model::Start { id, model, created })
            }
            Event::Text(fragment) => Self::Text(fragment.into()),
            Event::Reasoning(fragment) => Self::Reasoning(fragment.into()),
            Event::ReasoningSignature(fragment) => Self::ReasoningSignature(fragment.into()),
            Event::Refusal(fragment) => Self::Refusal(fragment.into()),
            Event::ToolCall(call) => Self::ToolCall(model::ToolCall {
                choice: call.choice,
                part: call.part,
                id: call.id,
                name: call.name,
            }),
            Event::ToolArguments(fragment) => Self::ToolArguments(fragment.into()),
            Event::Usage(usage) => Self::Usage(model::Usage {
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
                cache_read_tokens: usage.cache_read_tokens,
                cache_write_tokens: usage.cache_write_tokens,
                reasoning_tokens: usage.reasoning_tokens,
            }),
            Event::Finish(finish) => Self::Finish(model::Finish {
                choice: finish.choice,
                reason: finish.reason.into(),
                stop_sequence: finish.stop_sequence,
            }),
            Event::Error(failure) => Self::Error(model::Failure {
                status: failure.status,
                kind: failure.kind,
                code: failure.code,
                message: failure.message,
            }),
            Event::Other(other) => Self::Other(model::Other {
                choice: other.choice,
                part: other.part,
                kind: other.kind,
                json: other.json,
            }),
        }
    }
}

impl From<Fragment> for model::Fragment {
    fn from(Fragment { choice, part, text }: Fragment) -> Self {
        Self { choice, part, text }
    }
}

impl From<FinishReason> for model::FinishReason {
    fn from(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Stop => Self::Stop,
            FinishReason::Length => Self::Length,
            FinishReason::ToolCalls => Self::ToolCalls,
            FinishReason::ContentFilter => Self::ContentFilter,
            FinishReason::Pause => Self::Pause,
        }
    }
}
