//! What the server puts on the wire, and what it says about its peers.

use std::time::{Duration, Instant};

use crate::client::{Answer, ask, hello, receive, send, server, to};
use replay::{Abort, Chunks, Ending, How, Play, Provider, Server};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

fn file(server: &Server, provider: &str, scenario: &str, file: &str) -> Vec<u8> {
    let provider = Provider::named(provider).unwrap();
    server
        .transcripts()
        .file(provider, scenario, file)
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn transcripts_are_served_byte_for_byte() {
    let server = server().await;
    for provider in ["openai", "anthropic", "cerebras"] {
        let whole = ask(&server, provider, &hello(provider, "chat", false)).await;
        assert_eq!(whole.status, 200);
        assert!(
            whole.head.contains("content-type: application/json"),
            "{}",
            whole.head
        );
        assert_eq!(whole.body(), file(&server, provider, "chat", "whole.json"));
        let streamed = ask(&server, provider, &hello(provider, "chat", true)).await;
        assert!(
            streamed.head.contains("content-type: text/event-stream"),
            "{}",
            streamed.head
        );
        assert!(streamed.complete);
        assert_eq!(
            streamed.body(),
            file(&server, provider, "chat", "stream.sse")
        );
        assert!(
            streamed.chunks.iter().all(|chunk| chunk.ends_with(b"\n\n")),
            "one event a chunk"
        );
    }
}

#[tokio::test]
async fn a_real_model_may_stand_before_the_scenario() {
    let server = server().await;
    let answer = ask(
        &server,
        "anthropic",
        &hello("anthropic", "claude-x+y+chat", false),
    )
    .await;
    assert_eq!(
        answer.body(),
        file(&server, "anthropic", "chat", "whole.json")
    );
    assert_eq!(
        server.requests()[0].scenario.as_deref(),
        Some("anthropic/chat")
    );
}

#[tokio::test]
async fn a_usage_chunk_comes_when_it_is_asked_for() {
    let server = server().await;
    let mut body = hello("openai", "chat", true);
    body["stream_options"] = json!({"include_usage": true});
    let answer = ask(&server, "openai", &body).await;
    assert_eq!(answer.body(), file(&server, "openai", "chat", "usage.sse"));
}

#[tokio::test]
async fn gzip_comes_to_those_who_take_it() {
    let server = server().await;
    let body = hello("openai", "gzip", true).to_string();
    let (path, fields) = to("openai");
    let takes = format!("{fields}\r\naccept-encoding: gzip, br");
    let packed = receive(send(&server, "POST", path, &takes, &body).await).await;
    assert!(
        packed.head.contains("content-encoding: gzip"),
        "{}",
        packed.head
    );
    assert_eq!(
        packed.body(),
        file(&server, "openai", "gzip", "stream.sse.gz")
    );
    let plain = receive(send(&server, "POST", path, fields, &body).await).await;
    assert_eq!(plain.body(), file(&server, "openai", "gzip", "stream.sse"));
}

#[tokio::test]
async fn an_error_has_its_status_and_fields_streamed_or_not() {
    let server = server().await;
    for stream in [false, true] {
        let answer = ask(&server, "openai", &hello("openai", "error-429", stream)).await;
        assert_eq!(answer.status, 429);
        assert!(answer.head.contains("retry-after: 7"), "{}", answer.head);
        assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
    }
    let page = ask(
        &server,
        "anthropic",
        &hello("anthropic", "error-502", false),
    )
    .await;
    assert_eq!(page.status, 502);
    assert!(
        page.head.contains("content-type: text/html"),
        "{}",
        page.head
    );
}

#[tokio::test]
async fn chunks_are_where_the_control_puts_them() {
    let server = server().await;
    let whole = file(&server, "cerebras", "chat", "stream.sse");
    let all = [
        (Chunks::Whole, vec![whole.len()]),
        (Chunks::At(vec![3, 10]), vec![3, 7, whole.len() - 10]),
        (Chunks::Bytes, vec![1; whole.len()]),
    ];
    for (chunks, lengths) in all {
        let play = Play {
            chunks: Some(chunks),
            ..Play::default()
        };
        server
            .control()
            .set(Some(Provider::Cerebras), Some("chat"), play)
            .unwrap();
        let answer = ask(&server, "cerebras", &hello("cerebras", "chat", true)).await;
        assert_eq!(
            answer.chunks.iter().map(Vec::len).collect::<Vec<_>>(),
            lengths
        );
        assert_eq!(answer.body(), whole);
    }
}

#[tokio::test]
async fn delays_are_kept() {
    let server = server().await;
    let play = Play {
        head_delay: Some(Duration::from_millis(80)),
        chunk_delay: Some(Duration::from_millis(40)),
        chunks: Some(Chunks::At(vec![5, 10])),
        ..Play::default()
    };
    server.control().set(None, None, play).unwrap();
    let start = Instant::now();
    ask(&server, "openai", &hello("openai", "chat", true)).await;
    assert!(
        start.elapsed() >= Duration::from_millis(160),
        "took {:?}",
        start.elapsed()
    );
}

async fn broken_off(how: How) -> Answer {
    let server = server().await;
    let play = Play {
        abort: Some(Abort { after: 100, how }),
        ..Play::default()
    };
    server.control().set(None, Some("chat"), play).unwrap();
    let answer = ask(&server, "openai", &hello("openai", "chat", true)).await;
    assert_eq!(answer.body().len(), 100);
    answer
}

#[tokio::test]
async fn an_answer_breaks_off_in_three_ways() {
    let reset = broken_off(How::Reset).await;
    assert_eq!(reset.error, Some(std::io::ErrorKind::ConnectionReset));
    assert!(!reset.complete);
    let closed = broken_off(How::Close).await;
    assert_eq!((closed.error, closed.complete), (None, false));
    let ended = broken_off(How::End).await;
    assert_eq!((ended.error, ended.complete), (None, true));
}

#[tokio::test]
async fn a_whole_answer_that_breaks_off_declares_its_full_length() {
    let server = server().await;
    let answer = ask(&server, "openai", &hello("openai", "truncated", false)).await;
    let full = file(&server, "openai", "chat", "whole.json").len();
    assert!(
        answer.head.contains(&format!("content-length: {full}")),
        "{}",
        answer.head
    );
    assert!(!answer.complete);
}

/// Waits until the first request's answer has ended, for at most a second.
async fn ending(server: &Server) -> (Ending, Duration) {
    for _ in 0..100 {
        if let Some(ended) = server.requests()[0].ended {
            return ended;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the answer has not ended: {:?}", server.requests());
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_noticed_before_the_head_and_in_the_stream() {
    for scenario in ["hang", "slow"] {
        let server = server().await;
        let (path, fields) = to("anthropic");
        let body = hello("anthropic", scenario, true).to_string();
        let mut stream = send(&server, "POST", path, fields, &body).await;
        if scenario == "slow" {
            assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        } else {
            sleep(Duration::from_millis(50)).await;
        }
        assert!(server.requests()[0].ended.is_none());
        drop(stream);
        assert_eq!(ending(&server).await.0, Ending::Closed);
        assert!(server.requests()[0].closed().is_some());
    }
}

#[tokio::test]
async fn a_peer_that_reads_to_the_end_did_not_hang_up() {
    let server = server().await;
    ask(&server, "openai", &hello("openai", "chat", true)).await;
    assert_eq!(ending(&server).await.0, Ending::Answered);
    let sent = file(&server, "openai", "chat", "stream.sse").len() as u64;
    assert_eq!(server.requests()[0].sent, sent);
}

#[tokio::test]
async fn requests_are_kept_as_they_came() {
    let server = server().await;
    let odd =
        "{ \"model\" :\"chat\",\n\t\"messages\": [{\"role\":\"user\",\"content\":\"\\u00e9\"}] }";
    let (_, fields) = to("openai");
    let path = "/openai/v1/chat/completions?trace=1";
    receive(send(&server, "POST", path, &format!("{fields}\r\nX-Odd: 1"), odd).await).await;
    let kept = receive(send(&server, "GET", "/_requests?after=0", "", "").await)
        .await
        .json();
    assert_eq!(kept[0]["body"], odd);
    assert_eq!(kept[0]["path"], "/openai/v1/chat/completions");
    assert_eq!(kept[0]["query"], "trace=1");
    assert_eq!(kept[0]["scenario"], "openai/chat");
    assert_eq!(kept[0]["status"], 200);
    assert_eq!(kept[0]["closed"], json!(null));
    assert!(
        kept[0]["headers"]
            .as_array()
            .unwrap()
            .contains(&json!(["x-odd", "1"]))
    );
    assert_eq!(server.requests()[0].header("X-ODD"), ["1"]);
    receive(send(&server, "DELETE", "/_requests", "", "").await).await;
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_control_request_changes_the_play_until_it_is_cleared() {
    let server = server().await;
    let control = json!({"provider": "openai", "scenario": "chat", "play": {"status": 503}});
    let set = receive(send(&server, "POST", "/_control", "", &control.to_string()).await).await;
    assert_eq!(set.status, 200);
    let body = hello("openai", "chat", false);
    assert_eq!(ask(&server, "openai", &body).await.status, 503);
    receive(send(&server, "DELETE", "/_control", "", "").await).await;
    assert_eq!(ask(&server, "openai", &body).await.status, 200);
    let wrong = receive(send(&server, "POST", "/_control", "", "{}").await).await;
    assert_eq!(
        (wrong.status, wrong.json()),
        (400, json!({"error": "play: is missing"}))
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let server = server().await;
    let (path, fields) = to("anthropic");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: replay\r\n{fields}\r\ncontent-length: 40000000\r\n\r\n"
    );
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server answers and closes while the client still sends, so that
    // sending fails at some point.
    let piece = vec![b' '; 1024 * 1024];
    for _ in 0..39 {
        if stream.write_all(&piece).await.is_err() {
            break;
        }
    }
    for _ in 0..100 {
        if server
            .requests()
            .iter()
            .any(|request| request.status == Some(413))
        {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not refused: {:?}", server.requests());
}
