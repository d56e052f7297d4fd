//! Both client dialects against every provider, before the written transcripts
//! of `tests/transcripts`: what is streamed equals what is whole.

use palisade_tests::{Palisade, transcripts};
use serde_json::{Value, json};

use crate::client::{CHAT, MESSAGES, chat, messages, post_json, streamed};

async fn gateway(replay: &str) -> Palisade {
    let mut manifest = String::new();
    for (provider, base) in [
        ("openai", "/openai/v1"),
        ("anthropic", "/anthropic"),
        ("cerebras", "/cerebras/v1"),
    ] {
        manifest.push_str(&format!(
            r#"
            [credentials.{provider}]
            file = "{provider}.key"
            hosts = ["127.0.0.1"]
            [plugins.{provider}]
            source = "builtin:provider-{provider}"
            upstream = "{replay}{base}"
            credential = "{provider}"
            [[routes]]
            name = "{provider}"
            match = {{ model = "{provider}/*" }}
            filters = ["security"]
            rewriter = "rewriter"
            provider = "{provider}"
            loggers = ["log"]
            "#
        ));
    }
    manifest.push_str(
        r#"
        [plugins.security]
        source = "builtin:security-filter"
        config = { forbidden-instructions = ["system:*never this*"] }
        [plugins.rewriter]
        source = "builtin:model-rewriter"
        config = { rules = [{ from = "openai/*", to = "*" }, { from = "anthropic/*", to = "*" }, { from = "cerebras/*", to = "*" }] }
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        "#,
    );
    let keys = tempfile::tempdir().unwrap();
    let files = [
        ("openai.key", "sk-test"),
        ("anthropic.key", "sk-ant-test"),
        ("cerebras.key", "csk-test"),
    ];
    let files = files.map(|(name, key)| {
        let file = keys.path().join(name);
        std::fs::write(&file, key).unwrap();
        (name, file)
    });
    Palisade::with_files(&manifest, &files).await
}

/// The texts and the tools of an answer, whole or streamed, in either dialect.
fn told(text: &str) -> (String, Vec<(String, Value)>) {
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return told_streamed(text);
    };
    let mut tools = Vec::new();
    let message = &body["choices"][0]["message"];
    let mut said = message["content"].as_str().unwrap_or_default().to_owned();
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let arguments = call["function"]["arguments"].as_str().unwrap();
        tools.push((
            call["function"]["name"].as_str().unwrap().to_owned(),
            parsed(arguments),
        ));
    }
    for block in body["content"].as_array().into_iter().flatten() {
        said.push_str(block["text"].as_str().unwrap_or_default());
        if block["type"] == "tool_use" {
            tools.push((
                block["name"].as_str().unwrap().to_owned(),
                block["input"].clone(),
            ));
        }
    }
    (said, tools)
}

fn told_streamed(text: &str) -> (String, Vec<(String, Value)>) {
    let mut said = String::new();
    let mut tools: Vec<(u64, String, String)> = Vec::new();
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    for event in events.filter_map(|data| serde_json::from_str::<Value>(data).ok()) {
        let delta = &event["choices"][0]["delta"];
        said.push_str(delta["content"].as_str().unwrap_or_default());
        said.push_str(event["delta"]["text"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap();
            if !tools.iter().any(|tool| tool.0 == index) {
                tools.push((
                    index,
                    call["function"]["name"].as_str().unwrap().to_owned(),
                    String::new(),
                ));
            }
            let tool = tools.iter_mut().find(|tool| tool.0 == index).unwrap();
            tool.2
                .push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
        let index = event["index"].as_u64().unwrap_or_default();
        if event["content_block"]["type"] == "tool_use" {
            tools.push((
                index,
                event["content_block"]["name"].as_str().unwrap().to_owned(),
                String::new(),
            ));
        }
        if let Some(piece) = event["delta"]["partial_json"].as_str() {
            tools
                .iter_mut()
                .find(|tool| tool.0 == index)
                .unwrap()
                .2
                .push_str(piece);
        }
    }
    (
        said,
        tools
            .into_iter()
            .map(|(_, name, arguments)| (name, parsed(&arguments)))
            .collect(),
    )
}

fn parsed(arguments: &str) -> Value {
    if arguments.is_empty() {
        json!({})
    } else {
        serde_json::from_str(arguments).unwrap()
    }
}

fn with_tools(mut body: Value, path: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "additionalProperties": false });
    body["tools"] = if path == CHAT {
        json!([{ "type": "function", "function": { "name": "get_weather", "description": "the weather", "parameters": schema } }])
    } else {
        json!([{ "name": "get_weather", "description": "the weather", "input_schema": schema }])
    };
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_streamed_equals_what_is_whole() {
    let replay = replay::Server::start(transcripts()).await.unwrap();
    let palisade = gateway(&replay.url()).await;
    for provider in ["openai", "anthropic", "cerebras"] {
        for scenario in [
            "chat",
            "unicode",
            "length",
            "usage",
            "tool-single",
            "tools-parallel",
            "tool-none",
            "tool-empty",
            "unicode-bytes",
            "tools-bytes",
        ] {
            let model = format!("{provider}/{scenario}");
            let mut answers = Vec::new();
            for path in [CHAT, MESSAGES] {
                let body = if path == CHAT {
                    chat(&model, "hello")
                } else {
                    messages(&model, "hello")
                };
                let body = if scenario.starts_with("tool") {
                    with_tools(body, path)
                } else {
                    body
                };
                let whole = post_json(&palisade.url, path, &body).await;
                assert_eq!(whole.status, 200, "{model} {path}: {}", whole.text);
                let stream = post_json(&palisade.url, path, &streamed(body)).await;
                assert_eq!(stream.status, 200, "{model} {path}: {}", stream.text);
                assert!(stream.whole, "{model} {path}: {}", stream.text);
                assert_eq!(
                    told(&stream.text),
                    told(&whole.text),
                    "{model} {path}\n{}",
                    stream.text
                );
                answers.push(told(&whole.text));
            }
            assert_eq!(answers[0], answers[1], "{model} in both dialects");
            assert_eq!(
                !answers[0].1.is_empty(),
                scenario.starts_with("tool") && scenario != "tool-none",
                "{model}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_every_provider_arrive_in_every_dialect() {
    let replay = replay::Server::start(transcripts()).await.unwrap();
    let palisade = gateway(&replay.url()).await;
    for provider in ["openai", "anthropic", "cerebras"] {
        for status in [400_u16, 401, 403, 404, 429, 500, 503] {
            let model = format!("{provider}/error-{status}");
            for path in [CHAT, MESSAGES] {
                let body = if path == CHAT {
                    chat(&model, "hello")
                } else {
                    messages(&model, "hello")
                };
                for body in [streamed(body.clone()), body] {
                    let got = post_json(&palisade.url, path, &body).await;
                    assert_eq!(got.status, status, "{model} {path}: {}", got.text);
                    let error = got.json();
                    assert!(
                        error["error"]["message"].is_string(),
                        "{model} {path}: {}",
                        got.text
                    );
                    assert_eq!(
                        error["type"] == "error",
                        path == MESSAGES,
                        "{model}: {}",
                        got.text
                    );
                    assert!(
                        status != 429 || !got.header("retry-after").is_empty(),
                        "{model}"
                    );
                }
            }
        }
    }
}
