//! One connection of a client, HTTP/1.1 or HTTP/2 as the client begins it.
//!
//! Every connection holds one of `max-connections` places, so each has to end
//! by itself when nothing happens on it: one without an exchange under way for
//! the request time-out is closed, whatever it has sent of a request or of
//! HTTP/2's preface, and so is one whose peer takes no byte of an answer, or
//! answers no ping. What an exchange does is `exchange`'s.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;

use super::joined::Joined;
use crate::answer::Body;
use crate::boxed;
use crate::exchange;
use crate::gateway::Gateway;
use crate::upstream::Client;

/// How long a client may take no byte of what is written to it.
const WRITE_STALL: Duration = Duration::from_secs(60);

/// How long an HTTP/2 connection may be silent before it is sent a ping, and
/// how long the answer to it may take. Clients that read only while the
/// application does cannot answer sooner.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection that was told to end, and has no exchange under way,
/// may take to write what is left and to say goodbye.
const GOODBYE: Duration = Duration::from_secs(10);

/// What a client says first that speaks HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What every connection of a worker needs.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) gateway: Arc<Gateway>,
    /// The worker's own: its connections to upstreams live on its thread.
    pub(super) client: Arc<Client>,
    /// Whether the gateway is stopping.
    pub(super) stopped: watch::Receiver<bool>,
}

/// Serves a connection until it ends.
pub(super) async fn serve(serving: Serving, stream: TcpStream) {
    let Serving {
        gateway,
        client,
        mut stopped,
    } = serving;
    // A token must not wait for the next one to fill a segment.
    let _ = stream.set_nodelay(true);
    let wait = gateway.generation().server.request_timeout;
    let begun = Instant::now();
    let builder = tokio::select! {
        is_http1 = is_http1(&stream) => builder(wait, is_http1),
        _ = stopped.wait_for(|stopped| *stopped) => return,
        () = tokio::time::sleep(wait) => {
            tracing::debug!("a connection without a request was closed");
            return;
        }
    };
    let mut stream = TimeoutStream::new(Joined(stream));
    stream.set_write_timeout(Some(WRITE_STALL));

    let exchanges = Arc::new(Exchanges::new());
    let counted = exchanges.clone();
    let service = service_fn(move |request| {
        let (gateway, client) = (gateway.clone(), client.clone());
        let exchange = UnderWay::begin(&counted);
        // hyper keeps room for what this returns as long as the connection is
        // there, and an answer may take long: kilobytes for each.
        boxed::in_place(|| async move {
            let response = exchange::handle(&gateway, &client, request).await;
            Ok::<_, Infallible>(response.map(|body| Watched { body, exchange }))
        })
    });
    let mut connection =
        std::pin::pin!(builder.serve_connection(TokioIo::new(Box::pin(stream)), service));
    tokio::select! {
        ended = &mut connection => return end(ended),
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = exchanges.idle(begun, wait) => {
            // Nothing was ever asked, so there is nothing to finish.
            if exchanges.begun() == 0 {
                tracing::debug!("a connection without a request was closed");
                return;
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = &mut connection => end(ended),
        () = exchanges.idle(Instant::now(), GOODBYE) => {
            tracing::debug!("a connection did not end in time");
        }
    }
}

/// Whether a client's first bytes, which it may take its time for, are no
/// beginning of HTTP/2's preface. They stay where they are.
///
/// hyper finds out too, but reads the preface's length by itself for that, and
/// what it reads after so short a piece takes twice the room as long as the
/// connection is there: eight kilobytes.
async fn is_http1(stream: &TcpStream) -> bool {
    let mut first = [0; PREFACE.len()];
    match stream.peek(&mut first).await {
        Ok(length) => length == 0 || !PREFACE.starts_with(&first[..length]),
        // Whoever reads meets the error again.
        Err(_) => true,
    }
}

fn builder(wait: Duration, is_http1: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(wait);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    if is_http1 {
        builder = builder.http1_only();
    }
    builder
}

fn end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// How many exchanges of a connection there are and were, and since when there
/// is none. Whoever waits for that looks when it may be so: to be woken by
/// every exchange would cost each of them.
struct Exchanges(Mutex<Counts>);

struct Counts {
    open: usize,
    begun: u64,
    last: Instant,
}

impl Exchanges {
    fn new() -> Self {
        Self(Mutex::new(Counts {
            open: 0,
            begun: 0,
            last: Instant::now(),
        }))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self) -> u64 {
        self.counts().begun
    }

    /// Ready when no exchange has been under way for so long, all of it after
    /// `from`.
    async fn idle(&self, from: Instant, limit: Duration) {
        loop {
            let over = {
                let counts = self.counts();
                let since = if counts.open > 0 {
                    Instant::now()
                } else {
                    counts.last.max(from)
                };
                since + limit
            };
            if over <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(over).await;
        }
    }
}

/// An exchange of a connection, until its answer has been handed over.
struct UnderWay(Arc<Exchanges>);

impl UnderWay {
    fn begin(exchanges: &Arc<Exchanges>) -> Self {
        let mut counts = exchanges.counts();
        counts.open += 1;
        counts.begun += 1;
        drop(counts);
        Self(exchanges.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.open -= 1;
        counts.last = Instant::now();
    }
}

/// An answer's body, which keeps its exchange under way.
struct Watched {
    body: Body,
    #[expect(dead_code, reason = "held for its drop")]
    exchange: UnderWay,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
