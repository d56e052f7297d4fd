//! Replacing plugins while exchanges are under way.

mod files;
mod generations;
mod killed;
mod soak;
mod trial;

use std::path::Path;
use std::time::Duration;

use palisade_tests::{Answer, Capture, Palisade, guest};

use crate::client::{CHAT, chat, post_json, streamed};

fn chunk(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

const STOP: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// A first-party plugin's component, in a file.
fn builtin(directory: &Path, name: &str) -> std::path::PathBuf {
    let file = directory.join(format!("{name}.wasm"));
    std::fs::write(&file, palisade::builtin::component(name).unwrap()).unwrap();
    file
}

/// A gateway whose adapter is the file `adapter.wasm` beside its manifest.
async fn swappable(upstream: &str, filters: &str) -> (Palisade, tempfile::TempDir) {
    let plugins = tempfile::tempdir().unwrap();
    let manifest = format!(
        r#"
        [server]
        settle = "50ms"
        [plugins.adapter]
        source = "adapter.wasm"
        upstream = "{upstream}/v1"
        [plugins.guard]
        source = "{}"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        provider = "adapter"
        loggers = ["log"]
        {filters}
        "#,
        guest("guard").display()
    );
    let openai = builtin(plugins.path(), "provider-openai");
    builtin(plugins.path(), "provider-echo");
    (
        Palisade::with_files(&manifest, &[("adapter.wasm", openai)]).await,
        plugins,
    )
}

async fn answer_of(palisade: &Palisade) -> String {
    let got = post_json(&palisade.url, CHAT, &chat("m", "ping")).await;
    got.json()["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or(&got.text)
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_streams_survive_the_swap_of_their_adapter() {
    // Compiling what comes must not take longer than the streams.
    let echo = "[plugins.adapter]\nsource = \"builtin:provider-echo\"\n[[routes]]\nname = \"all\"\nprovider = \"adapter\"\n";
    Palisade::generation_of(echo).await.unwrap();
    for filters in ["", "filters = [\"guard\"]"] {
        let pieces: Vec<String> = (0..20).map(|i| chunk(&format!("{i} "))).collect();
        let mut events: Vec<&str> = pieces.iter().map(String::as_str).collect();
        events.extend([STOP, "data: [DONE]\n\n"]);
        let upstream = Capture::start(Answer::stream(&events, Duration::from_millis(100))).await;
        let (palisade, plugins) = swappable(&upstream.url, filters).await;
        let streams: Vec<_> = (0..50)
            .map(|_| {
                let url = palisade.url.clone();
                tokio::spawn(async move { post_json(&url, CHAT, &streamed(chat("m", "x"))).await })
            })
            .collect();
        while upstream.requests().len() < 50 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let live = palisade.generation();
        std::fs::copy(
            plugins.path().join("provider-echo.wasm"),
            palisade.path("adapter.wasm"),
        )
        .unwrap();
        assert!(palisade.reloaded(live).await, "the new adapter is live");
        assert_eq!(
            answer_of(&palisade).await,
            "You said: ping",
            "for the next exchange"
        );
        assert!(
            streams.iter().any(|stream| !stream.is_finished()),
            "while streams were running"
        );
        let expected: String = (0..20).map(|i| format!("{i} ")).collect();
        for stream in streams {
            let got = stream.await.unwrap();
            assert!(
                got.whole && got.text.ends_with("data: [DONE]\n\n"),
                "{}",
                got.text
            );
            assert_eq!(got.streamed_text(), expected);
        }
        assert_eq!(upstream.requests().len(), 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_changes_nothing() {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", "{}")).await;
    let (palisade, plugins) = swappable(&upstream.url, "").await;
    let live = palisade.generation();
    std::fs::copy(
        plugins.path().join("provider-echo.wasm"),
        palisade.path("adapter.wasm"),
    )
    .unwrap();
    assert!(palisade.reloaded(live).await);
    assert_eq!(answer_of(&palisade).await, "You said: ping");

    let whole = std::fs::read(plugins.path().join("provider-openai.wasm")).unwrap();
    let broken: Vec<(&str, Vec<u8>)> = vec![
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("no component", b"not a component".to_vec()),
        ("wrong world", std::fs::read(guest("wrong-world")).unwrap()),
        (
            "wrong stage",
            palisade::builtin::component("logger").unwrap().to_vec(),
        ),
        ("start trap", std::fs::read(guest("start-trap")).unwrap()),
        (
            "ungranted import",
            std::fs::read(guest("ungranted-import")).unwrap(),
        ),
        (
            "future version",
            std::fs::read(guest("future-version")).unwrap(),
        ),
    ];
    let live = palisade.generation();
    for (what, bytes) in broken {
        std::fs::write(palisade.path("adapter.wasm"), bytes).unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(palisade.generation(), live, "{what}");
        assert_eq!(answer_of(&palisade).await, "You said: ping", "{what}");
    }
    std::fs::remove_file(palisade.path("adapter.wasm")).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(palisade.generation(), live, "a file that is gone");
    std::fs::write(palisade.path("proxy.toml"), "[server]\nlsiten = 1").unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(
        (palisade.generation(), answer_of(&palisade).await.as_str()),
        (live, "You said: ping")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_is_reloaded_too_and_records_go_on() {
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", "{}")).await;
    let (palisade, plugins) = swappable(&upstream.url, "").await;
    let live = palisade.generation();
    let manifest = std::fs::read_to_string(palisade.path("proxy.toml")).unwrap();
    let echo = plugins.path().join("provider-echo.wasm");
    let edited = manifest.replace("\"adapter.wasm\"", &format!("\"{}\"", echo.display()));
    // As editors save: beside, then over it.
    std::fs::write(palisade.path("proxy.toml.new"), edited).unwrap();
    std::fs::rename(palisade.path("proxy.toml.new"), palisade.path("proxy.toml")).unwrap();
    assert!(palisade.reloaded(live).await);
    assert_eq!(answer_of(&palisade).await, "You said: ping");
    assert_eq!(
        palisade.records(1).await.len(),
        1,
        "the logger was carried over"
    );
}

pub async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}");
}
