//! Content blocks as events: their starts, deltas and stops, by index.
//!
//! A block has the part number of its place in the answer. What the events
//! cannot express (server tools and their results, redacted thinking,
//! citations, whatever comes next) becomes `other` events that hold the
//! stream's own frames, whole answers included.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::names;
use crate::output::ANSWER_TOOL;
use crate::palisade::plugin::model::{Fragment, ModelEvent, Other, ToolCall};

/// The blocks of one answer.
#[derive(Debug, Clone)]
pub struct Blocks {
    open: BTreeMap<u64, Block>,
    /// The part number of the next block.
    next: u32,
    /// Whether the request was a translated one, and so names of tools are
    /// ours to restore.
    translated: bool,
    /// A tool was called that the client has to answer.
    pub called: bool,
}

#[derive(Debug, Clone)]
struct Block {
    part: u32,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Text,
    Thinking,
    /// A tool call, whose input comes in pieces, or at once with the start.
    Tool {
        whole: Option<Value>,
        pieces: bool,
    },
    /// The tool that takes the answer (`output.rs`).
    Answer {
        whole: Option<Value>,
        pieces: bool,
    },
    Other,
}

/// A frame of the stream, or what would be one in a whole answer.
pub struct Frame<'f> {
    pub value: &'f Value,
    /// Its JSON text, as it came.
    pub text: &'f str,
}

impl Frame<'_> {
    pub fn kind(&self) -> &str {
        self.value["type"].as_str().unwrap_or_default()
    }

    fn index(&self) -> u64 {
        self.value["index"].as_u64().unwrap_or_default()
    }

    pub fn other(&self, part: u32) -> ModelEvent {
        let (kind, json) = (self.kind().to_owned(), self.text.to_owned());
        ModelEvent::Other(Other {
            choice: 0,
            part,
            kind,
            json,
        })
    }
}

impl Blocks {
    pub fn new(translated: bool) -> Self {
        Self {
            open: BTreeMap::new(),
            next: 0,
            translated,
            called: false,
        }
    }

    /// `content_block_start`.
    pub fn start(&mut self, frame: &Frame<'_>, events: &mut Vec<ModelEvent>) {
        // A block without a stop is over when its index begins again, as it
        // does in streams that were spliced.
        self.close(frame.index(), events);
        let content = &frame.value["content_block"];
        let text = |name: &str| content[name].as_str().unwrap_or_default();
        let part = self.next;
        self.next += 1;
        let kind = match text("type") {
            "text" => {
                events.extend(fragment(part, text("text"), ModelEvent::Text));
                events.extend(citations(frame.index(), part, content));
                Kind::Text
            }
            "thinking" => {
                events.extend(fragment(part, text("thinking"), ModelEvent::Reasoning));
                let signature = fragment(part, text("signature"), ModelEvent::ReasoningSignature);
                events.extend(signature);
                Kind::Thinking
            }
            "tool_use" => self.tool(part, text("id"), content, events),
            _ => {
                events.push(frame.other(part));
                Kind::Other
            }
        };
        self.open.insert(frame.index(), Block { part, kind });
    }

    fn tool(&mut self, part: u32, id: &str, content: &Value, events: &mut Vec<ModelEvent>) -> Kind {
        let name = content["name"].as_str().unwrap_or_default();
        let whole = content.get("input").cloned();
        if self.translated && name == ANSWER_TOOL {
            return Kind::Answer {
                whole,
                pieces: false,
            };
        }
        self.called = true;
        let id = if id.is_empty() {
            format!("call_{part}")
        } else {
            id.to_owned()
        };
        let name = if self.translated {
            names::restore(name)
        } else {
            name.to_owned()
        };
        events.push(ModelEvent::ToolCall(ToolCall {
            choice: 0,
            part,
            id,
            name,
        }));
        let whole = whole.filter(|input| !input.is_null() && *input != json!({}));
        Kind::Tool {
            whole,
            pieces: false,
        }
    }

