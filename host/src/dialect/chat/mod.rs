//! OpenAI's chat completions, "openai.chat": the hub dialect.
//!
//! `request` reads bodies, `stream` and `body` write answers of the types in
//! `wire`, `read` reads answers, and `watch` looks at those that are passed
//! through. Shapes are those of OpenAI's published schema
//! (platform.openai.com/docs/api-reference/chat).

mod body;
mod choice;
mod read;
mod request;
mod stream;
mod watch;
mod wire;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::request::choice_count;
use super::{
    Dialect, ErrorView, Hub, InvalidRequest, MakeReader, Settings, StreamRenderer, Texts, Watch,
};
use crate::event::{Failure, ModelEvent};
use crate::json::Node;

/// The dialect "openai.chat".
#[derive(Debug)]
pub struct Chat;

impl Dialect for Chat {
    fn name(&self) -> &'static str {
        "openai.chat"
    }

    fn path(&self) -> &'static str {
        "/v1/chat/completions"
    }

    /// Claims nothing: it is what errors look like where no other dialect does.
    fn claims(&self, _path: &str, _headers: &HeaderMap) -> bool {
        false
    }

    /// Whose organization and project a request is billed to is the operator's
    /// to say.
    fn has_field(&self, name: &str) -> bool {
        let billing = matches!(name, "openai-organization" | "openai-project");
        name.starts_with("openai-") && !billing
    }

    fn look_for<'a>(&self, texts: &mut Texts<'a>, body: Node<'a>) {
        request::look_for(texts, body);
    }

    /// `max_output_tokens` is the Responses API's; servers that read requests
    /// leniently take it here too, so a limit must see it.
    fn output_limits(&self) -> &'static [&'static str] {
        &["max_completion_tokens", "max_tokens", "max_output_tokens"]
    }

    fn choices(&self, body: &Value) -> u32 {
        choice_count(body.get("n"))
    }

    fn wants_usage_in_stream(&self, body: &Value) -> bool {
        let options = body.get("stream_options");
        options.and_then(|options| options.get("include_usage")) == Some(&Value::Bool(true))
    }

    fn to_hub(&self, body: &Value) -> Result<Hub, InvalidRequest> {
        Ok(Hub {
            body: body.clone(),
            dropped: Vec::new(),
        })
    }

    fn reader(&self) -> Option<MakeReader> {
        Some(|streamed| Box::new(read::ChatReader::new(streamed)))
    }

    fn stream_renderer(&self, settings: Settings) -> Box<dyn StreamRenderer> {
        Box::new(stream::ChatStream::new(settings))
    }

    fn render_body(&self, settings: &Settings, events: &[ModelEvent]) -> Result<Vec<u8>, Failure> {
        body::render(settings, events)
    }

    fn error_body(&self, error: &ErrorView<'_>) -> Vec<u8> {
        error_json(error).to_string().into_bytes()
    }

    fn watch_frame(&self, watch: &mut Watch, _name: Option<&str>, data: &[u8]) {
        watch::frame(watch, data);
    }

    fn watch_body(&self, watch: &mut Watch, body: &[u8]) {
        watch::body(watch, body);
    }
}

/// An error as OpenAI writes it, as a body and in a stream alike.
///
/// A kind that is given stands as it is, since OpenAI's list of types is open
/// and its SDKs choose their exception by the status. There is no place for
/// the exchange's identifier; it is in a header.
fn error_json(error: &ErrorView<'_>) -> Value {
    let (kind, code) = names(error.status);
    json!({"error": {
        "message": error.message,
        "type": error.kind().unwrap_or(kind),
        "param": null,
        "code": error.code.or(code.filter(|_| error.kind().is_none())),
    }})
}

/// The type and code that OpenAI's API uses for a status
/// (platform.openai.com/docs/guides/error-codes). It answers 429 with the type
/// "requests" or "tokens"; which of the two is not known here, so the code
/// says what both have in common.
fn names(status: u16) -> (&'static str, Option<&'static str>) {
    match StatusCode::from_u16(status) {
        Ok(StatusCode::UNAUTHORIZED) => ("invalid_request_error", Some("invalid_api_key")),
        Ok(StatusCode::FORBIDDEN) => ("permission_error", None),
        Ok(StatusCode::TOO_MANY_REQUESTS) => ("rate_limit_error", Some("rate_limit_exceeded")),
        Ok(status) if status.is_client_error() => ("invalid_request_error", None),
        _ => ("server_error", None),
    }
}
