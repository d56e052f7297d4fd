//! Replays recorded answers of many servers, if the corpus of recordings is
//! beside the repository (`../shared/corpus`), and compares what the decoder
//! makes of them with what a plain reading of their JSON says.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a recording that cannot be read is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use openai_chat::Decoder;
use openai_chat::model::ModelEvent;
use serde_json::Value;

const CORPUS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/corpus/recordings"
);

/// The text, reasoning and tool arguments of a choice, and the identifiers of
/// its calls.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    arguments: String,
    ids: Vec<String>,
}

struct Recording {
    name: String,
    status: u16,
    streamed: bool,
    /// Name and data of each server-sent event, or the whole body.
    frames: Vec<(Option<String>, String)>,
}

#[test]
fn recordings_replay() {
    let recordings = recordings();
    if recordings.is_empty() {
        // Past the capture of tests that pass: nobody reads what they print.
        _ = writeln!(io::stderr(), "SKIPPED: there are no recordings in {CORPUS}");
        return;
    }
    for recording in &recordings {
        replay(recording);
        if recording.streamed {
            cut_off(recording);
        }
    }
    _ = writeln!(io::stderr(), "{} recordings replayed", recordings.len());
}

fn replay(recording: &Recording) {
    let name = &recording.name;
    let events = decode(recording);
    check_rules(name, &events);
    let failed = events
        .iter()
        .any(|event| matches!(event, ModelEvent::Error(_)));
    assert_eq!(
        failed,
        is_error(recording),
        "{name}: an error is told if there is one"
    );
    if recording.status != 200 {
        assert_eq!(events.len(), 1, "{name}: an error has no other events");
        return;
    }
    assert_eq!(said_by_events(&events), said_by_json(recording), "{name}");
    if !failed {
        let choices = said_by_json(recording).len().max(1);
        let finishes = events
            .iter()
            .filter(|event| matches!(event, ModelEvent::Finish(_)))
            .count();
        assert_eq!(finishes, choices, "{name}: each choice finishes once");
        let usage = events
            .iter()
            .any(|event| matches!(event, ModelEvent::Usage(_)));
        let counted = recording
            .frames
            .iter()
            .any(|(_, data)| data.contains("\"prompt_tokens\""));
        assert_eq!(usage, counted, "{name}: usage is told if it is there");
    }
}

/// Wherever a stream is cut off, that is an error, and the last event.
fn cut_off(recording: &Recording) {
    let mut decoder = Decoder::new(recording.status, recording.streamed);
    for (count, (name, data)) in recording.frames.iter().enumerate() {
        let events = decoder.clone().finish();
        let [ModelEvent::Error(error)] = events.as_slice() else {
            panic!(
                "{}: cut off after {count} frames: {events:?}",
                recording.name
            );
        };
        assert_eq!(
            (error.status, error.kind.as_str()),
            (502, "upstream_truncated")
        );
        decoder.push(name.as_deref(), data.as_bytes());
        if data == "[DONE]" || tells_of_error(data) {
            return;
        }
    }
    panic!(
        "{}: ends neither with [DONE] nor with an error",
        recording.name
    );
}

fn decode(recording: &Recording) -> Vec<ModelEvent> {
    let mut decoder = Decoder::new(recording.status, recording.streamed);
    let mut events = Vec::new();
    for (name, data) in &recording.frames {
        events.extend(decoder.push(name.as_deref(), data.as_bytes()));
    }
    events.extend(decoder.finish());
    events
}

/// What holds for every sequence of events.
fn check_rules(name: &str, events: &[ModelEvent]) {
    let mut parts: BTreeMap<u32, u32> = BTreeMap::new();
    for (position, event) in events.iter().enumerate() {
        let is_last = position + 1 == events.len();
        match event {
            ModelEvent::Start(_) => assert_eq!(position, 0, "{name}: starts once, at first"),
            ModelEvent::Error(_) => assert!(is_last, "{name}: nothing follows an error"),
            ModelEvent::Text(f)
            | ModelEvent::Reasoning(f)
            | ModelEvent::Refusal(f)
            | ModelEvent::ReasoningSignature(f)
            | ModelEvent::ToolArguments(f) => {
                assert!(!f.text.is_empty(), "{name}: fragments are not empty");
                let next = parts.entry(f.choice).or_default();
                assert!(f.part <= *next, "{name}: parts are numbered as they begin");
                *next = (*next).max(f.part + 1);
            }
            ModelEvent::ToolCall(c) => {
                assert!(
                    !c.name.is_empty() && !c.id.is_empty(),
                    "{name}: calls are named"
                );
                let next = parts.entry(c.choice).or_default();
                assert_eq!(c.part, *next, "{name}: a call is a new part");
                *next += 1;
            }
            _ => {}
        }
    }
}

