//! The client side of the network: accepting connections, within bounds, and
//! letting them end.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::exchange;
use crate::gateway::Gateway;

/// How long to wait when the system gives no more sockets.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every exchange had its last byte.
    All,
    /// The time for it was over before.
    TimedOut,
}

/// Serves until `stop` is ready, and then until every exchange under way has
/// ended or the time to drain is over.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Drained {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(
        gateway.generation().server.max_connections as usize,
    ));
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = tokio::select! {
            () = &mut stop => break,
            place = places.clone().acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            },
        };
        let connection = connection(gateway.clone(), stream, &graceful);
        tokio::spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    let limit = gateway.generation().server.drain_timeout;
    match tokio::time::timeout(limit, graceful.shutdown()).await {
        Ok(()) => Drained::All,
        Err(_) => Drained::TimedOut,
    }
}

/// Serves one connection, HTTP/1.1 or HTTP/2 as the client begins it.
fn connection(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // A token must not wait for the next one to fill a segment.
    let _ = stream.set_nodelay(true);
    let wait = gateway.generation().server.request_timeout;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(wait);
    builder.http2().timer(TokioTimer::new());
    let service = service_fn(move |request| {
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(exchange::handle(&gateway, request).await) }
    });
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    let watched = graceful.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(error = %error, "a connection ended with an error");
        }
    }
}
