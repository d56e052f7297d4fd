//! Routes that name their upstream themselves: exchanges go there as they
//! come, and a body that nobody looks at is not held.

use std::time::Duration;

use palisade_tests::{Answer, Capture, Palisade, guest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{CHAT, MESSAGES, chat, post, post_json, send, streamed};

const ANSWER: &str = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

/// What is no JSON is passed on where nobody reads it.
const UNREAD: &str = "{ \"model\" :\"gpt\\u002d4o\", \"n\":1, \"n\":2,";

fn manifest(upstream: &str, server: &str, more: &str, route: &str) -> String {
    format!(
        r#"
        [server]
        {server}
        [credentials.c]
        file = "key"
        hosts = ["127.0.0.1"]
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [plugins.security]
        source = "builtin:security-filter"
        {more}
        [[routes]]
        name = "all"
        upstream = "{upstream}"
        loggers = ["log"]
        {route}
        "#
    )
}

async fn start(manifest: &str) -> Palisade {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "sk-canary\n").unwrap();
    Palisade::with_files(manifest, &[("key", key)]).await
}

async fn upstream() -> Capture {
    Capture::start(Answer::whole("200 OK", "application/json", ANSWER)).await
}

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .unwrap()
}

/// Reads until what has come ends so.
async fn until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let read = stream.read_buf(&mut bytes);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert!(
            read.expect("bytes in time").unwrap() > 0,
            "it ended with {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    bytes
}

#[tokio::test]
async fn an_exchange_goes_to_the_upstream_as_it_came() {
    let upstream = upstream().await;
    let palisade = start(&manifest(
        &format!("{}/base", upstream.url),
        "",
        "",
        "credential = \"c\"",
    ))
    .await;
    let mut request = reqwest::Client::new()
        .post(format!("{}{CHAT}?a=b&api-key=own", palisade.url))
        .body(UNREAD)
        .header("content-type", "application/json")
        .header("openai-beta", "one")
        .header("anthropic-beta", "two")
        .header("accept", "text/x");
    for name in [
        "authorization",
        "cookie",
        "user-agent",
        "x-stainless-lang",
        "openai-project",
    ] {
        request = request.header(name, "own");
    }
    let got = send(request).await;
    assert_eq!((got.status, got.text.as_str()), (200, ANSWER));

    let sent = upstream.single();
    let line = format!("POST /base{CHAT}?a=b HTTP/1.1");
    assert!(sent.head.starts_with(&line), "{}", sent.head);
    assert_eq!(String::from_utf8_lossy(&sent.body), UNREAD);
    assert_eq!(sent.header("authorization"), Some("Bearer sk-canary"));
    assert_eq!(
        sent.header("content-length"),
        Some(UNREAD.len().to_string().as_str())
    );
    for (name, value) in [
        ("content-type", "application/json"),
        ("openai-beta", "one"),
        ("anthropic-beta", "two"),
        ("accept", "text/x"),
    ] {
        assert_eq!(sent.header(name), Some(value));
    }
    assert!(!sent.head.contains("own"), "{}", sent.head);
    assert!(sent.header("user-agent").unwrap().starts_with("palisade/"));

    let record = palisade.record(got.id()).await.expect("a record");
    assert_eq!(record["provider"], "127.0.0.1");
    assert_eq!(record["route"], "all");
    assert_eq!(record["dialect"], "openai.chat");
    assert_eq!(record["request_bytes"], UNREAD.len());
    assert_eq!(
        (&record["input_tokens"], &record["output_tokens"]),
        (&3.into(), &2.into())
    );
    assert!(record.get("requested_model").is_none(), "{record}");
}

#[tokio::test]
async fn the_credential_goes_where_it_is_wanted() {
    let cases = [
        ("", "authorization: Bearer sk-canary"),
        (
            "credential-kind = \"bearer\"",
            "authorization: Bearer sk-canary",
        ),
        (
            "credential-kind = { header = \"x-api-key\" }",
            "x-api-key: sk-canary",
        ),
        (
            "credential-kind = { query = \"key\" }",
            "/x?key=sk-canary http",
        ),
    ];
    for (kind, says) in cases {
        let upstream = upstream().await;
        let route = format!("credential = \"c\"\n{kind}");
        let palisade = start(&manifest(&upstream.url, "", "", &route)).await;
        let got = post(&palisade.url, "/x", "").await;
        assert_eq!(got.status, 200);
        let head = upstream.single().head.to_lowercase();
        assert!(head.contains(&says.to_lowercase()), "{kind}: {head}");
    }
}

