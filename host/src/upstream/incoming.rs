//! An upstream's answer: its head without what is not for clients, and its
//! body, which may not be silent for too long.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

use super::client::{BoxError, Received, causes};
use crate::failure::{Failure, Kind};
use crate::veil::Veil;

/// An answer whose head has come.
pub struct Incoming {
    host: Arc<str>,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The length of the body, if the upstream gave one and it was not
    /// compressed.
    pub length: Option<u64>,
    body: Received,
    over: bool,
    veil: Option<Veil>,
    silence: Silence,
    gathered: Gathered,
}

/// The most bytes that are passed on together, if they came one by one.
const GATHERED: usize = 32 << 10;

/// How often a piece lets others come before it is passed on, if another task
/// brings them. Twice, because hyper asks again at once if it has nothing left
/// to write: that task runs only after that.
const YIELDS: u8 = 2;

/// Pieces of a stream that have come while others were under way: passing each
/// on by itself costs a write each. The first piece of all goes at once.
#[derive(Default)]
struct Gathered {
    begun: bool,
    pieces: Pieces,
    /// How often whoever brings pieces has been let go first.
    yielded: u8,
    /// What followed the pieces.
    end: Option<Result<(), Failure>>,
}

/// Bytes in pieces, of which a single one is not copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    all: Vec<u8>,
}

impl Pieces {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        let first = std::mem::take(&mut self.first);
        self.all.extend_from_slice(&first);
        self.all.extend_from_slice(&piece);
    }

    fn take(&mut self) -> Bytes {
        let Self { first, all } = std::mem::take(self);
        if all.is_empty() { first } else { all.into() }
    }
}

/// Measures how long an upstream has been silent. Its timer is set once and
/// for many waits: when it rings, it is set again for what is left of the wait
/// under way. Setting it for each piece of a stream costs more than the piece,
/// and so does asking it again who is to be woken.
#[derive(Default)]
struct Silence {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer will wake.
    waker: Option<Waker>,
}

impl Silence {
    fn broken(&mut self) {
        self.since = None;
    }

    /// Ready when the upstream has been silent for `limit`.
    fn poll(&mut self, context: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let end = since + limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        let is_known = |waker: &Waker| waker.will_wake(context.waker());
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        } else if !timer.is_elapsed() && self.waker.as_ref().is_some_and(is_known) {
            return Poll::Pending;
        }
        self.waker = Some(context.waker().clone());
        // Without a budget: a timer that is told to ask again later has not
        // noted whom to wake.
        while pin!(unconstrained(timer.as_mut())).poll(context).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// What the upstream says is for its own connection (RFC 9110, section 7.6.1).
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(http::header::CONNECTION).iter();
    let names = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    names
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

/// Header fields of an upstream that are for a browser or for its own
/// connection, and not for the client.
const NOT_FOR_CLIENTS: [HeaderName; 14] = [
    http::header::SET_COOKIE,
    http::header::ALT_SVC,
    http::header::STRICT_TRANSPORT_SECURITY,
    http::header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    http::header::TRANSFER_ENCODING,
    http::header::CONTENT_LENGTH,
    http::header::TRAILER,
    http::header::UPGRADE,
    http::header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    http::header::VIA,
    http::header::SERVER,
    http::header::DATE,
];

/// What went wrong, with all its causes.
pub(super) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<_> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
}

impl Incoming {
    /// An answer of which the head is there and the body comes.
    pub fn new(host: Arc<str>, response: Response<Received>) -> Self {
        let (head, body) = response.into_parts();
        let mut headers = head.headers;
        for name in named_by_connection(&headers) {
            headers.remove(name);
        }
        for name in &NOT_FOR_CLIENTS {
            headers.remove(name);
        }
        Self {
            host,
            status: head.status,
            headers,
            length: body.length(),
            body,
            over: false,
            veil: None,
            silence: Silence::default(),
            gathered: Gathered::default(),
        }
    }

    /// The same, with a credential covered wherever it stands.
    pub fn veiled(mut self, veil: Option<Veil>) -> Self {
        if let Some(veil) = &veil {
            veil.headers(&mut self.headers);
        }
        Self { veil, ..self }
    }

