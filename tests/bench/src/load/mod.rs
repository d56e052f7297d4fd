//! The load: clients on connections that they keep, each of which asks again
//! as soon as it has its answer, or when the rate of all together lets it.

mod connection;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::task::LocalSet;

pub use connection::{Answer, Connection};

use crate::process::Process;
use crate::workload::{self, Case};

/// How long a client may wait for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long answers that are under way at the end are waited for.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A load with fewer answers is measured for longer, up to so many times, and
/// so is one at a rate, of which the slowest hundredth is what is asked: one
/// stall of the machine, of ten milliseconds, is a hundredth of a second.
const ENOUGH: u64 = 40;
const LONGER: usize = 5;

/// The longest latency that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;

/// Where requests go, and how.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// The bytes of a request.
    pub fn request(&self, bytes: usize, streamed: bool) -> Vec<u8> {
        let body = workload::chat_body(bytes, streamed);
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             authorization: Bearer sk-bench\r\ncontent-length: {}\r\n",
            self.path,
            self.address,
            body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.into_bytes(), body].concat()
    }
}

/// What a load found. Latencies are in microseconds.
#[derive(Debug)]
pub struct Measured {
    pub answers: u64,
    pub failures: u64,
    /// What the first failure was.
    pub failure: Option<String>,
    pub elapsed: Duration,
    /// Of the subject's processes.
    pub processor_time: Duration,
    pub latency: Histogram<u64>,
    pub first_byte: Histogram<u64>,
}

/// What the clients of one load share.
struct Shared {
    counts: Cell<bool>,
    stops: Cell<bool>,
    measured: RefCell<Measured>,
}

/// Puts a load on a target, and tells what it found after the first `warm_up`.
pub async fn run(
    target: &Target,
    case: Case,
    (warm_up, time): (Duration, Duration),
    process: Option<&Process>,
) -> anyhow::Result<Measured> {
    let request: Rc<[u8]> = target.request(case.bytes, case.streamed).into();
    let shared = Rc::new(Shared {
        counts: Cell::new(false),
        stops: Cell::new(false),
        measured: RefCell::new(Measured::new()?),
    });
    let clients = LocalSet::new();
    let mut running = Vec::new();
    for number in 0..case.clients {
        let pace = case.rate.map(|rate| Pace::new(case.clients, number, rate));
        let to = (target.address, request.clone(), case.streamed);
        running.push(clients.spawn_local(client(to, pace, shared.clone())));
    }
    let used = || process.map(Process::processor_time).unwrap_or_default();
    let (elapsed, processor_time) = clients
        .run_until(async {
            tokio::time::sleep(warm_up).await;
            let (begun, before) = (Instant::now(), used());
            shared.counts.set(true);
            // Python answers a handful of streams in a second.
            for _ in 0..LONGER {
                tokio::time::sleep(time).await;
                if case.rate.is_none() && shared.measured.borrow().answers >= ENOUGH {
                    break;
                }
            }
            shared.counts.set(false);
            let found = (begun.elapsed(), used().saturating_sub(before));
            shared.stops.set(true);
            let all = async {
                for client in running {
                    let _ = client.await;
                }
            };
            let _ = tokio::time::timeout(LAST_ANSWERS, all).await;
            found
        })
        .await;
    drop(clients);
    let shared = Rc::into_inner(shared).context("a client is still running")?;
    Ok(Measured {
        elapsed,
        processor_time,
        ..shared.measured.into_inner()
    })
}

/// When one of several clients asks, so that all together keep to a rate.
struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    /// Of `clients`, the one with a number asks first after its share of the
    /// time between two requests of its own.
    fn new(clients: usize, number: usize, rate: u32) -> Self {
        let between = Duration::from_secs(1) / rate;
        let times = |count: usize| between * u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            next: Instant::now() + times(number),
            interval: times(clients),
        }
    }

    /// Waits for the time of a request, and answers from when on the request
    /// waits: from then, or from its time if the last answer came after that.
    /// That a timer is late is not the subject's fault.
    async fn turn(&mut self) -> Instant {
        let due = self.next;
        self.next += self.interval;
        if due <= Instant::now() {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}

/// One client: asks until it is told to stop.
async fn client(
    (address, request, streamed): (SocketAddr, Rc<[u8]>, bool),
    mut pace: Option<Pace>,
    shared: Rc<Shared>,
) {
    let mut kept = None;
    while !shared.stops.get() {
        let begun = match &mut pace {
            Some(pace) => pace.turn().await,
            None => Instant::now(),
        };
        let asked = async {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Connection::open(address).await?,
            };
            let answer = connection.ask(&request).await?;
            answer.check(streamed)?;
            anyhow::Ok((answer, connection))
        };
        let asked = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(asked) => asked,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs())),
        };
        match asked {
            Ok((answer, connection)) => {
                if shared.counts.get() {
                    shared.measured.borrow_mut().add(begun, &answer);
                }
                kept = answer.keeps_connection.then_some(connection);
            }
            Err(error) => {
                shared.measured.borrow_mut().fail(&error);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

impl Measured {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            answers: 0,
            failures: 0,
            failure: None,
            elapsed: Duration::ZERO,
            processor_time: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, LONGEST, 3)?,
            first_byte: Histogram::new_with_bounds(1, LONGEST, 3)?,
        })
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.failures += 1;
        self.failure.get_or_insert_with(|| format!("{error:#}"));
    }

    fn add(&mut self, begun: Instant, answer: &Answer) {
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(LONGEST);
        self.answers += 1;
        self.latency
            .saturating_record(microseconds(begun.elapsed()));
        self.first_byte
            .saturating_record(microseconds(answer.first_byte.duration_since(begun)));
    }
}
