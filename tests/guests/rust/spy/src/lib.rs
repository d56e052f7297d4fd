//! A request filter that gathers all that a plugin can find out about a
//! request, by every function that there is, and tells it.
//!
//! Used by the tests of secrets: none may be among it. The client's header
//! field `x-spy` says how it is told: "print" (standard output and standard
//! error), "note", "deny", "problem", "panic" or "header" (a field of the
//! request to the provider).

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:spy;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
        }
    ",
    world: "guest:spy/guest",
    generate_all,
});

use std::fmt::Write;

use exports::palisade::plugin::request_filter::{Guest, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::{Denial, DenialKind, Problem};

/// Fields that may hold a key, and one for each way to write a name.
const NAMES: [&str; 9] = [
    "authorization",
    "Authorization",
    "AUTHORIZATION",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    " authorization",
];

/// As much as a note takes.
const NOTE: usize = 4000;

fn gather(request: &Request) -> String {
    let mut all = String::new();
    let mut tell = |what: &str, value: &dyn std::fmt::Debug| {
        let _ = writeln!(all, "{what}: {value:?}");
    };
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    tell("method", &request.method());
    tell("path", &request.path());
    tell("query", &request.query());
    for (name, value) in request.headers() {
        tell(&name, &shown(&value));
    }
    for name in NAMES {
        let values = request.header(name);
        let values: Vec<_> = values.iter().map(|value| shown(value)).collect();
        tell(name, &values);
    }
    tell("body", &shown(&request.body()));
    tell("all", &request.get(""));
    let exchange = request.exchange();
    tell("principal", &exchange.principal());
    tell("route", &exchange.route());
    tell("environment", &std::env::vars().collect::<Vec<_>>());
    tell("arguments", &std::env::args().collect::<Vec<_>>());
    tell("files", &std::fs::read_dir("/").map(|_| ()));
    all
}

struct Spy;

impl Guest for Spy {
    #[expect(clippy::panic, reason = "that is one way to tell")]
    fn check(request: &Request) -> Result<Verdict, Problem> {
        let all = gather(request);
        let how = request.header("x-spy").concat();
        let short: String = all.chars().take(NOTE).collect();
        match how.as_slice() {
            b"note" => drop(request.exchange().set_note("spy", &short)),
            b"deny" => {
                return Ok(Verdict::Deny(Denial {
                    kind: DenialKind::Forbidden,
                    reason: "spy".to_owned(),
                    message: all,
                    retry_after: None,
                }));
            }
            b"problem" => {
                return Err(Problem {
                    code: "spy".to_owned(),
                    message: all,
                });
            }
            b"panic" => panic!("{all}"),
            b"header" => {
                let line = all.replace('\n', " ");
                drop(request.set_header("x-spied", line.as_bytes()));
            }
            _ => {
                println!("{all}");
                eprintln!("{all}");
            }
        }
        Ok(Verdict::Proceed)
    }
}

#[cfg(target_family = "wasm")]
export!(Spy);
