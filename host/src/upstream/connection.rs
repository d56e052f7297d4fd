//! A connection that speaks HTTP/1 to an upstream, and moves while the exchange
//! that has it waits.
//!
//! A connection with a task of its own hands each piece of an answer through a
//! channel to another task, and each piece costs both tasks a turn. Here there
//! is one: what the system brings wakes the exchange, which then moves its
//! connection for as long as there is something to do, and takes what comes of
//! it. Nothing is read that nobody waits for.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use http::header::TRANSFER_ENCODING;
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::coop;

use super::sent::Sent;
use super::wire::Shared;

/// What a connection is made over.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// See the module.
pub(super) struct Connection {
    requests: SendRequest<Sent>,
    /// None once it has ended. It is dropped then: a request that it has not
    /// taken comes back by that.
    inner: Option<http1::Connection<Shared<Stream>, Sent>>,
    wire: Shared<Stream>,
    /// Whether the body under way is taken from the wire.
    chunked: bool,
    /// Whether what it brings about was not ready when it was last moved.
    dry: bool,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
}

/// Rung when a connection can go on.
struct Bell {
    rung: AtomicBool,
    /// Whether the connection is being moved: it goes on then without anyone
    /// being woken.
    moving: AtomicBool,
    /// Whom it wakes.
    exchange: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    // Either this sees that nobody moves the connection, or whoever does sees
    // that it was rung: both are in one order for all threads.
    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.moving.load(Ordering::SeqCst) {
            self.exchange.wake();
        }
    }
}

impl Connection {
    /// Begins to speak HTTP/1.
    pub async fn over(stream: Stream) -> hyper::Result<Box<Self>> {
        let wire = Shared::new(stream);
        let made = http1::Builder::new()
            // Some servers know the fields of HTTP/1 in this spelling only.
            .title_case_headers(true)
            .handshake(wire.clone());
        let (requests, inner) = made.await?;
        let bell = Arc::new(Bell {
            rung: AtomicBool::new(true),
            moving: AtomicBool::new(false),
            exchange: AtomicWaker::new(),
        });
        let waker = bell.clone().into();
        Ok(Box::new(Self {
            requests,
            inner: Some(inner),
            wire,
            chunked: false,
            dry: false,
            bell,
            waker,
        }))
    }

    /// Sends a request, and answers the head of the answer with what brings
    /// the body. A request that was not sent comes back.
    pub async fn send(
        mut self: Box<Self>,
        request: Request<Sent>,
    ) -> Result<Response<(Incoming, Box<Self>)>, TrySendError<Request<Sent>>> {
        self.wire.await_head();
        let answer = self.requests.try_send_request(request);
        self.dry = false;
        // Without a budget: it would ask to be polled again, of nobody.
        let mut answer = pin!(coop::unconstrained(answer));
        let moved = std::future::poll_fn(|context| {
            loop {
                let polled = self.poll(context, |context| answer.as_mut().poll(context));
                // What looked like the head was not, or not the last one.
                if polled.is_ready() || !self.release() {
                    return polled;
                }
            }
        });
        let response = moved.await?;
        self.chunked = is_chunked(&response) && self.wire.take_chunks();
        self.release();
        Ok(response.map(|body| (body, self)))
    }

    /// Gives hyper what is held; answers whether it can go on by that.
    fn release(&mut self) -> bool {
        let held = self.wire.release();
        if held {
            self.bell.rung.store(true, Ordering::SeqCst);
        }
        held
    }

    /// The data of the body that has come; none if the body itself has it, or
    /// the end.
    pub fn poll_chunks(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.chunked {
            return Poll::Ready(None);
        }
        match self.wire.poll_chunks(context) {
            Poll::Ready(None) => {
                (self.chunked, self.dry) = (false, false);
                self.bell.rung.store(true, Ordering::SeqCst);
                Poll::Ready(None)
            }
            // Some of the request may be left to be written.
            Poll::Pending => self.poll(context, |_| Poll::Pending),
            data => data,
        }
    }

    /// Polls `what`, which only this connection can bring about, and moves the
    /// connection until it is ready or nothing is left to do.
    pub fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut what: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        loop {
            // It is asked again whenever it may have become ready.
            if !self.dry {
                let polled = what(&mut Context::from_waker(Waker::noop()));
                if polled.is_ready() {
                    return polled;
                }
                self.dry = true;
            }
            if !self.bell.rung.load(Ordering::SeqCst) {
                self.bell.exchange.register(context.waker());
                if !self.bell.rung.load(Ordering::SeqCst) {
                    return Poll::Pending;
                }
            }
            // A connection that may do no more in this turn says so by ringing.
            if !coop::has_budget_remaining() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.dry = false;
        self.bell.moving.store(true, Ordering::SeqCst);
        self.bell.rung.swap(false, Ordering::SeqCst);
        let mut context = Context::from_waker(&self.waker);
        // How it ended, whoever waits for its answer is told.
        self.inner
            .take_if(|inner| Pin::new(inner).poll(&mut context).is_ready());
        self.bell.moving.store(false, Ordering::SeqCst);
    }

    /// Whether another request can be sent, as far as is known.
    pub fn is_idle(&mut self) -> bool {
        if self.bell.rung.load(Ordering::SeqCst) {
            // Without a budget nothing would be known.
            let _ = coop::unconstrained(async { self.advance() }).now_or_never();
        }
        self.inner.is_some() && self.requests.is_ready()
    }

    /// Moves the connection until the exchange on it has ended.
    pub async fn run(self) {
        self.wire.open();
        drop(self.requests);
        if let Some(inner) = self.inner {
            let _ = inner.await;
        }
    }
}

/// Whether an answer has a body in chunks, and in no other coding.
fn is_chunked(response: &Response<Incoming>) -> bool {
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    let only = codings.next().filter(|_| codings.next().is_none());
    only.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && response.version() == http::Version::HTTP_11
        && !response.body().is_end_stream()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_request_comes_back_that_met_the_end_of_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let stream = MaybeHttpsStream::Http(TokioIo::new(stream.await.unwrap()));
        let mut connection = Connection::over(stream).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        assert!(connection.is_idle());
        drop(peer);
        while !connection.bell.rung.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let request = Request::new(Sent::from(Bytes::from_static(b"{}")));
        let mut error = connection.send(request).await.err().unwrap();
        assert!(error.take_message().is_some(), "{:?}", error.into_error());
    }
}
