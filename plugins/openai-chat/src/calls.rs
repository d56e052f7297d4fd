//! The tool calls of one choice: which of them a delta belongs to.
//!
//! OpenAI gives each call an index, and its name and identifier once. Others
//! repeat them on each delta (bifrost#3443), send index 0 for every call
//! (litellm#5231), no index at all, no identifier, or interleave the arguments
//! of several calls (ruby_llm#710).

use serde_json::Value;

use crate::model::{Fragment, ModelEvent, ToolCall};

#[derive(Clone, Debug, Default)]
pub struct Calls(Vec<Call>);

#[derive(Clone, Debug)]
struct Call {
    index: Option<u64>,
    /// Empty if the server gave none.
    id: String,
    /// Empty until it comes.
    name: String,
    part: u32,
    /// Whether the call has been told of, which needs its name.
    begun: bool,
    /// All that has come, told of or not.
    arguments: String,
}

/// What one entry of `tool_calls` says; empty where it says nothing.
#[derive(Debug, Default)]
pub struct Delta {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// Where the calls are, for the events about them.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub choice: u32,
    /// The part that a call that begins now will have.
    pub next_part: u32,
    /// The identifier of the answer, of which those of calls are made if the
    /// server gave none.
    pub answer: &'a str,
}

impl Delta {
    /// An entry of `tool_calls`.
    pub fn of_call(entry: &Value) -> Self {
        let mut delta = Delta::of_function(&entry["function"]);
        delta.index = entry["index"].as_u64();
        delta.id = entry["id"].as_str().unwrap_or_default().to_owned();
        delta
    }

    /// What `function` holds, or `function_call`, as the only call of an
    /// answer was named before November 2023.
    pub fn of_function(function: &Value) -> Self {
        let arguments = match &function["arguments"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            // Some servers send the value where its text is expected.
            value => value.to_string(),
        };
        let name = function["name"].as_str().unwrap_or_default().to_owned();
        Delta {
            name,
            arguments,
            ..Delta::default()
        }
    }

    /// Whether this is not more of `call`, although it has its index or none.
    fn begins_after(&self, call: &Call) -> bool {
        let renamed = !self.name.is_empty() && !call.name.is_empty() && self.name != call.name;
        match (self.id.is_empty(), call.id.is_empty()) {
            (false, false) => self.id != call.id && !self.name.is_empty(),
            (false, true) => renamed,
            // The name of a call is not repeated once its arguments are whole:
            // that is another call of the same tool.
            _ => renamed || (!self.name.is_empty() && call.is_whole()),
        }
    }
}

/// The most calls of a choice.
const MAX_CALLS: usize = 1024;

/// The longest arguments that are looked at for their end, in bytes.
const MAX_LOOKED_AT: usize = 256 << 10;

impl Call {
    /// Not looked at beyond `MAX_LOOKED_AT`: it is asked for each delta of a
    /// server that repeats the name in all of them.
    fn is_whole(&self) -> bool {
        let arguments = self.arguments.trim_end();
        let may_end = arguments.len() <= MAX_LOOKED_AT && !arguments.is_empty();
        may_end && serde_json::from_str::<serde::de::IgnoredAny>(&self.arguments).is_ok()
    }
}

impl Calls {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are more than any answer has.
    pub fn are_too_many(&self) -> bool {
        self.0.len() > MAX_CALLS
    }

    /// Takes in a delta of a stream, and returns whether a call began with it.
    pub fn take(&mut self, delta: Delta, place: Place, events: &mut Vec<ModelEvent>) -> bool {
        let known = self.position(&delta);
        self.add(known, delta, place, events);
        known.is_none()
    }

    /// Takes in a call of a whole answer, where each entry is a call.
    pub fn take_whole(&mut self, delta: Delta, place: Place, events: &mut Vec<ModelEvent>) {
        self.add(None, delta, place, events);
    }

