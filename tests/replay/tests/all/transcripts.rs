//! The transcripts agree with themselves: for each pair of a whole answer and
//! a stream, the same is said, called, counted and concluded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use replay::{Provider, Transcripts};
use serde_json::{Value, json};

fn transcripts() -> Transcripts {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../transcripts");
    Transcripts::load(&folder).unwrap()
}

/// What an answer comes down to.
#[derive(Debug, Default, PartialEq)]
struct Gist {
    model: String,
    text: BTreeMap<u64, String>,
    refusal: String,
    reasoning: String,
    signature: String,
    calls: BTreeMap<u64, (String, String, Value)>,
    finish: Vec<Value>,
    usage: Value,
}

/// The data of each event; the written streams use no other framing than
/// these two lines, but for `sse-odd`, which has no whole to compare with.
fn events(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let json = data.filter(|data| *data != "[DONE]");
    json.map(|data| serde_json::from_str(data).unwrap_or_else(|_| panic!("{data}")))
        .collect()
}

fn append(text: &mut String, value: &Value) {
    text.push_str(value.as_str().unwrap_or_default());
}

fn chat_whole(body: &Value) -> Gist {
    let mut gist = Gist {
        usage: body["usage"].clone(),
        ..Gist::default()
    };
    append(&mut gist.model, &body["model"]);
    for choice in body["choices"].as_array().unwrap() {
        let message = &choice["message"];
        let text = gist
            .text
            .entry(choice["index"].as_u64().unwrap())
            .or_default();
        append(text, &message["content"]);
        append(&mut gist.refusal, &message["refusal"]);
        append(&mut gist.reasoning, &message["reasoning"]);
        for (index, call) in message["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            gist.calls.insert(index as u64, call_of(call, ""));
        }
        gist.finish.push(choice["finish_reason"].clone());
    }
    gist
}

fn call_of(call: &Value, more: &str) -> (String, String, Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let arguments = text(&call["function"]["arguments"]) + more;
    (
        text(&call["id"]),
        text(&call["function"]["name"]),
        json!(arguments),
    )
}

fn chat_stream(events: &[Value]) -> Gist {
    let mut gist = Gist::default();
    for event in events {
        for choice in event["choices"].as_array().unwrap() {
            let delta = &choice["delta"];
            let text = gist
                .text
                .entry(choice["index"].as_u64().unwrap())
                .or_default();
            append(text, &delta["content"]);
            append(&mut gist.refusal, &delta["refusal"]);
            append(&mut gist.reasoning, &delta["reasoning"]);
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let index = call["index"].as_u64().unwrap();
                let (id, name, arguments) = call_of(call, "");
                let known = gist.calls.entry(index).or_insert((id, name, json!("")));
                let so_far = known.2.as_str().unwrap().to_owned();
                known.2 = json!(so_far + arguments.as_str().unwrap());
            }
            gist.finish
                .extend(Some(choice["finish_reason"].clone()).filter(|why| !why.is_null()));
        }
        if gist.model.is_empty() {
            append(&mut gist.model, &event["model"]);
        }
        if !event["usage"].is_null() {
            gist.usage = event["usage"].clone();
        }
    }
    gist
}

fn messages_whole(body: &Value) -> Gist {
    let mut gist = Gist {
        finish: vec![body["stop_reason"].clone()],
        ..Gist::default()
    };
    append(&mut gist.model, &body["model"]);
    for (index, block) in body["content"].as_array().unwrap().iter().enumerate() {
        append(gist.text.entry(0).or_default(), &block["text"]);
        append(&mut gist.reasoning, &block["thinking"]);
        append(&mut gist.reasoning, &block["data"]);
        append(&mut gist.signature, &block["signature"]);
        if block["type"] == "tool_use" {
            let text = |key: &str| block[key].as_str().unwrap().to_owned();
            gist.calls.insert(
                index as u64,
                (text("id"), text("name"), block["input"].clone()),
            );
        }
    }
    gist.usage = tokens(&body["usage"]);
    gist
}

