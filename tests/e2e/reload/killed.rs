//! A gateway that is killed at any point of a reload leaves a state from which
//! it starts, and serves.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use palisade::admin::{Client, Question};
use palisade::manifest::Admin;
use palisade_tests::Started;

use crate::client::{CHAT, chat, post_json};

const KILLS: u32 = 30;

/// How many configurations there are: the first time that each of them is met
/// its snapshot is made, compiled and written to the cache, and later read.
const CONFIGURATIONS: u64 = 24;

fn manifest(number: u64) -> String {
    let prefix = number % CONFIGURATIONS;
    format!(
        "[server]\nsettle = \"1ms\"\ncache = \"cache\"\n[reload]\nlocked = true\n[admin]\nlisten = \"unix:admin.sock\"\n\
         [plugins.echo]\nsource = \"echo.wasm\"\nconfig = {{ prefix = \"{prefix} \" }}\n\
         [plugins.log]\nsource = \"builtin:logger\"\noutput = \"log.jsonl\"\n\
         [[routes]]\nname = \"all\"\nprovider = \"echo\"\nloggers = [\"log\"]\n"
    )
}

/// Changes the files as an editor does, for as long as it may.
fn change(directory: &Path, stop: &AtomicBool) {
    let mut number = 0;
    let put = |name: &str, bytes: &[u8]| {
        fs::write(directory.join("new"), bytes).unwrap();
        fs::rename(directory.join("new"), directory.join(name)).unwrap();
    };
    let echo = palisade::builtin::component("provider-echo").unwrap();
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        put("proxy.toml", manifest(number).as_bytes());
        if number % 4 == 0 {
            put("echo.wasm", echo);
        }
        // Often, but not without a moment's rest: a gateway does not start on
        // files that change whenever it reads them.
        let rest = if number % 10 == 0 { 100 } else { 15 };
        std::thread::sleep(Duration::from_millis(rest));
    }
}

/// A time up to so many milliseconds that is another each time.
fn some_time(most: u64) -> Duration {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let mixed = u64::from(since.subsec_nanos()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Duration::from_millis((mixed >> 32) % most)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_in_a_reload_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    fs::write(&file, manifest(0)).unwrap();
    let echo = palisade::builtin::component("provider-echo").unwrap();
    fs::write(directory.path().join("echo.wasm"), echo).unwrap();
    let mut lock = std::process::Command::new(palisade_tests::program("palisade"));
    assert!(
        lock.arg("--config")
            .arg(&file)
            .arg("lock")
            .status()
            .unwrap()
            .success()
    );

    let stop = Arc::new(AtomicBool::new(false));
    let (path, stopped) = (directory.path().to_owned(), stop.clone());
    let changing = std::thread::spawn(move || change(&path, &stopped));
    let begun = Instant::now();
    let mut generations = 0;
    for kill in 0..KILLS {
        let admin = Client::new(Admin::Unix(directory.path().join("admin.sock"))).unwrap();
        let mut started = Started::new(&file)
            .unwrap_or_else(|log| panic!("after {kill} kills it does not start: {log}"));
        let got = post_json(&started.url, CHAT, &chat("m", "ping")).await;
        assert_eq!(got.status, 200, "after {kill} kills: {}", got.text);
        assert!(got.text.contains("ping"), "{}", got.text);
        let status = admin.ask(&Question::Status).await;
        assert!(status.is_ok(), "after {kill} kills: {status:?}");
        let asking = tokio::spawn(async move {
            while admin
                .ask(&Question::Reload { dry_run: false })
                .await
                .is_ok()
            {}
        });
        tokio::time::sleep(some_time(500)).await;
        generations += started.log().matches("reloaded generation=").count();
        started.kill();
        asking.abort();
    }
    stop.store(true, Ordering::Relaxed);
    changing.join().unwrap();
    println!(
        "{KILLS} kills, {generations} reloads, in {:.1?}",
        begun.elapsed()
    );
    assert!(generations > 0, "something was reloaded");
    let left = fs::read_dir(directory.path()).unwrap().flatten();
    let names: Vec<_> = left.map(|entry| entry.file_name()).collect();
    println!("left behind: {names:?}");
}
