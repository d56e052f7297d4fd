//! Palisade from outside. One file a subject; what they share is the library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod admin;
mod buckets;
mod bytes;
mod canary;
mod client;
mod connections;
mod corpus;
mod direct;
mod faults;
mod filters;
mod grants;
mod guests;
mod hostile;
mod instances;
mod integrity;
mod limits;
mod log;
mod manifest;
mod metrics;
mod misuse;
mod providers;
mod readme;
mod reload;
mod said;
mod timing;
mod waiting;
