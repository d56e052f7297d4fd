//! The adapter for Cerebras.
//!
//! Its API is OpenAI's with differences: it refuses every member that it does
//! not know, and has demands of its own. `request.rs` has the members of a
//! request, `messages.rs` the conversation, `tools.rs` and `strict.rs` the
//! tools. A request that already meets all of it is sent as its bytes are.
//! Answers have no `logprobs` or `refusal`, call reasoning `reasoning` and
//! leave out `finish_reason` until the end, so they are always decoded (by
//! `openai_chat`) and written anew for the client.
//!
//! Every other path (`/v1/models`, `/v1/tcp_warming`, …) goes through as it
//! is. The `upstream` of the manifest ends in the version:
//! `https://api.cerebras.ai/v1`.
//!
//! Configuration, all of it optional:
//!
//! ```toml
//! strict-tools = true            # ask for strict tools where their schemas allow it
//! parallel-tool-calls = false    # whether a client may have several calls at once
//! allow = ["presence_penalty"]   # members to send although this adapter knows better
//! ```
//!
//! This file is glue between the contract and the files named above. Sources:
//! inference-docs.cerebras.ai (chat completions, tool use, structured outputs,
//! OpenAI compatibility), the types of Cerebras's SDK, and issues where named.

mod config;
mod messages;
mod request;
mod strict;
mod tools;

use std::cell::RefCell;
use std::sync::OnceLock;

use config::Config;
use exports::palisade::plugin::configuration::{ConfigError, Guest as Configuration};
use exports::palisade::plugin::provider::{
    Action, Credential, Description, Frame, Framing, Guest as Provider, GuestDecoder, Problem,
    Request, Response, UpstreamRequest,
};
use heap as _;
use openai_chat::forward;
use openai_chat::model::ModelEvent;
use palisade::plugin::types::{Denial, DenialKind};

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    inline: "
        package local:provider-cerebras;
        world plugin {
            include palisade:plugin/provider-adapter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "local:provider-cerebras/plugin",
    generate_all,
    additional_derives: [PartialEq],
    with: { "palisade:plugin/model@0.1.0": openai_chat::model },
});

struct Plugin;

/// Written once, by `configure`.
static CONFIG: OnceLock<Config> = OnceLock::new();

impl Configuration for Plugin {
    fn configure(json: String) -> Result<(), Vec<ConfigError>> {
        let config = config::parse(&json)?;
        CONFIG.get_or_init(|| config);
        Ok(())
    }
}

impl Provider for Plugin {
    type Decoder = Decoder;

    fn describe() -> Description {
        Description { dialects: vec![] }
    }

    fn encode(request: &Request) -> Result<Action, Problem> {
        let is_chat = request.dialect().is_some();
        let mut headers = forward::headers(request.headers(), |_| false);
        let path = if is_chat {
            if let Err(denial) = rewrite(request)? {
                return Ok(Action::Deny(denial));
            }
            headers.retain(|(name, _)| name != "content-type");
            headers.push(("content-type".into(), b"application/json".to_vec()));
            "/chat/completions".to_owned()
        } else {
            forward::path(&request.path(), request.query().as_deref())
        };
        Ok(Action::Send(UpstreamRequest {
            method: None,
            path,
            headers,
            body: None,
            credential: Credential::Bearer,
            framing: Framing::Sse,
            dialect: None,
        }))
    }
}

/// Gives the body the form that Cerebras takes, if it does not have it.
fn rewrite(request: &Request) -> Result<Result<(), Denial>, Problem> {
    let config = CONFIG.get_or_init(Config::default);
    let adapted = match request::adapt(&request.body(), config) {
        Ok(adapted) => adapted,
        Err(refusal) => {
            return Ok(Err(Denial {
                kind: DenialKind::InvalidRequest,
                reason: refusal.reason.into(),
                message: refusal.message,
                retry_after: None,
            }));
        }
    };
    if let Some(body) = adapted.body {
        request.set_body(&body).map_err(|message| Problem {
            code: "request.not-edited".into(),
            message,
        })?;
    }
    for pointer in adapted.dropped {
        // The host bounds how much is reported; what is beyond goes unreported.
        _ = request.report_dropped(&pointer);
    }
    Ok(Ok(()))
}

/// One answer; the work is `openai_chat`'s.
struct Decoder(RefCell<openai_chat::Decoder>);

impl GuestDecoder for Decoder {
    fn new(response: &Response) -> Self {
        let decoder = openai_chat::Decoder::new(response.status(), response.streamed());
        Decoder(RefCell::new(decoder))
    }

    fn push(&self, frames: Vec<Frame>) -> Result<Vec<Vec<ModelEvent>>, Problem> {
        let mut decoder = self.0.borrow_mut();
        Ok(frames
            .iter()
            .map(|frame| decoder.push(frame.name.as_deref(), &frame.data))
            .collect())
    }

    fn finish(&self) -> Result<Vec<ModelEvent>, Problem> {
        Ok(self.0.borrow_mut().finish())
    }
}

// `cargo build` builds natively too, and no native linker takes such names.
#[cfg(target_family = "wasm")]
export!(Plugin);
