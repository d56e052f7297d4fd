//! The request path: from a request's head to the head of its answer.
//!
//! admit → read → route → security filters → model rewriter → adapter →
//! upstream → answer; or `direct`, where nobody looks at the body. Every way out that is not an answer is a `Failure`, and
//! `answer::refuse` is the one place where it becomes a response.

mod chain;
mod cors;
mod direct;
mod read;

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming as ClientBody;

use crate::answer::{self, Body};
use crate::boxed;
use crate::dialect;
use crate::failure::{Failure, Kind};
use crate::gateway::Gateway;
use crate::generation::{Generation, Route};
use crate::record::Recorder;
use crate::timing::Timing;
use crate::upstream::Client;

pub use read::presented_key;

/// The route of an exchange, which keeps its generation alive.
#[derive(Debug, Clone)]
pub struct Pinned {
    generation: Arc<Generation>,
    index: usize,
}

impl std::ops::Deref for Pinned {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.generation.routes[self.index]
    }
}

impl Pinned {
    /// The route with that index in its generation; none if there is none.
    pub fn new(generation: Arc<Generation>, index: usize) -> Option<Self> {
        (index < generation.routes.len()).then_some(Self { generation, index })
    }

    /// The gateway's bounds as of this generation.
    pub fn server(&self) -> &crate::manifest::Server {
        &self.generation.server
    }
}

/// Serves one request.
pub async fn handle(
    gateway: &Gateway,
    client: &Client,
    request: Request<ClientBody>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if is_probe(&head) {
        return answer::alive();
    }
    let generation = gateway.generation();
    let origin = cors::allowed(&head, &generation.server.cors_origins);
    if cors::is_preflight(&head) {
        return cors::preflight(&head, origin);
    }
    let mut response = exchange(gateway, client, &generation, (head, body)).await;
    if let Some(origin) = origin {
        cors::allow(response.headers_mut(), origin);
    }
    response
}

/// Serves a request that is an exchange.
async fn exchange(
    gateway: &Gateway,
    client: &Client,
    generation: &Arc<Generation>,
    (head, body): (Parts, ClientBody),
) -> Response<Body> {
    let id = gateway.next_id();
    let mut recorder = Recorder::new(&id, head.method.as_str(), head.uri.path());
    recorder.set_timing(Timing::new(generation.server.server_timing));
    let spoken = dialect::of_request(&head.method, head.uri.path());
    let shape = spoken.unwrap_or_else(|| dialect::error_shape(head.uri.path(), &head.headers));
    let Some(place) = gateway.admit(generation) else {
        recorder.set_loggers(&generation.loggers);
        let busy = "the gateway is busy: all places for exchanges are taken";
        return answer::refuse(shape, &id, &Failure::overloaded(busy), recorder);
    };
    recorder.hold(place);
    // Until a route is chosen, whoever keeps records keeps this one.
    recorder.set_loggers(&generation.loggers);
    match serve(client, generation, &id, (head, body), &mut recorder).await {
        Ok(ready) => answer::respond(ready, &id, recorder),
        Err(failure) => answer::refuse(shape, &id, &failure, recorder),
    }
}

/// Clients and load balancers look whether anyone is there (headroom#2032).
fn is_probe(head: &Parts) -> bool {
    let safe = matches!(head.method, Method::GET | Method::HEAD);
    safe && matches!(head.uri.path(), "/" | "/healthz")
}

async fn serve(
    client: &Client,
    generation: &Arc<Generation>,
    id: &str,
    (head, body): (Parts, ClientBody),
    recorder: &mut Recorder,
) -> Result<answer::Ready, Failure> {
    let head = read::head(generation, head, recorder)?;
    if let Some(index) = generation.unread(&head.sought(None)) {
        let pinned = pin(generation, index);
        taken(&pinned, recorder);
        return direct::relay(client, pinned, id, (head, body), recorder).await;
    }
    let received = head.read(generation, body, recorder).await?;
    let pinned = route(generation, &received)?;
    taken(&pinned, recorder);
    let (exchange, request) = received.into_exchange(id, &pinned.name);
    recorder.entry().requested_model = exchange.facts.requested_model.clone();
    recorder.entry().streaming = exchange.facts.streaming;
    // Its state is large, and would be moved with every exchange, those that
    // never come here included.
    boxed::in_place(|| chain::run(client, pinned, exchange, request, recorder)).await
}

fn pin(generation: &Arc<Generation>, index: usize) -> Pinned {
    Pinned {
        generation: generation.clone(),
        index,
    }
}

/// Records which route has taken the exchange.
fn taken(route: &Pinned, recorder: &mut Recorder) {
    recorder.entry().route = Some(route.name.clone());
    recorder.set_loggers(&route.loggers);
}

fn route(generation: &Arc<Generation>, received: &read::Received) -> Result<Pinned, Failure> {
    let sought = received.sought();
    let index = generation
        .routes
        .iter()
        .position(|route| route.takes(&sought));
    let index = index.ok_or_else(|| {
        let model = sought
            .model
            .map(|model| format!(" for model \"{model}\""))
            .unwrap_or_default();
        Failure::new(
            Kind::NotFound,
            format!("no route takes {}{model}", sought.path),
        )
        .with_code("no_route")
    })?;
    Ok(pin(generation, index))
}
