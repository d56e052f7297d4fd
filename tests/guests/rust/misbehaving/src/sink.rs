//! The log sink.

use std::io::Write;

use crate::exports::palisade::plugin::log_sink::{Entry, Guest, Outcome};
use crate::palisade::plugin::types::Problem;
use crate::plan::{Fault, Point, due};
use crate::{Plugin, fault};

impl Guest for Plugin {
    fn write(entries: Vec<Entry>) -> Result<(), Problem> {
        match due(Point::Write) {
            Some((Fault::Error, plan)) => return Err(fault::problem(plan)),
            Some((fault, plan)) => fault::commit(fault, plan),
            None => {}
        }
        let mut output = std::io::stdout().lock();
        for entry in entries {
            let status = entry
                .status
                .map_or_else(|| "-".to_owned(), |status| status.to_string());
            let outcome = outcome(entry.outcome);
            writeln!(output, "{} {outcome} {status}", entry.exchange_id).map_err(|error| {
                Problem {
                    code: "output.closed".to_owned(),
                    message: error.to_string(),
                }
            })?;
        }
        Ok(())
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Denied => "denied",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
    }
}
