//! What the parts work on: a request of about 10 KB, and a stream.

use bytes::Bytes;
use palisade::event::{Finish, FinishReason, Fragment, ModelEvent, Start};
use serde_json::json;

/// How many fragments of text the stream has.
const FRAGMENTS: usize = 48;

/// A chat of twenty turns.
pub fn request() -> Bytes {
    let text = "The gate lets in whoever has a reason to be there, and asks \"why\" of others.\n";
    let turn = |index: usize| {
        let role = if index.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        json!({"role": role, "content": text.repeat(6)})
    };
    let messages: Vec<_> = (0..20).map(turn).collect();
    let body = json!({"model": "gpt-4o", "max_tokens": 256, "stream": true, "messages": messages});
    body.to_string().into()
}

/// The stream as OpenAI's server-sent events.
pub fn stream() -> Vec<u8> {
    let event = |delta: serde_json::Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason});
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk",
            "created": 1_700_000_000, "model": "gpt-4o", "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    let mut text = event(json!({"role": "assistant", "content": ""}), None);
    text.extend((0..FRAGMENTS).map(|_| event(json!({"content": " palisade"}), None)));
    text.push_str(&event(json!({}), Some("stop")));
    text.push_str("data: [DONE]\n\n");
    text.into_bytes()
}

/// The stream as model events.
pub fn events() -> Vec<ModelEvent> {
    let start = Start {
        id: Some("chatcmpl-1".to_owned()),
        model: Some("gpt-4o".to_owned()),
        created: Some(1_700_000_000),
    };
    let fragment = || {
        ModelEvent::Text(Fragment {
            choice: 0,
            part: 0,
            text: " palisade".to_owned(),
        })
    };
    let mut events = vec![ModelEvent::Start(start)];
    events.extend((0..FRAGMENTS).map(|_| fragment()));
    events.push(ModelEvent::Finish(Finish {
        choice: 0,
        reason: FinishReason::Stop,
        stop_sequence: None,
    }));
    events
}
