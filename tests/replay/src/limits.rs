//! Every bound of this server in one place, each with its reason.

use std::time::Duration;

/// Anthropic refuses bodies over 32 MB, the smallest such limit of the three
/// providers, so no test needs more.
pub const REQUEST_BODY: usize = 32 * 1024 * 1024;

/// A control request is a few hundred bytes; lists of chunk boundaries are the
/// longest part of it.
pub const CONTROL_BODY: usize = 1024 * 1024;

/// Requests that are kept for `GET /_requests`. More than any one test sends.
pub const JOURNAL_REQUESTS: usize = 512;

/// Bytes of bodies that are kept for `GET /_requests`, over all requests.
pub const JOURNAL_BODIES: usize = 64 * 1024 * 1024;

/// Connections that are served at once; further ones wait in the backlog.
pub const CONNECTIONS: usize = 1024;

/// The longest delay that can be asked for, how long `hang` lasts, and how long
/// a request's body may take. Longer than any client's time-out in the tests,
/// and still an end.
pub const DELAY: Duration = Duration::from_secs(600);

/// Chunks that one answer can be cut into.
pub const CHUNKS: usize = 1024 * 1024;

/// Header fields that a scenario can add.
pub const HEADERS: usize = 32;

/// Scenarios whose play is overridden at the same time.
pub const OVERRIDES: usize = 256;

/// A transcript file. They are written by hand.
pub const TRANSCRIPT: u64 = 8 * 1024 * 1024;
