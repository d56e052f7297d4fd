//! The answer to a chat request, as model events.
//!
//! * A conversation that ends with results of tools: `NAME said: RESULT`, a
//!   line for each.
//! * `response_format` of `json_object`: `{"echo": "what the user said"}`; of
//!   `json_schema`: the smallest instance of the schema.
//! * Otherwise the configured prefix and what the user said last. A part that
//!   is not text stands as its type in brackets.
//! * Calls of tools: see `tools.rs`.
//!
//! Stop sequences cut a text off, and the limit of output tokens counts its
//! words, and those of the arguments of tool calls (cut after `,` and `:`).

use serde_json::json;

use crate::chat::Chat;
use crate::hash::hash;
use crate::palisade::plugin::model::{
    Finish, FinishReason, Fragment, ModelEvent, Start, ToolCall, Usage,
};
use crate::palisade::plugin::types::{Denial, DenialKind};
use crate::tools::Call;
use crate::{schema, tools, words};

/// OpenAI's own limit of `n`.
const MAX_CHOICES: u32 = 128;

const GREETING: &str = "Hello! This gateway works. Say something, and you will hear it again.";

/// What the host knows about a request besides its body.
pub struct Asked {
    /// The exchange's identifier.
    pub id: String,
    pub model: Option<String>,
    pub choices: u32,
    pub max_tokens: Option<u64>,
    /// Words in all texts of the request.
    pub input_tokens: u64,
}

/// All events of the answer: the texts of all choices, then usage, then how
/// each choice ended.
pub fn answer(chat: &Chat, asked: &Asked, prefix: &str) -> Result<Vec<ModelEvent>, Denial> {
    if asked.choices > MAX_CHOICES {
        let message = format!("n is {}, and may be {MAX_CHOICES} at most", asked.choices);
        return Err(crate::denial(
            DenialKind::InvalidRequest,
            "request.malformed",
            message,
        ));
    }
    let calls = tools::calls(chat)?;
    let (text, stop) = cut(text(chat, prefix), chat.stops());

    let mut events = vec![ModelEvent::Start(Start {
        id: Some(format!("echo-{}", asked.id)),
        model: asked.model.clone(),
        created: None,
    })];
    let mut finishes = Vec::new();
    let mut output_tokens = 0;
    for choice in 0..asked.choices.max(1) {
        let mut writer = Writer {
            choice,
            left: asked.max_tokens.unwrap_or(u64::MAX),
            events,
        };
        let reason = if calls.is_empty() {
            writer.text(&text)
        } else {
            writer.calls(&calls, &asked.id)
        };
        output_tokens += asked.max_tokens.unwrap_or(u64::MAX) - writer.left;
        events = writer.events;
        let stop_sequence = stop.clone().filter(|_| reason == FinishReason::Stop);
        finishes.push(ModelEvent::Finish(Finish {
            choice,
            reason,
            stop_sequence,
        }));
    }
    events.push(ModelEvent::Usage(Usage {
        input_tokens: Some(asked.input_tokens),
        output_tokens: Some(output_tokens),
        cache_read_tokens: None,
        cache_write_tokens: None,
        reasoning_tokens: None,
    }));
    events.extend(finishes);
    Ok(events)
}

/// What there is to say.
fn text(chat: &Chat, prefix: &str) -> String {
    let said = chat.last_user_text().unwrap_or_default();
    let format = chat.response_format.as_ref();
    let schema = format.and_then(|format| format.pointer("/json_schema/schema"));
    match format.and_then(|format| format["type"].as_str()) {
        Some("json_schema") => {
            return schema.map_or(json!({}), schema::instance).to_string();
        }
        Some("json_object") => return json!({ "echo": said }).to_string(),
        _ => {}
    }
    let results = chat.tool_results();
    if !results.is_empty() {
        let line = |(name, result): &(Option<&str>, String)| {
            format!("{} said: {result}", name.unwrap_or("The tool"))
        };
        return results.iter().map(line).collect::<Vec<_>>().join("\n");
    }
    if said.is_empty() {
        GREETING.to_owned()
    } else {
        format!("{prefix}{said}")
    }
}

/// The text before the first of the stop sequences, and which one it was.
fn cut<'a>(mut text: String, stops: impl Iterator<Item = &'a str>) -> (String, Option<String>) {
    let first = stops
        .filter_map(|stop| Some((text.find(stop)?, stop)))
        .min();
    let Some((index, stop)) = first else {
        return (text, None);
    };
    text.truncate(index);
    (text, Some(stop.to_owned()))
}

/// Writes one choice, and counts its tokens.
struct Writer {
    choice: u32,
    /// Tokens that may still be written.
    left: u64,
    events: Vec<ModelEvent>,
}

impl Writer {
    fn text(&mut self, text: &str) -> FinishReason {
        for word in words::split(text) {
            if !self.take() {
                return FinishReason::Length;
            }
            self.events.push(ModelEvent::Text(self.fragment(0, word)));
        }
        FinishReason::Stop
    }

    fn calls(&mut self, calls: &[Call], id: &str) -> FinishReason {
        for (part, call) in (0_u32..).zip(calls) {
            let choice = self.choice;
            // Providers refuse identifiers that are long or have other
            // characters than letters, digits, `_` and `-`; a conversation may
            // move to one of them.
            let id = format!("call_{:016x}", hash(&format!("{id}/{choice}/{part}")));
            let name = call.name.clone();
            self.events.push(ModelEvent::ToolCall(ToolCall {
                choice,
                part,
                id,
                name,
            }));
            for piece in call.arguments.split_inclusive([',', ':']) {
                if !self.take() {
                    return FinishReason::Length;
                }
                self.events
                    .push(ModelEvent::ToolArguments(self.fragment(part, piece)));
            }
        }
        FinishReason::ToolCalls
    }

    /// Takes one token of those that are left.
    fn take(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    fn fragment(&self, part: u32, text: &str) -> Fragment {
        Fragment {
            choice: self.choice,
            part,
            text: text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
