//! The conversation, in the form that Cerebras takes.
//!
//! * A `system` member of the request (Anthropic's, and what Cerebras's older
//!   clients send) becomes the first message. `developer` is `system`: it is
//!   what Cerebras makes of it.
//! * Content of system, assistant and tool messages is a string; what a user
//!   says may have parts. Images and files in the results of tools move to a
//!   user message (`openai_chat::tool_media`).
//! * An assistant message that calls tools and says nothing has the content
//!   null, and one that refused has the refusal as its content.
//! * What the model thought is `reasoning`, whether it came as
//!   `reasoning_content` or as `thinking_blocks`. `reasoning_content` is
//!   refused (Alishahryar1/free-claude-code#1136).
//! * Members that Cerebras does not know are left out; it refuses them.

use openai_chat::tool_media;
use serde_json::{Map, Value, json};

use crate::request::{Dropped, Refusal, keep_only};

/// Gives the messages of a request the form that Cerebras takes.
pub fn adapt(request: &mut Map<String, Value>, dropped: &mut Dropped) -> Result<(), Refusal> {
    let system = request
        .shift_remove("system")
        .map(|system| text_of(&system));
    let Some(Value::Array(messages)) = request.get_mut("messages") else {
        return Ok(());
    };
    for (index, message) in messages.iter_mut().enumerate() {
        if let Value::Object(message) = message {
            adapt_message(message, index, dropped)?;
        }
    }
    if messages
        .iter()
        .any(|message| message["role"] == "tool" && message["content"].is_array())
    {
        tool_media::move_to_user(messages);
        let tools = messages
            .iter_mut()
            .filter(|message| message["role"] == "tool");
        tools.for_each(|message| message["content"] = text_of(&message["content"]).into());
    }
    if let Some(system) = system.filter(|system| !system.is_empty()) {
        messages.insert(0, json!({"role": "system", "content": system}));
    }
    Ok(())
}

fn adapt_message(
    message: &mut Map<String, Value>,
    index: usize,
    dropped: &mut Dropped,
) -> Result<(), Refusal> {
    if message.get("role").is_some_and(|role| role == "developer") {
        message.insert("role".into(), "system".into());
    }
    let role = message
        .get("role")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(Value::Array(parts)) = message.get_mut("content") {
        for (number, part) in parts.iter_mut().enumerate() {
            adapt_part(part, &format!("/messages/{index}/content/{number}"))?;
        }
    }
    match role.as_str() {
        "assistant" => assistant(message),
        "tool" => {
            if message.get("is_error") == Some(&Value::Bool(true)) {
                dropped.report(format!("/messages/{index}/is_error"));
            }
            keep_only(message, &["role", "content", "tool_call_id", "name"]);
        }
        "system" => {
            flatten(message);
            keep_only(message, &["role", "content", "name"]);
        }
        _ => keep_only(message, &["role", "content", "name"]),
    }
    Ok(())
}

/// A part of content: text or an image. Anything else is refused, because the
/// answer would be one to another question.
fn adapt_part(part: &mut Value, pointer: &str) -> Result<(), Refusal> {
    let Value::Object(members) = part else {
        return Ok(());
    };
    match members
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "text" => keep_only(members, &["type", "text"]),
        "refusal" => {
            let text = members.remove("refusal").unwrap_or_default();
            *part = json!({"type": "text", "text": text});
        }
        "image_url" => {
            keep_only(members, &["type", "image_url"]);
            if let Some(Value::Object(image)) = members.get_mut("image_url") {
                keep_only(image, &["url", "detail"]);
            }
        }
        "image" => {}
        kind => {
            let what = format!("{pointer}: Cerebras takes no content of type {kind:?}");
            return Err(Refusal::unsupported(what));
        }
    }
    Ok(())
}

fn assistant(message: &mut Map<String, Value>) {
    flatten(message);
    reasoning(message);
    let says_nothing = |content: Option<&Value>| match content {
        None | Some(Value::Null) => true,
        Some(content) => content == "",
    };
    if says_nothing(message.get("content"))
        && let Some(refusal @ Value::String(_)) = message.shift_remove("refusal")
    {
        message.insert("content".into(), refusal);
    }
    keep_only(
        message,
        &["role", "content", "name", "reasoning", "tool_calls"],
    );
    match message.get_mut("tool_calls") {
        Some(Value::Array(calls)) if !calls.is_empty() => {
            for call in calls.iter_mut().filter_map(Value::as_object_mut) {
                keep_only(call, &["id", "type", "function"]);
            }
            if says_nothing(message.get("content")) {
                message.insert("content".into(), Value::Null);
            }
        }
        // An empty list is refused.
        _ => {
            message.shift_remove("tool_calls");
            if says_nothing(message.get("content")) {
                message.insert("content".into(), "".into());
            }
        }
    }
}

