//! Generations after one another: brought back, ended, held back, and never
//! mixed.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use palisade::generation::{Cause, Overtaken, RollbackError};
use palisade::manifest::Step;
use palisade_tests::{Answer, Capture, Palisade, guest};
use serde_json::{Value, json};

use super::{STOP, chunk, until};
use crate::client::{CHAT, Got, chat, post_json, streamed};

fn named(prefix: &str) -> String {
    format!(
        "[server]\nsettle = \"20ms\"\n[reload]\nkeep = 3\n[plugins.echo]\n\
         source = \"builtin:provider-echo\"\nconfig = {{ prefix = \"{prefix} \" }}\n\
         [[routes]]\nname = \"all\"\nprovider = \"echo\"\n"
    )
}

async fn answer(palisade: &Palisade) -> Value {
    let got = post_json(&palisade.url, CHAT, &chat("m", "ping")).await;
    got.json()["choices"][0]["message"]["content"].clone()
}

/// Puts a manifest in place and loads it at once.
async fn load(palisade: &Palisade, manifest: &str) -> Result<u64, palisade::reload::Refused> {
    fs::write(palisade.path("proxy.new"), manifest).unwrap();
    fs::rename(palisade.path("proxy.new"), palisade.path("proxy.toml")).unwrap();
    let outcome = palisade.control().reload("a test").await.unwrap();
    outcome.map(|reloaded| reloaded.generation.unwrap())
}

