//! A request filter that keeps what it has seen, and refuses an exchange if it
//! finds that it remembers an earlier one.
//!
//! Used by the tests of isolation. With a fresh instance for each call it never
//! refuses; with a reused one it refuses from the second call on, and its
//! message tells whose body was there. Calls that the host makes to warm an
//! instance up before it takes a snapshot count as well: they are in the memory
//! that every later instance begins with.
//!
//! It also marks a page of its memory for each request, another one for another
//! length of the body, and refuses a request whose page has a mark already. And
//! it asks for its output once for each exclamation mark, and keeps none of them.

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:memory-reader;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
        }
    ",
    world: "guest:memory-reader/guest",
    generate_all,
});

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use exports::palisade::plugin::request_filter::{Guest, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::{Denial, DenialKind, Problem};

/// How many calls this memory has seen.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The exchange and the body of the last call.
static LAST: Mutex<Option<Seen>> = Mutex::new(None);

/// Pages that are touched only when their turn comes.
static FIELD: Field = Field([const { AtomicU8::new(0) }; PAGES * PAGE]);

const PAGE: usize = 4096;
const PAGES: usize = 64;

#[repr(align(4096))]
struct Field([AtomicU8; PAGES * PAGE]);

struct Seen {
    exchange: String,
    body: Vec<u8>,
}

struct Filter;

impl Guest for Filter {
    fn check(request: &Request) -> Result<Verdict, Problem> {
        let seen = Seen {
            exchange: request.exchange().id(),
            body: request.body(),
        };
        for _ in seen.body.iter().filter(|byte| **byte == b'!') {
            drop(wasip2::cli::stdout::get_stdout());
        }
        let page = seen.body.len() % PAGES;
        let is_marked = FIELD.0[page * PAGE].swap(1, Ordering::Relaxed) != 0;
        let calls = CALLS.fetch_add(1, Ordering::Relaxed);
        let last = LAST
            .lock()
            .map_err(|_| Problem {
                code: "memory.poisoned".to_owned(),
                message: "an earlier call broke off while it held the lock".to_owned(),
            })?
            .replace(seen);
        Ok(match last {
            None if calls == 0 && !is_marked => Verdict::Proceed,
            last => Verdict::Deny(leak(calls, is_marked, last)),
        })
    }
}

fn leak(calls: u64, is_marked: bool, last: Option<Seen>) -> Denial {
    let whose = last.map_or_else(String::new, |seen| {
        format!(
            ", and {} bytes of exchange {}",
            seen.body.len(),
            seen.exchange
        )
    });
    let mark = if is_marked { ", and a mark" } else { "" };
    Denial {
        kind: DenialKind::Forbidden,
        reason: "leak".to_owned(),
        message: format!("this memory has seen {calls} earlier calls{whose}{mark}"),
        retry_after: None,
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
