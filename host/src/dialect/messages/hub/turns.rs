//! The conversation: system instructions and turns.
//!
//! One turn may become several messages: results of tools are messages of
//! their own in the hub, and come before what the user says besides.

use serde_json::{Map, Value, json};

use super::Translation;
use super::content::{self, Parts};
use super::node::Node;
use crate::dialect::InvalidRequest;

/// `system` and `messages` as messages of the hub.
pub fn conversation(root: &Node<'_>, to: &mut Translation) -> Result<Vec<Value>, InvalidRequest> {
    let mut messages = Vec::new();
    if let Some(system) = root.get("system") {
        messages.extend(plain("system", &system, to)?);
    }
    for turn in root.require("messages")?.elements()? {
        turn.object()?;
        let role = turn.require("role")?;
        let content = turn.require("content")?;
        match role.string()? {
            "user" => user(&content, to, &mut messages)?,
            "assistant" => messages.extend(assistant(&content, to)?),
            "system" => messages.extend(plain("system", &content, to)?),
            other => {
                let message = format!("role \"{other}\" is not user, assistant or system");
                return Err(role.invalid(&message));
            }
        }
    }
    Ok(messages)
}

/// A message of nothing but content; none if nothing of it can be carried.
fn plain(
    role: &str,
    node: &Node<'_>,
    to: &mut Translation,
) -> Result<Option<Value>, InvalidRequest> {
    if let Some(text) = node.value.as_str() {
        // An empty instruction says nothing, an empty turn may be meant.
        let empty = role == "system" && text.is_empty();
        return Ok((!empty).then(|| json!({"role": role, "content": text})));
    }
    let mut parts = Parts::default();
    for block in node.elements()? {
        parts.add(&block, to)?;
    }
    Ok(parts
        .into_content()
        .map(|content| json!({"role": role, "content": content})))
}

fn user(
    node: &Node<'_>,
    to: &mut Translation,
    messages: &mut Vec<Value>,
) -> Result<(), InvalidRequest> {
    if node.value.is_string() {
        messages.extend(plain("user", node, to)?);
        return Ok(());
    }
    let mut rest = Parts::default();
    for block in node.elements()? {
        match block.kind()? {
            "tool_result" => messages.push(tool_result(&block, to, &mut rest)?),
            _ => rest.add(&block, to)?,
        }
    }
    messages.extend(
        rest.into_content()
            .map(|content| json!({"role": "user", "content": content})),
    );
    Ok(())
}

/// A `tool` message. Documents in a result, for which it has no place, go to
/// `rest`: what the user says after the results.
fn tool_result(
    node: &Node<'_>,
    to: &mut Translation,
    rest: &mut Parts,
) -> Result<Value, InvalidRequest> {
    let mut parts = Parts::default();
    let mut content = None;
    if let Some(result) = node.get("content") {
        match result.value {
            Value::String(text) => content = Some(json!(text)),
            _ => {
                for block in result.elements()? {
                    parts.add(&block, to)?;
                }
            }
        }
    }
    parts.move_files(rest);
    let content = content
        .or_else(|| parts.into_content())
        .unwrap_or_else(|| json!(""));
    let id = node.string_at("tool_use_id")?;
    let mut message = json!({"role": "tool", "tool_call_id": id, "content": content});
    if node
        .get("is_error")
        .is_some_and(|flag| *flag.value == Value::Bool(true))
    {
        message["is_error"] = true.into();
    }
    if let Some(cache_control) = node.get("cache_control") {
        message["cache_control"] = cache_control.value.clone();
    }
    Ok(message)
}

/// An assistant message; none if nothing of it can be carried.
fn assistant(node: &Node<'_>, to: &mut Translation) -> Result<Option<Value>, InvalidRequest> {
    if node.value.is_string() {
        return plain("assistant", node, to);
    }
    let (mut parts, mut calls, mut thoughts) = (Parts::default(), Vec::new(), Thoughts::default());
    let mut cache_control = None;
    for block in node.elements()? {
        match block.kind()? {
            "tool_use" => {
                calls.push(content::tool_call(&block)?);
                // The hub has no place for it on a call.
                cache_control = block
                    .get("cache_control")
                    .map(|n| n.value.clone())
                    .or(cache_control);
            }
            "thinking" => thoughts.thinking(&block)?,
            "redacted_thinking" => thoughts.blocks.push(block.value.clone()),
            _ => parts.add(&block, to)?,
        }
    }
    let content = parts.into_content();
    if content.is_none() && calls.is_empty() && thoughts.is_empty() {
        return Ok(None);
    }
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    message.insert("content".into(), content.unwrap_or(Value::Null));
    thoughts.put_into(&mut message);
    if !calls.is_empty() {
        message.insert("tool_calls".into(), Value::Array(calls));
    }
    if let Some(cache_control) = cache_control {
        message.insert("cache_control".into(), cache_control);
    }
    Ok(Some(Value::Object(message)))
}

/// The reasoning of an assistant's turn.
#[derive(Default)]
struct Thoughts {
    text: String,
    blocks: Vec<Value>,
}

impl Thoughts {
    /// Unsigned thinking is shown as text only: a provider that signs its own
    /// would refuse it.
    fn thinking(&mut self, node: &Node<'_>) -> Result<(), InvalidRequest> {
        self.text.push_str(node.string_at("thinking")?);
        let signature = node.get("signature");
        if signature.is_some_and(|signature| signature.value != "") {
            self.blocks.push(node.value.clone());
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.blocks.is_empty()
    }

    fn put_into(self, message: &mut Map<String, Value>) {
        if !self.text.is_empty() {
            message.insert("reasoning_content".into(), self.text.into());
        }
        if !self.blocks.is_empty() {
            message.insert("thinking_blocks".into(), Value::Array(self.blocks));
        }
    }
}
