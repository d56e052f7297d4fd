//! Noticing that files change: by the system's notifications, which make it
//! quick, and by whom they are being written.
//!
//! A notification is only a reason to look: whether anything changed is
//! decided by the files' state. A file that someone has written and not yet
//! closed is not whole, however long it is quiet.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::LOOK;
use crate::manifest::Watch;

/// How long a file that is open and no longer written is waited for: a slow
/// upload may stall, and a writer may never close.
const STALL: Duration = Duration::from_secs(30);

/// The files that matter, and what is known of them from notifications.
#[derive(Default)]
struct Known {
    /// By the names that notifications have for them.
    files: BTreeSet<PathBuf>,
    /// Those that were written and not closed, with the time of the last
    /// write.
    open: HashMap<PathBuf, Instant>,
}

/// See the module.
pub(super) struct Watching {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
    known: Arc<Mutex<Known>>,
}

impl Watching {
    pub fn new(watch: Watch) -> Self {
        let changed = Arc::<Notify>::default();
        let known = Arc::<Mutex<Known>>::default();
        let watcher = match watch {
            Watch::Notify => watcher(changed.clone(), known.clone()),
            Watch::Poll => None,
        };
        Self {
            watcher,
            directories: BTreeSet::new(),
            changed,
            known,
        }
    }

    /// Watches the directories of these files, and no others: a save often
    /// replaces the file itself. A symbolic link is watched at both ends.
    pub fn files(&mut self, files: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let names = files
            .iter()
            .filter_map(|file| std::path::absolute(file).ok());
        let names = names.flat_map(|name| [std::fs::canonicalize(&name).ok(), Some(name)]);
        let names: BTreeSet<PathBuf> = names.flatten().collect();
        let directories = names.iter().filter_map(|name| name.parent());
        let directories: BTreeSet<PathBuf> = directories.map(Path::to_owned).collect();
        for gone in self.directories.difference(&directories) {
            let _ = watcher.unwatch(gone);
        }
        // Watching one again is harmless, and is needed if it was replaced.
        for directory in &directories {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                tracing::debug!(directory = %directory.display(), %error, "cannot be watched");
            }
        }
        self.directories = directories;
        let mut known = locked(&self.known);
        known.open.retain(|file, _| has_name_of(file, &names));
        known.files = names;
    }

    /// Ready when something may have changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether someone is still writing one of the files.
    pub fn being_written(&self) -> bool {
        let mut known = locked(&self.known);
        known.open.retain(|_, written| written.elapsed() < STALL);
        !known.open.is_empty()
    }
}

impl Known {
    /// Whether there is reason to look. Not where a file of another name is
    /// written, as a logger's output is all the time; what else happens to one
    /// may be what a file that matters is reached through.
    fn concerns(&self, event: &notify::Event) -> bool {
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let written = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        if written || event.kind == closed {
            return event
                .paths
                .iter()
                .any(|path| has_name_of(path, &self.files));
        }
        !event.kind.is_access()
    }

    fn note(&mut self, event: &notify::Event) {
        let files = &self.files;
        for path in event.paths.iter().filter(|path| has_name_of(path, files)) {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => {
                    self.open.insert(path.clone(), Instant::now());
                }
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => {
                    self.open.remove(path);
                }
                _ => {}
            }
        }
    }
}

/// Whether it has the name of one of these files. Paths are not compared: of a
/// directory that has two, notifications know one.
fn has_name_of(path: &Path, files: &BTreeSet<PathBuf>) -> bool {
    files
        .iter()
        .any(|file| file.file_name() == path.file_name())
}

fn locked(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watcher(changed: Arc<Notify>, known: Arc<Mutex<Known>>) -> Option<RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else {
            return;
        };
        let mut known = locked(&known);
        known.note(&event);
        if known.concerns(&event) {
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

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, MetadataKind, RenameMode};

    use super::*;

    #[test]
    fn what_is_written_to_other_files_is_no_reason_to_look() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let created = EventKind::Create(CreateKind::File);
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let touched = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        // With whether it concerns a file that matters, and another.
        let cases = [
            (written, true, false),
            (closed, true, false),
            (opened, false, false),
            (created, true, true),
            (renamed, true, true),
            (touched, true, true),
            (EventKind::Any, true, true),
        ];
        let known = Known {
            files: BTreeSet::from(["/etc/palisade/proxy.toml".into()]),
            ..Known::default()
        };
        for (kind, matters, other) in cases {
            let concerns = |name: &str| {
                let path = Path::new("/etc/palisade").join(name);
                known.concerns(&notify::Event::new(kind).add_path(path))
            };
            let linked = "/opt/palisade/proxy.toml";
            assert_eq!(concerns("proxy.toml"), matters, "{kind:?}");
            assert_eq!(concerns(linked), matters, "{kind:?}");
            assert_eq!(concerns("exchanges.jsonl"), other, "{kind:?}");
        }
    }

    #[test]
    fn a_file_is_being_written_until_it_is_closed_by_whatever_name() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let mut known = Known {
            files: BTreeSet::from(["/etc/palisade/proxy.toml".into()]),
            ..Known::default()
        };
        for (kind, name, open) in [
            (written, "/etc/palisade/exchanges.jsonl", 0),
            (written, "/opt/palisade/proxy.toml", 1),
            (written, "/opt/palisade/proxy.toml", 1),
            (closed, "/opt/palisade/proxy.toml", 0),
        ] {
            known.note(&notify::Event::new(kind).add_path(name.into()));
            assert_eq!(known.open.len(), open, "{kind:?} {name}");
        }
    }
}
