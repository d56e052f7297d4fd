//! One of the choices of an answer: its parts, in the order in which they
//! begin, and how it ends.

use serde_json::{Map, Value};

use crate::calls::{Calls, Delta, Place};
use crate::failure;
use crate::model::{Failure, Finish, FinishReason, Fragment, ModelEvent};
use crate::others::{Told, other, tell_all};

#[derive(Clone, Debug)]
pub struct Choice {
    index: u32,
    /// The number that the next part gets.
    next_part: u32,
    /// The part of text that is being written.
    current: Option<(Kind, u32)>,
    /// Where signatures belong that come without their text.
    reasoning_part: Option<u32>,
    calls: Calls,
    finished: bool,
    told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Reasoning,
    Refusal,
}

impl Choice {
    pub fn new(index: u32) -> Self {
        Choice {
            index,
            next_part: 0,
            current: None,
            reasoning_part: None,
            calls: Calls::default(),
            finished: false,
            told: Told::default(),
        }
    }

    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Takes in an entry of `choices`, of a chunk or of a whole answer.
    ///
    /// # Errors
    ///
    /// The failure that it tells of.
    pub fn take(
        &mut self,
        mut entry: Map<String, Value>,
        answer: &str,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Failure> {
        let delta = entry.remove("delta");
        let message = entry.remove("message");
        entry.remove("index");
        let reason = entry.remove("finish_reason");
        // OpenRouter tells so of a provider that failed in mid-answer.
        let error = entry.remove("error").filter(|error| !error.is_null());

        if let Some(Value::Object(delta)) = delta {
            self.message(delta, false, answer, events);
        }
        if let Some(Value::Object(message)) = message {
            self.message(message, true, answer, events);
        }
        if let Some(error) = error {
            return Err(failure::in_band(&error));
        }
        if self.calls.are_too_many() {
            return Err(failure::malformed("too many tool calls"));
        }
        // vLLM and SGLang name the stop sequence that was met, or its number.
        let stop = ["stop_reason", "matched_stop"]
            .into_iter()
            .find_map(|name| {
                entry
                    .get(name)?
                    .as_str()
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned)
            });
        entry.remove("stop_reason");
        entry.remove("matched_stop");
        self.members(entry, events);
        match reason.as_ref().and_then(Value::as_str) {
            None | Some("") => Ok(()),
            Some(reason) => self.finish(reason, stop, answer, events),
        }
    }

    /// The answer is over: makes a reason if none was given.
    pub fn close(&mut self, answer: &str, events: &mut Vec<ModelEvent>) {
        self.calls.close(self.place(answer), events);
        if !self.finished {
            self.end(FinishReason::Stop, None, events);
        }
    }

    fn finish(
        &mut self,
        reason: &str,
        stop: Option<String>,
        answer: &str,
        events: &mut Vec<ModelEvent>,
    ) -> Result<(), Failure> {
        let reason = match reason {
            // Mistral and OpenRouter; DeepSeek ran out of resources.
            "error" | "insufficient_system_resource" => {
                return Err(failure::ended_by_failure(reason));
            }
            // Mistral says which limit.
            "length" | "max_tokens" | "model_length" => FinishReason::Length,
            "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
            "content_filter" | "safety" | "refusal" => FinishReason::ContentFilter,
            "pause_turn" => FinishReason::Pause,
            _ => FinishReason::Stop,
        };
        self.calls.close(self.place(answer), events);
        // Servers repeat the reason, with the usage for instance.
        if !self.finished {
            self.end(reason, stop, events);
        }
        Ok(())
    }

    fn end(&mut self, reason: FinishReason, stop: Option<String>, events: &mut Vec<ModelEvent>) {
        self.finished = true;
        let reason = match reason {
            FinishReason::Stop if !self.calls.is_empty() => FinishReason::ToolCalls,
            reason => reason,
        };
        let stop_sequence = stop.filter(|_| reason == FinishReason::Stop);
        events.push(ModelEvent::Finish(Finish {
            choice: self.index,
            reason,
            stop_sequence,
        }));
    }

    /// A `delta` or a `message`.
    fn message(
        &mut self,
        mut message: Map<String, Value>,
        whole: bool,
        answer: &str,
        events: &mut Vec<ModelEvent>,
    ) {
        message.remove("role");
        self.reasoning(&mut message, whole, events);
        match message.remove("content") {
            Some(Value::String(text)) => self.write(Kind::Text, text, events),
            Some(Value::Array(parts)) => {
                for part in parts {
                    self.content_part(part, events);
                }
            }
            _ => {}
        }
        if let Some(Value::String(text)) = message.remove("refusal") {
            self.write(Kind::Refusal, text, events);
        }
        if let Some(Value::Array(entries)) = message.remove("tool_calls") {
            for entry in entries {
                if self.calls.are_too_many() {
                    break;
                }
                self.tool_call(&entry, whole, answer, events);
            }
        }
        if let Some(function @ Value::Object(_)) = message.remove("function_call") {
            self.call(Delta::of_function(&function), whole, answer, events);
        }
        tell_all(message, (self.index, self.last_part()), events);
    }

