//! A gateway put together: what serves clients, what reloads and what answers
//! administrators, begun together and ended in order.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin::{self, Listener};
use crate::gateway::Gateway;
use crate::generation::{Builder, Generation};
use crate::reload::{Control, Reloader, Start};
use crate::server::{self, Drained};
use crate::upstream::ClientError;

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
    pub fn start(
        parts: Parts,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, ClientError> {
        let gateway = Arc::new(Gateway::new(parts.generation)?);
        let (reloader, control) =
            Reloader::new(gateway.clone(), parts.builder, parts.manifest, parts.start);
        let mut beside = vec![tokio::spawn(reloader.run())];
        if let Some(listener) = parts.administrators {
            let administered = admin::serve(listener, gateway.clone(), control.clone());
            beside.push(tokio::spawn(administered));
        }
        let serving = tokio::spawn(server::serve(gateway.clone(), parts.clients, stop));
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
