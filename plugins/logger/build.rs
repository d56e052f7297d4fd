//! Links the component with memory for the largest batch from the beginning.
//!
//! An instance whose memory has grown is not put back.

/// In bytes: a megabyte for the stack, and as much for the 256 records of a
/// batch, of which each may take 4 KiB.
const MEMORY: usize = 2 << 20;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("wasm") {
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={MEMORY}");
    }
}
