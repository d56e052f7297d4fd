//! Reads the body of a chat completions request.

use crate::dialect::texts::{ASSISTANT, Role, SYSTEM, TOOL, TOOL_DEFINITION, Texts, USER};
use crate::json::Node;

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

/// See [`crate::dialect::Dialect::look_for`].
pub fn look_for<'a>(texts: &mut Texts<'a>, body: Node<'a>) {
    texts.members(body, member);
}

/// A member of the body, if a model reads it.
fn member<'a>(texts: &mut Texts<'a>, key: &str, value: Node<'a>) {
    match key {
        "messages" => texts.each(value, message),
        // `functions` is what `tools` was called before November 2023.
        "tools" | "functions" => texts.search(&TOOL_DEFINITION, value),
        // A text that the answer is expected to repeat.
        "prediction" => texts.member(value, "content", |texts, value| {
            content(texts, &ASSISTANT, value);
        }),
        _ if SETTINGS.contains(&key) => {}
        _ => texts.search(&SYSTEM, value),
    }
}

fn message<'a>(texts: &mut Texts<'a>, message: Node<'a>) {
    let role = &role(message);
    texts.members(message, |texts, key, value| match key {
        "content" => content(texts, role, value),
        "name" | "refusal" | "reasoning_content" | "reasoning" => texts.take(role, value),
        "tool_calls" => texts.each(value, |texts, call| tool_call(texts, role, call)),
        "function_call" => called(texts, role, value),
        "thinking_blocks" => texts.each(value, |texts, block| {
            texts.take_member(role, block, "thinking");
        }),
        "audio" => texts.take_member(role, value, "transcript"),
        "role" | "tool_call_id" | "cache_control" | "is_error" => {}
        _ => texts.search(role, value),
    });
}

/// Who speaks: "developer" is what OpenAI's newer models call the system, and
/// "function" what it called a tool before November 2023.
fn role(message: Node<'_>) -> Role<'_> {
    match message.get("role").and_then(Node::string) {
        Some(role) if role == "developer" => SYSTEM,
        Some(role) if role == "function" => TOOL,
        role => role.unwrap_or(USER),
    }
}

/// Content: a string, or parts.
fn content<'a>(texts: &mut Texts<'a>, role: &Role<'a>, value: Node<'a>) {
    texts.content(role, value, content_part);
}

fn content_part<'a>(texts: &mut Texts<'a>, role: &Role<'a>, part: Node<'a>) {
    match part.get("type").and_then(Node::string).as_deref() {
        Some("text") => texts.take_member(role, part, "text"),
        Some("refusal") => texts.take_member(role, part, "refusal"),
        Some("image_url" | "input_audio") => {}
        Some("file") => texts.member(part, "file", |texts, file| {
            texts.take_member(role, file, "filename");
        }),
        _ => texts.search(role, part),
    }
}

fn tool_call<'a>(texts: &mut Texts<'a>, role: &Role<'a>, call: Node<'a>) {
    for key in ["function", "custom"] {
        texts.member(call, key, |texts, function| called(texts, role, function));
    }
}

/// The name and arguments of a call; a custom tool's are called `input`.
fn called<'a>(texts: &mut Texts<'a>, role: &Role<'a>, function: Node<'a>) {
    for key in ["name", "arguments", "input"] {
        texts.take_member(role, function, key);
    }
}
