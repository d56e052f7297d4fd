//! What a scan keeps of a body: where each value is.
//!
//! Sixteen bytes a value, so of a body of nothing but digits and commas eight
//! times its length. A parser that builds values keeps twice that.

use std::ops::Range;

use bytestring::ByteString;

use super::Ambiguity;

/// The longest body: what a span can tell the place of.
pub const MAX_BYTES: usize = u32::MAX as usize;

/// What a value is, or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    /// A string without escapes.
    Plain,
    /// A string with escapes.
    Escaped,
    /// A number, `true`, `false` or `null`.
    Other,
}

/// A value of a body, or the key of a member: where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
    /// How many spans there are of it and of all that is in it.
    pub size: u32,
    pub kind: Kind,
    /// Whether it is a string of printable ASCII and white space alone, and
    /// written so: without an escape that names a character by its number.
    pub is_plain_ascii: bool,
}

impl Span {
    /// A value that has nothing in it, or nothing yet. Within `MAX_BYTES` every
    /// place fits.
    pub fn new(range: Range<usize>, kind: Kind) -> Self {
        Self {
            start: range.start as u32,
            end: range.end as u32,
            size: 1,
            kind,
            is_plain_ascii: false,
        }
    }

    pub fn string(range: Range<usize>, kind: Kind, is_plain_ascii: bool) -> Self {
        Self {
            is_plain_ascii,
            ..Self::new(range, kind)
        }
    }

    /// The value ends here, with so many spans of it and of what is in it.
    pub fn close(&mut self, end: usize, size: usize) {
        self.end = end as u32;
        self.size = size as u32;
    }

    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What one pass has learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// The whole body.
    pub text: ByteString,
    /// The outermost value, and after each value what is in it, in order: of an
    /// array its elements, of an object a key and a value for each member.
    pub spans: Vec<Span>,
    /// The first object that says something twice, or too much.
    pub ambiguity: Option<Ambiguity>,
}

impl Scanned {
    /// Of a text that nobody has looked at.
    pub fn unread(text: ByteString) -> Self {
        Self {
            text,
            spans: Vec::new(),
            ambiguity: None,
        }
    }
}
