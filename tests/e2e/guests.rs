//! Each guest does what it is for: a guest without a test of its name does not
//! compile.

use palisade_tests::{Palisade, foreign_guest, guest};
use serde_json::json;

use crate::client::{CHAT, MESSAGES, chat, messages, post_json, streamed};

macro_rules! tested {
    ($name:ident) => {
        #[allow(unused_imports, reason = "it only has to be there")]
        use self::$name as _;
    };
}
palisade_tests::foreach_guest!(tested);

async fn with(name: &str, config: &str) -> Palisade {
    let file = guest(name);
    Palisade::start(&manifest(&file.display().to_string(), config)).await
}

fn manifest(source: &str, config: &str) -> String {
    format!(
        r#"
        [plugins.guest]
        source = "{source}"
        {config}
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
        "#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn answering_filter() {
    let config = "config = { events = [{ text = { text = \"from the filter\" } }, { finish = { reason = \"stop\" } }] }";
    let palisade = with("answering-filter", config).await;
    for (path, body) in [(CHAT, chat("m", "x")), (MESSAGES, messages("m", "x"))] {
        let got = post_json(&palisade.url, path, &streamed(body.clone())).await;
        assert_eq!(got.streamed_text(), "from the filter", "{}", got.text);
        let got = post_json(&palisade.url, path, &body).await;
        assert!(got.text.contains("from the filter"), "{}", got.text);
        let record = palisade.record(got.id()).await.expect("a record");
        assert_eq!(record["notes"]["answered-by"], "guest");
    }
    let got = post_json(
        &palisade.url,
        "/v1/embeddings",
        &json!({ "model": "m", "input": "x" }),
    )
    .await;
    assert_eq!(got.status, 500, "{}", got.text);
}

/// What it can be granted is tested in `grants`.
#[tokio::test(flavor = "multi_thread")]
async fn caller() {
    let palisade = with("caller", "grants = [\"http:api.example\"]").await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200, "{}", got.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeper() {
    let palisade = with("keeper", "grants = [\"keyvalue:a\"]").await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200, "{}", got.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn editor() {
    let config = r#"config = { steps = [
        { set-header = { name = "Authorization", value = "x" } }, { set-header = { name = "x-a", value = "b" } },
        { header = "x-a" }, { set = { pointer = "nope", json = "1" } }, { set = { pointer = "/model", json = "{" } },
        { note = { key = "k", value = "v" } }, { report-dropped = "/seed" }, { max-output-tokens = [] }, { set-max-output-tokens = 7 }, { get = "/max_tokens" },
    ] }"#;
    let config = config.replace("{ max-output-tokens = [] }, ", "");
    let palisade = with("editor", &config).await;
    let got = post_json(&palisade.url, MESSAGES, &messages("m", "x")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(got.header("palisade-dropped"), "/seed");
    let record = palisade.record(got.id()).await.expect("a record");
    assert_eq!(record["notes"]["k"], "v");
    let outcomes: serde_json::Value =
        serde_json::from_str(record["notes"]["editor"].as_str().unwrap()).unwrap();
    assert!(
        outcomes[0]["error"]
            .as_str()
            .unwrap()
            .contains("belongs to the host"),
        "{outcomes}"
    );
    assert!(
        outcomes[3]["error"].as_str().unwrap().contains("RFC 6901"),
        "{outcomes}"
    );
    assert!(
        outcomes[4]["error"].as_str().unwrap().contains("not JSON"),
        "{outcomes}"
    );
    assert_eq!(outcomes[8], "7", "{outcomes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_reader() {
    let palisade = with("memory-reader", "").await;
    for i in 0..20 {
        let got = post_json(&palisade.url, CHAT, &chat("m", &format!("secret {i}"))).await;
        assert_eq!(
            got.status, 200,
            "what one exchange left, the next one must not read: {}",
            got.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn misbehaving() {
    let palisade = with("misbehaving", "grants = [\"clocks\", \"random\"]").await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "behaves")).await;
    assert_eq!(
        got.status, 200,
        "without a fault it does nothing: {}",
        got.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guard() {
    let palisade = with("guard", "config = { redact = [\"x\"] }").await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "axb")).await;
    assert!(got.text.contains("a[redacted]b"), "{}", got.text);
}

/// What it may not find out is tested in `canary`.
#[tokio::test(flavor = "multi_thread")]
async fn spy() {
    let palisade = with("spy", "").await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200, "{}", got.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn relaxed_simd() {
    let palisade = with("relaxed-simd", "").await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let record = palisade.record(got.id()).await.expect("a record");
    assert_eq!(record["notes"]["reversed"], ".si-ti-sdrawkcab");
}

async fn refused(name: &str) -> String {
    let file = guest(name).display().to_string();
    let problems = Palisade::problems(&manifest(&file, ""), &[]).await;
    problems.expect("it is refused").to_string()
}

#[tokio::test]
async fn future_version() {
    assert!(
        refused("future-version")
            .await
            .contains("palisade:plugin@0.9.0")
    );
}

#[tokio::test]
async fn start_trap() {
    assert!(refused("start-trap").await.contains("it trapped"));
}

#[tokio::test]
async fn ungranted_import() {
    assert!(refused("ungranted-import").await.contains("wasi:sockets"));
}

#[tokio::test]
async fn wrong_type() {
    let said = refused("wrong-type").await;
    assert!(said.contains("does not fit the contract"), "{said}");
}

#[tokio::test]
async fn wrong_world() {
    assert!(refused("wrong-world").await.contains("none of the stages"));
}

/// The contract works in other languages' tools: the same filter in each.
#[tokio::test(flavor = "multi_thread")]
async fn guests_in_other_languages() {
    for language in ["python", "javascript", "c"] {
        let Some(file) = foreign_guest(language) else {
            println!("not run: the guest in {language} is not built (tests/guests/build-foreign)");
            continue;
        };
        let config = "grants = [\"clocks\", \"random\"]\nlimits = { time = \"30s\", memory = \"512MiB\" }\n\
                      config = { word = \"You said\", stop = \"the end\" }";
        let palisade = Palisade::start(&manifest(&file.display().to_string(), config)).await;
        let got = post_json(&palisade.url, CHAT, &chat("m", "what You said")).await;
        assert_eq!(got.status, 403, "{language}: {}", got.text);
        assert_eq!(got.json()["error"]["code"], "word.forbidden", "{language}");
        let got = post_json(
            &palisade.url,
            MESSAGES,
            &streamed(messages("m", "hello you")),
        )
        .await;
        assert_eq!(
            got.streamed_text(),
            "[redacted]: hello you",
            "{language}: {}",
            got.text
        );
        let record = palisade.record(got.id()).await.expect("a record");
        assert_eq!(record["notes"]["guest"], language);
        let got = post_json(&palisade.url, CHAT, &chat("m", "now the end of it")).await;
        assert_eq!(got.status, 403, "{language}: {}", got.text);
    }
}
