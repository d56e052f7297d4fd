//! Watching the files that the live generation is made of, and replacing it.
//!
//! A reload is a transaction: settle, read, check, compile and start aside,
//! then one swap. Whatever fails on the way leaves the live generation as it
//! was and is told with its reason; it is tried again now and then, since the
//! reason may lie outside the files (no instance was free). The system's
//! notifications make it quick; a look at the files every few seconds makes it
//! certain, since not every file system notifies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::generation::Builder;
use crate::manifest::{Log, Manifest, Problems, Server};

/// How often files are looked at without being told.
const LOOK: Duration = Duration::from_secs(2);

/// How many times the settling time a storm of writes may put off a reload.
const PATIENCE: u32 = 20;

/// How long after a failure the same files are tried again; doubled with each
/// further one.
const RETRY: Duration = Duration::from_secs(2);
const MAX_RETRY: Duration = Duration::from_secs(60);

/// How many times a manifest that goes on naming other files is read before
/// the last reading is taken, and looked at again later.
const READINGS: u32 = 4;

/// What tells one state of the files from another, without reading them.
type Fingerprint = BTreeMap<PathBuf, Option<(SystemTime, u64, u64)>>;

/// Keeps a gateway's generation up to date with its files.
pub struct Reloader {
    gateway: Arc<Gateway>,
    builder: Builder,
    manifest: PathBuf,
    files: Files,
    started: Fixed,
    latest: Fixed,
    failed: Option<Failed>,
}

/// What a reloader begins with: the files as they were before they were read,
/// and what cannot change while the process runs.
pub struct Start {
    files: Files,
    fixed: Fixed,
}

/// Reads and checks a manifest, and remembers the state of its files from
/// before: what is written meanwhile is loaded later.
///
/// # Errors
///
/// Every problem of the manifest.
pub fn load(manifest: &Path) -> Result<(Manifest, Start), Problems> {
    let (files, read) = Files::read(manifest, BTreeSet::new());
    let manifest = read?;
    let fixed = Fixed::of(&manifest);
    Ok((manifest, Start { files, fixed }))
}

/// Why the reloader looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Changed,
    Asked,
    Retry,
}

/// A reload that failed.
struct Failed {
    /// What was told of it.
    told: String,
    wait: Duration,
    again: Instant,
}

impl Reloader {
    /// `start` is what the live generation was made of: what has changed since
    /// it was read is loaded at once.
    pub fn new(gateway: Arc<Gateway>, builder: Builder, manifest: PathBuf, start: Start) -> Self {
        Self {
            gateway,
            builder,
            manifest,
            files: start.files,
            latest: start.fixed.clone(),
            started: start.fixed,
            failed: None,
        }
    }

    /// Watches and reloads, for as long as it is polled; at once whenever it
    /// is `asked`, changed or not.
    pub async fn run(mut self, asked: Arc<Notify>) {
        let changed = Arc::new(Notify::new());
        let mut watcher = watcher(changed.clone());
        loop {
            if let Some(watcher) = &mut watcher {
                watch(watcher, &self.files.paths);
            }
            let reason = self.reason(&changed, &asked).await;
            if reason == Reason::Changed {
                self.settle(&asked).await;
            }
            self.reload(reason).await;
        }
    }

    /// Waits until there is a reason to reload.
    async fn reason(&self, changed: &Notify, asked: &Notify) -> Reason {
        loop {
            if self.files.differ() {
                return Reason::Changed;
            }
            let look = Instant::now() + LOOK;
            let again = self.failed.as_ref().map(|failed| failed.again);
            tokio::select! {
                () = asked.notified() => return Reason::Asked,
                () = changed.notified() => {}
                () = tokio::time::sleep_until(again.map_or(look, |again| again.min(look))) => {
                    if again.is_some_and(|again| again <= Instant::now()) && !self.files.differ() {
                        return Reason::Retry;
                    }
                }
            }
        }
    }

