//! The upstream side: where a request may go, what is put on the wire, and how
//! long the answer may take. Credentials are placed here, after the last
//! plugin has run, and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::Url;

use crate::failure::{Failure, Kind};
use crate::generation::{Adapter, NamedCredential};
use crate::message::plugin_header;
use crate::plugin::{Credential, UpstreamRequest};
use crate::veil::Veil;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept. Providers close theirs after minutes.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// Makes the client that all upstream requests go through: it follows no
/// redirects, keeps no cookies, and undoes compression.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    install_cryptography();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        // A proxy from the environment would see credentials that are bound to
        // other hosts.
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tcp_nodelay(true)
        .http1_title_case_headers()
        .build()
}

/// Names the provider of cryptography for all TLS of the process.
pub(crate) fn install_cryptography() {
    // Fails only if one is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A request that is ready to be sent.
pub struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    /// Covers the credential that was placed in what comes back.
    veil: Option<Veil>,
}

impl Outgoing {
    /// Puts together what an adapter asked for, and checks it: the path stays
    /// below the adapter's own upstream, header fields are well-formed and not
    /// the host's, the credential is there.
    pub fn new(
        adapter: &Adapter,
        method: Method,
        request: UpstreamRequest,
        body: Bytes,
    ) -> Result<Self, Failure> {
        let name = &adapter.plugin.name;
        let broke = |what: String| {
            Failure::new(
                Kind::Plugin,
                format!("plugin \"{name}\" (provider): its request cannot be sent"),
            )
            .with_detail(what)
        };
        let Some(base) = &adapter.upstream else {
            return Err(
                Failure::new(Kind::Internal, format!("plugin \"{name}\" has no upstream"))
                    .with_detail(format!(
                        "add `upstream = \"https://…\"` to [plugins.{name}]"
                    )),
            );
        };
        let method = match &request.method {
            Some(method) => own_method(method).map_err(broke)?,
            None => method,
        };
        if request.headers.len() > MAX_HEADERS {
            return Err(broke(format!(
                "it has more than {MAX_HEADERS} header fields"
            )));
        }
        let mut url = below(base, &request.path).map_err(broke)?;
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 2);
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("palisade/", env!("CARGO_PKG_VERSION"))),
        );
        for (header, value) in request.headers {
            let header = plugin_header(&header).map_err(broke)?;
            let value = HeaderValue::from_bytes(&value)
                .map_err(|_| broke(format!("header \"{header}\" has a bad value")))?;
            if header == USER_AGENT {
                headers.insert(header, value);
            } else {
                headers.append(header, value);
            }
        }
        let veil = place(
            &request.credential,
            adapter.credential.as_ref(),
            &mut headers,
            &mut url,
        )?;
        Ok(Self {
            method,
            url,
            headers,
            body,
            veil,
        })
    }

    /// Sends the request and waits for the head of the answer.
    pub async fn send(self, client: &reqwest::Client, wait: Duration) -> Result<Incoming, Failure> {
        let host = self.url.host_str().unwrap_or_default().to_owned();
        let bodiless = self.body.is_empty()
            && matches!(
                self.method,
                Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE
            );
        let mut request = client.request(self.method, self.url).headers(self.headers);
        if !bodiless {
            request = request.body(self.body);
        }
        let response = match tokio::time::timeout(wait, request.send()).await {
            Ok(Ok(response)) if response.status().is_informational() => {
                let message = format!("upstream {host} answered {}", response.status().as_u16());
                return Err(Failure::new(Kind::Upstream, message));
            }
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unreachable(&host, error)),
            Err(_) => {
                let message = format!(
                    "upstream {host} did not answer within {} s",
                    wait.as_secs_f32()
                );
                return Err(Failure::new(Kind::UpstreamTimeout, message));
            }
        };
        Ok(Incoming::of(host, response, self.veil))
    }
}

/// The most header fields of a request or an answer that a plugin may choose.
pub const MAX_HEADERS: usize = 256;

