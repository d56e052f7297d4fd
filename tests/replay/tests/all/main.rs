//! The tests of the replay server, in one binary because linking takes longer
//! than running them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod binary;
mod checks;
mod client;
mod corpus;
mod transcripts;
mod wire;
