//! What is sent upstream, to the byte, and what is not.

use std::time::Duration;

use palisade_tests::{Answer, Capture, Palisade, guest};

use crate::client::{CHAT, MESSAGES, post, send};

const ANSWER: &str = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5},"x_own":  1 }"#;

/// Spacing, escapes, key order and numbers that a rewrite would change.
const BODY: &str = "{ \"stream\":false, \"model\" :\"gpt\\u002d4o\",\r\n \"temperature\": 1.0e0,\"x\":1E40, \"messages\":[ {\"role\":\"user\",\"content\":\"h\\u00e9 😀\"} ] ,\"n\":null}\n";

fn manifest(upstream: &str, extra: &str, route: &str) -> String {
    format!(
        r#"
        [plugins.openai]
        source = "builtin:provider-openai"
        upstream = "{upstream}/v1"
        [plugins.rewriter]
        source = "builtin:model-rewriter"
        config = {{ rules = [{{ from = "gpt-4o", to = "other" }}] }}
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        {extra}
        [[routes]]
        name = "all"
        provider = "openai"
        loggers = ["log"]
        {route}
        "#
    )
}

async fn upstream() -> Capture {
    Capture::start(Answer::whole("200 OK", "application/json", ANSWER)).await
}

#[tokio::test]
async fn an_exchange_that_nobody_edits_is_forwarded_byte_for_byte() {
    let upstream = upstream().await;
    let palisade = Palisade::start(&manifest(&upstream.url, "", "")).await;
    let got = post(&palisade.url, CHAT, BODY).await;
    assert_eq!(
        (got.status, got.text.as_str()),
        (200, ANSWER),
        "the answer is the upstream's"
    );
    let sent = upstream.single();
    assert!(
        sent.head.starts_with("POST /v1/chat/completions HTTP/1.1"),
        "{}",
        sent.head
    );
    assert_eq!(String::from_utf8(sent.body).unwrap(), BODY);
    let record = palisade.record(got.id()).await.expect("a record");
    assert_eq!(
        (&record["input_tokens"], &record["output_tokens"]),
        (&3.into(), &2.into())
    );
}

#[tokio::test]
async fn an_edit_of_the_model_changes_only_those_bytes() {
    let upstream = upstream().await;
    let manifest = manifest(&upstream.url, "", "rewriter = \"rewriter\"");
    let palisade = Palisade::start(&manifest).await;
    // One that is sent as it is put together, and one in pieces.
    let bodies = [
        BODY.to_owned(),
        BODY.replace("😀", &"😀 \\n".repeat(50_000)),
    ];
    for body in &bodies {
        let got = post(&palisade.url, CHAT, body.clone()).await;
        assert_eq!((got.status, got.text.as_str()), (200, ANSWER));
    }
    for (sent, body) in upstream.requests().into_iter().zip(bodies) {
        let expected = body.replace("\"gpt\\u002d4o\"", "\"other\"");
        let length = expected.len().to_string();
        assert_eq!(sent.header("content-length"), Some(length.as_str()));
        assert_eq!(String::from_utf8(sent.body).unwrap(), expected);
    }
}

#[tokio::test]
async fn edits_are_kept_or_leave_no_trace() {
    let cases = [
        ("proceed", 200, true),
        ("trap", 500, false),
        ("error", 500, false),
        ("deny", 403, false),
    ];
    for (then, status, sent) in cases {
        let upstream = upstream().await;
        let editor = format!(
            r#"
            [plugins.editor]
            source = "{}"
            config = {{ then = "{then}", steps = [
                {{ set = {{ pointer = "/messages/0/content", json = "\"redacted\"" }} }},
                {{ remove = "/n" }}, {{ set = {{ pointer = "/nowhere/deep", json = "1" }} }},
            ] }}
            "#,
            guest("editor").display()
        );
        let route = "filters = [\"editor\"]";
        let palisade = Palisade::start(&manifest(&upstream.url, &editor, route)).await;
        let got = post(&palisade.url, CHAT, BODY).await;
        assert_eq!(got.status, status, "{then}: {}", got.text);
        assert_eq!(upstream.requests().len(), usize::from(sent), "{then}");
        if sent {
            let expected = BODY
                .replace("\"h\\u00e9 😀\"", "\"redacted\"")
                .replace(" ,\"n\":null", "");
            assert_eq!(String::from_utf8(upstream.single().body).unwrap(), expected);
        }
    }
    // A filter that may be passed over leaves nothing behind either.
    let upstream = upstream().await;
    let editor = format!(
        "[plugins.editor]\nsource = \"{}\"\non-failure = \"bypass\"\n\
         config = {{ then = \"trap\", steps = [{{ set-model = \"edited\" }}] }}",
        guest("editor").display()
    );
    let palisade =
        Palisade::start(&manifest(&upstream.url, &editor, "filters = [\"editor\"]")).await;
    let got = post(&palisade.url, CHAT, BODY).await;
    assert_eq!(got.status, 200);
    assert_eq!(String::from_utf8(upstream.single().body).unwrap(), BODY);
    let record = palisade.record(got.id()).await.expect("a record");
    assert_eq!(record["notes"]["bypassed"], "editor (request-filter)");
}