/// Methods that are passed on. Others make an upstream a tunnel or a mirror:
/// what answers a TRACE sends the credential back.
pub fn is_passed_on(method: &Method) -> bool {
    const PASSED_ON: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    PASSED_ON.contains(method)
}

fn own_method(name: &str) -> Result<Method, String> {
    let method = Method::from_bytes(name.as_bytes())
        .ok()
        .filter(is_passed_on);
    method.ok_or_else(|| format!("method {name:?} is not passed on"))
}

/// The URL of a path below a base, however the path is written.
fn below(base: &Url, path: &str) -> Result<Url, String> {
    let wrong = || {
        format!(
            "path {:?} is not below {}",
            path.chars().take(256).collect::<String>(),
            base.path()
        )
    };
    let well_formed = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains(['#', '\\'])
        && !path.bytes().any(|b| b <= b' ' || b == 0x7f);
    if !well_formed {
        return Err(wrong());
    }
    let prefix = base.path().trim_end_matches('/');
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let mut url = base.clone();
    url.set_path(&format!("{prefix}{path}"));
    url.set_query(query);
    // Dot segments are resolved by now: they must not have led out.
    let inside = url.path() == prefix || url.path().starts_with(&format!("{prefix}/"));
    if inside { Ok(url) } else { Err(wrong()) }
}

fn place(
    wanted: &Credential,
    credential: Option<&NamedCredential>,
    headers: &mut HeaderMap,
    url: &mut Url,
) -> Result<Option<Veil>, Failure> {
    if matches!(wanted, Credential::None) {
        return Ok(None);
    }
    // A server of one's own may want none.
    let Some(credential) = credential else {
        return Ok(None);
    };
    let Some(secret) = &credential.secret else {
        let NamedCredential { name, source, .. } = credential;
        return Err(Failure::new(
            Kind::Internal,
            format!("the gateway's credential \"{name}\" is missing: {source} is not set"),
        )
        .with_code("credential_missing"));
    };
    let unusable = || {
        Failure::new(
            Kind::Internal,
            format!(
                "the gateway's credential \"{}\" cannot be sent",
                credential.name
            ),
        )
    };
    let (header, value) = match wanted {
        Credential::None => return Ok(None),
        Credential::Bearer => (AUTHORIZATION, format!("Bearer {}", secret.expose())),
        Credential::Header(name) => {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            (name, secret.expose().to_owned())
        }
        Credential::Query(parameter) => {
            url.query_pairs_mut()
                .append_pair(parameter, secret.expose());
            return Ok(credential.veil.clone());
        }
        Credential::Signature(scheme) => {
            return Err(unusable().with_detail(format!("signature scheme {scheme:?} is not known")));
        }
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| unusable())?;
    value.set_sensitive(true);
    headers.insert(header, value);
    Ok(credential.veil.clone())
}

/// What reqwest says with all its causes, without the URL, whose query may
/// hold a key.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn unreachable(host: &str, error: reqwest::Error) -> Failure {
    let timed_out = error.is_timeout();
    let failure = if timed_out {
        let message = format!("upstream {host} could not be connected to in time");
        Failure::new(Kind::UpstreamTimeout, message)
    } else {
        Failure::new(
            Kind::Upstream,
            format!("upstream {host} could not be reached"),
        )
    };
    failure.with_detail(cause(error))
}

/// The pieces of a body; an error says why there are no more.
pub type Chunks = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// An answer whose head has come.
pub struct Incoming {
    host: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The length of the body, if the upstream gave one and it was not
    /// compressed.
    pub length: Option<u64>,
    body: Chunks,
    veil: Option<Veil>,
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
const NOT_FOR_CLIENTS: [&str; 14] = [
    "set-cookie",
    "alt-svc",
    "strict-transport-security",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "trailer",
    "upgrade",
    "proxy-authenticate",
    "proxy-connection",
    "via",
    "server",
    "date",
];

impl Incoming {
    fn of(host: String, response: reqwest::Response, veil: Option<Veil>) -> Self {
        let (status, mut headers) = (response.status(), response.headers().clone());
        if let Some(veil) = &veil {
            veil.headers(&mut headers);
        }
        let length = response.content_length();
        let chunks = response.bytes_stream().map(|chunk| chunk.map_err(cause));
        let chunks = chunks.fuse();
        Self {
            length,
            veil,
            ..Self::new(host, status, headers, Box::pin(chunks))
        }
    }

