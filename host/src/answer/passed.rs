//! Answers that go through as they came. They are watched on the way, so that
//! the record knows the tokens and a stream that was cut off is told as such.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};

use super::reply::Kept;
use super::{Content, Origin, Piece, Pieces, Ready, Settled, in_band};
use crate::dialect::{Dialect, Settings, Watch};
use crate::exchange::Pinned;
use crate::failure::{Failure, Kind};
use crate::frame::{Framer, is_sse};
use crate::message::Facts;
use crate::plugin::Framing;
use crate::upstream::Incoming;

/// Passes an answer through. One in the client's dialect is `watched`.
pub async fn passed_through(
    mut incoming: Incoming,
    watched: Option<(&'static dyn Dialect, Arc<Facts>)>,
    origin: Origin,
    route: &Pinned,
) -> Result<Ready, Failure> {
    let status = incoming.status;
    let mut headers = Kept::of(&incoming, true).into_headers();
    let (limit, frame) = (route.server().max_response_body, route.server().max_frame);
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let streamed = content_type.is_some_and(is_sse);
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
            let watching = watched.and_then(|(dialect, facts)| {
                let settings = origin.settings(&facts);
                let framer = Framer::new(Framing::Sse, frame)?;
                Some(Watching {
                    dialect,
                    settings,
                    watch: Watch::new(dialect),
                    framer,
                })
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

struct Watching {
    dialect: &'static dyn Dialect,
    settings: Settings,
    watch: Watch,
    framer: Framer,
}

impl Passing {
    async fn piece(&mut self) -> Piece {
        let ended = match self.incoming.chunk(self.idle).await {
            Ok(Some(bytes)) => {
                if let Some(watching) = &mut self.watching {
                    watching.see(&bytes);
                }
                return Piece::Bytes(bytes);
            }
            Ok(None) => self.watching.as_mut().and_then(Watching::end),
            Err(failure) => Some(failure),
        };
        match (ended, &self.watching) {
            (None, _) => Piece::End,
            // An error that the upstream told of itself is not told again.
            (Some(failure), Some(watching)) if !watching.watch.failed => {
                let said = in_band(watching.dialect, watching.settings.clone(), &failure);
                Piece::Broken(said, failure)
            }
            (Some(failure), _) => Piece::Broken(Bytes::new(), failure),
        }
    }
}

impl Watching {
    fn see(&mut self, bytes: &[u8]) {
        let mut frames = Vec::new();
        // A frame beyond the bound is nothing to learn from, and no reason to
        // keep the bytes from the client.
        let _ = self.framer.push(bytes, &mut frames);
        for framed in frames {
            self.watch
                .frame(framed.frame.name.as_deref(), &framed.frame.data);
        }
    }

    /// The upstream has closed: a failure if that was too early.
    fn end(&mut self) -> Option<Failure> {
        let mut frames = Vec::new();
        self.framer.finish(&mut frames);
        for framed in frames {
            self.watch
                .frame(framed.frame.name.as_deref(), &framed.frame.data);
        }
        // Some servers never write a terminator after the reason to finish.
        (self.watch.truncated() && !self.watch.finished).then(|| {
            let message = "the upstream ended its answer before it was finished";
            Failure::new(Kind::Upstream, message).with_code("upstream_truncated")
        })
    }
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
        ..Settled::default()
    }
}
