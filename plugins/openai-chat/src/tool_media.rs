//! Images and files in the results of tools.
//!
//! The hub allows them in tool messages, as Anthropic does. OpenAI and those
//! like it take only text there, so the rest moves to a user message after the
//! last of the tool messages, which have to follow their calls together.

use serde_json::{Value, json};

/// Moves what is not text out of tool messages. A text in each says where it
/// went, and one before it which call it belongs to.
pub fn move_to_user(messages: &mut Vec<Value>) {
    let mut moved = Vec::with_capacity(messages.len());
    let mut media = Vec::new();
    for mut message in messages.drain(..) {
        if message["role"] == "tool" {
            take_media(&mut message, &mut media);
        } else if !media.is_empty() {
            moved.push(json!({"role": "user", "content": std::mem::take(&mut media)}));
        }
        moved.push(message);
    }
    if !media.is_empty() {
        moved.push(json!({"role": "user", "content": media}));
    }
    *messages = moved;
}

fn take_media(message: &mut Value, media: &mut Vec<Value>) {
    let id = message["tool_call_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let Some(Value::Array(parts)) = message.get_mut("content") else {
        return;
    };
    let (texts, others): (Vec<_>, Vec<_>) = std::mem::take(parts)
        .into_iter()
        .partition(|part| part["type"] == "text");
    *parts = texts;
    if !others.is_empty() {
        let note = "(The rest of this result is in the next user message.)";
        parts.push(json!({"type": "text", "text": note}));
        let text = format!("The rest of the result of the tool call {id}:");
        media.push(json!({"type": "text", "text": text}));
        media.extend(others);
    }
    if parts.is_empty() {
        message["content"] = "".into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::move_to_user;

    #[test]
    fn images_of_tools_follow_the_last_result() {
        let image =
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
        let text = |text: &str| json!({"type": "text", "text": text});
        let mut messages = vec![
            json!({"role": "assistant", "tool_calls": [{"id": "1"}, {"id": "2"}]}),
            json!({"role": "tool", "tool_call_id": "1", "content": [text("a"), image]}),
            json!({"role": "tool", "tool_call_id": "2", "content": [text("b")]}),
            json!({"role": "user", "content": "go on"}),
            json!({"role": "tool", "tool_call_id": "3", "content": [image]}),
            json!({"role": "tool", "tool_call_id": "4", "content": []}),
        ];
        move_to_user(&mut messages);
        let note = text("(The rest of this result is in the next user message.)");
        let head = |id: &str| text(&format!("The rest of the result of the tool call {id}:"));
        assert_eq!(
            messages,
            [
                json!({"role": "assistant", "tool_calls": [{"id": "1"}, {"id": "2"}]}),
                json!({"role": "tool", "tool_call_id": "1", "content": [text("a"), note]}),
                json!({"role": "tool", "tool_call_id": "2", "content": [text("b")]}),
                json!({"role": "user", "content": [head("1"), image]}),
                json!({"role": "user", "content": "go on"}),
                json!({"role": "tool", "tool_call_id": "3", "content": [note]}),
                json!({"role": "tool", "tool_call_id": "4", "content": ""}),
                json!({"role": "user", "content": [head("3"), image]}),
            ]
        );
    }

    #[test]
    fn messages_of_any_shape_stay() {
        let mut messages = vec![
            json!(1),
            json!(null),
            json!({"role": "tool", "content": "text"}),
        ];
        let before = messages.clone();
        move_to_user(&mut messages);
        assert_eq!(messages, before);
    }
}
