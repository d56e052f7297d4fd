//! Watching the files that the live generation is made of, and replacing it.
//!
//! A reload is a transaction: settle, read, check, compile and start aside,
//! then one swap. Whatever fails on the way leaves the live generation as it
//! was and is told with its reason. The system's notifications make it quick;
//! a look at the files every few seconds makes it certain, since not every
//! file system notifies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::gateway::Gateway;
use crate::generation::Builder;
use crate::manifest::{Manifest, Problems};

/// How often files are looked at without being told.
const LOOK: Duration = Duration::from_secs(2);

/// How many times the settling time a storm of writes may put off a reload.
const PATIENCE: u32 = 20;

/// What tells one state of the files from another, without reading them.
type Fingerprint = BTreeMap<PathBuf, Option<(SystemTime, u64, u64)>>;

/// Keeps a gateway's generation up to date with its files.
pub struct Reloader {
    gateway: Arc<Gateway>,
    builder: Builder,
    manifest: PathBuf,
    files: BTreeSet<PathBuf>,
    seen: Fingerprint,
}

impl Reloader {
    /// `files` and `seen` are those of the live generation: what has changed
    /// since it was read is loaded at once.
    pub fn new(gateway: Arc<Gateway>, builder: Builder, manifest: PathBuf, files: Files) -> Self {
        Self {
            gateway,
            builder,
            manifest,
            files: files.paths,
            seen: files.seen,
        }
    }

    /// Watches and reloads, for as long as it is polled.
    pub async fn run(mut self) {
        let changed = Arc::new(Notify::new());
        let mut watcher = watcher(changed.clone());
        loop {
            if let Some(watcher) = &mut watcher {
                watch(watcher, &self.files);
            }
            if fingerprint(&self.files) == self.seen {
                let _ = tokio::time::timeout(LOOK, changed.notified()).await;
                if fingerprint(&self.files) == self.seen {
                    continue;
                }
            }
            self.settle().await;
            self.reload().await;
        }
    }

    /// Waits until the files have been quiet for the settling time.
    async fn settle(&mut self) {
        let quiet = self.gateway.generation().server.settle;
        for _ in 0..PATIENCE {
            let before = fingerprint(&self.files);
            tokio::time::sleep(quiet).await;
            if fingerprint(&self.files) == before {
                return;
            }
        }
    }

    async fn reload(&mut self) {
        self.seen = fingerprint(&self.files);
        let live = self.gateway.generation().number;
        match self.build().await {
            Ok(number) => tracing::info!(generation = number, "reloaded"),
            Err(problems) => {
                for line in problems.to_string().lines() {
                    tracing::error!(generation = live, "not reloaded: {line}");
                }
            }
        }
    }

    async fn build(&mut self) -> Result<u64, Problems> {
        let manifest = Manifest::load(&self.manifest)?;
        // Also if it cannot be built: a file that is missing may yet come.
        let files = manifest.files();
        if files != self.files {
            self.seen = fingerprint(&files);
            self.files = files;
        }
        let generation = self.builder.build(manifest).await?;
        for skipped in &generation.skipped {
            tracing::info!("{skipped}");
        }
        let number = generation.number;
        self.gateway.swap(generation);
        Ok(number)
    }
}

/// The files of a manifest, and their state before they were read.
pub struct Files {
    paths: BTreeSet<PathBuf>,
    seen: Fingerprint,
}

impl Files {
    pub fn of(manifest: &Manifest) -> Self {
        let paths = manifest.files();
        Self {
            seen: fingerprint(&paths),
            paths,
        }
    }
}

fn watcher(changed: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed.notify_one();
        }
    };
    match notify::recommended_watcher(told) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "files are looked at every {} s only", LOOK.as_secs());
            None
        }
    }
}

/// Watches the directories of files: a save often replaces the file itself.
/// Watching one again is harmless.
fn watch(watcher: &mut impl Watcher, files: &BTreeSet<PathBuf>) {
    let directories: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    for directory in directories {
        let directory = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::debug!(directory = %directory.display(), %error, "cannot be watched");
        }
    }
}

fn fingerprint(files: &BTreeSet<PathBuf>) -> Fingerprint {
    files
        .iter()
        .map(|file| (file.clone(), state(file)))
        .collect()
}

/// When a file was last written, its size, and which file it is; through
/// symbolic links, so that a directory swapped by one is noticed.
fn state(file: &Path) -> Option<(SystemTime, u64, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.modified().ok()?, metadata.len(), inode))
}
