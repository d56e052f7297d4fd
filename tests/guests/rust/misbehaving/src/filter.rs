//! The request filter.

use crate::exports::palisade::plugin::request_filter::{Guest, Verdict};
use crate::palisade::plugin::message::Request;
use crate::palisade::plugin::types::Problem;
use crate::plan::{Fault, due_for};
use crate::{Plugin, edits, events, fault};

impl Guest for Plugin {
    fn check(request: &Request) -> Result<Verdict, Problem> {
        let Some((fault, plan)) = due_for(request) else {
            return Ok(Verdict::Proceed);
        };
        match fault {
            Fault::HugeDenial => Ok(Verdict::Deny(fault::huge_denial(plan))),
            Fault::Events => Ok(Verdict::Answer(events::listed(plan))),
            Fault::HugeOutput => {
                let mut answer = events::huge(plan);
                answer.insert(0, events::start());
                answer.push(events::finish());
                Ok(Verdict::Answer(answer))
            }
            _ => edits::commit(fault, plan, request).map(|()| Verdict::Proceed),
        }
    }
}
