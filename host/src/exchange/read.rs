//! Reading a request: who sends it, its body within bounds, and what dialect
//! it is in.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming as ClientBody};

use crate::dialect::{self, Dialect};
use crate::failure::{Failure, Kind};
use crate::generation::{Generation, Sought};
use crate::json::{Ambiguity, Json};
use crate::message::{
    CONNECTION_HEADERS, CREDENTIAL_HEADERS, Exchange, Facts, Notes, Request, Target,
};
use crate::record::Recorder;
use crate::secret::Secret;
use crate::upstream::{self, Unsent};

/// The query parameters in which some clients send a key (litellm#8075).
const KEY_PARAMETERS: [&str; 5] = ["key", "api_key", "api-key", "apikey", "access_token"];

/// A request of which the head has been read.
pub(super) struct Head {
    pub(super) target: Target,
    /// Without credentials and without what belongs to one connection.
    pub(super) headers: HeaderMap,
    pub(super) dialect: Option<&'static dyn Dialect>,
    pub(super) principal: Option<String>,
}

/// A request that has been read.
pub(super) struct Received {
    head: Head,
    body: Json,
    model: Option<String>,
}

impl Received {
    pub(super) fn sought(&self) -> Sought<'_> {
        self.head.sought(self.model.as_deref())
    }

    pub(super) fn into_exchange(self, id: &str, route: &str) -> (Exchange, Request) {
        let request = Request {
            target: Arc::new(self.head.target),
            headers: Arc::new(self.head.headers),
            body: self.body,
            dialect: self.head.dialect,
            dropped: Vec::new(),
        };
        let settings = request.settings();
        let facts = Facts {
            id: id.to_owned(),
            route: route.to_owned(),
            principal: self.head.principal,
            dialect: self.head.dialect,
            streaming: settings.is_some_and(|(dialect, body)| dialect.stream(body)),
            requested_model: self.model,
        };
        (
            Exchange {
                facts: Arc::new(facts),
                notes: Notes::default(),
            },
            request,
        )
    }
}

/// Reads the head of a request: whether it is one that is taken, and who sends
/// it.
pub(super) fn head(
    generation: &Generation,
    mut head: Parts,
    recorder: &mut Recorder,
) -> Result<Head, Failure> {
    plain(head.uri.path())?;
    if !upstream::is_passed_on(&head.method) {
        let message = format!("method {} is not passed on", head.method);
        return Err(Failure::new(Kind::MethodNotAllowed, message));
    }
    let presented = presented_key(&head);
    let principal = generation.principal(presented.as_ref()).map_err(|_| {
        let message = match presented {
            Some(_) => "the key that was sent is not one of this gateway's",
            None => "no key was sent: this gateway wants one, as a bearer token or as x-api-key",
        };
        Failure::new(Kind::Unauthenticated, message).with_code("invalid_api_key")
    })?;
    let principal = principal.map(str::to_owned);
    let dialect = dialect::of_request(&head.method, head.uri.path());
    recorder.entry().principal = principal.clone();
    recorder.entry().dialect = dialect.map(|dialect| dialect.name().to_owned());
    strip(&mut head.headers);
    let target = Target {
        path: head.uri.path().to_owned(),
        query: head.uri.query().and_then(without_keys),
        method: head.method,
    };
    Ok(Head {
        target,
        headers: head.headers,
        dialect,
        principal,
    })
}

