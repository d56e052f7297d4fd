//! Anthropic's answers as model events: the frames of a stream, a whole
//! message, or an error.
//!
//! A whole message goes the way of a stream: its blocks are started and
//! stopped one after the other, so both give the same events. A stream is read
//! by the `type` in its JSON, for the event's name may be missing (pi#4381).
//! Nothing that an upstream sends is a reason to trap: a frame that makes no
//! sense ends the answer with an error. Called by `lib.rs`.

use serde_json::{Value, json};

use crate::blocks::{Blocks, Frame};
use crate::errors;
use crate::palisade::plugin::model::{Failure, Finish, FinishReason, ModelEvent, Other, Start};
use crate::usage::Counts;

/// What is known of an answer from its head.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub status: u16,
    /// Frames of a stream follow, not one whole body.
    pub streamed: bool,
    /// The request was translated from the hub.
    pub translated: bool,
}

/// Decodes one answer.
#[derive(Debug, Clone)]
pub struct Decoder {
    head: Head,
    started: bool,
    /// The answer is complete, or has failed: nothing that follows counts.
    over: bool,
    blocks: Blocks,
    counts: Counts,
    stop: Stop,
}

/// Why the model stopped, as far as it has been said.
#[derive(Debug, Clone, Default)]
struct Stop {
    reason: Option<String>,
    sequence: Option<String>,
}

impl Decoder {
    pub fn new(head: Head) -> Self {
        Self {
            head,
            started: false,
            over: false,
            blocks: Blocks::new(head.translated),
            counts: Counts::default(),
            stop: Stop::default(),
        }
    }

    /// The events of one frame. `name` is the name of the stream's event.
    pub fn push(&mut self, name: Option<&str>, data: &[u8]) -> Vec<ModelEvent> {
        let mut events = Vec::new();
        if self.over {
            return events;
        }
        let data = data.trim_ascii();
        if self.head.status >= 400 {
            self.fail(errors::of_status(self.head.status, data), &mut events);
        } else if data == b"[DONE]" {
            // Some gateways end every stream like OpenAI; Anthropic stopped in
            // version 2023-06-01.
            self.complete(&mut events);
        } else if !data.is_empty() {
            self.read(name, data, &mut events);
        }
        events
    }

    /// What remains when the upstream's answer is over.
    pub fn finish(&mut self) -> Vec<ModelEvent> {
        let mut events = Vec::new();
        if !self.over {
            let failure = match self.head.status {
                status @ 400.. => errors::of_status(status, b""),
                _ => errors::truncated(),
            };
            self.fail(failure, &mut events);
        }
        events
    }

    fn read(&mut self, name: Option<&str>, data: &[u8], events: &mut Vec<ModelEvent>) {
        let (Ok(text), Ok(value)) = (std::str::from_utf8(data), serde_json::from_slice(data))
        else {
            return self.fail(errors::malformed("it is not JSON"), events);
        };
        let value: Value = named(value, name);
        if !value.is_object() {
            return self.fail(errors::malformed("it is not a JSON object"), events);
        }
        let frame = Frame {
            value: &value,
            text,
        };
        let is_error = value.get("error").is_some_and(|error| !error.is_null());
        match frame.kind() {
            "error" => self.fail(errors::in_band(&value), events),
            "message" => self.whole(&value, events),
            _ if value["content"].is_array() && !self.head.streamed => self.whole(&value, events),
            "" if is_error => self.fail(errors::in_band(&value), events),
            _ if !self.head.streamed => {
                self.fail(errors::malformed("it is not a message"), events);
            }
            _ => self.event(&frame, events),
        }
    }

    /// One event of a stream.
    fn event(&mut self, frame: &Frame<'_>, events: &mut Vec<ModelEvent>) {
        let value = frame.value;
        match frame.kind() {
            "ping" => {}
            "message_start" => self.message_start(&value["message"], events),
            "content_block_start" => {
                self.start(&Value::Null, events);
                self.blocks.start(frame, events);
            }
            "content_block_delta" => {
                self.start(&Value::Null, events);
                self.blocks.delta(frame, events);
            }
            "content_block_stop" => self.blocks.stop(frame, events),
            "message_delta" => self.message_delta(value, events),
            "message_stop" => self.complete(events),
            _ => events.push(frame.other(0)),
        }
    }

