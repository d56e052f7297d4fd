//! Real requests that real providers took must be taken here as well: a check
//! that is too strict would blame a gateway for nothing.
//!
//! The recordings lie beside the repository and are not part of it. Without
//! them the test says so and is done.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::{ask, server};

/// Every recorded exchange of a chat with a status of 200.
fn taken(folder: &Path, found: &mut Vec<(PathBuf, Value)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            taken(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "json") {
            let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let chat = ["chat.completions", "messages"].map(|name| json!(name));
            let status = &recorded["response"]["status"];
            let has_body = recorded["request"]["body"].is_object();
            if chat.contains(&recorded["endpoint"]) && *status == 200 && has_body {
                found.push((path, recorded));
            }
        }
    }
}

#[tokio::test]
async fn what_real_providers_took_is_taken() {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/recordings");
    if !folder.is_dir() {
        eprintln!("not tested: {} is not there", folder.display());
        return;
    }
    let server = server().await;
    let mut recordings = Vec::new();
    taken(&folder, &mut recordings);
    let mut asked = 0;
    let mut refused = Vec::new();
    for (path, recorded) in &recordings {
        let provider = recorded["provider"].as_str().unwrap();
        if !["openai", "anthropic", "cerebras"].contains(&provider) {
            continue;
        }
        asked += 1;
        let answer = ask(&server, provider, &recorded["request"]["body"]).await;
        let text = String::from_utf8_lossy(&answer.body()).into_owned();
        // No recorded model is a scenario, and no recorded signature was given
        // out here: both are told after all else was found in order.
        let ours = ["Invalid `signature`", "Invalid `data`"]
            .iter()
            .any(|own| text.contains(own));
        if answer.status != 404 && !ours {
            refused.push(format!("{}: {text}", path.display()));
        }
    }
    assert!(
        refused.is_empty(),
        "{} of {asked}:\n{}",
        refused.len(),
        refused.join("\n")
    );
}
