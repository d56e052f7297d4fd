//! What lives as long as the process: the live generation, the upstream
//! client, the places for exchanges, and the numbering of exchanges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::generation::Generation;
use crate::upstream::{Client, ClientError};

pub struct Gateway {
    live: ArcSwap<Generation>,
    client: Client,
    exchanges: Arc<Semaphore>,
    /// Tells exchanges of this process from those of others, in milliseconds
    /// since 1970.
    epoch: u64,
    count: AtomicU64,
}

impl Gateway {
    pub fn new(generation: Generation) -> Result<Self, ClientError> {
        let exchanges = Arc::new(Semaphore::new(generation.server.max_exchanges as usize));
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            live: ArcSwap::from_pointee(generation),
            client: Client::new()?,
            exchanges,
            epoch: u64::try_from(since.as_millis()).unwrap_or_default(),
            count: AtomicU64::new(0),
        })
    }

    /// The live generation; an exchange takes it once.
    pub fn generation(&self) -> Arc<Generation> {
        self.live.load_full()
    }

    /// Makes a generation the live one. Exchanges under way stay on theirs.
    pub fn swap(&self, generation: Generation) {
        self.live.store(Arc::new(generation));
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A place for an exchange; none if all are taken.
    pub fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.exchanges.clone().try_acquire_owned().ok()
    }

    /// An identifier that no other exchange has: the process's and a number.
    pub fn next_id(&self) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        format!("px-{:x}-{number:x}", self.epoch)
    }
}
