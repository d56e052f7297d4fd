//! The client's request in the hub dialect, member by member.
//!
//! Every module of the request side *takes* the members that it translates, so
//! that whatever nobody took is known at the end, and reported instead of lost
//! ([`Hub::into_report`]).

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// How many pointers are reported at most: they travel in a header field, and
/// a long conversation may repeat the same one in each of its messages.
const MAX_DROPPED: usize = 32;

/// What is left of the request, and what could not be carried over so far.
#[derive(Debug)]
pub struct Hub {
    members: Map<String, Value>,
    /// What there is to tell so far.
    pub report: Report,
}

/// What the translation has to tell besides the body.
#[derive(Debug, Default)]
pub struct Report {
    /// RFC 6901 pointers to what the client asked for and Anthropic is not told.
    pub dropped: Vec<String>,
    /// Beta features without which Anthropic does not understand the body.
    pub betas: Vec<&'static str>,
}

impl Report {
    /// Notes that something was left out or changed.
    pub fn drop(&mut self, pointer: impl Into<String>) {
        let pointer = pointer.into();
        if self.dropped.len() < MAX_DROPPED && !self.dropped.contains(&pointer) {
            self.dropped.push(pointer);
        }
    }

    /// Notes that the body needs a beta feature.
    pub fn need(&mut self, beta: &'static str) {
        if !self.betas.contains(&beta) {
            self.betas.push(beta);
        }
    }
}

impl Hub {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self {
                members,
                report: Report::default(),
            }),
            Ok(_) => Err(Refusal::malformed("", "expected a JSON object")),
            Err(error) => Err(Refusal::malformed("", &format!("not JSON: {error}"))),
        }
    }

    /// A member; none if it is absent or null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members
            .shift_remove(name)
            .filter(|value| !value.is_null())
    }

    /// A member that must be a string.
    pub fn take_text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(expected(name, "a string")),
        }
    }

    /// A member that must be a boolean.
    pub fn take_bool(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(expected(name, "true or false")),
        }
    }

    /// A member that must be an array.
    pub fn take_list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(expected(name, "an array")),
        }
    }

    /// A member that must be a number.
    pub fn take_number(&mut self, name: &str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        value
            .as_f64()
            .map(Some)
            .ok_or_else(|| expected(name, "a number"))
    }

    /// A whole number of at least 1. `100.0` is one: some languages have no
    /// other way to write it.
    pub fn take_count(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let whole = |number: &f64| number.fract() == 0.0 && *number > 0.0 && *number < 1e15;
        let count = value
            .as_u64()
            .or_else(|| value.as_f64().filter(whole).map(|n| n as u64));
        match count {
            Some(count) if count > 0 => Ok(Some(count)),
            _ => Err(expected(name, "a whole number of at least 1")),
        }
    }

    /// The report, completed by every member that nobody took and that asks
    /// for something.
    pub fn into_report(mut self) -> Report {
        for (name, value) in &self.members {
            if !asks_for_nothing(name, value) {
                self.report.drop(format!("/{}", escape(name)));
            }
        }
        self.report
    }
}

/// Whether leaving the member out makes no difference: it has the value that
/// it has by default, or only concerns how the host answers.
fn asks_for_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag && matches!(name, "logprobs" | "store"),
        Value::Number(number) => {
            let neutral = ["frequency_penalty", "presence_penalty", "top_logprobs"];
            neutral.contains(&name) && number.as_f64() == Some(0.0)
        }
        Value::String(text) => text.is_empty() || (name == "verbosity" && text == "medium"),
        Value::Array(list) => list.is_empty() || (name == "modalities" && list == &["text"]),
        // `stream_options` is the host's business, who writes the stream.
        Value::Object(members) => members.is_empty() || name == "stream_options",
    }
}

fn expected(name: &str, what: &str) -> Refusal {
    Refusal::malformed(&format!("/{}", escape(name)), &format!("expected {what}"))
}

/// RFC 6901 writes `~` and `/` within a name as `~0` and `~1`.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
