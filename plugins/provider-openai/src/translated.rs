//! A request that the host translated from another dialect: what the hub has
//! in addition to OpenAI's dialect, and OpenAI refuses, is taken out.
//!
//! * `thinking_blocks` and `reasoning_content` of messages, `thinking` and
//!   `top_k` of the request, and the `is_error` of tool messages are removed
//!   and reported, the first of each kind. `thinking` is not reported if
//!   `reasoning_effort` says the same.
//! * `cache_control` is removed without a word: OpenAI caches by itself.
//! * Images and files in the results of tools move to a user message
//!   (`openai_chat::tool_media`).

use openai_chat::tool_media;
use serde_json::Value;

/// What a server may take although OpenAI does not, by the configuration.
pub const EXTENSIONS: [&str; 5] = [
    "reasoning_content",
    "thinking_blocks",
    "cache_control",
    "thinking",
    "top_k",
];

/// Takes out all that is not among `kept`, and returns pointers to what is
/// lost by it.
pub fn clean(body: &mut Value, kept: &[String]) -> Vec<String> {
    let mut cleaner = Cleaner {
        kept,
        dropped: Vec::new(),
    };
    let has_effort = body
        .get("reasoning_effort")
        .is_some_and(|effort| !effort.is_null());
    if cleaner
        .take(body, "thinking")
        .is_some_and(|thinking| thinking["type"] != "disabled")
        && !has_effort
    {
        cleaner.report("thinking", "/thinking".into());
    }
    if cleaner.take(body, "top_k").is_some() {
        cleaner.report("top_k", "/top_k".into());
    }
    if let Some(Value::Array(tools)) = body.get_mut("tools") {
        for tool in tools {
            cleaner.take(tool, "cache_control");
            if let Some(function) = tool.get_mut("function") {
                cleaner.take(function, "cache_control");
            }
        }
    }
    if let Some(Value::Array(messages)) = body.get_mut("messages") {
        for (index, message) in messages.iter_mut().enumerate() {
            cleaner.message(index, message);
        }
        tool_media::move_to_user(messages);
    }
    cleaner
        .dropped
        .into_iter()
        .map(|(_, pointer)| pointer)
        .collect()
}

struct Cleaner<'a> {
    kept: &'a [String],
    /// Each kind of loss, and a pointer to the first.
    dropped: Vec<(&'static str, String)>,
}

impl Cleaner<'_> {
    fn message(&mut self, index: usize, message: &mut Value) {
        for name in ["thinking_blocks", "reasoning_content"] {
            if self.take(message, name).is_some() {
                self.report("reasoning", format!("/messages/{index}/{name}"));
            }
        }
        if self.take(message, "is_error") == Some(Value::Bool(true)) {
            self.report("is_error", format!("/messages/{index}/is_error"));
        }
        self.take(message, "cache_control");
        for part in message
            .get_mut("content")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            self.take(part, "cache_control");
        }
        for call in message
            .get_mut("tool_calls")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            self.take(call, "cache_control");
        }
    }

    /// Removes a member that the server refuses; none if it is not there.
    fn take(&self, from: &mut Value, name: &str) -> Option<Value> {
        if self.kept.iter().any(|kept| kept == name) {
            return None;
        }
        from.as_object_mut()?
            .shift_remove(name)
            .filter(|value| !value.is_null())
    }

    fn report(&mut self, kind: &'static str, pointer: String) {
        if !self.dropped.iter().any(|(known, _)| *known == kind) {
            self.dropped.push((kind, pointer));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::clean;

    fn cleaned(mut body: Value, kept: &[&str]) -> (Value, Vec<String>) {
        let kept: Vec<_> = kept.iter().map(|&name| name.to_owned()).collect();
        let dropped = clean(&mut body, &kept);
        (body, dropped)
    }

    fn extended() -> Value {
        let cache = json!({"type": "ephemeral"});
        json!({
            "model": "m", "top_k": 5, "thinking": {"type": "enabled", "budget_tokens": 2000},
            "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": cache}],
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": cache}]},
                {"role": "assistant", "content": "a", "reasoning_content": "r",
                    "thinking_blocks": [{"type": "thinking", "thinking": "r", "signature": "x"}]},
                {"role": "tool", "tool_call_id": "1", "content": "no", "is_error": true},
            ],
        })
    }

    #[test]
    fn what_openai_refuses_is_taken_out_and_reported_once() {
        let (body, dropped) = cleaned(extended(), &[]);
        assert_eq!(
            body,
            json!({
                "model": "m",
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "messages": [
                    {"role": "system", "content": [{"type": "text", "text": "s"}]},
                    {"role": "assistant", "content": "a"},
                    {"role": "tool", "tool_call_id": "1", "content": "no"},
                ],
            })
        );
        assert_eq!(
            dropped,
            [
                "/thinking",
                "/top_k",
                "/messages/1/thinking_blocks",
                "/messages/2/is_error"
            ]
        );
    }

    #[test]
    fn what_the_server_takes_stays() {
        let kept = [
            "top_k",
            "thinking",
            "cache_control",
            "reasoning_content",
            "thinking_blocks",
        ];
        let (mut body, dropped) = cleaned(extended(), &kept);
        assert_eq!(dropped, ["/messages/2/is_error"]);
        body["messages"][2]["is_error"] = true.into();
        assert_eq!(body, extended());
    }

    #[test]
    fn effort_stands_for_thinking() {
        for (body, reported) in [
            (
                json!({"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
                0,
            ),
            (json!({"thinking": {"type": "disabled"}}), 0),
            (
                json!({"thinking": {"type": "adaptive"}, "reasoning_effort": null}),
                1,
            ),
        ] {
            let (body, dropped) = cleaned(body, &[]);
            assert_eq!(dropped.len(), reported, "{body}");
            assert!(body.get("thinking").is_none());
        }
    }

    #[test]
    fn bodies_of_any_shape_are_survived() {
        for body in [
            json!(null),
            json!([1]),
            json!({"messages": [1, null, {"content": 3}], "tools": [2]}),
        ] {
            let (cleaned, dropped) = cleaned(body.clone(), &[]);
            assert_eq!((cleaned, dropped.len()), (body, 0));
        }
    }
}