fn reasoning(message: &mut Map<String, Value>) {
    let content = message.shift_remove("reasoning_content");
    let blocks = message.shift_remove("thinking_blocks");
    if message
        .get("reasoning")
        .is_some_and(|reasoning| !reasoning.is_null())
    {
        return;
    }
    let thinking = || {
        let blocks = blocks.as_ref()?.as_array()?;
        let texts: Vec<_> = blocks
            .iter()
            .filter_map(|block| block["thinking"].as_str())
            .collect();
        Some(Value::from(texts.join("\n")))
    };
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    if let Some(text) = content
        .filter(is_text)
        .or_else(|| thinking().filter(is_text))
    {
        message.insert("reasoning".into(), text);
    }
}

/// Makes content that is an array of texts a string.
fn flatten(message: &mut Map<String, Value>) {
    if let Some(content) = message.get_mut("content")
        && let Value::Array(parts) = content
        && parts.iter().all(|part| part["type"] == "text")
    {
        *content = text_of(content).into();
    }
}

/// The texts of content, a line each.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn adapted(request: Value) -> (Value, Vec<String>) {
        let Value::Object(mut request) = request else {
            unreachable!()
        };
        let mut dropped = Dropped::default();
        adapt(&mut request, &mut dropped).unwrap();
        (
            request.shift_remove("messages").unwrap_or_default(),
            dropped.into_pointers(),
        )
    }

    #[test]
    fn each_message_has_the_form_that_is_taken() {
        let text = |text: &str| json!({"type": "text", "text": text, "cache_control": {}});
        let call =
            json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}});
        let image = json!({"type": "image_url", "image_url": {"url": "data:", "detail": "low"}});
        let block = json!({"type": "thinking", "thinking": "t", "signature": "s"});
        let cases = [
            (
                json!({"role": "developer", "content": [text("a"), text("b")], "cache_control": {}}),
                json!({"role": "system", "content": "a\nb"}),
            ),
            (
                json!({"role": "user", "content": [text("a"), image]}),
                json!({"role": "user", "content": [{"type": "text", "text": "a"}, image]}),
            ),
            (
                json!({"role": "assistant", "content": "", "refusal": null, "audio": null,
                    "annotations": [], "tool_calls": [call]}),
                json!({"role": "assistant", "content": null, "tool_calls": [call]}),
            ),
            (
                json!({"role": "assistant", "tool_calls": [call]}),
                json!({"role": "assistant", "tool_calls": [call], "content": null}),
            ),
            (
                json!({"role": "assistant", "content": null, "refusal": "no", "tool_calls": []}),
                json!({"role": "assistant", "content": "no"}),
            ),
            (
                json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
                json!({"role": "assistant", "content": "no"}),
            ),
            (
                json!({"role": "assistant"}),
                json!({"role": "assistant", "content": ""}),
            ),
            (
                json!({"role": "assistant", "content": "a", "reasoning_content": "r", "thinking_blocks": [block]}),
                json!({"role": "assistant", "content": "a", "reasoning": "r"}),
            ),
            (
                json!({"role": "assistant", "content": "a", "thinking_blocks": [block, {"type": "redacted_thinking"}]}),
                json!({"role": "assistant", "content": "a", "reasoning": "t"}),
            ),
            (
                json!({"role": "tool", "tool_call_id": "c", "content": [text("a"), text("b")]}),
                json!({"role": "tool", "tool_call_id": "c", "content": "a\nb"}),
            ),
        ];
        for (message, expected) in cases {
            let (messages, dropped) = adapted(json!({"messages": [message]}));
            assert_eq!(messages, json!([expected]), "{message}");
            assert!(dropped.is_empty());
        }
    }

    #[test]
    fn system_is_the_first_message() {
        let user = json!({"role": "user", "content": "a"});
        for (system, count) in [
            (json!("s"), 2),
            (json!([{"text": "s"}]), 2),
            (json!(null), 1),
        ] {
            let (messages, _) = adapted(json!({"system": system, "messages": [user]}));
            assert_eq!(messages.as_array().unwrap().len(), count);
            assert_eq!(
                count == 2,
                messages[0] == json!({"role": "system", "content": "s"})
            );
        }
    }

    #[test]
    fn images_of_tools_move() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:"}});
        let (messages, dropped) = adapted(json!({"messages": [
            {"role": "tool", "tool_call_id": "c", "content": [image], "is_error": true}]}));
        assert!(messages[0]["content"].is_string());
        assert_eq!(messages[1]["role"], "user");
        assert_eq!(messages[1]["content"][1], image);
        assert_eq!(dropped, ["/messages/0/is_error"]);
    }

    #[test]
    fn documents_and_sounds_are_refused() {
        for kind in ["file", "input_audio", ""] {
            let Value::Object(mut request) =
                json!({"messages": [{"role": "user", "content": [{"type": kind}]}]})
            else {
                unreachable!()
            };
            let refusal = adapt(&mut request, &mut Dropped::default()).unwrap_err();
            assert_eq!(refusal.reason, "request.unsupported");
            assert!(refusal.message.starts_with("/messages/0/content/0"));
        }
    }
}
