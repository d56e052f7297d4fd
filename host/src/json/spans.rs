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
#[derive(Debug, PartialEq, Eq)]
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
    /// The same, after the value at `range` has been replaced by a string, a
    /// number or a word of so many bytes, which makes `text`: no key comes or
    /// goes, and nothing lies deeper than before. None if that does not follow:
    /// what was ambiguous may have gone with the value.
    pub fn with_scalar(
        &self,
        text: ByteString,
        range: &Range<usize>,
        (scalar, length): (Span, usize),
    ) -> Option<Self> {
        if self.ambiguity.is_some() || text.len() > MAX_BYTES {
            return None;
        }
        let at = self.spans.iter().position(|span| span.range() == *range)?;
        let below = self.spans[at].size - 1;
        let moved = |place: u32| match place as usize {
            place if place >= range.end => (place - range.len() + length) as u32,
            _ => place,
        };
        let (before, after) = self.spans.split_at(at + 1);
        let after = after.get(below as usize..)?;
        let before = before.iter().enumerate().map(|(index, span)| Span {
            size: if index + span.size as usize > at {
                span.size - below
            } else {
                span.size
            },
            ..*span
        });
        let spans = before.chain(after.iter().copied()).map(|span| Span {
            start: moved(span.start),
            end: moved(span.end),
            ..span
        });
        let mut spans: Vec<_> = spans.collect();
        spans[at].kind = scalar.kind;
        spans[at].is_plain_ascii = scalar.is_plain_ascii;
        Some(Self {
            text,
            spans,
            ambiguity: None,
        })
    }
}
