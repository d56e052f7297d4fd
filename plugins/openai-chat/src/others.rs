//! Members that events cannot express, on their way to clients that speak the
//! same dialect.

use serde_json::{Map, Value};

use crate::model::{ModelEvent, Other};

/// How many members are remembered; what comes beyond is told each time.
const MAX_TOLD: usize = 256;

/// Which values members had when they were last told. Servers repeat
/// `system_fingerprint`, `provider` and the like in every chunk of a stream.
#[derive(Clone, Debug, Default)]
pub struct Told(Vec<(String, String)>);

impl Told {
    /// Tells of each member that says something, and has not said it before.
    pub fn tell(
        &mut self,
        members: Map<String, Value>,
        at: (u32, u32),
        events: &mut Vec<ModelEvent>,
    ) {
        for (name, value) in members
            .into_iter()
            .filter(|(_, value)| says_something(value))
        {
            let json = value.to_string();
            let is_full = self.0.len() >= MAX_TOLD;
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, last)) if *last == json => continue,
                Some((_, last)) => last.clone_from(&json),
                None if is_full => {}
                None => self.0.push((name.clone(), json.clone())),
            }
            events.push(other(at, name, json));
        }
    }
}

/// Tells of each member that says something.
pub fn tell_all(members: Map<String, Value>, at: (u32, u32), events: &mut Vec<ModelEvent>) {
    for (name, value) in members
        .into_iter()
        .filter(|(_, value)| says_something(value))
    {
        events.push(other(at, name, value.to_string()));
    }
}

/// What is in no other event; `at` is the choice and the part.
pub fn other(at: (u32, u32), kind: String, json: String) -> ModelEvent {
    let (choice, part) = at;
    ModelEvent::Other(Other {
        choice,
        part,
        kind,
        json,
    })
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}
