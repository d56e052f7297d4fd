//! The ways in which files change: in place, by renaming, by a symbolic link,
//! slowly, often, and away.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use palisade::manifest::Step;
use palisade_tests::{Palisade, guest};

use crate::client::{CHAT, chat, post_json};

const ROUTE: &str = "[[routes]]\nname = \"all\"\nprovider = \"echo\"\n";

const GRANTS: &str = "grants = [\"clocks\", \"random\"]\n";

/// A manifest whose adapter says who it is.
fn named(prefix: &str, more: &str) -> String {
    format!(
        "[server]\nsettle = \"50ms\"\n{more}\n[plugins.echo]\nsource = \"builtin:provider-echo\"\n\
         config = {{ prefix = \"{prefix} \" }}\n{ROUTE}"
    )
}

/// A manifest whose adapter is a file.
fn from_file(file: &str, more: &str) -> String {
    format!("[server]\nsettle = \"50ms\"\n{more}\n[plugins.echo]\nsource = \"{file}\"\n{ROUTE}")
}

async fn answer(palisade: &Palisade) -> String {
    let got = post_json(&palisade.url, CHAT, &chat("m", "ping")).await;
    let text = got.json()["choices"][0]["message"]["content"]
        .as_str()
        .map(str::to_owned);
    text.unwrap_or(got.text)
}

/// Waits until something is so, at most ten seconds.
async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn echo(file: &Path) {
    fs::write(file, palisade::builtin::component("provider-echo").unwrap()).unwrap();
}

/// As Kubernetes shows a config map: each file a link through `..data`, which
/// is a link that is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_swapped_by_a_link_is_loaded_whole() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let version = |name: &str, prefix: &str| {
        let folder = root.join(name);
        fs::create_dir(&folder).unwrap();
        // Without a snapshot nothing has to be compiled for a configuration.
        let source = "source = \"echo.wasm\"\ninstances = \"fresh\"";
        let manifest = named(prefix, "").replace("source = \"builtin:provider-echo\"", source);
        fs::write(folder.join("proxy.toml"), manifest).unwrap();
        echo(&folder.join("echo.wasm"));
    };
    let swap = |name: &str| {
        symlink(name, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    version("..1", "one");
    swap("..1");
    for file in ["proxy.toml", "echo.wasm"] {
        symlink(format!("..data/{file}"), root.join(file)).unwrap();
    }
    let palisade = Palisade::at(&root.join("proxy.toml")).await;
    assert_eq!(answer(&palisade).await, "one ping");
    let mut took = Vec::new();
    for (name, prefix) in [("..2", "two"), ("..3", "three"), ("..4", "four")] {
        version(name, prefix);
        let begun = Instant::now();
        swap(name);
        let expected = format!("{prefix} ping");
        eventually("the new directory is loaded", async || {
            answer(&palisade).await == expected
        })
        .await;
        took.push(begun.elapsed());
    }
    let look = Duration::from_secs(2);
    assert!(
        took.iter().any(|took| *took < look),
        "by being told, not by looking: {took:?}"
    );
    fs::remove_dir_all(root.join("..1")).unwrap();
    // A directory without what is needed changes nothing.
    fs::create_dir(root.join("..5")).unwrap();
    swap("..5");
    eventually("it is told", async || {
        palisade.control().told().refused.is_some()
    })
    .await;
    assert_eq!(answer(&palisade).await, "four ping");
}

/// As a deployment swaps the directory above the files.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_above_the_files_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (name, prefix) in [("a", "a"), ("b", "b")] {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("proxy.toml"), named(prefix, "")).unwrap();
    }
    symlink("a", root.join("current")).unwrap();
    let palisade = Palisade::at(&root.join("current/proxy.toml")).await;
    for name in ["b", "a"] {
        symlink(name, root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("current")).unwrap();
        let expected = format!("{name} ping");
        eventually("the other is loaded", async || {
            answer(&palisade).await == expected
        })
        .await;
    }
}

/// Where a component's sections end: what is written up to there may be a
/// whole component with fewer stages.
fn section_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![8];
    let mut at = 8;
    while at < bytes.len() {
        let (mut size, mut shift, mut from) = (0_usize, 0, at + 1);
        loop {
            let byte = bytes[from];
            size |= usize::from(byte & 0x7f) << shift;
            (from, shift) = (from + 1, shift + 7);
            if byte & 0x80 == 0 {
                break;
            }
        }
        at = from + size;
        ends.push(at);
    }
    ends
}