    /// Tells of calls whose name never came.
    pub fn close(&mut self, place: Place, events: &mut Vec<ModelEvent>) {
        for number in 0..self.0.len() {
            if !self.0[number].begun {
                self.begin(number, place, events);
            }
        }
    }

    /// The call that a delta adds to; none if it begins one.
    fn position(&self, delta: &Delta) -> Option<usize> {
        let calls = &self.0;
        let candidate = match delta.index {
            Some(_) => calls.iter().rposition(|call| call.index == delta.index),
            None if delta.id.is_empty() => calls.len().checked_sub(1),
            None => return calls.iter().rposition(|call| call.id == delta.id),
        };
        candidate.filter(|&number| !delta.begins_after(&calls[number]))
    }

    fn add(
        &mut self,
        known: Option<usize>,
        delta: Delta,
        place: Place,
        events: &mut Vec<ModelEvent>,
    ) {
        let number = known.unwrap_or_else(|| {
            self.0.push(Call {
                index: delta.index,
                id: String::new(),
                name: String::new(),
                part: place.next_part,
                begun: false,
                arguments: String::new(),
            });
            self.0.len() - 1
        });
        let call = &mut self.0[number];
        if call.id.is_empty() {
            call.id = delta.id;
        }
        if call.name.is_empty() {
            call.name = delta.name;
        }
        call.arguments.push_str(&delta.arguments);
        if call.begun {
            let part = call.part;
            arguments(place.choice, part, delta.arguments, events);
        } else if !call.name.is_empty() {
            self.begin(number, place, events);
        }
    }

    fn begin(&mut self, number: usize, place: Place, events: &mut Vec<ModelEvent>) {
        let call = &mut self.0[number];
        call.begun = true;
        let id = match call.id.as_str() {
            "" => made_up_id(place, number),
            id => id.to_owned(),
        };
        let (choice, part, name) = (place.choice, call.part, call.name.clone());
        events.push(ModelEvent::ToolCall(ToolCall {
            choice,
            part,
            id,
            name,
        }));
        arguments(choice, part, call.arguments.clone(), events);
    }
}

fn arguments(choice: u32, part: u32, text: String, events: &mut Vec<ModelEvent>) {
    if !text.is_empty() {
        events.push(ModelEvent::ToolArguments(Fragment { choice, part, text }));
    }
}

