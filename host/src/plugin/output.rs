//! Where a plugin's standard output goes: line by line to the gateway's log,
//! or, if the manifest says so, as it is to a file or to standard output.
//!
//! Lines in the log are bounded, since they come from code that is not
//! trusted; what a manifest directs to a file is the plugin's purpose. A file
//! or a reader of standard output may stall for as long as it likes, so a
//! thread for each of these outputs writes, and a plugin only queues what it
//! writes: exchanges never wait for it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::Terms;

/// The longest line that is logged whole, in bytes; longer ones are cut.
const MAX_LINE: usize = 4 << 10;

/// The most lines that all instances of a plugin may log in a second. One that
/// says something of every exchange of a busy gateway should be a logger with
/// an `output` of its own.
const LOG_RATE: u32 = 200;

/// Bytes that a plugin may write at once; a longer write comes in pieces.
const PERMIT: usize = 64 << 10;

/// How many chunks wait for an output before further ones are dropped, counted
/// and told of. A chunk has at most `PERMIT` bytes.
const QUEUE: usize = 8192;

/// The most bytes that wait for an output: many long chunks are too much
/// before many short ones are.
const MAX_WAITING: usize = 16 << 20;

/// Where the manifest directs a plugin's standard output.
#[derive(Debug)]
pub enum Output {
    /// To the gateway's log.
    Log,
    /// To standard output or a file.
    Written(Writer),
}

impl Output {
    /// Writes to the gateway's own standard output. `running` is held until
    /// the last byte is written. The error is that of starting a thread.
    pub fn stdout(running: tokio::sync::mpsc::Sender<()>) -> std::io::Result<Self> {
        let write = |bytes: &[u8]| {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(bytes)?;
            stdout.flush()
        };
        Writer::start("standard output".to_owned(), write, running).map(Self::Written)
    }

    /// Writes what was held back; nothing of it if it goes to the log, where it
    /// is already.
    pub(super) fn write(&self, bytes: &[u8]) {
        let Self::Written(writer) = self else {
            return;
        };
        let mut pending = Pending::default();
        pending.chunks(bytes, |chunk| writer.offer(chunk));
        if !pending.line.is_empty() {
            writer.offer(pending.line);
        }
    }

    /// Opens a file for appending, making its directory if need be. `running`
    /// is held until the last byte is written.
    ///
    /// Several plugins, and a plugin's next generation, may name the same
    /// file: each appends whole lines at a time, so theirs do not mix.
    pub fn file(path: &Path, running: tokio::sync::mpsc::Sender<()>) -> std::io::Result<Self> {
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let write = move |bytes: &[u8]| file.write_all(bytes);
        Writer::start(path.display().to_string(), write, running).map(Self::Written)
    }
}

/// What a plugin writes to its output while a call may yet fail, if it is held
/// back until then. A batch of records that fails is given to its logger again:
/// what it had written of it must not stand there twice.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Option<Vec<u8>>>);

impl Held {
    /// Holds back from now on.
    pub(super) fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// Takes bytes if they are held back, of which there are at most `most`.
    fn take(&self, bytes: &[u8], most: usize) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.as_mut() else {
            return false;
        };
        let room = most.saturating_sub(held.len());
        held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        true
    }

    /// Lets go what was held back; further bytes pass.
    pub(super) fn end(&self) -> Vec<u8> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.take().unwrap_or_default()
    }
}

/// A thread that writes to one output, and the queue of what it is to write.
/// It ends when the `Writer` is gone and all that was queued is written.
#[derive(Debug)]
pub struct Writer {
    to: String,
    queue: mpsc::SyncSender<Vec<u8>>,
    /// Bytes in the queue and in the write under way.
    waiting: Arc<AtomicUsize>,
    dropped: AtomicU64,
}

