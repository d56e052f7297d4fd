//! A plugin for every stage of an exchange that does next to nothing in each,
//! so that what is left is what the host does around it: it asks for the model
//! 64 times, sends requests as they are, and passes events on. It is small, so
//! that compiling it is a small part of a count.

wit_bindgen::generate!({
    path: "../../../wit/0.1.0",
    inline: "
        package local:asker;
        world plugin {
            include palisade:plugin/security-filter@0.1.0;
            include palisade:plugin/answer-filter@0.1.0;
            include palisade:plugin/provider-adapter@0.1.0;
        }
    ",
    world: "local:asker/plugin",
    generate_all,
});

use exports::palisade::plugin::{event_filter, provider, request_filter};
use palisade::plugin::message::{Exchange, Request, Response};
use palisade::plugin::model::ModelEvent;
use palisade::plugin::types::Problem;

/// How often it asks.
const ASKS: usize = 64;

struct Asker;

struct Session;

struct Decoder;

impl request_filter::Guest for Asker {
    fn check(request: &Request) -> Result<request_filter::Verdict, Problem> {
        let answered = (0..ASKS).filter(|_| request.model().is_some()).count();
        if answered == ASKS {
            return Ok(request_filter::Verdict::Proceed);
        }
        Err(Problem {
            code: "model.missing".into(),
            message: format!("{answered} of {ASKS} questions were answered"),
        })
    }
}

impl event_filter::Guest for Asker {
    type Session = Session;
}

impl event_filter::GuestSession for Session {
    fn new(_: &Exchange) -> Self {
        Self
    }

    fn push(&self, emit: Vec<ModelEvent>) -> Result<event_filter::Step, Problem> {
        Ok(event_filter::Step { emit, stop: None })
    }

    fn finish(&self) -> Result<event_filter::Step, Problem> {
        self.push(Vec::new())
    }
}

impl provider::Guest for Asker {
    type Decoder = Decoder;

    fn describe() -> provider::Description {
        provider::Description {
            dialects: Vec::new(),
        }
    }

    fn encode(_: &Request) -> Result<provider::Action, Problem> {
        Ok(provider::Action::Send(provider::UpstreamRequest {
            method: None,
            path: "/".into(),
            headers: Vec::new(),
            body: None,
            credential: provider::Credential::None,
            framing: provider::Framing::Sse,
            dialect: None,
        }))
    }
}

impl provider::GuestDecoder for Decoder {
    fn new(_: &Response) -> Self {
        Self
    }

    fn push(&self, frames: Vec<provider::Frame>) -> Result<Vec<Vec<ModelEvent>>, Problem> {
        Ok(frames.iter().map(|_| Vec::new()).collect())
    }

    fn finish(&self) -> Result<Vec<ModelEvent>, Problem> {
        Ok(Vec::new())
    }
}

export!(Asker);
