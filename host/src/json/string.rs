//! What a string says: its characters, without its escapes.

use fearless_simd::{Level, Simd, dispatch};

use super::block::{Block, WIDTH};

/// The characters of a string that a scan has stepped over, given without its
/// quotes.
pub fn unescaped(inner: &str) -> String {
    let mut bytes = Vec::new();
    push_unescaped(&mut bytes, inner);
    text(bytes)
}

/// Appends them to the bytes of a text.
pub fn push_unescaped(bytes: &mut Vec<u8>, inner: &str) {
    let before = bytes.len();
    // No escape is shorter than the character that it stands for.
    bytes.resize(before + inner.len() + WIDTH, 0);
    let (from, to) = (inner.as_bytes(), &mut bytes[before..]);
    let length = dispatch!(Level::new(), simd => unescape(simd, from, to));
    bytes.truncate(before + length);
}

/// A text that has been put together of such characters. What stood between
/// them is no part of one. If it were, nothing of the text may be hidden from
/// whoever reads it.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Writes the characters to where there is room for `from` and a block; answers
/// how many bytes they are.
///
/// Text has an escape for every line and every quote, so runs are short and of
/// any length: whole blocks are written, and again from where each escape ends.
#[inline(always)]
fn unescape<S: Simd>(simd: S, from: &[u8], to: &mut [u8]) -> usize {
    let (mut at, mut length) = (0, 0);
    while let Some(window) = from[at..].first_chunk::<{ 2 * WIDTH }>()
        && let Some(block) = window.first_chunk()
    {
        to[length..][..WIDTH].copy_from_slice(block);
        let mut marked = Block::of(simd, block).backslashes();
        let mut done = 0;
        while marked != 0 {
            let place = marked.trailing_zeros() as usize;
            let (written, taken) = escape(&window[place..], &mut to[length + place - done..]);
            length += place - done + written;
            done = place + taken;
            if done >= WIDTH {
                break;
            }
            to[length..][..WIDTH].copy_from_slice(&window[done..][..WIDTH]);
            marked &= u64::MAX << done;
        }
        length += WIDTH.saturating_sub(done);
        at += WIDTH.max(done);
    }
    let mut rest = &from[at..];
    while !rest.is_empty() {
        let run = rest.iter().position(|byte| *byte == b'\\');
        let (run, after) = rest.split_at(run.unwrap_or(rest.len()));
        to[length..][..run.len()].copy_from_slice(run);
        length += run.len();
        rest = after;
        if !rest.is_empty() {
            let (written, taken) = escape(rest, &mut to[length..]);
            length += written;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    length
}

/// Writes the character that the escape at the beginning stands for; answers
/// how many bytes it takes, and how many the escape did (RFC 8259, section 7).
#[inline]
fn escape(from: &[u8], to: &mut [u8]) -> (usize, usize) {
    match from.get(1) {
        Some(b'u') => {
            let (character, taken) = unicode(from);
            (character.encode_utf8(to).len(), taken)
        }
        // Looked up, since nothing tells a processor which of them comes next.
        letter => {
            to[0] = letter.map_or(b'\\', |letter| MEANT[usize::from(*letter)]);
            (1, 2)
        }
    }
}

/// What a letter after a backslash stands for; most stand for themselves.
static MEANT: [u8; 256] = {
    let mut meant = [0; 256];
    let mut letter = 0_u8;
    loop {
        meant[letter as usize] = match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            letter => letter,
        };
        if letter == u8::MAX {
            break meant;
        }
        letter += 1;
    }
};

/// The character of `\uXXXX`, or of two that are a surrogate pair, and how many
/// bytes of the string it took.
fn unicode(from: &[u8]) -> (char, usize) {
    let first = from.get(2..).and_then(unit).unwrap_or_default();
    if let Some(character) = char::from_u32(first.into()) {
        return (character, 6);
    }
    let second = from.get(6..).and_then(|rest| rest.strip_prefix(b"\\u"));
    let units = [first, second.and_then(unit).unwrap_or_default()];
    match char::decode_utf16(units).next() {
        Some(Ok(character)) => (character, 12),
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// What the four hexadecimal digits at the beginning are; none if they are not.
pub fn unit(digits: &[u8]) -> Option<u16> {
    let digits = digits.first_chunk::<4>()?.iter();
    let unit = digits.map(|digit| char::from(*digit).to_digit(16));
    let unit = unit.reduce(|above, digit| Some(above? << 4 | digit?))??;
    u16::try_from(unit).ok()
}