    /// The head of the message. It may come twice, and after a server tool has
    /// called back it holds blocks already.
    fn message_start(&mut self, message: &Value, events: &mut Vec<ModelEvent>) {
        self.start(message, events);
        let blocks = message["content"].as_array();
        for (index, block) in blocks.into_iter().flatten().enumerate() {
            self.whole_block(index, block, events);
        }
        self.stopped(message);
        self.counted(&message["usage"], events);
        additions(message, events);
    }

    /// The end of the message: why, how much, and what else there is to say.
    fn message_delta(&mut self, value: &Value, events: &mut Vec<ModelEvent>) {
        self.start(&Value::Null, events);
        self.stopped(&value["delta"]);
        self.counted(&value["usage"], events);
        additions(&value["delta"], events);
        additions(value, events);
    }

    /// A message that came at once.
    fn whole(&mut self, message: &Value, events: &mut Vec<ModelEvent>) {
        self.message_start(message, events);
        if let Some(text) = message["content"].as_str() {
            self.whole_block(0, &json!({"type": "text", "text": text}), events);
        }
        self.complete(events);
    }

    /// A block that came at once, by the frames that it would have had.
    fn whole_block(&mut self, index: usize, block: &Value, events: &mut Vec<ModelEvent>) {
        let start = json!({"type": "content_block_start", "index": index, "content_block": block});
        let (value, text) = (&start, &start.to_string());
        self.blocks.start(&Frame { value, text }, events);
        let stop = json!({"type": "content_block_stop", "index": index});
        let (value, text) = (&stop, &stop.to_string());
        self.blocks.stop(&Frame { value, text }, events);
    }

    fn start(&mut self, message: &Value, events: &mut Vec<ModelEvent>) {
        if !self.started {
            self.started = true;
            let text = |name: &str| message[name].as_str().map(str::to_owned);
            let (id, model) = (text("id"), text("model"));
            events.push(ModelEvent::Start(Start {
                id,
                model,
                created: None,
            }));
        }
    }

    fn stopped(&mut self, delta: &Value) {
        let text = |name: &str| delta[name].as_str().map(str::to_owned);
        self.stop.reason = text("stop_reason").or(self.stop.reason.take());
        self.stop.sequence = text("stop_sequence").or(self.stop.sequence.take());
    }

    fn counted(&mut self, usage: &Value, events: &mut Vec<ModelEvent>) {
        events.extend(self.counts.absorb(usage).map(ModelEvent::Usage));
    }

    fn complete(&mut self, events: &mut Vec<ModelEvent>) {
        self.start(&Value::Null, events);
        self.blocks.finish(events);
        let reason = self.stop.finish_reason(self.blocks.called);
        let stop_sequence = self.stop.sequence.take();
        events.push(ModelEvent::Finish(Finish {
            choice: 0,
            reason,
            stop_sequence,
        }));
        self.over = true;
    }

    fn fail(&mut self, failure: Failure, events: &mut Vec<ModelEvent>) {
        events.push(ModelEvent::Error(failure));
        self.over = true;
    }
}

impl Stop {
    /// A reason that is missing or unknown is made up: that tools were called,
    /// or that the model was done. `tool_use` for the tool that takes the
    /// answer (`output.rs`) is none that the client should see.
    fn finish_reason(&self, called: bool) -> FinishReason {
        let done = if called {
            FinishReason::ToolCalls
        } else {
            FinishReason::Stop
        };
        match self.reason.as_deref().unwrap_or_default() {
            "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
            "refusal" => FinishReason::ContentFilter,
            "pause_turn" | "compaction" => FinishReason::Pause,
            _ => done,
        }
    }
}

/// The frame with its event's name as its type, if it has none itself.
fn named(mut value: Value, name: Option<&str>) -> Value {
    if let (Value::Object(members), Some(name)) = (&mut value, name)
        && !members.contains_key("type")
        && !name.is_empty()
    {
        members.insert("type".to_owned(), name.into());
    }
    value
}

/// Members that the events have no place for, by their names.
fn additions(members: &Value, events: &mut Vec<ModelEvent>) {
    let known = [
        "type",
        "id",
        "role",
        "model",
        "content",
        "stop_reason",
        "stop_sequence",
        "usage",
        "delta",
    ];
    for (name, value) in members.as_object().into_iter().flatten() {
        if !known.contains(&name.as_str()) && !value.is_null() {
            let (kind, json) = (name.clone(), value.to_string());
            events.push(ModelEvent::Other(Other {
                choice: 0,
                part: 0,
                kind,
                json,
            }));
        }
    }
}
