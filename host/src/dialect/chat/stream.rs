//! Writes an answer as a stream of `chat.completion.chunk` events.
//!
//! For each choice: a chunk with the role, then one chunk for each event, and
//! when the answer is over the chunk with the reason; after all choices the
//! usage, if the client asked for it, and `[DONE]`. The reason waits for the
//! end so that nothing can follow it: neither text that a plugin held back,
//! nor an error (Portkey#722).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::choice::Choice;
use super::wire::{
    CallDelta, Chunk, ChunkChoice, Delta, FunctionDelta, Place, UsageBody, finish_reason, place,
};
use crate::dialect::answer::{Head, Settings, StreamRenderer};
use crate::dialect::error::ErrorView;
use crate::dialect::member::{FINISH_REASON, USAGE, values};
use crate::dialect::{fold, other, wire};
use crate::event::{Fragment, ModelEvent, Other, Start, ToolCall, Usage};

/// Renders one answer.
pub struct ChatStream {
    settings: Settings,
    start: Option<Start>,
    /// Set when the first chunk is written.
    head: Option<Head>,
    usage: Option<Usage>,
    /// Whether the client has the usage already.
    usage_told: bool,
    /// Members of the answer besides, which every later chunk repeats.
    members: Map<String, Value>,
    choices: BTreeMap<u32, Choice>,
    over: bool,
}

impl ChatStream {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            start: None,
            head: None,
            usage: None,
            usage_told: false,
            members: Map::new(),
            choices: BTreeMap::new(),
            over: false,
        }
    }

    fn event(&mut self, event: &ModelEvent, out: &mut Vec<u8>) {
        match event {
            ModelEvent::Start(start) => _ = self.start.get_or_insert_with(|| start.clone()),
            ModelEvent::Usage(usage) => fold::absorb(&mut self.usage, usage),
            ModelEvent::Finish(finish) => {
                self.choice(finish.choice)
                    .reason
                    .get_or_insert(finish.reason);
            }
            ModelEvent::ToolCall(call) => self.call(call, out),
            ModelEvent::Other(other) => self.other(other, out),
            ModelEvent::Error(failure) => self.error(&ErrorView::of_failure(failure, None), out),
            ModelEvent::Text(piece)
            | ModelEvent::Refusal(piece)
            | ModelEvent::Reasoning(piece)
            | ModelEvent::ReasoningSignature(piece)
            | ModelEvent::ToolArguments(piece) => {
                if !piece.text.is_empty() {
                    self.fragment(event, piece, out);
                }
            }
        }
    }

    fn fragment(&mut self, event: &ModelEvent, piece: &Fragment, out: &mut Vec<u8>) {
        let text = piece.text.as_str();
        let mut delta = Delta::default();
        match event {
            ModelEvent::Text(_) => delta.content = Some(Some(text)),
            ModelEvent::Refusal(_) => delta.refusal = Some(text),
            ModelEvent::Reasoning(_) => {
                delta.reasoning_content = Some(text);
                delta.thinking_blocks = self.choice(piece.choice).think(piece).map(|b| [b]);
            }
            ModelEvent::ReasoningSignature(_) => {
                delta.thinking_blocks = Some([self.choice(piece.choice).sign(piece)]);
            }
            // Arguments of a call that never began belong to nothing.
            _ => match self.choice(piece.choice).argue(piece) {
                Some(index) => delta = argument_delta(index, text),
                None => return,
            },
        }
        self.delta(piece.choice, delta, out);
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        self.choices.entry(index).or_default()
    }

    fn call(&mut self, call: &ToolCall, out: &mut Vec<u8>) {
        let Some(index) = self.choice(call.choice).begin_call(call.part) else {
            return;
        };
        let function = FunctionDelta {
            name: Some(&call.name),
            arguments: "",
        };
        let head = CallDelta {
            index,
            id: Some(&call.id),
            kind: Some("function"),
            function,
        };
        self.delta(
            call.choice,
            Delta {
                tool_calls: Some([head]),
                ..Delta::default()
            },
            out,
        );
    }

    fn other(&mut self, event: &Other, out: &mut Vec<u8>) {
        if let Some(mut block) = other::redacted_thinking(event) {
            self.choice(event.choice).number_block(&mut block);
            let delta = Delta {
                thinking_blocks: Some([block]),
                ..Delta::default()
            };
            return self.delta(event.choice, delta, out);
        }
        let Some(mut value) = other::value(event).filter(|_| self.settings.same_dialect) else {
            return;
        };
        let mut delta = Delta::default();
        let name = event.kind.clone();
        match place(&name) {
            Place::Answer => _ = self.members.insert(name, value),
            Place::Choice | Place::Logprobs => {
                self.open_choice(event.choice, false, out);
                let mut choice = ChunkChoice::new(event.choice, delta);
                match name.as_str() {
                    "logprobs" => choice.logprobs = Some(value),
                    _ => _ = choice.members.insert(name, value),
                }
                self.chunk(&[choice], None, out);
            }
            Place::Calls => {
                for entry in value.as_array_mut().into_iter().flatten() {
                    self.choice(event.choice).renumber(entry);
                }
                delta.members.insert(name, value);
                self.delta(event.choice, delta, out);
            }
            Place::Message => {
                delta.members.insert(name, value);
                self.delta(event.choice, delta, out);
            }
            Place::Nowhere => {}
        }
    }

    /// Writes a delta, after the role if that has not been written.
    fn delta(&mut self, index: u32, delta: Delta<'_>, out: &mut Vec<u8>) {
        self.open_choice(index, delta.content.is_some(), out);
        self.chunk(&[ChunkChoice::new(index, delta)], None, out);
    }

    /// Writes the role. Content that begins with something other than text is
    /// null, as OpenAI's is before tool calls, and not an empty text.
    fn open_choice(&mut self, index: u32, text: bool, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.choice(index).opened, true) {
            return;
        }
        let content = Some(text.then_some(""));
        let delta = Delta {
            role: Some("assistant"),
            content,
            ..Delta::default()
        };
        self.chunk(&[ChunkChoice::new(index, delta)], None, out);
    }

    /// Writes the reason of a choice. Before that, a call without arguments is
    /// given an empty object, because clients parse what is there
    /// (vercel/ai#10867).
    fn finish_choice(&mut self, index: u32, out: &mut Vec<u8>) {
        if self.choice(index).closed {
            return;
        }
        for call in self.choice(index).silent_calls() {
            self.delta(index, argument_delta(call, "{}"), out);
        }
        self.open_choice(index, true, out);
        let choice = self.choice(index);
        let reason = fold::reason_or(choice.reason, choice.has_called());
        let mut last = ChunkChoice::new(index, Delta::default());
        last.finish_reason = Some(finish_reason(reason));
        self.chunk(&[last], None, out);
    }

    fn chunk(&mut self, choices: &[ChunkChoice<'_>], usage: Option<UsageBody>, out: &mut Vec<u8>) {
        let head = self
            .head
            .get_or_insert_with(|| Head::new(&self.settings, "chatcmpl-", self.start.as_ref()));
        let chunk = Chunk {
            id: &head.id,
            object: "chat.completion.chunk",
            created: head.created,
            model: &head.model,
            members: &self.members,
            choices,
            usage: self.settings.usage_in_stream.then_some(usage),
        };
        wire::data(out, &chunk);
    }
}

