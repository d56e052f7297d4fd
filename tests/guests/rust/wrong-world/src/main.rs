//! A valid component of the wrong kind: a WASI command, which exports
//! `wasi:cli/run` and no stage of ours.
//!
//! Used by the tests of what the host says when it is given such a file.

fn main() {
    println!("a command is not a plugin");
}
