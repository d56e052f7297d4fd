//! Words, which are this provider's tokens.

/// Cuts a text into words, each with the white space that follows it. White
/// space at the beginning belongs to the first word. The pieces make up the
/// text again, and none of them is empty.
pub fn split(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut previous_is_space = false;
    for (index, character) in text.char_indices() {
        let is_space = character.is_whitespace();
        if previous_is_space && !is_space && !text[start..index].trim().is_empty() {
            words.push(&text[start..index]);
            start = index;
        }
        previous_is_space = is_space;
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

/// How many words a text has.
pub fn count(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

#[cfg(test)]
mod tests {
    use super::{count, split};

    #[test]
    fn words_keep_their_white_space() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("one", &["one"]),
            ("one  two\nthree ", &["one  ", "two\n", "three "]),
            ("  lead", &["  lead"]),
            (" \n ", &[" \n "]),
            ("ein\u{2003}süßes Wort", &["ein\u{2003}", "süßes ", "Wort"]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected);
            assert_eq!(split(text).concat(), text);
        }
        assert_eq!(count(" one  two\nthree "), 3);
    }
}