/// The guest exports every stage; with some of them it would be another plugin.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_slowly_is_never_loaded_in_part() {
    let whole = fs::read(guest("misbehaving")).unwrap();
    let ends = section_ends(&whole);
    assert_eq!(ends.last(), Some(&whole.len()));
    // Those of the last that are components by themselves.
    let mut valid = Vec::new();
    for end in ends.iter().rev().skip(1).take(6).rev() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &whole[..*end]).unwrap();
        let source = file.path().display();
        let guard = format!("[plugins.guard]\nsource = \"{source}\"\n{GRANTS}");
        if let Ok(generation) = Palisade::generation_of(&named("one", &guard)).await {
            valid.push(*end);
            println!(
                "cut at {end} it has {:?}",
                generation.plugin("guard").unwrap().stages()
            );
        }
    }
    let more = &format!("[plugins.guard]\nsource = \"guard.wasm\"\n{GRANTS}");
    let files = [("guard.wasm", guest("misbehaving"))];
    let palisade = Palisade::with_files(&named("one", more), &files).await;
    let stages = palisade.live().plugin("guard").unwrap().stages();
    // Until it is watched, nothing tells that someone writes it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut file = fs::File::create(palisade.path("guard.wasm")).unwrap();
    let mut from = 0;
    for end in valid
        .iter()
        .copied()
        .chain([whole.len() - 1])
        .chain([whole.len()])
    {
        if end < from {
            continue;
        }
        file.write_all(&whole[from..end]).unwrap();
        from = end;
        // Much longer than the settling time.
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(palisade.generation(), 1, "up to {end} of {}", whole.len());
        assert!(
            palisade.control().told().refused.is_none(),
            "it was not even tried"
        );
    }
    // Nor for someone who asks.
    let control = palisade.control().clone();
    let asked = tokio::spawn(async move { control.reload("a test").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((palisade.generation(), asked.is_finished()), (1, false));
    drop(file);
    assert!(palisade.reloaded(1).await, "when it was closed");
    assert!(asked.await.unwrap().unwrap().is_ok());
    assert_eq!(palisade.live().plugin("guard").unwrap().stages(), stages);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_and_comes_back_is_told_and_loaded() {
    let files = tempfile::tempdir().unwrap();
    echo(&files.path().join("echo.wasm"));
    let copies = [("echo.wasm", files.path().join("echo.wasm"))];
    let palisade = Palisade::with_files(&from_file("echo.wasm", ""), &copies).await;
    fs::remove_file(palisade.path("echo.wasm")).unwrap();
    eventually("it is told", async || {
        palisade.control().told().refused.is_some()
    })
    .await;
    let refused = palisade.control().told().refused.unwrap();
    assert_eq!(refused.step(), Step::Read);
    assert!(
        refused.lines[0].contains("echo.wasm cannot be read"),
        "{refused:?}"
    );
    assert_eq!(
        (palisade.generation(), answer(&palisade).await.as_str()),
        (1, "You said: ping")
    );
    echo(&palisade.path("echo.wasm"));
    assert!(palisade.reloaded(1).await);
    assert!(palisade.control().told().refused.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_writes_is_one_reload_or_few() {
    let palisade = Palisade::start(&named("0", "")).await;
    for i in 1..=200 {
        fs::write(palisade.path("proxy.new"), named(&i.to_string(), "")).unwrap();
        fs::rename(palisade.path("proxy.new"), palisade.path("proxy.toml")).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eventually("the last is loaded", async || {
        answer(&palisade).await == "200 ping"
    })
    .await;
    let generation = palisade.generation();
    assert!(generation < 20, "{generation} generations of 200 writes");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(palisade.generation(), generation, "and then it is quiet");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_notifications_files_are_looked_at() {
    let poll = "[reload]\nwatch = \"poll\"\n";
    let palisade = Palisade::start(&named("one", poll)).await;
    fs::write(palisade.path("proxy.toml"), named("two", poll)).unwrap();
    assert!(palisade.reloaded(1).await);
    assert_eq!(answer(&palisade).await, "two ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_client_keys_are_watched_too() {
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("key"), "first-key").unwrap();
    let keys = "[keys.blue]\nfile = \"key\"\n";
    let copies = [("key", files.path().join("key"))];
    let palisade = Palisade::with_files(&named("one", keys), &copies).await;
    let status = async |key: &str| {
        let request = reqwest::Client::new().post(format!("{}{CHAT}", palisade.url));
        let body = chat("m", "ping").to_string();
        crate::client::send(request.bearer_auth(key).body(body))
            .await
            .status
    };
    assert_eq!(
        (status("first-key").await, status("second-key").await),
        (200, 401)
    );
    fs::write(palisade.path("key"), "second-key").unwrap();
    assert!(palisade.reloaded(1).await);
    assert_eq!(
        (status("first-key").await, status("second-key").await),
        (401, 200)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_take_a_restart_are_told() {
    let palisade = Palisade::start(&named("one", "")).await;
    let changed = named(
        "one",
        "workers = 1\nmax-exchanges = 7\n[log]\nlevel = \"warn\"\n",
    );
    fs::write(palisade.path("proxy.toml"), changed).unwrap();
    assert!(palisade.reloaded(1).await);
    eventually("they are told", async || {
        palisade.control().told().restart == ["server.workers", "server.max-exchanges", "[log]"]
    })
    .await;
    fs::write(palisade.path("proxy.toml"), named("two", "")).unwrap();
    assert!(palisade.reloaded(2).await);
    eventually("and no longer", async || {
        palisade.control().told().restart.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let more =
        "[plugins.gone]\nsource = \"builtin:logger\"\n[plugins.log]\nsource = \"builtin:logger\"\n";
    let palisade = Palisade::start(&named("one", more)).await;
    let live = palisade.live();
    // Written before it is asked, and not yet noticed.
    let more = "settle = \"10s\"\n[plugins.log]\nsource = \"builtin:logger\"\n[plugins.fresh]\nsource = \"builtin:logger\"\n";
    let changed = named("two", more).replacen("settle = \"50ms\"\n", "", 1);
    fs::write(palisade.path("proxy.toml"), changed).unwrap();
    let outcome = palisade.control().dry_run().await.unwrap().unwrap();
    let told: Vec<String> = outcome
        .plugins
        .iter()
        .map(|(name, change)| format!("{name}: {change}"))
        .collect();
    assert_eq!(
        told,
        [
            "echo: changed",
            "fresh: new",
            "gone: removed",
            "log: carried over"
        ]
    );
    assert_eq!((outcome.generation, palisade.generation()), (None, 1));
    assert!(std::sync::Arc::ptr_eq(&live, &palisade.live()));
    // What was only tried is still a change.
    assert!(palisade.reloaded(1).await);
    assert_eq!(answer(&palisade).await, "two ping");
}
