//! Plugins that break, and upstreams that do: one exchange gets a clear error,
//! and nothing else is touched.

use std::time::{Duration, Instant};

use palisade_tests::{Answer, Capture, Palisade, guest};
use serde_json::Value;

use crate::client::{CHAT, Got, MESSAGES, chat, messages, post_json, send, streamed};

/// A gateway whose plugin misbehaves for models called "bad", and echoes for
/// others.
async fn misbehaving(config: &str, policy: &str) -> Palisade {
    let manifest = format!(
        r#"
        [plugins.bad]
        source = "{}"
        config = {{ {config} }}
        grants = ["clocks", "random"]
        limits = {{ time = "500ms", cpu = "1h", memory = "32MiB" }}
        {policy}
        [plugins.echo]
        source = "builtin:provider-echo"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "bad"
        match = {{ model = "bad" }}
        filters = ["bad"]
        provider = "echo"
        loggers = ["log"]
        [[routes]]
        name = "good"
        provider = "echo"
        loggers = ["log"]
        "#,
        guest("misbehaving").display()
    );
    Palisade::start(&manifest).await
}

fn message(got: &Got) -> String {
    got.json()["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_filter_costs_one_exchange_a_clear_error() {
    let cases = [
        ("panic", "trapped"),
        ("exit", "trapped"),
        ("recursion", "trapped"),
        ("loop", "deadline of 500 ms passed"),
        ("sleep", "deadline of 500 ms passed"),
        ("host-call-storm", "deadline of 500 ms passed"),
        ("memory-bomb", "limit of 32 MiB of memory was reached"),
        ("error", "reported a problem"),
        ("edit-then-trap", "trapped"),
    ];
    for (fault, says) in cases {
        let palisade = misbehaving(&format!("fault = \"{fault}\""), "").await;
        for path in [CHAT, MESSAGES] {
            let bad = messages("bad", "x");
            let good = chat("good", "still here");
            let started = Instant::now();
            let (got, neighbour) = tokio::join!(
                post_json(&palisade.url, path, &bad),
                post_json(&palisade.url, CHAT, &good),
            );
            assert_eq!(got.status, 500, "{fault}: {}", got.text);
            assert_eq!(
                message(&got),
                format!("plugin \"bad\" (request-filter): {says}")
            );
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{fault} is bounded"
            );
            assert_eq!(neighbour.status, 200, "{fault}: {}", neighbour.text);
            let record = palisade.record(got.id()).await.expect("a record");
            assert_eq!(
                (&record["outcome"], &record["status"]),
                (&"failed".into(), &500.into())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_filter_may_be_passed_over() {
    for fault in ["panic", "error", "loop"] {
        let palisade =
            misbehaving(&format!("fault = \"{fault}\""), "on-failure = \"bypass\"").await;
        let got = post_json(&palisade.url, CHAT, &chat("bad", "x")).await;
        assert_eq!(got.status, 200, "{fault}: {}", got.text);
        let record = palisade.record(got.id()).await.expect("a record");
        assert!(
            record["notes"]["bypassed"]
                .as_str()
                .unwrap()
                .contains("bad"),
            "{record}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_breaks_in_mid_stream_is_told_in_band() {
    for (fault, at) in [
        ("panic", "session-push"),
        ("error", "session-finish"),
        ("loop", "session-push"),
    ] {
        let config = format!("fault = \"{fault}\", at = \"{at}\"");
        let palisade = misbehaving(&config, "").await;
        for (path, body) in [
            (CHAT, chat("bad", "a b c")),
            (MESSAGES, messages("bad", "a b c")),
        ] {
            let got = post_json(&palisade.url, path, &streamed(body.clone())).await;
            assert_eq!(got.status, 500, "nothing had been sent: {}", got.text);
            let got = post_json(&palisade.url, path, &body).await;
            assert_eq!(got.status, 500);
            assert!(
                message(&got).starts_with("plugin \"bad\" (event-filter)"),
                "{}",
                got.text
            );
        }
    }
}

const HEAD: &str = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}

"#;
const MORE: &str = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}

"#;
const STOP: &str = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

"#;
const DONE: &str = "data: [DONE]\n\n";

async fn openai(answer: Answer, route: &str) -> (Capture, Palisade) {
    let upstream = Capture::start(answer).await;
    let manifest = format!(
        r#"
        [plugins.openai]
        source = "builtin:provider-openai"
        upstream = "{}/v1"
        [plugins.guard]
        source = "{}"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        provider = "openai"
        loggers = ["log"]
        {route}
        "#,
        upstream.url,
        guest("guard").display()
    );
    let palisade = Palisade::start(&manifest).await;
    (upstream, palisade)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_off_never_ends_well() {
    let whole = Answer::stream(&[HEAD, MORE, STOP, DONE], Duration::ZERO);
    let closed = Answer::stream(&[HEAD, MORE], Duration::ZERO);
    for route in ["", "filters = [\"guard\"]"] {
        for (cut, answer) in [
            (false, whole.clone()),
            (true, whole.clone().cut_after(2)),
            (true, whole.clone().cut_after(3)),
            (true, closed.clone()),
        ] {
            let (_upstream, palisade) = openai(answer, route).await;
            for (path, body) in [(CHAT, chat("m", "x")), (MESSAGES, messages("m", "x"))] {
                let got = post_json(&palisade.url, path, &streamed(body)).await;
                assert_eq!(got.status, 200, "{}", got.text);
                assert_eq!(got.streamed_text(), "Hello", "{path} {route} {}", got.text);
                assert_eq!(got.whole, !cut, "{path} {route}: {}", got.text);
                let ends_well = got.text.contains("[DONE]") || got.text.contains("message_stop");
                assert_eq!(ends_well, !cut, "{}", got.text);
                assert_eq!(
                    got.text.contains("\"error\""),
                    cut,
                    "{path} {route}: {}",
                    got.text
                );
                let record = palisade.record(got.id()).await.expect("a record");
                let outcome: Value = if cut { "failed" } else { "answered" }.into();
                assert_eq!(record["outcome"], outcome, "{record}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_the_upstream() {
    for route in ["", "filters = [\"guard\"]"] {
        for path in [CHAT, MESSAGES] {
            let mut events = vec![HEAD];
            events.extend([MORE; 100]);
            let (upstream, palisade) =
                openai(Answer::stream(&events, Duration::from_millis(50)), route).await;
            let body = if path == CHAT {
                chat("m", "x")
            } else {
                messages("m", "x")
            };
            let mut response = reqwest::Client::new()
                .post(format!("{}{path}", palisade.url))
                .body(streamed(body).to_string())
                .send()
                .await
                .unwrap();
            let id = response.headers()["palisade-exchange-id"]
                .to_str()
                .unwrap()
                .to_owned();
            response.chunk().await.unwrap();
            drop(response);
            let left = Instant::now();
            while !upstream.requests().iter().any(|request| request.cancelled) {
                assert!(
                    left.elapsed() < Duration::from_secs(1),
                    "{path} {route}: not cancelled"
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let record = palisade.record(&id).await.expect("a record");
            assert_eq!(record["outcome"], "cancelled", "{record}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_head_cancels_too() {
    let answer = Answer {
        pieces: vec![
            (Duration::from_secs(30), Vec::new()),
            (Duration::ZERO, Vec::new()),
        ],
    };
    let (upstream, palisade) = openai(answer, "").await;
    let request = reqwest::Client::builder()
        .timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let failed = request
        .post(format!("{}{CHAT}", palisade.url))
        .body(chat("m", "x").to_string())
        .send()
        .await;
    assert!(failed.unwrap_err().is_timeout());
    let left = Instant::now();
    while !upstream.requests().iter().any(|request| request.cancelled) {
        assert!(left.elapsed() < Duration::from_secs(1), "not cancelled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let records = palisade.records(1).await;
    assert_eq!(records[0]["outcome"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_slow_or_gone_is_told_as_such() {
    let never = Answer {
        pieces: vec![(Duration::from_secs(30), Vec::new())],
    };
    let (_upstream, palisade) = openai(never, "first-byte-timeout = \"200ms\"").await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 504, "{}", got.text);

    let silent = Answer::stream(&[HEAD, MORE], Duration::from_secs(2));
    let (_upstream, palisade) = openai(silent, "idle-timeout = \"300ms\"").await;
    let got = post_json(&palisade.url, CHAT, &streamed(chat("m", "x"))).await;
    assert!(
        !got.whole && got.text.contains("was silent"),
        "{}",
        got.text
    );

    let (upstream, palisade) = openai(Answer::whole("200 OK", "application/json", "{}"), "").await;
    let gone = upstream.url.clone();
    let manifest = std::fs::read_to_string(palisade.path("proxy.toml")).unwrap();
    let palisade = Palisade::start(&manifest.replace(&gone, "http://127.0.0.1:1")).await;
    let got = post_json(&palisade.url, MESSAGES, &messages("m", "x")).await;
    assert_eq!(got.status, 502, "{}", got.text);
    assert_eq!(got.json()["type"], "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_full_says_so() {
    let answer = Answer::stream(&[HEAD, MORE, STOP, DONE], Duration::from_millis(200));
    let upstream = Capture::start(answer).await;
    let manifest = format!(
        "[server]\nmax-exchanges = 1\n[plugins.openai]\nsource = \"builtin:provider-openai\"\n\
         upstream = \"{}/v1\"\n[[routes]]\nname = \"all\"\nprovider = \"openai\"",
        upstream.url
    );
    let palisade = Palisade::start(&manifest).await;
    let held = reqwest::Client::new()
        .post(format!("{}{CHAT}", palisade.url))
        .body(streamed(chat("m", "x")).to_string())
        .send()
        .await
        .unwrap();
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 503, "{}", got.text);
    assert_eq!(got.header("retry-after"), "1");
    // The place is free again when the body of the first has ended.
    assert!(held.text().await.unwrap().contains("[DONE]"));
    let got = send(
        reqwest::Client::new()
            .post(format!("{}{CHAT}", palisade.url))
            .body(streamed(chat("m", "x")).to_string()),
    )
    .await;
    assert_eq!(got.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_bodies_and_takes_nothing_new() {
    let answer = Answer::stream(&[HEAD, MORE, STOP, DONE], Duration::from_millis(200));
    let (_upstream, palisade) = openai(answer, "").await;
    let url = palisade.url.clone();
    let response = reqwest::Client::new()
        .post(format!("{url}{CHAT}"))
        .body(streamed(chat("m", "x")).to_string())
        .send()
        .await
        .unwrap();
    let stopping = tokio::spawn(palisade.stop());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        reqwest::get(&url).await.is_err(),
        "no new connection is taken"
    );
    assert!(
        response.text().await.unwrap().contains("[DONE]"),
        "the stream ends whole"
    );
    let drained = stopping.await.unwrap();
    assert_eq!(drained, palisade::server::Drained::All);
}

/// What was cut off in the middle of an event is not passed on: what is said
/// in band after it could not be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_off_within_an_event_can_still_be_read() {
    let half = &MORE[..40];
    let (_upstream, palisade) = openai(Answer::stream(&[HEAD, half], Duration::ZERO), "").await;
    let got = post_json(&palisade.url, CHAT, &streamed(chat("m", "x"))).await;
    assert!(!got.whole);
    let events = got.events();
    assert_eq!(events.len(), 2, "{}", got.text);
    for event in events {
        let parsed: Value = serde_json::from_str(&event).expect("every event is JSON");
        assert!(
            parsed["error"].is_object() || parsed["choices"].is_array(),
            "{event}"
        );
    }
}

/// How the network cuts a stream does not matter: what was said before an
/// error reaches the client, though all of it comes at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_precedes_an_error_is_not_lost() {
    const ERROR: &str = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":null}}\n\n";
    let all = [HEAD, MORE, ERROR].concat();
    let upstream = Capture::start(Answer::stream(&[&all], Duration::ZERO)).await;
    let manifest = format!(
        r#"
        [plugins.openai]
        source = "builtin:provider-openai"
        upstream = "{}"
        config = {{ normalise = true }}
        [[routes]]
        name = "all"
        provider = "openai"
        "#,
        upstream.url
    );
    let palisade = Palisade::start(&manifest).await;
    for (path, body) in [(CHAT, chat("m", "x")), (MESSAGES, messages("m", "x"))] {
        let got = post_json(&palisade.url, path, &streamed(body)).await;
        assert_eq!(
            (got.status, got.streamed_text().as_str()),
            (200, "Hello"),
            "{}",
            got.text
        );
        assert!(
            got.text.contains("overloaded") && !got.whole,
            "{}",
            got.text
        );
    }
}
