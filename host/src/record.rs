//! The record of an exchange: exactly one for each, on every path, handed to
//! the loggers of its route off the request path.
//!
//! A `Recorder` is made when the head of a request has been read and is
//! finished when the last byte of the answer has been handed over. One that is
//! dropped before was cancelled: the client went away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use tokio::sync::mpsc;

use crate::gateway::Place;
use crate::plugin::{CallError, Entry, Instance, OnFailure, Outcome, Plugin};
use crate::timing::Timing;

/// How many records wait for a logger before further ones are dropped, counted
/// and told of. At 1 KiB a record this is 8 MiB a logger.
const QUEUE: usize = 8192;

/// The most records in one batch.
const BATCH: usize = 256;

/// How long a batch waits for more records, and how often it is looked at while
/// it has to wait longer: to be woken by each record would cost each exchange a
/// call of the kernel. A batch wakes two threads, whatever is in it, one that has
/// its logger called and one that writes; and exchanges wait for the core that
/// does so, for longer the more there is. Shorter waits made exchanges dearer,
/// longer ones the last of a hundred slower.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// A logger rests so many times as long as its last batch took, within a bound:
/// one that is slow to start is given more records at a time, and takes a fifth
/// of a core at the most while it keeps up.
const RESTS: u32 = 4;
const MAX_REST: Duration = Duration::from_millis(100);

/// How long a logger waits for an instance before it looks again, and how many
/// times: a minute.
const INSTANCE_WAIT: Duration = Duration::from_millis(100);
const INSTANCE_WAITS: u32 = 600;

/// What is known of an exchange so far.
pub struct Recorder {
    entry: Entry,
    started: Instant,
    loggers: Vec<Arc<Logger>>,
    /// The exchange's place, which is free again when its record is made.
    place: Option<Place>,
    /// Bytes of a request's body that is passed on as it comes.
    relayed: Option<Arc<AtomicU64>>,
    timing: Timing,
    finished: bool,
}

impl Recorder {
    pub fn new(id: &str, method: &str, path: &str) -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let path = bounded(path);
        let entry = Entry {
            exchange_id: id.to_owned(),
            started_at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            method: method.to_owned(),
            path,
            ..blank()
        };
        Self {
            entry,
            started: Instant::now(),
            loggers: Vec::new(),
            place: None,
            relayed: None,
            timing: Timing::default(),
            finished: false,
        }
    }

    /// Holds the exchange's place until its last byte.
    pub fn hold(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Where the exchange's time is written down.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Where its time went until now, if that is written down.
    pub fn time_spent(&self) -> Option<String> {
        self.timing.field(self.started.elapsed())
    }

    /// What has been recorded, to add to.
    pub fn entry(&mut self) -> &mut Entry {
        &mut self.entry
    }

    pub fn set_loggers(&mut self, loggers: &[Arc<Logger>]) {
        self.loggers = loggers.to_vec();
    }

    /// When the exchange began, in seconds since 1970-01-01 UTC.
    pub fn started_at(&self) -> u64 {
        self.entry.started_at / 1000
    }

    pub fn set_status(&mut self, status: StatusCode) {
        self.entry.status = Some(status.as_u16());
    }

    /// Adds something that has no field of its own, to what is there already.
    pub fn note(&mut self, key: &str, value: String) {
        match self.entry.notes.iter_mut().find(|(k, _)| k == key) {
            Some((_, known)) => {
                known.push_str(", ");
                known.push_str(&value);
            }
            None => self.entry.notes.push((key.to_owned(), value)),
        }
    }

    /// Writes something that has no field of its own.
    pub fn set_note(&mut self, key: &str, value: String) {
        self.entry.notes.retain(|(k, _)| k != key);
        self.entry.notes.push((key.to_owned(), value));
    }

    /// Takes the length of the request's body from a counter, in the end.
    pub fn count_request(&mut self, bytes: Arc<AtomicU64>) {
        self.relayed = Some(bytes);
    }

    /// Counts bytes of the answer as they are handed over.
    pub fn sent(&mut self, bytes: usize) {
        self.entry.response_bytes = self.entry.response_bytes.saturating_add(bytes as u64);
    }

    /// The exchange has ended; nothing is recorded after this, and what
    /// was is the last logger's.
    pub fn finish(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.place = None;
        self.entry.outcome = outcome;
        if let Some(bytes) = self.relayed.take() {
            self.entry.request_bytes = bytes.load(Ordering::Relaxed);
        }
        for name in [&mut self.entry.model, &mut self.entry.requested_model]
            .into_iter()
            .flatten()
        {
            *name = bounded(name);
        }
        let elapsed = self.started.elapsed().as_micros();
        self.entry.duration = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let e = &self.entry;
        tracing::debug!(
            target: "palisade::exchange",
            id = e.exchange_id, route = e.route.as_deref(), status = e.status,
            outcome = ?e.outcome, duration_us = e.duration, error = e.error.as_deref(),
            "exchange ended"
        );
        let Some((last, others)) = self.loggers.split_last() else {
            return;
        };
        for logger in others {
            logger.offer(self.entry.clone());
        }
        last.offer(std::mem::replace(&mut self.entry, blank()));
    }
}

/// A record of nothing.
fn blank() -> Entry {
    Entry {
        exchange_id: String::new(),
        started_at: 0,
        duration: 0,
        method: String::new(),
        path: String::new(),
        status: None,
        outcome: Outcome::Cancelled,
        route: None,
        principal: None,
        dialect: None,
        streaming: false,
        requested_model: None,
        model: None,
        provider: None,
        input_tokens: None,
        output_tokens: None,
        request_bytes: 0,
        response_bytes: 0,
        error: None,
        notes: Vec::new(),
    }
}

