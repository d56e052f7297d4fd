//! Instances that wait for another exchange of their plugin: put back to how
//! they began, or used again; and whom they make room for.

use std::time::Duration;

use palisade_tests::{Answer, Capture, Palisade, guest};

use crate::client::{CHAT, chat, post_json, streamed};
use crate::instances::{HEAD, behind};
use crate::reload::until;

/// How many instances of a plugin were made.
fn made(palisade: &Palisade, name: &str) -> u64 {
    let live = palisade.live();
    let plugin = live.plugins.iter().find(|plugin| plugin.name == name);
    plugin.expect("the plugin").health().counts().instances
}

/// An instance that began from a snapshot is put back to it, and serves another
/// exchange; that one finds nothing of the last (`guests::memory_reader`). One
/// that cannot be put back is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_put_back_if_it_can_be() {
    let granted = "grants = [\"clocks\", \"random\"]";
    // Of what is the text, and of how much?
    let cases = [
        ("memory-reader", "", 'x', 10, true),
        ("memory-reader", "instances = \"fresh\"", 'x', 10, false),
        ("memory-reader", "", 'x', 1 << 20, false),
        ("memory-reader", "", '!', 10, true),
        // More handles than are looked for.
        ("memory-reader", "", '!', 100, false),
        ("guard", "config = { redact = [\"secret\"] }", 'x', 10, true),
        ("spy", "", 'x', 10, false),
        ("misbehaving", granted, 'x', 10, false),
    ];
    for (name, lines, letter, length, put_back) in cases {
        let palisade = behind(name, lines).await;
        // What was told of the first twenty has to serve for the others.
        for number in 0..40 {
            let text = String::from(letter).repeat(length + number % 20);
            let got = post_json(&palisade.url, CHAT, &chat("m", &text)).await;
            assert_eq!(got.status, 200, "{name} {lines}: {}", got.text);
        }
        let made = made(&palisade, "it");
        assert_eq!(
            made < 40,
            put_back,
            "{name} {lines} {length} {letter}: {made} were made"
        );
    }
}

/// A logger that gives the host's output back after each batch is put back too,
/// however many records there are in one, and with the least memory that a
/// plugin can be given.
#[tokio::test(flavor = "multi_thread")]
async fn a_logger_is_put_back_after_each_batch() {
    let manifest = r#"
        [plugins.echo]
        source = "builtin:provider-echo"
        [plugins.logger]
        source = "builtin:logger"
        output = "log.jsonl"
        limits = { memory = "1MiB" }
        [[routes]]
        name = "all"
        provider = "echo"
        loggers = ["logger"]
        "#;
    // Of its own, so that nobody else's instance asks for the place.
    let palisade = Palisade::with_instances(manifest, 1024).await;
    let mut sent = 0;
    for batch in [1, 2, 300, 1, 40] {
        let body = chat("m", "x");
        let asked = (0..batch).map(|_| post_json(&palisade.url, CHAT, &body));
        futures_util::future::join_all(asked).await;
        sent += batch;
        let records = palisade.records(sent).await;
        let mut ids: Vec<_> = records
            .iter()
            .map(|record| &record["exchange_id"])
            .collect();
        ids.sort_by_key(|id| id.as_str());
        ids.dedup();
        assert_eq!(ids.len(), sent, "each exchange has its own record");
    }
    assert_eq!(made(&palisade, "logger"), 1);
}

/// What waits for exchanges of a generation that is replaced has no place in
/// the pool any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_generation_keeps_no_idle_instance() {
    let manifest = |edits: u32| {
        format!(
            r#"
            [plugins.it]
            source = "{}"
            instances = {{ reuse = 100 }}
            limits = {{ edits = {edits} }}
            [plugins.echo]
            source = "builtin:provider-echo"
            [[routes]]
            name = "all"
            filters = ["it"]
            provider = "echo"
            "#,
            guest("memory-reader").display()
        )
    };
    let palisade = Palisade::with_instances(&manifest(1), 4).await;
    for edits in 2..9 {
        let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let before = palisade.generation();
        std::fs::write(palisade.path("proxy.toml"), manifest(edits)).expect("a manifest");
        assert!(
            palisade.reloaded(before).await,
            "there is room to load {edits}"
        );
    }
}

/// An exchange of a generation that is replaced gives its instance back to
/// nobody: the place to wait is for those that go on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_replaced_generation_gives_back_does_not_wait() {
    let mut answer = Answer::stream(&[HEAD, HEAD], Duration::ZERO);
    answer.pieces[2].0 = Duration::from_secs(600);
    let upstream = Capture::start(answer).await;
    let manifest = |edits: u32| {
        format!(
            r#"
            [plugins.guard]
            source = "{}"
            limits = {{ edits = {edits} }}
            [plugins.openai]
            source = "builtin:provider-openai"
            upstream = "{}"
            [plugins.echo]
            source = "builtin:provider-echo"
            instances = "fresh"
            [[routes]]
            name = "long"
            match = {{ model = "long" }}
            filters = ["guard"]
            provider = "openai"
            [[routes]]
            name = "short"
            filters = ["guard"]
            provider = "echo"
            "#,
            guest("guard").display(),
            upstream.url
        )
    };
    // Two of sixteen may wait: the adapter's, which goes on, and another.
    let palisade = Palisade::with_instances(&manifest(1), 16).await;
    let body = streamed(chat("long", "x")).to_string();
    let asking = reqwest::Client::new().post(format!("{}{CHAT}", palisade.url));
    let stream = asking.body(body).send().await.expect("the head");
    assert_eq!(stream.status(), 200);
    std::fs::write(palisade.path("proxy.toml"), manifest(2)).expect("a manifest");
    assert!(palisade.reloaded(1).await);
    drop(stream);
    until("the stream is over", || palisade.gateway().draining() == 0).await;
    for _ in 0..20 {
        let got = post_json(&palisade.url, CHAT, &chat("short", "x")).await;
        assert_eq!(got.status, 200, "{}", got.text);
    }
    let made = made(&palisade, "guard");
    assert!(made < 20, "{made} were made");
}

/// Instances that wait give way to calls of other plugins.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_makes_room_for_calls() {
    let plugin = |name: &str| {
        format!(
            "[plugins.{name}]\nsource = \"builtin:security-filter\"\n\
             instances = {{ reuse = 100 }}\n"
        )
    };
    let route = |name: &str, filters: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\nmatch = {{ model = \"{name}\" }}\n\
             filters = [{filters}]\nprovider = \"echo\"\n"
        )
    };
    // One by one, since each needs a place to be loaded in.
    let begin = [
        "[plugins.echo]\nsource = \"builtin:provider-echo\"\n".to_owned(),
        ["one", "two", "three"].map(plugin).concat(),
        route("full", "\"one\", \"two\", \"three\""),
    ];
    let palisade = Palisade::with_instances(&begin.concat(), 4).await;
    let more = [begin.concat(), plugin("four"), route("other", "\"four\"")];
    std::fs::write(palisade.path("proxy.toml"), more.concat()).expect("a manifest");
    assert!(palisade.reloaded(1).await);
    for model in ["full", "other", "full", "other"] {
        let got = post_json(&palisade.url, CHAT, &chat(model, "x")).await;
        assert_eq!(got.status, 200, "{model}: {}", got.text);
    }
}
