//! Folding the events of an answer to what it says as a whole.
//!
//! Both dialects write whole bodies from this, and their streams keep the same
//! rules, so that a client reads the same answer either way.

use std::collections::BTreeMap;

use super::other;
use crate::event::{Failure, Finish, FinishReason, Fragment, ModelEvent, Other, Start, Usage};

/// A whole answer.
#[derive(Debug, Default)]
pub struct Answer {
    pub start: Option<Start>,
    pub usage: Option<Usage>,
    pub choices: BTreeMap<u32, Choice>,
}

/// One choice of an answer.
#[derive(Debug, Default)]
pub struct Choice {
    /// In the order in which they began.
    pub parts: Vec<Part>,
    pub finish: Option<Finish>,
}

/// One part of a choice.
#[derive(Debug)]
pub struct Part {
    number: u32,
    pub kind: PartKind,
    /// All fragments, joined.
    pub text: String,
    /// Of a reasoning part; empty if it has none.
    pub signature: String,
    /// What came for this part besides.
    pub others: Vec<Other>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartKind {
    Text,
    Reasoning,
    Refusal,
    Tool {
        id: String,
        name: String,
    },
    /// It has nothing but `others`.
    Other,
}

impl Answer {
    /// Folds a sequence of events. Of `other` events it keeps those that the
    /// client may see (`same_dialect`) or the hub has a place for.
    ///
    /// # Errors
    ///
    /// The failure among them, if there is one: half an answer is none.
    pub fn of(events: &[ModelEvent], same_dialect: bool) -> Result<Self, Failure> {
        let mut answer = Self::default();
        let shown = |event: &&ModelEvent| match event {
            ModelEvent::Other(event) => same_dialect || other::redacted_thinking(event).is_some(),
            _ => true,
        };
        for event in events.iter().filter(shown) {
            answer.add(event)?;
        }
        Ok(answer)
    }

    fn add(&mut self, event: &ModelEvent) -> Result<(), Failure> {
        match event {
            ModelEvent::Start(start) => _ = self.start.get_or_insert_with(|| start.clone()),
            ModelEvent::Usage(usage) => absorb(&mut self.usage, usage),
            ModelEvent::Text(piece) => self.append(piece, PartKind::Text),
            ModelEvent::Reasoning(piece) => self.append(piece, PartKind::Reasoning),
            ModelEvent::ReasoningSignature(piece) => {
                let part = self.part(piece.choice, piece.part, PartKind::Reasoning);
                part.signature.push_str(&piece.text);
            }
            ModelEvent::Refusal(piece) => self.append(piece, PartKind::Refusal),
            ModelEvent::ToolCall(call) => {
                let kind = PartKind::Tool {
                    id: call.id.clone(),
                    name: call.name.clone(),
                };
                self.part(call.choice, call.part, kind);
            }
            ModelEvent::ToolArguments(piece) => {
                let choice = self.choices.entry(piece.choice).or_default();
                // Arguments of a call that never began belong to nothing.
                if let Some(part) = choice.tool(piece.part) {
                    part.text.push_str(&piece.text);
                }
            }
            ModelEvent::Finish(finish) => {
                let choice = self.choices.entry(finish.choice).or_default();
                choice.finish.get_or_insert_with(|| finish.clone());
            }
            ModelEvent::Other(other) => self.attach(other),
            ModelEvent::Error(failure) => return Err(failure.clone()),
        }
        Ok(())
    }

    fn append(&mut self, piece: &Fragment, kind: PartKind) {
        if !piece.text.is_empty() {
            self.part(piece.choice, piece.part, kind)
                .text
                .push_str(&piece.text);
        }
    }

    /// The part with this number and kind, which begins now if it is new. A
    /// number whose kind changes is taken for two parts.
    fn part(&mut self, choice: u32, number: u32, kind: PartKind) -> &mut Part {
        let parts = &mut self.choices.entry(choice).or_default().parts;
        let same = |part: &Part| part.number == number && part.kind.is_like(&kind);
        let at = parts.iter().rposition(same).unwrap_or_else(|| {
            let (text, signature) = (String::new(), String::new());
            parts.push(Part {
                number,
                kind,
                text,
                signature,
                others: Vec::new(),
            });
            parts.len() - 1
        });
        &mut parts[at]
    }

    fn attach(&mut self, other: &Other) {
        let parts = &self.choices.entry(other.choice).or_default().parts;
        let known = parts.iter().rfind(|part| part.number == other.part);
        let kind = known.map_or(PartKind::Other, |part| part.kind.clone());
        self.part(other.choice, other.part, kind)
            .others
            .push(other.clone());
    }
}

impl Choice {
    fn tool(&mut self, number: u32) -> Option<&mut Part> {
        let is_tool = |part: &&mut Part| matches!(part.kind, PartKind::Tool { .. });
        self.parts
            .iter_mut()
            .filter(is_tool)
            .rfind(|part| part.number == number)
    }

    /// All texts of one kind, joined; none if there is no such part.
    pub fn joined(&self, kind: &PartKind) -> Option<String> {
        let mut texts = self
            .parts
            .iter()
            .filter(|part| part.kind == *kind)
            .map(|p| &*p.text);
        let first = texts.next()?.to_owned();
        Some(texts.fold(first, |all, text| all + text))
    }

    /// The calls of tools: identifier, name, and arguments as they came.
    pub fn calls(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.parts.iter().filter_map(|part| match &part.kind {
            PartKind::Tool { id, name } => Some((id.as_str(), name.as_str(), part.text.as_str())),
            _ => None,
        })
    }

    /// Why it ended. A choice that was never finished ended because it called
    /// tools, or else because it was done.
    pub fn reason(&self) -> FinishReason {
        reason_or(
            self.finish.as_ref().map(|finish| finish.reason),
            self.calls().next().is_some(),
        )
    }
}

impl PartKind {
    /// Whether fragments of both belong to one part. A repeated head of a tool
    /// call does not begin another call (bifrost#3443).
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// The reason that was given, or the one that is made up for a choice that
/// ended without any.
pub fn reason_or(reason: Option<FinishReason>, called_tools: bool) -> FinishReason {
    reason.unwrap_or(if called_tools {
        FinishReason::ToolCalls
    } else {
        FinishReason::Stop
    })
}

/// Replaces each field of the totals that the later ones have.
pub fn absorb(totals: &mut Option<Usage>, later: &Usage) {
    let Some(totals) = totals else {
        *totals = Some(*later);
        return;
    };
    totals.input_tokens = later.input_tokens.or(totals.input_tokens);
    totals.output_tokens = later.output_tokens.or(totals.output_tokens);
    totals.cache_read_tokens = later.cache_read_tokens.or(totals.cache_read_tokens);
    totals.cache_write_tokens = later.cache_write_tokens.or(totals.cache_write_tokens);
    totals.reasoning_tokens = later.reasoning_tokens.or(totals.reasoning_tokens);
}
