//! The JSON of messages that we write.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::dialect::answer::Head;
use crate::event::{FinishReason, Usage};

/// What a `content_block_delta` adds to its block.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Delta<'a> {
    Ours(OurDelta<'a>),
    /// As the upstream wrote it.
    Foreign(Value),
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OurDelta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
}

#[derive(Serialize)]
pub struct BlockStart {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub index: usize,
    pub content_block: Value,
}

#[derive(Serialize)]
pub struct BlockDelta<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub index: usize,
    pub delta: Delta<'a>,
}

#[derive(Serialize)]
pub struct BlockStop {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub index: usize,
}

/// The message before it says anything; a whole one is made of it too.
pub fn message(head: &Head, usage: Option<&Usage>) -> Map<String, Value> {
    let mut message = Map::new();
    let members = [
        ("id", json!(head.id)),
        ("type", json!("message")),
        ("role", json!("assistant")),
        ("model", json!(head.model)),
        ("content", json!([])),
        ("stop_reason", Value::Null),
        ("stop_sequence", Value::Null),
        ("usage", usage_json(usage)),
    ];
    message.extend(members.map(|(name, value)| (name.to_owned(), value)));
    message
}

/// Anthropic's `usage`, where `input_tokens` are those that no cache had to do
/// with, so cached ones are not counted twice (litellm#31069). What the
/// provider did not count is shown as 0, because the schema demands a number.
pub fn usage_json(usage: Option<&Usage>) -> Value {
    let count = |field: fn(&Usage) -> Option<u64>| usage.and_then(field).unwrap_or(0);
    let read = count(|usage| usage.cache_read_tokens);
    let written = count(|usage| usage.cache_write_tokens);
    let input = count(|usage| usage.input_tokens)
        .saturating_sub(read)
        .saturating_sub(written);
    let mut json = json!({
        "input_tokens": input,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": count(|usage| usage.output_tokens),
    });
    if let Some(tokens) = usage.and_then(|usage| usage.reasoning_tokens) {
        json["output_tokens_details"] = json!({"thinking_tokens": tokens});
    }
    json
}

/// The `stop_reason` of a message. A refusal has no field of its own here, so
/// an answer that just stopped after one says so by its reason.
pub fn stop_reason(reason: FinishReason, sequence: bool, refused: bool) -> &'static str {
    match reason {
        FinishReason::Stop if refused => "refusal",
        FinishReason::Stop if sequence => "stop_sequence",
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
        FinishReason::Pause => "pause_turn",
    }
}
