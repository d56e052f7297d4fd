//! What `other` events hold: JSON in the words of one dialect, which goes back
//! to clients of that dialect as it came.

use serde_json::{Map, Value};

use crate::event::Other;

/// The JSON of an `other` event; none if it is not JSON, which no dialect can
/// carry.
pub fn value(other: &Other) -> Option<Value> {
    serde_json::from_str(&other.json).ok()
}

/// The block `redacted_thinking` that the event holds, whether as the block
/// itself or as the server-sent event that opens it.
///
/// It is the one kind of `other` that the hub has a place for
/// (`thinking_blocks`): a provider wants it back with the next turn.
pub fn redacted_thinking(other: &Other) -> Option<Value> {
    // The test of the text spares parsing what is something else.
    if !other.json.contains("redacted_thinking") {
        return None;
    }
    let mut value = value(other)?;
    if other.kind == "content_block_start" {
        value = value.get_mut("content_block")?.take();
    }
    (value.get("type")? == "redacted_thinking").then_some(value)
}

/// Merges a later value of a member into an earlier one, as clients of
/// OpenAI's streams do: texts and arrays are joined, objects are merged member
/// by member, and of anything else the later one counts.
pub fn merge(earlier: &mut Value, later: Value) {
    match (earlier, later) {
        (_, Value::Null) => {}
        (Value::Array(all), Value::Array(more)) => all.extend(more),
        (Value::String(all), Value::String(more)) => all.push_str(&more),
        (Value::Object(all), Value::Object(more)) => {
            more.into_iter()
                .for_each(|(name, value)| merge_member(all, &name, value));
        }
        (earlier, later) => *earlier = later,
    }
}

/// Merges a value into the member of an object.
pub fn merge_member(object: &mut Map<String, Value>, name: &str, value: Value) {
    match object.get_mut(name) {
        Some(earlier) => merge(earlier, value),
        None => _ = object.insert(name.to_owned(), value),
    }
}
