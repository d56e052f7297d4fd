//! The event filter: a guard that passes everything on.

use std::cell::Cell;

use crate::exports::palisade::plugin::event_filter::{Guest, GuestSession, Step};
use crate::palisade::plugin::message::Exchange;
use crate::palisade::plugin::model::ModelEvent;
use crate::palisade::plugin::types::{Denial, DenialKind, Problem};
use crate::plan::{Fault, Plan, Point, due};
use crate::{Plugin, events, fault};

/// One answer.
pub struct Session {
    stopped: Cell<bool>,
}

impl Guest for Plugin {
    type Session = Session;
}

impl GuestSession for Session {
    fn new(exchange: &Exchange) -> Self {
        match due(Point::SessionNew) {
            Some((Fault::HostCallStorm, plan)) => fault::repeat(plan, || {
                exchange.id();
            }),
            Some((fault, plan)) => {
                if fault == Fault::EditThenTrap {
                    let _ = exchange.set_note("misbehaving", "edited");
                }
                fault::commit(fault, plan);
            }
            None => {}
        }
        Self {
            stopped: Cell::new(false),
        }
    }

    fn push(&self, events: Vec<ModelEvent>) -> Result<Step, Problem> {
        if self.stopped.get() {
            return Ok(pass(after_the_stop()));
        }
        match due(Point::SessionPush) {
            None => Ok(pass(events)),
            Some((Fault::EventsAfterStop, _)) => {
                self.stopped.set(true);
                Ok(Step {
                    emit: events,
                    stop: Some(denial()),
                })
            }
            Some((fault, plan)) => commit(fault, plan, events),
        }
    }

    fn finish(&self) -> Result<Step, Problem> {
        if self.stopped.get() {
            return Ok(pass(after_the_stop()));
        }
        match due(Point::SessionFinish) {
            None => Ok(pass(Vec::new())),
            Some((fault, plan)) => commit(fault, plan, Vec::new()),
        }
    }
}

fn commit(fault: Fault, plan: &Plan, events: Vec<ModelEvent>) -> Result<Step, Problem> {
    match fault {
        Fault::Error => Err(fault::problem(plan)),
        Fault::HugeDenial => Ok(Step {
            emit: events,
            stop: Some(fault::huge_denial(plan)),
        }),
        Fault::Events => Ok(pass(events::listed(plan))),
        Fault::HugeOutput => Ok(pass(events::huge(plan))),
        Fault::DoubleFinish => Ok(pass(events::finished_twice(events))),
        _ => {
            fault::commit(fault, plan);
            Ok(pass(events))
        }
    }
}

fn pass(emit: Vec<ModelEvent>) -> Step {
    Step { emit, stop: None }
}

fn after_the_stop() -> Vec<ModelEvent> {
    vec![events::text("after the stop".to_owned()), events::finish()]
}

fn denial() -> Denial {
    Denial {
        kind: DenialKind::Forbidden,
        reason: "misbehaving.stopped".to_owned(),
        message: "stopped by its configuration".to_owned(),
        retry_after: None,
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((fault, plan)) = due(Point::SessionDrop) {
            fault::commit(fault, plan);
        }
    }
}
