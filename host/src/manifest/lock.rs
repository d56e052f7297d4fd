//! The lock file: the digest of every plugin's component, as it was when
//! someone last looked at what is served. It stands beside the manifest and
//! has its name: `proxy.lock` for `proxy.toml`. `palisade lock` writes it;
//! `locked = true` in `[reload]` demands that nothing else is loaded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The largest lock file that is read, in bytes: about ten thousand plugins.
const MAX_LOCK: u64 = 2 << 20;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    #[serde(default)]
    pub plugins: BTreeMap<String, Locked>,
}

/// A plugin in the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Where its component came from; for readers of the file.
    pub source: String,
    /// The component's digest, in hexadecimal digits.
    pub sha256: String,
}

impl Lock {
    /// The lock file of a manifest.
    pub fn file(manifest: &Path) -> PathBuf {
        manifest.with_extension("lock")
    }

    /// Reads a lock file.
    ///
    /// # Errors
    ///
    /// If it is not there, or is not a lock file; the text names it.
    pub fn read(file: &Path) -> Result<Self, String> {
        let cannot = |e: &dyn std::fmt::Display| {
            format!("the lock file {} cannot be read: {e}", file.display())
        };
        let length = std::fs::metadata(file).map_err(|e| cannot(&e))?.len();
        if length > MAX_LOCK {
            return Err(cannot(&format!("it is larger than {MAX_LOCK} bytes")));
        }
        let text = std::fs::read_to_string(file).map_err(|e| cannot(&e))?;
        toml::from_str(&text).map_err(|e| cannot(&e.message()))
    }

    /// Writes a lock file: beside, then over the old one, so that a reader
    /// never finds half of it.
    pub fn write(&self, file: &Path) -> std::io::Result<()> {
        let beside = file.with_extension("lock.new");
        let mut new = std::fs::File::create(&beside)?;
        new.write_all(self.text().as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&beside, file)
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "# The digests of what `palisade lock` found; see [reload] locked in the manifest.\n",
        );
        for (name, Locked { source, sha256 }) in &self.plugins {
            // A name may hold dots, which TOML wants quoted; JSON's strings of
            // names and paths are TOML's.
            let (name, source) = (serde_json::json!(name), serde_json::json!(source));
            let _ = write!(
                text,
                "\n[plugins.{name}]\nsource = {source}\nsha256 = \"{sha256}\"\n"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = Lock::file(&directory.path().join("proxy.toml"));
        let locked = Locked {
            source: "C:\\a \"b\"/ü.wasm".to_owned(),
            sha256: "ab".repeat(32),
        };
        let plugins = BTreeMap::from([("a.b-c".to_owned(), locked)]);
        let lock = Lock { plugins };
        lock.write(&file).unwrap();
        assert_eq!(Lock::read(&file), Ok(lock));
        assert!(file.ends_with("proxy.lock"));
        std::fs::write(&file, "[plugins.a]\nsha = 1\n").unwrap();
        assert!(Lock::read(&file).unwrap_err().contains("proxy.lock"));
    }
}
