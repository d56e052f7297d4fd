//! Real answers of Anthropic's, from a corpus beside the repository. They are
//! not ours and stay there; without them these tests say so and pass.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::events;
use crate::decode::{Decoder, Head};
use crate::palisade::plugin::model::ModelEvent;

const CORPUS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/corpus/recordings"
);

/// One recorded answer.
struct Recording {
    name: String,
    status: u16,
    streamed: bool,
    /// The event's name and the data of each frame.
    frames: Vec<(Option<String>, String)>,
}

fn recordings() -> Vec<Recording> {
    let mut recordings = Vec::new();
    for path in files(Path::new(CORPUS)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let response = &file["response"];
        let stream = response["body_text"].as_str();
        recordings.push(Recording {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            status: response["status"].as_u64().unwrap_or(200) as u16,
            streamed: stream.is_some(),
            frames: match stream {
                Some(text) => framed(text),
                None => vec![(None, response["body"].to_string())],
            },
        });
    }
    if recordings.is_empty() {
        eprintln!("SKIPPED: no recordings of Anthropic's answers in {CORPUS}");
    }
    recordings
}

/// `*/anthropic/messages*.json`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let projects = list(folder)
        .into_iter()
        .flat_map(|project| list(&project.join("anthropic")));
    let is_message = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("messages") && name.ends_with(".json")
    };
    let mut files: Vec<PathBuf> = projects.filter(is_message).collect();
    files.sort();
    files
}

/// Just enough of server-sent events for recordings without surprises.
fn framed(text: &str) -> Vec<(Option<String>, String)> {
    let mut frames = Vec::new();
    for event in text.replace("\r\n", "\n").split("\n\n") {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        if let Some(data) = field("data:") {
            let name = field("event:").map(|name| name.trim().to_owned());
            frames.push((name, data.to_owned()));
        }
    }
    frames
}

impl Recording {
    /// The events of the first so many frames, and of the end.
    fn decode(&self, frames: usize, names: bool) -> Vec<ModelEvent> {
        let (status, streamed) = (self.status, self.streamed);
        let mut decoder = Decoder::new(Head {
            status,
            streamed,
            translated: true,
        });
        let mut events = Vec::new();
        for (name, data) in &self.frames[..frames] {
            let name = name.as_deref().filter(|_| names);
            events.extend(decoder.push(name, data.as_bytes()));
        }
        events.extend(decoder.finish());
        events
    }

    /// Frames up to the first that ends the message: some recordings hold
    /// several answers in a row.
    fn complete_at(&self) -> usize {
        let is_end = |(_, data): &(Option<String>, String)| {
            serde_json::from_str::<Value>(data).is_ok_and(|value| value["type"] == "message_stop")
        };
        self.frames
            .iter()
            .position(is_end)
            .map_or(self.frames.len(), |at| at + 1)
    }

    /// What was said, by kind, read from the recording without the decoder.
    fn said(&self) -> Said {
        let mut said = Said::default();
        for (_, data) in &self.frames[..self.complete_at()] {
            let value: Value = serde_json::from_str(data).unwrap();
            let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
            said.text += text("/content_block/text").unwrap_or_default();
            said.text += text("/delta/text").unwrap_or_default();
            said.thinking += text("/content_block/thinking").unwrap_or_default();
            said.thinking += text("/delta/thinking").unwrap_or_default();
            for block in value["content"].as_array().into_iter().flatten() {
                said.text += block["text"].as_str().unwrap_or_default();
                said.thinking += block["thinking"].as_str().unwrap_or_default();
                said.calls += usize::from(block["type"] == "tool_use");
            }
            said.calls += usize::from(value["content_block"]["type"] == "tool_use");
        }
        said
    }
}

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    thinking: String,
    calls: usize,
}

impl Said {
    fn of(events: &[ModelEvent]) -> Self {
        let mut said = Self::default();
        for event in events {
            match event {
                ModelEvent::Text(piece) => said.text += &piece.text,
                ModelEvent::Reasoning(piece) => said.thinking += &piece.text,
                ModelEvent::ToolCall(_) => said.calls += 1,
                _ => {}
            }
        }
        said
    }
}

