//! What lives as long as the process: the live generation and those before it,
//! the places for exchanges, and the numbering of exchanges.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::generation::{Cause, Generation, History, Lived, Overtaken, RollbackError, Stay, Turn};
use crate::permits::{Permit, Permits};
use crate::plugin::Plugin;

pub struct Gateway {
    live: ArcSwap<Generation>,
    /// Held while the live generation is replaced.
    past: Mutex<Past>,
    exchanges: Arc<Permits>,
    /// Told whenever a generation has no exchange any more.
    idle: Arc<Notify>,
    started: SystemTime,
    count: AtomicU64,
}

struct Past {
    history: History,
    /// Plugins that an operator has disabled, by name.
    disabled: BTreeMap<String, Disabled>,
}

/// An operator's word about a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    pub who: String,
    pub since: SystemTime,
}

/// An exchange's place, which it holds until its last byte.
#[derive(Debug)]
pub struct Place {
    _permit: Permit,
    _stay: Stay,
}

impl Gateway {
    pub fn new(generation: Generation) -> Self {
        let exchanges = Permits::new(generation.server.max_exchanges as usize);
        let (history, live) = History::new(generation);
        Self {
            live: ArcSwap::new(live),
            past: Mutex::new(Past {
                history,
                disabled: BTreeMap::new(),
            }),
            exchanges,
            idle: Arc::default(),
            started: SystemTime::now(),
            count: AtomicU64::new(0),
        }
    }

    /// The live generation; an exchange takes it once.
    pub fn generation(&self) -> Arc<Generation> {
        self.live.load_full()
    }

    /// Makes a generation the live one. Exchanges under way stay on theirs.
    /// One that was begun in an earlier turn is not wanted any more.
    pub fn swap(
        &self,
        generation: Generation,
        cause: Cause,
        begun: Turn,
    ) -> Result<Arc<Generation>, Overtaken> {
        let mut past = self.past();
        if past.history.turn() != begun {
            return Err(Overtaken);
        }
        past.tell(&generation);
        let (live, retired) = past.history.add(generation, cause);
        self.replace(&live);
        drop(past);
        drop(retired);
        Ok(live)
    }

    /// Makes an earlier generation the live one, at once.
    pub fn rollback(
        &self,
        to: Option<u64>,
        cause: Cause,
    ) -> Result<Arc<Generation>, RollbackError> {
        let mut past = self.past();
        let live = past.history.back(to, cause)?;
        self.replace(&live);
        Ok(live)
    }

    /// Makes the generation before one the live one, if that is still live: its
    /// plugin has failed.
    pub fn take_back(&self, generation: u64, plugin: &str) -> Option<Arc<Generation>> {
        let mut past = self.past();
        if self.live.load().number != generation {
            return None;
        }
        let plugin = plugin.to_owned();
        let cause = Cause::AutoRollback { generation, plugin };
        let live = past.history.back(None, cause).ok()?;
        self.replace(&live);
        Some(live)
    }

    /// Plugins that are in the replaced generation alone keep no instance for
    /// exchanges that are not to come: each has a place in the pool.
    fn replace(&self, live: &Arc<Generation>) {
        // One that was replaced may be brought back.
        live.plugins.iter().for_each(|plugin| plugin.wake());
        let before = self.live.swap(live.clone());
        let goes_on = |plugin: &Arc<Plugin>| live.plugins.iter().any(|p| Arc::ptr_eq(p, plugin));
        for plugin in before.plugins.iter().filter(|plugin| !goes_on(plugin)) {
            plugin.rest();
        }
    }

    /// The turn that a reload begins in.
    pub fn turn(&self) -> Turn {
        self.past().history.turn()
    }

    /// The live generation, and every other that is kept or has exchanges, the
    /// one that was replaced last first.
    pub fn history(&self) -> (Lived, Vec<Lived>) {
        self.past().history.list()
    }

    /// Every generation that is still there.
    pub fn generations(&self) -> Vec<Arc<Generation>> {
        self.past().history.generations()
    }

    /// How many replaced generations still have exchanges.
    pub fn draining(&self) -> usize {
        let (_, replaced) = self.history();
        replaced.iter().filter(|lived| lived.drains()).count()
    }

    /// Ready when a generation has no exchange any more.
    pub async fn idle(&self) {
        self.idle.notified().await;
    }

    /// Has exchanges go on without a plugin, or with it again, in this and all
    /// further generations. Whether there is such a plugin.
    pub fn set_disabled(&self, name: &str, disabled: Option<Disabled>) -> bool {
        let mut past = self.past();
        let is_live = self.live.load().plugins.iter().any(|p| p.name == name);
        if !is_live && !past.disabled.contains_key(name) {
            return false;
        }
        match disabled {
            Some(disabled) => past.disabled.insert(name.to_owned(), disabled),
            None => past.disabled.remove(name),
        };
        for generation in past.history.generations() {
            past.tell(&generation);
        }
        true
    }

    /// The plugins that an operator has disabled, by name.
    pub fn disabled(&self) -> BTreeMap<String, Disabled> {
        self.past().disabled.clone()
    }

    /// A place for an exchange on a generation; none if all are taken.
    pub fn admit(&self, generation: &Arc<Generation>) -> Option<Place> {
        Some(Place {
            _permit: self.exchanges.take()?,
            _stay: Stay::new(generation.clone(), self.idle.clone()),
        })
    }

    /// When the process began to serve.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// An identifier that no other exchange has: the milliseconds from 1970
    /// until this process began, and a number.
    pub fn next_id(&self) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let since = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("px-{:x}-{number:x}", since.as_millis())
    }

    fn past(&self) -> std::sync::MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    /// Tells the plugins of a generation which of them are disabled.
    fn tell(&self, generation: &Generation) {
        for plugin in &generation.plugins {
            let disabled = self.disabled.contains_key(&plugin.name);
            plugin.health().set_disabled(disabled);
        }
    }
}
