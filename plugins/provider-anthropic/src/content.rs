//! The content of messages: the hub's strings and parts as Anthropic's blocks.
//!
//! Anthropic refuses texts that are empty or white space only ("text content
//! blocks must contain non-whitespace text"), so those vanish
//! (anthropic-sdk-python#461).

use serde_json::{Map, Value, json};

use crate::hub::Report;
use crate::media;
use crate::refusal::Refusal;

/// Who speaks: it decides which parts are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    System,
    Assistant,
    /// A user, or a tool with its result.
    Other,
}

/// The blocks of a message's content; none if it says nothing.
pub fn blocks(
    at: &str,
    content: Option<Value>,
    speaker: Speaker,
    report: &mut Report,
) -> Result<Vec<Value>, Refusal> {
    match content {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(said)) => Ok(text(said).into_iter().collect()),
        Some(Value::Array(parts)) => {
            let mut blocks = Vec::new();
            for (index, part) in parts.into_iter().enumerate() {
                blocks.extend(block(&format!("{at}/{index}"), part, speaker, report)?);
            }
            Ok(blocks)
        }
        Some(_) => Err(Refusal::malformed(
            at,
            "expected a string or an array of parts",
        )),
    }
}

/// A text block; none for a text that Anthropic would refuse.
pub fn text(said: String) -> Option<Value> {
    if said.trim().is_empty() {
        return None;
    }
    let mut block = json!({"type": "text"});
    // Moved in: the macro copies what it is given.
    block["text"] = said.into();
    Some(block)
}

/// Puts Anthropic's mark for the prompt cache on a block, if there is one.
pub fn mark(block: &mut Value, cache_control: Option<Value>) {
    let thinking = block["type"] == "thinking" || block["type"] == "redacted_thinking";
    if let Some(mark @ Value::Object(_)) = cache_control
        && !thinking
    {
        block["cache_control"] = mark;
    }
}

fn block(
    at: &str,
    part: Value,
    speaker: Speaker,
    report: &mut Report,
) -> Result<Option<Value>, Refusal> {
    let mut part = match part {
        Value::Object(part) => part,
        Value::String(said) => return Ok(text(said)),
        _ => return Err(Refusal::malformed(at, "expected an object")),
    };
    let kind = part
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("text")
        .to_owned();
    let mut block = match (kind.as_str(), speaker) {
        ("text", _) => text(take_text(at, &mut part, "text")?),
        ("refusal", Speaker::Assistant) => text(take_text(at, &mut part, "refusal")?),
        ("thinking" | "redacted_thinking", Speaker::Assistant) => thinking(&part),
        ("image_url", Speaker::Other) => Some(media::image(at, &part, report)?),
        ("file", Speaker::Other) => Some(media::file(at, &part, report)?),
        _ => {
            let what = format!("anthropic takes no part of type {kind:?} here");
            return Err(Refusal::unsupported(at, &what));
        }
    };
    if let Some(block) = &mut block {
        mark(block, part.remove("cache_control"));
    }
    Ok(block)
}

/// A block of signed reasoning as it was; none if it has no signature, without
/// which Anthropic does not take it back.
pub fn thinking(block: &Map<String, Value>) -> Option<Value> {
    let text = |name: &str| block.get(name).and_then(Value::as_str);
    let filled = |name: &str| text(name).filter(|text| !text.is_empty());
    match text("type")? {
        "thinking" => Some(json!({
            "type": "thinking",
            "thinking": text("thinking").unwrap_or_default(),
            "signature": filled("signature")?,
        })),
        "redacted_thinking" => Some(json!({"type": "redacted_thinking", "data": filled("data")?})),
        _ => None,
    }
}

fn take_text(at: &str, part: &mut Map<String, Value>, name: &str) -> Result<String, Refusal> {
    match part.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Refusal::malformed(
            &format!("{at}/{name}"),
            "expected a string",
        )),
    }
}
