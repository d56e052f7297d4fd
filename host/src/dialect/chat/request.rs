//! Reads the body of a chat completions request.

use serde_json_borrow::{ObjectAsVec, Value};

use crate::dialect::texts::{ASSISTANT, SYSTEM, TOOL, TOOL_DEFINITION, Text, Texts, USER};

/// Members of the body with words that steer a request and that no model
/// reads. What is not among them is searched for texts.
const SETTINGS: [&str; 18] = [
    "model",
    "stop",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "metadata",
    "service_tier",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "cache_control",
    "verbosity",
    "modalities",
    "audio",
    "tool_choice",
    "function_call",
    "stream_options",
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
        "messages" => texts.each(value, message),
        // `functions` is what `tools` was called before November 2023.
        "tools" | "functions" => texts.search(TOOL_DEFINITION, value),
        // A text that the answer is expected to repeat.
        "prediction" => {
            if let Some(prediction) = value.as_object() {
                texts.member(prediction, "content", |texts, value| {
                    content(texts, ASSISTANT, value)
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
    let role = role(message);
    for (key, value) in message.iter() {
        texts.within(key, |texts| match key {
            "content" => content(texts, role, value),
            "name" | "refusal" | "reasoning_content" | "reasoning" => texts.take(role, value),
            "tool_calls" => texts.each(value, |texts, call| tool_call(texts, role, call)),
            "function_call" => called(texts, role, value),
            "thinking_blocks" => texts.each(value, |texts, block| {
                if let Some(block) = block.as_object() {
                    texts.take_member(role, block, "thinking");
                }
            }),
            "audio" => {
                if let Some(audio) = value.as_object() {
                    texts.take_member(role, audio, "transcript");
                }
            }
            "role" | "tool_call_id" | "cache_control" | "is_error" => {}
            _ => texts.search(role, value),
        });
    }
}

/// Who speaks: "developer" is what OpenAI's newer models call the system, and
/// "function" what it called a tool before November 2023.
fn role<'a>(message: &'a ObjectAsVec<'a>) -> &'a str {
    match message.get("role").and_then(Value::as_str).unwrap_or(USER) {
        "developer" => SYSTEM,
        "function" => TOOL,
        role => role,
    }
}

/// Content: a string, or parts.
fn content<'a>(texts: &mut Texts<'a>, role: &'a str, value: &'a Value<'a>) {
    texts.take(role, value);
    texts.each(value, |texts, value| match value.as_object() {
        Some(part) => content_part(texts, role, part, value),
        None => texts.take(role, value),
    });
}

fn content_part<'a>(
    texts: &mut Texts<'a>,
    role: &'a str,
    part: &'a ObjectAsVec<'a>,
    value: &'a Value<'a>,
) {
    match part.get("type").and_then(Value::as_str) {
        Some("text") => texts.take_member(role, part, "text"),
        Some("refusal") => texts.take_member(role, part, "refusal"),
        Some("image_url" | "input_audio") => {}
        Some("file") => {
            texts.member(part, "file", |texts, file| {
                if let Some(file) = file.as_object() {
                    texts.take_member(role, file, "filename");
                }
            });
        }
        _ => texts.search(role, value),
    }
}

fn tool_call<'a>(texts: &mut Texts<'a>, role: &'a str, call: &'a Value<'a>) {
    let Some(call) = call.as_object() else {
        return;
    };
    for key in ["function", "custom"] {
        texts.member(call, key, |texts, function| called(texts, role, function));
    }
}

/// The name and arguments of a call; a custom tool's are called `input`.
fn called<'a>(texts: &mut Texts<'a>, role: &'a str, function: &'a Value<'a>) {
    if let Some(function) = function.as_object() {
        for key in ["name", "arguments", "input"] {
            texts.take_member(role, function, key);
        }
    }
}