    /// `content_block_delta`.
    pub fn delta(&mut self, frame: &Frame<'_>, events: &mut Vec<ModelEvent>) {
        let delta = &frame.value["delta"];
        let kind = delta["type"].as_str().unwrap_or_default();
        let text = |name: &str| delta[name].as_str().unwrap_or_default();
        let block = self.opened(frame.index(), kind);
        let part = block.part;
        match (kind, &mut block.kind) {
            ("text_delta", Kind::Text) => {
                events.extend(fragment(part, text("text"), ModelEvent::Text));
            }
            ("thinking_delta", Kind::Thinking) => {
                events.extend(fragment(part, text("thinking"), ModelEvent::Reasoning));
            }
            ("signature_delta", Kind::Thinking) => {
                let signature = fragment(part, text("signature"), ModelEvent::ReasoningSignature);
                events.extend(signature);
            }
            ("input_json_delta", Kind::Tool { pieces, .. }) => {
                *pieces |= !text("partial_json").is_empty();
                let piece = fragment(part, text("partial_json"), ModelEvent::ToolArguments);
                events.extend(piece);
            }
            ("input_json_delta", Kind::Answer { pieces, .. }) => {
                *pieces |= !text("partial_json").is_empty();
                events.extend(fragment(part, text("partial_json"), ModelEvent::Text));
            }
            _ => events.push(frame.other(part)),
        }
    }

    /// The block that a delta belongs to. Gateways have been seen to leave its
    /// start out: then the delta tells what it is.
    fn opened(&mut self, index: u64, delta: &str) -> &mut Block {
        let next = &mut self.next;
        self.open.entry(index).or_insert_with(|| {
            let kind = match delta {
                "text_delta" => Kind::Text,
                "thinking_delta" | "signature_delta" => Kind::Thinking,
                _ => Kind::Other,
            };
            let part = *next;
            *next += 1;
            Block { part, kind }
        })
    }

    /// `content_block_stop`.
    pub fn stop(&mut self, frame: &Frame<'_>, events: &mut Vec<ModelEvent>) {
        if let Some(Block {
            part,
            kind: Kind::Other,
        }) = self.open.get(&frame.index())
        {
            events.push(frame.other(*part));
        }
        self.close(frame.index(), events);
    }

    /// The answer is over: closes what is still open.
    pub fn finish(&mut self, events: &mut Vec<ModelEvent>) {
        while let Some((index, _)) = self.open.first_key_value() {
            self.close(*index, events);
        }
    }

    /// Hands out the input of a tool call that came with its start. Where
    /// pieces came too, they are all of it.
    fn close(&mut self, index: u64, events: &mut Vec<ModelEvent>) {
        let Some(Block { part, kind }) = self.open.remove(&index) else {
            return;
        };
        match kind {
            Kind::Tool {
                whole: Some(input),
                pieces: false,
            } => {
                events.extend(fragment(
                    part,
                    &input.to_string(),
                    ModelEvent::ToolArguments,
                ));
            }
            Kind::Answer {
                whole: Some(input),
                pieces: false,
            } => {
                events.extend(fragment(part, &input.to_string(), ModelEvent::Text));
            }
            _ => {}
        }
    }
}

/// A fragment of a part; none if it is empty.
fn fragment(part: u32, text: &str, event: fn(Fragment) -> ModelEvent) -> Option<ModelEvent> {
    let fragment = || {
        event(Fragment {
            choice: 0,
            part,
            text: text.to_owned(),
        })
    };
    (!text.is_empty()).then(fragment)
}

/// The citations of a whole text block, as a stream would send them.
fn citations(index: u64, part: u32, content: &Value) -> Vec<ModelEvent> {
    let citations = content["citations"].as_array();
    let delta = |citation: &Value| {
        let value = json!({
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": "citations_delta", "citation": citation},
        });
        Frame {
            value: &value,
            text: &value.to_string(),
        }
        .other(part)
    };
    citations.into_iter().flatten().map(delta).collect()
}
