//! What went wrong, told by the many shapes in which servers tell it.
//!
//! OpenAI's is `{"error": {"message", "type", "param", "code"}}`. Others leave
//! out the wrapping (Cerebras, vLLM), put it into an array (Google), or send a
//! string (Ollama), FastAPI's `detail`, a page of HTML, or nothing.

use serde_json::Value;

use crate::model::Failure;

/// No message is longer, in characters: it is shown to a person.
const MAX_MESSAGE: usize = 4096;

/// Where the text of an error may stand.
const MESSAGES: [&str; 6] = [
    "message",
    "detail",
    "error",
    "error_description",
    "error_message",
    "msg",
];

/// The failure that an answer with an error status tells of.
pub fn of_answer(status: u16, body: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let told = match serde_json::from_str::<Value>(text) {
        Ok(Value::String(message)) => failure(0, message),
        Ok(value @ (Value::Object(_) | Value::Array(_))) => in_band(&value),
        _ => failure(0, page_text(status, text)),
    };
    match status {
        400..=599 => Failure { status, ..told },
        // The host follows no redirects, and knows no other answer.
        _ => Failure {
            status: 502,
            message: format!(
                "the upstream answered with status {status}: {}",
                told.message
            ),
            ..told
        },
    }
}

/// The failure that JSON in an answer with a good status tells of. Its status
/// is what it says itself, or what its names mean, or else 502.
pub fn in_band(value: &Value) -> Failure {
    let details = details(value);
    let kind = text(details, "type")
        .or_else(|| text(value, "type"))
        .filter(|kind| *kind != "error");
    let code = match (&details["code"], text(details, "status")) {
        (Value::String(code), _) if !code.is_empty() => Some(code.clone()),
        // Google's name for it is beside the number.
        (Value::Number(_), Some(name)) => Some(name.to_owned()),
        (Value::Number(code), None) => Some(code.to_string()),
        _ => None,
    };
    let said = said_status(details).or_else(|| said_status(value));
    let names = format!(
        "{} {}",
        kind.unwrap_or_default(),
        code.as_deref().unwrap_or_default()
    );
    let message = message(details)
        .or_else(|| message(value))
        .unwrap_or_else(|| format!("the upstream failed: {value}"));
    Failure {
        kind: kind.unwrap_or_default().to_owned(),
        code,
        ..failure(
            said.unwrap_or_else(|| status_of(&names.to_ascii_lowercase())),
            message,
        )
    }
}

/// Whether JSON that is no answer is an error that nothing else marks as one.
pub fn is_failure(value: &Value) -> bool {
    let marked = value["object"] == "error" || value["type"] == "error";
    marked
        || ["message", "detail", "error", "errors"]
            .iter()
            .any(|name| !value[*name].is_null())
}

/// A choice ended with a `finish_reason` that means failure.
pub fn ended_by_failure(reason: &str) -> Failure {
    let message = format!("the provider failed in the middle of its answer ({reason})");
    Failure {
        kind: "upstream_failed".into(),
        ..failure(502, message)
    }
}

/// The answer ended before it was whole.
pub fn truncated() -> Failure {
    let message = "the upstream's answer was cut off before it was complete".to_owned();
    Failure {
        kind: "upstream_truncated".into(),
        ..failure(502, message)
    }
}

/// The answer is not what it should be.
pub fn malformed(what: &str) -> Failure {
    let message = format!("the upstream sent {what}");
    Failure {
        kind: "upstream_malformed".into(),
        ..failure(502, message)
    }
}

/// A failure that the provider gave no name: then the host chooses the one of
/// the client's dialect for the status.
fn failure(status: u16, message: String) -> Failure {
    let message = match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    };
    Failure {
        status,
        kind: String::new(),
        code: None,
        message,
    }
}

/// The object that holds the members of an error.
fn details(value: &Value) -> &Value {
    let value = value.get(0).unwrap_or(value);
    let wrapped = match &value["error"] {
        error @ Value::Object(_) => error,
        _ => value["errors"].get(0).unwrap_or(value),
    };
    // Some gateways wrap what they got once more.
    if wrapped["error"].is_object() {
        &wrapped["error"]
    } else {
        wrapped
    }
}

fn message(details: &Value) -> Option<String> {
    if let Value::String(message) = details {
        return Some(message.clone());
    }
    MESSAGES.iter().find_map(|name| match &details[*name] {
        Value::String(message) if !message.is_empty() => Some(message.clone()),
        // FastAPI and Mistral list what is wrong with each member.
        Value::Array(items) => {
            let texts: Vec<_> = items
                .iter()
                .filter_map(|item| item["msg"].as_str().or(item.as_str()))
                .collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        }
        Value::Object(nested) if !nested.is_empty() => {
            let nested = &details[*name];
            Some(message(nested).unwrap_or_else(|| nested.to_string()))
        }
        _ => None,
    })
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str().filter(|text| !text.is_empty())
}

/// The status that an error says it has.
fn said_status(details: &Value) -> Option<u16> {
    ["status_code", "statusCode", "http_status", "status", "code"]
        .iter()
        .find_map(|name| {
            let said = &details[*name];
            let number = said.as_u64().or_else(|| said.as_str()?.parse().ok())?;
            u16::try_from(number)
                .ok()
                .filter(|status| (400..=599).contains(status))
        })
}