impl Writer {
    fn start(
        to: String,
        mut write: impl FnMut(&[u8]) -> std::io::Result<()> + Send + 'static,
        running: tokio::sync::mpsc::Sender<()>,
    ) -> std::io::Result<Self> {
        let (queue, chunks) = mpsc::sync_channel::<Vec<u8>>(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let (written, output) = (waiting.clone(), to.clone());
        let run = move || {
            let mut failed = 0_u64;
            for chunk in chunks {
                if let Err(error) = write(&chunk) {
                    failed += 1;
                    if failed.is_power_of_two() {
                        tracing::warn!(output, failed, %error, "plugin output is lost");
                    }
                }
                written.fetch_sub(chunk.len(), Ordering::Relaxed);
            }
            drop(running);
        };
        std::thread::Builder::new()
            .name("plugin-output".to_owned())
            .spawn(run)?;
        Ok(Self {
            to,
            queue,
            waiting,
            dropped: AtomicU64::new(0),
        })
    }

    /// Queues a chunk, or drops it if too much waits. Never blocks.
    fn offer(&self, chunk: Vec<u8>) {
        let length = chunk.len();
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        if before.saturating_add(length) <= MAX_WAITING && self.queue.try_send(chunk).is_ok() {
            return;
        }
        self.waiting.fetch_sub(length, Ordering::Relaxed);
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            let output = self.to.as_str();
            tracing::warn!(output, dropped, "it takes no more: plugin output is lost");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// How many lines a plugin has logged in the second that passes.
#[derive(Debug, Default)]
pub struct LogRate(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
}

impl LogRate {
    /// Whether a line may be logged; if not, how many were not, the first time
    /// in that second that one is not.
    fn admit(&self) -> Result<(), Option<u32>> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if window
            .since
            .is_none_or(|since| now - since >= Duration::from_secs(1))
        {
            *window = Window {
                since: Some(now),
                lines: 0,
            };
        }
        window.lines = window.lines.saturating_add(1);
        match window.lines {
            lines if lines <= LOG_RATE => Ok(()),
            lines => Err((lines == LOG_RATE + 1).then_some(LOG_RATE)),
        }
    }
}

/// What an instance has written in one exchange, to both of its streams.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// Lines that were logged.
    pub(super) logged: AtomicU32,
    pub(super) held: Held,
}

/// One of the two output streams of an instance.
#[derive(Clone)]
pub(super) struct GuestOutput {
    terms: Arc<Terms>,
    stream: Stream,
    writing: Arc<Writing>,
    /// Whether what comes is thrown away, since the plugin only rehearses.
    rehearsal: bool,
    pending: Arc<Mutex<Pending>>,
}

/// The line that is not over yet.
#[derive(Default)]
struct Pending {
    line: Vec<u8>,
}

impl Pending {
    /// Takes bytes, and gives chunks of at most `PERMIT` bytes that end with a
    /// line; only a line that is longer than that comes in pieces.
    fn chunks(&mut self, bytes: &[u8], mut give: impl FnMut(Vec<u8>)) {
        for bytes in bytes.chunks(PERMIT) {
            for piece in bytes.split_inclusive(|b| *b == b'\n') {
                while self.line.len() + piece.len() > PERMIT {
                    let lines = self.whole_lines();
                    give(lines.unwrap_or_else(|| std::mem::take(&mut self.line)));
                }
                self.line.extend_from_slice(piece);
            }
            if bytes.contains(&b'\n') {
                self.whole_lines().map(&mut give);
            }
        }
    }

    /// Takes out the lines that are over, if there are any.
    fn whole_lines(&mut self) -> Option<Vec<u8>> {
        let over = self.line.iter().rposition(|b| *b == b'\n')? + 1;
        let rest = self.line.split_off(over);
        Some(std::mem::replace(&mut self.line, rest))
    }
}

impl GuestOutput {
    pub(super) fn new(
        terms: Arc<Terms>,
        stream: Stream,
        writing: Arc<Writing>,
        rehearsal: bool,
    ) -> Self {
        Self {
            terms,
            stream,
            writing,
            rehearsal,
            pending: Arc::default(),
        }
    }

    /// The writer of what comes here; none if it is logged.
    fn writer(&self) -> Option<&Writer> {
        match (&self.terms.output, self.stream) {
            (Output::Written(writer), Stream::Stdout) => Some(writer),
            _ => None,
        }
    }

    fn take(&self, bytes: &[u8]) {
        if self.rehearsal {
            return;
        }
        let most = self.terms.limits.output;
        if self.writer().is_some() && self.writing.held.take(bytes, most) {
            return;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        match self.writer() {
            Some(writer) => pending.chunks(bytes, |chunk| writer.offer(chunk)),
            None => self.log(&mut pending, bytes),
        }
    }

    fn log(&self, pending: &mut Pending, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let room = MAX_LINE.saturating_sub(pending.line.len());
            pending
                .line
                .extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") || room == 0 {
                self.log_line(std::mem::take(&mut pending.line));
            }
        }
    }

    fn log_line(&self, line: Vec<u8>) {
        let plugin = self.terms.name.as_str();
        let most = self.terms.limits.log;
        let before = self.writing.logged.fetch_add(1, Ordering::Relaxed);
        if before >= most {
            if before == most {
                tracing::warn!(target: "palisade::plugin", plugin, "limit of {most} lines was reached: the rest of its output is left out");
            }
            return;
        }
        match self.terms.log_rate.admit() {
            Ok(()) => {
                let line = String::from_utf8_lossy(line.trim_ascii_end());
                tracing::info!(target: "palisade::plugin", plugin, "{}", line.escape_debug());
            }
            Err(Some(rate)) => {
                tracing::warn!(target: "palisade::plugin", plugin, "it logs more than {rate} lines a second: the rest of this second is left out");
            }
            Err(None) => {}
        }
    }
}