    /// The next piece of the body; none when it is over.
    pub async fn chunk(&mut self, idle: Duration) -> Result<Option<Bytes>, Failure> {
        std::future::poll_fn(|context| self.poll_chunk(context, idle)).await
    }

    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            let piece = if self.over {
                None
            } else {
                ready!(self.poll_piece(context, idle))?
            };
            self.over = piece.is_none();
            let Some(veil) = &mut self.veil else {
                return Poll::Ready(Ok(piece));
            };
            let Some(piece) = piece else {
                let rest = Some(veil.rest()).filter(|rest| !rest.is_empty());
                return Poll::Ready(Ok(rest));
            };
            let shown = veil.pass(piece);
            // What may be the beginning of the credential waits for the rest.
            if !shown.is_empty() {
                return Poll::Ready(Ok(Some(shown)));
            }
        }
    }

    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Result<Option<Bytes>, Failure>> {
        let Poll::Ready(data) = self.body.poll_data(context) else {
            return self.silence.poll(context, idle).map(|()| {
                let (host, limit) = (&self.host, idle.as_secs_f32());
                let message = format!("upstream {host} was silent for {limit} s");
                Err(Failure::new(Kind::UpstreamTimeout, message))
            });
        };
        self.silence.broken();
        Poll::Ready(data.transpose().map_err(|cause| {
            let message = format!("upstream {} broke off its answer", self.host);
            let failure = Failure::new(Kind::Upstream, message);
            failure.with_detail(cause).with_code("upstream_truncated")
        }))
    }

    /// The next pieces of a stream, as one; none when it is over. Pieces that
    /// are there come together, and the first one comes at once.
    pub async fn pieces(&mut self, idle: Duration) -> Result<Option<Bytes>, Failure> {
        std::future::poll_fn(|context| self.poll_pieces(context, idle)).await
    }

    fn poll_pieces(
        &mut self,
        context: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Result<Option<Bytes>, Failure>> {
        if let Some(end) = self.gathered.end.take() {
            return Poll::Ready(end.map(|()| None));
        }
        loop {
            let polled = self.poll_chunk(context, idle);
            let gathered = &mut self.gathered;
            match polled {
                Poll::Ready(Ok(Some(piece))) => {
                    gathered.pieces.push(piece);
                    gathered.yielded = 0;
                    let first = !std::mem::replace(&mut gathered.begun, true);
                    if !first && gathered.pieces.len() < GATHERED {
                        continue;
                    }
                }
                Poll::Pending if gathered.pieces.len() == 0 => return Poll::Pending,
                // More may have come already, and waits to be brought.
                Poll::Pending if self.body.is_brought() && gathered.yielded < YIELDS => {
                    gathered.yielded += 1;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => {}
                Poll::Ready(end) if gathered.pieces.len() == 0 => return Poll::Ready(end),
                Poll::Ready(end) => gathered.end = Some(end.map(|_| ())),
            }
            gathered.yielded = 0;
            return Poll::Ready(Ok(Some(gathered.pieces.take())));
        }
    }

    /// The whole body, of at most `limit` bytes.
    pub async fn whole(&mut self, limit: usize, idle: Duration) -> Result<Bytes, Failure> {
        let mut all = Pieces::default();
        while let Some(chunk) = self.chunk(idle).await? {
            if all.len() + chunk.len() > limit {
                let message = format!(
                    "upstream {} answered with more than {limit} bytes",
                    self.host
                );
                return Err(Failure::new(Kind::Upstream, message));
            }
            all.push(chunk);
        }
        Ok(all.take())
    }
}

impl Received {
    /// A body that comes in these pieces.
    pub fn of(pieces: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        let frames = pieces.map(|piece| piece.map(Frame::data));
        Self::Unpacked(StreamBody::new(frames).boxed_unsync())
    }

    /// Whether a task of its own may read it from the connection.
    fn is_brought(&self) -> bool {
        match self {
            Self::Pooled(body) => body.is_brought(),
            Self::Brought(_) | Self::Unpacked(_) => true,
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Self::Brought(body) => body.size_hint().exact(),
            Self::Pooled(body) => body.size_hint().exact(),
            Self::Unpacked(body) => body.size_hint().exact(),
        }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, String>>> {
        loop {
            let frame = match self {
                Self::Brought(body) => Pin::new(body).poll_frame(context).map_err(|e| told(&e)),
                Self::Pooled(body) => Pin::new(body).poll_frame(context).map_err(|e| told(&e)),
                Self::Unpacked(body) => Pin::new(body)
                    .poll_frame(context)
                    .map_err(|e| told(e.as_ref())),
            };
            match ready!(frame) {
                // Trailers are of no use to a client that did not ask.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(cause)) => return Poll::Ready(Some(Err(cause))),
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::coop;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(400);

    /// Whether an upstream with this limit may still be silent after a time.
    async fn waits(silence: &mut Silence, limit: Duration, time: u64) -> bool {
        let waiting = std::future::poll_fn(|context| silence.poll(context, limit));
        let time = Duration::from_millis(time);
        tokio::time::timeout(time, waiting).await.is_err()
    }

    #[tokio::test]
    async fn silence_is_measured_from_the_last_piece() {
        let mut silence = Silence::default();
        for _ in 0..3 {
            assert!(waits(&mut silence, LIMIT, 200).await);
            silence.broken();
        }
        assert!(waits(&mut silence, LIMIT, 100).await);
        assert!(!waits(&mut silence, LIMIT, 5_000).await);
    }

    #[tokio::test]
    async fn a_task_that_has_used_up_its_budget_is_woken_too() {
        let mut silence = Silence::default();
        let waiting = std::future::poll_fn(move |context| {
            while coop::has_budget_remaining() {
                if let Poll::Ready(spent) = coop::poll_proceed(context) {
                    spent.made_progress();
                }
            }
            silence.poll(context, LIMIT)
        });
        let waiting = tokio::time::timeout(Duration::from_secs(5), waiting);
        let ended = tokio::spawn(async move { waiting.await.is_ok() });
        assert!(ended.await.unwrap());
    }

    #[tokio::test]
    async fn a_shorter_limit_counts_at_once() {
        let mut silence = Silence::default();
        assert!(waits(&mut silence, Duration::from_secs(60), 10).await);
        silence.broken();
        assert!(!waits(&mut silence, LIMIT, 5_000).await);
    }
}