fn messages_stream(events: &[Value]) -> Gist {
    let mut gist = Gist::default();
    let mut inputs: BTreeMap<u64, String> = BTreeMap::new();
    for event in events {
        let index = event["index"].as_u64().unwrap_or_default();
        let (block, delta) = (&event["content_block"], &event["delta"]);
        append(&mut gist.model, &event["message"]["model"]);
        if event["type"] == "content_block_start" || event["type"] == "content_block_delta" {
            append(gist.text.entry(0).or_default(), &delta["text"]);
            append(&mut gist.reasoning, &delta["thinking"]);
            append(&mut gist.reasoning, &block["data"]);
            append(&mut gist.signature, &delta["signature"]);
            append(inputs.entry(index).or_default(), &delta["partial_json"]);
        }
        if block["type"] == "tool_use" {
            let text = |key: &str| block[key].as_str().unwrap().to_owned();
            gist.calls
                .insert(index, (text("id"), text("name"), json!({})));
        }
        if event["type"] == "message_delta" {
            gist.finish.push(delta["stop_reason"].clone());
            gist.usage = tokens(&event["usage"]);
        }
    }
    for (index, call) in &mut gist.calls {
        if let Some(input) = inputs.get(index).filter(|input| !input.is_empty()) {
            call.2 = serde_json::from_str(input).unwrap();
        }
    }
    gist
}

/// The counts that a `message_delta` has as well.
fn tokens(usage: &Value) -> Value {
    let count = |key: &str| (key.to_owned(), usage[key].clone());
    let keys = ["input_tokens", "output_tokens", "cache_read_input_tokens"];
    keys.map(count)
        .into_iter()
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let transcripts = transcripts();
    let mut pairs = 0;
    for provider in Provider::ALL {
        for name in transcripts.names(provider) {
            let file = |file| transcripts.file(provider, name, file);
            let (Some(whole), Some(stream)) = (file("whole.json"), file("stream.sse")) else {
                continue;
            };
            let whole: Value = serde_json::from_slice(whole).unwrap();
            let place = format!("{}/{name}", provider.name());
            let (mut whole, streams) = match provider {
                Provider::Anthropic => (
                    messages_whole(&whole),
                    vec![messages_stream(&events(stream))],
                ),
                Provider::OpenAi => {
                    let usage = events(file("usage.sse").unwrap_or(stream));
                    (
                        chat_whole(&whole),
                        vec![chat_stream(&usage), chat_stream(&events(stream))],
                    )
                }
                Provider::Cerebras => (chat_whole(&whole), vec![chat_stream(&events(stream))]),
            };
            for streamed in streams {
                if streamed.usage.is_null() {
                    whole.usage = Value::Null;
                }
                whole.text.retain(|_, text| !text.is_empty());
                let mut streamed = streamed;
                streamed.text.retain(|_, text| !text.is_empty());
                assert_eq!(streamed, whole, "{place}");
            }
            pairs += 1;
        }
    }
    assert!(pairs > 60, "{pairs} pairs were compared");
}

#[test]
fn the_three_providers_play_the_same_scenarios() {
    let transcripts = transcripts();
    let shared = [
        "chat",
        "thinking",
        "tool-single",
        "tools-parallel",
        "tool-none",
        "tool-empty",
        "tool-text",
        "tool-thinking",
        "tool-result",
        "structured",
        "unicode",
        "length",
        "length-tool",
        "stop-sequence",
        "filtered",
        "usage",
        "empty",
        "image",
        "error-400",
        "error-401",
        "error-403",
        "error-404",
        "error-429",
        "error-429-date",
        "error-500",
        "error-502",
        "error-503",
        "error-stream",
        "error-first",
        "truncated",
        "truncated-reset",
        "truncated-end",
        "slow",
        "hang",
        "gzip",
        "sse-odd",
        "get-models",
    ];
    for provider in Provider::ALL {
        let names: Vec<&str> = transcripts.names(provider).collect();
        for name in shared {
            assert!(names.contains(&name), "{} has {name}", provider.name());
        }
    }
}

#[test]
fn a_stream_ends_with_its_terminator_exactly_once() {
    let transcripts = transcripts();
    for provider in Provider::ALL {
        let end = match provider {
            Provider::Anthropic => "\"message_stop\"",
            Provider::OpenAi | Provider::Cerebras => "data: [DONE]",
        };
        for name in transcripts
            .names(provider)
            .filter(|name| !name.starts_with("error-"))
        {
            for file in ["stream.sse", "usage.sse"] {
                if let Some(stream) = transcripts.file(provider, name, file) {
                    let text = std::str::from_utf8(stream).unwrap();
                    assert_eq!(
                        text.matches(end).count(),
                        1,
                        "{}/{name}/{file}",
                        provider.name()
                    );
                }
            }
        }
    }
}
