//! How each provider says no: one refusal, written as the error body of the
//! provider that makes it.
//!
//! The texts follow the providers' own in meaning, so that a person who reads
//! a failing test knows where to look them up. They are made by `chat`,
//! `messages`, `provider` and `server`.

use serde_json::{Value, json};

use crate::provider::{Provider, request_id};

/// A request that is answered with an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The provider's name for this kind of error.
    kind: &'static str,
    /// What the error is about, where the provider says so.
    param: Option<String>,
    /// A finer name, where the provider gives one.
    code: Option<&'static str>,
    /// For a person.
    pub message: String,
}

impl Refusal {
    /// The request is malformed: 400. `place` is where, in the notation of
    /// OpenAI: `messages[1].content`.
    pub fn invalid(provider: Provider, place: &str, message: String) -> Refusal {
        let (param, code) = match provider {
            Provider::OpenAi => (Some(place.to_owned()), None),
            Provider::Anthropic => (None, None),
            Provider::Cerebras => (
                Some("validation_error".to_owned()),
                Some("wrong_api_format"),
            ),
        };
        Refusal {
            status: 400,
            kind: "invalid_request_error",
            param,
            code,
            message,
        }
    }

    /// The request has a member that the provider does not know: 400.
    pub fn unknown_member(provider: Provider, place: &str) -> Refusal {
        let dotted = place.replace('[', ".").replace(']', "");
        let message = match provider {
            Provider::OpenAi => format!("Unknown parameter: '{place}'."),
            Provider::Anthropic => format!("{dotted}: Extra inputs are not permitted"),
            Provider::Cerebras => format!("{dotted}: property '{dotted}' is unsupported"),
        };
        let refusal = Refusal::invalid(provider, place, message);
        match provider {
            Provider::OpenAi => Refusal {
                code: Some("unknown_parameter"),
                ..refusal
            },
            Provider::Anthropic | Provider::Cerebras => refusal,
        }
    }

    /// The body is not JSON: 400.
    pub fn not_json(provider: Provider, error: &serde_json::Error) -> Refusal {
        let message = match provider {
            Provider::OpenAi => format!(
                "We could not parse the JSON body of your request. (HINT: {error}. The API \
                 expects a JSON payload, but what was sent was not valid JSON.)"
            ),
            Provider::Anthropic => format!("The request body is not valid JSON: {error}"),
            Provider::Cerebras => format!("Invalid JSON: {error}"),
        };
        Refusal {
            param: None,
            ..Refusal::invalid(provider, "", message)
        }
    }

    /// No credential came with the request: 401.
    pub fn no_credential(provider: Provider) -> Refusal {
        let message = match provider {
            Provider::OpenAi => {
                "You didn't provide an API key. You need to provide your API key in an \
                 Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            }
            Provider::Anthropic => "x-api-key header is required",
            Provider::Cerebras => "Missing API Key",
        };
        Refusal {
            code: None,
            ..Refusal::unauthorized(provider, message)
        }
    }

    /// The credential is not one of this provider's: 401.
    pub fn wrong_credential(provider: Provider) -> Refusal {
        let message = match provider {
            Provider::OpenAi => "Incorrect API key provided.",
            Provider::Anthropic => "invalid x-api-key",
            Provider::Cerebras => "Wrong API Key",
        };
        Refusal::unauthorized(provider, message)
    }

    fn unauthorized(provider: Provider, message: &str) -> Refusal {
        let (kind, param, code) = match provider {
            Provider::OpenAi => ("invalid_request_error", None, Some("invalid_api_key")),
            Provider::Anthropic => ("authentication_error", None, None),
            Provider::Cerebras => (
                "invalid_request_error",
                Some("api_key".to_owned()),
                Some("wrong_api_key"),
            ),
        };
        Refusal {
            status: 401,
            kind,
            param,
            code,
            message: message.to_owned(),
        }
    }

    /// There is no such scenario: 404.
    pub fn no_model(provider: Provider, model: &str) -> Refusal {
        let (kind, param, message) = match provider {
            Provider::OpenAi => (
                "invalid_request_error",
                None,
                format!("The model `{model}` does not exist or you do not have access to it."),
            ),
            Provider::Anthropic => ("not_found_error", None, format!("model: {model}")),
            Provider::Cerebras => (
                "not_found_error",
                Some("model".to_owned()),
                format!("Model {model} does not exist or you do not have access to it."),
            ),
        };
        let code = (provider != Provider::Anthropic).then_some("model_not_found");
        Refusal {
            status: 404,
            kind,
            param,
            code,
            message,
        }
    }

    /// There is no such path: 404.
    pub fn no_path(provider: Provider, method: &str, path: &str) -> Refusal {
        let kind = match provider {
            Provider::OpenAi => "invalid_request_error",
            Provider::Anthropic | Provider::Cerebras => "not_found_error",
        };
        let message = format!("Invalid URL ({method} {path})");
        Refusal {
            status: 404,
            kind,
            param: None,
            code: None,
            message,
        }
    }

    /// The body is over [`crate::limits::REQUEST_BODY`]: 413.
    pub fn too_large(provider: Provider) -> Refusal {
        let kind = match provider {
            Provider::Anthropic => "request_too_large",
            Provider::OpenAi | Provider::Cerebras => "invalid_request_error",
        };
        let message = "Request exceeds the maximum size".to_owned();
        Refusal {
            status: 413,
            kind,
            param: None,
            code: None,
            message,
        }
    }

    /// The error body, as `provider` writes it; `number` makes its identifier.
    pub fn body(&self, provider: Provider, number: u64) -> Value {
        let Refusal {
            kind,
            param,
            code,
            message,
            ..
        } = self;
        match provider {
            Provider::OpenAi => json!({
                "error": {"message": message, "type": kind, "param": param, "code": code}
            }),
            Provider::Anthropic => json!({
                "type": "error",
                "error": {"type": kind, "message": message},
                "request_id": request_id(number),
            }),
            Provider::Cerebras => json!({
                "message": message, "type": kind, "param": param, "code": code
            }),
        }
    }
}
