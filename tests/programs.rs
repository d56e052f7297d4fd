//! The programs of this repository, for tests that run them as users do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// A program, "palisade" or "replay", built if need be: it is beside the folder
/// of the test's own.
///
/// # Panics
///
/// If it cannot be built.
pub fn program(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let this = std::env::current_exe().expect("a path");
        let directory = this.ancestors().nth(2).expect("target/PROFILE").to_owned();
        build(&directory);
        directory
    });
    directory.join(name)
}

/// The repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the repository").to_owned()
}

/// Builds what is missing or older than its sources, in the way that the
/// document does, so that no feature differs. Cargo makes no programs for the
/// tests of another package.
fn build(directory: &Path) {
    let palisade = ["host", "plugins", "wit", "Cargo.lock"];
    if is_old(&directory.join("palisade"), &palisade) {
        cargo_build(directory, &["--bin", "palisade"]);
    }
    let replay = ["tests/replay/src", "tests/replay/Cargo.toml", "Cargo.lock"];
    if is_old(&directory.join("replay"), &replay) {
        cargo_build(directory, &["--package", "replay"]);
    }
}

fn is_old(program: &Path, sources: &[&str]) -> bool {
    let built = std::fs::metadata(program).and_then(|m| m.modified()).ok();
    let newest = sources.iter().map(|name| changed(&root().join(name))).max();
    built <= newest
}

fn cargo_build(directory: &Path, what: &[&str]) {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target = directory.parent().expect("a target directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--profile", profile])
        .args(what);
    cargo.arg("--target-dir").arg(target);
    let status = cargo.current_dir(root()).status().expect("cargo to start");
    assert!(status.success(), "{what:?} could not be built");
}

/// When a file, or the newest file below a folder, was last written.
fn changed(path: &Path) -> SystemTime {
    if !path.is_dir() {
        let metadata = std::fs::metadata(path);
        return metadata
            .and_then(|m| m.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH);
    }
    let entries = std::fs::read_dir(path).expect("a folder").flatten();
    let times = entries.map(|entry| changed(&entry.path()));
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}
