//! What the stream of one choice must remember: the indexes that were given
//! out, and reasoning that may yet be signed.

use serde_json::{Value, json};

use crate::event::{FinishReason, Fragment};

/// A choice of an answer that is being written.
#[derive(Default)]
pub struct Choice {
    /// Whether the role has been written.
    pub opened: bool,
    /// A call's index is its place here, so it never changes (litellm#5231).
    calls: Vec<Call>,
    thinking: Vec<Thinking>,
    /// How many entries of `thinking_blocks` have begun.
    blocks: usize,
    pub reason: Option<FinishReason>,
    /// Whether the reason has been written.
    pub closed: bool,
}

/// A tool call that has begun.
struct Call {
    origin: Origin,
    /// Whether it has arguments that are more than white space.
    argued: bool,
}

/// What a call is known by.
#[derive(PartialEq)]
enum Origin {
    /// The part that it is.
    Part(u32),
    /// The index that the upstream gave to what is no call of a function.
    Foreign(Option<u64>),
}

/// One part of reasoning.
struct Thinking {
    part: u32,
    /// What it says, until its signature begins.
    text: String,
    /// Its index among `thinking_blocks`, once its signature has begun.
    block: Option<usize>,
}

impl Choice {
    /// The index of a call that begins; none if it has begun before.
    pub fn begin_call(&mut self, part: u32) -> Option<usize> {
        if self.call(&Origin::Part(part)).is_some() {
            return None;
        }
        self.calls.push(Call {
            origin: Origin::Part(part),
            argued: false,
        });
        Some(self.calls.len() - 1)
    }

    /// The index of the call that a fragment of arguments is of; none if it
    /// never began.
    pub fn argue(&mut self, piece: &Fragment) -> Option<usize> {
        let index = self.call(&Origin::Part(piece.part))?;
        self.calls[index].argued |= !piece.text.trim().is_empty();
        Some(index)
    }

    /// Replaces the upstream's index of a call that is not of a function.
    pub fn renumber(&mut self, entry: &mut Value) {
        let origin = Origin::Foreign(entry.get("index").and_then(Value::as_u64));
        // Entries without an index are whole calls.
        let known = self
            .call(&origin)
            .filter(|_| origin != Origin::Foreign(None));
        let index = known.unwrap_or_else(|| {
            self.calls.push(Call {
                origin,
                argued: true,
            });
            self.calls.len() - 1
        });
        if let Value::Object(entry) = entry {
            entry.insert("index".to_owned(), json!(index));
        }
    }

    fn call(&self, origin: &Origin) -> Option<usize> {
        self.calls.iter().position(|call| call.origin == *origin)
    }

    pub fn has_called(&self) -> bool {
        !self.calls.is_empty()
    }

    /// The indexes of calls that have no arguments.
    pub fn silent_calls(&self) -> Vec<usize> {
        let silent = self
            .calls
            .iter()
            .enumerate()
            .filter(|(_, call)| !call.argued);
        silent.map(|(index, _)| index).collect()
    }

    /// Keeps a piece of reasoning for its signature. If that has begun, the
    /// piece is to be added to the block that has been written.
    pub fn think(&mut self, piece: &Fragment) -> Option<Value> {
        let thinking = self.thinking(piece.part);
        let Some(index) = thinking.block else {
            thinking.text.push_str(&piece.text);
            return None;
        };
        Some(json!({"index": index, "type": "thinking", "thinking": piece.text}))
    }

    /// The block of a signed piece of reasoning, with its whole text: a client
    /// sends it back as it is, and need not put it together. Entries have an
    /// `index` because OpenAI's Python SDK joins deltas by it.
    pub fn sign(&mut self, piece: &Fragment) -> Value {
        let (next, signature) = (self.blocks, &piece.text);
        let thinking = self.thinking(piece.part);
        if let Some(index) = thinking.block {
            return json!({"index": index, "type": "thinking", "signature": signature});
        }
        thinking.block = Some(next);
        let text = std::mem::take(&mut thinking.text);
        self.blocks += 1;
        json!({"index": next, "type": "thinking", "thinking": text, "signature": signature})
    }

    /// Gives a whole block its index among `thinking_blocks`.
    pub fn number_block(&mut self, block: &mut Value) {
        block["index"] = json!(self.blocks);
        self.blocks += 1;
    }

    fn thinking(&mut self, part: u32) -> &mut Thinking {
        let known = self
            .thinking
            .iter()
            .position(|thinking| thinking.part == part);
        let at = known.unwrap_or_else(|| {
            self.thinking.push(Thinking {
                part,
                text: String::new(),
                block: None,
            });
            self.thinking.len() - 1
        });
        &mut self.thinking[at]
    }
}
