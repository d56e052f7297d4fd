//! Writes a whole answer as one message: what a client would put together from
//! the stream.

use serde_json::{Map, Value, json};

use super::blocks::{Blocks, Piece, Sink};
use super::foreign::Foreign;
use super::stream::{Outcome, is_shown, overflow_error};
use super::wire::{self, Delta};
use crate::dialect::answer::{Head, Settings};
use crate::dialect::fold;
use crate::dialect::other::merge_member;
use crate::event::{Failure, ModelEvent};

/// See [`crate::dialect::Dialect::render_body`].
pub fn render(settings: &Settings, events: &[ModelEvent]) -> Result<Vec<u8>, Failure> {
    let (mut start, mut usage) = (None, None);
    let (mut blocks, mut content) = (Blocks::default(), Content::default());
    let mut outcome = Outcome::default();
    for event in events.iter().filter(|event| is_shown(event)) {
        outcome.event(event);
        let piece = match event {
            ModelEvent::Error(failure) => return Err(failure.clone()),
            ModelEvent::Start(head) => {
                start = start.or(Some(head));
                None
            }
            ModelEvent::Usage(later) => {
                fold::absorb(&mut usage, later);
                None
            }
            ModelEvent::Other(other) => match Foreign::of(other, settings.same_dialect) {
                Foreign::Members(members) => {
                    outcome.members.extend(members);
                    None
                }
                foreign => Some((other.part, Piece::Foreign(foreign))),
            },
            _ => Piece::of(event),
        };
        if let Some((part, piece)) = piece {
            blocks
                .take(part, piece, &mut content)
                .map_err(|_| overflow())?;
        }
    }
    blocks.finish(&mut content).map_err(|_| overflow())?;

    let head = Head::new(settings, "msg_", start);
    let mut message = wire::message(&head, usage.as_ref());
    let (reason, sequence) = outcome.stop();
    message["content"] = Value::Array(content.blocks);
    message["stop_reason"] = json!(reason);
    message["stop_sequence"] = json!(sequence);
    message.extend(outcome.members);
    Ok(Value::Object(message).to_string().into_bytes())
}

fn overflow() -> Failure {
    let error = overflow_error();
    let (status, message) = (error.status, error.message.to_owned());
    Failure {
        status,
        kind: "api_error".to_owned(),
        code: None,
        message,
    }
}

/// Puts blocks together.
#[derive(Debug, Default)]
struct Content {
    blocks: Vec<Value>,
    /// The arguments of the call that is the last block.
    arguments: String,
}

impl Sink for Content {
    fn start(&mut self, _index: usize, block: Value) {
        self.blocks.push(block);
    }

    fn delta(&mut self, _index: usize, delta: Delta<'_>) {
        let Some(Value::Object(block)) = self.blocks.last_mut() else {
            return;
        };
        // Deltas of ours and of the upstream are read alike.
        let Ok(Value::Object(mut delta)) = serde_json::to_value(delta) else {
            return;
        };
        delta.remove("type");
        for (name, value) in delta {
            match (name.as_str(), value) {
                ("partial_json", Value::String(piece)) => self.arguments.push_str(&piece),
                ("citation", citation) => {
                    merge_member(block, "citations", Value::Array(vec![citation]));
                }
                (_, value) => merge_member(block, &name, value),
            }
        }
    }

    fn stop(&mut self, _index: usize) {
        let arguments = std::mem::take(&mut self.arguments);
        if let (Some(Value::Object(block)), false) = (self.blocks.last_mut(), arguments.is_empty())
        {
            block.insert("input".to_owned(), input(&arguments));
        }
    }
}

/// The `input` of a call, which must be an object. What the model wrote stays
/// legible if it is none: malformed or cut off, it stands as `raw`, and is no
/// reason to fail (hermes-agent#107830).
fn input(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(input @ Value::Object(_)) => input,
        _ if arguments.trim().is_empty() => Value::Object(Map::new()),
        _ => json!({"raw": arguments}),
    }
}
