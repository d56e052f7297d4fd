//! Plugins that misuse what they are given: edits that no host may take,
//! floods of output, text that is none. (Those that break are in `faults`,
//! those that want too much in `limits`.)

use palisade_tests::{Answer, Capture, Palisade, guest};

use crate::client::{CHAT, Got, chat, post_json, streamed};
use crate::log;

const REPLY: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// What a request comes to whose filter commits a fault, and what its provider
/// and its record saw of it.
async fn misused(fault: &str, more: &str, lines: &str) -> (Got, Vec<String>, serde_json::Value) {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", REPLY)).await;
    let manifest = format!(
        r#"
        [plugins.{fault}]
        source = "{}"
        config = {{ fault = "{fault}" {more} }}
        grants = ["clocks", "random"]
        instances = "fresh"
        {lines}
        [plugins.openai]
        source = "builtin:provider-openai"
        upstream = "{}"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        filters = ["{fault}"]
        provider = "openai"
        loggers = ["log"]
        "#,
        guest("misbehaving").display(),
        upstream.url
    );
    let palisade = Palisade::start(&manifest).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    let record = palisade.record(got.id()).await.expect("a record");
    let seen = upstream.requests().into_iter().map(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        format!("{}\r\n\r\n{body}", request.head)
    });
    (got, seen.collect(), record)
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_that_no_host_may_take_are_refused_one_by_one() {
    for (fault, refused) in [
        ("forged-header", 16),
        ("invalid-json-edit", 8),
        ("invalid-pointer-edit", 7),
    ] {
        let (got, seen, record) = misused(fault, "", "").await;
        assert_eq!(got.status, 200, "{fault}: {}", got.text);
        let told = record["notes"]["misbehaving"].as_str().unwrap_or_default();
        assert_eq!(told.lines().count(), refused, "{fault}: {told}");
        let sent = seen.first().expect("a request to the provider");
        assert!(!sent.to_lowercase().contains("forged"), "{sent}");
        assert!(sent.ends_with(&chat("m", "x").to_string()), "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_costs_its_exchange_and_reaches_nobody() {
    for (fault, says) in [("invalid-body-edit", "failed"), ("invalid-text", "trapped")] {
        let (got, seen, record) = misused(fault, "", "").await;
        assert_eq!(got.status, 500, "{fault}: {}", got.text);
        let message = format!("plugin \"{fault}\" (request-filter): {says}");
        assert_eq!(got.json()["error"]["message"], message, "{fault}");
        assert!(seen.is_empty(), "{fault}: {seen:?}");
        assert_eq!(record["outcome"], "failed");
        // If the operator says so, it is as if the plugin were not there.
        let (got, seen, _) = misused(fault, "", "on-failure = \"bypass\"").await;
        assert_eq!(got.status, 200, "{fault}: {}", got.text);
        assert!(seen[0].ends_with(&chat("m", "x").to_string()), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_output_are_cut_and_told() {
    log::listen();
    for fault in ["log-flood", "output-flood"] {
        let limits = "limits = { log = 20, time = \"20s\", cpu = \"20s\" }";
        let (got, ..) = misused(fault, ", amount = 1_048_576", limits).await;
        assert_eq!(got.status, 200, "{fault}: {}", got.text);
        let told = log::logged(&[fault, "limit of 20 lines was reached"]).await;
        assert!(told, "{fault}");
    }
}

/// Edits of a call that fails are as if they had not been made.
#[tokio::test(flavor = "multi_thread")]
async fn edits_of_a_call_that_fails_reach_nobody() {
    for (fault, says) in [
        ("edit-then-error", "reported a problem"),
        ("edit-then-trap", "trapped"),
    ] {
        let (got, seen, _) = misused(fault, "", "").await;
        let message = format!("plugin \"{fault}\" (request-filter): {says}");
        assert_eq!(got.status, 500, "{fault}: {}", got.text);
        assert_eq!(got.json()["error"]["message"], message, "{fault}");
        assert!(seen.is_empty(), "{fault}: {seen:?}");
        let (got, seen, record) = misused(fault, "", "on-failure = \"bypass\"").await;
        assert_eq!(got.status, 200, "{fault}: {}", got.text);
        assert!(seen[0].ends_with(&chat("m", "x").to_string()), "{seen:?}");
        assert!(record["notes"]["misbehaving"].is_null(), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_tells_as_much_as_anyone_reads() {
    let (got, seen, record) = misused("huge-denial", ", amount = 1_048_576", "").await;
    assert_eq!(got.status, 403, "{:.200}", got.text);
    assert!(got.text.len() < 16 << 10, "{} bytes", got.text.len());
    assert!(record.to_string().len() < 16 << 10);
    assert!(seen.is_empty());
}

/// After a filter has ended an answer, nothing that it says counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_has_stopped_an_answer_is_not_heard_again() {
    let stops = ", at = \"session-push\"";
    let (got, ..) = misused("events-after-stop", stops, "").await;
    assert_eq!(got.status, 403, "{}", got.text);
    assert!(!got.text.contains("after the stop"), "{}", got.text);
}

/// What a request comes to whose adapter commits a fault as it decodes.
async fn decoded(fault: &str, at: &str) -> Got {
    let frames = ["data: one\n\n", "data: two\n\n"];
    let answer = Answer::stream(&frames, std::time::Duration::ZERO);
    let upstream = Capture::start(answer).await;
    let manifest = format!(
        r#"
        [plugins.bad]
        source = "{}"
        upstream = "{}"
        config = {{ fault = "{fault}", at = "{at}" }}
        grants = ["clocks", "random"]
        instances = "fresh"
        [[routes]]
        name = "all"
        provider = "bad"
        "#,
        guest("misbehaving").display(),
        upstream.url
    );
    let palisade = Palisade::start(&manifest).await;
    let body = streamed(chat("m", "x"));
    post_json(&palisade.url, CHAT, &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_decoder_may_not_say_is_not_said() {
    let got = decoded("wrong-frame-count", "decoder-push").await;
    assert!(
        got.text.contains("plugin \\\"bad\\\" (provider)"),
        "{}",
        got.text
    );
    assert!(!got.text.contains("one"), "{}", got.text);

    for at in ["decoder-push", "decoder-finish"] {
        let got = decoded("double-finish", at).await;
        let reasons = got.text.matches("\"finish_reason\":\"stop\"").count();
        assert_eq!((got.status, reasons), (200, 1), "{at}: {}", got.text);
    }

    let got = decoded("events-after-stop", "decoder-push").await;
    assert!(got.text.contains("\"error\""), "{}", got.text);
    assert!(!got.text.contains("after the error"), "{}", got.text);
    assert!(
        !got.text.contains("\"finish_reason\":\"stop\""),
        "{}",
        got.text
    );
}
