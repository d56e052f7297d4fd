//! What every renderer and every reader of answers is told, and what it offers.
//!
//! The renderers themselves are each dialect's own; the server drives them
//! with model events and writes the bytes that they produce. A reader is the
//! other way round.

use super::error::ErrorView;
use crate::event::{ModelEvent, Start};

/// What is known of an answer before its first event.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The exchange's identifier, of which the answer's is made if the
    /// provider gave none.
    pub exchange: String,
    /// The model that the client asked for, shown if the provider names none.
    pub model: String,
    /// When the exchange began, in seconds since 1970-01-01 UTC, shown if the
    /// provider gave no time.
    pub created: u64,
    /// Whether the client wants to be told the usage in a stream
    /// ([`super::Dialect::wants_usage_in_stream`]).
    pub usage_in_stream: bool,
    /// Whether the upstream's answer is in the client's own dialect. Only then
    /// are `other` events written, which are in that dialect's own words.
    pub same_dialect: bool,
}

/// Writes the events of one answer as server-sent events.
///
/// The bytes depend on the sequence of events only, not on how it is cut into
/// calls. Nothing is written for `start` and `usage` until something else
/// comes: so a failure that comes first leaves `out` empty, and the caller can
/// still answer with a status of its own.
pub trait StreamRenderer: Send {
    /// Writes what these events are in the dialect. An `error` event is
    /// written as [`StreamRenderer::error`] does it.
    fn events(&mut self, events: &[ModelEvent], out: &mut Vec<u8>);

    /// Learns that a frame of the upstream's, in this dialect, was sent as it
    /// came: its data, and the events that it was decoded to, which may be
    /// none. What is written later goes on from there: no head, block, reason
    /// or terminator is told twice. What the frame says beyond its events is
    /// lost on a renderer that does not look.
    fn sent(&mut self, _data: &[u8], events: &[ModelEvent]) {
        self.events(events, &mut Vec::new());
    }

    /// Whether nothing is written any more: an error has been, or a terminator
    /// has been written or sent.
    fn is_over(&self) -> bool;

    /// Writes the head of the answer now, if that has not been done. For a
    /// caller that wants the client to see a first byte before the model has
    /// said anything.
    fn open(&mut self, out: &mut Vec<u8>);

    /// Writes an error in band. Nothing is written after it: no finish, no
    /// terminator, whatever else is called (Portkey#722).
    fn error(&mut self, error: &ErrorView<'_>, out: &mut Vec<u8>);

    /// Writes what remains and the terminator, once. A choice that was never
    /// finished is given a reason: that it called tools, or just stopped.
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// Reads one answer that went well as model events.
pub trait AnswerReader: Send {
    /// Reads a frame of a stream, or a whole body. It never fails: what cannot
    /// be read is an `error` event.
    fn frame(&mut self, name: Option<&str>, data: &[u8]) -> Read;

    /// The events that remain when nothing follows, which the upstream may have
    /// said (`ended`) or not: the last is an `error` if the answer was cut off.
    fn finish(&mut self, ended: bool) -> Vec<ModelEvent>;
}

/// What a frame says.
#[derive(Debug)]
pub struct Read {
    pub events: Vec<ModelEvent>,
    /// Whether the frame says what the one before it did, but for the text of
    /// its one event: so the two can be taken for one if both are at hand.
    pub repeats: bool,
}

/// Makes a reader of one answer, and is told whether frames of a stream come or
/// one whole body.
pub type MakeReader = fn(streamed: bool) -> Box<dyn AnswerReader>;

/// The head of an answer with nothing left open.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub id: String,
    pub model: String,
    pub created: u64,
}

impl Head {
    /// `prefix` is what identifiers of the dialect begin with.
    pub fn new(settings: &Settings, prefix: &str, start: Option<&Start>) -> Self {
        let given = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
        let id = start.and_then(|start| given(start.id.as_ref()));
        let model = start.and_then(|start| given(start.model.as_ref()));
        Self {
            id: id.unwrap_or_else(|| format!("{prefix}{}", settings.exchange)),
            model: model.unwrap_or_else(|| settings.model.clone()),
            created: start
                .and_then(|start| start.created)
                .unwrap_or(settings.created),
        }
    }
}
