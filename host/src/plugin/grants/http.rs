//! `wasi:http` for plugins: from the standard's requests to `callout` and back.
//!
//! A call may make a few requests, within its time. Header fields that belong
//! to the host are neither written nor read by a plugin: those of a connection,
//! and those that carry credentials. A rehearsal makes no request at all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use wasmtime_wasi_http::{
    Error as Code, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks,
};

use crate::callout::{Answer, Callout, CalloutError, MAX_HEADER_BYTES, Outgoing, Patience};
use crate::message::plugin_header;
use crate::plugin::Terms;

/// The most requests of one call. A call asks one service, perhaps with a
/// token that it fetches before; what needs more is a crawler.
pub const MAX_REQUESTS: u32 = 8;

/// How much longer than its call a request may take. The call's own time comes
/// first, or chance would decide whether a plugin sees its end.
const GRACE: Duration = Duration::from_millis(100);

/// The most bytes of a body that are read although nothing will be sent.
const MAX_UNSENT: usize = 1 << 20;

/// What keeps a plugin's header fields small while they are made: the library
/// counts its own bookkeeping too.
const MAX_FIELDS: usize = 2 * MAX_HEADER_BYTES;

/// What one instance needs for HTTP.
pub(in crate::plugin) struct Http {
    pub(in crate::plugin) ctx: WasiHttpCtx,
    pub(in crate::plugin) hooks: Hooks,
}

/// Where requests of one instance come out.
pub(in crate::plugin) struct Hooks {
    terms: Arc<Terms>,
    /// When requests of the call under way end at the latest; none of a plugin
    /// that may make none.
    deadline: Option<Instant>,
    /// Requests that it has made.
    requests: u32,
    rehearsal: bool,
    /// Bytes of answers that the instance may hold: as many as the answers of
    /// one call can have.
    held: Option<Arc<Semaphore>>,
}

impl Http {
    pub(in crate::plugin) fn new(terms: Arc<Terms>, rehearsal: bool) -> Self {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(MAX_FIELDS);
        let hooks = Hooks {
            terms,
            deadline: None,
            requests: 0,
            rehearsal,
            held: None,
        };
        Self { ctx, hooks }
    }

    /// A call begins, which has its plugin's time.
    pub(in crate::plugin) fn begin_call(&mut self) {
        let hooks = &mut self.hooks;
        // Most plugins make no requests, and need not know what time it is.
        if hooks.callout().is_some() {
            hooks.deadline = Some(Instant::now() + hooks.terms.limits.time + GRACE);
            hooks.requests = 0;
        }
    }
}

/// A request's answer, and what goes on beside reading it, which is nothing.
type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Code>> + Send>,
    ),
    Code,
>;

/// A request on its way, with all that it needs.
struct Call {
    terms: Arc<Terms>,
    outgoing: Outgoing,
    /// What the plugin sees of the URL in the log: no path, no query.
    origin: String,
    patience: Patience,
    held: Arc<Semaphore>,
}

impl Hooks {
    fn callout(&self) -> Option<&Callout> {
        self.terms.given.callout.as_ref()
    }

    /// Whether a request may be made at all; the answer of one that may not.
    fn admit(&mut self, head: &http::request::Parts) -> Result<(Outgoing, String), Code> {
        let origin = head.uri.authority().map(ToString::to_string);
        let origin = origin.unwrap_or_default();
        let name = &self.terms.name;
        if self.rehearsal {
            return Err(Code::InternalError(Some(
                "no request is made in a rehearsal".to_owned(),
            )));
        }
        self.requests += 1;
        if self.requests > MAX_REQUESTS {
            // One line a call is enough.
            if self.requests == MAX_REQUESTS + 1 {
                refused(
                    name,
                    &origin,
                    &format!("a call makes at most {MAX_REQUESTS}"),
                );
            }
            return Err(Code::ConnectionLimitReached);
        }
        let admitted = match self.callout() {
            Some(callout) => callout.admit(head),
            None => Err(CalloutError::Refused("no origin is granted".to_owned())),
        };
        let outgoing = admitted.map_err(|error| told(name, &origin, &error))?;
        Ok((outgoing, origin))
    }

