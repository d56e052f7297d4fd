//! Requests that others recorded, if they are here.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::by_name;
use crate::json::Json;

/// The recordings of one endpoint; none, said aloud, without the corpus.
fn recordings(provider: &str, endpoint: &str) -> Vec<(PathBuf, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/recordings");
    let Ok(sources) = fs::read_dir(&root) else {
        eprintln!("skipped: there are no recordings at {}", root.display());
        return Vec::new();
    };
    let folders = sources.flatten().map(|source| source.path().join(provider));
    let files = folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    let mut found = Vec::new();
    for path in files.map(|file| file.path()) {
        let recording: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if recording["endpoint"] == endpoint && recording["request"]["body"].is_object() {
            found.push((path, recording["request"]["body"].clone()));
        }
    }
    found
}

#[test]
fn recorded_messages_requests_reach_the_hub() {
    for (path, body) in recordings("anthropic", "messages") {
        let hub = by_name("anthropic.messages").unwrap().to_hub(&body);
        let hub = hub.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(hub.body["model"], body["model"], "{}", path.display());
        for pointer in &hub.dropped {
            assert!(
                body.pointer(pointer).is_some(),
                "{pointer} in {}",
                path.display()
            );
        }
    }
}

#[test]
fn pointers_to_texts_of_recorded_requests_name_them() {
    let chat = [
        "openai",
        "cerebras",
        "groq",
        "azure",
        "mistral",
        "deepseek",
        "xai",
        "openrouter",
    ];
    let chat = chat.map(|provider| ("openai.chat", provider, "chat.completions"));
    let of_messages = [("anthropic.messages", "anthropic", "messages")];
    for (dialect, provider, endpoint) in chat.into_iter().chain(of_messages) {
        for (path, body) in recordings(provider, endpoint) {
            let json = Json::new(body.to_string().into());
            for text in by_name(dialect).unwrap().texts(json.root().unwrap()) {
                let named = body.pointer(&text.pointer).and_then(Value::as_str);
                assert_eq!(named, Some(&*text.content()), "{}", path.display());
            }
        }
    }
}
