//! Framing: cutting the bytes of an upstream's answer into frames, wherever
//! the network happened to cut them. It does not look into a frame's data.

mod lines;
mod sse;

use std::borrow::Cow;

use bytes::Bytes;

use crate::plugin::{Frame, Framing};

pub use sse::{Event, Sse, is_sse};

/// A frame with the bytes that it came in, terminator included.
#[derive(Debug, Clone)]
pub struct Framed {
    pub frame: Frame,
    pub raw: Bytes,
}

/// A frame that grew beyond its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the upstream's answer is larger than {limit} bytes")]
pub struct TooLarge {
    pub limit: usize,
}

/// Cuts a body into frames. Holds at most one unfinished frame.
#[derive(Debug)]
pub enum Framer {
    Sse(Sse),
    Lines(lines::Lines),
    Raw,
}

impl Framer {
    /// A framer whose frames have at most `limit` bytes; none if the host does
    /// not know the framing.
    pub fn new(framing: Framing, limit: usize) -> Option<Self> {
        match framing {
            Framing::Sse => Some(Self::Sse(Sse::new(limit))),
            Framing::Ndjson => Some(Self::Lines(lines::Lines::new(limit))),
            Framing::Raw => Some(Self::Raw),
            Framing::AwsEventStream => None,
        }
    }

    /// Takes bytes as they arrive and adds the frames that they complete.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Framed>) -> Result<(), TooLarge> {
        match self {
            Self::Sse(sse) => sse.push(bytes, |event| out.push(event.into())),
            Self::Lines(lines) => lines.push(bytes, out),
            Self::Raw => {
                out.push(raw(bytes.to_vec()));
                Ok(())
            }
        }
    }

    /// The body is over: adds the frame that had no terminator, if there is one.
    pub fn finish(&mut self, out: &mut Vec<Framed>) {
        match self {
            Self::Sse(sse) => sse.finish(|event| out.push(event.into())),
            Self::Lines(lines) => lines.finish(out),
            Self::Raw => {}
        }
    }
}

impl From<Event<'_>> for Framed {
    fn from(event: Event<'_>) -> Self {
        Self {
            frame: Frame {
                name: event.name.map(Cow::into_owned),
                data: event.data.into_owned(),
            },
            raw: Bytes::copy_from_slice(event.raw),
        }
    }
}

/// A frame that is its own bytes.
pub fn raw(data: Vec<u8>) -> Framed {
    Framed {
        raw: Bytes::copy_from_slice(&data),
        frame: Frame { name: None, data },
    }
}
