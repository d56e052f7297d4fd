//! Writes a whole answer as a `chat.completion`.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::wire::{Completion, CompletionChoice, Message, Place, UsageBody, finish_reason, place};
use crate::dialect::answer::{Head, Settings};
use crate::dialect::fold::{Answer, Choice, Part, PartKind};
use crate::dialect::{other, wire};
use crate::event::{Failure, ModelEvent};

/// See [`crate::dialect::Dialect::render_body`].
pub fn render(settings: &Settings, events: &[ModelEvent]) -> Result<Vec<u8>, Failure> {
    let mut answer = Answer::of(events, settings.same_dialect)?;
    if answer.choices.is_empty() {
        answer.choices.insert(0, Choice::default());
    }
    let head = Head::new(settings, "chatcmpl-", answer.start.as_ref());
    let mut members = Map::new();
    let mut choices = Vec::new();
    for (index, choice) in &answer.choices {
        choices.push(written(*index, choice, &mut members));
    }
    let completion = Completion {
        id: &head.id,
        object: "chat.completion",
        created: head.created,
        model: &head.model,
        members: &members,
        choices,
        usage: answer.usage.as_ref().map(UsageBody::of),
    };
    let mut out = Vec::new();
    wire::json(&mut out, &completion);
    Ok(out)
}

/// One choice; what belongs to the answer as a whole is added to `answer`.
fn written(index: u32, choice: &Choice, answer: &mut Map<String, Value>) -> CompletionChoice {
    let mut written = CompletionChoice {
        index,
        message: message(choice),
        logprobs: None,
        finish_reason: finish_reason(choice.reason()),
        members: Map::new(),
    };
    let mut foreign_calls = Value::Null;
    let others = choice.parts.iter().flat_map(|part| &part.others);
    for event in others.filter(|event| other::redacted_thinking(event).is_none()) {
        let Some(value) = other::value(event) else {
            continue;
        };
        let name = event.kind.clone();
        match place(&name) {
            Place::Answer => _ = answer.insert(name, value),
            Place::Choice => _ = written.members.insert(name, value),
            Place::Logprobs => {
                other::merge(written.logprobs.get_or_insert(Value::Null), value);
            }
            Place::Calls => join_calls(&mut foreign_calls, value),
            Place::Message => other::merge_member(&mut written.message.members, &name, value),
            Place::Nowhere => {}
        }
    }
    if let Value::Array(mut calls) = foreign_calls {
        for call in calls.iter_mut().filter_map(Value::as_object_mut) {
            call.shift_remove("index");
        }
        written.message.tool_calls.extend(calls);
    }
    written
}

/// Joins calls that are not of functions by the upstream's index. Those that
/// have none are whole.
fn join_calls(calls: &mut Value, entries: Value) {
    if calls.is_null() {
        *calls = Value::Array(Vec::new());
    }
    let (Value::Array(calls), Value::Array(entries)) = (calls, entries) else {
        return;
    };
    for entry in entries {
        let same = |call: &&mut Value| entry["index"].is_u64() && call["index"] == entry["index"];
        match (calls.iter_mut().find(same), entry) {
            (Some(Value::Object(call)), Value::Object(mut entry)) => {
                for fixed in ["index", "id", "type"] {
                    entry.remove(fixed);
                }
                let pieces = entry.into_iter();
                pieces.for_each(|(name, value)| other::merge_member(call, &name, value));
            }
            (_, entry) => calls.push(entry),
        }
    }
}

fn message(choice: &Choice) -> Message {
    let call = |(id, name, arguments)| {
        let function = json!({"name": name, "arguments": whole_arguments(arguments)});
        json!({"id": id, "type": "function", "function": function})
    };
    // Silence is an empty text; beside anything else it is null.
    let silent = choice.parts.iter().all(|part| part.kind == PartKind::Other);
    Message {
        role: "assistant",
        content: choice.joined(&PartKind::Text).or(silent.then(String::new)),
        refusal: choice.joined(&PartKind::Refusal),
        reasoning_content: choice
            .joined(&PartKind::Reasoning)
            .filter(|text| !text.is_empty()),
        thinking_blocks: choice.parts.iter().flat_map(thinking_blocks).collect(),
        tool_calls: choice.calls().map(call).collect(),
        members: Map::new(),
    }
}

/// A call without arguments has an empty object, because clients parse what is
/// there (vercel/ai#10867). What is malformed stays as it is.
fn whole_arguments(arguments: &str) -> Cow<'_, str> {
    let silent = arguments.trim().is_empty();
    if silent {
        Cow::Owned(format!("{arguments}{{}}"))
    } else {
        Cow::Borrowed(arguments)
    }
}

/// The entries of `thinking_blocks` that a part gives: the hub's addition that
/// carries signed reasoning.
fn thinking_blocks(part: &Part) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !part.signature.is_empty() {
        let (thinking, signature) = (&part.text, &part.signature);
        blocks.push(json!({"type": "thinking", "thinking": thinking, "signature": signature}));
    }
    blocks.extend(part.others.iter().filter_map(other::redacted_thinking));
    blocks
}