    /// Waits until the files have been quiet for the settling time, or it is
    /// asked not to wait.
    async fn settle(&self, asked: &Notify) {
        let quiet = self.gateway.generation().server.settle;
        for _ in 0..PATIENCE {
            let before = fingerprint(&self.files.paths);
            tokio::select! {
                () = asked.notified() => return,
                () = tokio::time::sleep(quiet) => {}
            }
            if fingerprint(&self.files.paths) == before {
                return;
            }
        }
    }

    async fn reload(&mut self, reason: Reason) {
        let live = self.gateway.generation().number;
        let problems = match self.build().await {
            Ok(number) => {
                tracing::info!(generation = number, "reloaded");
                self.failed = None;
                return;
            }
            Err(problems) => problems.to_string(),
        };
        // A change that leaves the problem is told again; a retry is not.
        let before = self.failed.take().filter(|_| reason == Reason::Retry);
        if before.as_ref().is_none_or(|b| b.told != problems) {
            for line in problems.lines() {
                tracing::error!(generation = live, "not reloaded: {line}");
            }
        }
        let wait = before.map_or(RETRY, |before| (before.wait * 2).min(MAX_RETRY));
        self.failed = Some(Failed {
            told: problems,
            wait,
            again: Instant::now() + wait,
        });
    }

    async fn build(&mut self) -> Result<u64, Problems> {
        let known = std::mem::take(&mut self.files.paths);
        let (files, read) = Files::read(&self.manifest, known);
        // Also if it cannot be built: a file that is missing may yet come.
        self.files = files;
        let manifest = read?;
        let fixed = Fixed::of(&manifest);
        let generation = self.builder.build(manifest).await?;
        for skipped in &generation.skipped {
            tracing::info!("{skipped}");
        }
        let number = generation.number;
        self.gateway.swap(generation);
        for name in fixed.changed(&self.started, &self.latest) {
            tracing::warn!("{name} was changed: it takes a restart to have an effect");
        }
        self.latest = fixed;
        Ok(number)
    }
}

/// The settings that are read once, when the process starts.
#[derive(Clone)]
struct Fixed {
    server: Server,
    log: Log,
}

impl Fixed {
    fn of(manifest: &Manifest) -> Self {
        Self {
            server: manifest.server.clone(),
            log: manifest.log.clone(),
        }
    }

    /// The settings that are other than those the process runs with, and were
    /// not so already at the latest reload.
    fn changed(&self, started: &Self, latest: &Self) -> Vec<&'static str> {
        let differing = |other: &Self| {
            let (a, b) = (&self.server, &other.server);
            [
                ("server.listen", a.listen != b.listen),
                (
                    "server.max-connections",
                    a.max_connections != b.max_connections,
                ),
                ("server.max-exchanges", a.max_exchanges != b.max_exchanges),
                ("server.max-instances", a.max_instances != b.max_instances),
                ("server.cache", a.cache != b.cache),
                ("[log]", self.log != other.log),
            ]
        };
        differing(started)
            .into_iter()
            .zip(differing(latest))
            .filter(|((_, from_start), (_, from_latest))| *from_start && *from_latest)
            .map(|((name, _), _)| name)
            .collect()
    }
}

/// The files of a manifest, and their state before they were read.
struct Files {
    paths: BTreeSet<PathBuf>,
    seen: Fingerprint,
}

impl Files {
    /// Reads a manifest; `known` are the files that it is likely to name. A
    /// manifest that cannot be read leaves them as they are.
    fn read(manifest: &Path, known: BTreeSet<PathBuf>) -> (Self, Result<Manifest, Problems>) {
        let mut paths = known;
        paths.insert(manifest.to_owned());
        let mut readings = 0;
        loop {
            readings += 1;
            let mut seen = fingerprint(&paths);
            let read = Manifest::load(manifest);
            let Ok(named) = read.as_ref().map(Manifest::files) else {
                return (Self { paths, seen }, read);
            };
            if named.is_subset(&paths) || readings == READINGS {
                // One that was not looked at before differs, and is read again.
                seen.retain(|file, _| named.contains(file));
                return (Self { paths: named, seen }, read);
            }
            paths.extend(named);
        }
    }

    /// Whether any is other than it was.
    fn differ(&self) -> bool {
        fingerprint(&self.paths) != self.seen
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
