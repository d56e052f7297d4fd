//! Many slow streams at a time through one gateway: whether all of them come
//! through whole, and what memory each of them holds.
//!
//! A stream takes two descriptors of the gateway's. Where the limit does not
//! suffice, the last streams share connections of HTTP/2 on the client's side.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::arguments;
use crate::bench;
use crate::load::Connection;
use crate::process::{self, Process};
use crate::subject::{self, Running, Subject};
use crate::workload::{self, EVENTS};

/// Streams on one connection of HTTP/2.
const SHARED: usize = 100;

/// Descriptors that are left for other things.
const SPARE: usize = 100;

/// Streams begun in a second.
const RATE: u32 = 1_000;

/// How much longer than its events a stream may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was seen while the streams ran.
#[derive(Debug, Default)]
struct Seen {
    whole: usize,
    failures: Vec<String>,
    /// The largest memory, in bytes.
    resident: u64,
    processor: Duration,
    elapsed: Duration,
}

/// Runs the streams and prints what was seen.
pub fn run(wanted: &arguments::Streams) -> anyhow::Result<()> {
    let limit = process::raise_limit()?;
    let interval = Duration::from_millis(wanted.interval);
    let (_upstream, address) = bench::upstream(interval)?;
    let workshop = bench::workshop(&wanted.program, address)?;
    let subject = subject::for_streams(&workshop, wanted.streams, wanted.watched)?;
    let running = Running::start(subject)?;
    let process = running
        .process
        .as_ref()
        .context("the gateway is not a process")?;
    process.resume();
    let own = connections(wanted.streams, limit)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let bound = interval * u32::try_from(EVENTS)? + PATIENCE;
    let seen = runtime.block_on(all(&running.subject, process, (wanted.streams, own), bound))?;
    tell(wanted, own, &seen, running.idle.unwrap_or_default());
    ensure!(
        seen.whole == wanted.streams,
        "{} streams did not come whole",
        wanted.streams - seen.whole
    );
    Ok(())
}

/// How many streams get a connection of their own.
fn connections(streams: usize, limit: usize) -> anyhow::Result<usize> {
    let room = limit.saturating_sub(SPARE);
    // Each takes one upstream; one in a hundred is a connection of HTTP/2.
    let left = room.checked_sub(streams + streams / SHARED);
    let left = left.with_context(|| format!("{limit} descriptors are too few, see `ulimit -n`"))?;
    Ok(left.min(streams))
}

async fn all(
    subject: &Subject,
    process: &Process,
    (streams, own): (usize, usize),
    bound: Duration,
) -> anyhow::Result<Seen> {
    let request: Bytes = subject.target.request(512, true).into();
    let address = subject.target.address;
    let mut running = JoinSet::new();
    let mut seen = Seen::default();
    let (begun, before) = (Instant::now(), process.processor_time());
    let mut pace = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut shared = None;
    for number in 0..streams {
        pace.tick().await;
        if number < own {
            running.spawn(alone(address, request.clone(), bound));
            continue;
        }
        if (number - own).is_multiple_of(SHARED) {
            shared = Some(connect(address).await?);
        }
        if let Some(sender) = &shared {
            let uri = format!("http://{address}{}", subject.target.path);
            running.spawn(among_others(sender.clone(), uri, bound));
        }
    }
    let mut look = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => seen.whole += 1,
                Some(Ok(Err(error))) => seen.failures.push(format!("{error:#}")),
                Some(Err(error)) => seen.failures.push(error.to_string()),
            },
            _ = look.tick() => seen.resident = seen.resident.max(process.resident()),
        }
    }
    seen.elapsed = begun.elapsed();
    seen.processor = process.processor_time().saturating_sub(before);
    Ok(seen)
}

/// A stream on a connection of its own.
async fn alone(address: SocketAddr, request: Bytes, bound: Duration) -> anyhow::Result<()> {
    let stream = async {
        let mut connection = Connection::open(address).await?;
        connection.ask(&request).await?.check(true)
    };
    tokio::time::timeout(bound, stream)
        .await
        .context("a stream does not end")?
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr) -> anyhow::Result<Sender> {
    let io = TokioIo::new(TcpStream::connect(address).await?);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A stream on a connection of HTTP/2.
async fn among_others(mut sender: Sender, uri: String, bound: Duration) -> anyhow::Result<()> {
    let body = Full::from(workload::chat_body(512, true));
    let request = http::Request::post(uri)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)?;
    let stream = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status == http::StatusCode::OK, "status {status}");
        ensure!(body.ends_with(b"data: [DONE]\n\n"), "a stream ended early");
        Ok(())
    };
    tokio::time::timeout(bound, stream)
        .await
        .context("a stream does not end")?
}

fn tell(wanted: &arguments::Streams, own: usize, seen: &Seen, idle: u64) {
    let streams = wanted.streams;
    let grown = seen.resident.saturating_sub(idle) as f64 / 1024.0;
    let events = (seen.whole * EVENTS).max(1) as f64;
    println!(
        "{} of {streams} streams came whole in {:.0} s, {} of them over HTTP/2",
        seen.whole,
        seen.elapsed.as_secs_f64(),
        streams - own
    );
    println!(
        "memory: {} MiB before, {} MiB at the most, {:.1} KiB a stream",
        idle >> 20,
        seen.resident >> 20,
        grown / streams as f64
    );
    println!(
        "processor: {:.1} µs an event",
        seen.processor.as_secs_f64() * 1e6 / events
    );
    for failure in seen.failures.iter().take(3) {
        println!("failed: {failure}");
    }
}
