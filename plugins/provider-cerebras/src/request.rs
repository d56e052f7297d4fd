//! The members of a request: which go to Cerebras, under which names, and
//! which cannot.
//!
//! Cerebras answers a member that it does not know with 400
//! (huggingface/huggingface.js#2268), so only those it knows are sent. What is
//! left out is reported, unless it asked for nothing.

use serde_json::{Map, Value};

use crate::config::Config;
use crate::{messages, tools};

/// What Cerebras takes.
///
/// Not `frequency_penalty`, `presence_penalty`, `logit_bias` and
/// `service_tier`: its page on OpenAI compatibility says that they are
/// answered with 400, while its newer reference lists them. Where they work,
/// `allow` lets them through.
const MEMBERS: [&str; 25] = [
    "clear_thinking",
    "disable_reasoning",
    "logprobs",
    "max_completion_tokens",
    "messages",
    "min_completion_tokens",
    "min_tokens",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "reasoning_effort",
    "reasoning_format",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
];

/// A request that is not sent.
#[derive(Debug)]
pub struct Refusal {
    /// Stable and machine-readable.
    pub reason: &'static str,
    /// For the caller.
    pub message: String,
}

impl Refusal {
    pub fn unsupported(message: String) -> Self {
        Refusal {
            reason: "request.unsupported",
            message,
        }
    }
}

/// Pointers to what the client asked for and Cerebras is not told.
#[derive(Debug, Default)]
pub struct Dropped(Vec<String>);

impl Dropped {
    pub fn report(&mut self, pointer: impl Into<String>) {
        self.0.push(pointer.into());
    }

    pub fn into_pointers(self) -> Vec<String> {
        self.0
    }
}

/// A request in the form that Cerebras takes.
#[derive(Debug)]
pub struct Adapted {
    /// The body; none if it had that form already.
    pub body: Option<Vec<u8>>,
    pub dropped: Vec<String>,
}

/// Adapts a body in the hub dialect.
pub fn adapt(body: &[u8], config: &Config) -> Result<Adapted, Refusal> {
    let malformed = |what: String| Refusal {
        reason: "request.malformed",
        message: format!("the body is not a chat request: {what}"),
    };
    let before: Value =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let Value::Object(mut request) = before.clone() else {
        return Err(malformed("expected an object".into()));
    };
    let mut dropped = Dropped::default();
    messages::adapt(&mut request, &mut dropped)?;
    tools::adapt(&mut request, config, &mut dropped);
    rename(&mut request);
    stream_options(&mut request);
    request.retain(|name, value| {
        let goes =
            MEMBERS.contains(&name.as_str()) || config.allow.iter().any(|allowed| allowed == name);
        if !goes && !asks_for_nothing(name, value) {
            // RFC 6901 writes ~ and / within a name as ~0 and ~1.
            dropped.report(format!("/{}", name.replace('~', "~0").replace('/', "~1")));
        }
        goes && !(value.is_null() && name != "messages")
    });
    let after = Value::Object(request);
    // Not by `Display`, which takes every piece through a formatter.
    let write = || serde_json::to_vec(&after).map_err(|error| malformed(error.to_string()));
    let body = if after == before {
        None
    } else {
        Some(write()?)
    };
    Ok(Adapted {
        body,
        dropped: dropped.into_pointers(),
    })
}

/// Leaves those members that are named, and that are not null unless that is
/// a value of theirs.
pub fn keep_only(members: &mut Map<String, Value>, names: &[&str]) {
    members.retain(|name, value| {
        names.contains(&name.as_str()) && !(value.is_null() && name != "content")
    });
}

/// `max_tokens` is the older name of `max_completion_tokens`, and efforts that
/// Cerebras has no word for are the nearest that it has.
fn rename(request: &mut Map<String, Value>) {
    if let Some(limit) = request
        .shift_remove("max_tokens")
        .filter(|limit| !limit.is_null())
    {
        let newer = request
            .entry("max_completion_tokens")
            .or_insert(Value::Null);
        if newer.is_null() {
            *newer = limit;
        }
    }
    let effort = match request.get("reasoning_effort").and_then(Value::as_str) {
        Some("minimal") => "low",
        Some("xhigh" | "max") => "high",
        _ => return,
    };
    request.insert("reasoning_effort".into(), effort.into());
}

