//! Where a plugin's standard output goes: line by line to the gateway's log,
//! or, if the manifest says so, as it is to a file or to standard output.
//!
//! Lines in the log are bounded, since they come from code that is not
//! trusted; what a manifest directs to a file is the plugin's purpose.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::Plugin;

/// The longest line that is logged whole, in bytes; longer ones are cut.
const MAX_LINE: usize = 4 << 10;

/// The most bytes that one instance may log. An instance lives for one
/// exchange, so this is a bound for each exchange.
const MAX_LOGGED: usize = 64 << 10;

/// Bytes that a plugin may write at once; a longer write comes in pieces.
const PERMIT: usize = 64 << 10;

/// Where the manifest directs a plugin's standard output.
#[derive(Debug)]
pub enum Output {
    /// To the gateway's log.
    Log,
    Stdout,
    File(Mutex<File>),
}

impl Output {
    /// Opens a file for appending, making its directory if need be.
    pub fn file(path: &Path) -> std::io::Result<Self> {
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self::File(Mutex::new(file)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// One of the two output streams of an instance.
#[derive(Clone)]
pub(super) struct GuestOutput {
    plugin: Arc<Plugin>,
    stream: Stream,
    pending: Arc<Mutex<Pending>>,
}

/// What has been written to the log, and the line that is not over yet.
#[derive(Default)]
struct Pending {
    line: Vec<u8>,
    logged: usize,
}

impl GuestOutput {
    pub(super) fn new(plugin: Arc<Plugin>, stream: Stream) -> Self {
        Self {
            plugin,
            stream,
            pending: Arc::default(),
        }
    }

    fn take(&self, bytes: &[u8]) -> std::io::Result<()> {
        match (&self.plugin.output, self.stream) {
            (Output::Stdout, Stream::Stdout) => std::io::stdout().lock().write_all(bytes),
            (Output::File(file), Stream::Stdout) => file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(bytes),
            _ => {
                self.log(bytes);
                Ok(())
            }
        }
    }

    fn log(&self, bytes: &[u8]) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let room = MAX_LINE.saturating_sub(pending.line.len());
            pending
                .line
                .extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") || room == 0 {
                self.log_line(&mut pending);
            }
        }
    }

    fn log_line(&self, pending: &mut Pending) {
        let line = std::mem::take(&mut pending.line);
        let before = pending.logged;
        pending.logged = before.saturating_add(line.len());
        let plugin = self.plugin.name.as_str();
        if pending.logged <= MAX_LOGGED {
            let line = String::from_utf8_lossy(line.trim_ascii_end());
            tracing::info!(target: "palisade::plugin", plugin, "{}", line.escape_debug());
        } else if before <= MAX_LOGGED {
            tracing::warn!(target: "palisade::plugin", plugin, "the rest of its output is left out");
        }
    }
}

impl Drop for GuestOutput {
    fn drop(&mut self) {
        if Arc::strong_count(&self.pending) == 1 {
            let mut pending =
                std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if !pending.line.is_empty() {
                self.log_line(&mut pending);
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
        self.take(&bytes).map_err(|e| {
            wasmtime_wasi::p2::StreamError::LastOperationFailed(wasmtime::format_err!(e))
        })
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
        Poll::Ready(self.take(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
