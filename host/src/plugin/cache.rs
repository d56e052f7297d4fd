//! Compiled components on disk, so that a gateway starts in milliseconds.
//!
//! What is in the cache is machine code that this process will run, so it is
//! loaded only if this user's gateway wrote it: the directory belongs to the
//! user and is closed to others, and each file carries a message authentication
//! code (HMAC-SHA-256, RFC 2104) over its name and its bytes, by a key that
//! lies in the directory. wasmtime then checks that the code was made by the
//! same version, for the same settings and processor. Anything that does not
//! fit is as if it were not there. Losing the cache costs time and nothing else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ring::{hmac, rand};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The most bytes that are kept; the files that were not used for longest go.
const MAX_BYTES: u64 = 2 << 30;

/// The length of a code and of the key, in bytes.
const CODE: usize = 32;

/// What was being written for longer than this never will be.
const ABANDONED: Duration = Duration::from_secs(600);

const KEY_FILE: &str = "key";
const EXTENSION: &str = "cwasm";

/// See the module.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
    key: hmac::Key,
}

impl Cache {
    /// Opens a cache, making its directory and its key if need be.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made or used, or is not this user's alone.
    pub fn open(directory: &Path) -> io::Result<Self> {
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let metadata = fs::symlink_metadata(directory)?;
        let own = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
        if !own || metadata.mode() & 0o077 != 0 {
            let rule = "it must be a directory of this user's with mode 700";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, rule));
        }
        let cache = Self {
            directory: directory.to_owned(),
            key: key(directory)?,
        };
        cache.tidy()?;
        Ok(cache)
    }

    /// Where the user's caches are (XDG Base Directory Specification); none if
    /// the environment does not tell.
    pub fn default_directory() -> Option<PathBuf> {
        let absolute = |name| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Some(caches?.join("palisade"))
    }

    /// What was stored under this name; none if there is nothing that can be
    /// trusted.
    pub fn load(&self, name: &str) -> Option<Stored> {
        let path = self.path(name);
        let mut file = File::open(&path).ok()?;
        let mut code = [0; CODE];
        file.read_exact(&mut code).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let authentic = hmac::verify(&self.key, &Self::signed(name, &bytes), &code);
        if authentic.is_err() {
            tracing::warn!(file = %path.display(), "left out of the cache: it was not written by this gateway");
            return None;
        }
        // Used again: not the next one to go.
        let _ = file.set_modified(SystemTime::now());
        Some(Stored(bytes))
    }

    /// Stores a component under a name, in the place of what was there.
    pub fn store(&self, name: &str, component: &Component) -> io::Result<()> {
        let bytes = component.serialize().map_err(io::Error::other)?;
        let code = hmac::sign(&self.key, &Self::signed(name, &bytes));
        let aside = self.aside(name);
        let mut file = private(&aside)?;
        file.write_all(code.as_ref())?;
        file.write_all(&bytes)?;
        fs::rename(&aside, self.path(name))
    }

    /// Where a file is written until it is whole. Another thread may store the
    /// same component.
    fn aside(&self, name: &str) -> PathBuf {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
        self.directory
            .join(format!("{name}.{process}.{number}.tmp"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name).with_extension(EXTENSION)
    }

    /// What the code of a file is of: its name cannot be another's.
    fn signed(name: &str, bytes: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b"\0", bytes].concat()
    }

    /// Removes what a process that was killed left half written, and what is
    /// beyond the bound.
    fn tidy(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("tmp") if used.elapsed().unwrap_or_default() > ABANDONED => {
                    let _ = fs::remove_file(&path);
                }
                Some(EXTENSION) => files.push((used, metadata.len(), path)),
                _ => {}
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in files {
            if bytes <= MAX_BYTES {
                break;
            }
            let _ = fs::remove_file(path);
            bytes -= length;
        }
        Ok(())
    }
}

/// A component that this user's gateway has compiled and stored.
pub struct Stored(Vec<u8>);

impl Stored {
    /// The component, each time anew; none if it was compiled by another
    /// version, or for other settings or another processor.
    pub fn component(&self, engine: &Engine) -> Option<Component> {
        #[expect(unsafe_code, reason = "compiled code cannot be checked, only trusted")]
        // SAFETY: the bytes were written by `Cache::store`, from a component
        // that wasmtime compiled: nobody else has the key.
        let component = unsafe { Component::deserialize(engine, &self.0) };
        component.ok()
    }
}

/// Makes a file that is this user's alone.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// The key of a directory, made at first use.
fn key(directory: &Path) -> io::Result<hmac::Key> {
    let path = directory.join(KEY_FILE);
    let fresh: rand::Random<[u8; CODE]> = rand::generate(&rand::SystemRandom::new())
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let aside = directory.join(format!("{KEY_FILE}.{}.tmp", std::process::id()));
    if !path.exists() {
        private(&aside)?.write_all(&fresh.expose())?;
        // Whole at once, and not over that of a process which was quicker.
        let linked = fs::hard_link(&aside, &path);
        fs::remove_file(&aside)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let bytes = fs::read(&path)?;
    if bytes.len() != CODE {
        return Err(io::Error::other(
            "its key has the wrong length; remove the directory",
        ));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(engine: &Engine) -> Component {
        // The smallest one: magic number, version and layer.
        Component::from_binary(engine, b"\0asm\x0d\0\x01\0").unwrap()
    }

    fn opened() -> (tempfile::TempDir, Cache, Engine) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(&directory.path().join("cache")).unwrap();
        (directory, cache, Engine::default())
    }

    #[test]
    fn what_was_stored_is_loaded() {
        let (directory, cache, engine) = opened();
        assert!(cache.load("a").is_none());
        cache.store("a", &component(&engine)).unwrap();
        assert!(cache.load("a").unwrap().component(&engine).is_some());
        let again = Cache::open(&directory.path().join("cache")).unwrap();
        assert!(again.load("a").is_some());
    }

    #[test]
    fn what_was_changed_or_moved_is_not_loaded() {
        let (_directory, cache, engine) = opened();
        cache.store("a", &component(&engine)).unwrap();
        fs::copy(cache.path("a"), cache.path("b")).unwrap();
        assert!(cache.load("b").is_none());
        let mut bytes = fs::read(cache.path("a")).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(cache.path("a"), bytes).unwrap();
        assert!(cache.load("a").is_none());
        fs::write(cache.path("a"), b"short").unwrap();
        assert!(cache.load("a").is_none());
    }

    #[test]
    fn what_another_key_signed_is_not_loaded() {
        let (_one, cache, engine) = opened();
        let (_two, other, _) = opened();
        other.store("a", &component(&engine)).unwrap();
        fs::copy(other.path("a"), cache.path("a")).unwrap();
        assert!(cache.load("a").is_none());
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, ..) = opened();
        let path = directory.path().join("cache");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(&path).is_err());
    }
}
