//! Looking for words in what strings say, without putting it together: a body
//! is long, and most have none of them.

use std::borrow::Cow;

use fearless_simd::{Level, Simd, dispatch};
use memchr::memmem::Finder;

use super::node::Node;

/// How many bytes are looked through at a time: few enough to stay in the
/// nearest cache, and many times the longest word.
const WINDOW: usize = 8 << 10;

/// The longest word, in bytes.
pub const MAX_WORD: usize = 256;

/// Which of these words stand in what the strings say, one after another with
/// nothing in between. ASCII letters are the same in both cases; an empty word
/// stands everywhere. Words are of at most `MAX_WORD` bytes.
pub fn find<'j>(strings: impl Iterator<Item = Node<'j>> + Clone, words: &[String]) -> Vec<bool> {
    // Words that are said as they are written are looked for where they are
    // written first. What follows a line break has an `n` before it there, so
    // what is found in this way is only said perhaps.
    let mut found = vec![true; words.len()];
    let length = strings.clone().map(|string| string.range().len()).sum();
    if words.iter().all(|word| is_written_as_said(word)) {
        found = search(strings.clone().map(written), length, words);
    }
    let perhaps = words.iter().zip(&found).filter(|(_, found)| **found);
    let perhaps: Vec<_> = perhaps.map(|(word, _)| word).collect();
    if perhaps.is_empty() {
        return found;
    }
    let said = strings.map(|string| string.string().unwrap_or_default());
    let mut said = search(said, length, &perhaps).into_iter();
    for found in &mut found {
        *found = *found && said.next().unwrap_or_default();
    }
    found
}

/// Whether JSON has no need of an escape for anything in a word, nor a use for
/// one but by the number of a character (RFC 8259, section 7).
fn is_written_as_said(word: &str) -> bool {
    let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | b'/' | 0..=0x1f);
    !word.as_bytes().iter().any(is_escaped)
}

/// A string as it was written; what it says if that names characters by their
/// numbers.
fn written(string: Node<'_>) -> Cow<'_, str> {
    match string.inner() {
        Some(inner) if string.is_plain_ascii() => Cow::Borrowed(inner),
        _ => string.string().unwrap_or_default(),
    }
}

/// Looks for words in pieces of at most so many bytes together.
fn search<'j>(
    pieces: impl Iterator<Item = Cow<'j, str>>,
    length: usize,
    words: &[impl AsRef<str>],
) -> Vec<bool> {
    let words = words.iter().map(|word| word.as_ref().to_ascii_lowercase());
    let words: Vec<_> = words.collect();
    let finders: Vec<_> = words.iter().map(Finder::new).collect();
    let longest = words.iter().map(String::len).max().unwrap_or_default();
    let mut found = vec![false; words.len()];
    let mut look = |window: &[u8]| {
        for (found, finder) in found.iter_mut().zip(&finders) {
            *found = *found || finder.find(window).is_some();
        }
    };
    // The beginning of a word may be the end of a window, unless there is but
    // one, which is not filled.
    let kept = longest.min(WINDOW / 2);
    let mut window = vec![0; WINDOW.min(length + 1)];
    let mut filled = 0;
    for piece in pieces {
        let mut rest = piece.as_bytes();
        while !rest.is_empty() {
            let room = &mut window[filled..];
            let (now, later) = rest.split_at(rest.len().min(room.len()));
            lower(now, room);
            filled += now.len();
            rest = later;
            if filled == window.len() {
                look(&window);
                window.copy_within(filled - kept.., 0);
                filled = kept;
            }
        }
    }
    look(&window[..filled]);
    found
}

/// Copies text to where there is room for it, with its ASCII letters small, by
/// the widest registers.
fn lower(text: &[u8], room: &mut [u8]) {
    #[inline(always)]
    fn each<S: Simd>(_: S, text: &[u8], room: &mut [u8]) {
        for (byte, small) in text.iter().zip(room) {
            *small = byte.to_ascii_lowercase();
        }
    }
    dispatch!(Level::new(), simd => each(simd, text, room));
}
