//! The client side of the network: accepting connections, within bounds,
//! giving each to a worker, and letting them end.
//!
//! - `worker`: a thread that serves connections, and has all that they need
//! - `connection`: one connection, and when it ends by itself
//! - `joined`: how small pieces are written

mod connection;
mod joined;
mod worker;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use self::connection::Serving;
use self::worker::{Given, Worker};
use crate::gateway::Gateway;
use crate::upstream::{Client, Connector};

/// How long to wait when the system gives no more sockets.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every exchange had its last byte.
    All,
    /// The time for it was over before; those under way were cut off, and
    /// their records say that they were cancelled.
    TimedOut,
}

/// A listener, and the workers that its connections go to.
pub struct Server {
    gateway: Arc<Gateway>,
    listener: TcpListener,
    workers: Vec<Worker>,
    stopping: watch::Sender<bool>,
}

impl Server {
    /// Starts as many workers as the manifest says.
    ///
    /// # Errors
    ///
    /// If the system gives no more threads or descriptors.
    pub fn start(
        gateway: Arc<Gateway>,
        connector: &Connector,
        listener: TcpListener,
    ) -> io::Result<Self> {
        let (stopping, stopped) = watch::channel(false);
        let workers = (0..gateway.generation().server.workers).map(|number| {
            let serving = Serving {
                gateway: gateway.clone(),
                client: Arc::new(Client::new(connector.clone())),
                stopped: stopped.clone(),
            };
            Worker::start(number, serving)
        });
        Ok(Self {
            workers: workers.collect::<io::Result<_>>()?,
            gateway,
            listener,
            stopping,
        })
    }

    /// Serves until `stop` is ready, and then until every exchange under way
    /// has ended or the time to drain is over. No connection is left when it
    /// returns.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Drained {
        let most = self.gateway.generation().server.max_connections as usize;
        let places = Arc::new(Semaphore::new(most));
        let mut stop = std::pin::pin!(stop);
        loop {
            let place = tokio::select! {
                () = &mut stop => break,
                Ok(place) = places.clone().acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => accepted,
            };
            // What serves it waits for it with its own thread's poll.
            match accepted.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => self.give(Given { stream, place }),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
        drop(self.listener);
        self.stopping.send_replace(true);
        // All of them drain at the same time.
        let ended = join_all(self.workers.into_iter().map(Worker::end)).await;
        if ended.contains(&Drained::TimedOut) {
            Drained::TimedOut
        } else {
            Drained::All
        }
    }

    /// Gives a connection to the worker that has the fewest: a client keeps
    /// its connection, and with it its worker, for long.
    fn give(&self, given: Given) {
        if let Some(worker) = self.workers.iter().min_by_key(|worker| worker.open()) {
            worker.give(given);
        }
    }
}
