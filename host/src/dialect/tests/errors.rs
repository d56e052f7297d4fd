//! Error bodies, and which shape they have where.

use http::{HeaderMap, Method};
use serde_json::Value;

use super::*;
use crate::dialect::{self, ErrorView};

fn error(status: u16, kind: Option<&'static str>) -> ErrorView<'static> {
    ErrorView {
        status,
        kind,
        code: Some("c"),
        message: "m",
        request_id: Some("x1"),
    }
}

fn body(dialect: &str, error: &ErrorView<'_>) -> String {
    String::from_utf8(by_name(dialect).unwrap().error_body(error)).unwrap()
}

#[test]
fn an_error_has_the_shape_of_the_dialect() {
    let error = error(403, Some(dialect::SECURITY_FILTER_ERROR));
    assert_eq!(
        body("openai.chat", &error),
        r#"{"error":{"message":"m","type":"security_filter_error","param":null,"code":"c"}}"#
    );
    assert_eq!(
        body("anthropic.messages", &error),
        r#"{"type":"error","error":{"type":"security_filter_error","message":"m"},"request_id":"x1"}"#
    );
}

#[test]
fn each_status_has_a_name_in_each_dialect() {
    let cases = [
        (400, None, "invalid_request_error", "invalid_request_error"),
        (401, None, "invalid_request_error", "authentication_error"),
        (402, None, "invalid_request_error", "billing_error"),
        (403, None, "permission_error", "permission_error"),
        (404, None, "invalid_request_error", "not_found_error"),
        (408, None, "invalid_request_error", "timeout_error"),
        (413, None, "invalid_request_error", "request_too_large"),
        (422, None, "invalid_request_error", "invalid_request_error"),
        (429, None, "rate_limit_error", "rate_limit_error"),
        (500, None, "server_error", "api_error"),
        (502, Some(""), "server_error", "api_error"),
        (503, None, "server_error", "overloaded_error"),
        (504, None, "server_error", "timeout_error"),
        (
            529,
            Some("overloaded_error"),
            "overloaded_error",
            "overloaded_error",
        ),
        (
            429,
            Some("insufficient_quota"),
            "insufficient_quota",
            "rate_limit_error",
        ),
        (
            502,
            Some("upstream_truncated"),
            "upstream_truncated",
            "api_error",
        ),
    ];
    for (status, kind, openai, anthropic) in cases {
        let error = error(status, kind);
        let named = |dialect| -> Value { serde_json::from_str(&body(dialect, &error)).unwrap() };
        assert_eq!(
            named("openai.chat")["error"]["type"],
            openai,
            "{status} {kind:?}"
        );
        assert_eq!(
            named("anthropic.messages")["error"]["type"],
            anthropic,
            "{status} {kind:?}"
        );
    }
}

#[test]
fn a_code_is_made_up_only_where_openai_has_one() {
    let code = |status, kind| -> Value {
        let error = ErrorView {
            code: None,
            ..error(status, kind)
        };
        serde_json::from_str::<Value>(&body("openai.chat", &error)).unwrap()["error"]["code"]
            .clone()
    };
    assert_eq!(code(401, None), "invalid_api_key");
    assert_eq!(code(429, None), "rate_limit_exceeded");
    assert_eq!(code(429, Some("insufficient_quota")), Value::Null);
    assert_eq!(code(500, None), Value::Null);
}

#[test]
fn a_dialect_is_known_by_name_and_by_path() {
    let named = |method: &Method, path| dialect::of_request(method, path).map(|d| d.name());
    let cases = [
        (Method::POST, "/v1/chat/completions", Some("openai.chat")),
        (Method::POST, "/v1/chat/completions/", Some("openai.chat")),
        (Method::POST, "/v1/messages", Some("anthropic.messages")),
        (Method::POST, "/v1/messages/", Some("anthropic.messages")),
        (Method::POST, "/v1/messages/count_tokens", None),
        (Method::GET, "/v1/chat/completions", None),
        (Method::POST, "/v1/completions", None),
        (Method::POST, "/", None),
    ];
    for (method, path, expected) in cases {
        assert_eq!(named(&method, path), expected, "{method} {path}");
    }
    assert_eq!(by_name("openai.chat").unwrap(), dialect::hub());
    assert!(dialect::is_hub(by_name("openai.chat").unwrap()));
    assert!(!dialect::is_hub(by_name("anthropic.messages").unwrap()));
    assert!(by_name("gemini").is_none());
}

#[test]
fn errors_on_other_paths_have_the_shape_of_the_client() {
    let mut anthropic = HeaderMap::new();
    anthropic.insert("anthropic-version", "2023-06-01".parse().unwrap());
    let none = HeaderMap::new();
    let cases = [
        ("/v1/messages/count_tokens", &none, "anthropic.messages"),
        ("/v1/messages", &none, "anthropic.messages"),
        ("/v1/messagesx", &none, "openai.chat"),
        ("/v1/models", &anthropic, "anthropic.messages"),
        ("/v1/models", &none, "openai.chat"),
    ];
    for (path, headers, expected) in cases {
        assert_eq!(
            dialect::error_shape(path, headers).name(),
            expected,
            "{path}"
        );
    }
}
