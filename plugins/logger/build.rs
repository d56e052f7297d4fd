//! Links the component with memory for a batch from the beginning: an instance
//! whose memory has grown is not put back.

/// In bytes, as much as the least limit that a manifest may set. A quarter is
/// the stack; the rest is enough for 256 records of two kilobytes each.
const MEMORY: usize = 1 << 20;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("wasm") {
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={MEMORY}");
    }
}
