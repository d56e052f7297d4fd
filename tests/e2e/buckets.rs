//! State that plugins keep: what a bucket remembers, for whom, and how much.

use palisade_tests::Palisade;
use serde_json::{Value, json};

use crate::client::{CHAT, chat, post_json};
use crate::grants::{note, with};

/// What the steps of one exchange came to.
async fn kept(palisade: &Palisade) -> Value {
    note(palisade, "steps").await
}

const GRANTED: &str = "grants = [\"keyvalue:mine\"]";

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_outlives_an_exchange_and_a_reload() {
    let steps = json!({ "steps": [
        { "bucket": "mine", "increment": ["n", 2] },
        { "bucket": "mine", "get": "n" },
        { "bucket": "mine", "swap": { "key": "s", "value": "new", "disturbed": true } },
        { "bucket": "mine", "exists": "s" },
        { "bucket": "mine", "list": {} },
        { "bucket": "mine", "delete": "s" },
        { "bucket": "mine", "get": "s" },
        { "bucket": "other", "get": "n" },
    ] });
    let palisade = with("keeper", steps, GRANTED).await;
    let expected = |n: i64| {
        json!([n, n.to_string(), { "tries": 2, "before": "disturbed" }, true,
            { "keys": ["n", "s"], "cursor": null }, null, null, { "error": "Error::AccessDenied" }])
    };
    assert_eq!(kept(&palisade).await, expected(2));
    assert_eq!(kept(&palisade).await, expected(4));
    let file = palisade.path("proxy.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.replace(
        GRANTED,
        "grants = [\"keyvalue:mine\"]\nlimits = { time = \"2s\" }",
    );
    std::fs::write(&file, changed).unwrap();
    assert!(palisade.reloaded(1).await);
    assert_eq!(kept(&palisade).await, expected(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_has_written_what_it_wrote() {
    let steps = json!([{ "bucket": "mine", "increment": ["n", 1] }]);
    let config = json!({ "steps": steps, "then-trap": true });
    let palisade = with("keeper", config, GRANTED).await;
    for _ in 0..3 {
        let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
        assert_eq!(got.status, 500);
    }
    let file = palisade.path("proxy.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let calm = text.replace("then-trap = true", "then-trap = false");
    std::fs::write(&file, calm).unwrap();
    assert!(palisade.reloaded(1).await);
    assert_eq!(kept(&palisade).await[0], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_of_a_bucket_obeyed_and_violated() {
    let steps = json!({ "steps": [
        { "bucket": "mine", "set-bytes": ["v", 65536] },
        { "bucket": "mine", "set-bytes": ["v", 65537] },
        { "bucket": "mine", "set": ["k".repeat(512), "v"] },
        { "bucket": "mine", "set": ["k".repeat(513), "v"] },
        { "bucket": "mine", "increment": ["v", 1] },
        { "bucket": "mine", "list": { "cursor": "x" } },
    ] });
    let palisade = with("keeper", steps, GRANTED).await;
    let other = |text: &str| json!({ "error": format!("Error::Other({text:?})") });
    let expected = json!([
        null,
        other("a value has at most 64 KiB"),
        null,
        other("a key has 1 to 512 bytes"),
        other("the value is not a decimal number"),
        other("the cursor is none that a list gave"),
    ]);
    assert_eq!(kept(&palisade).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_increment_of_many_exchanges_is_lost() {
    let config = json!({ "steps": [{ "bucket": "mine", "increment": ["n", 1] }] });
    let palisade = with("keeper", config, GRANTED).await;
    let body = chat("m", "x");
    let all = (0..50).map(|_| post_json(&palisade.url, CHAT, &body));
    for got in futures_util::future::join_all(all).await {
        assert_eq!(got.status, 200);
    }
    assert_eq!(kept(&palisade).await[0], 51);
}

/// A plugin is tried before it serves; what it does then is not done.
#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_leaves_nothing_in_a_bucket() {
    let steps = json!([{ "bucket": "mine", "increment": ["n", 1] }]);
    let config = json!({ "steps": steps, "while-configured": true });
    for (instances, first, second) in [("snapshot", 1, 2), ("fresh", 2, 4)] {
        let lines = format!("{GRANTED}\ninstances = \"{instances}\"");
        let palisade = with("keeper", config.clone(), &lines).await;
        assert_eq!(kept(&palisade).await[0], first, "{instances}");
        assert_eq!(kept(&palisade).await[0], second, "{instances}");
    }
}