fn argument_delta(index: usize, arguments: &str) -> Delta<'_> {
    let function = FunctionDelta {
        name: None,
        arguments,
    };
    let call = CallDelta {
        index,
        id: None,
        kind: None,
        function,
    };
    Delta {
        tool_calls: Some([call]),
        ..Delta::default()
    }
}

/// What a chunk of the upstream's told the client.
#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    choices: Option<Vec<SentChoice>>,
    #[serde(default)]
    usage: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct SentChoice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    finish_reason: Option<IgnoredAny>,
}

/// The choices of a frame that is nothing but text, as most are; none if it has
/// to be looked into.
fn only_text<'e>(
    data: &[u8],
    events: &'e [ModelEvent],
) -> Option<impl Iterator<Item = u32> + use<'e>> {
    let of_text = |event: &ModelEvent| match event {
        ModelEvent::Text(piece) | ModelEvent::Refusal(piece) => Some(piece.choice),
        _ => None,
    };
    let is_text = !events.is_empty() && events.iter().all(|event| of_text(event).is_some());
    let says_more = [&FINISH_REASON, &USAGE]
        .into_iter()
        .any(|name| values(data, name).any(|value| !value.starts_with(b"null")));
    (is_text && !says_more).then(|| events.iter().filter_map(of_text))
}

impl StreamRenderer for ChatStream {
    fn events(&mut self, events: &[ModelEvent], out: &mut Vec<u8>) {
        for event in events {
            if self.over {
                return;
            }
            self.event(event, out);
        }
    }

    fn sent(&mut self, data: &[u8], events: &[ModelEvent]) {
        if data.trim_ascii() == b"[DONE]" {
            self.over = true;
            return;
        }
        if let Some(choices) = only_text(data, events) {
            for choice in choices {
                self.choice(choice).opened = true;
            }
            return;
        }
        // Writing it to nowhere gives calls and blocks their indexes.
        self.events(events, &mut Vec::new());
        let Ok(chunk) = serde_json::from_slice::<Sent>(data) else {
            return;
        };
        self.usage_told |= chunk.usage.is_some();
        for told in chunk.choices.into_iter().flatten() {
            let choice = self.choice(told.index);
            choice.opened = true;
            choice.closed |= told.finish_reason.is_some();
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn open(&mut self, out: &mut Vec<u8>) {
        if !self.over {
            self.open_choice(0, true, out);
        }
    }

    fn error(&mut self, error: &ErrorView<'_>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.over, true) {
            wire::data(out, &super::error_json(error));
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        if self.choices.is_empty() {
            self.choices.insert(0, Choice::default());
        }
        for index in self.choices.keys().copied().collect::<Vec<_>>() {
            self.finish_choice(index, out);
        }
        let asked = self.settings.usage_in_stream && !self.usage_told;
        if let Some(usage) = self.usage.filter(|_| asked) {
            self.chunk(&[], Some(UsageBody::of(&usage)), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.over = true;
    }
}
