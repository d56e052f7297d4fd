//! The client that all requests to upstreams go through: its connections, its
//! bounds, and what it makes of a failure.
//!
//! It follows no redirects, keeps no cookies, takes no proxy from the
//! environment (which would see credentials that are bound to other hosts),
//! and undoes compression.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_platform_verifier::BuilderVerifierExt;
use tower::Service;
use tower_http::decompression::Decompression;

use super::connection::Stream;
use super::pool::{Pool, Pooled};
use super::sent::Sent;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept. Providers close theirs after minutes.
pub(super) const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// How often a connection that says nothing is asked whether its peer is still
/// there, how often without an answer, and how long what was sent may go
/// unconfirmed. A stream may be silent for minutes.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;
#[cfg(target_os = "linux")]
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// How often a request is sent again that an upstream said it did not look at.
const RETRIES: u32 = 2;

/// What is asked for, and undone.
const CODINGS: HeaderValue = HeaderValue::from_static("zstd,gzip,deflate,br");

pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// No connection can be made: the system's certificates cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the system's certificates cannot be read")]
pub struct ConnectorError(#[from] rustls::Error);

/// See the module.
pub struct Client {
    /// What speaks TLS, and maybe HTTP/2.
    secure: legacy::Client<Connector, Sent>,
    plain: Arc<Pool>,
}

/// The body of an answer, without compression.
pub enum Received {
    /// Of a connection that has a task of its own.
    Brought(Incoming),
    Pooled(Pooled),
    Unpacked(UnsyncBoxBody<Bytes, BoxError>),
}

/// Names the provider of cryptography for all TLS of the process.
pub fn install_cryptography() {
    // Fails only if one is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Client {
    /// A client with connections of its own, which live on the runtime that
    /// it is used on.
    pub fn new(connector: Connector) -> Self {
        let mut secure = legacy::Client::builder(TokioExecutor::new());
        secure
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .http1_title_case_headers(true);
        Self {
            secure: secure.build(connector.clone()),
            plain: Pool::new(connector),
        }
    }

    /// Sends a request, and answers the head of the answer.
    pub(super) async fn send(
        &self,
        mut request: Request<Sent>,
    ) -> Result<Response<Received>, BoxError> {
        let headers = request.headers_mut();
        let any = HeaderValue::from_static("*/*");
        headers.entry(ACCEPT).or_insert(any);
        headers.insert(ACCEPT_ENCODING, CODINGS);
        if request.uri().scheme() == Some(&Scheme::HTTPS) {
            // Its state is several times that of the other way.
            let response = Box::pin(self.send_securely(request)).await?;
            return Ok(unpacked(response, Received::Brought).await);
        }
        let response = self.plain.send(request).await?;
        Ok(unpacked(response, Received::Pooled).await)
    }

    /// Over HTTP/2 a connection may be closed in an orderly way with requests
    /// on it that were not looked at: those are sent again.
    async fn send_securely(
        &self,
        mut request: Request<Sent>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        for _ in 0..RETRIES {
            let Some(again) = copy(&request) else {
                break;
            };
            match self.secure.request(request).await {
                Err(error) if is_unseen(&error) => request = again,
                answered => return answered,
            }
        }
        self.secure.request(request).await
    }
}

/// A copy of a request that may have to be sent again.
fn copy(request: &Request<Sent>) -> Option<Request<Sent>> {
    let mut copy = Request::new(request.body().copy()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Whether the upstream said that it had not looked at the request (RFC 9113,
/// section 8.7), or was about to close the connection.
fn is_unseen(error: &(dyn StdError + 'static)) -> bool {
    let told = causes(error).find_map(|cause| cause.downcast_ref::<h2::Error>());
    told.is_some_and(|told| {
        let reason = told.reason();
        let refused = told.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM);
        let leaving = told.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
        told.is_remote() && (refused || leaving)
    })
}

/// An error and what caused it.
pub(super) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Whether a connection was not made because of the time that it took.
pub(super) fn is_late(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| {
        let timed_out = |e: &std::io::Error| e.kind() == std::io::ErrorKind::TimedOut;
        cause.is::<ConnectTimeout>() || cause.downcast_ref().is_some_and(timed_out)
    })
}

/// Undoes the compression of an answer, if there is any.
async fn unpacked<B>(response: Response<B>, plain: impl FnOnce(B) -> Received) -> Response<Received>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + 'static,
{
    if !response.headers().contains_key(CONTENT_ENCODING) {
        return response.map(plain);
    }
    // The crate has its decoders behind a service only: this one answers with
    // what it is asked.
    let echo = tower::service_fn(|request: Request<Response<B>>| {
        std::future::ready(Ok::<_, Infallible>(request.into_body()))
    });
    let Ok(unpacked) = Decompression::new(echo).call(Request::new(response)).await;
    unpacked.map(|body| Received::Unpacked(body.boxed_unsync()))
}

/// Makes connections, within their time. Its clones have the certificates and
/// the TLS sessions in common.
#[derive(Debug, Clone)]
pub struct Connector(HttpsConnector<HttpConnector>);

/// A connection, with TLS and all, took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
struct ConnectTimeout;

impl Connector {
    pub fn new() -> Result<Self, ConnectorError> {
        // For whatever else in this process speaks TLS.
        install_cryptography();
        let mut tcp = HttpConnector::new();
        // What has a scheme of its own is the TLS connector's to find out.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNCONFIRMED));
        // The certificates that the system trusts.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        Ok(Self(connector))
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectTimeout.into()),
            }
        })
    }
}
