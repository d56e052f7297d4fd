//! Connections to upstreams without TLS, which are used again and again.
//!
//! Which protocol is spoken over TLS is known only when a connection has been
//! made, and one that speaks HTTP/2 is for many exchanges at a time: those are
//! hyper-util's (`client`).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::task::coop;
use tokio::time::Instant;
use tower::ServiceExt;

use super::client::{BoxError, Connector, IDLE_CONNECTION};
use super::connection::Connection;
use super::sent::Sent;

/// The most idle connections that are kept for one upstream.
const MAX_IDLE: usize = 1024;

/// How often idle connections are looked at: whether their peers have closed
/// them, and how long they have been idle.
const LOOK: Duration = Duration::from_secs(5);

/// How many pieces of an answer that nobody wants are read to use its
/// connection again.
const LEFT: usize = 4;

/// See the module.
pub(super) struct Pool {
    connector: Connector,
    idle: Mutex<HashMap<Authority, Vec<Idle>>>,
    /// Whether someone looks at them.
    looking: AtomicBool,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

/// The body of an answer, with the connection that brings it.
pub struct Pooled {
    body: Incoming,
    /// None if the connection has a task of its own.
    held: Option<Held>,
}

struct Held {
    connection: Box<Connection>,
    authority: Authority,
    pool: Weak<Pool>,
}

/// A request that names no upstream.
#[derive(Debug, thiserror::Error)]
#[error("the request names no host")]
struct NoHost;

impl Pool {
    pub fn new(connector: Connector) -> Arc<Self> {
        Arc::new(Self {
            connector,
            idle: Mutex::default(),
            looking: AtomicBool::new(false),
        })
    }

    /// Sends a request, and answers the head of the answer.
    pub async fn send(
        self: &Arc<Self>,
        mut request: Request<Sent>,
    ) -> Result<Response<Pooled>, BoxError> {
        let to = request.uri().clone();
        let authority = to.authority().ok_or(NoHost)?;
        // A base URL has neither a user nor the scheme's own port (`base`).
        let host = HeaderValue::from_str(authority.as_str())?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = origin_form(&to);
        let upload = request.body().under_way();
        let exchange = (authority, &upload);
        while let Some(connection) = self.take(authority) {
            match connection.send(request).await {
                Ok(response) => return Ok(self.holding(response, exchange)),
                // Its peer has closed it meanwhile.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        // Most need none, and its state is large.
        let connection = Box::pin(self.connect(&to)).await?;
        self.look_on();
        match connection.send(request).await {
            Ok(response) => Ok(self.holding(response, exchange)),
            Err(error) => Err(error.into_error().into()),
        }
    }

    async fn connect(&self, to: &Uri) -> Result<Box<Connection>, BoxError> {
        let stream = self.connector.clone().oneshot(to.clone()).await?;
        Ok(Connection::over(stream).await?)
    }

    /// The connection stays with the answer. If the client has more to send,
    /// that must not wait until someone wants more of the answer.
    fn holding(
        self: &Arc<Self>,
        response: Response<(Incoming, Box<Connection>)>,
        (authority, upload): (&Authority, &Weak<()>),
    ) -> Response<Pooled> {
        response.map(|(body, connection)| {
            if upload.strong_count() > 0 {
                tokio::spawn(connection.run());
                return Pooled { body, held: None };
            }
            let held = Held {
                connection,
                authority: authority.clone(),
                pool: Arc::downgrade(self),
            };
            Pooled {
                body,
                held: Some(held),
            }
        })
    }

    /// The idle connection that was used last.
    fn take(&self, authority: &Authority) -> Option<Box<Connection>> {
        loop {
            let Idle { connection, since } = self.idle().get_mut(authority)?.pop()?;
            let mut idle = Idle { connection, since };
            if idle.may_stay() {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, authority: Authority, connection: Box<Connection>) {
        let since = Instant::now();
        let mut idle = self.idle();
        let idle = idle.entry(authority).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { connection, since });
        }
    }

    /// Looks at idle connections now and then, for as long as there is a pool.
    fn look_on(self: &Arc<Self>) {
        if self.looking.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(pool) = pool.upgrade() else {
                    return;
                };
                pool.idle().retain(|_, idle| {
                    idle.retain_mut(Idle::may_stay);
                    !idle.is_empty()
                });
            }
        });
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Authority, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn may_stay(&mut self) -> bool {
        self.since.elapsed() < IDLE_CONNECTION && self.connection.is_idle()
    }
}

/// The target of a request as a server takes it (RFC 9112, section 3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    let root = PathAndQuery::from_static("/");
    uri.path_and_query().cloned().unwrap_or(root).into()
}

impl Body for Pooled {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, held } = self.get_mut();
        let mut body = Pin::new(body);
        match held {
            Some(Held { connection, .. }) => match ready!(connection.poll_chunks(context)) {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None => connection.poll(context, |context| body.as_mut().poll_frame(context)),
            },
            None => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Pooled {
    /// Whether others than whoever waits for it read it from the connection.
    pub fn is_brought(&self) -> bool {
        self.held.is_none()
    }

    /// Whether all of the answer has come; what is left may be taken for it.
    fn has_ended(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..LEFT {
            match Pin::new(&mut *self).poll_frame(&mut context) {
                Poll::Ready(None) => return true,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_))) | Poll::Pending => return false,
            }
        }
        false
    }
}

