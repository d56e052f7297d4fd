//! The provider's adapter and its decoder.

use std::cell::Cell;
use std::mem::forget;

use crate::exports::palisade::plugin::provider::{
    Action, Credential, Description, Frame, Framing, Guest, GuestDecoder, UpstreamRequest,
};
use crate::palisade::plugin::message::{Request, Response};
use crate::palisade::plugin::model::ModelEvent;
use crate::palisade::plugin::types::Problem;
use crate::plan::{Fault, Plan, Point, due};
use crate::{Plugin, edits, events, fault};

/// One answer.
pub struct Decoder {
    started: Cell<bool>,
}

impl Guest for Plugin {
    type Decoder = Decoder;

    fn describe() -> Description {
        let dialects = match due(Point::Describe) {
            Some((Fault::HugeOutput, plan)) => vec!["x".repeat(plan.amount_or(fault::HUGE))],
            Some((fault, plan)) => {
                fault::commit(fault, plan);
                Vec::new()
            }
            None => Vec::new(),
        };
        Description { dialects }
    }

    fn encode(request: &Request) -> Result<Action, Problem> {
        let Some((fault, plan)) = due(Point::Encode) else {
            return Ok(Action::Send(as_it_stands(request)));
        };
        match fault {
            Fault::HugeDenial => return Ok(Action::Deny(fault::huge_denial(plan))),
            Fault::Events => return Ok(Action::Answer(events::listed(plan))),
            Fault::HugeOutput => return Ok(Action::Send(huge(request, plan))),
            _ => edits::commit(fault, plan, request)?,
        }
        let mut upstream = as_it_stands(request);
        if fault == Fault::ForgedHeader {
            upstream.headers = edits::forged();
        }
        Ok(Action::Send(upstream))
    }
}

fn as_it_stands(request: &Request) -> UpstreamRequest {
    UpstreamRequest {
        method: None,
        path: request.path(),
        headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
        body: None,
        credential: Credential::None,
        framing: Framing::Sse,
        dialect: None,
    }
}

/// A body that is none of the client's.
fn huge(request: &Request, plan: &Plan) -> UpstreamRequest {
    let body = vec![b'x'; plan.amount_or(fault::HUGE)];
    UpstreamRequest {
        body: Some(body),
        ..as_it_stands(request)
    }
}

impl GuestDecoder for Decoder {
    fn new(response: &Response) -> Self {
        match due(Point::DecoderNew) {
            Some((Fault::HandleLeak, plan)) => {
                fault::repeat(plan, || forget(response.exchange()));
            }
            Some((fault, plan)) => {
                if fault == Fault::EditThenTrap {
                    let _ = response.exchange().set_note("misbehaving", "edited");
                }
                fault::commit(fault, plan);
            }
            None => {}
        }
        Self {
            started: Cell::new(false),
        }
    }

    fn push(&self, frames: Vec<Frame>) -> Result<Vec<Vec<ModelEvent>>, Problem> {
        let due = due(Point::DecoderPush);
        let mut decoded: Vec<_> = frames.into_iter().map(|frame| self.decode(frame)).collect();
        let Some((fault, plan)) = due else {
            return Ok(decoded);
        };
        match fault {
            Fault::Error => return Err(fault::problem(plan)),
            Fault::WrongFrameCount => {
                decoded.resize(plan.count_or(decoded.len() + 1), Vec::new());
            }
            Fault::Events => replace(&mut decoded, events::listed(plan)),
            Fault::HugeOutput => replace(&mut decoded, events::huge(plan)),
            Fault::DoubleFinish => {
                decoded
                    .iter_mut()
                    .for_each(|events| events.push(events::finish()));
            }
            Fault::EventsAfterStop => replace(
                &mut decoded,
                vec![
                    events::failure(),
                    events::text("after the error".to_owned()),
                    events::finish(),
                ],
            ),
            _ => fault::commit(fault, plan),
        }
        Ok(decoded)
    }

    fn finish(&self) -> Result<Vec<ModelEvent>, Problem> {
        let due = due(Point::DecoderFinish);
        let mut rest = self.head();
        rest.push(events::finish());
        let Some((fault, plan)) = due else {
            return Ok(rest);
        };
        match fault {
            Fault::Error => return Err(fault::problem(plan)),
            Fault::Events => return Ok(events::listed(plan)),
            Fault::HugeOutput => return Ok(events::huge(plan)),
            Fault::DoubleFinish => return Ok(events::finished_twice(rest)),
            _ => fault::commit(fault, plan),
        }
        Ok(rest)
    }
}

impl Decoder {
    fn decode(&self, frame: Frame) -> Vec<ModelEvent> {
        let mut decoded = self.head();
        if !frame.data.is_empty() {
            decoded.push(events::text(
                String::from_utf8_lossy(&frame.data).into_owned(),
            ));
        }
        decoded
    }

    /// The `start`, if it has not been given yet.
    fn head(&self) -> Vec<ModelEvent> {
        if self.started.replace(true) {
            Vec::new()
        } else {
            vec![events::start()]
        }
    }
}

/// Puts these events in the place of the first frame's, and nothing after.
fn replace(decoded: &mut [Vec<ModelEvent>], events: Vec<ModelEvent>) {
    decoded.iter_mut().for_each(Vec::clear);
    if let Some(first) = decoded.first_mut() {
        *first = events;
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        if let Some((fault, plan)) = due(Point::DecoderDrop) {
            fault::commit(fault, plan);
        }
    }
}
