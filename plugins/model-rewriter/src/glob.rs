//! Patterns of the shell's simplest kind: `*` stands for any characters, also
//! none and also slashes, `?` for exactly one. Nothing can be escaped, because
//! neither character occurs in the name of a model.

/// What the first `*` of `pattern` stands for in `text`, as little as
/// possible; empty if the pattern has no `*`, and none if it does not match.
///
/// Each piece between two stars is placed as far left as it goes and never
/// moved again, so that no model name can make this slow.
pub fn capture<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
    let Some((head, rest)) = pattern.split_once('*') else {
        return strip(pattern, text)?.is_empty().then_some("");
    };
    let text = strip(head, text)?;
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();

    let mut captured = None;
    let mut remaining = text;
    for piece in pieces {
        let (before, after) = find(piece, remaining)?;
        captured.get_or_insert(before);
        remaining = after;
    }
    let before = strip_end(last, remaining)?;
    Some(captured.unwrap_or(before))
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

/// `text` without `piece` at its end.
fn strip_end<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    let mut characters = text.chars();
    for expected in piece.chars().rev() {
        let found = characters.next_back()?;
        if expected != '?' && expected != found {
            return None;
        }
    }
    Some(characters.as_str())
}

/// What stands before and after the first place where `piece` matches.
fn find<'t>(piece: &str, text: &'t str) -> Option<(&'t str, &'t str)> {
    let ends = text
        .char_indices()
        .map(|(index, _)| index)
        .chain([text.len()]);
    ends.map(|index| text.split_at(index))
        .find_map(|(before, from)| Some((before, strip(piece, from)?)))
}

#[cfg(test)]
mod tests {
    use super::capture;

    #[test]
    fn first_star_is_captured() {
        let cases = [
            ("gpt-4", "gpt-4", Some("")),
            ("gpt-4", "gpt-4o", None),
            ("gpt-4", "GPT-4", None),
            ("*", "", Some("")),
            ("*", "any/model", Some("any/model")),
            ("openai/*", "openai/gpt-5", Some("gpt-5")),
            ("openai/*", "openai/", Some("")),
            ("openai/*", "open", None),
            ("*-latest", "a-latest-latest", Some("a-latest")),
            ("*/*-mini", "x/y/z-mini", Some("x")),
            ("a*b*c", "a1b2b3c", Some("1")),
            ("a*b*c", "a1b2b3", None),
            ("a*a", "a", None),
            ("gpt-?", "gpt-4", Some("")),
            ("gpt-?", "gpt-", None),
            ("?*é", "üxé", Some("x")),
            ("**", "ab", Some("")),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(capture(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn many_stars_are_not_slow() {
        let text = "a".repeat(20_000);
        assert_eq!(capture("*a*a*a*a*a*a*a*a*b", &text), None);
    }
}
