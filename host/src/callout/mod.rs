//! Requests that plugins make of their own: to whom, how many, how large, and
//! with which credential. A plugin's requests go through one `Callout`, which
//! is made with the plugin and holds what the manifest grants it.
//!
//! - A request goes to an origin that is granted, and to a public address or
//!   one that is granted too (`resolve`); connections are not shared with other
//!   plugins, whose grants may differ.
//! - A redirect is an answer like any other; a proxy from the environment is
//!   not used; cookies are not kept.
//! - A credential is placed by its name (`credential`), and covered in what
//!   comes back.
//! - A body is held whole, both ways, so that a slow plugin holds no
//!   connection.
//!
//! The providers' side of the gateway is not here: that is `upstream`.

mod address;
mod credential;
mod origin;
mod resolve;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::Resolve;
use tokio::sync::Semaphore;

pub use credential::Bound;
pub use origin::Origin;
pub use resolve::Prohibited;

use crate::upstream;
use resolve::{Lookup, Resolver, system};

/// How long a connection may take to be made. A call of a plugin has a second
/// unless the manifest says otherwise, which mostly comes first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept, and how many for a host.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS: usize = 4;

/// The most header fields of a request or an answer.
pub const MAX_HEADERS: usize = 100;

/// The most bytes of all their names and values. Servers take 8 to 16 KiB.
pub const MAX_HEADER_BYTES: usize = 32 << 10;

/// The longest URL, in bytes; servers take 8 KiB.
const MAX_URL: usize = 8 << 10;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalloutError {
    /// The grants do not allow it.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Address(Prohibited),
    #[error("its URL is not one: {0}")]
    Url(String),
    #[error("method {0} is not passed on")]
    Method(String),
    #[error("it has more than {MAX_HEADERS} header fields, or {} KiB of them", MAX_HEADER_BYTES >> 10)]
    RequestHeaders,
    #[error("its answer has more than {MAX_HEADERS} header fields, or {} KiB of them", MAX_HEADER_BYTES >> 10)]
    ResponseHeaders,
    #[error("its answer is larger than {0} bytes")]
    ResponseBody(usize),
    #[error("the name could not be resolved: {0}")]
    Name(String),
    #[error("the connection was refused")]
    ConnectionRefused,
    #[error("the server could not be connected to in time")]
    ConnectionTimeout,
    #[error("the server's certificate is not good: {0}")]
    Certificate(String),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("the server did not answer in time")]
    ResponseTimeout,
    #[error("the answer broke off")]
    Incomplete,
    #[error("{0}")]
    Protocol(String),
}

/// How patient a plugin is with a server, if it says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    pub first_byte: Option<Duration>,
    pub between_bytes: Option<Duration>,
}

/// A request that is within the grants.
#[derive(Debug)]
pub struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
}

/// The whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a plugin's requests may reach, and how much of them there may be.
#[derive(Debug, Default)]
pub struct Reach {
    pub origins: Vec<Origin>,
    /// Networks that are not public, and that names may lead to all the same.
    pub private: Vec<IpNet>,
    /// Credentials that may be placed, by name.
    pub credentials: BTreeMap<String, Bound>,
    /// Requests at a time; further ones wait.
    pub max_requests: usize,
    /// Bytes of a body, either way.
    pub max_body: usize,
}

/// The way out for one plugin. See the module.
pub struct Callout {
    origins: Vec<Origin>,
    credentials: BTreeMap<String, Bound>,
    client: reqwest::Client,
    places: Semaphore,
    max_body: usize,
}

impl Callout {
    /// # Errors
    ///
    /// If the system's certificates cannot be loaded.
    pub fn new(reach: Reach) -> reqwest::Result<Self> {
        Self::with_lookup(reach, system())
    }

    fn with_lookup(reach: Reach, lookup: Lookup) -> reqwest::Result<Self> {
        let resolver = Resolver {
            private: reach.private,
            lookup,
            places: Arc::new(Semaphore::new(reach.max_requests)),
        };
        Ok(Self {
            origins: reach.origins,
            credentials: reach.credentials,
            client: client(resolver)?,
            places: Semaphore::new(reach.max_requests),
            max_body: reach.max_body,
        })
    }

    /// The most bytes of a body, either way.
    pub fn max_body(&self) -> usize {
        self.max_body
    }

