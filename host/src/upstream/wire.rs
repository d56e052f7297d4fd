//! What hyper speaks HTTP/1 over, without most of the chunks of an answer.
//!
//! hyper hands over a chunked body one chunk at a time, each for a turn of its
//! connection; a stream of events is one chunk an event, and what comes
//! together was a third of what such an answer costs. So hyper is given the
//! head of an answer, and of a chunked body (`chunks`) the last chunk and
//! whatever else is its to judge. The data before that is taken from here, as
//! much at once as has come.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use memchr::{memchr_iter, memchr2_iter};

use super::chunks::{Chunks, Next};

/// How much is read at a time, at most, in bytes: what a slow reader finds of
/// a model's stream, and little enough for the stack.
const READ: usize = 16 << 10;

/// A stream, and what of it is for whom.
struct Wire<S> {
    stream: S,
    gate: Gate,
    /// What was read, and neither given to hyper nor taken.
    rest: Vec<u8>,
}

/// What hyper gets of what comes.
#[derive(Debug)]
enum Gate {
    /// All of it.
    Open,
    /// The head of an answer. `blank` says whether the line under way has been
    /// empty so far; a head of which another part came before is `split`.
    Head { blank: bool, split: bool },
    /// Nothing, since a body may begin that is not for hyper.
    Held,
    /// Nothing: this is a chunked body.
    Chunks(Chunks),
    /// Why the chunk under way will not come to its end; then the end.
    Broken(Option<io::Error>),
}

/// See the module. hyper has it, and whoever takes chunks.
pub(super) struct Shared<S>(Arc<Mutex<Wire<S>>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Read + Unpin> Shared<S> {
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Wire {
            stream,
            gate: Gate::Open,
            rest: Vec::new(),
        })))
    }

    fn wire(&self) -> MutexGuard<'_, Wire<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is sent, and what comes next is the head of its answer. If it
    /// is not the last one, or follows empty lines, hyper gets all of it.
    pub fn await_head(&self) {
        let mut wire = self.wire();
        // hyper uses no connection again on which more has come.
        if wire.rest.is_empty() {
            wire.gate = Gate::Head {
                blank: true,
                split: false,
            };
        }
    }

    /// The head has come, of a `chunked` body. Answers whether its chunks are
    /// taken from here: hyper may have seen some of them.
    pub fn take_chunks(&self) -> bool {
        let mut wire = self.wire();
        let held = matches!(wire.gate, Gate::Held);
        if held {
            wire.gate = Gate::Chunks(Chunks::default());
        }
        held
    }

    /// Gives hyper what is held; answers whether there was anything.
    pub fn release(&self) -> bool {
        let mut wire = self.wire();
        let held = matches!(wire.gate, Gate::Held);
        if held {
            wire.gate = Gate::Open;
        }
        held
    }

    /// Gives hyper all of what comes.
    pub fn open(&self) {
        self.wire().gate = Gate::Open;
    }

    /// The data that has come; none if the rest of the body is hyper's.
    pub fn poll_chunks(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.wire().poll_chunks(context)
    }
}

impl<S: Read + Unpin> Wire<S> {
    fn poll_chunks(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let rest = std::mem::take(&mut self.rest);
        let data = self.decode(&rest);
        if !data.is_empty() {
            return Poll::Ready(Some(data.into()));
        }
        let mut space = [MaybeUninit::uninit(); READ];
        loop {
            if !matches!(self.gate, Gate::Chunks(_)) {
                return Poll::Ready(None);
            }
            let mut read = ReadBuf::uninit(&mut space);
            let polled = Pin::new(&mut self.stream).poll_read(context, read.unfilled());
            let data = match (ready!(polled), read.filled()) {
                (Ok(()), []) => self.end(),
                (Ok(()), new) if self.rest.is_empty() => self.decode(new),
                (Ok(()), new) => {
                    let mut all = std::mem::take(&mut self.rest);
                    all.extend_from_slice(new);
                    self.decode(&all)
                }
                (Err(error), _) => self.broken(error),
            };
            if !data.is_empty() {
                return Poll::Ready(Some(data.into()));
            }
        }
    }

