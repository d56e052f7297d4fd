//! Watching an answer that is passed through untouched.
//!
//! When client and upstream speak the same dialect and no plugin asked for
//! events, bytes go through as they are; the record still wants to know the
//! tokens, and the server whether the stream was cut off. So every frame is
//! looked at, and parsed only if it holds something worth parsing.

use super::Dialect;

/// What has been seen of one answer so far.
#[derive(Debug, Clone)]
pub struct Watch {
    dialect: &'static dyn Dialect,
    /// Tokens that the model read, those from a cache included.
    pub input_tokens: Option<u64>,
    /// Tokens that the model produced.
    pub output_tokens: Option<u64>,
    /// A reason why the answer ended was given.
    pub finished: bool,
    /// The dialect's terminator came: `[DONE]`, `message_stop`; a whole body
    /// is its own.
    pub terminated: bool,
    /// An error came in band.
    pub failed: bool,
    /// Of `input_tokens`, for a dialect that counts them apart.
    pub(super) apart: Apart,
}

/// Tokens of the prompt by what a cache had to do with them. Each may be told,
/// and corrected, without the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Apart {
    pub uncached: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_written: Option<u64>,
}

impl Apart {
    /// All of them; none if none has been told.
    pub fn total(&self) -> Option<u64> {
        let told = [self.uncached, self.cache_read, self.cache_written];
        told.into_iter().flatten().reduce(u64::saturating_add)
    }
}

impl Watch {
    pub fn new(dialect: &'static dyn Dialect) -> Self {
        Self {
            dialect,
            input_tokens: None,
            output_tokens: None,
            finished: false,
            terminated: false,
            failed: false,
            apart: Apart::default(),
        }
    }

    /// A frame of a stream: the event's name, if it had one, and its data.
    pub fn frame(&mut self, name: Option<&str>, data: &[u8]) {
        self.dialect.watch_frame(self, name, data);
    }

    /// The whole body of a successful answer that is not a stream.
    pub fn body(&mut self, body: &[u8]) {
        self.dialect.watch_body(self, body);
    }

    /// Whether a stream that has ended was cut off: it neither reached its
    /// terminator nor told of an error.
    pub fn truncated(&self) -> bool {
        !self.terminated && !self.failed
    }
}
