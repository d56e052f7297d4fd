//! Answers that go through as they came. They are watched on the way, so that
//! the record knows the tokens and a stream that was cut off is told as such.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};

use super::flow::LINGER;
use super::{Content, Origin, Piece, Pieces, Ready, Settled, in_band};
use crate::dialect::{Dialect, Settings, Watch};
use crate::exchange::Pinned;
use crate::failure::{Failure, Kind};
use crate::frame::{Event, Sse, is_sse};
use crate::message::Facts;
use crate::upstream::Incoming;

/// Passes an answer through. One in the client's dialect is `watched`.
pub async fn passed_through(
    mut incoming: Incoming,
    watched: Option<(&'static dyn Dialect, Arc<Facts>)>,
    origin: Origin,
    route: &Pinned,
) -> Result<Ready, Failure> {
    let status = incoming.status;
    // Taken along, since what they stand in is as large as what is read at a
    // time, and would be kept for as long as the answer takes.
    let mut headers = std::mem::take(&mut incoming.headers);
    let (limit, frame) = (route.server().max_response_body, route.server().max_frame);
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let asked = watched
        .as_ref()
        .is_some_and(|(_, facts)| facts.streaming && status.is_success());
    let streamed = content_type.map_or(asked, |content_type| {
        is_sse(content_type) || (asked && content_type.starts_with("text/plain"))
    });
    let content = match watched {
        Some((dialect, _)) if !streamed => {
            let body = incoming.whole(limit, route.idle_timeout).await?;
            let mut watch = Watch::new(dialect);
            if status.is_success() {
                watch.body(&body);
            }
            Content::Whole(body, settled(Some(&watch)))
        }
        // The length that such a head announces is not that of a body to come.
        None if origin.bodiless || !may_have_body(status) => {
            if let Some(length) = incoming.length.filter(|_| origin.bodiless) {
                headers.insert(header::CONTENT_LENGTH, length.into());
            }
            Content::Whole(Bytes::new(), settled(None))
        }
        watched => {
            let watching = watched.map(|(dialect, facts)| Watching {
                dialect,
                settings: origin.settings(&facts),
                watch: Watch::new(dialect),
                parser: Some(Sse::new(frame)),
                pending: BytesMut::new(),
            });
            let idle = route.idle_timeout;
            // A stream of events may have to say more than the upstream announced.
            let length = incoming.length.filter(|_| watching.is_none());
            let pieces = Passing {
                incoming,
                idle,
                watching,
                _route: route.clone(),
            };
            Content::Stream(Box::new(pieces), length)
        }
    };
    Ok(Ready {
        status,
        headers,
        content,
        dropped: origin.dropped,
    })
}

/// Whether an answer with this status has a body (RFC 9110, section 6.4.1).
fn may_have_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// A body that is passed through in pieces.
struct Passing {
    incoming: Incoming,
    idle: Duration,
    /// None on a path without a dialect.
    watching: Option<Watching>,
    /// Keeps the generation alive until the last byte.
    _route: Pinned,
}

/// What is seen of a stream on its way. Only whole events are passed on: after
/// a part of one nothing could be said in band any more.
struct Watching {
    dialect: &'static dyn Dialect,
    settings: Settings,
    watch: Watch,
    /// None once an event grew beyond its bound: the rest goes unwatched.
    parser: Option<Sse>,
    /// The beginning of an event.
    pending: BytesMut,
}

impl Passing {
    async fn piece(&mut self) -> Piece {
        loop {
            let complete = self.watching.as_ref().is_some_and(|w| w.watch.terminated);
            let idle = if complete { LINGER } else { self.idle };
            let ended = match self.incoming.pieces(idle).await {
                Ok(Some(bytes)) => match &mut self.watching {
                    None => return Piece::Bytes(bytes),
                    Some(watching) => match watching.see(bytes) {
                        whole if whole.is_empty() => continue,
                        whole => return Piece::Bytes(whole),
                    },
                },
                Ok(None) => self
                    .watching
                    .as_mut()
                    .map_or(Ok(Bytes::new()), Watching::end),
                // All has been said: how the upstream hangs up does not matter.
                Err(_) if complete => Ok(Bytes::new()),
                Err(failure) => Err(failure),
            };
            return match (ended, &self.watching) {
                (Ok(rest), _) => Piece::End(rest),
                // An error that the upstream told of itself is not told again.
                (Err(failure), Some(watching)) if !watching.watch.failed => {
                    let said = in_band(watching.dialect, watching.settings.clone(), &failure);
                    Piece::Broken(said, failure)
                }
                (Err(failure), _) => Piece::Broken(Bytes::new(), failure),
            };
        }
    }
}

impl Watching {
    /// Looks at bytes, and answers what may be passed on.
    fn see(&mut self, bytes: Bytes) -> Bytes {
        let held = match &mut self.parser {
            Some(parser) => parser
                .push(&bytes, |event| learn(&mut self.watch, &event))
                .map(|()| parser.held()),
            None => Ok(0),
        };
        let held = held.unwrap_or_else(|_| {
            self.parser = None;
            0
        });
        if held == 0 && self.pending.is_empty() {
            return bytes;
        }
        self.pending.extend_from_slice(&bytes);
        let whole = self.pending.len().saturating_sub(held);
        self.pending.split_to(whole).freeze()
    }

    /// The upstream has closed: what is left to pass on, or a failure if it
    /// was too early.
    fn end(&mut self) -> Result<Bytes, Failure> {
        if let Some(parser) = &mut self.parser {
            parser.finish(|event| learn(&mut self.watch, &event));
        }
        // Some servers never write a terminator after the reason to finish.
        if self.parser.is_some() && self.watch.truncated() && !self.watch.finished {
            let message = "the upstream ended its answer before it was finished";
            return Err(Failure::new(Kind::Upstream, message).with_code("upstream_truncated"));
        }
        Ok(self.pending.split().freeze())
    }
}

fn learn(watch: &mut Watch, event: &Event<'_>) {
    watch.frame(event.name.as_deref(), &event.data);
}

impl Pieces for Passing {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Piece> + Send + '_>> {
        Box::pin(self.piece())
    }

    fn settled(&self) -> Settled {
        settled(self.watching.as_ref().map(|watching| &watching.watch))
    }
}

fn settled(watch: Option<&Watch>) -> Settled {
    Settled {
        input_tokens: watch.and_then(|watch| watch.input_tokens),
        output_tokens: watch.and_then(|watch| watch.output_tokens),
        error: watch
            .filter(|watch| watch.failed)
            .map(|_| "the upstream told of an error in its stream".to_owned()),
        ..Settled::default()
    }
}