#[tokio::test]
async fn the_upstream_sees_nothing_of_the_clients_network() {
    let upstream = upstream().await;
    let palisade = Palisade::start(&manifest(&upstream.url, "", "")).await;
    let own = [
        "x-forwarded-for",
        "forwarded",
        "via",
        "x-real-ip",
        "cookie",
        "x-stainless-lang",
        "authorization",
        "x-api-key",
        "proxy-authorization",
        "origin",
        "referer",
    ];
    let mut request = reqwest::Client::new()
        .post(format!("{}{CHAT}", palisade.url))
        .body(BODY);
    for name in own {
        request = request.header(name, "canary-value");
    }
    let got = send(request.header("user-agent", "canary-agent")).await;
    assert_eq!(got.status, 200);
    let sent = upstream.single();
    assert!(!sent.head.contains("canary"), "{}", sent.head);
    assert!(sent.header("user-agent").unwrap().starts_with("palisade/"));
    assert_eq!(
        sent.header("content-length"),
        Some(BODY.len().to_string().as_str())
    );
}

#[tokio::test]
async fn other_paths_pass_through() {
    let cases = [
        ("GET", "/v1/models?limit=2&after=a%20b", "", ""),
        (
            "POST",
            "/v1/embeddings",
            "application/json",
            "{\"input\": \"x\",\"model\":\"m\"}",
        ),
        (
            "POST",
            "/v1/audio/transcriptions",
            "multipart/form-data; boundary=b",
            "--b\r\n\r\n\u{1}\r\n--b--",
        ),
        ("DELETE", "/v1/files/f-1", "", ""),
    ];
    for (method, path, content_type, body) in cases {
        let upstream = upstream().await;
        let palisade = Palisade::start(&manifest(&upstream.url, "", "")).await;
        let method: reqwest::Method = method.parse().unwrap();
        let mut request = reqwest::Client::new()
            .request(method.clone(), format!("{}{path}", palisade.url))
            .body(body);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let got = send(request).await;
        assert_eq!((got.status, got.text.as_str()), (200, ANSWER), "{path}");
        let sent = upstream.single();
        assert!(
            sent.head.starts_with(&format!("{method} {path} HTTP/1.1")),
            "{}",
            sent.head
        );
        assert_eq!(String::from_utf8_lossy(&sent.body), body);
        if !content_type.is_empty() {
            assert_eq!(sent.header("content-type"), Some(content_type));
        }
    }
}

#[tokio::test]
async fn errors_of_the_upstream_arrive_as_they_are() {
    let body = r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
    let answer = Answer {
        pieces: vec![(
            Duration::ZERO,
            format!(
                "HTTP/1.1 429 Too Many Requests\r\nretry-after: Fri, 31 Dec 2027 23:59:59 GMT\r\n\
                 x-ratelimit-remaining-requests: 0\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )],
    };
    let upstream = Capture::start(answer).await;
    let palisade = Palisade::start(&manifest(&upstream.url, "", "")).await;
    let got = post(&palisade.url, CHAT, BODY).await;
    assert_eq!((got.status, got.text.as_str()), (429, body));
    assert_eq!(got.header("retry-after"), "Fri, 31 Dec 2027 23:59:59 GMT");
    // And in the other dialect.
    let request =
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    let got = post(&palisade.url, MESSAGES, request).await;
    assert_eq!(got.status, 429);
    assert_eq!(got.header("retry-after"), "Fri, 31 Dec 2027 23:59:59 GMT");
    assert_eq!(got.header("x-ratelimit-remaining-requests"), "0");
    assert_eq!(got.json()["error"]["message"], "slow down");
    assert_eq!(got.json()["type"], "error");
}

#[tokio::test]
async fn bad_requests_are_refused_in_the_clients_dialect() {
    let upstream = upstream().await;
    let manifest = manifest(&upstream.url, "", "").replace(
        "[plugins.openai]",
        "[server]\nmax-request-body = \"1KiB\"\n[plugins.openai]",
    );
    let palisade = Palisade::start(&manifest).await;
    let large = format!("{{\"model\":\"{}\"}}", "m".repeat(2000));
    let cases = [
        ("{", 400, "not JSON"),
        ("{\"model\":\"m\",\"x\":1E400}", 400, "number out of range"),
        ("[]", 400, "not a JSON object"),
        (
            "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}",
            400,
            "the body has \"/model\" twice",
        ),
        (
            "{\"model\":\"m\",\"messages\":[{\"content\":\"a\",\"content\":\"b\"}]}",
            400,
            "the body has \"/messages/0/content\" twice",
        ),
        (large.as_str(), 413, "1024 bytes"),
    ];
    for (body, status, says) in cases {
        for path in [CHAT, MESSAGES] {
            let got = post(&palisade.url, path, body.to_owned()).await;
            let error = got.json();
            let message = error["error"]["message"].as_str().unwrap();
            assert_eq!(got.status, status, "{path} {body:.40}");
            assert!(message.contains(says), "{path}: {message}");
            assert_eq!(error["type"] == "error", path == MESSAGES, "{error}");
        }
    }
    assert!(upstream.requests().is_empty());
}
