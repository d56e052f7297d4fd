//! Patterns of the shell's simplest kind: `*` stands for any characters, also
//! none, `?` for exactly one. Nothing can be escaped.

/// Whether `pattern` matches the whole of `text`.
///
/// Each piece between two stars is placed as far left as it goes and never
/// moved again, so that no text, however long, can make this slow.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return strip(pattern, text) == Some("");
    };
    let Some(mut text) = strip(head, text) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        match find(piece, text) {
            Some(rest) => text = rest,
            None => return false,
        }
    }
    ends_with(last, text)
}

/// `text` without `piece` (which has no `*`) at its beginning.
fn strip<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    let mut characters = text.chars();
    for expected in piece.chars() {
        let found = characters.next()?;
        if expected != '?' && expected != found {
            return None;
        }
    }
    Some(characters.as_str())
}

fn ends_with(piece: &str, text: &str) -> bool {
    let mut characters = text.chars().rev();
    piece.chars().rev().all(|expected| {
        characters
            .next()
            .is_some_and(|found| expected == '?' || expected == found)
    })
}

/// What stands after the first place where `piece` matches.
fn find<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    if !piece.contains('?') {
        return text.split_once(piece).map(|(_, rest)| rest);
    }
    let starts = text
        .char_indices()
        .map(|(index, _)| index)
        .chain([text.len()]);
    starts
        .filter_map(|index| text.get(index..))
        .find_map(|from| strip(piece, from))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_whole_texts() {
        let cases = [
            ("gpt-4", "gpt-4", true),
            ("gpt-4", "gpt-4o", false),
            ("gpt-4", "GPT-4", false),
            ("gpt-4*", "gpt-4o-mini", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*jailbreak*", "a jailbreak b", true),
            ("*jailbreak*", "jailbreak", true),
            ("*jailbreak*", "jailbroken", false),
            ("a*b*c", "a b b c", true),
            ("a*b*c", "a c b", false),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("*a?c*", "xxabcxx", true),
            ("*a?c*", "ac", false),
            ("o?-*", "o1-mini", true),
            ("?", "é", true),
            ("**", "anything", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn long_texts_are_not_slow() {
        let text = "ab".repeat(500_000);
        assert!(!matches("*a*b*a*b*a*c*", &text));
        assert!(!matches("*a?b?a?c*", &text));
    }
}
