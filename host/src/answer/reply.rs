//! Heads and bodies as hyper takes them: answers, errors, and bodies that keep
//! the record of their exchange until the last byte.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use super::{Content, Piece, Pieces, Ready, Settled, shown};
use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::message::plugin_header;
use crate::plugin::{Outcome, Reply};
use crate::record::Recorder;
use crate::upstream::{Incoming, MAX_HEADERS};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BrokenOff>;

/// The answer was not all sent. What could be said of it has been said in band.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the answer was broken off: {0}")]
pub struct BrokenOff(String);

/// How long a body that is broken off waits, so that what was said in band is
/// on the wire before the connection is reset.
const LAST_WORDS: Duration = Duration::from_millis(20);

const EXCHANGE_ID: HeaderName = HeaderName::from_static("palisade-exchange-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const DROPPED: HeaderName = HeaderName::from_static("palisade-dropped");

/// What of an upstream's header fields an answer keeps.
pub struct Kept(HeaderMap);

impl Kept {
    /// Of a body that is written anew: what speaks of limits, of retrying and
    /// of the upstream's own request.
    pub fn of(incoming: &Incoming) -> Self {
        let stays = |name: &HeaderName| {
            let name = name.as_str();
            name == RETRY_AFTER
                || name.contains("ratelimit")
                || name.ends_with("request-id")
                || name.ends_with("processing-ms")
        };
        let fields = incoming.headers.iter().filter(|(name, _)| stays(name));
        Self(
            fields
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }

    pub fn into_headers(self) -> HeaderMap {
        self.0
    }
}

/// The answer to a probe.
pub fn alive() -> Response<Body> {
    let mut response = Response::new(full(Bytes::from_static(b"palisade is up\n")));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// A plugin's own HTTP answer.
pub fn reply(reply: Reply) -> Result<Ready, Failure> {
    let broke = |what: String| {
        Failure::new(
            crate::failure::Kind::Plugin,
            "the adapter's reply cannot be sent",
        )
        .with_detail(what)
    };
    let status = StatusCode::from_u16(reply.status)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or_else(|| broke(format!("status {}", reply.status)))?;
    if reply.headers.len() > MAX_HEADERS {
        return Err(broke(format!(
            "it has more than {MAX_HEADERS} header fields"
        )));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in reply.headers {
        let name = plugin_header(&name).map_err(broke)?;
        let value = HeaderValue::from_bytes(&value)
            .map_err(|_| broke(format!("header \"{name}\" has a bad value")))?;
        headers.append(name, value);
    }
    let content = Content::Whole(reply.body.into(), Settled::default());
    Ok(Ready {
        status,
        headers,
        content,
        dropped: Vec::new(),
    })
}

/// Sends an answer on its way.
pub fn respond(ready: Ready, id: &str, mut recorder: Recorder) -> Response<Body> {
    recorder.set_status(ready.status);
    let spent = recorder.time_spent();
    let mut response = Response::new(Body::default());
    *response.status_mut() = ready.status;
    *response.headers_mut() = ready.headers;
    *response.body_mut() = match ready.content {
        Content::Whole(bytes, settled) => {
            settled.record(&mut recorder);
            ended(bytes, recorder, Outcome::Answered)
        }
        Content::Stream(pieces, length) => {
            if let Some(length) = length {
                response.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            streamed(pieces, length, recorder)
        }
    };
    if !ready.dropped.is_empty()
        && let Ok(list) = HeaderValue::from_str(&ready.dropped.join(", "))
    {
        response.headers_mut().insert(DROPPED, list);
    }
    name(&mut response, id, spent);
    response
}

/// The answer of an exchange that failed or was refused.
pub fn refuse(
    shape: &dyn Dialect,
    id: &str,
    failure: &Failure,
    mut recorder: Recorder,
) -> Response<Body> {
    let status = failure.kind.status();
    tell(id, failure);
    recorder.set_status(status);
    recorder.entry().error = Some(failure.to_string());
    let body = Bytes::from(shape.error_body(&shown(failure, id)));
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    if let Some(headers) = &failure.headers {
        *response.headers_mut() = headers.as_ref().clone();
    }
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if let Some(wait) = failure.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, wait.max(1).into());
    }
    name(&mut response, id, recorder.time_spent());
    *response.body_mut() = ended(
        body,
        recorder,
        if failure.denied {
            Outcome::Denied
        } else {
            Outcome::Failed
        },
    );
    response
}

/// The operator's side of a failure.
fn tell(id: &str, failure: &Failure) {
    use crate::failure::Kind;
    match failure.kind {
        Kind::Plugin | Kind::Internal => tracing::error!(id, error = %failure, "exchange failed"),
        Kind::Upstream | Kind::UpstreamTimeout | Kind::Overloaded => {
            tracing::warn!(id, error = %failure, "exchange failed");
        }
        _ => tracing::debug!(id, error = %failure, "exchange refused"),
    }
}

/// Adds what every answer of an exchange tells: its name, and where the time
/// went until now if that is to be told.
fn name(response: &mut Response<Body>, id: &str, spent: Option<String>) {
    if let Some(spent) = spent.and_then(|spent| HeaderValue::try_from(spent).ok()) {
        // The upstream may have told of its own.
        response.headers_mut().append(SERVER_TIMING, spent);
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(EXCHANGE_ID, id);
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// A body of known length, whose exchange ends when it is handed over.
fn ended(bytes: Bytes, mut recorder: Recorder, outcome: Outcome) -> Body {
    // Nobody asks for a body that is not there, or not to be sent.
    if bytes.is_empty() || recorder.entry().method == "HEAD" {
        recorder.finish(outcome);
        return full(bytes);
    }
    Once {
        bytes: Some(bytes),
        recorder,
        outcome,
    }
    .boxed_unsync()
}

/// See [`ended`].
struct Once {
    bytes: Option<Bytes>,
    recorder: Recorder,
    outcome: Outcome,
}

impl hyper::body::Body for Once {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(bytes) = self.bytes.take() else {
            return Poll::Ready(None);
        };
        let outcome = self.outcome;
        self.recorder.sent(bytes.len());
        self.recorder.finish(outcome);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.bytes.as_ref().map_or(0, |b| b.len() as u64))
    }
}

/// A body in pieces, with its record.
struct Open {
    pieces: Box<dyn Pieces>,
    /// What is still to come, where a length was announced: hyper does not ask
    /// for the end of a body that has it.
    remaining: Option<u64>,
    recorder: Recorder,
    broken: Option<BrokenOff>,
    over: bool,
}

impl Drop for Open {
    /// A body that is dropped before its end was cancelled; what is known of
    /// it by then still belongs in its record.
    fn drop(&mut self) {
        self.pieces.settled().record(&mut self.recorder);
    }
}

impl Open {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BrokenOff>> {
        if let Some(broken) = self.broken.take() {
            tokio::time::sleep(LAST_WORDS).await;
            self.over = true;
            return Some(Err(broken));
        }
        if self.over {
            return None;
        }
        match self.pieces.next().await {
            Piece::Bytes(bytes) => {
                self.recorder.sent(bytes.len());
                self.remaining = self.remaining.map(|n| n.saturating_sub(bytes.len() as u64));
                if self.remaining == Some(0) {
                    self.end(Outcome::Answered);
                }
                Some(Ok(Frame::data(bytes)))
            }
            Piece::End(bytes) => {
                self.recorder.sent(bytes.len());
                self.over = true;
                let failed = self.pieces.settled().error.is_some();
                self.end(if failed {
                    Outcome::Failed
                } else {
                    Outcome::Answered
                });
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Piece::Broken(bytes, failure) => {
                tell(&self.recorder.entry().exchange_id.clone(), &failure);
                self.recorder.entry().error = Some(failure.to_string());
                self.recorder.sent(bytes.len());
                self.end(if failure.denied {
                    Outcome::Denied
                } else {
                    Outcome::Failed
                });
                self.broken = Some(BrokenOff(failure.message));
                Some(Ok(Frame::data(bytes)))
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.over |= matches!(outcome, Outcome::Answered);
        self.pieces.settled().record(&mut self.recorder);
        self.recorder.finish(outcome);
    }
}

fn streamed(pieces: Box<dyn Pieces>, length: Option<u64>, recorder: Recorder) -> Body {
    let open = Open {
        pieces,
        remaining: length,
        recorder,
        broken: None,
        over: false,
    };
    let frames = stream::unfold(open, |mut open| async move {
        let frame = open.next().await?;
        Some((frame, open))
    });
    boxed(frames)
}

fn boxed(frames: impl Stream<Item = Result<Frame<Bytes>, BrokenOff>> + Send + 'static) -> Body {
    StreamBody::new(frames).boxed_unsync()
}
