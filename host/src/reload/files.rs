//! The files of a generation: which there are, their state, and reading all of
//! them as they are at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::generation::Components;
use crate::manifest::{Manifest, Problems, Step};

/// How many times files that change while they are read are read again, and
/// how long after, before it is given up. A gateway that is started while files
/// are being put in place waits so long for them.
const READINGS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// What tells one state of the files from another, without reading them.
pub(super) type Fingerprint = BTreeMap<PathBuf, Option<(SystemTime, u64, u64)>>;

/// A manifest and the components that it names, read at one moment.
pub type Read = (Manifest, Components);

/// The files of a manifest, and their state when they were read.
pub(super) struct Files {
    pub paths: BTreeSet<PathBuf>,
    pub seen: Fingerprint,
}

impl Files {
    /// Reads a manifest and what it names; `known` are the files that it is
    /// likely to name. A manifest that cannot be read leaves them as they are.
    ///
    /// Nothing is taken of files that change meanwhile, so what is read never
    /// is half of one state and half of another.
    pub async fn read(manifest: &Path, known: BTreeSet<PathBuf>) -> (Self, Result<Read, Problems>) {
        let mut paths = known;
        paths.insert(manifest.to_owned());
        for _ in 0..READINGS {
            let seen = fingerprint(&paths);
            let read = match Manifest::load(manifest) {
                Err(problems) => Err(problems),
                Ok(read) => {
                    let named = read.files();
                    let more = !named.is_subset(&paths);
                    paths = named;
                    // Files that were not looked at before may have changed.
                    if more {
                        continue;
                    }
                    let components = Components::read(&read).await;
                    Ok((read, components))
                }
            };
            let seen: Fingerprint = seen
                .into_iter()
                .filter(|(file, _)| paths.contains(file))
                .collect();
            if fingerprint(&paths) == seen {
                return (Self { paths, seen }, read);
            }
            tokio::time::sleep(PAUSE).await;
        }
        let seen = fingerprint(&paths);
        let message = "it changes, or what it names does, while it is read";
        let problems = Problems::one(manifest, Step::Read, message);
        (Self { paths, seen }, Err(problems))
    }

    /// Whether any is other than it was.
    pub fn differ(&self) -> bool {
        fingerprint(&self.paths) != self.seen
    }
}

pub(super) fn fingerprint(files: &BTreeSet<PathBuf>) -> Fingerprint {
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