/// Gives the connection back if all of the answer has come; otherwise it is
/// closed, which tells the upstream that nobody wants the rest.
impl Drop for Pooled {
    fn drop(&mut self) {
        // Whoever drops it may have used up its budget.
        let ended = coop::unconstrained(async { self.has_ended() }).now_or_never();
        let Some(held) = self.held.take().filter(|_| ended == Some(true)) else {
            return;
        };
        let Held {
            mut connection,
            authority,
            pool,
        } = held;
        if let Some(pool) = pool.upgrade().filter(|_| connection.is_idle()) {
            pool.put(authority, connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::super::client::causes;
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    use super::*;

    const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nword";
    const CHUNKS: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nword\r\n0\r\n\r\n";
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    /// An answer without a body, whatever its head says.
    const NO_CHUNKS: &str = "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n";
    const CLOSE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nword";
    const MORE: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nword\r\n";

    /// Answers every request with the same bytes, and tells of each connection
    /// that its client has closed it.
    struct Server {
        uri: Uri,
        made: Arc<AtomicUsize>,
        closed: mpsc::UnboundedReceiver<()>,
    }

    impl Server {
        /// Each connection is closed after `requests` of them.
        async fn start(answer: &'static str, requests: usize) -> Self {
            Self::start_with(answer, requests, usize::MAX).await
        }

        /// The same, with answers that come in pieces of `step` bytes.
        async fn start_with(answer: &'static str, requests: usize, step: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let made = Arc::new(AtomicUsize::new(0));
            let (tell, closed) = mpsc::unbounded_channel();
            let count = made.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(answer_all(stream, (answer, requests, step), tell.clone()));
                }
            });
            Self {
                uri: Uri::try_from(format!("http://{address}/path?query")).unwrap(),
                made,
                closed,
            }
        }

        fn request(&self) -> Request<Sent> {
            let mut request = Request::new(Sent::from(Bytes::from_static(b"{}")));
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = self.uri.clone();
            request
        }

        fn made(&self) -> usize {
            self.made.load(Ordering::SeqCst)
        }
    }