/// The longest path, or name of a model, in a record: they come from clients.
const MAX_TEXT: usize = 256;

fn bounded(text: &str) -> String {
    let end = (0..=MAX_TEXT.min(text.len()))
        .rev()
        .find(|i| text.is_char_boundary(*i));
    text[..end.unwrap_or(0)].to_owned()
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}

/// A logger plugin with its queue. When the last exchange that uses it and the
/// generation that it belongs to are gone, its task writes what is left and
/// ends.
pub struct Logger {
    plugin: Arc<Plugin>,
    on_failure: OnFailure,
    queue: mpsc::Sender<Entry>,
    dropped: AtomicU64,
}

impl Logger {
    /// Starts the logger's task; `running` is held until it has ended.
    pub fn start(
        plugin: Arc<Plugin>,
        on_failure: OnFailure,
        running: mpsc::Sender<()>,
    ) -> Arc<Self> {
        let (queue, entries) = mpsc::channel(QUEUE);
        let writer = Writer {
            plugin: plugin.clone(),
            on_failure,
            entries,
        };
        tokio::spawn(async move {
            writer.run().await;
            drop(running);
        });
        Arc::new(Self {
            plugin,
            on_failure,
            queue,
            dropped: AtomicU64::new(0),
        })
    }

    /// Whether this logger runs the given plugin by the given policy.
    pub fn runs(&self, plugin: &Arc<Plugin>, on_failure: OnFailure) -> bool {
        Arc::ptr_eq(&self.plugin, plugin) && self.on_failure == on_failure
    }

    fn offer(&self, entry: Entry) {
        let Err(refused) = self.queue.try_send(entry) else {
            return;
        };
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            let plugin = self.plugin.name.as_str();
            let why = match refused {
                mpsc::error::TrySendError::Full(_) => "its queue is full",
                mpsc::error::TrySendError::Closed(_) => "its task has ended",
            };
            tracing::warn!(plugin, dropped, "{why}: records are lost");
        }
    }
}

/// Whether a batch of so many records, which has waited for so long, waits for
/// more, if the last one took so long.
fn waits(records: usize, waited: Duration, took: Duration) -> bool {
    let rest = took.saturating_mul(RESTS).clamp(BATCH_WAIT, MAX_REST);
    records < BATCH && waited < rest
}

/// The task that gives a logger its batches.
struct Writer {
    plugin: Arc<Plugin>,
    on_failure: OnFailure,
    entries: mpsc::Receiver<Entry>,
}

impl Writer {
    async fn run(mut self) {
        let mut took = Duration::ZERO;
        while let Some(first) = self.entries.recv().await {
            // A few more may be on their way; one call for many is cheaper.
            let since = Instant::now();
            while !self.entries.is_closed() && waits(self.entries.len() + 1, since.elapsed(), took)
            {
                tokio::time::sleep(BATCH_WAIT).await;
            }
            let more = std::iter::from_fn(|| self.entries.try_recv().ok());
            let batch: Vec<_> = std::iter::once(first).chain(more).take(BATCH).collect();
            let begun = Instant::now();
            self.write(&batch).await;
            took = begun.elapsed();
        }
    }

    /// Writes a batch. One that fails is halved, so that one record which the
    /// logger cannot take does not cost the others.
    async fn write(&self, batch: &[Entry]) {
        let mut waiting = vec![batch];
        while let Some(part) = waiting.pop() {
            let error = match self.attempt(part).await {
                Ok(()) => continue,
                // An operator wants none of it; the plugin's counts tell.
                Err(CallError::Disabled) => return,
                Err(error) => error,
            };
            if part.len() > 1 {
                let (first, second) = part.split_at(part.len() / 2);
                waiting.extend([second, first]);
            } else {
                let plugin = self.plugin.name.as_str();
                let exchange = part.first().map(|entry| entry.exchange_id.as_str());
                tracing::error!(plugin, exchange, %error, "the logger failed a record");
            }
        }
    }

    /// Writes records once, or twice if failures are not to be passed over.
    async fn attempt(&self, batch: &[Entry]) -> Result<(), CallError> {
        let result = self.once(batch).await;
        if result.is_err() && self.on_failure == OnFailure::Reject {
            return self.once(batch).await;
        }
        result
    }

    /// Traffic comes before records: while it has all instances, they wait.
    async fn once(&self, batch: &[Entry]) -> Result<(), CallError> {
        for _ in 0..INSTANCE_WAITS {
            match Instance::start(&self.plugin).await {
                Err(CallError::Exhausted) => tokio::time::sleep(INSTANCE_WAIT).await,
                Err(error) => return Err(error),
                Ok(mut instance) => return instance.write(batch).await,
            }
        }
        Err(CallError::Exhausted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_for_more_and_rests_after_a_long_one() {
        let short = Duration::from_micros(300);
        let long = Duration::from_millis(20);
        let cases = [
            // Records, milliseconds that it has waited, what the last took.
            (1, 0, Duration::ZERO, true),
            (1, 5, Duration::ZERO, false),
            (32, 4, short, true),
            (32, 5, short, false),
            // Four times twenty milliseconds.
            (32, 79, long, true),
            (1, 80, long, false),
            (255, 99, Duration::from_secs(60), true),
            (255, 100, Duration::from_secs(60), false),
            (256, 0, long, false),
        ];
        for (records, waited, took, expected) in cases {
            let waited = Duration::from_millis(waited);
            let found = waits(records, waited, took);
            assert_eq!(found, expected, "{records}, {waited:?}, {took:?}");
        }
    }
}