/// Takes away what no plugin and no provider is to see.
fn strip(headers: &mut HeaderMap) {
    let goes = |name: &&HeaderName| {
        let name = name.as_str();
        CREDENTIAL_HEADERS.contains(&name) || CONNECTION_HEADERS.contains(&name)
    };
    let gone: Vec<HeaderName> = headers.keys().filter(goes).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

impl Head {
    pub(super) fn sought<'h>(&'h self, model: Option<&'h str>) -> Sought<'h> {
        Sought {
            path: &self.target.path,
            headers: &self.headers,
            model,
            principal: self.principal.as_deref(),
        }
    }

    /// Reads the body, for whoever wants to look at it.
    pub(super) async fn read(
        self,
        generation: &Generation,
        body: ClientBody,
        recorder: &mut Recorder,
    ) -> Result<Received, Failure> {
        let coding = self.headers.get(CONTENT_ENCODING);
        if let Some(coding) = coding.filter(|coding| *coding != "identity") {
            let coding = coding.to_str().unwrap_or("?");
            return Err(Failure::invalid(format!(
                "content-encoding \"{coding}\" is not taken; send the body uncompressed"
            )));
        }
        let body = whole(generation, body).await?;
        recorder.entry().request_bytes = body.len() as u64;
        let body = Json::new(body);
        if let Some(dialect) = self.dialect {
            object(dialect, &body)?;
        }
        let model = body.string("/model");
        Ok(Received {
            head: self,
            body,
            model,
        })
    }
}

/// The key that a client sent, wherever SDKs put one: OpenAI's and Anthropic's
/// as a bearer token, others as `x-api-key`, `api-key` or in the query.
pub fn presented_key(head: &Parts) -> Option<Secret> {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header(AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    let in_header = bearer
        .or_else(|| header("x-api-key"))
        .or_else(|| header("api-key"));
    if let Some(key) = in_header.filter(|key| !key.is_empty()) {
        return Some(Secret::new(key));
    }
    let pairs = form_urlencoded::parse(head.uri.query()?.as_bytes());
    let found = pairs.into_iter().find(|(name, _)| is_key_parameter(name));
    found.map(|(_, key)| Secret::new(&key))
}

/// Refuses a path that could be read in two ways: routes and dialects go by
/// what is written, and an upstream by what it decodes.
fn plain(path: &str) -> Result<(), Failure> {
    let segments = || path.split('/').skip(1);
    let last = segments().count().saturating_sub(1);
    let odd = !path.starts_with('/')
        || path.contains(['\\', ';'])
        || segments()
            .enumerate()
            .any(|(i, s)| s == "." || s == ".." || (s.is_empty() && i != last))
        || encoded(path).any(|byte| byte.is_ascii_alphanumeric() || b"-._~\\%;".contains(&byte));
    if odd {
        return Err(Failure::invalid(
            "the path is not in its plain form: it has empty or dot segments, or needless escapes",
        ));
    }
    Ok(())
}

/// The bytes that a path has percent-encoded.
fn encoded(path: &str) -> impl Iterator<Item = u8> {
    let after = path.split('%').skip(1);
    after.map(|rest| {
        rest.get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .unwrap_or(b'%')
    })
}

/// The query without keys, otherwise as it was written.
fn without_keys(query: &str) -> Option<String> {
    let is_key = |pair: &&str| {
        let mut decoded = form_urlencoded::parse(pair.as_bytes());
        decoded
            .next()
            .is_some_and(|(name, _)| is_key_parameter(&name))
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// Refuses a body of which it is known beforehand that it is too large.
pub(super) fn announced(body: &ClientBody, limit: usize) -> Result<(), Failure> {
    if body.size_hint().lower() > limit as u64 {
        let message = Unsent::TooLarge(limit).to_string();
        return Err(Failure::new(Kind::TooLarge, message));
    }
    Ok(())
}

async fn whole(generation: &Generation, body: ClientBody) -> Result<Bytes, Failure> {
    let limit = generation.server.max_request_body;
    announced(&body, limit)?;
    let reading = Limited::new(body, limit).collect();
    match tokio::time::timeout(generation.server.request_timeout, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = Unsent::TooLarge(limit).to_string();
            Err(Failure::new(Kind::TooLarge, message))
        }
        Ok(Err(error)) => {
            Err(Failure::invalid("the body could not be read").with_detail(error.to_string()))
        }
        Err(_) => Err(Failure::new(
            Kind::RequestTimeout,
            "the body did not arrive in time",
        )),
    }
}

/// A body in a dialect is a JSON object whose members are unambiguous.
fn object(dialect: &dyn Dialect, body: &Json) -> Result<(), Failure> {
    let name = dialect.name();
    match body.unambiguous() {
        Err(Ambiguity::NotJson(reason)) => Err(Failure::invalid(format!(
            "the body is not JSON ({name}): {reason}"
        ))),
        _ if !body.is_object() => Err(Failure::invalid(format!(
            "the body is not a JSON object ({name})"
        ))),
        unambiguous => unambiguous.map_err(|e| Failure::invalid(e.to_string())),
    }
}

fn is_key_parameter(name: &str) -> bool {
    KEY_PARAMETERS
        .iter()
        .any(|key| key.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_in_one_way_only() {
        for path in [
            "/v1/chat/completions",
            "/v1/chat/completions/",
            "/v1/files/a%20b",
            "/v1/models/org:x@1",
            "/v1/models/a%2Fb",
        ] {
            assert!(plain(path).is_ok(), "{path}");
        }
        for path in [
            "//v1/x",
            "/v1//x",
            "/v1/../x",
            "/v1/./x",
            "/v1/chat/%63ompletions",
            "/v1/%2e%2e/x",
            "/v1/x%",
            "/v1/x%zz",
            "/v1/a\\b",
            "/v1/chat/completions;a=b",
            "*",
        ] {
            assert!(plain(path).is_err(), "{path}");
        }
    }

    fn head(headers: &[(&str, &str)], uri: &str) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_key_is_found_wherever_it_is_sent() {
        let found = |headers: &[(&str, &str)], uri: &str| {
            presented_key(&head(headers, uri)).map(|key| key.expose().to_owned())
        };
        let k = Some("k1".to_owned());
        assert_eq!(found(&[("authorization", "Bearer k1")], "/v1/x"), k);
        assert_eq!(found(&[("authorization", "bearer  k1")], "/v1/x"), k);
        assert_eq!(found(&[("x-api-key", "k1")], "/v1/x"), k);
        assert_eq!(found(&[("api-key", "k1")], "/v1/x"), k);
        assert_eq!(found(&[], "/v1/x?a=1&key=k1"), k);
        assert_eq!(found(&[("authorization", "Basic k1")], "/v1/x"), None);
        assert_eq!(found(&[("authorization", "Bearer ")], "/v1/x"), None);
    }

    #[test]
    fn a_key_does_not_stay_in_the_query() {
        assert_eq!(
            without_keys("a=1&key=k1&b=%20"),
            Some("a=1&b=%20".to_owned())
        );
        assert_eq!(without_keys("key=k1"), None);
        assert_eq!(
            without_keys("%6bey=k1&API_KEY=k2&x=1"),
            Some("x=1".to_owned())
        );
        assert_eq!(without_keys("monkey=1"), Some("monkey=1".to_owned()));
    }
}