    async fn answer_all(
        mut stream: TcpStream,
        (answer, requests, step): (&str, usize, usize),
        tell: mpsc::UnboundedSender<()>,
    ) {
        stream.set_nodelay(true).unwrap();
        let mut all = Vec::new();
        for _ in 0..requests {
            while !all.ends_with(b"{}") {
                if stream.read_buf(&mut all).await.unwrap_or(0) == 0 {
                    let _ = tell.send(());
                    return;
                }
            }
            let head = String::from_utf8(std::mem::take(&mut all)).unwrap();
            assert!(head.starts_with("POST /path?query HTTP/1.1\r\n"), "{head}");
            let host = format!("Host: {}\r\n", stream.local_addr().unwrap());
            assert!(head.contains(&host), "{head}");
            for piece in answer.as_bytes().chunks(step) {
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
        }
    }

    fn pool() -> Arc<Pool> {
        Pool::new(Connector::new().unwrap())
    }

    async fn read(body: &mut Pooled) -> String {
        let all = body.collect().await.unwrap().to_bytes();
        String::from_utf8(all.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_connection_is_used_again_if_its_answer_is_over() {
        let cases = [
            (LENGTH, "word", 1),
            (CHUNKS, "word", 1),
            (EMPTY, "", 1),
            (NO_CHUNKS, "", 1),
            (CLOSE, "word", 3),
        ];
        for (answer, text, made) in cases {
            let (server, pool) = (Server::start(answer, usize::MAX).await, pool());
            for _ in 0..3 {
                let mut response = pool.send(server.request()).await.unwrap();
                assert_eq!(read(response.body_mut()).await, text, "{answer}");
            }
            assert_eq!(server.made(), made, "{answer}");
        }
    }

    #[tokio::test]
    async fn chunks_that_have_come_are_one_piece() {
        const MANY: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                            2\r\nwo\r\n2\r\nrd\r\n1\r\ns\r\n0\r\nx: y\r\n\r\n";
        // The head comes whole, or in two parts.
        for step in [usize::MAX, MANY.find("\r\n2\r\n").unwrap()] {
            let (server, pool) = (Server::start_with(MANY, 1, step).await, pool());
            let mut response = pool.send(server.request()).await.unwrap();
            let body = response.body_mut();
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "words", "{step}");
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_trailers().unwrap()["x"], "y", "{step}");
            assert!(body.frame().await.is_none());
        }
    }

    const TEXT: &str = "word and another";

    /// Answers that are `TEXT`.
    const WHOLE: [&str; 7] = [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n\
         4\r\nword\r\n6\r\n and a\r\n5\r\nnothe\r\n1\r\nr\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         10\r\nword and another\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         4;with=an-extension\r\nword\r\n0c\r\n and another\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n10\r\nword and another\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         10\r\nword and another\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nx: chunked\r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         10\r\nword and another\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: chunked\r\ncontent-length: 16\r\n\r\nword and another",
    ];

    /// How a body goes on that is none, after a chunk.
    const BROKEN: [&str; 6] = [
        "1;\nx\r\na\r\n0\r\n\r\n",
        "x\r\n",
        "0\r\n",
        "2\r\nw",
        "1\r\nwo\r\n",
        "1111111111111111\r\n",
    ];

    /// Chunks are read here until something is hyper's to judge.
    #[tokio::test]
    async fn chunks_are_read_as_hyper_reads_them() {
        let whole = WHOLE.map(|answer| (answer.to_owned(), usize::MAX));
        let broken = BROKEN.map(|end| (MORE.to_owned() + end, 1));
        for (answer, requests) in whole.into_iter().chain(broken) {
            let answer: &'static str = answer.leak();
            let expected = (requests > 1).then_some(TEXT.as_bytes());
            for step in [1, 7, usize::MAX] {
                let server = Server::start_with(answer, requests, step).await;
                let pool = pool();
                for _ in 0..2 {
                    let mut response = pool.send(server.request()).await.unwrap();
                    let read = response.body_mut().collect().await;
                    let read = read.map(|all| all.to_bytes());
                    assert_eq!(read.as_deref().ok(), expected, "{answer:?}, {step}");
                }
                let made = if requests > 1 { 1 } else { 2 };
                assert_eq!(server.made(), made, "{answer:?}, {step}");
            }
        }
    }

    /// Of a stream that breaks off, as of all others, it is told why.
    #[tokio::test]
    async fn a_chunk_that_breaks_off_says_why() {
        let cases = [
            ("1\r\nwo", "line break"),
            ("2\r\nw", "closed within a chunk"),
        ];
        for (end, why) in cases {
            let answer: &'static str = (MORE.to_owned() + end).leak();
            let (server, pool) = (Server::start(answer, 1).await, pool());
            let mut response = pool.send(server.request()).await.unwrap();
            let error = response.body_mut().collect().await.unwrap_err();
            let causes: Vec<_> = causes(&error).map(ToString::to_string).collect();
            assert!(causes.join(": ").contains(why), "{causes:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_of_known_length_is_over_with_its_last_byte() {
        let (server, pool) = (Server::start(LENGTH, usize::MAX).await, pool());
        for _ in 0..3 {
            let mut response = pool.send(server.request()).await.unwrap();
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "word");
        }
        assert_eq!(server.made(), 1);
    }

    #[tokio::test]
    async fn exchanges_at_the_same_time_have_connections_of_their_own() {
        let (server, pool) = (Server::start(LENGTH, usize::MAX).await, pool());
        for _ in 0..2 {
            let sent = (0..4).map(|_| pool.send(server.request()));
            let answers = futures_util::future::join_all(sent).await;
            for answer in answers {
                assert_eq!(read(answer.unwrap().body_mut()).await, "word");
            }
        }
        assert_eq!(server.made(), 4);
    }

    #[tokio::test]
    async fn a_connection_that_its_peer_has_closed_is_not_used() {
        let (server, pool) = (Server::start(LENGTH, 1).await, pool());
        for made in 1..=3 {
            let mut response = pool.send(server.request()).await.unwrap();
            assert_eq!(read(response.body_mut()).await, "word");
            assert_eq!(server.made(), made);
            drop(response);
            // Until the system has told that it is closed.
            let authority = server.uri.authority().unwrap();
            while let Some(connection) = pool.take(authority) {
                pool.put(authority.clone(), connection);
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_nobody_wants_closes_its_connection() {
        let (mut server, pool) = (Server::start(MORE, usize::MAX).await, pool());
        let mut response = pool.send(server.request()).await.unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "word");
        drop(response);
        server.closed.recv().await.unwrap();
        // Nor is a request that nobody waits for any more.
        let mut silent = Server::start("", usize::MAX).await;
        let mut sent = Box::pin(pool.send(silent.request()));
        while silent.made() == 0 {
            assert!(futures_util::poll!(&mut sent).is_pending());
            tokio::task::yield_now().await;
        }
        drop(sent);
        silent.closed.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_has_used_up_its_budget_goes_on() {
        let (server, pool) = (Server::start(CHUNKS, usize::MAX).await, pool());
        let exchange = async move {
            for _ in 0..300 {
                let mut response = pool.send(server.request()).await.unwrap();
                while coop::has_budget_remaining() {
                    coop::consume_budget().await;
                }
                assert_eq!(read(response.body_mut()).await, "word");
            }
            server.made()
        };
        assert_eq!(tokio::spawn(exchange).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_request_without_a_host_is_refused() {
        let request = Request::new(Sent::from(Bytes::new()));
        let error = pool().send(request).await.err().unwrap();
        assert_eq!(error.to_string(), "the request names no host");
    }
}
