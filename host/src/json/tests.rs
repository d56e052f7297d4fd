//! What edits do to the bytes, and what is found in them. `scan` holds the scan
//! to what a parser makes of the same bytes, `words` the search for words.

mod scan;
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
        assert_eq!(json(BODY).get(pointer).as_deref(), expected, "{pointer}");
    }
    assert_eq!(json(BODY).get("").as_deref(), Some(BODY.trim()));
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

const POINTERS: [&str; 14] = [
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

/// What an edit may do: write one of these values, or remove.
const EDITS: [Option<&str>; 9] = [
    None,
    Some("1"),
    Some("\"a \\u006conger one\""),
    Some("null"),
    Some(" true "),
    Some("{\"a\":1,\"a\":2}"),
    Some("[[]]"),
    Some("1e999"),
    Some("\"\\ud800\""),
];

fn edited(json: &Json, pointer: &str, edit: Option<&str>) -> Result<Json, EditError> {
    match edit {
        Some(value) => json.set(pointer, value),
        None => json.remove(pointer),
    }
}

/// All that a body tells of itself.
fn told(json: &Json) -> impl PartialEq + std::fmt::Debug {
    let found = POINTERS.map(|pointer| {
        let node = json.find(&steps(pointer).unwrap())?;
        let inside: Vec<_> = node.children().map(|inside| inside.json()).collect();
        let is = (node.kind(), node.is_plain_ascii(), node.is_text());
        let text = node.json().into_owned();
        Some((is, text, node.string(), format!("{inside:?}")))
    });
    let found = format!("{found:?}");
    (found, json.unambiguous(), json.value().cloned())
}

/// What is known of a body after edits is what a scan of it finds, and others
/// can be made of it as of one that has been read.
#[test]
fn an_edited_body_is_known_as_if_it_were_read() {
    let long = format!("{{\"model\":\"\",\"e\":{{\"f\":1}}}}{}", " ".repeat(SMALL));
    let bodies = [
        BODY,
        "{\"a\":{\"b\":[1,{\"c\":2}],\"d\":3},\"e\":\"f\"}",
        "[ 1 , {\"a\":[]} , \"x\" ]",
        "{\"a\":1,\"b\":{\"c\":1,\"c\":2},\"e\":3}",
        "\"a\"",
        &long,
    ];
    let each = || POINTERS.iter().flat_map(|at| EDITS.map(|edit| (*at, edit)));
    for body in bodies {
        for (pointer, edit) in each() {
            let body = Json::new(body.to_owned().into());
            let Ok(once) = edited(&body, pointer, edit) else {
                continue;
            };
            let place = format!("{body:?} {pointer} {edit:?}");
            let read = Json::new(once.pieces().concat().into());
            assert_eq!(read.bytes(), once.bytes(), "{place}");
            assert_eq!(told(&once), told(&read), "{place}");
            for (pointer, edit) in each() {
                let both = [&once, &read].map(|json| edited(json, pointer, edit));
                let [twice, anew] = both.map(|json| json.map(|json| json.pieces().concat()));
                assert_eq!(twice, anew, "{place} {pointer} {edit:?}");
            }
        }
    }
}

#[test]
fn what_is_replaced_is_kept_beside_a_long_body() {
    let body = format!("{{\"a\":1,\"b\":\"{}\",\"c\":2}}", "x".repeat(SMALL));
    let body = Json::new(body.into());
    let replaced = body.set("/a", "\"y\"").unwrap().set("/c", "3").unwrap();
    let lengths: Vec<_> = replaced.pieces().iter().map(Bytes::len).collect();
    assert_eq!(lengths, [5, 3, SMALL + 12, 1, 1]);
    assert_eq!(replaced.get("/a").as_deref(), Some("\"y\""));
    let again = replaced.set("/a", "{}").unwrap();
    assert_eq!(again.pieces().len(), 1);
    // Nobody has to look at more of them than there may be.
    let list = format!("[{}1]{}", "0,".repeat(MAX_REPLACED), " ".repeat(SMALL));
    let mut list = Json::new(list.into());
    for place in 0..MAX_REPLACED {
        list = list.set(&format!("/{place}"), "2").unwrap();
    }
    assert_eq!(list.pieces().len(), 2 * MAX_REPLACED + 1);
    assert_eq!(list.set("/16", "2").unwrap().pieces().len(), 1);
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