    /// Whether a request is within the grants; made ready if it is.
    pub fn admit(&self, head: &http::request::Parts) -> Result<Outgoing, CalloutError> {
        let url = url(&head.uri)?;
        if !upstream::is_passed_on(&head.method) {
            return Err(CalloutError::Method(head.method.to_string()));
        }
        if !self.origins.iter().any(|origin| origin.matches(&url)) {
            let origin = url.origin().ascii_serialization();
            return Err(CalloutError::Refused(format!(
                "{origin} is not granted; \"http:{origin}\" in its `grants` would"
            )));
        }
        if !within_bounds(&head.headers) {
            return Err(CalloutError::RequestHeaders);
        }
        Ok(Outgoing {
            method: head.method.clone(),
            url,
            headers: head.headers.clone(),
        })
    }

    /// Sends a request when there is a place for it, and reads its answer.
    /// Who is not that patient drops the future.
    pub async fn send(
        &self,
        outgoing: Outgoing,
        body: Bytes,
        patience: Patience,
    ) -> Result<Answer, CalloutError> {
        let Outgoing {
            method,
            url,
            mut headers,
        } = outgoing;
        let veil = credential::place(&mut headers, &url, &self.credentials)?;
        headers.remove(http::header::CONTENT_LENGTH);
        let Ok(_place) = self.places.acquire().await else {
            return Err(CalloutError::Refused("the gateway stops".to_owned()));
        };
        let mut request = self.client.request(method, url).headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let mut response = patient(patience.first_byte, request.send()).await?;
        let mut headers = std::mem::take(response.headers_mut());
        if !within_bounds(&headers) {
            return Err(CalloutError::ResponseHeaders);
        }
        let mut body = self.read(&mut response, patience).await?;
        if let Some(mut veil) = veil {
            veil.headers(&mut headers);
            body = [veil.pass(body), veil.rest()].concat().into();
        }
        Ok(Answer {
            status: response.status(),
            headers,
            body,
        })
    }

    async fn read(
        &self,
        response: &mut reqwest::Response,
        patience: Patience,
    ) -> Result<Bytes, CalloutError> {
        let mut body = Vec::new();
        while let Some(chunk) = patient(patience.between_bytes, response.chunk()).await? {
            if body.len() + chunk.len() > self.max_body {
                return Err(CalloutError::ResponseBody(self.max_body));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

impl std::fmt::Debug for Callout {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Callout")
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

fn client(resolver: Resolver) -> reqwest::Result<reqwest::Client> {
    upstream::install_cryptography();
    let resolver: Arc<dyn Resolve> = Arc::new(resolver);
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("palisade/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(resolver)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tcp_nodelay(true)
        .http1_max_headers(MAX_HEADERS)
        .build()
}

/// The URL of a request, as it will be resolved and sent.
fn url(uri: &http::Uri) -> Result<Url, CalloutError> {
    let text = uri.to_string();
    if text.len() > MAX_URL {
        return Err(CalloutError::Url(format!(
            "it has more than {} KiB",
            MAX_URL >> 10
        )));
    }
    let url = Url::parse(&text).map_err(|e| CalloutError::Url(e.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        let why = "it holds a user name or a password";
        return Err(CalloutError::Url(why.to_owned()));
    }
    Ok(url)
}

fn within_bounds(headers: &HeaderMap) -> bool {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    headers.len() <= MAX_HEADERS && headers.iter().map(size).sum::<usize>() <= MAX_HEADER_BYTES
}

async fn patient<T>(
    time: Option<Duration>,
    waiting: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, CalloutError> {
    let result = match time {
        None => waiting.await,
        Some(time) => match tokio::time::timeout(time, waiting).await {
            Ok(result) => result,
            Err(_) => return Err(CalloutError::ResponseTimeout),
        },
    };
    result.map_err(|error| failure(&error))
}

/// What reqwest means, from all that caused it.
fn failure(error: &reqwest::Error) -> CalloutError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(it) = cause {
        if let Some(prohibited) = it.downcast_ref::<Prohibited>() {
            return CalloutError::Address(prohibited.clone());
        }
        if let Some(tls) = it.downcast_ref() {
            return of_tls(tls);
        }
        last = it.to_string();
        cause = match it.downcast_ref::<std::io::Error>() {
            Some(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
                return CalloutError::ConnectionRefused;
            }
            // What it wraps is not its source.
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => it.source(),
        };
    }
    if error.is_timeout() && error.is_connect() {
        CalloutError::ConnectionTimeout
    } else if error.is_timeout() {
        CalloutError::ResponseTimeout
    } else if error.is_dns() {
        CalloutError::Name(last)
    } else if error.is_body() || error.is_decode() {
        CalloutError::Incomplete
    } else {
        CalloutError::Protocol(last)
    }
}

fn of_tls(error: &rustls::Error) -> CalloutError {
    match error {
        rustls::Error::InvalidCertificate(_) => CalloutError::Certificate(error.to_string()),
        _ => CalloutError::Tls(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