fn by(who: &str) -> Cause {
    Cause::Rollback(who.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_generation_comes_back_as_it_was() {
    let palisade = Palisade::start(&named("1")).await;
    let gateway = palisade.gateway();
    for number in 2..=5 {
        assert_eq!(
            load(&palisade, &named(&number.to_string())).await,
            Ok(number)
        );
    }
    let kept = |gateway: &palisade::gateway::Gateway| {
        let (live, replaced) = gateway.history();
        let numbers: Vec<u64> = replaced.iter().map(|lived| lived.number).collect();
        (live.number, numbers)
    };
    assert_eq!(kept(gateway), (5, vec![4, 3, 2]), "three are kept");
    let unknown = gateway.rollback(Some(1), by("x")).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "generation 1 is not kept; there are 2, 3, 4"
    );
    assert_eq!(
        gateway.rollback(Some(5), by("x")).unwrap_err(),
        RollbackError::Live(5)
    );

    assert_eq!(gateway.rollback(None, by("x")).unwrap().number, 4);
    assert_eq!(answer(&palisade).await, "4 ping");
    assert_eq!(gateway.rollback(None, by("x")).unwrap().number, 3);
    assert_eq!(answer(&palisade).await, "3 ping");
    // What was left is not what led here, but it is kept.
    assert_eq!(gateway.rollback(Some(5), by("x")).unwrap().number, 5);
    assert_eq!(answer(&palisade).await, "5 ping");
    assert_eq!(gateway.rollback(None, by("x")).unwrap().number, 3);
    // The files, which are the fifth's, are not loaded until they change.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(answer(&palisade).await, "3 ping");
    fs::write(palisade.path("proxy.toml"), named("new")).unwrap();
    let reloaded = palisade.reloaded(3).await;
    assert!(reloaded, "{:?}", palisade.control().told().refused);
    assert_eq!(
        (palisade.generation(), answer(&palisade).await),
        (6, json!("new ping"))
    );
    let (live, _) = gateway.history();
    assert_eq!(live.cause, Cause::Files);
    assert_eq!(
        gateway.rollback(None, by("x")).unwrap().number,
        3,
        "and not the fifth"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bringing_one_back_overrules_a_reload_under_way() {
    let palisade = Palisade::start(&named("1")).await;
    assert_eq!(load(&palisade, &named("2")).await, Ok(2));
    let gateway = palisade.gateway();
    let begun = gateway.turn();
    gateway.rollback(None, by("x")).unwrap();
    let made = Palisade::generation_of(&named("3")).await.unwrap();
    assert_eq!(
        gateway.swap(made, Cause::Files, begun).unwrap_err(),
        Overtaken
    );
    assert_eq!(palisade.generation(), 1);
    let made = Palisade::generation_of(&named("3")).await.unwrap();
    assert!(gateway.swap(made, Cause::Files, gateway.turn()).is_ok());
}

/// A stream that an adapter has begun, until it is read to its end.
fn begin(url: &str) -> tokio::task::JoinHandle<Got> {
    let url = url.to_owned();
    tokio::spawn(async move { post_json(&url, CHAT, &streamed(chat("m", "x"))).await })
}

fn assert_whole(got: &Got) {
    assert!(
        got.whole && got.text.ends_with("data: [DONE]\n\n"),
        "{}",
        got.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_held_back_while_too_many_generations_end() {
    let pieces: Vec<String> = (0..25).map(|i| chunk(&format!("{i} "))).collect();
    let mut events: Vec<&str> = pieces.iter().map(String::as_str).collect();
    events.extend([STOP, "data: [DONE]\n\n"]);
    let upstream = Capture::start(Answer::stream(&events, Duration::from_millis(100))).await;
    let manifest = |name: &str| {
        format!(
            "[server]\nsettle = \"10s\"\n[reload]\nkeep = 1\nmax-draining = 2\n[admin]\nlisten = \"unix:a\"\n\
             [plugins.adapter]\nsource = \"builtin:provider-openai\"\nupstream = \"{}/v1\"\n\
             [[routes]]\nname = \"{name}\"\nprovider = \"adapter\"\n",
            upstream.url
        )
    };
    let palisade = Palisade::start(&manifest("1")).await;
    let mut streams = Vec::new();
    for number in 1..=2_u64 {
        streams.push(begin(&palisade.url));
        until("the stream has begun", || {
            upstream.requests().len() as u64 == number
        })
        .await;
        assert_eq!(
            load(&palisade, &manifest(&(number + 1).to_string())).await,
            Ok(number + 1)
        );
    }
    let (_, told) = palisade.ask("GET", "status", "").await;
    let draining = told["draining"].as_array().unwrap();
    let numbers: Vec<_> = draining
        .iter()
        .map(|d| (&d["generation"], &d["exchanges"]))
        .collect();
    assert_eq!(
        numbers,
        [(&json!(2), &json!(1)), (&json!(1), &json!(1))],
        "also what is not kept"
    );
    assert_eq!(told["exchanges"], 2);

    streams.push(begin(&palisade.url));
    until("the stream has begun", || upstream.requests().len() == 3).await;
    let refused = load(&palisade, &manifest("4")).await.unwrap_err();
    assert_eq!(refused.step(), Step::Drain);
    assert!(
        refused.lines[0].contains("held back: 2 earlier generations"),
        "{refused:?}"
    );
    let (_, told) = palisade.ask("GET", "status", "").await;
    assert!(told["reload"]["held_back"].is_string(), "{told}");
    assert_eq!(told["live"]["generation"], 3);
    assert!(palisade.reloaded(3).await, "when one has ended");
    assert_eq!(palisade.live().routes[0].name, "4");
    // The generation is live a moment before it is told of.
    until("nothing is refused", || {
        let told = palisade.control().told();
        told.held_back.is_none() && told.refused.is_none()
    })
    .await;
    for stream in streams {
        assert_whole(&stream.await.unwrap());
    }
    until("nothing is left", || palisade.gateway().draining() == 0).await;
    let (_, replaced) = palisade.gateway().history();
    assert!(
        replaced.len() <= 3,
        "what is neither kept nor used goes: {replaced:?}"
    );
}

/// A generation whose filter, rewriter, adapter and logger all have its mark.
fn marked(mark: &str) -> String {
    format!(
        r#"
        [server]
        settle = "10s"
        [plugins.filter]
        source = "{}"
        config = {{ steps = [{{ set = {{ pointer = "/messages/0/content", json = '"of {mark}"' }} }}, {{ note = {{ key = "mark", value = "{mark}" }} }}] }}
        [plugins.rewriter]
        source = "builtin:model-rewriter"
        config = {{ default = "model-{mark}" }}
        [plugins.echo]
        source = "builtin:provider-echo"
        config = {{ prefix = "{mark} says " }}
        [plugins.log]
        source = "builtin:logger"
        output = "{{dir}}/log-{mark}.jsonl"
        [[routes]]
        name = "route-{mark}"
        filters = ["filter"]
        rewriter = "rewriter"
        provider = "echo"
        loggers = ["log"]
        "#,
        guest("editor").display()
    )
}

/// Asks again and again, and answers how many exchanges there were of each
/// mark.
async fn ask_until(url: String, stop: Arc<AtomicBool>) -> [u64; 2] {
    let mut counts = [0, 0];
    while !stop.load(Ordering::Relaxed) {
        let stream = (counts[0] + counts[1]) % 2 == 0;
        let body = chat("m", "of nobody");
        let got = match stream {
            true => post_json(&url, CHAT, &streamed(body)).await,
            false => post_json(&url, CHAT, &body).await,
        };
        assert_eq!(got.status, 200, "{}", got.text);
        let said = match stream {
            true => got.streamed_text(),
            false => {
                let told = got.json();
                told["choices"][0]["message"]["content"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            }
        };
        match said.as_str() {
            "a says of a" => counts[0] += 1,
            "b says of b" => counts[1] += 1,
            _ => panic!("parts of two generations: {said}"),
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exchange_sees_parts_of_two_generations() {
    const SWAPS: u64 = 300;
    let palisade = Palisade::start(&marked("a")).await;
    let dir = palisade.directory.path().display().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..6)
        .map(|_| tokio::spawn(ask_until(palisade.url.clone(), stop.clone())))
        .collect();
    for swap in 0..SWAPS {
        let mark = if swap % 2 == 0 { "b" } else { "a" };
        let manifest = marked(mark).replace("{dir}", &dir);
        assert_eq!(load(&palisade, &manifest).await, Ok(swap + 2));
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = [0, 0];
    for client in clients {
        let counts = client.await.unwrap();
        answered = [answered[0] + counts[0], answered[1] + counts[1]];
    }
    println!("{SWAPS} swaps, exchanges of each: {answered:?}");
    assert!(
        answered.iter().all(|count| *count > SWAPS / 10),
        "{answered:?}"
    );

    let mut seen = BTreeSet::new();
    for (mark, count) in [("a", answered[0]), ("b", answered[1])] {
        let file = palisade.path(&format!("log-{mark}.jsonl"));
        let lines = || fs::read_to_string(&file).unwrap_or_default();
        until("all are recorded", || {
            lines().lines().count() as u64 == count
        })
        .await;
        for line in lines().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["route"], format!("route-{mark}"), "{record}");
            assert_eq!(record["model"], format!("model-{mark}"), "{record}");
            assert_eq!(record["notes"]["mark"], mark, "{record}");
            assert_eq!(record["outcome"], "answered", "{record}");
            assert!(
                seen.insert(record["exchange_id"].to_string()),
                "once only: {record}"
            );
        }
    }
}