#[tokio::test]
async fn a_body_is_read_where_something_wants_it() {
    let model = "[[routes]]\nname = \"first\"\nupstream = \"http://127.0.0.1:9\"\nmatch = { model = \"m\" }\n";
    let cases = [
        ("no filter", "", "", true),
        ("a filter", "", "filters = [\"security\"]", false),
        ("a model before it", model, "", false),
        ("a model of its own", "", "match = { model = \"*\" }", false),
    ];
    for (what, more, route, unread) in cases {
        let upstream = upstream().await;
        let palisade = start(&manifest(&upstream.url, "", more, route)).await;
        let got = post(&palisade.url, CHAT, UNREAD).await;
        assert_eq!(
            got.status,
            if unread { 200 } else { 400 },
            "{what}: {}",
            got.text
        );
        let body = chat("gpt", "hello").to_string();
        let got = post(&palisade.url, CHAT, body.clone()).await;
        assert_eq!((got.status, got.text.as_str()), (200, ANSWER), "{what}");
        let sent = upstream.requests().pop().unwrap();
        assert_eq!(String::from_utf8(sent.body).unwrap(), body, "{what}");
        let record = palisade.record(got.id()).await.expect("a record");
        assert_eq!(
            record.get("requested_model").is_none(),
            unread,
            "{what}: {record}"
        );
    }
    // A route that does not take the path anyway does not ask for the body.
    let upstream = upstream().await;
    let other = model.replace("model =", "path = \"/v2/*\", model =");
    let palisade = start(&manifest(&upstream.url, "", &other, "")).await;
    assert_eq!(post(&palisade.url, CHAT, UNREAD).await.status, 200);
}

#[tokio::test]
async fn a_filter_refuses_what_goes_to_the_upstream_itself() {
    let upstream = upstream().await;
    let more = "[plugins.security.config]\nforbidden-instructions = [\"*:*evil*\"]\n";
    let route = "filters = [\"security\"]";
    let palisade = start(&manifest(&format!("{}/v1", upstream.url), "", more, route)).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "evil")).await;
    assert_eq!(got.status, 403, "{}", got.text);
    // Nor is there a way round it by a path that the base makes one of a dialect's.
    let got = post_json(&palisade.url, "/chat/completions", &chat("m", "evil")).await;
    assert_eq!(got.status, 404, "{}", got.text);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_passed_on_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let palisade = start(&manifest(&url, "", "", "")).await;
    for (framing, first, second, end) in [
        ("content-length: 10", "01234", "56789", "56789"),
        (
            "transfer-encoding: chunked",
            "5\r\n01234\r\n",
            "5\r\n56789\r\n0\r\n\r\n",
            "0\r\n\r\n",
        ),
    ] {
        let mut client = connect(&palisade.url).await;
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{framing}\r\n\r\n{first}"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        // The first half is there while the second has not been sent.
        let got = until(&mut upstream, first.as_bytes()).await;
        let got = String::from_utf8(got).unwrap().to_lowercase();
        assert!(got.contains(framing), "{got}");
        client.write_all(second.as_bytes()).await.unwrap();
        until(&mut upstream, end.as_bytes()).await;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{ANSWER}",
            ANSWER.len()
        );
        upstream.write_all(answer.as_bytes()).await.unwrap();
        let got = until(&mut client, ANSWER.as_bytes()).await;
        assert!(got.starts_with(b"HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn a_body_goes_on_after_an_answer_that_comes_before_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let palisade = start(&manifest(&url, "", "", "")).await;
    let refusals = [
        "content-length: 2\r\n\r\n{}",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ];
    for refusal in refusals {
        let mut client = connect(&palisade.url).await;
        let head =
            format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 3000010\r\n\r\n01234");
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        until(&mut upstream, b"01234").await;
        let refusal = format!("HTTP/1.1 401 Unauthorized\r\n{refusal}");
        upstream.write_all(refusal.as_bytes()).await.unwrap();
        let got = until(&mut client, b"{}").await;
        assert!(got.starts_with(b"HTTP/1.1 401 Unauthorized"));
        let upload = tokio::spawn(async move {
            let rest = [vec![b'x'; 3_000_000], b"56789".to_vec()].concat();
            client.write_all(&rest).await.map(|()| client)
        });
        let got = until(&mut upstream, b"56789").await;
        assert_eq!(got.len(), 3_000_005);
        upload.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_bounds_of_a_body_hold_where_it_is_not_held() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = "max-request-body = \"1KiB\"\nrequest-timeout = \"1s\"";
    let palisade = start(&manifest(&url, server, "", "")).await;
    let large = "x".repeat(2000);
    let cases = [
        (
            "announced",
            "content-length: 2000\r\n\r\n".to_owned(),
            "HTTP/1.1 413",
        ),
        (
            "in pieces",
            format!(
                "transfer-encoding: chunked\r\n\r\n3e8\r\n{0}\r\n3e8\r\n{0}\r\n",
                &large[..1000]
            ),
            "HTTP/1.1 413",
        ),
        (
            "too slow",
            "content-length: 10\r\n\r\n01234".to_owned(),
            "HTTP/1.1 408",
        ),
    ];
    // The upstream reads and says nothing.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(
                async move { while stream.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {} },
            );
        }
    });
    for (what, rest, says) in cases {
        let mut client = connect(&palisade.url).await;
        let head = format!("POST {MESSAGES} HTTP/1.1\r\nhost: x\r\n{rest}");
        client.write_all(head.as_bytes()).await.unwrap();
        let got = until(&mut client, b"}").await;
        let got = String::from_utf8(got).unwrap();
        assert!(got.starts_with(says), "{what}: {got}");
        assert!(got.contains("\"type\":\"error\""), "in its dialect: {got}");
    }
}

