//! The configuration: which fault, where, when and how much of it.
//!
//! * `fault`: one of [`Fault`]; none does nothing;
//! * `at`: the call that it happens in, one of [`Point`]; "check" if absent;
//! * `after`: how many of those calls pass unharmed first, counted in one
//!   instance; 0 if absent;
//! * `model`: in "check", only requests for this model are harmed, and counted;
//!   all of them if absent;
//! * `amount`: how much of it. Each fault says of what, and what it does
//!   without;
//! * `count`: into how many pieces `amount` is cut, or how many items there
//!   are, where a fault says so;
//! * `events`: for the fault "events", in the form of `event_list`.
//!
//! A fault at a point where it cannot happen is refused as configuration, so
//! that no test passes because nothing went wrong.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use crate::Plugin;
use crate::event_list::Event;
use crate::exports::palisade::plugin::configuration::{ConfigError, Guest};
use crate::fault;
use crate::palisade::plugin::message::Request;

static PLAN: OnceLock<Plan> = OnceLock::new();

/// Calls of the point in question that this instance has seen.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// What goes wrong.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A panic, which is a trap. Anywhere.
    Panic,
    /// `exit`, with the status `amount`, or 0. Anywhere.
    Exit,
    /// A loop without end that calls nothing. Anywhere.
    Loop,
    /// A recursion without end. Anywhere.
    Recursion,
    /// Allocates and touches `amount` bytes, then goes on; without an amount
    /// it never ends. Anywhere.
    MemoryBomb,
    /// Sleeps in the host for `amount` milliseconds, or an hour. Anywhere.
    Sleep,
    /// Calls the host `amount` times, or without end. Anywhere.
    HostCallStorm,
    /// Writes `amount` bytes, or 64 MiB, to standard output, as `count` lines,
    /// or lines of 1 KiB. Anywhere.
    OutputFlood,
    /// The same, to standard error. Anywhere.
    LogFlood,
    /// Makes `amount` handles, or without end, and drops none.
    HandleLeak,
    /// Returns a problem whose message has `amount` bytes, or few.
    Error,
    /// Edits whatever there is, and traps.
    EditThenTrap,
    /// Edits whatever there is, and returns a problem.
    EditThenError,
    /// Sets header fields that only the host may set, and some that are none.
    /// See `edits.rs` for how it tells what was accepted.
    ForgedHeader,
    /// Edits at pointers that are none or lead nowhere. See `edits.rs`.
    InvalidPointerEdit,
    /// Writes what is not JSON. See `edits.rs`.
    InvalidJsonEdit,
    /// Leaves a body that is not UTF-8.
    InvalidBodyEdit,
    /// Hands the host a string that is not UTF-8, which no compiler allows.
    InvalidText,
    /// Denies with a reason and a message of `amount` bytes each, or 64 KiB.
    HugeDenial,
    /// Returns `amount` bytes of text, or 64 MiB, in `count` events, or one. In
    /// `describe`, as one dialect.
    HugeOutput,
    /// Returns the events that `events` lists and nothing else.
    Events,
    /// Returns the events of `count` frames, whatever number there was; without
    /// a count, of one frame too many.
    WrongFrameCount,
    /// Finishes each choice twice. In `decoder-push`, after every frame.
    DoubleFinish,
    /// Ends the answer, by `stop` or by an `error` event, and goes on with text
    /// and a finish: at once in a decoder, in later calls in a guard.
    EventsAfterStop,
}

/// An export that is called.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    Configure,
    #[default]
    Check,
    Rewrite,
    Describe,
    Encode,
    DecoderNew,
    DecoderPush,
    DecoderFinish,
    DecoderDrop,
    SessionNew,
    SessionPush,
    SessionFinish,
    SessionDrop,
    Write,
}

/// The configuration.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    fault: Option<Fault>,
    #[serde(default)]
    at: Point,
    #[serde(default)]
    after: u64,
    model: Option<String>,
    pub amount: Option<u64>,
    pub count: Option<u64>,
    #[serde(default)]
    pub events: Vec<Event>,
}

impl Plan {
    fn is_possible(&self) -> bool {
        let is_placed = self.fault.is_none_or(|fault| fault.can_happen_at(self.at));
        is_placed && (self.model.is_none() || self.at == Point::Check)
    }

