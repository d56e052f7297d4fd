//! Errors of the upstream as failures: an error status with any body at all,
//! an error in mid-stream, and answers that break off or make no sense.

use serde_json::Value;

use crate::palisade::plugin::model::Failure;

/// How much of a body that is no JSON is shown, in characters.
const MAX_EXCERPT: usize = 200;

/// Anthropic's error types and their statuses
/// (<https://platform.claude.com/docs/en/api/errors>).
const KINDS: &[(&str, u16)] = &[
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("api_error", 500),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

/// The failure that an answer with an error status tells of. Whatever stands
/// between here and Anthropic may have written the body: it may be HTML, or
/// nothing.
pub fn of_status(status: u16, body: &[u8]) -> Failure {
    let body = body.trim_ascii();
    let (error, text) = match serde_json::from_slice::<Value>(body) {
        Ok(Value::String(text)) => (Value::Null, text),
        Ok(value) => (value, String::new()),
        Err(_) => (Value::Null, String::from_utf8_lossy(body).into_owned()),
    };
    let told = told(&error);
    let kind = told.kind.unwrap_or_else(|| kind_of(status).to_owned());
    let message = told.message.unwrap_or_else(|| excerpt(status, &text));
    Failure {
        status,
        kind,
        code: told.code,
        message,
    }
}

/// The failure that an `error` event tells of, in mid-stream or as a body with
/// a status of success. Its status is the one it would have had.
pub fn in_band(event: &Value) -> Failure {
    let told = told(event);
    // Gateways have kinds of their own, and a status for a code.
    let code = told.code.as_ref().and_then(|code| code.parse().ok());
    let code = code.filter(|code| (400..600).contains(code));
    let status = told
        .kind
        .as_deref()
        .and_then(status_of)
        .or(code)
        .unwrap_or(500);
    let kind = told.kind.unwrap_or_else(|| kind_of(status).to_owned());
    let message = told
        .message
        .unwrap_or_else(|| format!("the upstream reported {kind}"));
    Failure {
        status,
        kind,
        code: told.code,
        message,
    }
}

/// The answer ended before it was over.
pub fn truncated() -> Failure {
    broken("upstream_truncated", "the upstream's answer was cut off")
}

/// The answer is not what Anthropic's answers are like.
pub fn malformed(what: &str) -> Failure {
    broken(
        "upstream_malformed",
        &format!("the upstream's answer makes no sense: {what}"),
    )
}

fn broken(kind: &str, message: &str) -> Failure {
    Failure {
        status: 502,
        kind: kind.to_owned(),
        code: None,
        message: message.to_owned(),
    }
}

/// What an error body tells.
#[derive(Default)]
struct Told {
    kind: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

/// Reads `{"type": "error", "error": {"type", "message"}}` and what others in
/// the way write: `{"error": "…"}`, `{"message": "…"}`, `{"detail": "…"}`.
fn told(body: &Value) -> Told {
    let error = match body.get("error") {
        Some(Value::String(message)) => {
            return Told {
                message: filled(message),
                ..Told::default()
            };
        }
        Some(error @ Value::Object(_)) => error,
        _ => body,
    };
    let text = |name: &str| error.get(name).and_then(Value::as_str).and_then(filled);
    let code = match error.get("code") {
        Some(Value::String(code)) => filled(code),
        Some(Value::Number(code)) => Some(code.to_string()),
        _ => None,
    };
    Told {
        kind: text("type").filter(|kind| kind != "error"),
        code,
        message: text("message").or_else(|| text("detail")),
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn status_of(kind: &str) -> Option<u16> {
    KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .map(|(_, status)| *status)
}

fn kind_of(status: u16) -> &'static str {
    let known = KINDS.iter().find(|(_, known)| *known == status);
    known.map_or(
        if status < 500 {
            "invalid_request_error"
        } else {
            "api_error"
        },
        |(kind, _)| kind,
    )
}

/// A message for a body that has none. Markup is of no use to the caller.
fn excerpt(status: u16, text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') {
        return format!("the upstream answered with status {status} and no message");
    }
    text.chars().take(MAX_EXCERPT).collect()
}
