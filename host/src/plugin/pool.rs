//! Instances of one plugin that wait for an exchange.
//!
//! There are three kinds. A plugin that begins from a snapshot has its instances
//! put back to it after each exchange (`reset`). One that should, but cannot,
//! has a few *spares*, made and configured ahead, each for one exchange only.
//! And a plugin whose manifest entry says `instances = { reuse = N }` gives each
//! instance to up to N exchanges, one after another: fast for languages that
//! start slowly, at the price that what an exchange leaves in memory is there
//! for the next.

use std::sync::Arc;

use futures_util::FutureExt;

use super::Plugin;
use super::idle::Idle;
use super::running::Running;

/// How many instances wait at the most. More are in use at a time only while
/// there is a peak, and an instance that waits has a place in the engine's pool.
const MAX_IDLE: usize = 64;

/// The same for instances that are put back: all plugins share the places for
/// those, and it takes little longer to make one.
const MAX_WAITING: usize = 32;

/// How many spares are made ahead: as many as exchanges that begin at once on
/// a quiet gateway.
const SPARES: usize = 4;

/// How the instances of a plugin come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One for each exchange, from an image taken after `configure` and a few
    /// synthetic calls; from spares if that cannot be had.
    Snapshot,
    /// One for each exchange, configured anew.
    Fresh,
    /// Each serves so many exchanges, one after another.
    Reuse(u32),
}

impl std::fmt::Display for Instances {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Instances::Snapshot => f.write_str("snapshot"),
            Instances::Fresh => f.write_str("fresh"),
            Instances::Reuse(most) => write!(f, "reuse {most}"),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Pool {
    /// How many exchanges an instance serves.
    serves: u32,
    spares: bool,
    /// Whether instances are put back.
    resets: bool,
    /// At rest while no exchange is expected.
    idle: Idle<Box<Running>>,
}

impl Pool {
    /// `snapshot` tells whether instances begin from one, and `resets` whether
    /// they can be put back to it.
    pub(super) fn new(instances: Instances, snapshot: bool, resets: bool) -> Self {
        Self {
            serves: match instances {
                Instances::Reuse(most) => most,
                Instances::Snapshot | Instances::Fresh => 1,
            },
            spares: instances == Instances::Snapshot && !snapshot,
            resets: instances == Instances::Snapshot && snapshot && resets,
            idle: Idle::default(),
        }
    }

    /// For a rehearsal, in which instances that can be put back are, as they
    /// will be later, and no others serve twice.
    pub(super) fn rehearsing(resets: bool) -> Self {
        Self::new(Instances::Snapshot, true, resets)
    }

    /// An instance that is ready; none if one has to be made.
    pub(super) async fn take(&self, plugin: &Arc<Plugin>) -> Option<Box<Running>> {
        if self.resets {
            let mut running = self.idle.take()?;
            running.kept = None;
            running.written.begin();
            return Some(running);
        }
        if self.serves == 1 && !self.spares {
            return None;
        }
        if self.spares {
            refill(plugin);
        }
        loop {
            let mut running = self.idle.take()?;
            if running.served == 0 || Box::pin(running.clear(&plugin.health)).await.is_ok() {
                return Some(running);
            }
        }
    }

    /// Keeps an instance for another exchange, if it may serve one.
    pub(super) fn give_back(&self, plugin: &Plugin, mut running: Box<Running>) {
        running.served += 1;
        running.kept = None;
        if self.resets {
            self.put_back(plugin, running);
            return;
        }
        // Half of its memory is filled already: the next exchange would break it.
        let full = running.store.data().limiter.is_half_full();
        if running.served < self.serves && !full {
            self.idle.keep(running, MAX_IDLE);
        }
    }

    /// Keeps an instance that can be put back, if there is a place to wait. It
    /// never waits for anything itself: what would is not worth it.
    fn put_back(&self, plugin: &Plugin, mut running: Box<Running>) {
        if self.idle.rests() {
            return;
        }
        let Some(place) = plugin.places.waiting.take() else {
            return;
        };
        if running.put_back(plugin).now_or_never().flatten().is_some() {
            running.kept = Some(place);
            self.idle.keep(running, MAX_WAITING);
        }
    }

    /// Drops what waits, and lets nothing wait, or lets it again.
    pub(super) fn rest(&self, rests: bool) {
        self.idle.rest(rests);
    }

    /// Drops one that waits; whether there was one.
    pub(super) fn drop_one(&self) -> bool {
        self.idle.take().is_some()
    }
}

/// Makes a spare, off the request path, while the plugin is there.
fn refill(plugin: &Arc<Plugin>) {
    let idle = &plugin.pool.idle;
    if idle.rests() || idle.len() > SPARES {
        return;
    }
    let plugin = Arc::downgrade(plugin);
    tokio::spawn(async move {
        let Some(plugin) = plugin.upgrade() else {
            return;
        };
        if let Ok(running) = Running::make(&plugin).await {
            plugin.pool.idle.keep(running, SPARES);
        }
    });
}
