//! The rewriter.

use crate::exports::palisade::plugin::rewriter::Guest;
use crate::palisade::plugin::message::Request;
use crate::palisade::plugin::types::Problem;
use crate::plan::{Point, due};
use crate::{Plugin, edits};

impl Guest for Plugin {
    fn rewrite(request: &Request) -> Result<(), Problem> {
        due(Point::Rewrite).map_or(Ok(()), |(fault, plan)| edits::commit(fault, plan, request))
    }
}
