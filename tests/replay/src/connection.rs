//! A connection that can be reset. HTTP libraries close politely; a test of
//! what a gateway does when its upstream vanishes needs the impolite way too.
//!
//! `server` wraps each accepted socket; `played` decides whether it is reset.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How a connection will end when it is dropped.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    reset: Arc<AtomicBool>,
}

impl Fate {
    /// Asks for a reset in place of a close.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::Release);
    }
}

/// A socket that is reset when it is dropped, if its fate says so.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    fate: Fate,
}

impl Connection {
    /// Wraps a socket.
    pub fn new(stream: TcpStream, fate: Fate) -> Connection {
        Connection { stream, fate }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.fate.reset.load(Ordering::Acquire) {
            // A socket that lingers for no time is reset when it is closed. If
            // the peer was faster, there is nothing left to reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
