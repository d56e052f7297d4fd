//! Anthropic's messages, "anthropic.messages".
//!
//! `request` reads bodies, `hub` translates them, `blocks` orders an answer's
//! parts into content blocks, `stream` and `body` write them, `watch` looks at
//! answers that are passed through. Shapes are those of Anthropic's reference
//! (docs.claude.com/en/api/messages).

mod blocks;
mod body;
mod foreign;
mod hub;
mod request;
mod stream;
mod watch;
mod wire;

use http::HeaderMap;
use serde_json::{Value, json};

use super::{
    Dialect, ErrorView, Hub, InvalidRequest, SECURITY_FILTER_ERROR, Settings, StreamRenderer,
    Texts, Watch,
};
use crate::event::{Failure, ModelEvent};
use crate::json::Node;

/// The dialect "anthropic.messages". An answer in it has one choice; further
/// ones are left out.
#[derive(Debug)]
pub struct Messages;

const PATH: &str = "/v1/messages";

impl Dialect for Messages {
    fn name(&self) -> &'static str {
        "anthropic.messages"
    }

    fn path(&self) -> &'static str {
        PATH
    }

    fn claims(&self, path: &str, headers: &HeaderMap) -> bool {
        let below = path
            .strip_prefix(PATH)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below || headers.contains_key("anthropic-version")
    }

    fn has_field(&self, name: &str) -> bool {
        matches!(name, "anthropic-version" | "anthropic-beta")
    }

    fn look_for<'a>(&self, texts: &mut Texts<'a>, body: Node<'a>) {
        request::look_for(texts, body);
    }

    fn output_limits(&self) -> &'static [&'static str] {
        &["max_tokens"]
    }

    /// Usage is part of every stream.
    fn wants_usage_in_stream(&self, _body: &Value) -> bool {
        true
    }

    fn to_hub(&self, body: &Value) -> Result<Hub, InvalidRequest> {
        hub::translate(body)
    }

    fn stream_renderer(&self, settings: Settings) -> Box<dyn StreamRenderer> {
        Box::new(stream::MessagesStream::new(settings))
    }

    fn render_body(&self, settings: &Settings, events: &[ModelEvent]) -> Result<Vec<u8>, Failure> {
        body::render(settings, events)
    }

    fn error_body(&self, error: &ErrorView<'_>) -> Vec<u8> {
        error_json(error).to_string().into_bytes()
    }

    fn watch_frame(&self, watch: &mut Watch, name: Option<&str>, data: &[u8]) {
        watch::frame(watch, name, data);
    }

    fn watch_body(&self, watch: &mut Watch, body: &[u8]) {
        watch::body(watch, body);
    }
}

/// An error as Anthropic writes it, as a body and in a stream alike. There is
/// no place for a code.
fn error_json(error: &ErrorView<'_>) -> Value {
    let mut json = json!({
        "type": "error",
        "error": {"type": error_type(error), "message": error.message},
    });
    if let Some(id) = error.request_id {
        json["request_id"] = id.into();
    }
    json
}

/// The error's type. Clients switch on Anthropic's closed list, so a kind that
/// is another provider's is replaced by what the list has for the status; only
/// the gateway's own stands besides (docs.claude.com/en/api/errors). The list's
/// "invalid_request_error" is what OpenAI calls nearly everything, so there the
/// status decides too.
fn error_type<'a>(error: &ErrorView<'a>) -> &'a str {
    const TYPES: [&str; 10] = [
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "api_error",
        "timeout_error",
        "overloaded_error",
        SECURITY_FILTER_ERROR,
    ];
    if let Some(kind) = error.kind().filter(|kind| TYPES.contains(kind)) {
        return kind;
    }
    match error.status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        // OpenAI and others say 503 where Anthropic says 529.
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}
