//! How many exchanges are on a generation, and being told when none is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::Generation;

/// A count of exchanges.
#[derive(Debug, Default)]
pub struct UnderWay(AtomicUsize);

impl UnderWay {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// An exchange on its generation, until its last byte.
#[derive(Debug)]
pub struct Stay {
    generation: Arc<Generation>,
    /// Told when an exchange was the last of its generation.
    idle: Arc<Notify>,
}

impl Stay {
    /// Counts an exchange; `idle` is told if it is the last to end.
    pub fn new(generation: Arc<Generation>, idle: Arc<Notify>) -> Self {
        generation.under_way.0.fetch_add(1, Ordering::Relaxed);
        Self { generation, idle }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if self.generation.under_way.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.idle.notify_one();
        }
    }
}
