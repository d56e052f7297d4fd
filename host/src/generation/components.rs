//! Reading what a manifest names: each component once, with its digest, and
//! held against the digests that the manifest and the lock file demand.
//!
//! Nothing else reads components, so what was checked is what is compiled.

use std::collections::BTreeMap;
use std::path::Path;

use crate::builtin;
use crate::manifest::{Lock, Locked, Manifest, PluginEntry, Problem, Source, Step};
use crate::plugin::{Source as Component, parse_fixtures};

/// The largest component that is read, in bytes. Python's have 20 MiB.
const MAX_COMPONENT: u64 = 256 << 20;

/// The components of a manifest's plugins, by the plugins' names, as far as
/// they could be read and are what they should be.
#[derive(Default)]
pub struct Components {
    pub(super) read: BTreeMap<String, Component>,
    pub(super) problems: Vec<Problem>,
}

impl Components {
    /// Reads the component of every plugin.
    pub async fn read(manifest: &Manifest) -> Self {
        let reading = manifest.plugins.values().map(read);
        let read = futures_util::future::join_all(reading).await;
        let mut components = Self::default();
        let lock = components.lock(manifest);
        for (entry, component) in manifest.plugins.values().zip(read) {
            let checked = component.and_then(|component| {
                demanded(entry, &component.digest)?;
                if let Some(lock) = &lock {
                    locked(lock, entry, &component.digest)?;
                }
                Ok(component)
            });
            match checked {
                Ok(component) => {
                    components.read.insert(entry.name.clone(), component);
                }
                Err(problem) => components.problems.push(problem),
            }
        }
        components
    }

    /// Reads the lock file, if the manifest demands one. One that cannot be
    /// read is one problem, not one for each plugin.
    fn lock(&mut self, manifest: &Manifest) -> Option<Lock> {
        let line = manifest.reload.locked?;
        match Lock::read(&Lock::file(&manifest.file)) {
            Ok(lock) => Some(lock),
            Err(message) => {
                self.problems.push(Problem {
                    line: Some(line),
                    step: Step::Read,
                    message,
                    hint: Some("`palisade lock` writes it".to_owned()),
                });
                None
            }
        }
    }

    /// The digests of all, for the lock file; or what is wrong.
    pub fn into_lock(self, manifest: &Manifest) -> Result<Lock, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let locked = self.read.into_iter().filter_map(|(name, component)| {
            let source = manifest.plugins.get(&name)?.source.to_string();
            let sha256 = component.digest;
            Some((name, Locked { source, sha256 }))
        });
        Ok(Lock {
            plugins: locked.collect(),
        })
    }
}

fn unread(entry: &PluginEntry, message: &str) -> Problem {
    let builtin = matches!(entry.source, Source::Builtin(_));
    Problem {
        line: Some(entry.source_line),
        step: Step::Read,
        message: format!("plugin \"{}\": {message}", entry.name),
        hint: builtin.then(|| format!("there are {}", builtin::names().join(", "))),
    }
}

/// Whether a component has the digest that its manifest entry demands.
fn demanded(entry: &PluginEntry, digest: &str) -> Result<(), Problem> {
    match &entry.sha256 {
        Some(wanted) if wanted.value != digest => Err(Problem {
            line: Some(wanted.line),
            step: Step::Check,
            message: format!(
                "plugin \"{}\" ({}) has sha256 {digest}, and its `sha256` is {}",
                entry.name, entry.source, wanted.value
            ),
            hint: None,
        }),
        _ => Ok(()),
    }
}

/// Whether a component has the digest that is in the lock file.
fn locked(lock: &Lock, entry: &PluginEntry, digest: &str) -> Result<(), Problem> {
    let (name, source) = (&entry.name, &entry.source);
    let found = lock.plugins.get(name).map(|locked| &locked.sha256);
    let message = match found {
        Some(locked) if locked == digest => return Ok(()),
        Some(locked) => {
            format!("plugin \"{name}\" ({source}) has sha256 {digest}, and {locked} is locked")
        }
        None => format!("plugin \"{name}\" ({source}) has sha256 {digest}, and none is locked"),
    };
    Err(Problem {
        line: Some(entry.source_line),
        step: Step::Check,
        message,
        hint: Some("if it is meant to be, run `palisade lock`".to_owned()),
    })
}

/// Reads a plugin's component, and its fixtures if it has any.
async fn read(entry: &PluginEntry) -> Result<Component, Problem> {
    let bytes = bytes(&entry.source).await;
    let mut component = Component::new(bytes.map_err(|message| unread(entry, &message))?);
    if let Some(file) = &entry.fixtures {
        let text = read_file(&file.value).await;
        let fixtures = text.and_then(|text| {
            let named = |e| format!("{}: {e}", file.value.display());
            parse_fixtures(&text).map_err(named)
        });
        component.fixtures = fixtures.map_err(|message| Problem {
            line: Some(file.line),
            step: Step::Read,
            message: format!("plugin \"{}\": its fixtures: {message}", entry.name),
            hint: None,
        })?;
    }
    Ok(component)
}

async fn bytes(source: &Source) -> Result<Vec<u8>, String> {
    match source {
        Source::Builtin(name) => builtin::component(name)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| format!("there is no {source}")),
        Source::File(path) => read_file(path).await,
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
    let length = tokio::fs::metadata(path).await.map_err(cannot)?.len();
    if length > MAX_COMPONENT {
        return Err(format!(
            "{} is larger than {} MiB",
            path.display(),
            MAX_COMPONENT >> 20
        ));
    }
    tokio::fs::read(path).await.map_err(cannot)
}
