//! The faults that edit a request, in the three stages that are given one.
//!
//! Those that try what a host must refuse say how it went: if one edit was
//! accepted they return it in `Err`, and the stage fails with the problem
//! "edit.accepted"; else the host's errors are in the note `misbehaving`, a
//! line each, and the exchange goes on.

use std::mem::forget;

use crate::fault::{self, repeat};
use crate::palisade::plugin::message::Request;
use crate::palisade::plugin::types::{Header, Problem};
use crate::plan::{Fault, Plan};

/// Fields that belong to the host (credentials, framing, connection), and some
/// that would break the message if they were written as they are.
const FORGED: [(&str, &[u8]); 16] = [
    ("authorization", b"Bearer forged"),
    ("Authorization", b"Bearer forged"),
    ("x-api-key", b"forged"),
    ("api-key", b"forged"),
    ("proxy-authorization", b"Basic forged"),
    ("cookie", b"session=forged"),
    ("host", b"forged.example"),
    ("content-length", b"1"),
    ("transfer-encoding", b"chunked"),
    ("connection", b"close, x-forged"),
    ("te", b"trailers"),
    ("upgrade", b"websocket"),
    ("x-forged\r\nauthorization", b"Bearer forged"),
    ("", b"forged"),
    ("x-forged", b"a\r\nauthorization: Bearer forged"),
    ("x-forged", b"\0"),
];

const INVALID_POINTERS: [&str; 7] = [
    "model",
    "#/model",
    "/mod~2el",
    "/absent/child",
    "/messages/99",
    "/messages/01",
    "/model/child",
];

const INVALID_JSON: [&str; 8] = [
    "",
    "{",
    "nul",
    "1 2",
    "\"\n\"",
    "{\"a\":1,}",
    "NaN",
    "\"x\", \"stream\": true",
];

/// Commits a fault that concerns a request, or one that may happen anywhere.
pub fn commit(fault: Fault, plan: &Plan, request: &Request) -> Result<(), Problem> {
    match fault {
        Fault::Error => Err(fault::problem(plan)),
        Fault::EditThenTrap => {
            edit(request);
            fault::commit(fault, plan);
            Ok(())
        }
        Fault::EditThenError => {
            edit(request);
            Err(fault::problem(plan))
        }
        Fault::HandleLeak => {
            repeat(plan, || forget(request.exchange()));
            Ok(())
        }
        Fault::HostCallStorm => {
            repeat(plan, || {
                request.get("/model");
            });
            Ok(())
        }
        Fault::ForgedHeader => {
            let tried = FORGED.map(|(name, value)| (name, request.set_header(name, value)));
            tell(request, &tried)
        }
        Fault::InvalidPointerEdit => tell(
            request,
            &INVALID_POINTERS.map(|pointer| (pointer, request.set(pointer, "1"))),
        ),
        Fault::InvalidJsonEdit => tell(
            request,
            &INVALID_JSON.map(|json| (json, request.set("/model", json))),
        ),
        Fault::InvalidBodyEdit => {
            let _ = request.set_body(b"{\"model\": \"\xff\xfe\"}");
            Ok(())
        }
        Fault::InvalidText => {
            #[expect(unsafe_code, reason = "that is the fault")]
            // SAFETY: none; what the host makes of it is what is tested.
            let text = unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) };
            let _ = request.exchange().set_note("misbehaving", &text);
            Ok(())
        }
        _ => {
            fault::commit(fault, plan);
            Ok(())
        }
    }
}

/// The fields of the fault "forged-header", as an adapter sends them.
pub fn forged() -> Vec<Header> {
    FORGED
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect()
}

/// Leaves a trace by every kind of edit. Which of them the host takes does not
/// matter here.
fn edit(request: &Request) {
    let _ = request.set_model("misbehaving");
    let _ = request.set("/user", "\"misbehaving\"");
    let _ = request.remove("/temperature");
    let _ = request.set_max_output_tokens(1);
    let _ = request.set_header("x-misbehaving", b"edited");
    let _ = request.remove_header("accept");
    let _ = request.report_dropped("/misbehaving");
    let _ = request.exchange().set_note("misbehaving", "edited");
}

fn tell(request: &Request, tried: &[(&str, Result<(), String>)]) -> Result<(), Problem> {
    let mut errors = Vec::with_capacity(tried.len());
    for (what, result) in tried {
        match result {
            Ok(()) => {
                return Err(Problem {
                    code: "edit.accepted".to_owned(),
                    message: format!("the host accepted {what:?}"),
                });
            }
            Err(error) => errors.push(format!("{what:?}: {error}")),
        }
    }
    // A note's value has a bound of 4 KiB.
    let mut note = errors.join("\n");
    note.truncate(note.floor_char_boundary(4096));
    request
        .exchange()
        .set_note("misbehaving", &note)
        .map_err(|error| Problem {
            code: "note.refused".to_owned(),
            message: error,
        })
}
