//! Reading answers: what adapters for such servers do in their sandbox
//! (`openai_chat`), done by the host where nothing is to be translated.

use http::StatusCode;
use openai_chat::model as read;

use crate::dialect::{AnswerReader, Read};
use crate::event::{
    Failure, Finish, FinishReason, Fragment, ModelEvent, Other, Start, ToolCall, Usage,
};

/// The most values that a frame may hold, about: each takes 72 bytes when it is
/// read.
const MAX_VALUES: usize = 1 << 20;

/// Reads one answer.
pub struct ChatReader(openai_chat::Decoder);

impl ChatReader {
    pub fn new(streamed: bool) -> Self {
        Self(openai_chat::Decoder::new(StatusCode::OK.as_u16(), streamed))
    }
}

impl AnswerReader for ChatReader {
    fn frame(&mut self, name: Option<&str>, data: &[u8]) -> Read {
        let repeated = self.0.repeated(data);
        let repeats = repeated.is_some();
        // Between two values there is a comma, and long texts have some too.
        let commas = || memchr::memchr_iter(b',', data).count();
        let events = match repeated {
            Some(events) => events,
            None if data.len() > MAX_VALUES && commas() > MAX_VALUES => {
                self.0.fail("a frame of too many values")
            }
            None => self.0.push(name, data),
        };
        Read {
            events: events.into_iter().map(event).collect(),
            repeats,
        }
    }

    /// A stream that the upstream ended may lack `[DONE]` if its choices have
    /// finished: there are servers that never send it.
    fn finish(&mut self, ended: bool) -> Vec<ModelEvent> {
        self.0.ends_at_finish_reason(ended);
        self.0.finish().into_iter().map(event).collect()
    }
}

/// The contract's event, of the type that plugins have for it, as the host's.
fn event(event: read::ModelEvent) -> ModelEvent {
    match event {
        read::ModelEvent::Start(read::Start { id, model, created }) => {
            ModelEvent::Start(Start { id, model, created })
        }
        read::ModelEvent::Text(text) => ModelEvent::Text(fragment(text)),
        read::ModelEvent::Reasoning(text) => ModelEvent::Reasoning(fragment(text)),
        read::ModelEvent::ReasoningSignature(text) => {
            ModelEvent::ReasoningSignature(fragment(text))
        }
        read::ModelEvent::Refusal(text) => ModelEvent::Refusal(fragment(text)),
        read::ModelEvent::ToolCall(call) => ModelEvent::ToolCall(ToolCall {
            choice: call.choice,
            part: call.part,
            id: call.id,
            name: call.name,
        }),
        read::ModelEvent::ToolArguments(text) => ModelEvent::ToolArguments(fragment(text)),
        read::ModelEvent::Usage(usage) => ModelEvent::Usage(Usage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            reasoning_tokens: usage.reasoning_tokens,
        }),
        read::ModelEvent::Finish(finish) => ModelEvent::Finish(Finish {
            choice: finish.choice,
            reason: reason(finish.reason),
            stop_sequence: finish.stop_sequence,
        }),
        read::ModelEvent::Error(failure) => ModelEvent::Error(Failure {
            status: failure.status,
            kind: failure.kind,
            code: failure.code,
            message: failure.message,
        }),
        read::ModelEvent::Other(other) => ModelEvent::Other(Other {
            choice: other.choice,
            part: other.part,
            kind: other.kind,
            json: other.json,
        }),
    }
}

fn fragment(fragment: read::Fragment) -> Fragment {
    Fragment {
        choice: fragment.choice,
        part: fragment.part,
        text: fragment.text,
    }
}

fn reason(reason: read::FinishReason) -> FinishReason {
    match reason {
        read::FinishReason::Stop => FinishReason::Stop,
        read::FinishReason::Length => FinishReason::Length,
        read::FinishReason::ToolCalls => FinishReason::ToolCalls,
        read::FinishReason::ContentFilter => FinishReason::ContentFilter,
        read::FinishReason::Pause => FinishReason::Pause,
    }
}
