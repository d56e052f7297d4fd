//! The adapter for Anthropic's Messages API.
//!
//! | request | what is sent |
//! |---|---|
//! | dialect "anthropic.messages" | the client's bytes, to `/v1/messages` |
//! | the hub | a translation, see `request.rs`, to `/v1/messages` |
//! | any other path | the client's bytes, to the same path |
//!
//! Answers become model events in `decode.rs`. What cannot be carried over is
//! reported and left out where that is harmless, and refused where leaving it
//! out would change what the request means; each module says what it does.
//!
//! Configuration, all of it optional:
//!
//! ```toml
//! anthropic-version = "2023-06-01"   # if the client names none
//! anthropic-beta = []                # beta features for every request
//! default-max-tokens = 4096          # if the client sets no limit
//!
//! # Tokens to think with, for models that take a budget; at least 1024.
//! reasoning-budgets = { minimal = 1024, low = 2048, medium = 8192, high = 16384, xhigh = 24576 }
//!
//! # What models take, where it differs from what `models.rs` knows. The first
//! # rule that matches counts; what it leaves out stays as it is known.
//! models = [{
//!     match = "claude-next-*",
//!     thinking = "adaptive",     # or "budget", "never"
//!     sampling = "none",         # or "either" (temperature, or else top_p), "all"
//!     forced-tools = false,      # whether `tool_choice` may force a call
//!     json-schema = true,        # whether it takes `output_config.format`
//!     system-messages = false,   # whether they may stand within the conversation
//! }]
//! ```
//!
//! The base URL is the manifest's: `upstream = "https://api.anthropic.com"`.
//! This file is glue between the contract and the modules, which are pure
//! functions over JSON.

mod blocks;
mod calls;
mod config;
mod content;
mod decode;
mod errors;
mod headers;
mod hub;
mod media;
mod messages;
mod models;
mod names;
mod output;
mod refusal;
mod request;
mod sampling;
mod schema;
#[cfg(test)]
mod tests;
mod thinking;
mod tools;
mod usage;

use std::cell::RefCell;
use std::sync::OnceLock;

use config::Config;
use exports::palisade::plugin::configuration::{ConfigError, Guest as Configuration};
use exports::palisade::plugin::provider::{
    Action, Credential, Denial, Description, Frame, Framing, Guest as Provider, GuestDecoder,
    ModelEvent, Problem, Request, Response, UpstreamRequest,
};
use headers::Fields;
use heap as _;
use palisade::plugin::types::DenialKind;
use refusal::Refusal;

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    inline: "
        package local:provider-anthropic;
        world adapter {
            include palisade:plugin/provider-adapter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "local:provider-anthropic/adapter",
    generate_all,
    additional_derives: [PartialEq],
});

const MESSAGES: &str = "anthropic.messages";
const HUB: &str = "openai.chat";
const MESSAGES_PATH: &str = "/v1/messages";

struct Adapter;

/// Written once, by `configure`.
static CONFIG: OnceLock<Config> = OnceLock::new();

impl Configuration for Adapter {
    fn configure(json: String) -> Result<(), Vec<ConfigError>> {
        let config = config::parse(&json)?;
        CONFIG.get_or_init(|| config);
        Ok(())
    }
}

impl Provider for Adapter {
    type Decoder = Decoder;

    fn describe() -> Description {
        Description {
            dialects: vec![MESSAGES.to_owned()],
        }
    }

    fn encode(request: &Request) -> Result<Action, Problem> {
        let config = CONFIG.get_or_init(Config::default);
        match request.dialect().as_deref() {
            Some(MESSAGES) => Ok(Action::Send(native(request, config))),
            Some(HUB) => Ok(match translated(request, config) {
                Ok(upstream) => Action::Send(upstream),
                Err(refusal) => Action::Deny(denial(refusal)),
            }),
            None => Ok(Action::Send(passed_through(request, config))),
            Some(other) => Err(Problem {
                code: "dialect.unknown".to_owned(),
                message: format!("cannot encode a request in the dialect {other:?}"),
            }),
        }
    }
}

fn native(request: &Request, config: &Config) -> UpstreamRequest {
    let streaming = request.exchange().streaming();
    UpstreamRequest {
        // The query says which variant of the API is meant: `beta=true`.
        path: with_query(MESSAGES_PATH, request),
        ..upstream(headers::json(request, config, &[], streaming))
    }
}

fn translated(request: &Request, config: &Config) -> Result<UpstreamRequest, Refusal> {
    let version = headers::version(request, config);
    let translation = request::translate(&request.body(), config, &version)?;
    for pointer in &translation.report.dropped {
        // The host bounds what it lists; that is no reason to fail.
        _ = request.report_dropped(pointer);
    }
    let streaming = request.exchange().streaming();
    let headers = headers::json(request, config, &translation.report.betas, streaming);
    // Not by `Display`, which takes every piece through a formatter.
    let body = serde_json::to_vec(&translation.body)
        .map_err(|error| Refusal::malformed("", &format!("cannot be written: {error}")))?;
    Ok(UpstreamRequest {
        body: Some(body),
        ..upstream(headers)
    })
}

fn passed_through(request: &Request, config: &Config) -> UpstreamRequest {
    UpstreamRequest {
        path: with_query(&request.path(), request),
        dialect: None,
        ..upstream(headers::pass_through(request, config))
    }
}

/// What all requests have in common.
fn upstream(headers: Vec<headers::Header>) -> UpstreamRequest {
    UpstreamRequest {
        method: None,
        path: MESSAGES_PATH.to_owned(),
        headers,
        body: None,
        credential: Credential::Header("x-api-key".to_owned()),
        framing: Framing::Sse,
        dialect: Some(MESSAGES.to_owned()),
    }
}

fn with_query(path: &str, request: &Request) -> String {
    match request.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

fn denial(refusal: Refusal) -> Denial {
    Denial {
        kind: DenialKind::InvalidRequest,
        reason: refusal.reason.to_owned(),
        message: refusal.message,
        retry_after: None,
    }
}

impl Fields for Request {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        self.header(name)
    }
}

/// The contract's decoder, around ours.
struct Decoder(RefCell<decode::Decoder>);

impl GuestDecoder for Decoder {
    fn new(response: &Response) -> Self {
        let head = decode::Head {
            status: response.status(),
            streamed: response.streamed(),
            translated: response.exchange().dialect().as_deref() != Some(MESSAGES),
        };
        Self(RefCell::new(decode::Decoder::new(head)))
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

#[cfg(target_family = "wasm")]
export!(Adapter);
