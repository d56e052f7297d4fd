//! The answer path: from the upstream's bytes, or a plugin's events, to what
//! the client reads.
//!
//! - `passed`: bytes that go through as they came
//! - `flow`: bytes → frames → events → filters of answers
//! - `decoder`: who makes events of frames, the adapter or the host
//! - `ledger`: what every sequence of events must be
//! - `guards`: the filters of answers
//! - `verbatim`: events that nobody changed go out as the bytes they came in
//! - `written`: events in the client's dialect, as a stream or whole
//! - `reply`: heads, errors, and bodies that keep their record
//!
//! An answer begins in `exchange::chain`, which decides between the first two.
//! Nothing is sent before it is known that there is something to send: until
//! then a failure is an HTTP status. After it, a failure is written in band in
//! the client's dialect and the body is broken off, so that no client takes a
//! part for the whole.

mod decoder;
mod flow;
mod guards;
mod ledger;
mod passed;
mod reply;
mod verbatim;
mod written;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

pub use flow::{DecodedBy, Flow, Source};
pub use guards::{Guards, failed};
pub use passed::passed_through;
pub use reply::{Body, Kept, alive, refuse, reply, respond};
pub use written::of_events;

use crate::dialect::{self, Dialect, ErrorView};
use crate::event;
use crate::failure::{Failure, Kind};
use crate::record::Recorder;

/// An answer whose head is known.
pub struct Ready {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub content: Content,
    /// Parameters that could not be carried over to the provider.
    pub dropped: Vec<String>,
}

impl Ready {
    /// What its body is, as its head says.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()
    }
}

/// The body of an answer.
pub enum Content {
    /// It is all there.
    Whole(Bytes, Settled),
    /// It comes in pieces, of this many bytes together if that is known.
    Stream(Box<dyn Pieces>, Option<u64>),
}

/// What an answer told about itself, for the record.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub notes: Vec<(String, String)>,
    /// Plugins that failed and were passed over.
    pub bypassed: Vec<String>,
    /// An error that the client has been told of in band already.
    pub error: Option<String>,
}

impl Settled {
    /// Adds it to the record.
    pub fn record(self, recorder: &mut Recorder) {
        let entry = recorder.entry();
        entry.input_tokens = self.input_tokens.or(entry.input_tokens);
        entry.output_tokens = self.output_tokens.or(entry.output_tokens);
        if entry.error.is_none() {
            entry.error = self.error;
        }
        for (key, value) in self.notes {
            recorder.set_note(&key, value);
        }
        for plugin in self.bypassed {
            recorder.note("bypassed", plugin);
        }
    }
}

/// A piece of a body, or how it ended.
#[derive(Debug)]
pub enum Piece {
    Bytes(Bytes),
    /// These are the last bytes, which may be none.
    End(Bytes),
    /// What could be said in band has been said (the bytes), and the body must
    /// not end as if all were well.
    Broken(Bytes, Failure),
}

/// A body that comes in pieces. Dropping it cancels everything behind it.
pub trait Pieces: Send {
    /// The next piece; not called again after the last one.
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Piece> + Send + '_>>;

    /// What has been learnt so far.
    fn settled(&self) -> Settled;
}

/// What the answer's shape depends on, besides its events.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Whether the upstream answers in the client's dialect.
    pub same_dialect: bool,
    pub usage_in_stream: bool,
    /// When the exchange began, in seconds since 1970-01-01 UTC.
    pub created: u64,
    pub dropped: Vec<String>,
    /// Whether the request was a HEAD, whose answer has no body.
    pub bodiless: bool,
}

impl Origin {
    fn settings(&self, facts: &crate::message::Facts) -> dialect::Settings {
        dialect::Settings {
            exchange: facts.id.clone(),
            model: facts.requested_model.clone().unwrap_or_default(),
            created: self.created,
            usage_in_stream: self.usage_in_stream,
            same_dialect: self.same_dialect,
        }
    }
}

/// An error that came as an event, as a failure of the exchange.
fn of_event(error: event::Failure) -> Failure {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let status = if status.as_u16() < 400 {
        StatusCode::BAD_GATEWAY
    } else {
        status
    };
    Failure {
        error_type: Some(error.kind).filter(|kind| !kind.is_empty()),
        code: error.code,
        ..Failure::new(Kind::Answered(status), error.message)
    }
}

/// A failure as a client will read it.
fn shown<'f>(failure: &'f Failure, id: &'f str) -> ErrorView<'f> {
    ErrorView {
        status: failure.kind.status().as_u16(),
        kind: failure.error_type.as_deref(),
        code: failure.code.as_deref(),
        message: &failure.message,
        request_id: Some(id),
    }
}

/// The bytes that tell of a failure within a stream that is passed through.
fn in_band(dialect: &dyn Dialect, settings: dialect::Settings, failure: &Failure) -> Bytes {
    let mut out = Vec::new();
    let id = settings.exchange.clone();
    dialect
        .stream_renderer(settings)
        .error(&shown(failure, &id), &mut out);
    out.into()
}
