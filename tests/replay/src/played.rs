//! The body of an answer as it is played: cut into chunks, with waits between
//! them, and broken off where the scenario says so.
//!
//! The body carries its journal entry, which tells the difference between an
//! answer that was handed over and one whose peer hung up.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::connection::Fate;
use crate::journal::{Ending, Entry};
use crate::limits;
use crate::play::{Abort, Chunks, How};

/// What has been written is given this time to reach the peer before the
/// connection breaks: a reset discards what the peer has not read yet.
const BEFORE_BREAK: Duration = Duration::from_millis(60);

/// A body that is being played.
#[derive(Debug)]
pub struct Played {
    chunks: VecDeque<Bytes>,
    declared: Option<u64>,
    delay: Duration,
    wait: Option<Pin<Box<Sleep>>>,
    broken: Option<How>,
    waited_to_break: bool,
    fate: Fate,
    entry: Entry,
}

/// How a body is cut, paced and broken off.
#[derive(Clone, Debug)]
pub struct Score {
    /// Where it is cut.
    pub chunks: Chunks,
    /// The wait between chunks.
    pub delay: Duration,
    /// Where it breaks off; none if it does not.
    pub abort: Option<Abort>,
    /// Whether its length is declared in the head. A body that breaks off
    /// declares the length that it would have had.
    pub sized: bool,
}

impl Played {
    /// Makes the body of one answer.
    pub fn new(bytes: &Bytes, score: &Score, fate: Fate, entry: Entry) -> Played {
        let kept = match score.abort {
            Some(abort) => bytes.slice(..abort.after.min(bytes.len())),
            None => bytes.clone(),
        };
        let ends_early = score.abort.is_some_and(|abort| abort.how == How::End);
        let declared = if ends_early { kept.len() } else { bytes.len() };
        let broken = score
            .abort
            .map(|abort| abort.how)
            .filter(|how| *how != How::End);
        if kept.is_empty() && broken.is_none() {
            // Nobody polls a body that is over before it begins.
            entry.end(Ending::Answered);
        }
        Played {
            chunks: cut(&kept, &score.chunks),
            declared: score.sized.then_some(declared as u64),
            delay: score.delay,
            wait: None,
            broken,
            waited_to_break: false,
            fate,
            entry,
        }
    }

    /// Breaks the connection once what was written had time to arrive.
    fn poll_break(&mut self, how: How) -> Poll<Option<io::Error>> {
        if !self.waited_to_break {
            self.waited_to_break = true;
            self.wait = Some(Box::pin(sleep(BEFORE_BREAK)));
            return Poll::Pending;
        }
        if how == How::Reset {
            self.fate.reset();
        }
        self.entry.end(Ending::Answered);
        Poll::Ready(Some(io::Error::other("the scenario breaks off here")))
    }
}

impl Body for Played {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(wait) = self.wait.as_mut() {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            if let Some(chunk) = self.chunks.pop_front() {
                if !self.delay.is_zero() && !self.chunks.is_empty() {
                    self.wait = Some(Box::pin(sleep(self.delay)));
                }
                self.entry.sent(chunk.len());
                if self.chunks.is_empty() && self.broken.is_none() {
                    self.entry.end(Ending::Answered);
                }
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            let Some(how) = self.broken else {
                self.entry.end(Ending::Answered);
                return Poll::Ready(None);
            };
            if let Poll::Ready(error) = self.poll_break(how) {
                return Poll::Ready(error.map(Err));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty() && self.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.declared
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Cuts a body into chunks, none of them empty.
fn cut(bytes: &Bytes, chunks: &Chunks) -> VecDeque<Bytes> {
    let ends: Vec<usize> = match chunks {
        Chunks::Whole => Vec::new(),
        Chunks::Events => event_ends(bytes),
        Chunks::Bytes => (1..=bytes.len()).collect(),
        Chunks::At(offsets) => offsets.clone(),
        Chunks::Random { seed, longest } => random_ends(bytes.len(), *seed, *longest),
    };
    let mut cut = VecDeque::new();
    let mut start = 0;
    let inside = ends
        .into_iter()
        .filter(|end| *end < bytes.len())
        .take(limits::CHUNKS);
    for end in inside.chain([bytes.len()]) {
        if end > start {
            cut.push_back(bytes.slice(start..end));
            start = end;
        }
    }
    cut
}

/// The offsets behind each blank line, whichever way lines end.
fn event_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    for blank in [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"] {
        let places = bytes.windows(blank.len()).enumerate();
        ends.extend(
            places
                .filter(|(_, at)| *at == blank)
                .map(|(start, _)| start + blank.len()),
        );
    }
    ends.sort_unstable();
    ends
}

/// Offsets whose distances are 1 to `longest`: Marsaglia's xorshift (2003),
/// because it is five lines and the same everywhere.
fn random_ends(length: usize, seed: u64, longest: usize) -> Vec<usize> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut ends = Vec::new();
    let mut end = 0;
    while end < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        end += 1 + usize::try_from(state >> 1).unwrap_or(0) % longest;
        ends.push(end);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &'static str, chunks: &Chunks) -> Vec<String> {
        let cut = cut(&Bytes::from_static(text.as_bytes()), chunks);
        cut.iter()
            .map(|piece| String::from_utf8_lossy(piece).into_owned())
            .collect()
    }

    #[test]
    fn a_body_is_cut_where_it_was_asked() {
        let text = "a\n\nb\r\n\r\nc";
        assert_eq!(pieces(text, &Chunks::Whole), [text]);
        assert_eq!(pieces(text, &Chunks::Events), ["a\n\n", "b\r\n\r\n", "c"]);
        assert_eq!(pieces(text, &Chunks::Bytes).len(), text.len());
        assert_eq!(
            pieces(text, &Chunks::At(vec![0, 2, 99])),
            ["a\n", "\nb\r\n\r\nc"]
        );
    }

    #[test]
    fn the_same_seed_cuts_at_the_same_places() {
        let one = random_ends(10_000, 7, 50);
        assert_eq!(one, random_ends(10_000, 7, 50));
        assert_ne!(one, random_ends(10_000, 8, 50));
        assert!(
            one.windows(2)
                .all(|pair| (1..=50).contains(&(pair[1] - pair[0])))
        );
    }
}
