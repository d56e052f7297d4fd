//! What `other` events mean in an answer whose upstream speaks messages too.
//!
//! A decoder names what it could not express by one of these kinds:
//! - a server-sent event about a block, `content_block_start`,
//!   `content_block_delta` or `content_block_stop`, with the event's JSON; its
//!   `index` is replaced by ours;
//! - another server-sent event, with its JSON, whose `type` is the same;
//! - the name of a member of the message (`container`), with its value.
//!
//! `redacted_thinking` comes from every dialect, since the hub has it too.

use serde_json::{Map, Value};

use crate::dialect::other;
use crate::event::Other;

/// What an `other` event is.
#[derive(Debug, PartialEq)]
pub enum Foreign {
    /// A content block begins; later deltas may add to it.
    Block(Value),
    /// Something is added to a block.
    Delta(Value),
    /// A block ends.
    Stop,
    /// An event of a kind that is newer than this code.
    Event(Value),
    /// Members of the message.
    Members(Map<String, Value>),
    /// Nothing that can be written.
    Nothing,
}

/// Members of a message that events express already.
const OURS: [&str; 8] = [
    "id",
    "type",
    "role",
    "model",
    "content",
    "stop_reason",
    "stop_sequence",
    "usage",
];

impl Foreign {
    /// `same_dialect` is whether the upstream speaks messages.
    pub fn of(event: &Other, same_dialect: bool) -> Self {
        if let Some(block) = other::redacted_thinking(event) {
            return Self::Block(block);
        }
        let Some(value) = other::value(event).filter(|_| same_dialect) else {
            return Self::Nothing;
        };
        let kind = event.kind.as_str();
        match kind {
            "content_block_start" => {
                take(value, "content_block").map_or(Self::Nothing, Self::Block)
            }
            "content_block_delta" => take(value, "delta").map_or(Self::Nothing, Self::Delta),
            "content_block_stop" => Self::Stop,
            "message_start" | "message_delta" | "message_stop" | "ping" | "error" => Self::Nothing,
            _ if OURS.contains(&kind) => Self::Nothing,
            // It goes where line breaks end a name.
            _ if value.get("type").is_some_and(|named| named == kind) => {
                match kind.bytes().all(|byte| byte.is_ascii_graphic()) {
                    true => Self::Event(value),
                    false => Self::Nothing,
                }
            }
            _ => Self::Members(Map::from_iter([(kind.to_owned(), value)])),
        }
    }
}

impl Foreign {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Self::Block(value) | Self::Delta(value) | Self::Event(value) => value.to_string().len(),
            Self::Stop | Self::Nothing | Self::Members(_) => 0,
        }
    }
}

fn take(mut value: Value, member: &str) -> Option<Value> {
    value
        .get_mut(member)
        .map(Value::take)
        .filter(Value::is_object)
}
