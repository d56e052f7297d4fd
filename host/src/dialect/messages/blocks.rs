//! Orders the parts of an answer into content blocks, of which one at a time
//! is open.
//!
//! Events may interleave parts; messages may not. A block of text or reasoning
//! closes when another part begins. A tool call's closes then only if its
//! arguments are complete: until they are, other parts are held back, so that
//! calls whose fragments interleave come out one after the other
//! (ruby_llm#710). A call that is followed by something and never gets any
//! arguments thus holds what follows until the answer is over.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::foreign::Foreign;
use super::wire::{Delta, OurDelta};
use crate::dialect::arguments::Progress;
use crate::event::ModelEvent;

/// The most bytes that are held back: far beyond what a model writes in one
/// answer, and a bound on what a broken upstream can make us keep.
const MAX_HELD: usize = 8 << 20;

/// Takes what happens to content blocks, whose indexes count from 0.
pub trait Sink {
    fn start(&mut self, index: usize, block: Value);
    fn delta(&mut self, index: usize, delta: Delta<'_>);
    fn stop(&mut self, index: usize);
}

/// More than [`MAX_HELD`] bytes would have to be held back.
#[derive(Debug, PartialEq, Eq)]
pub struct Overflow;

/// Something that happens to one part.
#[derive(Debug)]
pub enum Piece<'a> {
    Text(Cow<'a, str>),
    Thinking(Cow<'a, str>),
    Signature(Cow<'a, str>),
    Call {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Arguments(Cow<'a, str>),
    Foreign(Foreign),
}

impl<'a> Piece<'a> {
    /// The part and the piece that an event is; none if it is not of the
    /// content, or says nothing. An `other` event is not looked into.
    pub fn of(event: &'a ModelEvent) -> Option<(u32, Self)> {
        let (part, text, piece): (_, &str, fn(Cow<'a, str>) -> Self) = match event {
            // A refusal has no field of its own here.
            ModelEvent::Text(piece) | ModelEvent::Refusal(piece) => {
                (piece.part, &piece.text, Self::Text)
            }
            ModelEvent::Reasoning(piece) => (piece.part, &piece.text, Self::Thinking),
            ModelEvent::ReasoningSignature(piece) => (piece.part, &piece.text, Self::Signature),
            ModelEvent::ToolArguments(piece) => (piece.part, &piece.text, Self::Arguments),
            ModelEvent::ToolCall(call) => {
                let (id, name) = (Cow::Borrowed(&*call.id), Cow::Borrowed(&*call.name));
                return Some((call.part, Self::Call { id, name }));
            }
            _ => return None,
        };
        (!text.is_empty()).then(|| (part, piece(Cow::Borrowed(text))))
    }

    fn into_owned(self) -> Piece<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Text(text) => Piece::Text(owned(text)),
            Self::Thinking(text) => Piece::Thinking(owned(text)),
            Self::Signature(text) => Piece::Signature(owned(text)),
            Self::Call { id, name } => Piece::Call {
                id: owned(id),
                name: owned(name),
            },
            Self::Arguments(text) => Piece::Arguments(owned(text)),
            Self::Foreign(foreign) => Piece::Foreign(foreign),
        }
    }

    /// Appends a piece to one of the same kind; gives it back if it cannot be.
    fn join(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Text(text), Self::Text(more))
            | (Self::Thinking(text), Self::Thinking(more))
            | (Self::Signature(text), Self::Signature(more))
            | (Self::Arguments(text), Self::Arguments(more)) => {
                text.to_mut().push_str(&more);
                None
            }
            (_, next) => Some(next),
        }
    }

    /// About how many bytes it takes.
    fn size(&self) -> usize {
        let payload = match self {
            Self::Text(text)
            | Self::Thinking(text)
            | Self::Signature(text)
            | Self::Arguments(text) => text.len(),
            Self::Call { id, name } => id.len() + name.len(),
            Self::Foreign(foreign) => foreign.size(),
        };
        payload + size_of::<Self>()
    }
}

/// The state of an answer's content.
#[derive(Debug, Default)]
pub struct Blocks {
    open: Option<Open>,
    next: usize,
    /// Parts that wait for the open call, and what came of each.
    held: Vec<(u32, Vec<Piece<'static>>)>,
    held_bytes: usize,
    /// Parts that are calls and have begun.
    calls: Vec<u32>,
}

#[derive(Debug)]
struct Open {
    index: usize,
    /// None if the upstream's own frame began the block, and nothing of it has
    /// come yet.
    part: Option<u32>,
    kind: Kind,
    /// Written when the block closes: Anthropic's SDKs take only one.
    signature: String,
    /// Of a call's arguments.
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Tool,
    Foreign,
}

impl Blocks {
    /// Takes the next piece of a part.
    pub fn take(
        &mut self,
        part: u32,
        piece: Piece<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Overflow> {
        if self.must_wait(part) {
            return self.hold(part, piece);
        }
        self.write(part, piece, sink);
        self.release(sink)
    }

    /// The answer is over: closes what is open and writes what was held.
    pub fn finish(&mut self, sink: &mut impl Sink) -> Result<(), Overflow> {
        self.close(sink);
        while !self.held.is_empty() {
            self.release(sink)?;
            self.close(sink);
        }
        Ok(())
    }

    /// Whether a call that is open, and not of this part, lacks arguments.
    fn must_wait(&self, part: u32) -> bool {
        let unfinished = |open: &Open| open.kind == Kind::Tool && !open.progress.is_complete();
        self.open
            .as_ref()
            .is_some_and(|open| open.part != Some(part) && unfinished(open))
    }

    fn hold(&mut self, part: u32, piece: Piece<'_>) -> Result<(), Overflow> {
        self.held_bytes += piece.size();
        if self.held_bytes > MAX_HELD {
            return Err(Overflow);
        }
        let known = self.held.iter().position(|(held, _)| *held == part);
        let at = known.unwrap_or_else(|| {
            self.held.push((part, Vec::new()));
            self.held.len() - 1
        });
        let pieces = &mut self.held[at].1;
        let piece = piece.into_owned();
        let rest = match pieces.last_mut() {
            Some(last) => last.join(piece),
            None => Some(piece),
        };
        pieces.extend(rest);
        Ok(())
    }

    /// Writes what is held as far as it need not wait any longer.
    fn release(&mut self, sink: &mut impl Sink) -> Result<(), Overflow> {
        if self
            .held
            .first()
            .is_none_or(|(part, _)| self.must_wait(*part))
        {
            return Ok(());
        }
        self.held_bytes = 0;
        for (part, pieces) in std::mem::take(&mut self.held) {
            for piece in pieces {
                match self.must_wait(part) {
                    true => self.hold(part, piece)?,
                    false => self.write(part, piece, sink),
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, part: u32, piece: Piece<'_>, sink: &mut impl Sink) {
        match piece {
            Piece::Text(text) => {
                let index = self.block(part, Kind::Text, sink);
                sink.delta(index, Delta::Ours(OurDelta::Text { text: &text }));
            }
            Piece::Thinking(thinking) => {
                let index = self.block(part, Kind::Thinking, sink);
                sink.delta(
                    index,
                    Delta::Ours(OurDelta::Thinking {
                        thinking: &thinking,
                    }),
                );
            }
            Piece::Signature(signature) => {
                self.block(part, Kind::Thinking, sink);
                if let Some(open) = &mut self.open {
                    open.signature.push_str(&signature);
                }
            }
            // A repeated head does not begin another call (bifrost#3443).
            Piece::Call { .. } if self.calls.contains(&part) => {}
            Piece::Call { id, name } => {
                self.calls.push(part);
                let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.begin(part, Kind::Tool, block, sink);
            }
            Piece::Arguments(text) => self.arguments(part, &text, sink),
            Piece::Foreign(foreign) => self.foreign(part, foreign, sink),
        }
    }

    /// The index of the block of this part and kind, which begins if it is not
    /// the open one. Text that goes on after another part has a second block.
    fn block(&mut self, part: u32, kind: Kind, sink: &mut impl Sink) -> usize {
        if let Some(open) = self.open.as_mut().filter(|open| open.kind == kind)
            && *open.part.get_or_insert(part) == part
        {
            return open.index;
        }
        let block = match kind {
            Kind::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
            _ => json!({"type": "text", "text": ""}),
        };
        self.begin(part, kind, block, sink)
    }

    fn begin(&mut self, part: u32, kind: Kind, block: Value, sink: &mut impl Sink) -> usize {
        self.close(sink);
        let index = self.next;
        sink.start(index, block);
        self.begun(index, Some(part), kind);
        index
    }

    fn begun(&mut self, index: usize, part: Option<u32>, kind: Kind) {
        self.next = index + 1;
        let (signature, progress) = (String::new(), Progress::default());
        self.open = Some(Open {
            index,
            part,
            kind,
            signature,
            progress,
        });
    }

    /// The index of the next block.
    pub fn next(&self) -> usize {
        self.next
    }

    /// A frame of the upstream's began a block. `next` is what the next index
    /// was before its events, if there were any, were taken.
    pub fn started(&mut self, index: usize, block_type: &str, next: usize) {
        let kind = match block_type {
            "text" => Kind::Text,
            "thinking" => Kind::Thinking,
            "tool_use" => Kind::Tool,
            _ => Kind::Foreign,
        };
        match &mut self.open {
            // One of its events began it.
            Some(open) if self.next != next => open.index = index,
            _ => self.begun(index, None, kind),
        }
        self.next = index + 1;
    }

    /// A frame of the upstream's went on with the open block: all that came of
    /// it has been sent.
    pub fn told(&mut self) {
        if let Some(open) = &mut self.open {
            open.signature.clear();
        }
    }

    /// A frame of the upstream's ended the open block.
    pub fn stopped(&mut self) {
        self.open = None;
    }

    fn close(&mut self, sink: &mut impl Sink) {
        let Some(open) = self.open.take() else {
            return;
        };
        if !open.signature.is_empty() {
            let signature = &open.signature;
            sink.delta(open.index, Delta::Ours(OurDelta::Signature { signature }));
        }
        sink.stop(open.index);
    }

    /// Arguments of a call that never began, or that go on after they were
    /// complete and something else began, belong to no block.
    fn arguments(&mut self, part: u32, text: &str, sink: &mut impl Sink) {
        let of_part = |open: &&mut Open| open.part == Some(part) && open.kind == Kind::Tool;
        if let Some(open) = self.open.as_mut().filter(of_part) {
            open.progress.push(text);
            sink.delta(
                open.index,
                Delta::Ours(OurDelta::Input { partial_json: text }),
            );
        }
    }

    fn foreign(&mut self, part: u32, foreign: Foreign, sink: &mut impl Sink) {
        let open = self
            .open
            .as_ref()
            .filter(|open| open.part.is_none_or(|of| of == part));
        match foreign {
            Foreign::Block(block) => _ = self.begin(part, Kind::Foreign, block, sink),
            Foreign::Delta(delta) => {
                let index = match open {
                    Some(open) => open.index,
                    // Citations may come before the text that they are about.
                    None if delta["type"] == "citations_delta" => {
                        self.block(part, Kind::Text, sink)
                    }
                    None => return,
                };
                sink.delta(index, Delta::Foreign(delta));
            }
            Foreign::Stop if open.is_some() => self.close(sink),
            _ => {}
        }
    }
}