fn said_by_events(events: &[ModelEvent]) -> BTreeMap<u32, Said> {
    let mut said: BTreeMap<u32, Said> = BTreeMap::new();
    // Arguments interleave, so they are put together by part.
    let mut arguments: BTreeMap<(u32, u32), String> = BTreeMap::new();
    for event in events {
        match event {
            ModelEvent::Text(f) => said.entry(f.choice).or_default().text += &f.text,
            ModelEvent::Reasoning(f) => said.entry(f.choice).or_default().reasoning += &f.text,
            ModelEvent::ToolCall(c) => {
                said.entry(c.choice).or_default().ids.push(c.id.clone());
            }
            ModelEvent::ToolArguments(f) => {
                *arguments.entry((f.choice, f.part)).or_default() += &f.text;
            }
            ModelEvent::Finish(f) => _ = said.entry(f.choice).or_default(),
            _ => {}
        }
    }
    for ((choice, _), text) in arguments {
        said.entry(choice).or_default().arguments += &text;
    }
    said
}

/// The same, read from the JSON without knowing anything of parts.
fn said_by_json(recording: &Recording) -> BTreeMap<u32, Said> {
    let mut said: BTreeMap<u32, Said> = BTreeMap::new();
    let frames = recording.frames.iter().filter(|(_, data)| data != "[DONE]");
    for (_, data) in frames {
        let frame: Value = serde_json::from_str(data).expect("recorded JSON");
        if !frame["error"].is_null() {
            break;
        }
        for choice in frame["choices"].as_array().into_iter().flatten() {
            let said = said
                .entry(choice["index"].as_u64().unwrap_or(0) as u32)
                .or_default();
            let message = if choice["delta"].is_object() {
                &choice["delta"]
            } else {
                &choice["message"]
            };
            read_message(message, said);
        }
    }
    said
}

fn read_message(message: &Value, said: &mut Said) {
    match &message["content"] {
        Value::String(text) => said.text += text,
        Value::Array(parts) => {
            for part in parts {
                said.text += part["text"].as_str().unwrap_or_default();
                for thought in part["thinking"].as_array().into_iter().flatten() {
                    said.reasoning += thought["text"].as_str().unwrap_or_default();
                }
            }
        }
        _ => {}
    }
    let reasoning = message["reasoning_content"]
        .as_str()
        .or(message["reasoning"].as_str());
    said.reasoning += reasoning.unwrap_or_default();
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        said.arguments += call["function"]["arguments"].as_str().unwrap_or_default();
        // Some servers repeat the head of a call on each delta.
        let id = call["id"].as_str().unwrap_or_default();
        if !id.is_empty() && !said.ids.iter().any(|known| known == id) {
            said.ids.push(id.to_owned());
        }
    }
}

fn is_error(recording: &Recording) -> bool {
    recording.status != 200
        || recording
            .frames
            .iter()
            .any(|(_, data)| tells_of_error(data))
}

fn tells_of_error(data: &str) -> bool {
    serde_json::from_str::<Value>(data).is_ok_and(|value| !value["error"].is_null())
}

fn recordings() -> Vec<Recording> {
    let mut files = Vec::new();
    for folder in entries(Path::new(CORPUS))
        .iter()
        .flat_map(|folder| entries(folder))
    {
        files.extend(entries(&folder));
    }
    let is_chat = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("chat.completions") && name.ends_with(".json")
    };
    files
        .iter()
        .filter(|file| is_chat(file))
        .map(|file| recording(file))
        .collect()
}

fn recording(file: &Path) -> Recording {
    let text = fs::read_to_string(file).expect("a readable recording");
    let recording: Value = serde_json::from_str(&text).expect("a recording in JSON");
    let response = &recording["response"];
    let frames = match response["body_text"].as_str() {
        Some(text) => framed(text),
        None => vec![(None, response["body"].to_string())],
    };
    Recording {
        name: file.display().to_string(),
        status: response["status"].as_u64().expect("a status") as u16,
        streamed: response["body_text"].is_string(),
        frames,
    }
}

/// Cuts a recorded stream into frames, as far as recordings need it.
fn framed(text: &str) -> Vec<(Option<String>, String)> {
    let text = text.replace("\r\n", "\n");
    let field = |event: &str, name: &str| {
        let values = event
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let values: Vec<_> = values
            .map(|value| value.strip_prefix(' ').unwrap_or(value))
            .collect();
        (!values.is_empty()).then(|| values.join("\n"))
    };
    let events = text.split("\n\n");
    events
        .filter_map(|event| Some((field(event, "event"), field(event, "data")?)))
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
