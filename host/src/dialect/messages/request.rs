//! Reads the body of a messages request.

use serde_json_borrow::{ObjectAsVec, Value};

use crate::dialect::texts::{SYSTEM, TOOL, TOOL_DEFINITION, Text, Texts, USER};

/// Members of the body with words that steer a request and that no model
/// reads. What is not among them is searched for texts.
const SETTINGS: [&str; 13] = [
    "model",
    "metadata",
    "stop_sequences",
    "service_tier",
    "thinking",
    "tool_choice",
    "cache_control",
    "container",
    "mcp_servers",
    "inference_geo",
    "speed",
    "betas",
    "anthropic_version",
];

/// See [`crate::dialect::Dialect::texts`].
pub fn texts<'a>(body: &'a Value<'a>) -> Vec<Text<'a>> {
    let mut texts = Texts::default();
    for (key, value) in body.iter_object().into_iter().flatten() {
        texts.within(key, |texts| member(texts, key, value));
    }
    texts.into_vec()
}

/// A member of the body, if a model reads it.
fn member<'a>(texts: &mut Texts<'a>, key: &str, value: &'a Value<'a>) {
    match key {
        "system" => content(texts, SYSTEM, value),
        "messages" => texts.each(value, message),
        "tools" => texts.search(TOOL_DEFINITION, value),
        "output_config" => {
            if let Some(config) = value.as_object() {
                texts.member(config, "format", |texts, format| {
                    texts.search(SYSTEM, format)
                });
            }
        }
        _ if SETTINGS.contains(&key) => {}
        _ => texts.search(SYSTEM, value),
    }
}

fn message<'a>(texts: &mut Texts<'a>, value: &'a Value<'a>) {
    let Some(message) = value.as_object() else {
        return;
    };
    let role = message.get("role").and_then(Value::as_str).unwrap_or(USER);
    for (key, value) in message.iter() {
        texts.within(key, |texts| match key {
            "content" => content(texts, role, value),
            "role" => {}
            _ => texts.search(role, value),
        });
    }
}

/// Content: a string, or blocks.
fn content<'a>(texts: &mut Texts<'a>, role: &'a str, value: &'a Value<'a>) {
    texts.take(role, value);
    texts.each(value, |texts, value| match value.as_object() {
        Some(block) => content_block(texts, role, block, value),
        None => texts.take(role, value),
    });
}

fn content_block<'a>(
    texts: &mut Texts<'a>,
    role: &'a str,
    block: &'a ObjectAsVec<'a>,
    value: &'a Value<'a>,
) {
    match block.get("type").and_then(Value::as_str) {
        Some("text") => texts.take_member(role, block, "text"),
        Some("thinking") => texts.take_member(role, block, "thinking"),
        Some("image" | "redacted_thinking" | "container_upload") => {}
        Some("document") => document(texts, role, block),
        Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
            texts.take_member(role, block, "name");
            texts.member(block, "input", |texts, input| texts.take_all(role, input));
        }
        Some("tool_result" | "mcp_tool_result") => {
            texts.member(block, "content", |texts, value| content(texts, TOOL, value));
        }
        // The tools that Anthropic runs have results of many shapes.
        Some(kind) if kind.ends_with("_tool_result") => texts.search(TOOL, value),
        _ => texts.search(role, value),
    }
}

fn document<'a>(texts: &mut Texts<'a>, role: &'a str, block: &'a ObjectAsVec<'a>) {
    texts.take_member(role, block, "title");
    texts.take_member(role, block, "context");
    texts.member(block, "source", |texts, source| {
        let Some(source) = source.as_object() else {
            return;
        };
        match source.get("type").and_then(Value::as_str) {
            Some("base64" | "url" | "file") => {}
            _ => {
                texts.take_member(role, source, "data");
                texts.member(source, "content", |texts, value| {
                    content(texts, role, value)
                });
            }
        }
    });
}
