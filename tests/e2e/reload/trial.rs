//! Generations that are taken back by themselves.

use std::fs;
use std::time::Duration;

use palisade::generation::Cause;
use palisade::manifest::Step;
use palisade_tests::{Palisade, guest};

use crate::client::{CHAT, chat, post_json};

fn manifest(rollback: &str, guard: &str) -> String {
    format!(
        r#"
        [server]
        settle = "20ms"
        [reload]
        auto-rollback = "{rollback}"
        [plugins.echo]
        source = "builtin:provider-echo"
        [plugins.guard]
        source = "{}"
        grants = ["clocks", "random"]
        config = {{ {guard} }}
        [[routes]]
        name = "all"
        provider = "echo"
        filters = ["guard"]
        "#,
        guest("misbehaving").display()
    )
}

const PANIC: &str = "fault = \"panic\", at = \"check\"";

async fn status(palisade: &Palisade) -> u16 {
    post_json(&palisade.url, CHAT, &chat("m", "ping"))
        .await
        .status
}

async fn replace(palisade: &Palisade, manifest: &str) {
    let live = palisade.generation();
    fs::write(palisade.path("proxy.toml"), manifest).unwrap();
    assert!(palisade.reloaded(live).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plugin_that_traps_takes_its_generation_back() {
    let palisade = Palisade::start(&manifest("60s", "")).await;
    assert_eq!(status(&palisade).await, 200);
    replace(&palisade, &manifest("60s", PANIC)).await;
    assert_eq!(palisade.generation(), 2);
    assert_eq!(status(&palisade).await, 500);
    assert!(palisade.reloaded(2).await, "it comes back by itself");
    assert_eq!((palisade.generation(), status(&palisade).await), (1, 200));
    let (live, _) = palisade.gateway().history();
    let plugin = "guard".to_owned();
    assert_eq!(
        live.cause,
        Cause::AutoRollback {
            generation: 2,
            plugin
        }
    );
    let back = palisade.control().told().taken_back.unwrap();
    assert_eq!((back.generation, back.reason.as_str()), (2, "trapped"));

    // Not when it is looked at, and not when someone asks.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(palisade.generation(), 1);
    let refused = palisade
        .control()
        .reload("a test")
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.step(), Step::Swap);
    assert!(refused.lines[0].contains("these files were generation 2, which was taken back: plugin \"guard\" trapped (change them, or bring it back: `palisade rollback 2`)"), "{refused:?}");
    assert_eq!(palisade.generation(), 1);
    // But when they change.
    replace(
        &palisade,
        &manifest("60s", "fault = \"panic\", at = \"rewrite\""),
    )
    .await;
    assert_eq!((palisade.generation(), status(&palisade).await), (3, 200));
    assert!(palisade.control().told().taken_back.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_new_takes_nothing_back() {
    let palisade = Palisade::start(&manifest("60s", PANIC)).await;
    let other = manifest("60s", PANIC).replace("name = \"all\"", "name = \"other\"");
    replace(&palisade, &other).await;
    assert_eq!(status(&palisade).await, 500);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(palisade.generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_and_by_default_nothing_is_taken_back() {
    let first = manifest("1s", "");
    let palisade = Palisade::start(&first).await;
    replace(&palisade, &manifest("1s", PANIC)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(status(&palisade).await, 500);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(palisade.generation(), 2);
    replace(&palisade, &manifest("off", "")).await;
    replace(&palisade, &manifest("off", PANIC)).await;
    assert_eq!(status(&palisade).await, 500);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(palisade.generation(), 4);
}