/// The status that the type and code of an error mean.
fn status_of(names: &str) -> u16 {
    let means = |words: &[&str]| words.iter().any(|word| names.contains(word));
    if means(&[
        "authentication",
        "invalid_api_key",
        "unauthorized",
        "unauthenticated",
    ]) {
        401
    } else if means(&[
        "rate_limit",
        "too_many_requests",
        "quota",
        "resource_exhausted",
    ]) {
        429
    } else if means(&["permission", "forbidden"]) {
        403
    } else if means(&["not_found"]) {
        404
    } else if means(&["overloaded_error"]) {
        // Anthropic's own, which its SDKs know by the status.
        529
    } else if means(&["overloaded", "unavailable"]) {
        503
    } else if means(&["timeout", "deadline"]) {
        504
    } else if means(&[
        "invalid",
        "bad_request",
        "validation",
        "context_length",
        "content_filter",
    ]) {
        400
    } else if means(&["server_error", "internal", "api_error"]) {
        500
    } else {
        502
    }
}

/// What to show of a body that is not JSON: the title of a page, a text, or
/// that there is none.
fn page_text(status: u16, text: &str) -> String {
    if text.is_empty() {
        return format!("the upstream answered with status {status} and no body");
    }
    if !text.starts_with('<') {
        return text.to_owned();
    }
    let title = text
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"));
    match title
        .map(|(title, _)| title.trim())
        .filter(|title| !title.is_empty())
    {
        Some(title) => format!("the upstream answered with status {status} and a page: {title}"),
        None => format!("the upstream answered with status {status} and a page of HTML"),
    }
}

#[cfg(test)]
mod tests {
    use super::of_answer;

    #[test]
    fn every_shape_of_error_is_read() {
        // Status and body; status, kind, code and message.
        let cases = [
            (
                400,
                r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":null}}"#,
                (400, "invalid_request_error", None, "m"),
            ),
            (
                429,
                r#"{"message":"slow down","type":"too_many_requests_error","param":"quota","code":"request_quota_exceeded"}"#,
                (
                    429,
                    "too_many_requests_error",
                    Some("request_quota_exceeded"),
                    "slow down",
                ),
            ),
            (
                404,
                r#"{"error":"model 'x' not found"}"#,
                (404, "", None, "model 'x' not found"),
            ),
            (500, r#""plain""#, (500, "", None, "plain")),
            (
                401,
                r#"{"statusCode":401,"message":"denied"}"#,
                (401, "", None, "denied"),
            ),
            (
                401,
                r#"{"status":401,"error":"Unauthorized","message":"no token"}"#,
                (401, "", None, "no token"),
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]"#,
                (400, "", Some("INVALID_ARGUMENT"), "bad"),
            ),
            (
                400,
                r#"{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}"#,
                (400, "BadRequestError", Some("400"), "too long"),
            ),
            (
                422,
                r#"{"detail":[{"loc":["body","n"],"msg":"too small"},{"msg":"and odd"}]}"#,
                (422, "", None, "too small; and odd"),
            ),
            (
                422,
                r#"{"object":"error","message":{"detail":[{"msg":"extra"}]},"type":"invalid_request_error","code":null}"#,
                (422, "invalid_request_error", None, "extra"),
            ),
            (
                403,
                r#"{"success":false,"errors":[{"code":10,"message":"no"}]}"#,
                (403, "", Some("10"), "no"),
            ),
            (
                500,
                r#"{"error":{}}"#,
                (500, "", None, r#"the upstream failed: {"error":{}}"#),
            ),
            (
                503,
                "",
                (
                    503,
                    "",
                    None,
                    "the upstream answered with status 503 and no body",
                ),
            ),
            (
                503,
                "upstream connect error",
                (503, "", None, "upstream connect error"),
            ),
            (
                502,
                "<html><head><title> Bad gateway </title></head></html>",
                (
                    502,
                    "",
                    None,
                    "the upstream answered with status 502 and a page: Bad gateway",
                ),
            ),
            (
                502,
                "<html></html>",
                (
                    502,
                    "",
                    None,
                    "the upstream answered with status 502 and a page of HTML",
                ),
            ),
            (
                307,
                "",
                (
                    502,
                    "",
                    None,
                    "the upstream answered with status 307: the upstream answered with status 307 and no body",
                ),
            ),
        ];
        for (status, body, expected) in cases {
            let found = of_answer(status, body.as_bytes());
            let found_parts = (
                found.status,
                found.kind.as_str(),
                found.code.as_deref(),
                found.message.as_str(),
            );
            assert_eq!(found_parts, expected, "{body}");
        }
    }

    #[test]
    fn a_status_in_band_is_said_or_meant() {
        let cases = [
            (r#"{"error":{"code":429,"message":"m"}}"#, 429),
            (r#"{"error":{"code":"503","message":"m"}}"#, 503),
            (
                r#"{"error":{"status_code":400,"code":"tool_use_failed"}}"#,
                400,
            ),
            (r#"{"error":{"type":"server_error"}}"#, 500),
            (r#"{"error":{"type":"overloaded_error"}}"#, 529),
            (
                r#"{"error":{"type":"invalid_request_error","code":"invalid_api_key"}}"#,
                401,
            ),
            (
                r#"{"error":{"type":"tokens","code":"rate_limit_exceeded"}}"#,
                429,
            ),
            (r#"{"error":{"type":"insufficient_quota"}}"#, 429),
            (r#"{"error":"anything"}"#, 502),
            (r#"{"error":{"code":1234}}"#, 502),
        ];
        for (body, expected) in cases {
            let value = serde_json::from_str(body).unwrap();
            assert_eq!(super::in_band(&value).status, expected, "{body}");
        }
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let failure = of_answer(500, "é".repeat(10_000).as_bytes());
        assert_eq!(failure.message.chars().count(), 4097);
    }
}
