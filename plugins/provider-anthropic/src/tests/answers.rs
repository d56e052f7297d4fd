//! `cases/answers/*.json`: what the upstream sends, and the events of it.
//!
//! `frames` are those of a stream: JSON values as they are, or strings for
//! data that is not JSON. `body` is a whole answer. `events` are lines as
//! `events.rs` writes them. `truncated` says that the end never came.

use serde_json::Value;

use super::{cases, events};
use crate::decode::{Decoder, Head};

#[test]
fn answers_are_decoded() {
    let mut wrong = Vec::new();
    for case in cases("answers") {
        let expected: Vec<String> = serde_json::from_value(case["events"].clone()).unwrap();
        let found = decode(&case);
        if found != expected {
            let (found, expected) = (found.join("\n  "), expected.join("\n  "));
            wrong.push(format!(
                "{}:\n found\n  {found}\n expected\n  {expected}",
                case["name"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn decode(case: &Value) -> Vec<String> {
    let frames = case["frames"].as_array();
    let mut decoder = Decoder::new(Head {
        status: case["status"].as_u64().unwrap_or(200) as u16,
        streamed: frames.is_some(),
        translated: case["native"] != true,
    });
    let mut lines = Vec::new();
    for data in frames.map_or(case.get("body").into_iter().collect(), |frames| {
        frames.iter().collect::<Vec<_>>()
    }) {
        let (name, data) = match data.get("event") {
            Some(name) => (name.as_str(), text(&data["data"])),
            None => (None, text(data)),
        };
        lines.extend(decoder.push(name, data.as_bytes()).iter().map(events::line));
    }
    lines.extend(decoder.finish().iter().map(events::line));
    assert!(
        decoder.finish().is_empty(),
        "{}: the end comes once",
        case["name"]
    );
    lines
}

fn text(data: &Value) -> String {
    data.as_str()
        .map_or_else(|| data.to_string(), str::to_owned)
}

#[test]
fn bytes_that_are_no_text_are_an_error() {
    for streamed in [true, false] {
        let mut decoder = Decoder::new(Head {
            status: 200,
            streamed,
            translated: true,
        });
        let lines: Vec<_> = decoder
            .push(None, b"{\"type\": \"\xff\"}")
            .iter()
            .map(events::line)
            .collect();
        assert_eq!(
            lines,
            ["error 502 upstream_malformed: the upstream's answer makes no sense: it is not JSON"]
        );
        assert!(decoder.finish().is_empty());
    }
}
