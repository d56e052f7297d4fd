//! Many reloads under load: nothing is lost, and nothing is left behind.
//! `PALISADE_SOAK=1` makes ten thousand of them, which takes some minutes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use palisade::admin::{Client, Question};
use palisade::manifest::Admin;
use palisade_tests::Started;

use crate::client::{CHAT, chat, send, streamed};

/// How many reloads there are, and how many configurations of the adapter they
/// go through: few enough for every run, or many.
fn size() -> (u64, u64) {
    match std::env::var("PALISADE_SOAK") {
        Ok(_) => (10_000, 97),
        Err(_) => (500, 11),
    }
}

/// After so many, everything that is made once has been made: each configuration
/// has its snapshot, in memory or on disk.
const WARM: u64 = 100;

/// Odd and even generations differ in their filter and their logger, which are
/// carried over from the one before the last; the adapter is another in each.
fn manifest(number: u64) -> String {
    let (parity, prefix) = (number % 2, number % size().1);
    format!(
        r#"
        [server]
        settle = "10s"
        cache = "{}"
        [log]
        level = "warn"
        [admin]
        listen = "unix:admin.sock"
        [plugins.filter]
        source = "builtin:security-filter"
        config = {{ max-tokens = {} }}
        [plugins.echo]
        source = "builtin:provider-echo"
        config = {{ prefix = "{prefix} " }}
        [plugins.log]
        source = "builtin:logger"
        output = "log-{parity}.jsonl"
        [[routes]]
        name = "all"
        filters = ["filter"]
        provider = "echo"
        loggers = ["log"]
        "#,
        palisade_tests::cache().display(),
        1000 + parity
    )
}

fn write(file: &Path, number: u64) {
    let new = file.with_extension("new");
    fs::write(&new, manifest(number)).unwrap();
    fs::rename(new, file).unwrap();
}

/// Asks again and again; every exchange is answered by a whole answer.
async fn ask_until(url: String, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    let client = reqwest::Client::new();
    let body = chat("m", "ping");
    let bodies = [body.to_string(), streamed(body).to_string()];
    while !stop.load(Ordering::Relaxed) {
        for body in &bodies {
            let request = client.post(format!("{url}{CHAT}")).body(body.clone());
            let got = send(request).await;
            assert!(
                got.status == 200 && got.whole,
                "{} {}",
                got.status,
                got.text
            );
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reloads_under_load_leave_memory_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    write(&file, 1);
    let started = Started::new(&file).unwrap_or_else(|log| panic!("{log}"));
    let admin = Client::new(Admin::Unix(directory.path().join("admin.sock"))).unwrap();
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let clients: Vec<_> = (0..2)
        .map(|_| tokio::spawn(ask_until(started.url.clone(), stop.clone(), count.clone())))
        .collect();
    let (begun, last) = (Instant::now(), 1 + size().0);
    let mut warm = 0;
    for number in 2..=last {
        write(&file, number);
        let told = admin.ask(&Question::Reload { dry_run: false }).await;
        let told = told.unwrap_or_else(|e| panic!("reload {number}: {e}\n{}", started.log()));
        assert!(
            told.ends_with(&format!("generation {number} is live\n")),
            "{told}"
        );
        if number == 1 + WARM {
            warm = started.memory();
        }
        if number % 1000 == 1 {
            println!("{number}: {} MiB", started.memory() >> 20);
        }
    }
    let took = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let memory = started.memory();
    println!(
        "{} reloads and {} exchanges in {took:.1?}: {} MiB after the first {WARM}, {} MiB at the end",
        size().0,
        count.load(Ordering::Relaxed),
        warm >> 20,
        memory >> 20
    );
    assert!(
        memory < warm + warm / 8 + (16 << 20),
        "it grew from {warm} to {memory} bytes"
    );
    // The loggers of two generations have them all, once they have written.
    let answered = count.load(Ordering::Relaxed);
    let recorded = || {
        let files = ["log-0.jsonl", "log-1.jsonl"].map(|name| directory.path().join(name));
        let texts = files.map(|file| fs::read_to_string(file).unwrap_or_default());
        texts
            .iter()
            .map(|text| text.lines().count() as u64)
            .sum::<u64>()
    };
    let begun = Instant::now();
    while recorded() < answered && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(recorded(), answered, "one record for each exchange");
}
