//! What an answer says, in either dialect, streamed or whole.

use serde_json::Value;

/// Each JSON object among the data of a stream, or the one that a body is.
pub fn objects(text: &str, streamed: bool) -> Vec<Value> {
    if !streamed {
        return vec![serde_json::from_str(text).unwrap()];
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| serde_json::from_str(data.trim()).ok())
        .collect()
}

/// The reasons to finish that a client reads.
pub fn finishes(objects: &[Value]) -> Vec<String> {
    let choices = objects
        .iter()
        .flat_map(|o| o["choices"].as_array().cloned().unwrap_or_default());
    let chat = choices.filter_map(|choice| choice["finish_reason"].as_str().map(str::to_owned));
    let messages = objects.iter().filter_map(|o| {
        o["stop_reason"]
            .as_str()
            .or(o["delta"]["stop_reason"].as_str())
            .map(str::to_owned)
    });
    chat.chain(messages).collect()
}

/// All text and all arguments of tools, from either dialect.
pub fn said(objects: &[Value]) -> (String, String) {
    let (mut text, mut arguments) = (String::new(), String::new());
    let mut add = |value: &Value, to_text: bool| {
        if let Some(piece) = value.as_str() {
            if to_text {
                text.push_str(piece)
            } else {
                arguments.push_str(piece)
            }
        }
    };
    // Tools that the provider itself runs are not the client's to call.
    let mut own = std::collections::BTreeSet::new();
    for object in objects {
        if object["content_block"]["type"] == "tool_use" {
            own.insert(object["index"].as_u64());
            let whole = &object["content_block"]["input"];
            if whole.as_object().is_some_and(|input| !input.is_empty()) {
                add(&Value::from(whole.to_string()), false);
            }
        }
        let choice = &object["choices"][0];
        for message in [&choice["delta"], &choice["message"]] {
            add(&message["content"], true);
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                add(&call["function"]["arguments"], false);
            }
        }
        for block in object["content"].as_array().into_iter().flatten() {
            if block["type"] == "text" {
                add(&block["text"], true);
            }
            if block["type"] == "tool_use" {
                add(&Value::from(block["input"].to_string()), false);
            }
        }
        add(&object["delta"]["text"], true);
        if object["type"] == "content_block_start" {
            add(&object["content_block"]["text"], true);
        }
        if own.contains(&object["index"].as_u64()) {
            add(&object["delta"]["partial_json"], false);
        }
    }
    let compact = |text: &str| {
        text.chars()
            .filter(|c| !c.is_whitespace())
            .collect::<String>()
    };
    (text, compact(&arguments))
}
