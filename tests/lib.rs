//! What the end-to-end tests share: a gateway in this process, an upstream that
//! records what it gets, and the guests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod capture;
mod gateway;
mod process;
mod programs;

use std::path::{Path, PathBuf};

pub use capture::{Answer, Capture, Captured};
pub use gateway::Palisade;
pub use process::Started;
pub use programs::{program, root};

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The component of a guest in Rust.
///
/// # Panics
///
/// If there is no such guest.
pub fn guest(name: &str) -> PathBuf {
    let found = GUESTS.iter().find(|(known, _)| *known == name);
    let (_, file) = found.unwrap_or_else(|| panic!("there is no guest {name}"));
    PathBuf::from(file)
}

/// The component of a guest in another language, if it has been built
/// (`tests/guests/build-foreign`).
pub fn foreign_guest(language: &str) -> Option<PathBuf> {
    let file = Path::new(FOREIGN).join(format!("{language}.wasm"));
    file.exists().then_some(file)
}

/// The shared corpus of provider traffic, if it is there.
pub fn corpus() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    path.is_dir().then_some(path)
}

/// Where tests keep compiled plugins.
pub fn cache() -> PathBuf {
    Path::new(FOREIGN).with_file_name("plugin-cache")
}

/// The transcripts of this repository.
pub fn transcripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}
