//! A gateway put together: what serves clients, what reloads and what answers
//! administrators, begun together and ended in order.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin::{self, Listener};
use crate::gateway::Gateway;
use crate::generation::{Builder, Generation};
use crate::reload::{Control, Reloader, Start};
use crate::server::{Drained, Server};
use crate::upstream::{Connector, ConnectorError};

/// Has this process use no huge pages. The allocator would take one or more for
/// each thread: an idle gateway would hold twice the memory, and each of many
/// slow streams half as much again. And while the kernel makes no huge pages of
/// small ones, its count of page faults tells when a plugin may have written to
/// a page for the first time (`plugin::pages`).
pub fn keep_to_small_pages() {
    // Without it the gateway works as well, and is larger and slower.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// What a gateway is made of, all of it ready: nothing can fail any more.
pub struct Parts {
    pub manifest: PathBuf,
    pub generation: Generation,
    /// What the generation was read from.
    pub start: Start,
    pub builder: Builder,
    pub clients: TcpListener,
    pub administrators: Option<Listener>,
}

/// Why a gateway does not begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    #[error("the workers cannot be started (see `workers`)")]
    Workers(#[from] io::Error),
}

/// A gateway that serves.
pub struct Process {
    pub gateway: Arc<Gateway>,
    pub control: Control,
    serving: JoinHandle<Drained>,
    /// What goes on until the last exchange has ended.
    beside: Vec<JoinHandle<()>>,
}

impl Process {
    /// Begins to serve, until `stop` is ready and then until every exchange
    /// under way has ended.
    ///
    /// # Errors
    ///
    /// If the system has no certificates that can be read, or gives no more
    /// threads.
    pub fn start(
        parts: Parts,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, StartError> {
        let gateway = Arc::new(Gateway::new(parts.generation));
        let server = Server::start(gateway.clone(), &Connector::new()?, parts.clients)?;
        let (reloader, control) =
            Reloader::new(gateway.clone(), parts.builder, parts.manifest, parts.start);
        let mut beside = vec![tokio::spawn(reloader.run())];
        if let Some(listener) = parts.administrators {
            let administered = admin::serve(listener, gateway.clone(), control.clone());
            beside.push(tokio::spawn(administered));
        }
        let serving = tokio::spawn(server.serve(stop));
        Ok(Self {
            gateway,
            control,
            serving,
            beside,
        })
    }

    /// Waits until it has served. Loggers still write what they have.
    ///
    /// # Errors
    ///
    /// If serving broke off by a fault of its own.
    pub async fn ended(&mut self) -> Result<Drained, tokio::task::JoinError> {
        let drained = (&mut self.serving).await;
        for task in self.beside.drain(..) {
            task.abort();
            let _ = task.await;
        }
        drained
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for task in &self.beside {
            task.abort();
        }
    }
}
