//! The upstream side: where a request may go, what is put on the wire, and how
//! long the answer may take.
//!
//! - `base`: a base URL, and what is below it
//! - `client`: what all requests go through, and its bounds
//! - `pool`, `connection`: connections without TLS
//! - `wire`, `chunks`: the data of chunked answers on those
//! - `sent`, `incoming`: a request's body, and the answer
//!
//! Credentials are placed here, after the last plugin has run, and nowhere
//! else.

mod base;
mod chunks;
mod client;
mod connection;
mod incoming;
mod pool;
mod sent;
mod wire;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::sync::oneshot;

pub use base::Base;
use client::{BoxError, causes, is_late};
pub use client::{Client, Connector, ConnectorError, Received, install_cryptography};
pub use incoming::Incoming;
use incoming::told;
pub use sent::{Relaying, Sent, Unsent};

use crate::failure::{Failure, Kind};
use crate::generation::{Adapter, Direct, NamedCredential};
use crate::message::plugin_header;
use crate::plugin::{Credential, UpstreamRequest};
use crate::veil::Veil;

/// A request that is ready to be sent.
pub struct Outgoing {
    base: Base,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Sent,
    /// Covers the credential that was placed in what comes back.
    veil: Option<Veil>,
    /// Of a body that is passed on as it comes.
    relaying: Option<oneshot::Receiver<()>>,
}

impl Outgoing {
    /// Puts together what an adapter asked for, and checks it: the path stays
    /// below the adapter's own upstream, header fields are well-formed and not
    /// the host's, the credential is there.
    pub fn new(
        adapter: &Adapter,
        method: Method,
        request: UpstreamRequest,
        body: Sent,
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
        let mut headers = own_headers(request.headers.len());
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
        let credential = adapter.credential.as_ref();
        let parameter = place(&request.credential, credential, &mut headers)?;
        let uri = base
            .below(&request.path, parameter.as_deref())
            .map_err(broke)?;
        Ok(Self {
            base: base.clone(),
            method,
            uri,
            headers,
            body,
            veil: veil(&request.credential, credential),
            relaying: None,
        })
    }

    /// The request of a client, for an upstream that takes it as it comes:
    /// its method, path and query, and those of its header fields that go.
    pub fn direct(
        direct: &Direct,
        (method, path): (Method, &str),
        fields: HeaderMap,
        body: Sent,
    ) -> Result<Self, Failure> {
        let mut headers = own_headers(fields.len());
        headers.extend(fields);
        let credential = direct.credential.as_ref();
        let parameter = place(&direct.kind, credential, &mut headers)?;
        let uri = direct.upstream.below(path, parameter.as_deref());
        Ok(Self {
            base: direct.upstream.clone(),
            method,
            uri: uri.map_err(Failure::invalid)?,
            headers,
            body,
            veil: veil(&direct.kind, credential),
            relaying: None,
        })
    }

    /// Waits for an answer only when `over` is ready: the body is sent then.
    pub fn after(self, over: oneshot::Receiver<()>) -> Self {
        Self {
            relaying: Some(over),
            ..self
        }
    }

    /// Sends the request and waits for the head of the answer, for `wait` after
    /// the body has been sent.
    pub async fn send(self, client: &Client, wait: Duration) -> Result<Incoming, Failure> {
        let mut request = http::Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        let (host, veil) = (self.base.host(), self.veil);
        let mut sending = std::pin::pin!(client.send(request));
        if let Some(over) = self.relaying {
            // The client's body has a bound of its own, and ends by it.
            tokio::select! {
                biased;
                answered = &mut sending => return head(host, answered, veil),
                _ = over => {}
            }
        }
        match tokio::time::timeout(wait, sending).await {
            Ok(answered) => head(host, answered, veil),
            Err(_) => {
                let limit = wait.as_secs_f32();
                let message = format!("upstream {host} did not answer within {limit} s");
                Err(Failure::new(Kind::UpstreamTimeout, message))
            }
        }
    }
}

/// The answer, if it is one that can be passed on.
fn head(
    host: &Arc<str>,
    answered: Result<Response<Received>, BoxError>,
    veil: Option<Veil>,
) -> Result<Incoming, Failure> {
    let response = answered.map_err(|error| {
        let error = error.as_ref();
        unsent(error).unwrap_or_else(|| unreachable(host, error))
    })?;
    if response.status().is_informational() {
        let message = format!("upstream {host} answered {}", response.status().as_u16());
        return Err(Failure::new(Kind::Upstream, message));
    }
    Ok(Incoming::new(host.clone(), response).veiled(veil))
}

/// What covers a credential that was placed.
fn veil(wanted: &Credential, credential: Option<&NamedCredential>) -> Option<Veil> {
    let placed = credential.filter(|_| !matches!(wanted, Credential::None));
    placed?.veil.clone()
}

/// The fields that every request begins with, with room for more.
fn own_headers(more: usize) -> HeaderMap {
    // The credential and the codings that are taken come besides.
    let mut headers = HeaderMap::with_capacity(more + 4);
    let agent = concat!("palisade/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers
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

/// Puts the credential among the header fields, or answers the parameter of
/// the query that it is.
fn place(
    wanted: &Credential,
    credential: Option<&NamedCredential>,
    headers: &mut HeaderMap,
) -> Result<Option<String>, Failure> {
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
            let mut pair = form_urlencoded::Serializer::new(String::new());
            return Ok(Some(pair.append_pair(parameter, secret.expose()).finish()));
        }
        Credential::Signature(scheme) => {
            return Err(unusable().with_detail(format!("signature scheme {scheme:?} is not known")));
        }
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| unusable())?;
    value.set_sensitive(true);
    headers.insert(header, value);
    Ok(None)
}

/// What a client's body failed with, if that is why the request was not sent.
fn unsent(error: &(dyn StdError + 'static)) -> Option<Failure> {
    let unsent = causes(error).find_map(|cause| cause.downcast_ref::<Unsent>())?;
    let failure = |kind| Failure::new(kind, unsent.to_string());
    Some(match unsent {
        Unsent::TooLarge(_) => failure(Kind::TooLarge),
        Unsent::Late => failure(Kind::RequestTimeout),
        Unsent::Broken(cause) => Failure::invalid("the body could not be read").with_detail(cause),
    })
}

fn unreachable(host: &str, error: &(dyn StdError + 'static)) -> Failure {
    let failure = if is_late(error) {
        let message = format!("upstream {host} could not be connected to in time");
        Failure::new(Kind::UpstreamTimeout, message)
    } else {
        let message = format!("upstream {host} could not be reached");
        Failure::new(Kind::Upstream, message)
    };
    failure.with_detail(told(error))
}
