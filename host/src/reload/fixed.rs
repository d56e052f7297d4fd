//! The settings that are read once, when the process starts.

use crate::manifest::{Admin, Log, Manifest, Server, Watch};

/// See the module.
#[derive(Clone)]
pub(super) struct Fixed {
    server: Server,
    log: Log,
    admin: Option<Admin>,
    pub watch: Watch,
}

impl Fixed {
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            server: manifest.server.clone(),
            log: manifest.log.clone(),
            admin: manifest.admin.clone(),
            watch: manifest.reload.watch,
        }
    }

    /// The settings that are other than those the process runs with.
    pub fn waiting(&self, started: &Self) -> Vec<&'static str> {
        let (a, b) = (&self.server, &started.server);
        let settings = [
            ("server.listen", a.listen != b.listen),
            ("server.workers", a.workers != b.workers),
            (
                "server.max-connections",
                a.max_connections != b.max_connections,
            ),
            ("server.max-exchanges", a.max_exchanges != b.max_exchanges),
            ("server.max-instances", a.max_instances != b.max_instances),
            ("server.cache", a.cache != b.cache),
            ("reload.watch", self.watch != started.watch),
            ("[admin]", self.admin != started.admin),
            ("[log]", self.log != started.log),
        ];
        let differing = settings.into_iter().filter(|(_, differs)| *differs);
        differing.map(|(name, _)| name).collect()
    }

    /// Those of `waiting` that were not told already at the latest reload.
    pub fn news(&self, started: &Self, latest: &Self) -> Vec<&'static str> {
        let changed = self.waiting(latest);
        let mut waiting = self.waiting(started);
        waiting.retain(|name| changed.contains(name));
        waiting
    }
}