    /// An answer of which the head is there and the body comes.
    pub fn new(host: String, status: StatusCode, mut headers: HeaderMap, body: Chunks) -> Self {
        for name in named_by_connection(&headers) {
            headers.remove(name);
        }
        for name in NOT_FOR_CLIENTS {
            headers.remove(name);
        }
        Self {
            host,
            status,
            headers,
            length: None,
            body,
            veil: None,
        }
    }

    /// The next piece of the body; none when it is over.
    pub async fn chunk(&mut self, idle: Duration) -> Result<Option<Bytes>, Failure> {
        loop {
            let piece = self.piece(idle).await?;
            let Some(veil) = &mut self.veil else {
                return Ok(piece);
            };
            let Some(piece) = piece else {
                return Ok(Some(veil.rest()).filter(|rest| !rest.is_empty()));
            };
            let shown = veil.pass(piece);
            // What may be the beginning of the credential waits for the rest.
            if !shown.is_empty() {
                return Ok(Some(shown));
            }
        }
    }

    async fn piece(&mut self, idle: Duration) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(idle, self.body.next()).await {
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(None) => Ok(None),
            Ok(Some(Err(cause))) => {
                let message = format!("upstream {} broke off its answer", self.host);
                let failure = Failure::new(Kind::Upstream, message);
                Err(failure.with_detail(cause).with_code("upstream_truncated"))
            }
            Err(_) => {
                let message = format!(
                    "upstream {} was silent for {} s",
                    self.host,
                    idle.as_secs_f32()
                );
                Err(Failure::new(Kind::UpstreamTimeout, message))
            }
        }
    }

    /// The whole body, of at most `limit` bytes.
    pub async fn whole(&mut self, limit: usize, idle: Duration) -> Result<Bytes, Failure> {
        let mut first = Bytes::new();
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk(idle).await? {
            if first.len() + all.len() + chunk.len() > limit {
                let message = format!(
                    "upstream {} answered with more than {limit} bytes",
                    self.host
                );
                return Err(Failure::new(Kind::Upstream, message));
            }
            // Most answers come in one piece, which need not be copied.
            match (first.is_empty(), all.is_empty()) {
                (true, true) => first = chunk,
                (false, true) => {
                    all.extend_from_slice(&first);
                    all.extend_from_slice(&chunk);
                    first = Bytes::new();
                }
                _ => all.extend_from_slice(&chunk),
            }
        }
        Ok(if all.is_empty() { first } else { all.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_upstream() {
        let base = Url::parse("https://api.example.com/v1/").unwrap();
        let inside = [
            (
                "/chat/completions",
                "https://api.example.com/v1/chat/completions",
            ),
            (
                "/models?limit=2",
                "https://api.example.com/v1/models?limit=2",
            ),
            ("/a/../b", "https://api.example.com/v1/b"),
        ];
        for (path, url) in inside {
            assert_eq!(below(&base, path).unwrap().as_str(), url);
        }
        let outside = [
            "",
            "x",
            "//evil.example/",
            "/../v2/x",
            "/%2e%2e/x",
            "/a b",
            "/a#b",
            "/\\evil",
            "/..",
            "/x\r\ny",
        ];
        for path in outside {
            assert!(
                below(&base, path).is_err(),
                "{path:?} gave {:?}",
                below(&base, path)
            );
        }
        let root = Url::parse("https://api.example.com").unwrap();
        assert_eq!(
            below(&root, "/v1/messages").unwrap().as_str(),
            "https://api.example.com/v1/messages"
        );
    }
}
