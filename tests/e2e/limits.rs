//! Every limit of a plugin twice: what stays within it passes, and what goes
//! beyond costs its exchange a sentence that names the limit.

use std::path::Path;

use palisade_tests::{Palisade, foreign_guest, guest};

use crate::client::{CHAT, chat, post_json};

/// A gateway whose filter does as `config` says, within `limits`.
async fn limited(name: &str, config: &str, limits: &str) -> Palisade {
    Palisade::start(&manifest(name, config, limits)).await
}

fn manifest(name: &str, config: &str, limits: &str) -> String {
    manifest_of(&guest(name), config, limits)
}

fn manifest_of(file: &Path, config: &str, limits: &str) -> String {
    format!(
        r#"
        [plugins.it]
        source = "{}"
        config = {{ {config} }}
        grants = ["clocks", "random"]
        instances = "fresh"
        breaker = "off"
        limits = {{ {limits} }}
        [plugins.echo]
        source = "builtin:provider-echo"
        [[routes]]
        name = "all"
        filters = ["it"]
        provider = "echo"
        "#,
        file.display()
    )
}

/// A limit, a fault within it, one beyond it, and what is then said.
struct Pair {
    limits: &'static str,
    obeyed: &'static str,
    violated: &'static str,
    says: &'static str,
}

async fn holds(pair: Pair) {
    holds_for(&guest("misbehaving"), pair).await;
}

async fn holds_for(file: &Path, pair: Pair) {
    let palisade = Palisade::start(&manifest_of(file, pair.obeyed, pair.limits)).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200, "{} obeyed: {}", pair.limits, got.text);

    let palisade = Palisade::start(&manifest_of(file, pair.violated, pair.limits)).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 500, "{} violated: {}", pair.limits, got.text);
    let plugins = &palisade.live().plugins;
    let failures = plugins.iter().flat_map(|p| p.health().failures());
    let said: Vec<_> = failures.map(|failed| failed.error.to_string()).collect();
    assert!(
        said.iter().any(|said| said.contains(pair.says)),
        "{}: {said:?} does not say {:?}",
        pair.limits,
        pair.says
    );
}

macro_rules! pairs {
    ($($name:ident: $limits:literal, $obeyed:literal, $violated:literal, $says:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            holds(Pair {
                limits: $limits,
                obeyed: $obeyed,
                violated: $violated,
                says: $says,
            })
            .await;
        }
    )*};
}

pairs! {
    time_obeyed_and_violated:
        "time = \"400ms\"",
        "fault = \"sleep\", amount = 20", "fault = \"sleep\"",
        "deadline of 400 ms passed";
    cpu_obeyed_and_violated:
        "time = \"60s\", cpu = \"200ms\"",
        "fault = \"host-call-storm\", amount = 100", "fault = \"loop\"",
        "limit of 200 ms of CPU time was reached";
    memory_obeyed_and_violated:
        "memory = \"32MiB\"",
        "fault = \"memory-bomb\", amount = 8_388_608", "fault = \"memory-bomb\"",
        "limit of 32 MiB of memory was reached";
    transfer_obeyed_and_violated:
        "transfer = \"1MiB\"",
        "fault = \"huge-output\", amount = 524_288",
        "fault = \"huge-output\", amount = 2_097_152",
        "limit of 1048576 bytes for one crossing was reached";
    handles_obeyed_and_violated:
        "handles = 64",
        "fault = \"handle-leak\", amount = 32", "fault = \"handle-leak\"",
        "limit of 64 handles was reached";
    output_obeyed_and_violated:
        "output = \"256KiB\"",
        "fault = \"huge-output\", amount = 131_072", "fault = \"huge-output\", amount = 524_288",
        "may return 262144 (`output`)";
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_obeyed_and_violated() {
    let steps = "steps = [{ set-model = \"a\" }, { set-model = \"b\" }, { set-model = \"c\" }]";
    for (limits, violated) in [("edits = 3", false), ("edits = 2", true)] {
        let palisade = limited("editor", steps, limits).await;
        let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let model = if violated { "b" } else { "c" };
        assert_eq!(got.json()["model"], model, "{limits}: the others are kept");
    }
}

/// A table that grows in a call, and not at the start only.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_bomb_obeys_and_violates() {
    let Some(file) = foreign_guest("table-bomb") else {
        println!("not run: the table bomb is not built (tests/guests/build-foreign)");
        return;
    };
    let pair = Pair {
        limits: "tables = 5000",
        obeyed: "elements = 4000",
        violated: "",
        says: "limit of 5000 elements of tables was reached",
    };
    holds_for(&file, pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_obeyed_and_violated() {
    let obeyed = Palisade::problems(&manifest("misbehaving", "", "tables = 5000"), &[]).await;
    assert!(obeyed.is_none(), "{}", obeyed.unwrap());
    let violated = Palisade::problems(&manifest("misbehaving", "", "tables = 1"), &[]).await;
    let said = violated.expect("a problem").to_string();
    assert!(
        said.contains("limit of 1 elements of tables was reached"),
        "{said}"
    );
}

/// A plugin that never comes to its end when it starts is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn time_and_cpu_violated_at_the_start() {
    for (fault, limits, says) in [
        ("sleep", "time = \"300ms\"", "deadline of 300 ms passed"),
        (
            "loop",
            "time = \"60s\", cpu = \"200ms\"",
            "limit of 200 ms of CPU time was reached",
        ),
        (
            "memory-bomb",
            "memory = \"32MiB\"",
            "limit of 32 MiB of memory",
        ),
    ] {
        let config = format!("fault = \"{fault}\", at = \"configure\"");
        let manifest = manifest("misbehaving", &config, limits);
        let problems = Palisade::problems(&manifest, &[]).await;
        let said = problems.expect("a problem").to_string();
        assert!(said.contains("it cannot be started"), "{said}");
        assert!(said.contains(says), "{fault}: {said}");
    }
}
