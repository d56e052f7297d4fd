//! Looks at messages that are passed through untouched.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::dialect::Watch;
use crate::dialect::member::{ERROR, Name};

/// How the types begin that tell of the message itself.
static OF_MESSAGE: Name = LazyLock::new(|| Finder::new(r#""message_"#));

/// What is worth knowing of an event or a whole message.
#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "type", default)]
    kind: String,
    /// Of `message_start`.
    #[serde(default)]
    message: Option<Message>,
    /// Of `message_delta`.
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    usage: Option<Usage>,
    /// Of a whole message.
    #[serde(default)]
    stop_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    stop_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// See [`Watch::frame`]. The event's name spares looking at the others; some
/// gateways leave it out, and then the `type` counts (pi#4381).
pub fn frame(watch: &mut Watch, name: Option<&str>, data: &[u8]) {
    let telling = match name {
        Some("message_start" | "message_delta" | "message_stop" | "error") => true,
        Some("content_block_start" | "content_block_delta" | "content_block_stop" | "ping") => {
            false
        }
        _ => OF_MESSAGE.find(data).is_some() || ERROR.find(data).is_some(),
    };
    if !telling {
        return;
    }
    // An event may have a name and no data to speak of.
    watch.terminated |= name == Some("message_stop");
    watch.failed |= name == Some("error");
    learn(watch, data);
}

/// See [`Watch::body`].
pub fn body(watch: &mut Watch, body: &[u8]) {
    watch.terminated = true;
    learn(watch, body);
}

fn learn(watch: &mut Watch, json: &[u8]) {
    let Ok(seen) = serde_json::from_slice::<Seen>(json) else {
        return;
    };
    watch.terminated |= seen.kind == "message_stop";
    watch.failed |= seen.kind == "error";
    let of_delta = seen.delta.is_some_and(|delta| delta.stop_reason.is_some());
    watch.finished |= of_delta || seen.stop_reason.is_some();
    let of_start = seen.message.and_then(|message| message.usage);
    for usage in [of_start, seen.usage].into_iter().flatten() {
        let apart = &mut watch.apart;
        apart.uncached = usage.input_tokens.or(apart.uncached);
        apart.cache_read = usage.cache_read_input_tokens.or(apart.cache_read);
        apart.cache_written = usage.cache_creation_input_tokens.or(apart.cache_written);
        watch.input_tokens = apart.total();
        watch.output_tokens = usage.output_tokens.or(watch.output_tokens);
    }
}
