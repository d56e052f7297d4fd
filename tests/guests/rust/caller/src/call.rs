//! One request: what the configuration says of it, making it, and what came of
//! it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

/// The most bytes that one write takes.
const WRITE: usize = 4096;

/// The most bytes of an answer's body that are told.
const TOLD: usize = 256;

/// A request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Call {
    /// `https://host:port/path?query`, or without the scheme.
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A header field for each number up to this one.
    #[serde(default)]
    many_headers: usize,
    /// A body of this many bytes.
    #[serde(default)]
    body: usize,
    /// Whether the body is begun and never ended.
    #[serde(default)]
    unfinished: bool,
    /// How many milliseconds to wait for the answer to begin.
    #[serde(default)]
    first_byte: Option<u64>,
}

/// A request that is under way, or why it is not.
pub type Begun = Result<(FutureIncomingResponse, Option<OutgoingBody>), String>;

impl Call {
    pub fn begin(&self) -> Begun {
        let request = OutgoingRequest::new(self.fields()?);
        let (scheme, rest) = match self.url.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some((other, rest)) => (Some(Scheme::Other(other.to_owned())), rest),
            None => (None, self.url.as_str()),
        };
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let method = match self.method.as_deref() {
            None | Some("GET") => Method::Get,
            Some("POST") => Method::Post,
            Some(other) => Method::Other(other.to_owned()),
        };
        let set = request
            .set_method(&method)
            .and_then(|()| request.set_scheme(scheme.as_ref()))
            .and_then(|()| request.set_authority(Some(authority)))
            .and_then(|()| request.set_path_with_query(Some(path)));
        set.map_err(|()| "the request cannot be made".to_owned())?;
        let body = match self.body {
            0 => None,
            _ => Some(request.body().map_err(|()| "it takes no body".to_owned())?),
        };
        let options = RequestOptions::new();
        let time = self.first_byte.map(|ms| ms * 1_000_000);
        let _ = options.set_first_byte_timeout(time);
        let future =
            outgoing_handler::handle(request, Some(options)).map_err(|code| told(&code))?;
        let body = body.and_then(|body| self.write(body));
        Ok((future, body))
    }

    fn fields(&self) -> Result<Fields, String> {
        let fields = Fields::new();
        for (name, value) in &self.headers {
            let set = fields.append(name, value.as_bytes());
            set.map_err(|error| format!("header {name}: {error:?}"))?;
        }
        for i in 0..self.many_headers {
            let set = fields.append(&format!("x-{i}"), b"v");
            set.map_err(|error| format!("header {i}: {error:?}"))?;
        }
        Ok(fields)
    }

    /// Writes the body; answers it if it is not to be ended.
    fn write(&self, body: OutgoingBody) -> Option<OutgoingBody> {
        let stream = body.write().ok()?;
        let mut left = self.body;
        while left > 0 {
            let size = left.min(WRITE);
            if stream.blocking_write_and_flush(&vec![b'x'; size]).is_err() {
                break;
            }
            left -= size;
        }
        drop(stream);
        if self.unfinished {
            return Some(body);
        }
        let _ = OutgoingBody::finish(body, None);
        None
    }
}

/// Waits for an answer, and tells it.
pub fn end(begun: Begun) -> Value {
    let outcome = begun.and_then(|(future, unfinished)| {
        future.subscribe().block();
        let response = match future.get() {
            Some(Ok(Ok(response))) => response,
            Some(Ok(Err(code))) => return Err(told(&code)),
            _ => return Err("there is no answer".to_owned()),
        };
        drop(unfinished);
        let told = answer(&response);
        drop(future);
        told
    });
    outcome.unwrap_or_else(|error| json!({ "error": error }))
}

fn answer(response: &IncomingResponse) -> Result<Value, String> {
    let fields = response.headers().entries();
    let headers: BTreeMap<_, _> = fields
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let body = response.consume().map_err(|()| "no body".to_owned())?;
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(WRITE as u64) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(format!("{error:?}")),
        }
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TOLD)]).into_owned();
    Ok(
        json!({ "status": response.status(), "headers": headers, "body": text, "bytes": bytes.len() }),
    )
}

fn told(code: &ErrorCode) -> String {
    format!("{code:?}")
}