#[tokio::test]
async fn a_stream_is_passed_on_and_an_end_that_is_none_is_told() {
    let event =
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let events = [event, event, "data: [DONE]\n\n"];
    let whole = Capture::start(Answer::stream(&events, Duration::ZERO)).await;
    let cut = Capture::start(Answer::stream(&events, Duration::from_millis(20)).cut_after(2)).await;
    for (upstream, ends) in [(&whole, true), (&cut, false)] {
        let palisade = start(&manifest(&upstream.url, "", "", "")).await;
        let got = post_json(&palisade.url, CHAT, &streamed(chat("m", "x"))).await;
        assert_eq!((got.status, got.whole), (200, ends), "{}", got.text);
        assert!(
            got.text.starts_with(&[event, event].concat()),
            "{}",
            got.text
        );
        assert_eq!(got.text.contains("\"error\""), !ends, "{}", got.text);
        let record = palisade.record(got.id()).await.expect("a record");
        assert_eq!(record["streaming"], true);
        assert_eq!(record["outcome"], if ends { "answered" } else { "failed" });
    }
}

#[tokio::test]
async fn what_is_wrong_with_such_a_route_is_told() {
    let cases = [
        (
            "provider = \"security\"",
            "[routes] has both `provider` and `upstream`",
        ),
        (
            "credential = \"d\"",
            "there is no credential \"d\" (did you mean",
        ),
        (
            "credential-kind = \"beaver\"",
            "`credential-kind` is \"beaver\"",
        ),
        (
            "credential-kind = { header = \"a b\" }",
            "`credential-kind` is {\"header\":\"a b\"}",
        ),
        (
            "filters = [\"guard\"]",
            "route \"all\" filters answers (\"guard\"), and has no plugin",
        ),
    ];
    let guard = format!(
        "[plugins.guard]\nsource = \"{}\"\n",
        guest("guard").display()
    );
    let said = async |upstream: &str, route: &str| {
        let text = manifest(upstream, "", &guard, route).replace("file = \"key\"", "env = \"SET\"");
        let problems = Palisade::problems(&text, &[("SET", "sk-canary")]).await;
        problems.map_or(String::new(), |problems| problems.to_string())
    };
    for (route, says) in cases {
        let said = said("https://127.0.0.1", route).await;
        assert!(said.contains(says), "{route}: {said}");
    }
    let unbound = said("https://evil.example", "credential = \"c\"").await;
    assert!(
        unbound.contains("credential \"c\" is not bound to host evil.example"),
        "{unbound}"
    );
    let ftp = said("ftp://x/", "").await;
    assert!(ftp.contains("not an http or https URL"), "{ftp}");
    let text = "[plugins.e]\nsource = \"builtin:provider-echo\"\n[[routes]]\nname = \"a\"\nprovider = \"e\"\ncredential = \"c\"\n";
    let said = Palisade::problems(text, &[]).await.unwrap().to_string();
    assert!(
        said.contains("`credential` in [routes] has no `upstream` beside it"),
        "{said}"
    );
}

#[tokio::test]
async fn a_route_without_its_credential_refuses_or_is_left_out() {
    let upstream = upstream().await;
    let text = |more: &str| {
        let unset = "[credentials.unset]\nenv = \"PALISADE_TEST_UNSET\"\nhosts = [\"127.0.0.1\"]\n";
        let last = "[[routes]]\nname = \"last\"\n";
        let first = format!(
            "credential = \"unset\"\n{more}\n{last}upstream = \"{}\"",
            upstream.url
        );
        manifest(&upstream.url, "", unset, &first)
    };
    let palisade = start(&text("")).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 500);
    assert_eq!(got.json()["error"]["code"], "credential_missing");
    let palisade = start(&text("without-credential = \"skip\"")).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200);
    assert!(palisade.live().skipped[0].contains("PALISADE_TEST_UNSET is not set"));
}
