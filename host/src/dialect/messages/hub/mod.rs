//! Translates a messages request to the hub.
//!
//! Here stand the members of the body; `turns` has the conversation, `content`
//! its blocks and `tools` the tools. What the hub has beyond OpenAI's chat
//! request, and any reader of it must know:
//! - an assistant message may have `reasoning_content` (a string) and
//!   `thinking_blocks` (Anthropic's `thinking` and `redacted_thinking` blocks);
//! - content parts, tool definitions and messages may have `cache_control`;
//! - `top_k` and `thinking` (as Anthropic defines it) stand at the top level;
//! - a `tool` message may have parts as content, and `is_error: true`;
//! - a `file` part's `file_data` may be an http(s) URL.
//!
//! What the hub has no place for is left out and reported, so that a client
//! learns of it: tools that Anthropic runs or defines, their calls and results
//! in the conversation, kinds of blocks that are newer than this code, and
//! settings that only Anthropic has.

mod content;
mod node;
mod tools;
mod turns;

use serde_json::{Map, Value, json};

use crate::dialect::{Hub, InvalidRequest};
use node::Node;

/// Budgets of thinking tokens below which the effort is low, and medium. They
/// put the budgets that coding agents use (about 4,000, 10,000 and 32,000) in
/// one class each.
const LOW_EFFORT_BELOW: f64 = 4_096.0;
const MEDIUM_EFFORT_BELOW: f64 = 16_384.0;

/// The request in the making.
#[derive(Default)]
struct Translation {
    body: Map<String, Value>,
    dropped: Vec<String>,
}

impl Translation {
    fn put(&mut self, name: &str, value: Value) {
        self.body.insert(name.to_owned(), value);
    }

    fn drop(&mut self, node: &Node<'_>) {
        self.dropped.push(node.pointer());
    }

    /// Reports a setting that cannot be carried, unless it asks for nothing.
    fn drop_setting(&mut self, node: &Node<'_>) {
        let idle = match node.value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(elements) => elements.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        if !idle {
            self.drop(node);
        }
    }
}

/// See [`crate::dialect::Dialect::to_hub`].
pub fn translate(body: &Value) -> Result<Hub, InvalidRequest> {
    let root = Node::root(body);
    let mut to = Translation::default();
    let members: Vec<_> = root.members()?.collect();
    let conversation = turns::conversation(&root, &mut to)?;
    if let Some(model) = root.get("model") {
        to.put("model", model.string()?.into());
    }
    to.put("messages", Value::Array(conversation));
    tools::tools(&root, &mut to)?;
    for (name, node) in members {
        member(name, &node, &mut to)?;
    }
    Ok(Hub {
        body: Value::Object(to.body),
        dropped: to.dropped,
    })
}

fn member(name: &str, node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
    match name {
        "model" | "messages" | "system" | "tools" | "tool_choice" => {}
        "temperature" | "top_p" | "top_k" => to.put(name, node.value.clone()),
        "max_tokens" => to.put("max_completion_tokens", node.value.clone()),
        "stop_sequences" => {
            if node.elements()?.next().is_some() {
                to.put("stop", node.value.clone());
            }
        }
        "stream" => {
            to.put("stream", node.value.clone());
            if *node.value == Value::Bool(true) {
                to.put("stream_options", json!({"include_usage": true}));
            }
        }
        "metadata" => metadata(node, to)?,
        "service_tier" => service_tier(node, to)?,
        "thinking" => thinking(node, to)?,
        "output_config" => output_config(node, to)?,
        // What `output_config.format` was called before.
        "output_format" => format(node, to)?,
        _ => to.drop_setting(node),
    }
    Ok(())
}

fn metadata(node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
    for (name, member) in node.members()? {
        match name {
            "user_id" => to.put("user", member.string()?.into()),
            _ => to.drop_setting(&member),
        }
    }
    Ok(())
}

fn service_tier(node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
    match node.string()? {
        "auto" => to.put("service_tier", "auto".into()),
        "standard_only" => to.put("service_tier", "default".into()),
        _ => to.drop(node),
    }
    Ok(())
}

/// Thinking is kept as it is, and shown as an effort besides. Thinking that
/// adapts itself, or is off, says nothing about the effort: models differ in
/// what they take for that, so the provider's default stands.
fn thinking(node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
    let enabled = node.kind()? == "enabled";
    to.put("thinking", node.value.clone());
    let budget = node
        .get("budget_tokens")
        .and_then(|budget| budget.value.as_f64());
    if let (true, Some(budget)) = (enabled, budget) {
        let effort = match budget {
            budget if budget < LOW_EFFORT_BELOW => "low",
            budget if budget < MEDIUM_EFFORT_BELOW => "medium",
            _ => "high",
        };
        // What the client says itself, in `output_config`, counts more.
        to.body.entry("reasoning_effort").or_insert(effort.into());
    }
    Ok(())
}

fn output_config(node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
    for (name, member) in node.members()? {
        match name {
            "effort" => {
                let effort = match member.string()? {
                    "max" => "xhigh",
                    effort => effort,
                };
                to.put("reasoning_effort", effort.into());
            }
            "format" => format(&member, to)?,
            _ => to.drop_setting(&member),
        }
    }
    Ok(())
}

/// A schema that the answer must follow. `strict` is OpenAI's guarantee of the
/// same, and it refuses schemas that do not keep its rules.
fn format(node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
    if node.value.is_string() || node.kind()? != "json_schema" {
        to.drop(node);
        return Ok(());
    }
    let schema = node.require("schema")?;
    schema.object()?;
    let strict = tools::keeps_strict_rules(schema.value);
    let mut json_schema = json!({"name": "output", "schema": schema.value});
    if strict {
        json_schema["strict"] = true.into();
    }
    to.put(
        "response_format",
        json!({"type": "json_schema", "json_schema": json_schema}),
    );
    Ok(())
}
