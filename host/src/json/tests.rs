//! What edits do to the bytes, and what is found in them. The scan is held to
//! what a parser makes of the same bytes.

mod words;

use super::*;

fn json(text: &'static str) -> Json {
    Json::new(Bytes::from_static(text.as_bytes()))
}

fn text(json: &Json) -> &str {
    std::str::from_utf8(json.bytes()).unwrap()
}

const BODY: &str = "{ \"model\" : \"gpt\\u002d4\",\n \"a/b\": {\"~\": [1, {\"x\":null} ,3]},\"e\":{} , \"l\":[ ] }\n";

#[test]
fn finds_values_by_pointer() {
    let cases = [
        ("/model", Some("\"gpt\\u002d4\"")),
        ("/a~1b/~0/1/x", Some("null")),
        ("/a~1b/~0/2", Some("3")),
        ("/a~1b/~0/02", None),
        ("/a~1b/~0/3", None),
        ("/missing", None),
        ("model", None),
        ("/e", Some("{}")),
        ("/~2", None),
    ];
    for (pointer, expected) in cases {
        assert_eq!(json(BODY).get(pointer), expected, "{pointer}");
    }
    assert_eq!(json(BODY).get(""), Some(BODY.trim()));
    assert_eq!(json(BODY).string("/model").as_deref(), Some("gpt-4"));
}

#[test]
fn an_edit_changes_only_its_bytes() {
    let cases = [
        ("{\"a\":1, \"b\" : 2}", "/b", " 3 ", "{\"a\":1, \"b\" : 3}"),
        ("{\"a\":1 }", "/c", "\"x\"", "{\"a\":1,\"c\":\"x\" }"),
        (" { } ", "/q\"", "[]", " {\"q\\\"\":[] } "),
        ("{\"l\":[1 ,2 ]}", "/l/-", "3", "{\"l\":[1 ,2,3 ]}"),
        ("{\"l\":[]}", "/l/0", "3", "{\"l\":[3]}"),
        ("{\"l\":[1]}", "/l/0", "{}", "{\"l\":[{}]}"),
        ("[1]", "/0", "2", "[2]"),
        (
            "{\"a\":{\"b\":{}}}",
            "/a/b/c",
            "1",
            "{\"a\":{\"b\":{\"c\":1}}}",
        ),
        (" 1 ", "", "2", " 2 "),
    ];
    for (before, pointer, value, after) in cases {
        assert_eq!(
            text(&json(before).set(pointer, value).unwrap()),
            after,
            "{pointer}"
        );
    }
}

/// What is known of a body after an edit is what a scan of it finds.
#[test]
fn an_edited_body_is_known_as_if_it_were_read() {
    let bodies = [
        BODY,
        "{\"a\":{\"b\":[1,{\"c\":2}],\"d\":3},\"e\":\"f\"}",
        "[ 1 , {\"a\":[]} , \"x\" ]",
        "{\"a\":1,\"b\":{\"c\":1,\"c\":2},\"e\":3}",
        "\"a\"",
    ];
    let pointers = [
        "",
        "/model",
        "/a~1b/~0/1/x",
        "/e",
        "/l",
        "/a",
        "/a/b",
        "/a/b/1/c",
        "/a/d",
        "/0",
        "/1/a",
        "/2",
        "/b",
        "/b/c",
    ];
    let values = [
        "1",
        "\"a longer one\"",
        "null",
        " true ",
        "{\"a\":1,\"a\":2}",
        "[[]]",
        "1e999",
        "\"\\ud800\"",
    ];
    for body in bodies {
        for pointer in pointers {
            for value in values {
                let Ok(edited) = json(body).set(pointer, value) else {
                    continue;
                };
                let read = Json::new(edited.bytes().clone());
                let place = format!("{body} {pointer} {value}");
                assert_eq!(edited.scanned(), read.scanned(), "{place}");
            }
        }
    }
    let edited = json(BODY).set("/e", "1").unwrap();
    assert!(edited.learnt.scanned.get().is_some(), "it was scanned anew");
}

#[test]
fn a_removal_takes_its_comma_along() {
    let cases = [
        ("{\"a\":1, \"b\":2 ,\"c\":3}", "/a", "{ \"b\":2 ,\"c\":3}"),
        ("{\"a\":1, \"b\":2 ,\"c\":3}", "/b", "{\"a\":1 ,\"c\":3}"),
        ("{\"a\":1, \"b\":2 ,\"c\":3}", "/c", "{\"a\":1, \"b\":2}"),
        ("{ \"a\":1 }", "/a", "{}"),
        ("[1,2]", "/0", "[2]"),
        ("[1,2]", "/1", "[1]"),
        ("{\"x\":[ 7 ],\"y\":0}", "/x/0", "{\"x\":[],\"y\":0}"),
        ("{\"a\":1,\"a\":2,\"b\":3}", "/a", "{\"b\":3}"),
        ("{\"b\":3 ,\"a\":1, \"a\":2}", "/a", "{\"b\":3}"),
        ("{ \"a\":1, \"a\":2 }", "/a", "{}"),
        (
            "{\"a\":1 , \"b\":2,\"a\":3 , \"c\":4, \"\\u0061\":5 }",
            "/a",
            "{ \"b\":2 , \"c\":4 }",
        ),
        ("[ {\"a\":1,\"a\":{}} ]", "/0/a", "[ {} ]"),
        ("{\"a\":1}", "/z", "{\"a\":1}"),
    ];
    for (before, pointer, after) in cases {
        assert_eq!(
            text(&json(before).remove(pointer).unwrap()),
            after,
            "{before} {pointer}"
        );
    }
}

