//! A stream, put together as SDKs do it, is the whole answer.

use serde_json::{Map, Value, json};

use super::*;

/// Puts a chat stream together: texts joined, calls by their index.
fn joined_chat(stream: &str) -> Value {
    let mut whole = json!({"choices": {}});
    for frame in frames(stream)
        .into_iter()
        .filter(|frame| *frame != "[DONE]")
    {
        let chunk: Value = serde_json::from_str(frame).unwrap();
        for choice in chunk["choices"].as_array().unwrap() {
            let index = choice["index"].to_string();
            let joined = &mut whole["choices"][index.as_str()];
            join(joined, &choice["delta"]);
            if !choice["finish_reason"].is_null() {
                assert!(
                    joined.get("finish_reason").is_none(),
                    "a second reason in {stream}"
                );
                joined["finish_reason"] = choice["finish_reason"].clone();
            }
        }
        if chunk["usage"].is_object() {
            whole["usage"] = chunk["usage"].clone();
        }
    }
    whole
}

/// What OpenAI's Python SDK does with a delta (`accumulate_delta`).
fn join(joined: &mut Value, delta: &Value) {
    for (name, value) in delta.as_object().unwrap() {
        match (&mut joined[name], value) {
            (known @ Value::Null, Value::Array(entries)) => {
                *known = json!([]);
                join_entries(known, entries);
            }
            (known @ Value::Null, value) => *known = value.clone(),
            (Value::String(known), Value::String(more)) if !["type", "id"].contains(&&**name) => {
                known.push_str(more);
            }
            (known @ Value::Array(_), Value::Array(entries)) => join_entries(known, entries),
            (known @ Value::Object(_), value) => join(known, value),
            (known, value) => *known = value.clone(),
        }
    }
}

fn join_entries(known: &mut Value, entries: &[Value]) {
    let known = known.as_array_mut().unwrap();
    for entry in entries {
        let index = entry["index"].as_u64().unwrap() as usize;
        if index == known.len() {
            known.push(json!({}));
        }
        join(&mut known[index], entry);
    }
}

/// The same view of a whole chat answer.
fn chat_view(body: &Value) -> Value {
    let mut whole = json!({"choices": {}, "usage": body["usage"]});
    for choice in body["choices"].as_array().unwrap() {
        let mut view = choice["message"].clone();
        let members = view.as_object_mut().unwrap();
        members.retain(|_, value| !value.is_null());
        for list in ["tool_calls", "thinking_blocks"] {
            let entries = members.get_mut(list).and_then(Value::as_array_mut);
            for (index, entry) in entries.into_iter().flatten().enumerate() {
                entry["index"] = json!(index);
            }
        }
        view["finish_reason"] = choice["finish_reason"].clone();
        whole["choices"][choice["index"].to_string()] = view;
    }
    whole
}

/// Puts a messages stream together.
fn joined_message(stream: &str) -> Value {
    let (mut message, mut open, mut input) = (json!({}), None, String::new());
    for frame in frames(stream) {
        let event: Value = serde_json::from_str(frame).unwrap();
        let content = |message: &Value| message["content"].as_array().map_or(0, Vec::len);
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                assert_eq!(open, None, "two blocks are open in {stream}");
                assert_eq!(event["index"], json!(content(&message)), "in {stream}");
                open = event["index"].as_u64();
                let blocks = message["content"].as_array_mut().unwrap();
                blocks.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(open, event["index"].as_u64(), "in {stream}");
                let block = message["content"]
                    .as_array_mut()
                    .unwrap()
                    .last_mut()
                    .unwrap();
                for (name, value) in event["delta"].as_object().unwrap() {
                    match name.as_str() {
                        "type" => {}
                        "partial_json" => input.push_str(value.as_str().unwrap()),
                        "signature" => block[name] = value.clone(),
                        _ => {
                            let text = block[name].as_str().unwrap().to_owned();
                            block[name] = json!(text + value.as_str().unwrap());
                        }
                    }
                }
            }
            "content_block_stop" => {
                assert_eq!(open.take(), event["index"].as_u64(), "in {stream}");
                let block = message["content"]
                    .as_array_mut()
                    .unwrap()
                    .last_mut()
                    .unwrap();
                if !input.is_empty() {
                    block["input"] = serde_json::from_str(&input).unwrap();
                    input.clear();
                }
            }
            "message_delta" => {
                let delta = event["delta"].as_object().unwrap().clone();
                message.as_object_mut().unwrap().extend(delta);
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => assert_eq!(open, None, "in {stream}"),
            kind => panic!("{kind} in {stream}"),
        }
    }
    message
}

/// Answers with parts whose fragments interleave in every way that a small
/// generator of pseudo-random numbers comes upon.
fn answers() -> Vec<Vec<ModelEvent>> {
    let mut state = 0x2545_f491_u64;
    let mut below = move |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut answers = Vec::new();
    for _ in 0..300 {
        let mut waiting: Vec<Vec<ModelEvent>> = Vec::new();
        let kinds: Vec<usize> = (0..below(5)).map(|_| below(4)).collect();
        for (part, kind) in kinds.iter().enumerate() {
            let part = part as u32;
            let mut events = match kind {
                0 => vec![text(part, "a "), text(part, "é"), text(part, "\"b\n")],
                1 => vec![
                    thought(part, "x"),
                    thought(part, "y"),
                    signature(part, "sig"),
                ],
                2 => vec![call(part, &format!("id{part}"), "f")],
                _ => {
                    let head = call(part, &format!("id{part}"), "g");
                    let json = [r#"{"k":"#, r#""}\""#, r#"",""#, r#"":[{}]}"#];
                    let fragments = json.iter().map(|json| arguments(part, json));
                    [head].into_iter().chain(fragments).collect()
                }
            };
            events.reverse();
            waiting.push(events);
        }
        // Calls and reasoning interleave with anything; texts come as they do.
        let mut events = vec![start()];
        let mut begun = 0;
        while waiting.iter().any(|events| !events.is_empty()) {
            let at = below((begun + 1).min(waiting.len()));
            begun = begun.max(at + 1);
            let burst = if kinds[at] < 2 {
                usize::MAX
            } else {
                1 + below(2)
            };
            for _ in 0..burst.min(waiting[at].len()) {
                events.extend(waiting[at].pop());
            }
        }
        events.push(cached_usage());
        events.push(finish(FinishReason::Length));
        answers.push(events);
    }
    answers
}

#[test]
fn a_chat_stream_is_the_whole_answer() {
    for events in answers() {
        let stream = streamed("openai.chat", settings(), &events);
        let body = whole("openai.chat", &settings(), &events);
        let mut joined = joined_chat(&stream);
        for (_, choice) in joined["choices"].as_object_mut().unwrap() {
            choice
                .as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
        }
        assert_eq!(joined, chat_view(&body), "{events:?}");
    }
}

#[test]
fn a_message_stream_is_the_whole_answer() {
    for events in answers() {
        let stream = streamed("anthropic.messages", settings(), &events);
        let body = whole("anthropic.messages", &settings(), &events);
        assert_eq!(joined_message(&stream), body, "{events:?}");
    }
}

#[test]
fn calls_that_interleave_are_put_right() {
    for events in answers() {
        let body = whole("anthropic.messages", &settings(), &events);
        for block in body["content"].as_array().unwrap() {
            let expected = match block["name"].as_str() {
                Some("g") => json!({"k": "}\"", "": [{}]}),
                Some(_) => Value::Object(Map::new()),
                None => continue,
            };
            assert_eq!(block["input"], expected, "{events:?}");
        }
    }
}
