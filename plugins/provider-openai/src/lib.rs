//! The adapter for OpenAI, and by configuration for any server that speaks
//! OpenAI's chat completions.
//!
//! The hub dialect is OpenAI's own, so a chat request of an OpenAI client is
//! sent as its bytes are, but for the edits that the configuration asks for.
//! One that the host translated from another dialect is freed of what OpenAI
//! refuses (`translated.rs`). Every other path goes through as it is, with any
//! method and any kind of body.
//!
//! The `upstream` of the manifest ends in the version
//! (`https://api.openai.com/v1`); the leading `/v1` of the client's path is
//! left out. Of the client's header fields only those about the request go
//! along (`openai_chat::forward`), and those that begin with `openai-`.
//! Answers are decoded by `openai_chat`.
//!
//! Configuration, all of it optional:
//!
//! ```toml
//! organization = "org-…"              # `openai-organization`, which goes with the key
//! project = "proj_…"                  # `openai-project`
//! client-organization = false         # whether the client's fields win over these
//! credential-kind = "bearer"          # or "none", { header = "api-key" }, { query = "key" }
//! strip-prefix = "openai/"            # taken off the beginning of the model
//! drop = ["/parallel_tool_calls"]     # what the server refuses; reported to the client
//! rename-max-tokens = "max_tokens"    # or "max_completion_tokens": the only name it knows
//! extensions = ["reasoning_content"]  # what it takes that OpenAI refuses, see translated.rs
//! normalise = false                   # true where answers stray from OpenAI's schema
//! stream-end = "done"                 # or "finish-reason" where `[DONE]` never comes
//! ```
//!
//! A client's organization and project belong to the client's key, which is
//! never sent, so by default they are not sent either.
//!
//! This file is glue between the contract and the files named above.

mod config;
mod edits;
mod translated;

use std::cell::RefCell;
use std::sync::OnceLock;

use config::{Config, CredentialKind};
use edits::Edit;
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
        package local:provider-openai;
        world plugin {
            include palisade:plugin/provider-adapter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "local:provider-openai/plugin",
    generate_all,
    additional_derives: [PartialEq],
    with: { "palisade:plugin/model@0.1.0": openai_chat::model },
});

/// The hub's name, and that of the clients whose bytes are left alone.
const CHAT: &str = "openai.chat";

struct Plugin;

/// Written once, by `configure`.
static CONFIG: OnceLock<Config> = OnceLock::new();

fn config() -> &'static Config {
    CONFIG.get_or_init(Config::default)
}

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
        let config = config();
        let is_chat = request.dialect().is_some();
        let is_translated = is_chat && request.exchange().dialect().as_deref() != Some(CHAT);
        if is_translated && let Err(denial) = rewrite(request, config)? {
            return Ok(Action::Deny(denial));
        }
        for edit in edits::edits(config, is_chat, |pointer| request.get(pointer)) {
            apply(request, edit)?;
        }
        let path = match (is_chat, is_translated) {
            (true, true) => "/chat/completions".to_owned(),
            (true, false) => forward::path("/v1/chat/completions", request.query().as_deref()),
            (false, _) => forward::path(&request.path(), request.query().as_deref()),
        };
        Ok(Action::Send(UpstreamRequest {
            method: None,
            path,
            headers: config.headers(request.headers(), is_chat),
            body: None,
            credential: match &config.credential_kind {
                CredentialKind::Bearer => Credential::Bearer,
                CredentialKind::None => Credential::None,
                CredentialKind::Header(name) => Credential::Header(name.clone()),
                CredentialKind::Query(name) => Credential::Query(name.clone()),
            },
            framing: Framing::Sse,
            dialect: (is_chat && !config.normalise).then(|| CHAT.to_owned()),
        }))
    }
}

/// Frees a translated body of what the server refuses.
fn rewrite(request: &Request, config: &Config) -> Result<Result<(), Denial>, Problem> {
    let mut body = match serde_json::from_slice(&request.body()) {
        Ok(body) => body,
        Err(error) => {
            return Ok(Err(Denial {
                kind: DenialKind::InvalidRequest,
                reason: "request.malformed".into(),
                message: format!("the body is not JSON: {error}"),
                retry_after: None,
            }));
        }
    };
    let dropped = translated::clean(&mut body, &config.extensions);
    // Not by `Display`, which takes every piece through a formatter.
    let body = serde_json::to_vec(&body).map_err(|error| not_edited(error.to_string()))?;
    request.set_body(&body).map_err(not_edited)?;
    for pointer in dropped {
        report(request, &pointer);
    }
    Ok(Ok(()))
}

fn apply(request: &Request, edit: Edit) -> Result<(), Problem> {
    match edit {
        Edit::Set(pointer, json) => request.set(pointer, &json).map_err(not_edited),
        Edit::Remove(pointer) => request.remove(pointer).map_err(not_edited),
        Edit::Drop(pointer) => {
            report(request, pointer);
            request.remove(pointer).map_err(not_edited)
        }
    }
}

/// The host bounds how much is reported; what is beyond goes unreported.
fn report(request: &Request, pointer: &str) {
    _ = request.report_dropped(pointer);
}

fn not_edited(message: String) -> Problem {
    Problem {
        code: "request.not-edited".into(),
        message,
    }
}

/// One answer; the work is `openai_chat`'s.
struct Decoder(RefCell<openai_chat::Decoder>);

impl GuestDecoder for Decoder {
    fn new(response: &Response) -> Self {
        let mut decoder = openai_chat::Decoder::new(response.status(), response.streamed());
        decoder.ends_at_finish_reason(config().ends_at_finish_reason);
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
