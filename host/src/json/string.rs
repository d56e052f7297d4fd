//! What a string says: its characters, without its escapes.

/// The characters of a string that a scan has stepped over, given without its
/// quotes.
pub fn unescaped(inner: &str) -> String {
    // No escape is shorter than the character that it stands for.
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes();
    while !rest.is_empty() {
        rest = copy(rest, &mut text);
        if !rest.is_empty() {
            let (character, length) = escape(rest);
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => text.push(byte),
                _ => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    // What stood between characters is no part of one. If it were, nothing of
    // the text may be hidden from whoever reads it.
    String::from_utf8(text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Copies what stands before the first backslash; answers the rest. Text has
/// an escape for every line and every quote, so runs are short: eight bytes at
/// a time are quicker than to look for the end and to copy after that.
fn copy<'t>(mut from: &'t [u8], to: &mut Vec<u8>) -> &'t [u8] {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    while let Some((block, rest)) = from.split_first_chunk::<8>() {
        // A byte is zero where there was a backslash; the lowest that is marked
        // is one, whatever a borrow marks above it.
        let word = u64::from_le_bytes(*block) ^ (ONES * u64::from(b'\\'));
        let marked = word.wrapping_sub(ONES) & !word & HIGH;
        to.extend_from_slice(block);
        if marked != 0 {
            let run = marked.trailing_zeros() as usize / 8;
            to.truncate(to.len() - (8 - run));
            return &from[run..];
        }
        from = rest;
    }
    let end = from.iter().position(|byte| *byte == b'\\');
    let (run, rest) = from.split_at(end.unwrap_or(from.len()));
    to.extend_from_slice(run);
    rest
}

/// The character that the escape at the beginning stands for, and how many
/// bytes it takes (RFC 8259, section 7).
fn escape(text: &[u8]) -> (char, usize) {
    match text.get(1) {
        Some(b'u') => unicode(text),
        // Looked up, since nothing tells a processor which of them comes next.
        Some(letter) => (char::from(MEANT[usize::from(*letter)]), 2),
        None => (char::REPLACEMENT_CHARACTER, 2),
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

/// The character of `\uXXXX`, or of two that are a surrogate pair.
fn unicode(text: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(2).unwrap_or_default();
    let second = unit(8).filter(|_| text.get(6..8) == Some(b"\\u"));
    let units = [first, second.unwrap_or_default()];
    match char::decode_utf16(units).next() {
        Some(Ok(character)) => (character, 6 * character.len_utf16()),
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}