    fn held(&mut self) -> Arc<Semaphore> {
        let body = self.callout().map_or(0, Callout::max_body);
        let held = self
            .held
            .get_or_insert_with(|| Arc::new(Semaphore::new(body * MAX_REQUESTS as usize)));
        held.clone()
    }
}

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(belongs_to_host)
    }

    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        belongs_to_host(name)
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Code>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (head, body) = request.into_parts();
        let deadline = self.deadline.unwrap_or_else(Instant::now);
        let (outgoing, origin) = match self.admit(&head) {
            Ok(admitted) => admitted,
            Err(code) => {
                return Box::new(async move {
                    // A plugin that is still writing breaks in some languages
                    // when nobody reads.
                    let _ = tokio::time::timeout_at(deadline, whole(body, MAX_UNSENT)).await;
                    Err(code)
                });
            }
        };
        let options = options.unwrap_or_default();
        let call = Call {
            terms: self.terms.clone(),
            outgoing,
            origin,
            patience: Patience {
                first_byte: options.first_byte_timeout,
                between_bytes: options.between_bytes_timeout,
            },
            held: self.held(),
        };
        // The call's own time ends it too; but its instance may be kept.
        Box::new(async move {
            match tokio::time::timeout_at(deadline, call.run(body)).await {
                Ok(sent) => sent,
                Err(_) => Err(Code::HttpResponseTimeout),
            }
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        64 << 10
    }
}

impl Call {
    async fn run(self, body: WasiBody) -> Sent {
        let Some(callout) = &self.terms.given.callout else {
            return Err(Code::HttpRequestDenied);
        };
        let body = whole(body, callout.max_body()).await?;
        let sent = callout.send(self.outgoing, body, self.patience).await;
        let Answer {
            status,
            headers,
            body,
        } = sent.map_err(|error| told(&self.terms.name, &self.origin, &error))?;
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let Ok(place) = self.held.try_acquire_many_owned(length) else {
            let why = "the instance holds too many answers";
            refused(&self.terms.name, &self.origin, why);
            return Err(Code::HttpResponseBodySize(Some(u64::from(length))));
        };
        // The bytes count until the plugin is done with them.
        let body = Full::new(body).map_frame(move |frame| {
            let _counted = &place;
            frame
        });
        let body = body.map_err(|never| match never {}).boxed_unsync();
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok((response, Box::new(async { Ok(()) })))
    }
}

/// The whole body of a request, as the plugin writes it.
async fn whole(body: WasiBody, limit: usize) -> Result<Bytes, Code> {
    match Limited::new(body, limit).collect().await {
        Ok(all) => Ok(all.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Code::HttpRequestBodySize(Some(limit as u64)))
        }
        Err(error) => match error.downcast::<Code>() {
            Ok(code) => Err(*code),
            Err(error) => Err(Code::InternalError(Some(error.to_string()))),
        },
    }
}

/// Whether a header field is not for plugins, either way. The length of a body
/// is: the library holds a plugin to what it says.
fn belongs_to_host(name: &HeaderName) -> bool {
    name != header::CONTENT_LENGTH && plugin_header(name.as_str()).is_err()
}

/// The code for a failure; one that the grants are the cause of is logged too,
/// since no code says which grant.
fn told(plugin: &str, origin: &str, error: &CalloutError) -> Code {
    let text = error.to_string();
    match error {
        CalloutError::Refused(why) => {
            refused(plugin, origin, why);
            Code::HttpRequestDenied
        }
        CalloutError::Address(prohibited) => {
            let net = prohibited.address;
            let why = format!(
                "{text}; \"private:{net}/{}\" in its `grants` would allow it",
                bits(net)
            );
            refused(plugin, origin, &why);
            Code::DestinationIpProhibited
        }
        CalloutError::Url(_) => Code::HttpRequestUriInvalid,
        CalloutError::Method(_) => Code::HttpRequestMethodInvalid,
        CalloutError::RequestHeaders => Code::HttpRequestHeaderSectionSize(None),
        CalloutError::ResponseHeaders => Code::HttpResponseHeaderSectionSize(None),
        CalloutError::ResponseBody(limit) => Code::HttpResponseBodySize(Some(*limit as u64)),
        CalloutError::Name(why) => Code::DnsError {
            rcode: Some(why.clone()),
            info_code: None,
        },
        CalloutError::ConnectionRefused => Code::ConnectionRefused,
        CalloutError::ConnectionTimeout => Code::ConnectionTimeout,
        CalloutError::Certificate(_) => Code::TlsCertificateError,
        CalloutError::Tls(_) => Code::TlsProtocolError,
        CalloutError::ResponseTimeout => Code::HttpResponseTimeout,
        CalloutError::Incomplete => Code::HttpResponseIncomplete,
        CalloutError::Protocol(_) => Code::InternalError(Some(text)),
    }
}

fn bits(address: std::net::IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn refused(plugin: &str, origin: &str, why: &str) {
    let why = why.escape_debug();
    tracing::warn!(target: "palisade::plugin", plugin, to = origin, "a request is refused: {why}");
}
