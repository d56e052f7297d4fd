//! One answer of an OpenAI-compatible server, from its frames to model events.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::choice::Choice;
use crate::failure;
use crate::model::{Failure, ModelEvent, Start, Usage};
use crate::others::Told;
use crate::repeated::Repeated;
use crate::usage::usage;

/// The most choices of an answer; OpenAI allows 128.
const MAX_CHOICES: usize = 1024;

/// Decodes one answer: a stream of chunks, a whole body, or an error.
#[derive(Clone, Debug)]
pub struct Decoder {
    status: u16,
    streamed: bool,
    /// Whether a stream may end without `[DONE]`.
    ends_at_finish_reason: bool,
    phase: Phase,
    /// The identifier of the answer, once `start` has been told.
    answer: Option<String>,
    /// What came before the identifier: Azure's first chunk.
    held: Vec<ModelEvent>,
    choices: BTreeMap<u32, Choice>,
    usage: Option<Usage>,
    told: Told,
    repeated: Repeated,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Open,
    /// It is whole, or it failed; nothing follows.
    Over,
}

impl Decoder {
    /// For an answer with this status; `streamed` says whether each frame is a
    /// chunk of a stream, or the one frame a whole body.
    pub fn new(status: u16, streamed: bool) -> Self {
        Decoder {
            status,
            streamed,
            ends_at_finish_reason: false,
            phase: Phase::Open,
            answer: None,
            held: vec![],
            choices: BTreeMap::new(),
            usage: None,
            told: Told::default(),
            repeated: Repeated::default(),
        }
    }

    /// For a server that never sends `[DONE]`: a stream is whole when each of
    /// its choices has a finish reason. One that is cut off between that and
    /// the usage then goes unnoticed.
    pub fn ends_at_finish_reason(&mut self, yes: bool) {
        self.ends_at_finish_reason = yes;
    }

    /// The events of one frame: its name, if it has one, and its data.
    pub fn push(&mut self, name: Option<&str>, data: &[u8]) -> Vec<ModelEvent> {
        if let Some(events) = self.repeated(data) {
            return events;
        }
        let mut events = Vec::new();
        if self.phase == Phase::Open {
            let data = data.trim_ascii();
            let taken = self.take(name, data, &mut events);
            self.fail_if(taken, &mut events);
            if self.streamed {
                self.repeated.learn(data, &events);
            }
        }
        events
    }

    /// The events of a frame that repeats the last one but for the text of its
    /// one event, which is none if the text is empty; none if it does not.
    pub fn repeated(&mut self, data: &[u8]) -> Option<Vec<ModelEvent>> {
        if self.phase == Phase::Over {
            return None;
        }
        let event = self.repeated.read(data.trim_ascii())?;
        Some(event.into_iter().collect())
    }

    /// Ends an answer that says what no server means to.
    pub fn fail(&mut self, what: &str) -> Vec<ModelEvent> {
        let mut events = Vec::new();
        if self.phase == Phase::Open {
            self.fail_if(Err(failure::malformed(what)), &mut events);
        }
        events
    }

