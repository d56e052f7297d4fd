//! Writes an answer as the events of a streamed message.
//!
//! `message_delta`, which holds the reason and the usage, waits for the end of
//! the answer: providers tell the usage after the reason, and nothing may
//! follow it (Portkey#722).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::blocks::{Blocks, Overflow, Piece, Sink};
use super::foreign::Foreign;
use super::wire::{self, BlockDelta, BlockStart, BlockStop, Delta};
use crate::dialect::answer::{Head, Settings, StreamRenderer};
use crate::dialect::error::ErrorView;
use crate::dialect::wire::event as write_event;
use crate::dialect::{fold, wire as sse};
use crate::event::{Finish, ModelEvent, Other, Start, Usage};

/// Renders one answer.
pub struct MessagesStream {
    settings: Settings,
    start: Option<Start>,
    usage: Option<Usage>,
    /// Whether `message_start` has been written.
    opened: bool,
    /// Whether `message_delta` has been, and nothing since.
    told_end: bool,
    over: bool,
    blocks: Blocks,
    outcome: Outcome,
}

/// What the end of a message tells, gathered while it comes.
#[derive(Debug, Default)]
pub struct Outcome {
    finish: Option<Finish>,
    called: bool,
    refused: bool,
    /// Members of the message that the upstream's answer had besides.
    pub members: Map<String, Value>,
}

impl Outcome {
    /// Takes an event of the one choice that is no block's.
    pub fn event(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::ToolCall(_) => self.called = true,
            ModelEvent::Refusal(_) => self.refused = true,
            ModelEvent::Finish(finish) => _ = self.finish.get_or_insert_with(|| finish.clone()),
            _ => {}
        }
    }

    /// `stop_reason` and `stop_sequence`.
    pub fn stop(&self) -> (&'static str, Option<&str>) {
        let reason = fold::reason_or(self.finish.as_ref().map(|f| f.reason), self.called);
        let sequence = self
            .finish
            .as_ref()
            .and_then(|finish| finish.stop_sequence.as_deref());
        (
            wire::stop_reason(reason, sequence.is_some(), self.refused),
            sequence,
        )
    }
}

/// Whether an event belongs to the one choice that a message has.
pub fn is_shown(event: &ModelEvent) -> bool {
    let choice = match event {
        ModelEvent::Text(piece)
        | ModelEvent::Refusal(piece)
        | ModelEvent::Reasoning(piece)
        | ModelEvent::ReasoningSignature(piece)
        | ModelEvent::ToolArguments(piece) => piece.choice,
        ModelEvent::ToolCall(call) => call.choice,
        ModelEvent::Finish(finish) => finish.choice,
        ModelEvent::Other(other) => other.choice,
        ModelEvent::Start(_) | ModelEvent::Usage(_) | ModelEvent::Error(_) => 0,
    };
    choice == 0
}

/// What is told of an answer that cannot be put in order.
pub fn overflow_error() -> ErrorView<'static> {
    let message = "the upstream's tool calls interleave beyond what can be held back";
    ErrorView {
        status: 502,
        kind: None,
        code: None,
        message,
        request_id: None,
    }
}

