//! The faults that need nothing but to be called, and the values that a fault
//! returns in more than one stage.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::palisade::plugin::types::{Denial, DenialKind, Problem};
use crate::plan::{Fault, Plan};

/// What is huge by default: more than any host should take, less than a 32-bit
/// memory has.
pub const HUGE: usize = 64 << 20;

/// An hour: no deadline of a test is longer.
const FOREVER: u64 = 3_600_000;

/// Commits a fault that may happen anywhere. Returns if the fault is bounded and
/// the host let it pass, or if it is one that another file commits.
#[expect(clippy::panic, reason = "that is the fault")]
pub fn commit(fault: Fault, plan: &Plan) {
    match fault {
        Fault::Panic | Fault::EditThenTrap => panic!("the configuration asks for a panic"),
        Fault::Exit => std::process::exit(i32::try_from(plan.amount_or(0)).unwrap_or(i32::MAX)),
        Fault::Loop => loop {
            black_box(());
        },
        Fault::Recursion => {
            black_box(descend(0));
        }
        Fault::MemoryBomb => allocate(plan.amount_or(usize::MAX)),
        Fault::Sleep => {
            std::thread::sleep(Duration::from_millis(plan.amount.unwrap_or(FOREVER)));
        }
        Fault::HostCallStorm => repeat(plan, || {
            black_box(Instant::now());
        }),
        Fault::OutputFlood => flood(plan, &mut std::io::stdout().lock()),
        Fault::LogFlood => flood(plan, &mut std::io::stderr().lock()),
        _ => {}
    }
}

/// Calls `step` as often as `amount` says, or without end.
pub fn repeat(plan: &Plan, mut step: impl FnMut()) {
    let mut left = plan.amount;
    while left != Some(0) {
        step();
        left = left.map(|left| left - 1);
    }
}

#[expect(unconditional_recursion, reason = "that is the fault")]
#[inline(never)]
fn descend(depth: u64) -> u64 {
    // A frame that cannot be made smaller, and work left to do after the call,
    // or the compiler would make a loop of it.
    let frame = black_box([depth; 64]);
    descend(depth + 1) + black_box(frame)[63]
}

/// Allocates and touches that many bytes and never frees them.
fn allocate(bytes: usize) {
    const PIECE: usize = 1 << 20;
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(PIECE);
        black_box(vec![1_u8; piece].leak());
        left -= piece;
    }
}

/// Writes lines without a care for what becomes of them.
fn flood(plan: &Plan, stream: &mut dyn Write) {
    let amount = plan.amount_or(HUGE);
    let length = (amount / plan.count_or(amount / 1024).max(1)).max(1);
    let mut line = vec![b'x'; length];
    line[length - 1] = b'\n';
    for _ in 0..amount / length {
        // A host may close the stream; the flood goes on.
        let _ = stream.write_all(&line);
    }
    let _ = stream.flush();
}

/// The message of the fault "error".
pub fn message(plan: &Plan) -> String {
    plan.amount.map_or_else(
        || "the configuration asks for an error".to_owned(),
        |_| "x".repeat(plan.amount_or(0)),
    )
}

/// The problem of the faults that return one.
pub fn problem(plan: &Plan) -> Problem {
    Problem {
        code: "misbehaving.error".to_owned(),
        message: message(plan),
    }
}

/// The denial of the fault "huge-denial".
pub fn huge_denial(plan: &Plan) -> Denial {
    let text = "x".repeat(plan.amount_or(64 << 10));
    Denial {
        kind: DenialKind::Forbidden,
        reason: text.clone(),
        message: text,
        retry_after: None,
    }
}
