//! Taking a generation back by itself: for a time after a reload, a plugin
//! that is new in it must not trap, and its breaker must not open.
//!
//! Off unless the manifest asks for it, since a client may be able to make a
//! plugin trap: whoever can should not decide what is served.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::control::{Control, TakenBack};
use super::files::Fingerprint;
use crate::gateway::Gateway;
use crate::generation::Generation;
use crate::plugin::{Plugin, Standing};

/// How often new plugins are looked at.
const TICK: Duration = Duration::from_millis(100);

/// A generation on trial, until this is dropped.
pub(super) struct Trial(JoinHandle<()>);

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Watched {
    gateway: Arc<Gateway>,
    control: Control,
    generation: u64,
    /// Each new plugin with how often it had trapped when the trial began.
    plugins: Vec<(Arc<Plugin>, u64)>,
    until: Instant,
    files: Fingerprint,
}

impl Trial {
    /// Begins the trial of a generation that has replaced another; none if the
    /// manifest does not ask for one, or nothing is new.
    pub fn begin(
        (gateway, control): (Arc<Gateway>, Control),
        live: &Arc<Generation>,
        before: &Generation,
        files: &Fingerprint,
    ) -> Option<Self> {
        let limit = live.reload.auto_rollback?;
        let known = |plugin: &&Arc<Plugin>| {
            let carried_over = |p: &Arc<Plugin>| Arc::ptr_eq(p, plugin);
            !before.plugins.iter().any(carried_over)
        };
        let plugins = live.plugins.iter().filter(known);
        let plugins: Vec<_> = plugins
            .map(|plugin| (plugin.clone(), plugin.health().counts().traps))
            .collect();
        let watched = Watched {
            gateway,
            control,
            generation: live.number,
            until: Instant::now() + limit,
            files: files.clone(),
            plugins,
        };
        (!watched.plugins.is_empty()).then(|| Self(tokio::spawn(watched.run())))
    }
}

impl Watched {
    async fn run(self) {
        while Instant::now() < self.until && self.is_live() {
            if let Some((plugin, reason)) = self.broke() {
                return self.take_back(plugin, reason);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn is_live(&self) -> bool {
        self.gateway.generation().number == self.generation
    }

    /// A new plugin that has failed, and how.
    fn broke(&self) -> Option<(&Plugin, &'static str)> {
        self.plugins.iter().find_map(|(plugin, before)| {
            let health = plugin.health();
            if health.counts().traps > *before {
                return Some((&**plugin, "trapped"));
            }
            let spared = matches!(health.standing(), Standing::Spared(_));
            spared.then_some((&**plugin, "failed too often in a row"))
        })
    }

    fn take_back(&self, plugin: &Plugin, reason: &str) {
        let Some(live) = self.gateway.take_back(self.generation, &plugin.name) else {
            return;
        };
        self.control.tell(|told| {
            told.taken_back = Some(TakenBack {
                at: SystemTime::now(),
                generation: self.generation,
                plugin: plugin.name.clone(),
                reason: reason.to_owned(),
                files: self.files.clone(),
            });
        });
        tracing::error!(
            generation = live.number,
            "generation {} was taken back: plugin \"{}\" {reason}; its files are not loaded again until they change",
            self.generation,
            plugin.name
        );
    }
}