/// An identifier that is this call's in a whole conversation, of letters,
/// digits and `_`, and at most 40 of them, as providers demand.
fn made_up_id(place: Place, number: usize) -> String {
    let answer: Vec<char> = place
        .answer
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .rev()
        .take(16)
        .collect();
    let answer: String = answer.into_iter().rev().collect();
    format!("call_{answer}_{}_{number}", place.choice)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Calls, Delta, Place};
    use crate::model::ModelEvent;

    /// Each call as `name(arguments)`, in the order of their parts.
    fn calls(deltas: &[Value]) -> Vec<String> {
        let mut calls = Calls::default();
        let mut events = Vec::new();
        let mut next_part = 0;
        for delta in deltas {
            let place = Place {
                choice: 0,
                next_part,
                answer: "a-1",
            };
            next_part += u32::from(calls.take(Delta::of_call(delta), place, &mut events));
        }
        calls.close(
            Place {
                choice: 0,
                next_part,
                answer: "a-1",
            },
            &mut events,
        );
        let mut told: Vec<(String, String)> = vec![Default::default(); next_part as usize];
        for event in events {
            match event {
                ModelEvent::ToolCall(call) => told[call.part as usize].0 = call.name,
                ModelEvent::ToolArguments(piece) => told[piece.part as usize].1 += &piece.text,
                _ => unreachable!(),
            }
        }
        told.into_iter()
            .map(|(name, arguments)| format!("{name}({arguments})"))
            .collect()
    }

    fn head(index: u64, id: &str, name: &str) -> Value {
        json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}})
    }

    fn more(index: u64, arguments: &str) -> Value {
        json!({"index": index, "function": {"arguments": arguments}})
    }

    #[test]
    fn deltas_find_their_call() {
        let cases: Vec<(&str, Vec<Value>, Vec<&str>)> = vec![
            (
                "as OpenAI sends them",
                vec![
                    head(0, "a", "f"),
                    more(0, "{"),
                    more(0, "}"),
                    head(1, "b", "g"),
                    more(1, "[]"),
                ],
                vec!["f({})", "g([])"],
            ),
            (
                "interleaved",
                vec![
                    head(0, "a", "f"),
                    head(1, "b", "g"),
                    more(1, "[1"),
                    more(0, "{"),
                    more(1, "]"),
                    more(0, "}"),
                ],
                vec!["f({})", "g([1])"],
            ),
            (
                "id, type and name on each delta",
                vec![
                    head(0, "a", "f"),
                    json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}),
                    json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "}"}}),
                ],
                vec!["f({})"],
            ),
            (
                "all indexes 0",
                vec![
                    head(0, "a", "f"),
                    more(0, "{}"),
                    head(0, "b", "f"),
                    more(0, "[]"),
                ],
                vec!["f({})", "f([])"],
            ),
            (
                "no index",
                vec![
                    json!({"id": "a", "function": {"name": "f", "arguments": "{}"}}),
                    json!({"id": "b", "function": {"name": "f", "arguments": "["}}),
                    json!({"function": {"arguments": "]"}}),
                    json!({"id": "a", "function": {"arguments": " "}}),
                ],
                vec!["f({} )", "f([])"],
            ),
            (
                "index 0 and no id, each call whole",
                vec![
                    json!({"index": 0, "id": "", "function": {"name": "f", "arguments": "{\"a\":1}"}}),
                    json!({"index": 0, "id": "", "function": {"name": "f", "arguments": "{\"a\":2}"}}),
                    json!({"index": 0, "id": "", "function": {"name": "g", "arguments": "{}"}}),
                ],
                vec![r#"f({"a":1})"#, r#"f({"a":2})"#, "g({})"],
            ),
            (
                "name repeated without an id",
                vec![
                    json!({"function": {"name": "f", "arguments": "{\"a\""}}),
                    json!({"function": {"name": "f", "arguments": ":1}"}}),
                ],
                vec![r#"f({"a":1})"#],
            ),
            (
                "id after the name",
                vec![
                    json!({"index": 0, "function": {"name": "f"}}),
                    json!({"index": 0, "id": "a", "function": {"arguments": "{}"}}),
                ],
                vec!["f({})"],
            ),
            (
                "name after the arguments",
                vec![
                    more(0, "{"),
                    json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}}),
                ],
                vec!["f({})"],
            ),
            ("no name at all", vec![more(3, "{}")], vec!["({})"]),
            (
                "no arguments",
                vec![head(0, "a", "f"), json!({"index": 0, "function": null})],
                vec!["f()"],
            ),
            (
                "arguments that are no text",
                vec![json!({"id": "a", "function": {"name": "f", "arguments": {"a": 1}}})],
                vec![r#"f({"a":1})"#],
            ),
            (
                "arguments that are no JSON",
                vec![head(0, "a", "f"), more(0, "{oops")],
                vec!["f({oops)"],
            ),
        ];
        for (name, deltas, expected) in cases {
            assert_eq!(calls(&deltas), expected, "{name}");
        }
    }

    #[test]
    fn missing_ids_are_made_up() {
        let mut events = Vec::new();
        let place = Place {
            choice: 1,
            next_part: 0,
            answer: "chatcmpl-0123456789abcdef-xyz",
        };
        let function = json!({"function": {"name": "f"}});
        let mut calls = Calls::default();
        calls.take_whole(Delta::of_call(&function), place, &mut events);
        calls.take_whole(Delta::of_call(&function), place, &mut events);
        let ids: Vec<_> = events
            .into_iter()
            .map(|event| match event {
                ModelEvent::ToolCall(call) => call.id,
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(
            ids,
            ["call_3456789abcdefxyz_1_0", "call_3456789abcdefxyz_1_1"]
        );
    }
}
