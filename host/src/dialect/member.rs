//! Looking for a member in JSON that is not read otherwise.
//!
//! Of the hundreds of frames of a stream few say more than text, and to search
//! one for the names of members that would takes far less than to read it.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// A name to look for. Made once: to prepare for a search takes longer than to
/// search a frame.
pub type Name = LazyLock<Finder<'static>>;

pub static USAGE: Name = LazyLock::new(|| Finder::new(r#""usage""#));
pub static FINISH_REASON: Name = LazyLock::new(|| Finder::new(r#""finish_reason""#));
pub static ERROR: Name = LazyLock::new(|| Finder::new(r#""error""#));

/// What follows the colon, wherever JSON has a member of this name. Text cannot
/// look like one, because its quotes are escaped.
pub fn values<'j>(json: &'j [u8], name: &Name) -> impl Iterator<Item = &'j [u8]> {
    let length = name.needle().len();
    name.find_iter(json)
        .filter_map(move |at| value(&json[at + length..]))
}

/// What follows a name and its colon.
pub fn value(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.trim_ascii_start();
    Some(rest.strip_prefix(b":")?.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_texts_are_not() {
        let cases: [(&str, &[&str]); 6] = [
            (r#"{"usage":null}"#, &["null}"]),
            ("{\"usage\" :\n {}}", &["{}}"]),
            (
                r#"{"usage":1,"x":{"usage":2}}"#,
                &[r#"1,"x":{"usage":2}}"#, "2}}"],
            ),
            (r#"{"text":"\"usage\":1"}"#, &[]),
            (r#"["usage","a"]"#, &[]),
            (r#"{"my_usage":1,"usage_":2,"usage"#, &[]),
        ];
        for (json, expected) in cases {
            let found: Vec<_> = values(json.as_bytes(), &USAGE).collect();
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(found, expected, "{json}");
        }
    }
}
