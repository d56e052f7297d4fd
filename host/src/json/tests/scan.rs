//! A scan takes what a parser takes, and finds the same in it.

use super::*;

/// A generator of numbers that look random and are the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn one<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len())]
    }

    /// A piece of JSON, or of what looks like it.
    fn json(&mut self, depth: usize, out: &mut String) {
        let kind = if depth == 0 { 2 } else { self.below(4) };
        match kind {
            0 | 1 => {
                let (open, close) = if kind == 0 { ('{', '}') } else { ('[', ']') };
                out.push(open);
                for i in 0..self.below(5) {
                    if i > 0 {
                        out.push_str(self.one(&[",", ",", " ,\n"]));
                    }
                    if kind == 0 {
                        let keys = ["\"a\"", "\"b\"", "\"\\u0061\"", "\"é\"", "\"a/~\"", "\"\""];
                        out.push_str(self.one(&keys));
                        out.push_str(self.one(&[":", " : "]));
                    }
                    self.json(depth - 1, out);
                }
                out.push(close);
            }
            _ => out.push_str(self.one(&[
                "1",
                "-0",
                "1.50",
                "1e3",
                "1E400",
                "1e-400",
                "01",
                "-",
                "1.",
                ".5",
                "1e",
                "+1",
                "true",
                "false",
                "null",
                "nul",
                "\"\"",
                "\"text\"",
                "\"\\n\\\"\\/\"",
                "\"\\x\"",
                "\"\\ud83d\\ude00\"",
                "\"\\u00E9\\ud83D\\uDE00\\b\\f\\r\\t\\u0000\"",
                "\"\\ud83d\"",
                "\"\\ude00\"",
                "\"\\ud83d\\u0041\"",
                "\"\\u12\"",
                "\"\\u+123\"",
                "\"日本語 😀\"",
                "\"tab\tin it\"",
                "\"no end",
                "NaN",
                "\"a text that is longer than a block of bytes, with a \\\" after it\"",
            ])),
        }
    }
}

/// A scan takes what a parser takes, and finds the same in it.
fn agrees(bytes: &[u8]) {
    let scanned = scan(&Bytes::copy_from_slice(bytes));
    let parsed = serde_json::from_slice::<Value>(bytes);
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(scanned.is_ok(), parsed.is_ok(), "{parsed:?}: {text}");
    let (Ok(scanned), Ok(parsed)) = (scanned, parsed) else {
        return;
    };
    assert_eq!(scanned.ambiguity, oracle::ambiguity(bytes), "{text}");
    assert_eq!(
        read(Node::root(&scanned, &replaced::NONE)),
        parsed,
        "{text}"
    );
}

/// What a parser makes of a value, by way of its nodes.
fn read(node: Node<'_>) -> Value {
    match node.kind() {
        Kind::Object => {
            let members = node.members();
            Value::Object(members.map(|(k, v)| (k.into_owned(), read(v))).collect())
        }
        Kind::Array => node.elements().map(read).collect(),
        Kind::Plain | Kind::Escaped => {
            let (json, string) = (node.json(), node.string().unwrap());
            assert_eq!(
                node.is_plain_ascii(),
                is_plain_ascii(&json, &string),
                "{json}"
            );
            string.into()
        }
        Kind::Other => serde_json::from_str(&node.json()).unwrap(),
    }
}

/// Whether a string that is written as `json` is printable ASCII and white
/// space, and names no character by its number.
fn is_plain_ascii(json: &str, string: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t'..=b'\r');
    let named = json.replace("\\\\", "").contains("\\u");
    string.bytes().all(is_plain) && !named
}

#[test]
fn what_is_not_ascii_is_seen_wherever_it_stands() {
    for length in (0..70).chain([127, 128, 200]) {
        for place in 0..=length {
            for odd in ["é", "\u{7f}", "\n"] {
                let (before, after) = ("a".repeat(place), "\\\"".repeat(length - place));
                for text in [
                    format!("[\"{before}{odd}{after}\"]"),
                    format!("{{\"{before}{odd}{after}\":1}}"),
                    format!("[{}{odd}{}]", " ".repeat(place), " ".repeat(length - place)),
                ] {
                    agrees(text.as_bytes());
                    // And with half of a character.
                    let mut bytes = text.into_bytes();
                    bytes.retain(|byte| *byte != 0xa9);
                    agrees(&bytes);
                }
            }
        }
    }
}

#[test]
fn a_scan_agrees_with_a_parser() {
    let mut random = Random(0x5eed);
    for _ in 0..20_000 {
        let mut text = String::new();
        random.json(4, &mut text);
        agrees(text.as_bytes());
        // And with something wrong in it.
        let mut bytes = text.into_bytes();
        for _ in 0..random.below(3) {
            let at = random.below(bytes.len().max(1));
            let odd = b"\"\\{}[],:0e.-u\x00\x1f\x7f\xff\xc3 \n"[random.below(20)];
            match random.below(3) {
                0 if at < bytes.len() => bytes[at] = odd,
                1 if at < bytes.len() => _ = bytes.remove(at),
                _ => bytes.insert(at.min(bytes.len()), odd),
            }
        }
        agrees(&bytes);
    }
}

#[test]
fn a_scan_agrees_wherever_a_string_ends() {
    for length in 0..200 {
        for odd in [
            "\"",
            "\\\"",
            "\\u00e9",
            "\u{1}",
            "é",
            "\u{80}",
            "\\",
            "\u{7f}!",
            "\\n\\\\\\n",
            "\\ud83d\\ude00",
        ] {
            let text = format!(
                "[\"{}{odd}{}\"]",
                "x".repeat(length),
                "y".repeat(200 - length)
            );
            agrees(text.as_bytes());
        }
    }
    for depth in 120..135 {
        agrees(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
        agrees(
            format!(
                "{}1{}",
                "{\"a\":[".repeat(depth / 2),
                "]}".repeat(depth / 2)
            )
            .as_bytes(),
        );
    }
    for digits in 290..330 {
        agrees("9".repeat(digits).as_bytes());
        agrees(format!("0.{}1", "0".repeat(digits)).as_bytes());
    }
}

impl Random {
    /// A string of JSON with so many pieces, some of which are escapes.
    pub fn string(&mut self, pieces: usize) -> String {
        let mut string = "\"".to_owned();
        // Few kinds at a time, or none would be without the rarer ones.
        let kinds = 1 + self.below(PIECES.len());
        for _ in 0..pieces {
            string.push_str(self.one(&PIECES[..kinds]));
        }
        string + "\""
    }
}

const PIECES: [&str; 14] = [
    "a",
    "plain text ",
    "\\n",
    "\\\\",
    "\\\"",
    "\\/",
    "\\t\\r",
    "\\f",
    "Word",
    "é",
    "\\u0061",
    "\\b",
    "\u{7f}",
    "\\ud83d\\ude00",
];

#[test]
fn a_scan_agrees_about_long_strings() {
    let mut random = Random(0x5eed);
    for _ in 0..5_000 {
        let pieces = random.below(150);
        agrees(random.string(pieces).as_bytes());
    }
}

#[test]
fn keys_beyond_a_few_are_compared_too() {
    for members in 14..20 {
        for twice in 0..members {
            let object = object_of(members);
            let body = format!("{},\"k{twice}\":[{object}]}}", &object[..object.len() - 1]);
            agrees(body.as_bytes());
        }
    }
}
