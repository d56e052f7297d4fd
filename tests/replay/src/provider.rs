//! The three providers as seen from outside: their paths, credentials and the
//! header fields that they add to each answer.
//!
//! What they accept is in `chat` and `messages`; how they say no is in
//! `refusal`.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::refusal::Refusal;

/// Who is being played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// `https://api.openai.com`: chat completions.
    OpenAi,
    /// `https://api.anthropic.com`: messages.
    Anthropic,
    /// `https://api.cerebras.ai`: chat completions, with its own errors.
    Cerebras,
}

impl Provider {
    /// All of them, in the order in which tests list them.
    pub const ALL: [Provider; 3] = [Provider::OpenAi, Provider::Anthropic, Provider::Cerebras];

    /// The name: the first step of its paths, and the folder of its
    /// transcripts.
    pub fn name(self) -> &'static str {
        match self {
            Provider::OpenAi => "openai",
            Provider::Anthropic => "anthropic",
            Provider::Cerebras => "cerebras",
        }
    }

    /// The provider of that name; none if there is none.
    pub fn named(name: &str) -> Option<Provider> {
        Provider::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
    }

    /// Splits `/openai/v1/chat/completions` into the provider and the path
    /// below `/v1/`; none if it is no such path.
    pub(crate) fn route(path: &str) -> Option<(Provider, &str)> {
        let (name, rest) = path.strip_prefix('/')?.split_once("/v1/")?;
        Some((Provider::named(name)?, rest))
    }

    /// The path below `/v1/` whose scenario is named by the request's `model`.
    pub(crate) fn chat_path(self) -> &'static str {
        match self {
            Provider::OpenAi | Provider::Cerebras => "chat/completions",
            Provider::Anthropic => "messages",
        }
    }

    /// How its keys begin. A key that begins otherwise is answered with 401,
    /// so that a gateway which forwards its client's key is found out.
    fn key_prefix(self) -> &'static str {
        match self {
            Provider::OpenAi => "sk-",
            Provider::Anthropic => "sk-ant-",
            Provider::Cerebras => "csk-",
        }
    }

    /// Checks the credential: `authorization: Bearer` for all, and for
    /// Anthropic `x-api-key` as well, which it prefers.
    pub(crate) fn credential(self, headers: &HeaderMap) -> Result<(), Refusal> {
        let api_key = match self {
            Provider::Anthropic => headers
                .get("x-api-key")
                .and_then(|value| value.to_str().ok()),
            Provider::OpenAi | Provider::Cerebras => None,
        };
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match api_key.or(bearer) {
            None => Err(Refusal::no_credential(self)),
            Some(key) if key.starts_with(self.key_prefix()) => Ok(()),
            Some(_) => Err(Refusal::wrong_credential(self)),
        }
    }

    /// The header fields that it adds to every answer; `number` tells answers
    /// apart.
    pub(crate) fn decorate(self, headers: &mut HeaderMap, number: u64) {
        let (id_field, id) = match self {
            Provider::OpenAi => ("x-request-id", format!("req_{number:032x}")),
            Provider::Anthropic => ("request-id", request_id(number)),
            Provider::Cerebras => ("x-request-id", format!("{number:016x}-replay")),
        };
        let fixed: &[(&'static str, &'static str)] = match self {
            Provider::OpenAi => &[
                ("openai-version", "2020-10-01"),
                ("openai-processing-ms", "41"),
                ("x-ratelimit-limit-requests", "500"),
                ("x-ratelimit-remaining-requests", "499"),
            ],
            Provider::Anthropic => &[
                ("anthropic-ratelimit-requests-limit", "4000"),
                ("anthropic-ratelimit-requests-remaining", "3999"),
            ],
            Provider::Cerebras => &[
                ("x-ratelimit-limit-requests-day", "14400"),
                ("x-ratelimit-remaining-requests-day", "14399"),
            ],
        };
        for (name, value) in fixed {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(HeaderName::from_static(id_field), value);
        }
    }
}

/// An identifier in the form that Anthropic gives to requests.
pub(crate) fn request_id(number: u64) -> String {
    format!("req_011C{number:020}")
}
