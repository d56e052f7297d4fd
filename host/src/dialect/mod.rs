//! The dialects that clients speak: what a request says, how it is translated
//! to the hub, and how an answer is written.
//!
//! One implementation of [`Dialect`] holds all that the host knows of a wire
//! format, so a new dialect is one folder and one line in `DIALECTS`. The
//! code is synchronous and pure: bodies come as parsed JSON, answers as model
//! events, and bytes go out. Sockets, framing of what the upstream sends,
//! statuses and headers are the server's; translation between the hub and a
//! provider is an adapter's (`wit/0.1.0/stages.wit`).
//!
//! The *hub* is "openai.chat" with a few additions, which `messages/hub`
//! documents, since it makes them. The server asks [`of_request`] which dialect
//! a request is in, and [`error_shape`] how errors look on a path without one.

mod answer;
mod arguments;
mod chat;
mod error;
mod fold;
mod member;
mod messages;
mod other;
mod request;
mod texts;
mod watch;
mod wire;

use std::fmt;

use http::{HeaderMap, Method};
use serde_json::Value;

use crate::event::{Failure, ModelEvent};
use crate::json::Node;

pub use answer::{AnswerReader, MakeReader, Read, Settings, StreamRenderer};
pub use error::{ErrorView, SECURITY_FILTER_ERROR};
pub use request::{Hub, InvalidRequest, token_limit};
pub use texts::{Text, Texts};
pub use watch::Watch;

/// Every dialect that the host knows; the first is the hub.
static DIALECTS: &[&dyn Dialect] = &[&chat::Chat, &messages::Messages];

/// Every member of a request body that a dialect reads as a setting. What is
/// read of one is the same in a body of these members alone ([`Json::part`]),
/// so that a look at a setting does not cost a parse of the conversation.
///
/// [`Json::part`]: crate::json::Json::part
pub const READ_SETTINGS: [&str; 6] = [
    "stream",
    "stream_options",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
];

/// A wire format that clients speak.
///
/// The methods that read a request body never fail: what is absent or
/// malformed reads as absent, because the provider is the one to complain.
pub trait Dialect: Send + Sync {
    /// Its name in the contract: "openai.chat".
    fn name(&self) -> &'static str;

    /// The path on which it is spoken, without a trailing slash.
    fn path(&self) -> &'static str;

    /// Whether errors on this path, which is in no dialect, have its shape.
    fn claims(&self, path: &str, headers: &HeaderMap) -> bool;

    /// Whether a header field, by its name in lower case, is one of its own
    /// that a request carries to the provider.
    fn has_field(&self, name: &str) -> bool;

    /// Looks for all texts that a model will read.
    fn look_for<'a>(&self, texts: &mut Texts<'a>, body: Node<'a>);

