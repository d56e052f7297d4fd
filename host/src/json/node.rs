//! A value of a body, and the way from it to those that are in it.

use std::borrow::Cow;
use std::ops::Range;

use super::block::WIDTH as BLOCK;
use super::replaced::{self, Replaced};
use super::spans::{Kind, Scanned, Span};
use super::string::{push_unescaped, text, unescaped};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Node<'j> {
    text: &'j str,
    /// Its own, and those of all that is in it.
    pub(super) spans: &'j [Span],
    /// What stands in the place of values that are in it.
    replaced: &'j Replaced,
}

impl<'j> Node<'j> {
    /// The outermost value of a body, some of whose values have been replaced.
    pub(super) fn root(scanned: &'j Scanned, replaced: &'j Replaced) -> Self {
        let Scanned { text, spans, .. } = scanned;
        Self::at(text, spans, replaced)
    }

    /// The value that is there, or what stands in its place.
    fn at(text: &'j str, spans: &'j [Span], replaced: &'j Replaced) -> Self {
        let own = spans.first().filter(|_| !replaced.is_empty());
        match own.and_then(|own| replaced::instead(replaced, own)) {
            Some(by) => Self {
                text: &by.text,
                spans: &by.spans,
                replaced: &replaced::NONE,
            },
            None => Self {
                text,
                spans,
                replaced,
            },
        }
    }

    /// Where it stands in the text that it was read in.
    pub(super) fn range(self) -> Range<usize> {
        self.spans.first().map(Span::range).unwrap_or_default()
    }

    /// The value as it was written. Copied only if something in it has been
    /// replaced.
    pub fn json(self) -> Cow<'j, str> {
        let range = self.range();
        if replaced::within(self.replaced, range.clone())
            .next()
            .is_some()
        {
            return Cow::Owned(replaced::joined(self.text, range, self.replaced));
        }
        Cow::Borrowed(&self.text[range])
    }

    pub fn kind(self) -> Kind {
        self.spans.first().map_or(Kind::Other, |span| span.kind)
    }

    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// What it says, if it is a string. Copied only if there are escapes.
    pub fn string(self) -> Option<Cow<'j, str>> {
        let inner = self.inner()?;
        Some(match self.kind() {
            Kind::Escaped => Cow::Owned(unescaped(inner)),
            _ => Cow::Borrowed(inner),
        })
    }

    /// Whether it is a string that says something.
    pub fn is_text(self) -> bool {
        self.inner().is_some_and(|inner| !inner.is_empty())
    }

    /// Whether it is a string of printable ASCII and white space alone, and
    /// written so: without an escape that names a character by its number.
    pub fn is_plain_ascii(self) -> bool {
        self.spans.first().is_some_and(|span| span.is_plain_ascii)
    }

    /// A string as it was written, without its quotes.
    pub(super) fn inner(self) -> Option<&'j str> {
        let range = self.range();
        let is_string = matches!(self.kind(), Kind::Plain | Kind::Escaped);
        let inner = range.start + 1..range.end.saturating_sub(1);
        self.text.get(inner).filter(|_| is_string)
    }

    /// What all these strings say, one after another.
    pub fn joined(strings: impl Iterator<Item = Node<'j>> + Clone) -> String {
        let length = strings.clone().map(|string| string.range().len());
        let mut bytes = Vec::with_capacity(length.sum::<usize>() + BLOCK);
        for string in strings {
            let inner = string.inner().unwrap_or_default();
            match string.kind() {
                Kind::Escaped => push_unescaped(&mut bytes, inner),
                _ => bytes.extend_from_slice(inner.as_bytes()),
            }
        }
        text(bytes)
    }

    /// The elements of an array; none of what is not one.
    pub fn elements(self) -> impl Iterator<Item = Node<'j>> {
        let is_array = self.kind() == Kind::Array;
        self.children().filter(move |_| is_array)
    }

    /// The members of an object, with their keys; none of what is not one.
    pub fn members(self) -> impl Iterator<Item = (Cow<'j, str>, Node<'j>)> {
        let is_object = self.is_object();
        let mut children = self.children().filter(move |_| is_object);
        std::iter::from_fn(move || {
            let key = children.next()?.string()?;
            Some((key, children.next()?))
        })
    }

    /// The member of an object that has this key. Of one that stands more than
    /// once the last counts, as most readers have it.
    pub fn get(self, key: &str) -> Option<Node<'j>> {
        let named = self.members().filter(|(name, _)| name == key);
        named.last().map(|(_, value)| value)
    }

    /// Where a step of a pointer leads; array indices have no leading zeros
    /// (RFC 6901, section 4).
    pub fn step(self, step: &str) -> Option<Node<'j>> {
        if self.is_object() {
            return self.get(step);
        }
        let canonical = step == "0" || !step.starts_with(['0', '+']);
        let index = step.parse().ok().filter(|_| canonical)?;
        self.elements().nth(index)
    }

    pub fn is_empty(self) -> bool {
        self.spans.len() < 2
    }

    /// The last value in it.
    pub fn last(self) -> Option<Node<'j>> {
        self.children().last()
    }

    /// What is in it, keys and all.
    pub(super) fn children(self) -> impl Iterator<Item = Node<'j>> {
        let mut rest = self.spans.get(1..).unwrap_or_default();
        std::iter::from_fn(move || {
            let size = rest.first()?.size as usize;
            let (spans, others) = rest.split_at_checked(size)?;
            rest = others;
            Some(Node::at(self.text, spans, self.replaced))
        })
    }
}
