//! What a plugin does with what it is granted: requests of its own, with
//! credentials by name. Each bound is met from both sides. Buckets are the
//! subject of `buckets`.

use std::time::Duration;

use palisade_tests::{Answer, Capture, Captured, Palisade, guest};
use serde_json::{Value, json};

use crate::client::{CHAT, Got, chat, post_json};
use crate::log;

/// A manifest whose filter is a guest with these lines of its own.
fn manifest(name: &str, config: &Value, lines: &str) -> String {
    let config: toml::Value = serde_json::from_value(config.clone()).unwrap();
    format!(
        r#"
        [credentials.bound]
        file = "key"
        hosts = ["127.0.0.1", "localhost"]
        [credentials.elsewhere]
        file = "key"
        hosts = ["api.example"]
        [plugins.guest]
        source = "{}"
        config = {config}
        {lines}
        [plugins.echo]
        source = "builtin:provider-echo"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        filters = ["guest"]
        provider = "echo"
        loggers = ["log"]
        "#,
        guest(name).display()
    )
}

const KEY: &str = "sk-0123456789-abcdefghij";

/// A gateway whose filter is this guest.
pub async fn with(name: &str, config: Value, lines: &str) -> Palisade {
    log::listen();
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), KEY).unwrap();
    let files = [("key", key.path().to_owned())];
    Palisade::with_files(&manifest(name, &config, lines), &files).await
}

/// The note that the guest left of an exchange that it let go on.
pub async fn note(palisade: &Palisade, name: &str) -> Value {
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    told(palisade, &got, name).await
}

async fn told(palisade: &Palisade, got: &Got, name: &str) -> Value {
    let record = palisade.record(got.id()).await.expect("a record");
    let note = record["notes"][name].as_str().expect("a note");
    serde_json::from_str(note).expect("JSON")
}

/// What comes of one call with these lines.
async fn called(call: Value, lines: &str) -> Value {
    let palisade = with("caller", json!({ "calls": [call] }), lines).await;
    note(&palisade, "calls").await[0].clone()
}

fn origin(upstream: &Capture) -> String {
    format!("grants = [\"http:{}\"]", upstream.url)
}

