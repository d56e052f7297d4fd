//! A body of which some values have been replaced: it is put together when
//! somebody wants it in one piece. To copy a long body for the name of a model
//! takes as long as to find the name.

use std::ops::Range;

use bytes::Bytes;

use super::node::Node;
use super::spans::{Scanned, Span};

/// How many replacements a body has at the most: whoever looks for a value
/// looks at all of them.
pub const MAX_REPLACED: usize = 16;

/// A string, a number or a word that has been put in the place of a value; of a
/// body that is put together at once, any text in any place.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// Where the value stands in the body that was read.
    pub range: Range<usize>,
    pub by: Scanned,
}

/// The replacements of a body, in the order of their places, which do not
/// overlap.
pub type Replaced = Vec<Replacement>;

/// Those of most bodies.
pub static NONE: Replaced = Vec::new();

/// The same with another, in whose place others may lie.
pub fn with(replaced: &Replaced, new: Replacement) -> Replaced {
    let (before, after) = (new.range.start, new.range.end);
    let before = replaced.iter().filter(|old| old.range.end <= before);
    let after = replaced.iter().filter(|old| old.range.start >= after);
    before.chain([&new]).chain(after).cloned().collect()
}

/// What stands in the place of a value.
pub fn instead<'j>(replaced: &'j Replaced, of: &Span) -> Option<&'j Scanned> {
    let place = of.range();
    let own = replaced.iter().find(|own| own.range == place)?;
    Some(&own.by)
}

/// Where a value stands in the body that was read, or the one in whose place it
/// stands.
pub fn place(replaced: &Replaced, value: Node<'_>) -> Range<usize> {
    let is_it = |own: &&Replacement| std::ptr::eq(own.by.spans.as_slice(), value.spans);
    let own = replaced.iter().find(is_it);
    own.map_or_else(|| value.range(), |own| own.range.clone())
}

/// Those of a part of the body.
pub fn within(replaced: &Replaced, part: Range<usize>) -> impl Iterator<Item = &Replacement> {
    let is_in =
        move |own: &&Replacement| part.start <= own.range.start && own.range.end <= part.end;
    replaced.iter().filter(is_in)
}

/// A part of a text with its replacements.
pub fn joined(text: &str, part: Range<usize>, replaced: &Replaced) -> String {
    let added = within(replaced, part.clone()).map(|own| own.by.text.len());
    let mut joined = String::with_capacity(part.len() + added.sum::<usize>());
    let mut at = part.start;
    for own in within(replaced, part.clone()) {
        joined.push_str(&text[at..own.range.start]);
        joined.push_str(&own.by.text);
        at = own.range.end;
    }
    joined.push_str(&text[at..part.end]);
    joined
}

/// A body and its replacements, in the pieces that they lie in.
pub fn pieces(body: &Bytes, replaced: &Replaced) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(2 * replaced.len() + 1);
    let mut at = 0;
    for own in replaced {
        pieces.push(body.slice(at..own.range.start));
        pieces.push(own.by.text.as_bytes().clone());
        at = own.range.end;
    }
    pieces.push(body.slice(at..));
    pieces
}