/// Options of a stream that is not asked for are refused, and of those of one
/// that is only `include_usage` is known.
fn stream_options(request: &mut Map<String, Value>) {
    let is_stream = request.get("stream") == Some(&Value::Bool(true));
    if let Some(Value::Object(options)) = request.get_mut("stream_options") {
        keep_only(options, &["include_usage"]);
        if options.is_empty() || !is_stream {
            request.shift_remove("stream_options");
        }
    }
}

/// Whether leaving the member out makes no difference: it has the value that
/// it has by default, or another member says the same.
fn asks_for_nothing(name: &str, value: &Value) -> bool {
    match (name, value) {
        (_, Value::Null) => true,
        ("frequency_penalty" | "presence_penalty", number) => number.as_f64() == Some(0.0),
        ("logit_bias" | "metadata", Value::Object(members)) => members.is_empty(),
        ("store", flag) => flag == &Value::Bool(false),
        ("service_tier", tier) => tier == "auto" || tier == "default",
        ("verbosity", level) => level == "medium",
        ("modalities", kinds) => kinds == &Value::from(vec!["text"]),
        ("thinking", thinking) => thinking["type"] == "disabled",
        // Only says where Cerebras should cache, which it does by itself.
        ("cache_control" | "prompt_cache_retention" | "safety_identifier", _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::adapt;
    use crate::config::Config;

    /// The body, and what is reported.
    fn adapted(body: &Value, config: &Config) -> (Value, Vec<String>) {
        let adapted = adapt(body.to_string().as_bytes(), config).unwrap();
        let body = adapted
            .body
            .map_or(body.clone(), |body| serde_json::from_slice(&body).unwrap());
        (body, adapted.dropped)
    }

    #[test]
    fn only_known_members_go() {
        let cases = [
            (
                json!({"max_tokens": 5}),
                json!({"max_completion_tokens": 5}),
                vec![],
            ),
            (
                json!({"max_tokens": 5, "max_completion_tokens": 6}),
                json!({"max_completion_tokens": 6}),
                vec![],
            ),
            (
                json!({"frequency_penalty": 0.5, "presence_penalty": 0, "logit_bias": {"1": 2}}),
                json!({}),
                vec!["/frequency_penalty", "/logit_bias"],
            ),
            (
                json!({"store": false, "service_tier": "auto", "metadata": {"a": "b"}, "top_k": 4}),
                json!({}),
                vec!["/metadata", "/top_k"],
            ),
            (
                json!({"thinking": {"type": "enabled"}, "x/y": 1}),
                json!({}),
                { vec!["/thinking", "/x~1y"] },
            ),
            (
                json!({"temperature": null, "user": "u"}),
                json!({"user": "u"}),
                vec![],
            ),
            (
                json!({"reasoning_effort": "xhigh", "clear_thinking": false}),
                json!({"reasoning_effort": "high", "clear_thinking": false}),
                vec![],
            ),
            (
                json!({"stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false}}),
                json!({"stream": true, "stream_options": {"include_usage": true}}),
                vec![],
            ),
            (
                json!({"stream_options": {"include_usage": true}}),
                json!({}),
                vec![],
            ),
        ];
        for (body, expected, reported) in cases {
            assert_eq!(
                adapted(&body, &Config::default()),
                (expected, reported.into_iter().map(str::to_owned).collect()),
                "{body}"
            );
        }
        let allowing = Config {
            allow: vec!["logit_bias".into()],
            ..Config::default()
        };
        let body = json!({"logit_bias": {"1": 2}});
        assert_eq!(adapted(&body, &allowing), (body, vec![]));
    }

    #[test]
    fn a_body_that_needs_nothing_is_left_alone() {
        let body = br#"{"messages": [ {"role":"user", "content":"hi"} ], "model":"m", "temperature":1.00}"#;
        let adapted = adapt(body, &Config::default()).unwrap();
        assert_eq!(adapted.body, None);
        assert!(adapted.dropped.is_empty());
    }

    #[test]
    fn order_is_kept() {
        let body = br#"{"model":"m","z":1,"messages":[{"role":"developer","content":"s"}],"n":1}"#;
        let adapted = adapt(body, &Config::default()).unwrap();
        let expected = r#"{"model":"m","messages":[{"role":"system","content":"s"}],"n":1}"#;
        assert_eq!(String::from_utf8(adapted.body.unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for body in ["", "[]", "{"] {
            let refusal = adapt(body.as_bytes(), &Config::default()).unwrap_err();
            assert_eq!(refusal.reason, "request.malformed");
        }
    }
}