fn hello() -> Answer {
    Answer::whole("200 OK", "text/plain", "hello")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_origin_is_reached() {
    let upstream = Capture::start(hello()).await;
    let call = json!({ "url": format!("{}/a?b=c", upstream.url), "method": "POST", "body": 10,
        "headers": { "x-own": "1", "content-length": "10" } });
    let outcome = called(call, &origin(&upstream)).await;
    assert_eq!(outcome["status"], 200, "{outcome}");
    assert_eq!(outcome["body"], "hello");
    let sent = upstream.single();
    assert!(
        sent.head.starts_with("POST /a?b=c HTTP/1.1"),
        "{}",
        sent.head
    );
    assert_eq!(sent.body, b"xxxxxxxxxx");
    assert_eq!(sent.header("x-own"), Some("1"));
    let host = upstream.url.strip_prefix("http://");
    assert_eq!(sent.header("host"), host);
    assert!(sent.header("user-agent").unwrap().starts_with("palisade/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_not_granted_is_refused_and_told() {
    let upstream = Capture::start(hello()).await;
    let outcome = called(
        json!({ "url": upstream.url }),
        "grants = [\"http:api.example\"]",
    )
    .await;
    assert_eq!(outcome["error"], "ErrorCode::HttpRequestDenied");
    let to = upstream.url.strip_prefix("http://").unwrap();
    let line = format!("http:{}", upstream.url);
    assert!(log::logged(&["a request is refused", to, &line, "guest"]).await);
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_is_reached_where_it_is_named() {
    let upstream = Capture::start(hello()).await;
    let url = upstream.url.replace("127.0.0.1", "localhost");
    let outcome = called(json!({ "url": url }), &format!("grants = [\"http:{url}\"]")).await;
    assert_eq!(outcome["body"], "hello", "{outcome}");
    // One name for a place does not open another.
    let outcome = called(json!({ "url": url }), &origin(&upstream)).await;
    assert_eq!(outcome["error"], "ErrorCode::HttpRequestDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_shown_and_not_followed() {
    let upstream = Capture::start(Answer {
        pieces: vec![(
            Duration::ZERO,
            b"HTTP/1.1 302 Found\r\nlocation: /x\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
                .to_vec(),
        )],
    })
    .await;
    let outcome = called(json!({ "url": upstream.url }), &origin(&upstream)).await;
    assert_eq!(
        (&outcome["status"], &outcome["headers"]["location"]),
        (&302.into(), &"/x".into())
    );
    assert!(outcome["headers"]["set-cookie"].is_null(), "{outcome}");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_fields_of_the_host_are_not_a_plugins() {
    let upstream = Capture::start(hello()).await;
    for name in [
        "host",
        "connection",
        "authorization",
        "cookie",
        "x-api-key",
        "te",
    ] {
        let call = json!({ "url": upstream.url, "headers": { name: "x" } });
        let outcome = called(call, &origin(&upstream)).await;
        let error = outcome["error"].as_str().unwrap();
        assert!(error.contains("Forbidden"), "{name}: {error}");
    }
    for call in [
        json!({ "url": upstream.url, "method": "TRACE" }),
        json!({ "url": upstream.url, "method": "CONNECT" }),
    ] {
        let outcome = called(call, &origin(&upstream)).await;
        assert_eq!(outcome["error"], "ErrorCode::HttpRequestMethodInvalid");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_body_obeyed() {
    let upstream = Capture::start(Answer::whole("200 OK", "text/plain", &"y".repeat(4096))).await;
    let lines = format!("{}\nlimits = {{ http-body = 4096 }}", origin(&upstream));
    let call = json!({ "url": upstream.url, "method": "POST", "body": 4096 });
    let outcome = called(call, &lines).await;
    assert_eq!(outcome["bytes"], 4096, "{outcome}");
    assert_eq!(upstream.single().body.len(), 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_body_violated() {
    let upstream = Capture::start(Answer::whole("200 OK", "text/plain", &"y".repeat(4097))).await;
    let lines = format!("{}\nlimits = {{ http-body = 4096 }}", origin(&upstream));
    let outcome = called(json!({ "url": upstream.url }), &lines).await;
    assert_eq!(
        outcome["error"],
        "ErrorCode::HttpResponseBodySize(Some(4096))"
    );
    let call = json!({ "url": upstream.url, "method": "POST", "body": 4097 });
    let outcome = called(call, &lines).await;
    assert_eq!(
        outcome["error"],
        "ErrorCode::HttpRequestBodySize(Some(4096))"
    );
    assert_eq!(upstream.requests().len(), 1, "the second was not sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_requests_of_a_call_obeyed_and_violated() {
    let upstream = Capture::start(hello()).await;
    let call = json!({ "url": upstream.url });
    let calls = vec![call; 9];
    let palisade = with("caller", json!({ "calls": calls }), &origin(&upstream)).await;
    // They are counted anew in each call.
    for _ in 0..2 {
        let outcomes = note(&palisade, "calls").await;
        for i in 0..8 {
            assert_eq!(outcomes[i]["status"], 200, "{outcomes}");
        }
        assert_eq!(outcomes[8]["error"], "ErrorCode::ConnectionLimitReached");
    }
    assert_eq!(upstream.requests().len(), 16);
    assert!(log::logged(&["a request is refused", "at most 8"]).await);
}

/// A server that takes its time.
fn slow(pause: Duration) -> Answer {
    let mut answer = hello();
    answer.pieces[0].0 = pause;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn http_requests_at_a_time_obeyed() {
    // One after another they would take longer than the call may.
    let upstream = Capture::start(slow(Duration::from_secs(1))).await;
    let calls = vec![json!({ "url": upstream.url }); 4];
    let limits = "limits = { http-requests = 4, time = \"3500ms\" }";
    let lines = format!("{}\n{limits}", origin(&upstream));
    let palisade = with("caller", json!({ "calls": calls, "at-once": true }), &lines).await;
    let outcomes = note(&palisade, "calls").await;
    assert_eq!(outcomes[3]["status"], 200, "{outcomes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_requests_at_a_time_violated() {
    let upstream = Capture::start(slow(Duration::from_millis(300))).await;
    let calls = vec![json!({ "url": upstream.url }); 4];
    let lines = format!(
        "{}\nlimits = {{ http-requests = 1, time = \"800ms\" }}",
        origin(&upstream)
    );
    let palisade = with("caller", json!({ "calls": calls, "at-once": true }), &lines).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    // Further ones wait, within the time of the call.
    assert!(
        got.status == 500 && got.text.contains("deadline of 800 ms"),
        "{}",
        got.text
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(upstream.requests().len(), 3, "the last never began");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_costs_a_call_its_time_and_no_more() {
    let upstream = Capture::start(slow(Duration::from_secs(30))).await;
    let lines = format!("{}\nlimits = {{ time = \"300ms\" }}", origin(&upstream));
    let palisade = with(
        "caller",
        json!({ "calls": [{ "url": upstream.url }] }),
        &lines,
    )
    .await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert!(got.text.contains("deadline of 300 ms"), "{}", got.text);
    let mut cancelled = false;
    for _ in 0..1000 {
        cancelled = upstream.requests().iter().any(|request| request.cancelled);
        if cancelled {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(cancelled, "the server is told");
    // A plugin may be less patient than its time, and go on.
    let call = json!({ "url": upstream.url, "first-byte": 50 });
    let outcome = called(call, &origin(&upstream)).await;
    assert_eq!(outcome["error"], "ErrorCode::HttpResponseTimeout");
    // A body that never ends is the plugin's own fault.
    let call = json!({ "url": upstream.url, "method": "POST", "body": 1, "unfinished": true });
    let palisade = with("caller", json!({ "calls": [call] }), &lines).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert!(got.text.contains("deadline of 300 ms"), "{}", got.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_fields_obeyed() {
    let upstream = Capture::start(hello()).await;
    let call = json!({ "url": upstream.url, "many-headers": 100 });
    assert_eq!(called(call, &origin(&upstream)).await["status"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_fields_violated() {
    let upstream = Capture::start(hello()).await;
    let call = json!({ "url": upstream.url, "many-headers": 101 });
    let outcome = called(call, &origin(&upstream)).await;
    assert_eq!(
        outcome["error"],
        "ErrorCode::HttpRequestHeaderSectionSize(None)"
    );
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_told_by_a_code() {
    let cases = [
        ("http://127.0.0.1:1", "ErrorCode::ConnectionRefused"),
        ("http://no-such-name.invalid", "ErrorCode::DnsError"),
    ];
    for (url, code) in cases {
        let outcome = called(json!({ "url": url }), &format!("grants = [\"http:{url}\"]")).await;
        let error = outcome["error"].as_str().unwrap_or_default();
        assert!(error.starts_with(code), "{outcome}");
    }
}

/// A server that sends back all that it was sent, in a header field and the
/// body.
async fn echoing() -> Capture {
    Capture::answering(|request: &Captured| {
        let sent = request.header("authorization").unwrap_or("none").to_owned();
        let mut answer = Answer::whole("200 OK", "text/plain", &request.head);
        let head = format!("HTTP/1.1 200 OK\r\nx-echo: {sent}\r\n");
        let rest = answer.pieces[0].1.split_off("HTTP/1.1 200 OK\r\n".len());
        answer.pieces[0].1 = [head.into_bytes(), rest].concat();
        answer
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_placed_by_its_name_and_never_comes_back() {
    let upstream = echoing().await;
    let granted = format!("grants = [\"http:{}\", \"secret:bound\"]", upstream.url);
    let call =
        |value: &str| json!({ "url": upstream.url, "headers": { "palisade-credential": value } });
    let outcome = called(call("bound"), &granted).await;
    let sent = upstream.requests().pop().unwrap();
    assert_eq!(
        sent.header("authorization"),
        Some(&*format!("Bearer {KEY}"))
    );
    assert_eq!(sent.header("palisade-credential"), None);
    assert_eq!(
        outcome["headers"]["x-echo"],
        "Bearer ************************"
    );
    assert!(
        outcome["body"].as_str().unwrap().contains("Bearer *******"),
        "{outcome}"
    );
    assert!(!outcome.to_string().contains(KEY));

    called(call("bound; header=x-api-key"), &granted).await;
    let sent = upstream.requests().pop().unwrap();
    assert_eq!(
        (sent.header("x-api-key"), sent.header("authorization")),
        (Some(KEY), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_nowhere_else() {
    let upstream = echoing().await;
    let lines = |secret: &str| format!("grants = [\"http:{}\", \"{secret}\"]", upstream.url);
    let cases = [
        (
            "bound",
            "secret:elsewhere",
            "credential \"bound\" is not granted",
        ),
        (
            "elsewhere",
            "secret:elsewhere",
            "is not bound to host 127.0.0.1",
        ),
        ("nonsense; x", "secret:bound", "`palisade-credential` is"),
    ];
    for (name, granted, says) in cases {
        let call = json!({ "url": upstream.url, "headers": { "palisade-credential": name } });
        let outcome = called(call, &lines(granted)).await;
        assert_eq!(outcome["error"], "ErrorCode::HttpRequestDenied", "{name}");
        let says = says.escape_debug().to_string();
        assert!(
            log::logged(&["a request is refused", &says]).await,
            "{says}"
        );
    }
    assert!(upstream.requests().is_empty());
}

/// A plugin is tried before it serves; what it asks then is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_makes_no_request() {
    let upstream = Capture::start(hello()).await;
    let call = json!({ "url": upstream.url });
    // It would be refused if a request of its `configure` had an answer.
    let config = json!({ "calls": [call], "while-configured": true });
    let palisade = with("caller", config, &origin(&upstream)).await;
    assert_eq!(note(&palisade, "calls").await, json!([]));
    // Nor is anything asked while it is shown samples.
    let palisade = with("caller", json!({ "calls": [call] }), &origin(&upstream)).await;
    assert!(upstream.requests().is_empty());
    assert_eq!(note(&palisade, "calls").await[0]["body"], "hello");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn what_is_not_granted_does_not_load() {
    for (name, says) in [
        ("caller", "write `grants = [\"http:https://HOST\"]`"),
        (
            "keeper",
            "\"wasi:keyvalue/store@0.2.0-draft2\" (to keep state), which needs the grant",
        ),
    ] {
        let text = manifest(name, &json!({}), "");
        let problems =
            Palisade::problems(&text.replace("file = \"key\"", "env = \"K\""), &[]).await;
        let said = problems.expect("it is refused").to_string();
        assert!(said.contains(says), "{said}");
    }
}