#[test]
fn a_bad_edit_says_what_is_wrong() {
    let error = |j: &'static str, p: &str, v: &str| json(j).set(p, v).unwrap_err();
    assert_eq!(error("{}", "a", "1"), EditError::Pointer("a".into()));
    assert!(matches!(error("{}", "/a", "{"), EditError::Value { .. }));
    assert!(matches!(error("{}", "/a", "1 2"), EditError::Value { .. }));
    assert_eq!(error("nope", "/a", "1"), EditError::NotJson);
    assert_eq!(error("{}", "/a/b", "1"), EditError::Absent("/a/b".into()));
    assert_eq!(
        error("{\"l\":[]}", "/l/5", "1"),
        EditError::Absent("/l/5".into())
    );
    assert_eq!(
        error("{\"s\":\"x\"}", "/s/y", "1"),
        EditError::Absent("/s/y".into())
    );
}

#[test]
fn two_thousand_duplicates_are_removed_at_once() {
    let duplicates = "\"a\":[1, {}] , ".repeat(2000);
    let body = format!("{{\"m\":{{{duplicates}\"b\":1}}}}");
    let removed = Json::new(body.into()).remove("/m/a").unwrap();
    assert_eq!(text(&removed), "{\"m\":{ \"b\":1}}");
}

#[test]
fn a_member_that_stands_twice_is_found_at_any_depth() {
    let cases = [
        ("{\"model\":1,\"mod\\u0065l\":2}", "/model"),
        (
            "{\"messages\":[{\"role\":0},{\"content\":[],\"content\":\"x\"}],\"a\":1,\"a\":2}",
            "/messages/1/content",
        ),
        ("{\"a/b\":{\"~\":{\"\":1,\"\":2}}}", "/a~1b/~0/"),
        ("[[1.5,-2,true,null,[{\"x\":1,\"x\":1}]]]", "/0/4/0/x"),
    ];
    for (body, pointer) in cases {
        let twice = Err(Ambiguity::Twice(pointer.to_owned()));
        assert_eq!(json(body).unambiguous(), twice, "{body}");
    }
    for body in [
        BODY,
        "{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]}}",
        " 1E40 ",
        "[]",
    ] {
        assert_eq!(json(body).unambiguous(), Ok(()), "{body}");
    }
}

#[test]
fn a_long_pointer_is_told_in_part() {
    let key = "é".repeat(100_000);
    let body = format!("{{\"{key}\":{{\"x\":1,\"x\":2}}}}");
    let told = format!("/{}…", "é".repeat(MAX_TOLD - 1));
    let found = Json::new(body.into()).unambiguous();
    assert_eq!(found, Err(Ambiguity::Twice(told)));
}

#[test]
fn what_cannot_be_looked_through_is_no_clean_body() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [deep, "{".to_owned(), "{} {}".to_owned(), "1E400".to_owned()] {
        let found = Json::new(body.into()).unambiguous();
        assert!(matches!(found, Err(Ambiguity::NotJson(_))), "{found:?}");
    }
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(Json::new(deep.into()).unambiguous(), Ok(()));
}

fn object_of(members: usize) -> String {
    let members: Vec<_> = (0..members).map(|i| format!("\"k{i}\":{i}")).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn the_members_of_one_object_are_bounded() {
    let unambiguous = |body: String| Json::new(body.into()).unambiguous();
    assert_eq!(unambiguous(object_of(MAX_MEMBERS)), Ok(()));
    let many = format!("{{\"a\":[{0},{0}]}}", object_of(50_000));
    assert_eq!(unambiguous(many), Ok(()));
    assert_eq!(
        unambiguous(object_of(100_000)),
        Err(Ambiguity::TooMany(String::new()))
    );
    let below = format!("{{\"a\":[{}]}}", object_of(MAX_MEMBERS + 1));
    assert_eq!(
        unambiguous(below),
        Err(Ambiguity::TooMany("/a/0".to_owned()))
    );
}

/// A generator of numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
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
    assert_eq!(read(Node::root(&scanned)), parsed, "{text}");
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
                is_plain_ascii(json, &string),
                "{json}"
            );
            string.into()
        }
        Kind::Other => serde_json::from_str(node.json()).unwrap(),
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
    fn string(&mut self, pieces: usize) -> String {
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
