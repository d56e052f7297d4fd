//! A chat request in the hub dialect ("openai.chat"), as far as an echo needs
//! to understand it. Members that it does not know are passed over.

use serde::Deserialize;
use serde_json::Value;

use crate::palisade::plugin::types::{Denial, DenialKind};

#[derive(Debug, Deserialize)]
pub struct Chat {
    pub messages: Vec<Message>,
    #[serde(default)]
    pub tools: Option<Vec<Tool>>,
    #[serde(default)]
    pub tool_choice: Option<Value>,
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    #[serde(default)]
    pub response_format: Option<Value>,
    #[serde(default)]
    stop: Option<Stop>,
}

#[derive(Debug, Deserialize)]
pub struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Value>),
}

/// Tools that are no functions have no `function`, and are never called.
#[derive(Debug, Deserialize)]
pub struct Tool {
    #[serde(default)]
    pub function: Option<Function>,
}

#[derive(Debug, Deserialize)]
pub struct Function {
    pub name: String,
    /// A JSON Schema; none for a function without parameters.
    #[serde(default)]
    pub parameters: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// Reads a request body.
pub fn parse(body: &[u8]) -> Result<Chat, Denial> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body is not a chat request: {error}");
        crate::denial(DenialKind::InvalidRequest, "request.malformed", message)
    })
}

impl Chat {
    /// What the user said last; none if no user said anything.
    pub fn last_user_text(&self) -> Option<String> {
        let message = self
            .messages
            .iter()
            .rfind(|message| message.role == "user")?;
        Some(message.text())
    }

    /// The results of tools at the end of the conversation, in order: the
    /// tool's name, if it can be told, and what it returned.
    pub fn tool_results(&self) -> Vec<(Option<&str>, String)> {
        let is_result = |message: &&Message| message.role == "tool";
        let count = self.messages.iter().rev().take_while(is_result).count();
        let results = &self.messages[self.messages.len() - count..];
        results
            .iter()
            .map(|message| (self.tool_name(message), message.text()))
            .collect()
    }

    /// The name of the tool that was called by the call a result belongs to.
    fn tool_name(&self, result: &Message) -> Option<&str> {
        let id = result.tool_call_id.as_deref()?;
        let calls = self
            .messages
            .iter()
            .rev()
            .filter_map(|message| message.tool_calls.as_ref());
        calls.flatten().find(|call| call["id"] == id)?["function"]["name"].as_str()
    }

    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.tools
            .iter()
            .flatten()
            .filter_map(|tool| tool.function.as_ref())
    }

    /// The stop sequences; empty ones are passed over.
    pub fn stops(&self) -> impl Iterator<Item = &str> {
        let stops = match &self.stop {
            None => &[],
            Some(Stop::One(stop)) => std::slice::from_ref(stop),
            Some(Stop::Several(stops)) => stops.as_slice(),
        };
        stops
            .iter()
            .map(String::as_str)
            .filter(|stop| !stop.is_empty())
    }
}

impl Message {
    /// The texts of the message, a line each; a part that is not text stands
    /// as its type in brackets.
    fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                parts.iter().map(part_text).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

fn part_text(part: &Value) -> String {
    match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text") | None, Some(text)) => text.to_owned(),
        (kind, _) => format!("[{}]", kind.unwrap_or("unknown part")),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_last_user_text_is_found() {
        let cases = [
            (r#"[]"#, None),
            (r#"[{"role": "system", "content": "s"}]"#, None),
            (
                r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": null}]"#,
                Some("a"),
            ),
            (
                r#"[{"role": "user", "content": "a"}, {"role": "user", "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:"}}, {"text": "here"}, 7]}]"#,
                Some("look\n[image_url]\nhere\n[unknown part]"),
            ),
        ];
        for (messages, expected) in cases {
            let chat = parse(format!(r#"{{"messages": {messages}}}"#).as_bytes()).unwrap();
            assert_eq!(chat.last_user_text().as_deref(), expected, "{messages}");
        }
    }

    #[test]
    fn results_at_the_end_are_named() {
        let chat = parse(
            br#"{"messages": [
                {"role": "assistant", "tool_calls": [
                    {"id": "1", "function": {"name": "one"}}, {"id": "2", "function": {"name": "two"}}]},
                {"role": "tool", "tool_call_id": "2", "content": "II"},
                {"role": "tool", "tool_call_id": "9", "content": [{"type": "text", "text": "IX"}]}
            ]}"#,
        )
        .unwrap();
        let results = chat.tool_results();
        assert_eq!(results, [(Some("two"), "II".into()), (None, "IX".into())]);
    }

    #[test]
    fn what_is_no_chat_is_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"messages": "hi"}"#,
            r#"{"messages": [{"content": "a"}]}"#,
        ] {
            assert_eq!(
                parse(body.as_bytes()).unwrap_err().reason,
                "request.malformed"
            );
        }
    }
}
