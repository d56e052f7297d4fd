//! The form of a text in which disguises disappear.
//!
//! The same words can be written in full-width letters, in mathematical
//! alphabets, with invisible characters between the letters, in any case and
//! with any white space. A model reads them all the same, so the filter does:
//! compatibility forms are composed (Unicode's NFKC), invisible characters are
//! removed, white space becomes one space, and letters lower case.
//!
//! Not seen through: letters of other scripts that only look alike, spelling
//! with digits or punctuation, encodings such as base64, other languages.

use unicode_normalization::UnicodeNormalization;

/// The plain form of a text, or of a pattern.
pub fn normal(text: &str) -> String {
    let mut plain = Plain::default();
    if text.is_ascii() {
        text.chars().for_each(|character| plain.push(character));
    } else {
        // Composition can give invisible characters, and they can hinder it.
        let composed = text
            .chars()
            .filter(|&character| !is_invisible(character))
            .nfkc();
        composed.for_each(|character| plain.push(character));
        plain.push(' ');
        text.chars()
            .filter_map(tag)
            .for_each(|character| plain.push(character));
    }
    plain.text
}

/// A text in lower case, if that differs from its plain form in white space
/// only: if it is ASCII and has no controls. Without a branch for each byte,
/// and in blocks, since most texts are long and go this way, and in a sandbox
/// every round of a loop looks whether it is to be interrupted.
pub fn lower(text: String) -> Option<Vec<u8>> {
    let mut bytes = text.into_bytes();
    let (blocks, rest) = bytes.as_chunks_mut::<64>();
    let mut odd = lower_in_place(rest);
    for block in blocks {
        odd |= lower_in_place(block);
    }
    (odd == 0).then_some(bytes)
}

/// Whether there was anything odd: not 0.
#[inline]
fn lower_in_place(bytes: &mut [u8]) -> u8 {
    let mut odd = 0;
    for byte in bytes {
        let is_shown = (b' '..=b'~').contains(byte);
        let is_space = (b'\t'..=b'\r').contains(byte);
        odd |= u8::from(!(is_shown | is_space));
        byte.make_ascii_lowercase();
    }
    odd
}

/// Text with white space collapsed, and none at its ends.
#[derive(Default)]
struct Plain {
    text: String,
    is_space_due: bool,
}

impl Plain {
    fn push(&mut self, character: char) {
        if character.is_whitespace() {
            self.is_space_due = !self.text.is_empty();
        } else if !is_invisible(character) {
            if std::mem::take(&mut self.is_space_due) {
                self.text.push(' ');
            }
            self.text.extend(character.to_lowercase());
        }
    }
}

/// The letter that a tag character stands for (Unicode, section 23.9). Tags
/// are invisible, but models read what is written in them, so they count as a
/// text of their own after the visible one.
fn tag(character: char) -> Option<char> {
    let code = u32::from(character).checked_sub(0xE0000)?;
    char::from_u32(code).filter(|letter| matches!(letter, ' '..='~'))
}

/// Whether a character shows nothing: controls, and what Unicode calls default
/// ignorable, such as zero-width and bidirectional controls.
fn is_invisible(character: char) -> bool {
    let is_control = character.is_control() && !character.is_whitespace();
    is_control
        || matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn disguises_disappear() {
        let cases = [
            ("JailBreak", "jailbreak"),
            ("  a \t\r\n b\u{a0}\u{3000}c ", "a b c"),
            ("ｊａｉｌｂｒｅａｋ", "jailbreak"),
            ("𝓳𝓪𝓲𝓵𝓫𝓻𝓮𝓪𝓴", "jailbreak"),
            ("ⓙail\u{200b}br\u{200d}eak", "jailbreak"),
            ("jail\u{ad}\u{2060}\u{feff}break", "jailbreak"),
            ("\u{202e}jail\u{202c}break\u{2069}", "jailbreak"),
            ("jail\u{0}bre\u{7f}ak", "jailbreak"),
            ("e\u{301}\u{fe0f}", "é"),
            ("e\u{200d}\u{301}", "é"),
            ("ﬁle ½", "file 1⁄2"),
            ("ÄÖ ẞ", "äö ß"),
            ("hi\u{e006a}\u{e0061}\u{e0069}\u{e006c}", "hi jail"),
            ("", ""),
            (" \u{200b} ", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(normal(text), expected, "{text:?}");
        }
    }
}
