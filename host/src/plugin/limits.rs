//! What a plugin may use. Each limit has a default with its reason, and an
//! operator can set it for each plugin.

use std::time::Duration;

use wasmtime::{ResourceLimiter, format_err};

/// What a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wall time of one call, including the start of its instance.
    pub time: Duration,
    /// CPU time of one call, counted in slices of `TICK`.
    pub cpu: Duration,
    /// Linear memories of one instance, all together, in bytes.
    pub memory: usize,
    /// Elements of its tables, all together.
    pub tables: usize,
    /// What it may hand to the host in one crossing, arguments or results, as
    /// they lie in memory, in bytes: what the host allocates for it.
    pub transfer: usize,
    /// Handles that it may hold at a time.
    pub handles: usize,
    /// The body that one call may write or return, in bytes.
    pub output: usize,
    /// Edits in one call.
    pub edits: u32,
    /// Lines that one instance may log.
    pub log: u32,
    /// Each body of a request that it makes, and of its answer, in bytes.
    pub http_body: usize,
    /// Requests that all its instances together make at a time.
    pub http_requests: usize,
}

/// The most memory that any plugin may be given, in bytes.
pub const MAX_MEMORY: usize = 1 << 30;

/// The largest body that any plugin may send or get: bodies are held whole, by
/// each request of a call.
pub const MAX_HTTP_BODY: usize = 64 << 20;

/// The most elements that any table may be given; the pool has room for them.
pub const MAX_TABLE: usize = 100_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A Rust filter needs microseconds, and a fresh Python one 15 ms on
            // an idle machine; a second is far from both, and short enough for
            // a client to survive.
            time: Duration::from_secs(1),
            // On a machine that is busy a call waits for its turns, so wall
            // time passes faster than CPU time; half of it is a lot of work.
            cpu: Duration::from_millis(500),
            // Python starts at about 40 MiB, and a prompt of 10 MiB takes ten times
            // that while it is looked at.
            memory: 256 << 20,
            // A compiler's table of functions has thousands; Python's has 20,000.
            tables: 50_000,
            // A body of 32 MiB as the text of many events, which take more
            // room as records than as text.
            transfer: 64 << 20,
            // A well-behaved plugin holds a handful; the bound is what a leak
            // meets.
            handles: 4096,
            // The largest request that is taken by default.
            output: 32 << 20,
            // A filter that redacts a long conversation makes one for each
            // text; beyond this it should write the body once.
            edits: 4096,
            // Enough to follow one exchange; more is a flood.
            log: 256,
            // A question to a service and its verdict have a few KiB; a body is
            // held whole, by each of up to eight requests of a call.
            http_body: 1 << 20,
            // Enough for some hundred exchanges a second at 50 ms a request,
            // and no flood for whoever answers.
            http_requests: 16,
        }
    }
}

/// Keeps an instance within its memory and its tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limiter {
    memory: Quota,
    tables: Quota,
    /// What growth was refused, so that a trap can be explained.
    pub(super) denied: Option<Denied>,
}

#[derive(Debug, Clone, Copy)]
struct Quota {
    used: usize,
    limit: usize,
}

/// What an instance wanted more of than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Memory, in bytes.
    Memory(usize),
    /// Elements of tables.
    Tables(usize),
    /// What the host takes from it at once, in bytes.
    Transfer(usize),
    /// Handles at a time.
    Handles(usize),
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Denied::Memory(bytes) => {
                write!(f, "limit of {} MiB of memory was reached", bytes >> 20)
            }
            Denied::Tables(elements) => {
                write!(f, "limit of {elements} elements of tables was reached")
            }
            Denied::Transfer(bytes) => {
                write!(f, "limit of {bytes} bytes for one crossing was reached")
            }
            Denied::Handles(handles) => write!(f, "limit of {handles} handles was reached"),
        }
    }
}

impl Quota {
    /// Takes growth from one size to another, if there is room for it.
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used <= self.limit {
            self.used = used;
        }
        used <= self.limit
    }
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        let quota = |limit| Quota { used: 0, limit };
        Self {
            memory: quota(limits.memory),
            tables: quota(limits.tables),
            denied: None,
        }
    }

    /// Lets the instance have any memory from now on, which its engine bounds.
    pub(super) fn lift(&mut self) {
        self.memory.limit = usize::MAX;
    }

    /// Whether the instance has used up half of its memory.
    pub(super) fn is_half_full(&self) -> bool {
        self.memory.used > self.memory.limit / 2
    }

    /// Growth that is refused traps: Rust aborts on a failed allocation with
    /// nothing to tell why, and other languages do worse.
    fn deny(&mut self, denied: Denied) -> wasmtime::Error {
        self.denied = Some(denied);
        format_err!("{denied}")
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if self.memory.grow(current, desired) {
            return Ok(true);
        }
        Err(self.deny(Denied::Memory(self.memory.limit)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if self.tables.grow(current, desired) {
            return Ok(true);
        }
        Err(self.deny(Denied::Tables(self.tables.limit)))
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component, Linker};
    use wasmtime::{Config, Engine, Store};

    use super::*;

    /// Instantiates a component whose start function does what `body` says, and
    /// tells which limit it met.
    fn met(body: &str, limits: Limits) -> Option<Denied> {
        let text = format!(
            "(component (core module $m (memory 1) (table 1 funcref) (func $f {body}) (start $f))
               (core instance (instantiate $m)))"
        );
        let engine = Engine::new(&Config::new()).unwrap();
        let component = Component::from_binary(&engine, &wat::parse_str(text).unwrap()).unwrap();
        let mut store = Store::new(&engine, Limiter::new(&limits));
        store.limiter(|limiter| limiter);
        let linked = Linker::new(&engine).instantiate(&mut store, &component);
        assert_eq!(linked.is_err(), store.data().denied.is_some());
        store.data().denied
    }

    #[test]
    fn a_bomb_meets_its_limit_when_it_starts() {
        let limits = Limits {
            memory: 4 << 20,
            tables: 1000,
            ..Limits::default()
        };
        let bomb = |grow: &str| format!("(loop (drop ({grow})) (br 0))");
        let table = bomb("table.grow (ref.null func) (i32.const 100)");
        assert_eq!(met(&table, limits), Some(Denied::Tables(1000)));
        let memory = bomb("memory.grow (i32.const 1)");
        assert_eq!(met(&memory, limits), Some(Denied::Memory(4 << 20)));
    }

    #[test]
    fn what_grows_within_its_limits_is_let_grow() {
        let limits = Limits {
            memory: 4 << 20,
            tables: 1000,
            ..Limits::default()
        };
        let table = "(drop (table.grow (ref.null func) (i32.const 999)))";
        let memory = "(drop (memory.grow (i32.const 63)))";
        assert_eq!(met(&format!("{table} {memory}"), limits), None);
    }
}