    /// The data of chunks in `bytes`. What is left of them is the rest.
    fn decode(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Gate::Chunks(chunks) = &mut self.gate else {
            self.rest = bytes.to_vec();
            return Vec::new();
        };
        let mut data = Vec::with_capacity(bytes.len());
        match chunks.decode(bytes, &mut data) {
            Next::More(rest) => self.rest = rest.to_vec(),
            Next::Line(rest) => {
                self.rest = rest.to_vec();
                self.gate = Gate::Open;
            }
            Next::Broken => {
                let error = "a chunk is not followed by a line break";
                self.broken(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        data
    }

    /// Nothing more comes. Where no chunk is under way that is hyper's to judge.
    fn end(&mut self) -> Vec<u8> {
        if matches!(&self.gate, Gate::Chunks(chunks) if chunks.is_within()) {
            let error = "the connection was closed within a chunk";
            return self.broken(io::Error::new(io::ErrorKind::UnexpectedEof, error));
        }
        self.gate = Gate::Open;
        Vec::new()
    }

    /// hyper is told why when it reads next.
    fn broken(&mut self, error: io::Error) -> Vec<u8> {
        self.gate = Gate::Broken(Some(error));
        Vec::new()
    }

    /// Reads a part of a head, and nothing of a body that may be chunked.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Gate::Head { blank, split } = &mut self.gate else {
            return Poll::Pending;
        };
        let mut space = [MaybeUninit::uninit(); READ];
        let most = cursor.remaining().min(READ);
        let mut read = ReadBuf::uninit(&mut space[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(context, read.unfilled()))?;
        let bytes = read.filled();
        let Some(end) = head_end(bytes, blank) else {
            *split = true;
            cursor.put_slice(bytes);
            return Poll::Ready(Ok(()));
        };
        let (head, body) = bytes.split_at(end);
        if *split || tells_chunks(head) {
            self.gate = Gate::Held;
            self.rest = body.to_vec();
            cursor.put_slice(head);
        } else {
            self.gate = Gate::Open;
            cursor.put_slice(bytes);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.gate {
            Gate::Open if self.rest.is_empty() => {
                Pin::new(&mut self.stream).poll_read(context, cursor)
            }
            Gate::Open => {
                let most = cursor.remaining().min(self.rest.len());
                cursor.put_slice(&self.rest[..most]);
                self.rest = self.rest.split_off(most);
                Poll::Ready(Ok(()))
            }
            Gate::Head { .. } => self.poll_head(context, cursor),
            // Whoever opens it says so.
            Gate::Held | Gate::Chunks(_) => Poll::Pending,
            Gate::Broken(error) => Poll::Ready(error.take().map_or(Ok(()), Err)),
        }
    }
}

/// Where a head ends: behind its first empty line. `blank` is kept from one part
/// of a head to the next.
fn head_end(bytes: &[u8], blank: &mut bool) -> Option<usize> {
    let mut line = 0;
    for at in memchr_iter(b'\n', bytes) {
        let is_blank = matches!(bytes[line..at], [] | [b'\r']);
        if is_blank && (line > 0 || *blank) {
            return Some(at + 1);
        }
        line = at + 1;
    }
    let begun = matches!(bytes[line..], [] | [b'\r']);
    *blank = begun && (line > 0 || *blank);
    None
}

/// Whether a head may say that its body is chunked.
fn tells_chunks(head: &[u8]) -> bool {
    const CHUNKED: &[u8] = b"chunked";
    // The rarest of its letters is its fifth.
    memchr2_iter(b'k', b'K', head).any(|at| {
        let word = at.checked_sub(4).and_then(|from| head.get(from..at + 3));
        word.is_some_and(|word| word.eq_ignore_ascii_case(CHUNKED))
    })
}

impl<S: Read + Unpin> Read for Shared<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.wire().poll_read(context, cursor)
    }
}

impl<S: Read + Write + Unpin> Write for Shared<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire().stream).poll_shutdown(context)
    }
}