impl Drop for GuestOutput {
    fn drop(&mut self) {
        if Arc::strong_count(&self.pending) == 1 {
            let pending =
                std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            match self.writer() {
                _ if pending.line.is_empty() || self.rehearsal => {}
                Some(writer) => writer.offer(pending.line),
                None => self.log_line(pending.line),
            }
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi_io::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl tokio::io::AsyncWrite for GuestOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;
    use std::time::Duration;

    use super::*;

    fn chunks(writes: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut pending = Pending::default();
        let mut given = Vec::new();
        for bytes in writes {
            pending.chunks(bytes, |chunk| given.push(chunk));
        }
        (given, pending.line)
    }

    #[test]
    fn what_is_held_back_is_let_go_once() {
        let held = Held::default();
        assert!(!held.take(b"passes", 10));
        held.begin();
        assert!(held.take(b"a line\n", 10) && held.take(b"and more", 10));
        assert_eq!(held.end(), b"a line\nand", "within its bound");
        assert!(!held.take(b"passes", 10));
        // A call that failed is begun again with nothing.
        held.begin();
        held.take(b"in vain", 10);
        held.begin();
        assert_eq!(held.end(), b"");
    }

    #[test]
    fn a_chunk_ends_with_a_line() {
        let (given, rest) = chunks(&[b"a", b"b\nc\nd", b"", b"e\n", b"f"]);
        assert_eq!(given, [&b"ab\nc\n"[..], b"de\n"]);
        assert_eq!(rest, b"f");
    }

    #[test]
    fn a_chunk_is_bounded_and_nothing_is_lost() {
        let line = [vec![b'x'; PERMIT - 1], b"\n".to_vec()].concat();
        let long = [vec![b'y'; 3 * PERMIT], b"\nz".to_vec()].concat();
        let (given, rest) = chunks(&[&line[1..], b"a", &line[1..], &long, b"\n"]);
        assert!(given.iter().all(|c| !c.is_empty() && c.len() <= PERMIT));
        let whole = [&line[1..], b"a", &line[1..], &long, b"\n"].concat();
        assert!([given.concat(), rest].concat() == whole);
        // What was not over does not cut the line after it.
        let (given, _) = chunks(&[b"a", &[b"\n", &line[..PERMIT - 2], b"\n"].concat()]);
        assert_eq!(given[0], b"a\n");
        assert!(given[1..] == [line[1..].to_vec()]);
    }

    /// A writer to memory, which waits for a word before each write if there
    /// is someone to give it.
    type Sink = (Writer, Arc<Mutex<Vec<u8>>>, tokio::sync::mpsc::Receiver<()>);

    fn sink(stall: Option<mpsc::Receiver<()>>) -> Sink {
        let (running, ended) = tokio::sync::mpsc::channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = written.clone();
        let write = move |bytes: &[u8]| {
            if let Some(stall) = &stall {
                let _ = stall.recv();
            }
            if bytes == b"bad\n" {
                return Err(Error::other("no space"));
            }
            sink.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        };
        (
            Writer::start("it".to_owned(), write, running).unwrap(),
            written,
            ended,
        )
    }

    #[test]
    fn what_was_queued_is_written_before_it_ends() {
        let (writer, written, mut ended) = sink(None);
        let lines: Vec<_> = (0..1000).map(|i| format!("{i}\n")).collect();
        for line in &lines {
            writer.offer(line.clone().into_bytes());
            writer.offer(b"bad\n".to_vec());
        }
        let waiting = writer.waiting.clone();
        drop(writer);
        assert_eq!(ended.blocking_recv(), None);
        assert_eq!(*written.lock().unwrap(), lines.concat().into_bytes());
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_output_that_stalls_stops_nobody() {
        let (go, stall) = mpsc::channel();
        let (writer, written, mut ended) = sink(Some(stall));
        let offered = 2 * QUEUE;
        for _ in 0..offered {
            writer.offer(b"x\n".to_vec());
        }
        let dropped = usize::try_from(writer.dropped.load(Ordering::Relaxed)).unwrap();
        // One may be under way.
        let kept = offered - dropped;
        assert!((QUEUE..=QUEUE + 1).contains(&kept), "{kept}");
        std::thread::sleep(Duration::from_millis(10));
        assert!(ended.try_recv().is_err() && !ended.is_closed());
        drop((go, writer));
        assert_eq!(ended.blocking_recv(), None);
        assert_eq!(written.lock().unwrap().len(), 2 * kept);
    }

    #[test]
    fn the_bytes_that_wait_are_bounded() {
        let (go, stall) = mpsc::channel();
        let (writer, written, mut ended) = sink(Some(stall));
        for _ in 0..2 * (MAX_WAITING / PERMIT) {
            writer.offer(vec![b'x'; PERMIT]);
        }
        drop((go, writer));
        assert_eq!(ended.blocking_recv(), None);
        assert_eq!(written.lock().unwrap().len(), MAX_WAITING);
    }
}