    /// What the model thought: `reasoning_content` (DeepSeek, xAI),
    /// `reasoning` (Cerebras, Groq, OpenRouter), which some servers send both,
    /// and the hub's `thinking_blocks`, which repeat it and are signed.
    fn reasoning(
        &mut self,
        message: &mut Map<String, Value>,
        whole: bool,
        events: &mut Vec<ModelEvent>,
    ) {
        let mut text = String::new();
        for name in ["reasoning_content", "reasoning"] {
            if message.get(name).is_some_and(Value::is_string)
                && let Some(Value::String(found)) = message.remove(name)
                && text.is_empty()
            {
                text = found;
            }
        }
        let blocks = match message.remove("thinking_blocks") {
            Some(Value::Array(blocks)) => blocks,
            _ => vec![],
        };
        // In a whole message the blocks say which text each signature is for.
        let told_by_blocks = blocks.iter().any(|block| {
            block["thinking"]
                .as_str()
                .is_some_and(|thinking| !thinking.is_empty())
        }) && (whole || (text.is_empty() && self.reasoning_part.is_none()));
        if !told_by_blocks {
            self.write(Kind::Reasoning, text, events);
        }
        for block in &blocks {
            self.thinking_block(block, told_by_blocks, events);
        }
    }

    fn thinking_block(&mut self, block: &Value, with_text: bool, events: &mut Vec<ModelEvent>) {
        if block["type"] == "redacted_thinking" {
            self.current = None;
            let part = self.begin_part();
            events.push(other(
                (self.index, part),
                "redacted_thinking".into(),
                block.to_string(),
            ));
            return;
        }
        if with_text && let Some(text) = block["thinking"].as_str() {
            self.write(Kind::Reasoning, text.to_owned(), events);
        }
        if let Some(signature) = block["signature"].as_str() {
            self.sign(signature, events);
        }
    }

    /// A signature ends the part of reasoning that it signs.
    fn sign(&mut self, signature: &str, events: &mut Vec<ModelEvent>) {
        if signature.is_empty() {
            return;
        }
        let part = self.reasoning_part.unwrap_or_else(|| self.begin_part());
        let fragment = Fragment {
            choice: self.index,
            part,
            text: signature.to_owned(),
        };
        events.push(ModelEvent::ReasoningSignature(fragment));
        if self.current == Some((Kind::Reasoning, part)) {
            self.current = None;
        }
    }

    /// A part of content that is an array, as Mistral sends it.
    fn content_part(&mut self, part: Value, events: &mut Vec<ModelEvent>) {
        let kind = part["type"].as_str().unwrap_or("text");
        match (kind, &part["text"], &part["thinking"], &part["refusal"]) {
            ("text", Value::String(text), ..) => self.write(Kind::Text, text.clone(), events),
            ("refusal", _, _, Value::String(text)) => {
                self.write(Kind::Refusal, text.clone(), events);
            }
            ("thinking", _, thinking, _) => {
                self.write(Kind::Reasoning, joined_text(thinking), events);
                self.sign(part["signature"].as_str().unwrap_or_default(), events);
            }
            _ => {
                let at = (self.index, self.last_part());
                events.push(other(at, kind.to_owned(), part.to_string()));
            }
        }
    }

    fn tool_call(
        &mut self,
        entry: &Value,
        whole: bool,
        answer: &str,
        events: &mut Vec<ModelEvent>,
    ) {
        // A custom tool takes text, and arguments are JSON.
        if entry["custom"].is_object() {
            let json = Value::Array(vec![entry.clone()]).to_string();
            events.push(other(
                (self.index, self.last_part()),
                "tool_calls".into(),
                json,
            ));
        } else {
            self.call(Delta::of_call(entry), whole, answer, events);
        }
    }

    fn call(&mut self, delta: Delta, whole: bool, answer: &str, events: &mut Vec<ModelEvent>) {
        let place = self.place(answer);
        let began = if whole {
            self.calls.take_whole(delta, place, events);
            true
        } else {
            self.calls.take(delta, place, events)
        };
        if began {
            self.begin_part();
            self.current = None;
        }
    }

    /// Members beside the message, such as `logprobs`.
    fn members(&mut self, mut entry: Map<String, Value>, events: &mut Vec<ModelEvent>) {
        let at = (self.index, self.last_part());
        // These are of the chunk's own tokens, and equal by chance at most.
        if let Some(logprobs) = entry.remove("logprobs") {
            tell_all(
                Map::from_iter([("logprobs".to_owned(), logprobs)]),
                at,
                events,
            );
        }
        self.told.tell(entry, at, events);
    }

    fn write(&mut self, kind: Kind, text: String, events: &mut Vec<ModelEvent>) {
        if text.is_empty() {
            return;
        }
        let part = match self.current {
            Some((current, part)) if current == kind => part,
            _ => self.begin_part(),
        };
        self.current = Some((kind, part));
        let fragment = Fragment {
            choice: self.index,
            part,
            text,
        };
        events.push(match kind {
            Kind::Text => ModelEvent::Text(fragment),
            Kind::Refusal => ModelEvent::Refusal(fragment),
            Kind::Reasoning => {
                self.reasoning_part = Some(part);
                ModelEvent::Reasoning(fragment)
            }
        });
    }

    fn begin_part(&mut self) -> u32 {
        self.next_part += 1;
        self.next_part - 1
    }

    fn last_part(&self) -> u32 {
        self.next_part.saturating_sub(1)
    }

    fn place<'a>(&self, answer: &'a str) -> Place<'a> {
        Place {
            choice: self.index,
            next_part: self.next_part,
            answer,
        }
    }
}

/// The text of Mistral's `thinking`: a string, or parts of type text.
fn joined_text(thinking: &Value) -> String {
    match thinking {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
