//! Clients that try the edges: what they must not get round, and what must be
//! told all the same.

use std::time::Duration;

use palisade_tests::{Answer, Capture, Palisade, guest};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{CHAT, MESSAGES, chat, messages, post, post_json, send, streamed};

const ANSWER: &str = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;

async fn openai(upstream: &Capture, extra: &str) -> Palisade {
    let manifest = format!(
        r#"
        [server]
        cors-origins = ["https://app.example"]
        {extra}
        [plugins.security]
        source = "builtin:security-filter"
        config = {{ forbidden-instructions = ["*:*evil*"] }}
        [plugins.openai]
        source = "builtin:provider-openai"
        upstream = "{}/v1"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        filters = ["security"]
        provider = "openai"
        loggers = ["log"]
        "#,
        upstream.url
    );
    Palisade::start(&manifest).await
}

/// Sends a request line as it is, which a client library would tidy up.
async fn raw(url: &str, head: &str, body: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(url.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_written_otherwise_is_no_way_round_a_filter() {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", ANSWER)).await;
    let palisade = openai(&upstream, "").await;
    let body = chat("m", "evil things").to_string();
    for path in [
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions",
        "/v1/x/../chat/completions",
        "/v1/./chat/completions",
        "/v1/%2e/chat/completions",
        "/v1/chat/%63ompletions",
        "/v1/chat/completions//",
        "/v1/chat%2fcompletions",
        "/v1/chat/completions;a=b",
        "//v1/chat/completions",
        "/V1/chat/completions",
        "/v1/%2e%2e/v1/chat/completions",
    ] {
        let answer = raw(&palisade.url, &format!("POST {path}"), &body).await;
        let status: u16 = answer[9..12].parse().unwrap();
        assert!((400..500).contains(&status), "{path}: {answer}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_mirror_or_tunnel_are_not_passed_on() {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", ANSWER)).await;
    let palisade = openai(&upstream, "").await;
    for method in ["TRACE", "CONNECT", "PROPFIND"] {
        let answer = raw(&palisade.url, &format!("{method} /v1/models"), "").await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{method}: {answer}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_refused_has_a_record() {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", ANSWER)).await;
    let palisade = openai(&upstream, "").await;
    let long = format!("{{\"model\":\"{}\",\"messages\":[]}}", "m".repeat(100_000));
    let cases = [
        (post(&palisade.url, CHAT, "{").await, 400),
        (post(&palisade.url, "/v1//x", "").await, 400),
        (post(&palisade.url, "/chat/completions", "{}").await, 404),
        (post(&palisade.url, CHAT, long).await, 200),
    ];
    for (got, status) in cases {
        assert_eq!(got.status, status, "{}", got.text);
        let record = palisade.record(got.id()).await.expect("a record");
        assert_eq!(record["status"], status);
        assert!(record.to_string().len() < 4000, "a record is bounded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_needs_no_key() {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", ANSWER)).await;
    let keys = tempfile::tempdir().unwrap();
    std::fs::write(keys.path().join("key"), "k").unwrap();
    let extra = format!("[keys.a]\nfile = \"{}\"", keys.path().join("key").display());
    let palisade = openai(&upstream, &extra).await;
    let client = reqwest::Client::new();
    let preflight = |origin: &str| {
        client
            .request(reqwest::Method::OPTIONS, format!("{}{CHAT}", palisade.url))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
    };
    let got = send(preflight("https://app.example")).await;
    assert_eq!(got.status, 204);
    assert_eq!(
        got.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert_eq!(got.header("access-control-allow-headers"), "authorization");
    let got = send(preflight("https://other.example")).await;
    assert_eq!(
        (got.status, got.header("access-control-allow-origin")),
        (204, "")
    );
    let request = client
        .post(format!("{}{CHAT}", palisade.url))
        .header("origin", "https://app.example");
    let got = send(request.body(chat("m", "x").to_string())).await;
    assert_eq!(
        (got.status, got.header("access-control-allow-origin")),
        (401, "https://app.example")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_hang_up_after_its_last_word_ends_well() {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let (text, stop) = (
        chunk("{\"content\":\"hi\"}", "null"),
        chunk("{}", "\"stop\""),
    );
    let events = [
        text.as_str(),
        stop.as_str(),
        "data: [DONE]\n\n",
        ": late\n\n",
    ];
    let mut lingering = Answer::stream(&events, Duration::ZERO);
    lingering.pieces[4].0 = Duration::from_secs(20);
    for answer in [lingering.clone(), lingering.cut_after(3)] {
        let upstream = Capture::start(answer).await;
        let palisade = openai(&upstream, "").await;
        for (path, body) in [(CHAT, chat("m", "x")), (MESSAGES, messages("m", "x"))] {
            let got = post_json(&palisade.url, path, &streamed(body)).await;
            assert!(
                got.whole && !got.text.contains("error"),
                "{path}: {}",
                got.text
            );
            assert!(
                got.text.contains("[DONE]") || got.text.contains("message_stop"),
                "{}",
                got.text
            );
            let record = palisade.record(got.id()).await.expect("a record");
            assert_eq!(record["outcome"], "answered");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_band_is_a_failed_exchange_in_either_dialect() {
    let events =
        ["data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"code\":null}}\n\n"];
    let upstream = Capture::start(Answer::stream(&events, Duration::ZERO)).await;
    let palisade = openai(&upstream, "").await;
    for (path, body) in [(CHAT, chat("m", "x")), (MESSAGES, messages("m", "x"))] {
        let got = post_json(&palisade.url, path, &streamed(body)).await;
        assert!(got.text.contains("boom"), "{}", got.text);
        let record = palisade.record(got.id()).await.expect("a record");
        assert_eq!(record["outcome"], "failed", "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_type_is_a_stream() {
    let chunk = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{chunk}",
        chunk.len()
    );
    let upstream = Capture::start(Answer {
        pieces: vec![(Duration::ZERO, head.into_bytes())],
    })
    .await;
    let palisade = openai(&upstream, "").await;
    for (path, body) in [(CHAT, chat("m", "x")), (MESSAGES, messages("m", "x"))] {
        let got = post_json(&palisade.url, path, &streamed(body)).await;
        assert_eq!(
            (got.status, got.streamed_text().as_str()),
            (200, "hi"),
            "{path} {}",
            got.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_an_exchange_with_an_end() {
    let palisade = Palisade::start(
        "[plugins.echo]\nsource = \"builtin:provider-echo\"\n[plugins.log]\nsource = \"builtin:logger\"\noutput = \"log.jsonl\"\n\
         [[routes]]\nname = \"all\"\nprovider = \"echo\"\nloggers = [\"log\"]",
    )
    .await;
    for path in ["/v1/models", "/v1/nothing"] {
        let got = send(reqwest::Client::new().head(format!("{}{path}", palisade.url))).await;
        let record = palisade.record(got.id()).await.expect("a record");
        assert_ne!(record["outcome"], "cancelled", "{path} {record}");
    }
    let got = send(reqwest::Client::new().head(&palisade.url)).await;
    assert_eq!(got.status, 200, "clients probe with it");
}

/// A filter of answers that breaks midway cannot be passed over: what it held
/// back would be missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_may_be_passed_over_leaves_no_hole() {
    let palisade = Palisade::start(&format!(
        "[plugins.bad]\nsource = \"{}\"\ngrants = [\"clocks\", \"random\"]\non-failure = \"bypass\"\n\
         config = {{ fault = \"panic\", at = \"session-finish\" }}\n\
         [plugins.echo]\nsource = \"builtin:provider-echo\"\n\
         [[routes]]\nname = \"all\"\nfilters = [\"bad\"]\nprovider = \"echo\"",
        guest("misbehaving").display()
    ))
    .await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "a b c")).await;
    assert_eq!(got.status, 500, "{}", got.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_query_go_nowhere() {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", "{}")).await;
    let palisade = openai(&upstream, "").await;
    let path = "/v1/models?a=1&key=canary&%6bey=canary&API_KEY=canary";
    let got = send(reqwest::Client::new().get(format!("{}{path}", palisade.url))).await;
    assert_eq!(got.status, 200);
    let sent = upstream.single();
    assert!(
        sent.head.starts_with("GET /v1/models?a=1 "),
        "{}",
        sent.head
    );
    let record = palisade.record(got.id()).await.expect("a record");
    assert!(!record.to_string().contains("canary"), "{record}");
}
