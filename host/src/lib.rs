//! Palisade, an AI gateway whose every stage is a sandboxed WebAssembly
//! component.
//!
//! # Code map, in the order in which data flows
//!
//! | module | owns |
//! |---|---|
//! | [`manifest`] | `proxy.toml`: from raw to valid, every problem with its line |
//! | [`plugin`] | components: loading, checking, limits, calls; the contract's host side |
//! | [`callout`] | requests that plugins make: to whom, how many, with which credential |
//! | [`store`] | state that plugins share and that outlives an exchange |
//! | [`generation`] | a manifest and its plugins, put together, immutable; earlier ones |
//! | [`gateway`] | the live generation and what lives as long as the process |
//! | [`reload`] | watching files; a new generation for the old one, or the reason why not |
//! | [`admin`] | telling operators what is served, and doing what they say |
//! | [`process`] | all of it begun together, and ended in order |
//! | [`server`] | connections, and letting them end |
//! | [`exchange`] | the request path: read → route → filters → rewriter → adapter |
//! | [`upstream`] | the wire to providers: where to, with which credential, how long |
//! | [`frame`] | cutting an upstream's bytes into frames |
//! | [`answer`] | the answer path: passed through, or decoded → filtered → written |
//! | [`dialect`] | what the host knows of the formats that clients speak |
//! | [`record`] | one record an exchange, to the loggers |
//!
//! Beneath all: [`json`] (edits that touch nothing else), [`message`] (what
//! plugins see), [`event`] (what models say), [`failure`] (how an exchange
//! fails), [`secret`], [`veil`] (covering a secret in what comes back),
//! [`timing`] (where the time of an exchange went), [`permits`] (how many at a
//! time).
//!
//! # Invariants
//!
//! - The host knows no provider by name. Providers are components and lines of
//!   the manifest.
//! - A plugin sees no credential. `upstream` places it after the last plugin
//!   has run, on a request whose host the manifest chose; `callout` where a
//!   plugin's own request names it.
//! - What a component imports is linked if the manifest grants it, and nothing
//!   else is. A plugin's request goes to an address that was checked.
//! - A call of a plugin works on a clone of the message, which replaces the
//!   original only if the call returns `ok`.
//! - Bytes that no plugin edited are the bytes that the client sent.
//! - A plugin instance serves one exchange, or as many as the manifest says, and
//!   is not entered again after it has failed. What one has in its memory before
//!   the first is what it was configured with, and nothing of a client's.
//! - An exchange stays on the generation that it began with, whether that is
//!   replaced, brought back or no longer kept.
//! - A reload either makes a whole generation live in one step, or has changed
//!   nothing. What it read, it read at one moment, and nothing reads it again.
//! - Clients cannot reach `admin`, and nothing that it tells holds a secret.
//! - A status is chosen in `failure` and written in `answer::reply`; nowhere
//!   else does a failure become a response.
//! - Every exchange makes one record, on every path.
//! - No answer ends as if it were whole when it was not.
//! - Every queue, body, wait and loop has a bound.

pub mod admin;
pub mod answer;
pub mod bindings;
mod boxed;
pub mod builtin;
pub mod callout;
pub mod dialect;
pub mod event;
pub mod exchange;
pub mod failure;
pub mod frame;
pub mod gateway;
pub mod generation;
pub mod json;
pub mod manifest;
pub mod message;
pub mod permits;
pub mod plugin;
pub mod process;
pub mod record;
pub mod reload;
pub mod secret;
pub mod server;
pub mod store;
pub mod timing;
pub mod upstream;
pub mod veil;