    /// Makes the next chunk be read, whether it repeats the last one or not.
    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        self.repeated = Repeated::default();
    }

    /// The events that remain when the answer is over. If it was cut off, that
    /// is an error.
    pub fn finish(&mut self) -> Vec<ModelEvent> {
        let mut events = Vec::new();
        if self.phase == Phase::Open {
            let ended = self.end(&mut events);
            self.fail_if(ended, &mut events);
        }
        events
    }

    fn fail_if(&mut self, result: Result<(), Failure>, events: &mut Vec<ModelEvent>) {
        if let Err(failure) = result {
            self.phase = Phase::Over;
            events.push(ModelEvent::Error(failure));
        }
    }

    fn take(
        &mut self,
        name: Option<&str>,
        data: &[u8],
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Failure> {
        if !self.is_success() {
            return Err(failure::of_answer(self.status, data));
        }
        if self.streamed && data.is_empty() {
            return Ok(());
        }
        if self.streamed && data == b"[DONE]" {
            self.close(events);
            return Ok(());
        }
        let value: Value = serde_json::from_slice(data).map_err(|error| {
            // Half a body is a connection that broke; half a frame is not,
            // since the host frames what has come whole.
            match !self.streamed && error.is_eof() {
                true => failure::truncated(),
                false => failure::malformed(&format!("what is not JSON: {error}")),
            }
        })?;
        let Value::Object(answer) = value else {
            return Err(failure::in_band(&value));
        };
        self.answer(name, answer, events)?;
        if !self.streamed {
            self.close(events);
        }
        Ok(())
    }

    /// A chunk, or a whole answer.
    fn answer(
        &mut self,
        name: Option<&str>,
        mut answer: Map<String, Value>,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Failure> {
        if answer.get("error").is_some_and(|error| !error.is_null()) {
            if self.answer.is_some() {
                events.extend(self.usage(&mut answer));
            }
            return Err(failure::in_band(&Value::Object(answer)));
        }
        let choices = match answer.remove("choices") {
            Some(Value::Array(choices)) => choices,
            _ => return self.without_choices(name, answer, events),
        };
        self.head(answer, !choices.is_empty(), events);
        for choice in choices {
            if let Value::Object(choice) = choice {
                let index = choice.get("index").and_then(Value::as_u64);
                let index = index
                    .and_then(|index| u32::try_from(index).ok())
                    .unwrap_or(0);
                if self.choices.len() >= MAX_CHOICES && !self.choices.contains_key(&index) {
                    return Err(failure::malformed("too many choices"));
                }
                let known = self
                    .choices
                    .entry(index)
                    .or_insert_with(|| Choice::new(index));
                known.take(choice, self.answer.as_deref().unwrap_or_default(), events)?;
            }
        }
        Ok(())
    }

    /// An object that is no part of an answer: an error that is not wrapped,
    /// or an event of the server's own.
    fn without_choices(
        &mut self,
        name: Option<&str>,
        members: Map<String, Value>,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Failure> {
        let answer = Value::Object(members);
        if name == Some("error") || failure::is_failure(&answer) {
            return Err(failure::in_band(&answer));
        }
        if !self.streamed {
            return Err(failure::malformed("an answer without choices"));
        }
        let kind = name
            .or_else(|| answer["type"].as_str())
            .unwrap_or_default()
            .to_owned();
        match answer {
            // Keep-alives are nobody's message.
            _ if kind == "ping" || kind == "keepalive" => {}
            Value::Object(members) if kind.is_empty() => self.head(members, false, events),
            answer => self.tell(Map::from_iter([(kind, answer)]), events),
        }
        Ok(())
    }

    /// What stands beside the choices. The answer starts with the first chunk
    /// that says which answer it is, or something of it: Azure's first has no
    /// identifier and no choice.
    fn head(
        &mut self,
        mut answer: Map<String, Value>,
        has_choices: bool,
        events: &mut Vec<ModelEvent>,
    ) {
        let mut text = |name: &str| match answer.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let (id, model) = (text("id"), text("model"));
        let created = answer.remove("created").as_ref().and_then(Value::as_f64);
        let usage = self.usage(&mut answer);
        if self.answer.is_none() && (has_choices || id.is_some() || usage.is_some()) {
            let created = created
                .map(|seconds| seconds as u64)
                .filter(|&seconds| seconds > 0);
            self.start(Start { id, model, created }, events);
        }
        events.extend(usage);
        for known in ["object", "type", "obfuscation"] {
            answer.remove(known);
        }
        self.tell(answer, events);
    }

    fn start(&mut self, start: Start, events: &mut Vec<ModelEvent>) {
        self.answer = Some(start.id.clone().unwrap_or_default());
        events.push(ModelEvent::Start(start));
        events.append(&mut self.held);
    }

    /// The usage, if it is there and new.
    fn usage(&mut self, answer: &mut Map<String, Value>) -> Option<ModelEvent> {
        let own = answer.remove("usage").as_ref().and_then(usage);
        // Groq's streams have it here as well, and its older ones only here.
        let found = own.or_else(|| usage(answer.get("x_groq")?.get("usage")?))?;
        (self.usage.replace(found) != Some(found)).then_some(ModelEvent::Usage(found))
    }

    /// Members of the answer itself that no other event has.
    fn tell(&mut self, members: Map<String, Value>, events: &mut Vec<ModelEvent>) {
        let place = if self.answer.is_some() {
            events
        } else {
            &mut self.held
        };
        self.told.tell(members, (0, 0), place);
    }

    /// The answer is whole.
    fn close(&mut self, events: &mut Vec<ModelEvent>) {
        self.phase = Phase::Over;
        if self.answer.is_none() {
            self.start(
                Start {
                    id: None,
                    model: None,
                    created: None,
                },
                events,
            );
        }
        if self.choices.is_empty() {
            self.choices.insert(0, Choice::new(0));
        }
        let answer = self.answer.as_deref().unwrap_or_default();
        for choice in self.choices.values_mut() {
            choice.close(answer, events);
        }
    }

    fn end(&mut self, events: &mut Vec<ModelEvent>) -> Result<(), Failure> {
        if !self.is_success() {
            return Err(failure::of_answer(self.status, b""));
        }
        let finished = !self.choices.is_empty() && self.choices.values().all(Choice::is_finished);
        if self.streamed && self.ends_at_finish_reason && finished {
            self.close(events);
            return Ok(());
        }
        Err(failure::truncated())
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

#[cfg(test)]
mod tests;
