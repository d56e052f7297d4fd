//! How long a plugin that is saved takes to be live, and whether the traffic
//! meanwhile notices: one client asks without a pause, first in peace and then
//! while the filter of its requests is saved anew, again and again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};

use crate::arguments;
use crate::bench;
use crate::load::{self, Measured, Target};
use crate::process::Process;
use crate::subject::{self, RELOADED, Running};
use crate::workload::Case;

const CASE: Case = Case {
    bytes: 512,
    streamed: false,
    clients: 1,
    rate: None,
};

/// Before what is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// Between a plugin that is live and the next one.
const REST: Duration = Duration::from_millis(500);

/// How long a plugin may take to be live.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the gateway is asked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// Measures, and prints what was seen.
pub fn run(wanted: &arguments::Reload) -> anyhow::Result<()> {
    let (_upstream, address) = bench::upstream(Duration::ZERO)?;
    let workshop = bench::workshop(&wanted.program, address)?;
    let (subject, place) = subject::for_reload(&workshop)?;
    let running = Running::start(subject)?;
    let process = running
        .process
        .as_ref()
        .context("the gateway is not a process")?;
    process.resume();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let target = &running.subject.target;
    let ask = || runtime.block_on(loaded(target, wanted.seconds, process));
    let quiet = ask()?;
    let stop = Arc::new(AtomicBool::new(false));
    let saving = thread::spawn({
        let stop = stop.clone();
        move || save(&place, &stop)
    });
    let busy = ask();
    stop.store(true, Ordering::Relaxed);
    let saved = saving
        .join()
        .map_err(|_| anyhow::anyhow!("saving broke off"))??;
    tell(&quiet, &busy?, saved)
}

async fn loaded(target: &Target, seconds: f64, process: &Process) -> anyhow::Result<Measured> {
    let times = (WARM_UP, Duration::from_secs_f64(seconds));
    load::run(target, CASE, times, Some(process)).await
}

/// Saves the plugin anew until it is told to stop; how long each took.
fn save(place: &Path, stop: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let file = place.join(RELOADED);
    let component = fs::read(&file)?;
    let mut took = Vec::new();
    // What was saved in another run may have been kept compiled.
    let first = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    for number in first.as_nanos().. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let before = generation(place)?;
        let (begun, new) = (Instant::now(), file.with_extension("new"));
        fs::write(&new, marked(&component, number))?;
        fs::rename(&new, &file)?;
        while generation(place)? == before {
            ensure!(begun.elapsed() < PATIENCE, "a plugin is not live");
            thread::sleep(LOOK);
        }
        took.push(begun.elapsed());
        thread::sleep(REST);
    }
    Ok(took)
}

/// The component with a custom section at its end (Component Model, binary
/// format): another one by its digest, which does the same.
fn marked(component: &[u8], number: u128) -> Vec<u8> {
    let name = b"\x04mark";
    let content = [&name[..], &number.to_le_bytes()].concat();
    let length = content.len() as u8;
    [component, &[0, length], &content].concat()
}

/// The generation that is live.
fn generation(place: &Path) -> anyhow::Result<u64> {
    let mut stream = UnixStream::connect(place.join("admin.sock"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status: serde_json::Value = serde_json::from_str(body)?;
    status["live"]["generation"]
        .as_u64()
        .context("the status tells no generation")
}

fn tell(quiet: &Measured, busy: &Measured, mut saved: Vec<Duration>) -> anyhow::Result<()> {
    saved.sort();
    let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
    let middle = saved.get(saved.len() / 2).context("nothing was saved")?;
    let longest = saved.last().context("nothing was saved")?;
    println!(
        "{} plugins saved: live after {:.0} ms in the middle, {:.0} ms at the most",
        saved.len(),
        milliseconds(middle),
        milliseconds(longest)
    );
    for (name, measured) in [("in peace", quiet), ("meanwhile", busy)] {
        let at = |quantile| measured.latency.value_at_quantile(quantile);
        println!(
            "{name:>9}: {} answers, {} failures; p50 {} µs, p99 {} µs, p99.9 {} µs",
            measured.answers,
            measured.failures,
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
    ensure!(busy.failures == 0, "an answer was lost: {:?}", busy.failure);
    Ok(())
}