fn count(events: &[ModelEvent], is_kind: fn(&ModelEvent) -> bool) -> usize {
    events.iter().filter(|event| is_kind(event)).count()
}

fn is_finish(event: &ModelEvent) -> bool {
    matches!(event, ModelEvent::Finish(_))
}

fn is_error(event: &ModelEvent) -> bool {
    matches!(event, ModelEvent::Error(_))
}

#[test]
fn recordings_replay() {
    for recording in recordings() {
        let name = &recording.name;
        let events = recording.decode(recording.frames.len(), true);
        if recording.status >= 400 {
            assert_eq!(events.len(), 1, "{name}: an error is one event");
            assert!(is_error(&events[0]), "{name}: {}", events::line(&events[0]));
            continue;
        }
        assert!(
            matches!(events[0], ModelEvent::Start(_)),
            "{name}: the start comes first"
        );
        assert_eq!(count(&events, is_finish), 1, "{name}: one finish");
        assert_eq!(count(&events, is_error), 0, "{name}: no error");
        assert_eq!(Said::of(&events), recording.said(), "{name}: what was said");
        let usage = events
            .iter()
            .any(|event| matches!(event, ModelEvent::Usage(_)));
        assert!(usage, "{name}: tokens were counted");
        // Calls are numbered apart, and their arguments are JSON.
        for event in &events {
            if let ModelEvent::ToolCall(call) = event
                && !name.contains("spliced")
            {
                let arguments = arguments(&events, call.part);
                let parsed = serde_json::from_str::<Value>(&arguments);
                assert!(
                    arguments.is_empty() || parsed.is_ok(),
                    "{name}: {arguments}"
                );
            }
        }
        let unnamed = recording.decode(recording.frames.len(), false);
        assert_eq!(
            events, unnamed,
            "{name}: names of events do not matter (pi#4381)"
        );
    }
}

fn arguments(events: &[ModelEvent], part: u32) -> String {
    let piece = |event: &ModelEvent| match event {
        ModelEvent::ToolArguments(piece) if piece.part == part => Some(piece.text.clone()),
        _ => None,
    };
    events.iter().filter_map(piece).collect()
}

#[test]
fn recordings_that_break_off_are_errors() {
    for recording in recordings().iter().filter(|recording| recording.streamed) {
        let name = &recording.name;
        let head = Head {
            status: recording.status,
            streamed: true,
            translated: true,
        };
        let mut decoder = Decoder::new(head);
        for (frames, (event, data)) in recording.frames[..recording.complete_at()]
            .iter()
            .enumerate()
        {
            let end = decoder.clone().finish();
            assert_eq!(end.len(), 1, "{name}: {frames} frames");
            assert!(is_error(&end[0]), "{name}: {frames} frames end in an error");
            let events = decoder.push(event.as_deref(), data.as_bytes());
            let complete = frames + 1 == recording.complete_at();
            assert_eq!(
                count(&events, is_finish),
                usize::from(complete),
                "{name}: {frames} frames"
            );
        }
        assert!(
            decoder.finish().is_empty(),
            "{name}: nothing follows the end"
        );
    }
}

/// A frame that was cut in the middle is an error, at whatever byte.
#[test]
fn recordings_that_are_garbled_are_errors() {
    for recording in recordings() {
        let name = &recording.name;
        if recording.status >= 400 {
            continue;
        }
        let at = recording.frames.len() / 2;
        let (_, data) = &recording.frames[at.min(recording.complete_at() - 1)];
        let ends = (1..data.trim().len()).filter(|end| data.is_char_boundary(*end));
        for end in ends.step_by(data.len() / 50 + 1) {
            let head = Head {
                status: 200,
                streamed: recording.streamed,
                translated: true,
            };
            let mut decoder = Decoder::new(head);
            let events = decoder.push(None, &data.as_bytes()[..end]);
            assert!(events.iter().all(is_error), "{name}: cut at {end}");
            assert_eq!(
                events.len() + decoder.finish().len(),
                1,
                "{name}: cut at {end}"
            );
        }
    }
}
