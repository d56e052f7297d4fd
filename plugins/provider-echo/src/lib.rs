//! A provider that answers by itself: it needs no key and no network, and so
//! makes a gateway useful in its first minute, and testable at any time. The
//! same request always gets the same answer; only identifiers differ.
//!
//! | request | answer |
//! |---|---|
//! | chat, in any dialect | see `answer.rs` and `tools.rs` |
//! | `GET /v1/models`, `GET /v1/models/{id}` | the configured models, see `models.rs` |
//! | `POST /v1/embeddings` | vectors made of word counts, see `embeddings.rs` |
//! | anything else | not found |
//!
//! Tokens are words here: each word with the white space after it is one.
//!
//! Configuration, all of it optional:
//!
//! ```toml
//! prefix = "You said: "     # what stands before the echoed text
//! models = ["echo"]         # what `GET /v1/models` lists; any name is answered
//! ```
//!
//! This file is glue between the contract and the files named above.

mod answer;
mod chat;
mod config;
mod embeddings;
mod hash;
mod models;
mod schema;
mod tools;
mod words;

use std::sync::OnceLock;

use config::Config;
use exports::palisade::plugin::configuration::{ConfigError, Guest as Configuration};
use exports::palisade::plugin::provider::{
    Action, Denial, Description, Frame, Guest as Provider, GuestDecoder, ModelEvent, Problem,
    Reply, Request, Response,
};
use heap as _;
use palisade::plugin::types::DenialKind;

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    inline: "
        package local:provider-echo;
        world plugin {
            include palisade:plugin/provider-adapter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "local:provider-echo/plugin",
    generate_all,
    additional_derives: [PartialEq],
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
    type Decoder = NoDecoder;

    fn describe() -> Description {
        Description { dialects: vec![] }
    }

    fn encode(request: &Request) -> Result<Action, Problem> {
        let config = CONFIG.get_or_init(Config::default);
        let answer = match request.dialect() {
            Some(_) => answer_chat(request, config).map(Action::Answer),
            None => answer_path(request, config).map(Action::Reply),
        };
        Ok(answer.unwrap_or_else(Action::Deny))
    }
}

fn answer_chat(request: &Request, config: &Config) -> Result<Vec<ModelEvent>, Denial> {
    let chat = chat::parse(&request.body())?;
    let asked = answer::Asked {
        id: request.exchange().id(),
        model: request.model(),
        choices: request.choices(),
        max_tokens: request.max_output_tokens(),
        input_tokens: request
            .texts()
            .iter()
            .map(|text| words::count(&text.content))
            .sum(),
    };
    answer::answer(&chat, &asked, &config.prefix)
}

fn answer_path(request: &Request, config: &Config) -> Result<Reply, Denial> {
    let (method, path) = (request.method(), request.path());
    let json = match (method.as_str(), path.as_str()) {
        ("GET", "/v1/models") => models::list(&config.models),
        ("POST", "/v1/embeddings") => embeddings::answer(&request.body())?,
        ("GET", path) if path.starts_with("/v1/models/") => {
            models::one(&config.models, path.trim_start_matches("/v1/models/"))?
        }
        _ => {
            let message = format!(
                "the echo provider has no {method} {path}: it answers chat, /v1/models and /v1/embeddings"
            );
            return Err(denial(DenialKind::NotFound, "path.not-found", message));
        }
    };
    let content_type = ("content-type".to_owned(), b"application/json".to_vec());
    Ok(Reply {
        status: 200,
        headers: vec![content_type],
        body: json.into_bytes(),
    })
}

fn denial(kind: DenialKind, reason: &str, message: String) -> Denial {
    Denial {
        kind,
        reason: reason.into(),
        message,
        retry_after: None,
    }
}

/// The contract wants a decoder of every adapter. This one sends nothing, so
/// nothing comes back to be decoded.
struct NoDecoder;

impl GuestDecoder for NoDecoder {
    fn new(_response: &Response) -> Self {
        NoDecoder
    }

    fn push(&self, _frames: Vec<Frame>) -> Result<Vec<Vec<ModelEvent>>, Problem> {
        Err(nothing_to_decode())
    }

    fn finish(&self) -> Result<Vec<ModelEvent>, Problem> {
        Err(nothing_to_decode())
    }
}

fn nothing_to_decode() -> Problem {
    Problem {
        code: "echo.no-upstream".into(),
        message: "the echo provider has no upstream whose answer it could decode".into(),
    }
}

// `cargo build` builds natively too, and no native linker takes such names.
#[cfg(target_family = "wasm")]
export!(Plugin);