    /// `amount`, or what the fault does without one.
    pub fn amount_or(&self, default: usize) -> usize {
        self.amount.map_or(default, |amount| {
            usize::try_from(amount).unwrap_or(usize::MAX)
        })
    }

    /// `count`, or what the fault does without one.
    pub fn count_or(&self, default: usize) -> usize {
        self.count.map_or(default, |count| {
            usize::try_from(count).unwrap_or(usize::MAX)
        })
    }
}

impl Fault {
    fn can_happen_at(self, at: Point) -> bool {
        use Point::{
            Check, Configure, DecoderDrop, DecoderFinish, DecoderNew, DecoderPush, Describe,
            Encode, Rewrite, SessionDrop, SessionFinish, SessionNew, SessionPush,
        };
        match self {
            Self::Panic
            | Self::Exit
            | Self::Loop
            | Self::Recursion
            | Self::MemoryBomb
            | Self::Sleep
            | Self::HostCallStorm
            | Self::OutputFlood
            | Self::LogFlood => true,
            Self::HandleLeak => matches!(at, Check | Rewrite | Encode | DecoderNew),
            Self::Error => !matches!(
                at,
                Describe | DecoderNew | DecoderDrop | SessionNew | SessionDrop
            ),
            Self::EditThenTrap => {
                matches!(at, Check | Rewrite | Encode | DecoderNew | SessionNew)
            }
            Self::EditThenError
            | Self::ForgedHeader
            | Self::InvalidPointerEdit
            | Self::InvalidJsonEdit
            | Self::InvalidBodyEdit
            | Self::InvalidText => matches!(at, Check | Rewrite | Encode),
            Self::HugeDenial => matches!(at, Check | Encode | SessionPush | SessionFinish),
            Self::HugeOutput => matches!(
                at,
                Configure
                    | Check
                    | Describe
                    | Encode
                    | DecoderPush
                    | DecoderFinish
                    | SessionPush
                    | SessionFinish
            ),
            Self::Events => matches!(
                at,
                Check | Encode | DecoderPush | DecoderFinish | SessionPush | SessionFinish
            ),
            Self::WrongFrameCount => at == DecoderPush,
            Self::DoubleFinish => {
                matches!(
                    at,
                    DecoderPush | DecoderFinish | SessionPush | SessionFinish
                )
            }
            Self::EventsAfterStop => matches!(at, DecoderPush | SessionPush),
        }
    }
}

/// [`due`] in the check of this request.
pub fn due_for(request: &Request) -> Option<(Fault, &'static Plan)> {
    let model = PLAN.get()?.model.as_ref();
    let is_meant = model.is_none_or(|model| request.model().as_ref() == Some(model));
    is_meant.then(|| due(Point::Check)).flatten()
}

/// The fault to commit in this call of `at`, with its plan. To be asked once in
/// each call.
pub fn due(at: Point) -> Option<(Fault, &'static Plan)> {
    let plan = PLAN.get().filter(|plan| plan.at == at)?;
    let fault = plan.fault?;
    let earlier = CALLS.fetch_add(1, Ordering::Relaxed);
    (earlier >= plan.after).then_some((fault, plan))
}

impl Guest for Plugin {
    fn configure(config: String) -> Result<(), Vec<ConfigError>> {
        let plan: Plan =
            serde_json::from_str(&config).map_err(|error| refused("", error.to_string()))?;
        if !plan.is_possible() {
            let message = format!("{:?} cannot happen at {:?}", plan.fault, plan.at);
            return Err(refused("/at", message));
        }
        PLAN.set(plan)
            .map_err(|_| refused("", "configured twice".to_owned()))?;
        match due(Point::Configure) {
            None => Ok(()),
            Some((Fault::Error, plan)) => Err(refused("/fault", fault::message(plan))),
            Some((Fault::HugeOutput, plan)) => Err(flood(plan)),
            Some((fault, plan)) => {
                fault::commit(fault, plan);
                Ok(())
            }
        }
    }
}

fn refused(pointer: &str, message: String) -> Vec<ConfigError> {
    vec![ConfigError {
        pointer: pointer.to_owned(),
        message,
    }]
}

fn flood(plan: &Plan) -> Vec<ConfigError> {
    let count = plan.count_or(1).max(1);
    let message = "x".repeat(plan.amount_or(fault::HUGE) / count);
    (0..count)
        .flat_map(|index| refused(&format!("/{index}"), message.clone()))
        .collect()
}
