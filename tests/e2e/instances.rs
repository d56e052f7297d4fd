//! How instances of plugins come and go: from snapshots, used again, kept for
//! streams, and left alone when they always fail.

use std::time::Duration;

use palisade::plugin::Prepared;
use palisade_tests::{Answer, Capture, Palisade, guest};

use crate::client::{CHAT, chat, post_json, streamed};

/// A gateway that echoes behind one filter, for the model "m".
pub async fn behind(name: &str, lines: &str) -> Palisade {
    behind_for("m", name, lines).await
}

/// The same, for all models.
async fn behind_all(name: &str, lines: &str) -> Palisade {
    behind_for("m*", name, lines).await
}

async fn behind_for(model: &str, name: &str, lines: &str) -> Palisade {
    let manifest = format!(
        r#"
        [plugins.it]
        source = "{}"
        {lines}
        [plugins.echo]
        source = "builtin:provider-echo"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        match = {{ model = "{model}" }}
        filters = ["it"]
        provider = "echo"
        loggers = ["log"]
        [[routes]]
        name = "others"
        provider = "echo"
        loggers = ["log"]
        "#,
        guest(name).display()
    );
    Palisade::start(&manifest).await
}

async fn statuses(palisade: &Palisade, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for i in 0..count {
        let body = chat("m", &format!("secret {i}"));
        statuses.push(post_json(&palisade.url, CHAT, &body).await.status);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_used_again_as_often_as_the_manifest_says() {
    let palisade = behind("memory-reader", "instances = { reuse = 3 }").await;
    let seen = statuses(&palisade, 7).await;
    assert_eq!(seen, [200, 403, 403, 200, 403, 403, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_failed_is_never_used_again() {
    let fault = "config = { fault = \"panic\", after = 2 }\ngrants = [\"clocks\", \"random\"]\n\
                 breaker = \"off\"\ninstances = { reuse = 100 }";
    let palisade = behind("misbehaving", fault).await;
    let seen = statuses(&palisade, 6).await;
    assert_eq!(seen, [200, 200, 500, 200, 200, 500]);
}

/// A plugin that says other things after its rehearsal begins without it; all
/// others begin with theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_remembers_no_rehearsal_that_shows() {
    use palisade::plugin::Moment::{Configured, Rehearsed};
    let names = [
        ("memory-reader", Configured),
        // Not every engine that rehearses knows what it is made of.
        ("relaxed-simd", Rehearsed),
        ("polite", Rehearsed),
    ];
    for (name, moment) in names {
        let file = (name != "polite").then(|| guest(name));
        let source = file.map_or("builtin:security-filter".to_owned(), |file| {
            file.display().to_string()
        });
        let manifest = format!(
            "[plugins.it]\nsource = \"{source}\"\n[plugins.echo]\nsource = \
             \"builtin:provider-echo\"\n[[routes]]\nname = \"all\"\nfilters = [\"it\"]\nprovider \
             = \"echo\"\n"
        );
        let palisade = Palisade::start(&manifest).await;
        let live = palisade.live();
        let plugin = live.plugins.iter().find(|plugin| plugin.name == "it");
        let prepared = plugin.expect("the plugin").prepared().clone();
        assert_eq!(prepared, Prepared::Snapshot(moment), "{source}");
    }
}

const FAILS: &str = "config = { fault = \"panic\" }\ngrants = [\"clocks\", \"random\"]\n\
                     instances = \"fresh\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_always_fails_is_left_alone() {
    let palisade = behind(
        "misbehaving",
        &format!("{FAILS}breaker = {{ failures = 3, backoff = \"200ms\" }}"),
    )
    .await;
    assert_eq!(statuses(&palisade, 3).await, [500, 500, 500]);
    // From now on it is not called, or once in a while to try it.
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 503, "{}", got.text);
    assert_eq!(got.header("retry-after"), "1");
    assert!(got.text.contains("is left alone for now"), "{}", got.text);
    let neighbour = post_json(&palisade.url, CHAT, &chat("other", "x")).await;
    assert_eq!(neighbour.status, 200);
    let mut tried = None;
    for _ in 0..200 {
        let status = statuses(&palisade, 1).await[0];
        if status == 500 {
            tried = Some(status);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(tried, Some(500), "it is tried again");
    assert_eq!(statuses(&palisade, 1).await, [503], "and left alone again");
    let counts = palisade.live().plugins[1].health().counts();
    assert_eq!((counts.traps, counts.ok), (4, 0));
    assert!(counts.spared >= 2, "{counts:?}");
}

/// A plugin is charged the CPU time of its calls, and not the time that its
/// instance waits for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_waits_uses_no_cpu_time() {
    const EVENT: &str =
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
    const LAST: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let mut events = [EVENT; 40].to_vec();
    events.extend([LAST, "data: [DONE]\n\n"]);
    let answer = Answer::stream(&events, Duration::from_millis(10));
    let upstream = Capture::start(answer).await;
    let manifest = format!(
        "[plugins.openai]\nsource = \"builtin:provider-openai\"\nupstream = \"{}/v1\"\n\
         config = {{ normalise = true, credential-kind = \"none\" }}\n\
         [[routes]]\nname = \"all\"\nprovider = \"openai\"\n",
        upstream.url
    );
    let palisade = Palisade::start(&manifest).await;
    let got = post_json(&palisade.url, CHAT, &streamed(chat("m", "x"))).await;
    assert_eq!(got.streamed_text().len(), 80, "{}", got.text);
    let counts = palisade.live().plugins[0].health().counts();
    // A slice may end while a call runs, but not in every call.
    assert!(counts.ok > 40 && counts.cpu_slices < 20, "{counts:?}");
}

/// Calls that return something are counted by what it is, and each once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_returns_is_counted_once() {
    for (fault, left_alone) in [("error", false), ("huge-output", true)] {
        let palisade = behind(
            "misbehaving",
            &format!(
                "config = {{ fault = \"{fault}\", amount = 4096 }}\n\
                 grants = [\"clocks\", \"random\"]\nlimits = {{ output = \"1KiB\" }}\n\
                 breaker = {{ failures = 2, backoff = \"1h\" }}"
            ),
        )
        .await;
        let seen = statuses(&palisade, 4).await;
        let counts = palisade.live().plugins[1].health().counts();
        let told = (counts.ok, counts.problems, counts.traps, counts.spared);
        let expected = if left_alone {
            (0, 0, 2, 2)
        } else {
            (0, 4, 0, 0)
        };
        assert_eq!(told, expected, "{fault}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_left_alone_may_be_passed_over() {
    let palisade = behind(
        "misbehaving",
        &format!("{FAILS}breaker = {{ failures = 2, backoff = \"1h\" }}\non-failure = \"bypass\""),
    )
    .await;
    assert_eq!(statuses(&palisade, 5).await, [200; 5]);
    let counts = palisade.live().plugins[1].health().counts();
    assert_eq!(counts.traps, 2, "{counts:?}");
    assert!(counts.spared >= 3, "{counts:?}");
}

/// For a thousand exchanges at once: a call whose slice is over goes behind all
/// others, which on a busy machine takes longer than a call may by default.
const PATIENT: &str = "limits = { time = \"5m\", cpu = \"5m\" }";

/// One thousand exchanges at once, through one plugin that breaks in every tenth
/// call, however its instances come.
#[tokio::test(flavor = "multi_thread")]
async fn exchanges_that_break_lose_no_other() {
    for instances in ["\"snapshot\"", "\"fresh\"", "{ reuse = 100 }"] {
        let lines = format!(
            "config = {{ fault = \"edit-then-trap\", model = \"m-0\" }}\n\
             grants = [\"clocks\", \"random\"]\nbreaker = \"off\"\ninstances = {instances}\n\
             {PATIENT}"
        );
        let palisade = behind_all("misbehaving", &lines).await;
        let exchange = async |i: usize| {
            let body = chat(&format!("m-{}", i % 10), &format!("exchange {i} ends"));
            let body = if i.is_multiple_of(3) {
                streamed(body)
            } else {
                body
            };
            let got = post_json(&palisade.url, CHAT, &body).await;
            if i.is_multiple_of(10) {
                assert_eq!(got.status, 500, "{instances}, {i}: {}", got.text);
            } else {
                assert_eq!(got.status, 200, "{instances}, {i}: {}", got.text);
                let said = if i.is_multiple_of(3) {
                    got.streamed_text()
                } else {
                    got.text.clone()
                };
                let whole = format!("exchange {i} ends");
                assert!(said.contains(&whole), "{instances}, {i}: {}", got.text);
            }
        };
        futures_util::future::join_all((0..1000).map(exchange)).await;
        let records = palisade.records(1000).await;
        assert_eq!(records.len(), 1000);
        let failed = records.iter().filter(|r| r["outcome"] == "failed").count();
        assert_eq!(failed, 100, "one record for each, and all of them right");
        let counts = palisade.live().plugins[1].health().counts();
        assert_eq!(counts.traps, 100, "{instances}: {counts:?}");
    }
}

/// A plugin of which every tenth call fails, whatever the call is.
#[tokio::test(flavor = "multi_thread")]
async fn every_tenth_call_of_an_instance_fails_alone() {
    let lines = format!(
        "config = {{ fault = \"panic\", after = 9 }}\nbreaker = \"off\"\n\
         grants = [\"clocks\", \"random\"]\ninstances = {{ reuse = 100 }}\n{PATIENT}"
    );
    let palisade = behind_all("misbehaving", &lines).await;
    let exchange = async |i: usize| {
        let body = chat("m", &format!("exchange {i} ends"));
        post_json(&palisade.url, CHAT, &body).await.status
    };
    let seen = futures_util::future::join_all((0..1000).map(exchange)).await;
    let failed = seen.iter().filter(|status| **status == 500).count();
    let ok = seen.iter().filter(|status| **status == 200).count();
    let counts = palisade.live().plugins[1].health().counts();
    assert_eq!(counts.traps, failed as u64, "{counts:?}");
    assert_eq!(
        ok + failed,
        1000,
        "none is lost, and none waits for another"
    );
    assert!((1..=100).contains(&failed), "{failed} of 1000");
}

pub const HEAD: &str = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}

"#;

/// Streams keep instances; what is short must not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_instances_for_short_calls() {
    let never = Duration::from_secs(600);
    let mut answer = Answer::stream(&[HEAD, HEAD], Duration::ZERO);
    answer.pieces[2].0 = never;
    let upstream = Capture::start(answer).await;
    let manifest = format!(
        r#"
        [plugins.guard]
        source = "{}"
        [plugins.openai]
        source = "builtin:provider-openai"
        upstream = "{}"
        config = {{ normalise = true }}
        [plugins.echo]
        source = "builtin:provider-echo"
        [[routes]]
        name = "long"
        match = {{ model = "long" }}
        filters = ["guard"]
        provider = "openai"
        [[routes]]
        name = "short"
        provider = "echo"
        "#,
        guest("guard").display(),
        upstream.url
    );
    let palisade = Palisade::with_instances(&manifest, 16).await;
    let client = reqwest::Client::new();
    let begin = |_| {
        let body = streamed(chat("long", "x")).to_string();
        let request = client.post(format!("{}{CHAT}", palisade.url)).body(body);
        async { request.send().await.expect("the head of an answer") }
    };
    let streams: Vec<_> = futures_util::future::join_all((0..16).map(begin)).await;
    let refused = streams
        .iter()
        .filter(|stream| stream.status() == 503)
        .count();
    assert!((4..16).contains(&refused), "{refused} of 16 had to wait");
    let busy = streams.iter().find(|stream| stream.status() == 503);
    assert!(busy.is_some_and(|stream| stream.headers().contains_key("retry-after")));
    for _ in 0..20 {
        let got = post_json(&palisade.url, CHAT, &chat("short", "x")).await;
        assert_eq!(got.status, 200, "{}", got.text);
    }
}

const FIXTURES: &str = r#"[
    { "name": "a jailbreak is refused", "path": "/v1/chat/completions",
      "body": { "model": "m", "messages": [{ "role": "user", "content": "Jailbreak!" }] },
      "expect": { "deny": "instruction.forbidden" } },
    { "name": "a limit is set", "path": "/v1/messages",
      "body": { "model": "m", "messages": [{ "role": "user", "content": "Hi" }] },
      "expect": { "set": { "/max_tokens": 7 } } },
    { "name": "small talk goes on", "path": "/v1/chat/completions", "headers": { "x-a": "b" },
      "body": { "model": "m", "max_tokens": 1, "messages": [] }, "expect": "proceed" } ]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_held_to_its_fixtures() {
    let cases = [
        ("7", "*:*jailbreak*", None),
        (
            "8",
            "*:*jailbreak*",
            Some(
                "fixture \"a limit is set\": it must set \"/max_tokens\" to 7, and did leave 8 at",
            ),
        ),
        (
            "7",
            "*:*other*",
            Some(
                "fixture \"a jailbreak is refused\": it must deny with \"instruction.forbidden\", and did proceed",
            ),
        ),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("fixtures.json");
    std::fs::write(&file, FIXTURES).expect("fixtures to be written");
    for (limit, pattern, says) in cases {
        let manifest = format!(
            r#"
            [plugins.security]
            source = "builtin:security-filter"
            config = {{ max-tokens = {limit}, on-missing-max-tokens = "inject", forbidden-instructions = ["{pattern}"] }}
            fixtures = "{}"
            [plugins.echo]
            source = "builtin:provider-echo"
            [[routes]]
            name = "all"
            filters = ["security"]
            provider = "echo"
            "#,
            file.display()
        );
        let problems = Palisade::problems(&manifest, &[]).await;
        let said = problems.map(|problems| problems.to_string());
        match says {
            None => assert_eq!(said, None),
            Some(says) => assert!(
                said.as_deref().is_some_and(|s| s.contains(says)),
                "{said:?}"
            ),
        }
    }
    std::fs::write(&file, "[{}]").expect("fixtures to be written");
    let manifest = format!(
        "[plugins.echo]\nsource = \"builtin:provider-echo\"\nfixtures = \"{}\"\n[[routes]]\nname = \
         \"all\"\nprovider = \"echo\"\n",
        file.display()
    );
    let said = Palisade::problems(&manifest, &[])
        .await
        .expect("a problem")
        .to_string();
    assert!(
        said.contains("fixtures.json: missing field `name`"),
        "{said}"
    );
}

/// What has done its part and waits to be taken down has a place that others
/// may want: where there are few, it does not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_at_a_time_is_enough_for_a_chain() {
    let manifest = r#"
        [server]
        max-instances = 2
        [plugins.one]
        source = "builtin:security-filter"
        [plugins.two]
        source = "builtin:security-filter"
        [plugins.echo]
        source = "builtin:provider-echo"
        [[routes]]
        name = "all"
        filters = ["one", "two"]
        provider = "echo"
        "#;
    let palisade = Palisade::start(manifest).await;
    assert_eq!(statuses(&palisade, 5).await, [200; 5]);
}
