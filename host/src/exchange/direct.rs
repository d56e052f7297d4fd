//! Exchanges with an upstream that a route names itself: they go there as they
//! come.
//!
//! Where no plugin of the route looks at the request and no route before it
//! asks for the model, the body is not held: it goes up piece by piece, as fast
//! as the upstream takes it.

use std::pin::pin;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};
use hyper::body::Incoming as ClientBody;

use super::Pinned;
use super::read::{self, Head};
use crate::answer::{self, Origin, Ready};
use crate::dialect;
use crate::failure::{Failure, Kind};
use crate::frame::is_sse;
use crate::generation::{Direct, Provider};
use crate::message::{Facts, Target};
use crate::record::Recorder;
use crate::timing::UPSTREAM;
use crate::upstream::{Client, Outgoing, Sent};

/// Header fields about a request's body, or about the answer's. Nothing else
/// of the client's is sent but what belongs to a dialect: no credential, no
/// cookie, and nothing that tells who the client is.
const ABOUT_THE_REQUEST: [&str; 10] = [
    "accept",
    "accept-language",
    "content-encoding",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "range",
];

/// The header fields that go to the upstream.
pub(super) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let goes = |name: &HeaderName| {
        let name = name.as_str();
        ABOUT_THE_REQUEST.contains(&name) || dialect::has_field(name)
    };
    let fields = headers.iter().filter(|(name, _)| goes(name));
    fields
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The path and query below the upstream's base.
pub(super) fn path(target: &Target) -> String {
    match &target.query {
        Some(query) => format!("{}?{query}", target.path),
        None => target.path.clone(),
    }
}

/// Passes an exchange on whose body nobody looks at.
pub(super) async fn relay(
    client: &Client,
    route: Pinned,
    id: &str,
    (head, body): (Head, ClientBody),
    recorder: &mut Recorder,
) -> Result<Ready, Failure> {
    let Provider::Direct(direct) = &route.provider else {
        return Err(Failure::new(Kind::Internal, "the route has no upstream"));
    };
    let server = route.server();
    read::announced(&body, server.max_request_body)?;
    let (sent, relaying) = Sent::relayed(body, server.max_request_body, server.request_timeout);
    recorder.entry().provider = Some(route.provider.name().to_owned());
    recorder.count_request(relaying.count);
    let outgoing = outgoing(direct, &head.target, &head.headers, sent)?;
    let outgoing = outgoing.after(relaying.over);
    let sending = pin!(outgoing.send(client, route.first_byte_timeout));
    let incoming = recorder.timing().measure(UPSTREAM, sending).await?;
    let origin = Origin {
        same_dialect: true,
        usage_in_stream: true,
        created: recorder.started_at(),
        dropped: Vec::new(),
        bodiless: head.target.method == Method::HEAD,
    };
    let facts = Facts {
        id: id.to_owned(),
        route: route.name.clone(),
        principal: head.principal,
        dialect: head.dialect,
        // Whether it was asked for is not known; the answer will tell.
        streaming: false,
        requested_model: None,
    };
    let watched = head.dialect.map(|dialect| (dialect, Arc::new(facts)));
    let ready = answer::passed_through(incoming, watched, origin, &route).await?;
    recorder.entry().streaming = ready.content_type().is_some_and(is_sse);
    Ok(ready)
}

/// The request to an upstream, with these header fields of the client's.
pub(super) fn outgoing(
    direct: &Direct,
    target: &Target,
    headers: &HeaderMap,
    body: Sent,
) -> Result<Outgoing, Failure> {
    let headers = forwarded(headers);
    Outgoing::direct(
        direct,
        (target.method.clone(), &path(target)),
        headers,
        body,
    )
}
