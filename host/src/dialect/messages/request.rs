//! Reads the body of a messages request.

use crate::dialect::texts::{Role, SYSTEM, TOOL, TOOL_DEFINITION, Texts, USER};
use crate::json::Node;

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

/// See [`crate::dialect::Dialect::look_for`].
pub fn look_for<'a>(texts: &mut Texts<'a>, body: Node<'a>) {
    texts.members(body, member);
}

/// A member of the body, if a model reads it.
fn member<'a>(texts: &mut Texts<'a>, key: &str, value: Node<'a>) {
    match key {
        "system" => content(texts, &SYSTEM, value),
        "messages" => texts.each(value, message),
        "tools" => texts.search(&TOOL_DEFINITION, value),
        "output_config" => texts.member(value, "format", |texts, format| {
            texts.search(&SYSTEM, format);
        }),
        _ if SETTINGS.contains(&key) => {}
        _ => texts.search(&SYSTEM, value),
    }
}

fn message<'a>(texts: &mut Texts<'a>, message: Node<'a>) {
    let role = message.get("role").and_then(Node::string);
    let role = &role.unwrap_or(USER);
    texts.members(message, |texts, key, value| match key {
        "content" => content(texts, role, value),
        "role" => {}
        _ => texts.search(role, value),
    });
}

/// Content: a string, or blocks.
fn content<'a>(texts: &mut Texts<'a>, role: &Role<'a>, value: Node<'a>) {
    texts.content(role, value, content_block);
}

fn content_block<'a>(texts: &mut Texts<'a>, role: &Role<'a>, block: Node<'a>) {
    match block.get("type").and_then(Node::string).as_deref() {
        Some("text") => texts.take_member(role, block, "text"),
        Some("thinking") => texts.take_member(role, block, "thinking"),
        Some("image" | "redacted_thinking" | "container_upload") => {}
        Some("document") => document(texts, role, block),
        Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
            texts.take_member(role, block, "name");
            texts.member(block, "input", |texts, input| texts.take_all(role, input));
        }
        Some("tool_result" | "mcp_tool_result") => {
            texts.member(block, "content", |texts, value| {
                content(texts, &TOOL, value);
            });
        }
        // The tools that Anthropic runs have results of many shapes.
        Some(kind) if kind.ends_with("_tool_result") => texts.search(&TOOL, block),
        _ => texts.search(role, block),
    }
}

fn document<'a>(texts: &mut Texts<'a>, role: &Role<'a>, block: Node<'a>) {
    texts.take_member(role, block, "title");
    texts.take_member(role, block, "context");
    texts.member(block, "source", |texts, source| {
        match source.get("type").and_then(Node::string).as_deref() {
            Some("base64" | "url" | "file") => {}
            _ => {
                texts.take_member(role, source, "data");
                texts.member(source, "content", |texts, value| {
                    content(texts, role, value);
                });
            }
        }
    });
}
