//! A worker: a thread with a runtime of its own, on which whole exchanges run,
//! from the client's connection to the upstream's.
//!
//! What an exchange touches stays on one core, and none of its steps wakes
//! another thread. A runtime whose threads take each other's tasks used a fifth
//! more processor time for the smallest exchange, and a twentieth for one through
//! four plugins. The price is that an HTTP/2 connection has one core for all its
//! exchanges.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

use super::Drained;
use super::connection::{self, Serving};

/// See the module.
pub(super) struct Worker {
    /// Bounded by the places for connections.
    given: mpsc::UnboundedSender<(Given, Open)>,
    open: Arc<AtomicUsize>,
    ended: oneshot::Receiver<Drained>,
}

/// A connection, with its place among all of them.
pub(super) struct Given {
    pub(super) stream: std::net::TcpStream,
    pub(super) place: OwnedSemaphorePermit,
}

/// Counts a connection as open while it is there.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    pub(super) fn start(number: u32, serving: Serving) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (given, connections) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                let _ = end.send(run(&runtime, connections, &serving));
                // A name that is being looked up is of no use to anyone.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            given,
            open: Arc::default(),
            ended,
        })
    }

    /// How many connections it has.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn give(&self, given: Given) {
        // Its thread ends after this does.
        let _ = self.given.send((given, Open::new(&self.open)));
    }

    /// Gives it nothing more; ready when it has served what it was given.
    pub(super) fn end(self) -> impl Future<Output = Drained> {
        let Self { given, ended, .. } = self;
        drop(given);
        // Without a word of its thread, nobody knows how its exchanges ended.
        async { ended.await.unwrap_or(Drained::TimedOut) }
    }
}

fn run(
    runtime: &Runtime,
    given: mpsc::UnboundedReceiver<(Given, Open)>,
    serving: &Serving,
) -> Drained {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        accept(&mut connections, given, serving).await;
        let limit = serving.gateway.generation().server.drain_timeout;
        let drained = async {
            while let Some(ended) = connections.join_next().await {
                tell(ended);
            }
        };
        if tokio::time::timeout(limit, drained).await.is_ok() {
            return Drained::All;
        }
        connections.shutdown().await;
        Drained::TimedOut
    })
}

/// Begins to serve what is given, until nothing more will be.
async fn accept(
    connections: &mut JoinSet<()>,
    mut given: mpsc::UnboundedReceiver<(Given, Open)>,
    serving: &Serving,
) {
    while let Some((Given { stream, place }, open)) = given.recv().await {
        while let Some(ended) = connections.try_join_next() {
            tell(ended);
        }
        let serving = serving.clone();
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                connections.spawn(async move {
                    connection::serve(serving, stream).await;
                    drop((open, place));
                });
            }
            Err(error) => tracing::warn!(%error, "a connection could not be served"),
        }
    }
}

fn tell(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
