//! Administration: seeing what the gateway does, and changing what it serves,
//! without a restart.
//!
//! A listener of its own, never the clients' port: a Unix socket that only its
//! owner can open, or a loopback address. It asks for no password, so what can
//! reach it is what matters; `guard` says which requests are refused besides.
//! Nothing that it answers holds a secret, and no request to it needs one.
//!
//! - `listen`: the socket, and who is at its other end
//! - `guard`: requests that a browser may have been made to send
//! - `api`: which path does what
//! - `view`: what is told, as JSON
//! - `metrics`: what monitoring systems are told
//! - `client`, `text`: the other end, for the command line

mod api;
mod client;
mod guard;
mod listen;
mod metrics;
mod text;
mod view;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use api::Api;
pub use client::{AskError, Client, Question};
pub use listen::{BindError, Listener};
pub use view::{Plugins, Status};

use crate::gateway::Gateway;
use crate::reload::Control;

/// How many connections there are at a time; more wait. Each is one request.
const CONNECTIONS: usize = 16;

/// How long a connection may take to send its request's head.
const HEAD: Duration = Duration::from_secs(10);

/// How long a connection may last: a reload may compile for minutes.
const CONNECTION: Duration = Duration::from_secs(360);

/// The most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// How long to wait when the system gives no more sockets.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Answers what is asked, for as long as it is polled.
pub async fn serve(listener: Listener, gateway: Arc<Gateway>, control: Control) {
    let api = Api::new(gateway, control);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // It is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (stream, who) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "an administrator's connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let connection = connection(api.clone(), stream, who);
        connections.spawn(async move {
            if tokio::time::timeout(CONNECTION, connection).await.is_err() {
                tracing::debug!("an administrator's connection took too long");
            }
            drop(place);
        });
    }
}

/// Serves the one request of a connection.
async fn connection(api: Api, stream: listen::Stream, who: String) {
    let service = service_fn(move |request| {
        let (api, who) = (api.clone(), who.clone());
        async move { Ok::<_, Infallible>(api.handle(request, &who).await) }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "an administrator's connection ended with an error");
    }
}
