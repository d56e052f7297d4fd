//! Connections that do nothing, or do not end: they go by themselves, and
//! nobody else waits for them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use palisade::server::Drained;
use palisade_tests::{Answer, Capture, Palisade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{CHAT, chat, post_json, streamed};

const ECHO: &str = r#"
    [plugins.echo]
    source = "builtin:provider-echo"
    [[routes]]
    name = "all"
    provider = "echo"
    "#;

/// How HTTP/2 begins: the preface, and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

async fn connect(url: &str) -> TcpStream {
    let address = url.trim_start_matches("http://");
    TcpStream::connect(address).await.expect("a connection")
}

/// Reads until the other side closes; how long that took.
async fn closed(mut stream: TcpStream) -> Option<Duration> {
    let started = Instant::now();
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let ended = tokio::time::timeout(Duration::from_secs(20), read).await;
    ended.is_ok().then(|| started.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_give_their_places_back() {
    let beginnings: [(&str, Vec<u8>); 6] = [
        ("nothing", Vec::new()),
        ("a letter that both versions begin with", b"P".to_vec()),
        ("half a preface", PREFACE[..12].to_vec()),
        ("a preface", PREFACE.to_vec()),
        ("a preface and settings", [PREFACE, SETTINGS].concat()),
        (
            "half a head",
            b"POST /v1/chat/completions HTTP/1.1\r\nhost".to_vec(),
        ),
    ];
    let places = beginnings.len();
    let manifest =
        format!("[server]\nrequest-timeout = \"1s\"\nmax-connections = {places}\n{ECHO}");
    let palisade = Palisade::start(&manifest).await;
    let mut waiting = Vec::new();
    for (what, bytes) in beginnings {
        let mut stream = connect(&palisade.url).await;
        stream.write_all(&bytes).await.unwrap();
        waiting.push((what, tokio::spawn(closed(stream))));
    }
    // All places are taken, so this one is served when one is free again.
    let got = post_json(&palisade.url, CHAT, &chat("m", "ping")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    for (what, ended) in waiting {
        let took = ended.await.unwrap();
        let took = took.unwrap_or_else(|| panic!("{what}: it is still open"));
        assert!(took < Duration::from_secs(4), "{what}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_version_may_begin_letter_by_letter() {
    let palisade = Palisade::start(ECHO).await;
    let post = b"POST /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
    let put = b"PUT /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
    // The answer in HTTP/2 begins with a frame of type 4, SETTINGS.
    for (begun, at, expected) in [
        (post, 0, &b"HTTP/1.1 "[..]),
        (put, 0, b"HTTP/1.1 "),
        ([PREFACE, SETTINGS].concat(), 3, b"\x04"),
    ] {
        let mut stream = connect(&palisade.url).await;
        stream.set_nodelay(true).unwrap();
        for byte in begun {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[at..at + expected.len()], expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_served_beside_silent_connections() {
    let manifest = format!("[server]\nrequest-timeout = \"2s\"\n{ECHO}");
    let palisade = Palisade::start(&manifest).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(connect(&palisade.url).await);
    }
    let started = Instant::now();
    let got = post_json(&palisade.url, CHAT, &chat("m", "ping")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert!(started.elapsed() < Duration::from_millis(1500));
}

/// Clients go round the workers, and each worker has connections of its own to
/// the upstream: two neighbours never share one.
#[tokio::test(flavor = "multi_thread")]
async fn each_worker_has_its_own_part_of_the_connections() {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", "{}")).await;
    let palisade = Palisade::start(&proxying(&upstream.url, "workers = 2")).await;
    let clients: Vec<_> = (0..4).map(|_| reqwest::Client::new()).collect();
    for _ in 0..8 {
        for client in &clients {
            let request = client.post(format!("{}{CHAT}", palisade.url));
            let got = crate::client::send(request.body(chat("m", "x").to_string())).await;
            assert_eq!(got.status, 200, "{}", got.text);
        }
    }
    let mut used = [BTreeSet::new(), BTreeSet::new()];
    for (number, request) in upstream.requests().iter().enumerate() {
        used[number % 2].insert(request.connection);
    }
    assert!(used[0].is_disjoint(&used[1]), "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_not_an_idle_connection() {
    let event = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"late\"},\"finish_reason\":\"stop\"}]}\n\n";
    let answer = Answer::stream(&[event, "data: [DONE]\n\n"], Duration::from_millis(2500));
    let upstream = Capture::start(answer).await;
    let palisade = Palisade::start(&proxying(&upstream.url, "request-timeout = \"1s\"")).await;
    let http1 = reqwest::Client::new();
    let http2 = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for client in [http1, http2] {
        let body = streamed(chat("m", "x")).to_string();
        let request = client.post(format!("{}{CHAT}", palisade.url)).body(body);
        let got = crate::client::send(request).await;
        assert!(got.whole && got.status == 200, "{}", got.text);
        assert_eq!(got.streamed_text(), "late");
    }
}

fn proxying(upstream: &str, server: &str) -> String {
    format!(
        r#"
        [server]
        {server}
        [plugins.openai]
        source = "builtin:provider-openai"
        upstream = "{upstream}/v1"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        provider = "openai"
        loggers = ["log"]
        "#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_stream_is_cut_off_when_the_time_to_drain_is_over() {
    let event = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}\n\n";
    for http2 in [false, true] {
        let mut answer = Answer::stream(&[event, event], Duration::ZERO);
        answer.pieces[2].0 = Duration::from_secs(120);
        let upstream = Capture::start(answer).await;
        let server = "workers = 3\ndrain-timeout = \"1s\"";
        let manifest = proxying(&upstream.url, server);
        let mut palisade = Palisade::start(&manifest).await;
        // One on each worker: they drain at the same time.
        let mut responses = Vec::new();
        for _ in 0..3 {
            let mut client = reqwest::Client::builder();
            if http2 {
                client = client.http2_prior_knowledge();
            }
            let client = client.build().unwrap();
            let request = client.post(format!("{}{CHAT}", palisade.url));
            let body = streamed(chat("m", "x")).to_string();
            let mut response = request.body(body).send().await.unwrap();
            assert!(response.chunk().await.unwrap().is_some(), "it has begun");
            responses.push(response);
        }

        let started = Instant::now();
        assert_eq!(palisade.drain().await, Drained::TimedOut);
        let took = started.elapsed();
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_secs(3),
            "{took:?}"
        );
        for mut response in responses {
            let id = response.headers()["palisade-exchange-id"].clone();
            let record = palisade.record(id.to_str().unwrap()).await;
            let record = record.expect("a record");
            assert_eq!(record["outcome"], "cancelled", "{record}");
            while let Ok(Some(_)) = response.chunk().await {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_keep_it_from_stopping() {
    let mut palisade = Palisade::start(ECHO).await;
    let silent = connect(&palisade.url).await;
    let mut idle = connect(&palisade.url).await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(idle.read(&mut [0; 512]).await.unwrap() > 0);
    let started = Instant::now();
    assert_eq!(palisade.drain().await, Drained::All);
    assert!(started.elapsed() < Duration::from_secs(2));
    drop((silent, idle));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reloads_when_it_is_asked_to() {
    let palisade = Palisade::start(ECHO).await;
    let live = palisade.generation();
    palisade.reload();
    assert!(palisade.reloaded(live).await, "with no file changed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes more than a minute"]
async fn a_client_that_stops_reading_is_dropped() {
    let text = "x".repeat(16 << 10);
    let event = format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    );
    let upstream = Capture::start(Answer::stream(&[event.as_str(); 4096], Duration::ZERO)).await;
    let palisade = Palisade::start(&proxying(&upstream.url, "")).await;
    let body = streamed(chat("m", "x")).to_string();
    let mut stream = connect(&palisade.url).await;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(65)).await;
    let records = palisade.records(1).await;
    assert_eq!(records[0]["outcome"], "cancelled", "{records:?}");
    drop(stream);
}
