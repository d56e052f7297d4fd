//! What an application sends, and how it reads what comes back.

use futures_util::StreamExt;
use serde_json::{Value, json};

/// A chat request.
pub fn chat(model: &str, text: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": text }] })
}

/// A messages request.
pub fn messages(model: &str, text: &str) -> Value {
    json!({ "model": model, "max_tokens": 100, "messages": [{ "role": "user", "content": text }] })
}

/// The same as a stream.
pub fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

pub const CHAT: &str = "/v1/chat/completions";
pub const MESSAGES: &str = "/v1/messages";

/// An answer, as far as it came.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    /// Whether the body ended as it should.
    pub whole: bool,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn id(&self) -> &str {
        self.header("palisade-exchange-id")
    }

    /// The data of each server-sent event.
    pub fn events(&self) -> Vec<String> {
        let lines = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        lines.map(str::to_owned).collect()
    }

    /// The concatenated content of a streamed chat answer.
    pub fn streamed_text(&self) -> String {
        let events = self.events();
        let chunks = events
            .iter()
            .filter_map(|data| serde_json::from_str::<Value>(data).ok());
        chunks
            .filter_map(|chunk| {
                let chat = chunk["choices"][0]["delta"]["content"]
                    .as_str()
                    .map(str::to_owned);
                chat.or_else(|| chunk["delta"]["text"].as_str().map(str::to_owned))
            })
            .collect()
    }
}

/// Posts a body and reads the answer to its end, or to where it breaks.
pub async fn post(url: &str, path: &str, body: impl Into<reqwest::Body>) -> Got {
    send(
        reqwest::Client::new()
            .post(format!("{url}{path}"))
            .body(body),
    )
    .await
}

/// Posts JSON.
pub async fn post_json(url: &str, path: &str, body: &Value) -> Got {
    post(url, path, body.to_string()).await
}

pub async fn send(request: reqwest::RequestBuilder) -> Got {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut stream = response.bytes_stream();
    let mut bytes = Vec::new();
    let mut whole = true;
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    Got {
        status,
        headers,
        text: String::from_utf8(bytes).expect("UTF-8"),
        whole,
    }
}