    /// All texts that a model will read, in the order of the body.
    ///
    /// Every pointer names a non-empty JSON string. Not covered, because no
    /// pointer to a string can name them: keys of objects (the names of a
    /// tool's parameters, unless they are listed in `required`), and encoded
    /// data (images, base64 documents, signatures).
    fn texts<'a>(&self, body: Node<'a>) -> Vec<Text<'a>> {
        let mut texts = Texts::with_pointers();
        self.look_for(&mut texts, body);
        texts.into_vec()
    }

    /// The same for whoever asks only what they say.
    fn contents<'a>(&self, body: Node<'a>) -> Texts<'a> {
        let mut texts = Texts::without_pointers();
        self.look_for(&mut texts, body);
        texts
    }

    /// The members that limit the output tokens of one choice; a request without
    /// any is limited by setting the first.
    fn output_limits(&self) -> &'static [&'static str];

    /// The largest number of output tokens that one choice may have, by
    /// whichever names the body uses; none if it sets no limit.
    fn max_output_tokens(&self, body: &Value) -> Option<u64> {
        token_limit(
            self.output_limits()
                .iter()
                .filter_map(|name| body.get(name)),
        )
    }

    /// Every member that must be written to set the limit: those that the body
    /// has, or the dialect's preferred one.
    fn max_output_tokens_members(&self, body: &Value) -> Vec<&'static str> {
        request::limit_members(self.output_limits(), body)
    }

    /// How many choices the request asks for, at least 1.
    fn choices(&self, _body: &Value) -> u32 {
        1
    }

    /// Whether it asks for a stream.
    fn stream(&self, body: &Value) -> bool {
        body.get("stream") == Some(&Value::Bool(true))
    }

    /// Whether the client wants to be told the usage in a stream.
    fn wants_usage_in_stream(&self, body: &Value) -> bool;

    /// The request in the hub dialect. For the hub itself this is a copy, so
    /// a caller that can leave the bytes alone should ([`is_hub`]).
    ///
    /// # Errors
    ///
    /// Names the first thing in the body that is malformed. What is well
    /// formed but has no place in the hub is listed in [`Hub::dropped`].
    fn to_hub(&self, body: &Value) -> Result<Hub, InvalidRequest>;

    /// How the host reads an answer in it for filters of answers; none if it
    /// leaves that to the adapter.
    fn reader(&self) -> Option<MakeReader> {
        None
    }

    /// Writes one answer as a stream of server-sent events.
    fn stream_renderer(&self, settings: Settings) -> Box<dyn StreamRenderer>;

    /// Writes a whole answer as one body.
    ///
    /// # Errors
    ///
    /// The failure that is among the events: the answer is then an error with
    /// that status, see [`Dialect::error_body`].
    fn render_body(&self, settings: &Settings, events: &[ModelEvent]) -> Result<Vec<u8>, Failure>;

    /// The body of an error answer.
    fn error_body(&self, error: &ErrorView<'_>) -> Vec<u8>;

    /// Notes what a frame of a stream in this dialect tells; called by
    /// [`Watch::frame`].
    fn watch_frame(&self, watch: &mut Watch, name: Option<&str>, data: &[u8]);

    /// Notes what a whole body in this dialect tells; called by
    /// [`Watch::body`].
    fn watch_body(&self, watch: &mut Watch, body: &[u8]);
}

impl fmt::Debug for dyn Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for dyn Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Dialect {}

/// The dialect that a contract name names: "anthropic.messages".
pub fn by_name(name: &str) -> Option<&'static dyn Dialect> {
    DIALECTS
        .iter()
        .copied()
        .find(|dialect| dialect.name() == name)
}

/// The dialect of a request; none if the path is passed through. A trailing
/// slash is tolerated, since SDKs with a hand-written base URL produce it.
pub fn of_request(method: &Method, path: &str) -> Option<&'static dyn Dialect> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let spoken = |dialect: &&dyn Dialect| method == Method::POST && dialect.path() == path;
    DIALECTS.iter().copied().find(spoken)
}

/// Whether an adapter's path leads where a dialect is spoken, with the version
/// in the upstream's base URL or in the path. A request that was not read as
/// that dialect must not get there: filters have not seen its texts.
pub fn is_reached(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.replace("%2f", "/").replace("%2F", "/");
    let path = path.trim_end_matches('/');
    DIALECTS.iter().any(|dialect| {
        let whole = dialect.path();
        let versionless = whole.strip_prefix("/v1").unwrap_or(whole);
        path.eq_ignore_ascii_case(whole) || path.eq_ignore_ascii_case(versionless)
    })
}

/// The dialect that errors are written in on a path that is passed through:
/// Anthropic's below `/v1/messages` or for a client that sends
/// `anthropic-version`, else OpenAI's.
pub fn error_shape(path: &str, headers: &HeaderMap) -> &'static dyn Dialect {
    let claiming = DIALECTS
        .iter()
        .copied()
        .find(|dialect| dialect.claims(path, headers));
    claiming.unwrap_or(hub())
}

/// Whether a header field of a request is any dialect's own.
pub fn has_field(name: &str) -> bool {
    DIALECTS.iter().any(|dialect| dialect.has_field(name))
}

/// The dialect that every adapter takes.
pub fn hub() -> &'static dyn Dialect {
    &chat::Chat
}

/// Whether a request in this dialect needs no translation for any adapter.
pub fn is_hub(dialect: &dyn Dialect) -> bool {
    dialect.name() == hub().name()
}

#[cfg(test)]
mod tests;