impl MessagesStream {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            start: None,
            usage: None,
            opened: false,
            told_end: false,
            over: false,
            blocks: Blocks::default(),
            outcome: Outcome::default(),
        }
    }

    fn event(&mut self, event: &ModelEvent, out: &mut Vec<u8>) {
        self.outcome.event(event);
        match event {
            ModelEvent::Start(start) => _ = self.start.get_or_insert_with(|| start.clone()),
            ModelEvent::Usage(usage) => fold::absorb(&mut self.usage, usage),
            ModelEvent::Finish(_) => {}
            ModelEvent::Error(failure) => self.error(&ErrorView::of_failure(failure, None), out),
            ModelEvent::Other(other) => self.other(other, out),
            _ => {
                if let Some((part, piece)) = Piece::of(event) {
                    self.content(part, piece, out);
                }
            }
        }
    }

    fn other(&mut self, other: &Other, out: &mut Vec<u8>) {
        match Foreign::of(other, self.settings.same_dialect) {
            Foreign::Members(members) => self.outcome.members.extend(members),
            Foreign::Event(event) => {
                self.open(out);
                write_event(out, &other.kind, &event);
            }
            Foreign::Nothing => {}
            foreign => self.content(other.part, Piece::Foreign(foreign), out),
        }
    }

    fn content(&mut self, part: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        self.open(out);
        self.told_end = false;
        let written = self.blocks.take(part, piece, &mut Writer(out));
        self.check(written, out);
    }

    fn message_delta(&mut self, out: &mut Vec<u8>) {
        let (reason, sequence) = self.outcome.stop();
        let mut delta = json!({"stop_reason": reason, "stop_sequence": sequence});
        let usage = wire::usage_json(self.usage.as_ref());
        let mut event = json!({"type": "message_delta", "delta": null, "usage": usage});
        for (name, value) in std::mem::take(&mut self.outcome.members) {
            let of_delta = matches!(name.as_str(), "container" | "stop_details");
            let place = if of_delta { &mut delta } else { &mut event };
            place[name] = value;
        }
        event["delta"] = delta;
        write_event(out, "message_delta", &event);
    }

    fn check(&mut self, written: Result<(), Overflow>, out: &mut Vec<u8>) {
        if written.is_err() {
            self.error(&overflow_error(), out);
        }
    }
}

/// What a frame of the upstream's told the client.
#[derive(Deserialize)]
struct Sent {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    index: usize,
    #[serde(default)]
    content_block: Option<SentBlock>,
}

#[derive(Deserialize)]
struct SentBlock {
    #[serde(rename = "type", default)]
    kind: String,
}

impl StreamRenderer for MessagesStream {
    fn events(&mut self, events: &[ModelEvent], out: &mut Vec<u8>) {
        for event in events.iter().filter(|event| is_shown(event)) {
            if self.over {
                return;
            }
            self.event(event, out);
        }
    }

    fn sent(&mut self, data: &[u8], events: &[ModelEvent]) {
        let next = self.blocks.next();
        // Writing it to nowhere keeps count of the blocks.
        self.events(events, &mut Vec::new());
        let Ok(sent) = serde_json::from_slice::<Sent>(data) else {
            return;
        };
        match sent.kind.as_str() {
            "message_start" => self.opened = true,
            "content_block_start" => {
                let block_type = sent
                    .content_block
                    .map(|block| block.kind)
                    .unwrap_or_default();
                self.blocks.started(sent.index, &block_type, next);
            }
            "content_block_delta" => self.blocks.told(),
            "content_block_stop" => self.blocks.stopped(),
            "message_delta" => self.told_end = true,
            "message_stop" => self.over = true,
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn open(&mut self, out: &mut Vec<u8>) {
        if self.over || std::mem::replace(&mut self.opened, true) {
            return;
        }
        let head = Head::new(&self.settings, "msg_", self.start.as_ref());
        let message = wire::message(&head, self.usage.as_ref());
        write_event(
            out,
            "message_start",
            &json!({"type": "message_start", "message": message}),
        );
    }

    fn error(&mut self, error: &ErrorView<'_>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            write_event(out, "error", &super::error_json(error));
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        self.open(out);
        let written = self.blocks.finish(&mut Writer(out));
        self.check(written, out);
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if !self.told_end {
            self.message_delta(out);
        }
        write_event(out, "message_stop", &json!({"type": "message_stop"}));
    }
}

/// Writes what happens to blocks as server-sent events.
struct Writer<'a>(&'a mut Vec<u8>);

impl Sink for Writer<'_> {
    fn start(&mut self, index: usize, content_block: Value) {
        let kind = "content_block_start";
        sse::event(
            self.0,
            kind,
            &BlockStart {
                kind,
                index,
                content_block,
            },
        );
    }

    fn delta(&mut self, index: usize, delta: Delta<'_>) {
        let kind = "content_block_delta";
        sse::event(self.0, kind, &BlockDelta { kind, index, delta });
    }

    fn stop(&mut self, index: usize) {
        let kind = "content_block_stop";
        sse::event(self.0, kind, &BlockStop { kind, index });
    }
}
