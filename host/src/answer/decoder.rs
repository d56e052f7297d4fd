//! From the bytes of an upstream's answer to model events: by the adapter, in
//! its sandbox, or by the host itself where the answer is in the client's own
//! dialect and the host reads that.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::dialect::{AnswerReader, MakeReader, Read};
use crate::event::ModelEvent;
use crate::failure::{Failure, Kind};
use crate::frame::{Event, Framed, Framer, Sse, TooLarge, raw};
use crate::message::{Exchange, ResponseHead};
use crate::plugin::{self, CallError, Frame, Instance};
use crate::timing::Timing;

/// The most frames that an adapter's decoder is shown at a time
/// (`decoder.push`).
const MAX_FRAMES: usize = 64;

/// What follows bytes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    More,
    /// Nothing: the upstream ended its answer.
    Ended,
    /// Nothing: it broke off, or fell silent.
    Broke,
}

/// Frames, and the events that were made of each.
pub type Decoded = Vec<(Framed, Vec<ModelEvent>)>;

/// A decoder of one answer.
pub enum Decoder {
    Adapter(Box<Adapter>),
    Host(Box<Host>),
}

/// The decoder of an adapter, in its instance.
pub struct Adapter {
    name: Arc<str>,
    instance: Instance,
    decoder: plugin::Decoder,
    /// None for a body that is not a stream: it is one frame.
    framer: Option<Framer>,
}

/// The host's own, for server-sent events and whole bodies.
pub struct Host {
    reader: Box<dyn AnswerReader>,
    /// None for a body that is not a stream.
    events: Option<Sse>,
}

impl Decoder {
    /// Makes the decoder of the adapter of this name.
    pub async fn of_adapter(
        name: &str,
        mut instance: Instance,
        framer: Option<Framer>,
        exchange: &mut Exchange,
        head: &ResponseHead,
    ) -> Result<Self, Failure> {
        let decoder = instance.decoder(exchange, head).await;
        let decoder = decoder.map_err(|e| Failure::plugin(name, "provider", &e))?;
        Ok(Self::Adapter(Box::new(Adapter {
            name: name.into(),
            instance,
            decoder,
            framer,
        })))
    }

    /// A decoder of the host's; frames of a stream have at most `limit` bytes.
    pub fn of_host(reader: MakeReader, streamed: bool, limit: usize) -> Self {
        Self::Host(Box::new(Host {
            reader: reader(streamed),
            events: streamed.then(|| Sse::new(limit)),
        }))
    }

    /// Whether it decodes a stream.
    pub fn is_streamed(&self) -> bool {
        match self {
            Self::Adapter(adapter) => adapter.framer.is_some(),
            Self::Host(host) => host.events.is_some(),
        }
    }

    /// Decodes bytes of a stream as they come, or a whole body.
    pub async fn decode(
        &mut self,
        exchange: &mut Exchange,
        timing: &Timing,
        bytes: Bytes,
        follows: Follows,
    ) -> Result<Decoded, Failure> {
        let over = follows != Follows::More;
        let too_large = |e: TooLarge| Failure::new(Kind::Upstream, e.to_string());
        match self {
            Self::Adapter(adapter) => {
                let frames = adapter.frames(bytes, over).map_err(too_large)?;
                if frames.is_empty() && !over {
                    return Ok(Vec::new());
                }
                let name = adapter.name.clone();
                let decoding = pin!(adapter.decode(exchange, frames, over));
                let decoded = timing.measure(&name, decoding).await;
                decoded.map_err(|e| Failure::plugin(&name, "provider", &e))
            }
            Self::Host(host) => host.decode(bytes, follows).map_err(too_large),
        }
    }
}

impl Adapter {
    /// Cuts bytes into frames.
    fn frames(&mut self, bytes: Bytes, over: bool) -> Result<Vec<Framed>, TooLarge> {
        let Some(framer) = &mut self.framer else {
            return Ok(vec![whole(bytes)]);
        };
        let mut frames = Vec::new();
        framer.push(&bytes, &mut frames)?;
        if over {
            framer.finish(&mut frames);
        }
        Ok(frames)
    }

    async fn decode(
        &mut self,
        exchange: &mut Exchange,
        framed: Vec<Framed>,
        over: bool,
    ) -> Result<Decoded, CallError> {
        let mut decoded = Vec::with_capacity(framed.len());
        let mut framed = framed.into_iter();
        loop {
            let (raws, frames): (Vec<_>, Vec<_>) = framed
                .by_ref()
                .take(MAX_FRAMES)
                .map(|f| (f.raw, f.frame))
                .unzip();
            if frames.is_empty() {
                break;
            }
            let events = self
                .instance
                .decode(exchange, self.decoder, &frames)
                .await?;
            let framed = raws
                .into_iter()
                .zip(frames)
                .map(|(raw, frame)| Framed { raw, frame });
            decoded.extend(framed.zip(events));
        }
        if over {
            let rest = self.instance.decode_end(exchange, self.decoder).await?;
            decoded.push((raw(Vec::new()), rest));
        }
        Ok(decoded)
    }
}

impl Host {
    fn decode(&mut self, bytes: Bytes, follows: Follows) -> Result<Decoded, TooLarge> {
        let over = follows != Follows::More;
        let reader = self.reader.as_mut();
        let mut decoded = match &mut self.events {
            None => {
                let Read { events, .. } = reader.frame(None, &bytes);
                vec![(whole(bytes), events)]
            }
            Some(events) => {
                let mut run = Run::default();
                events.push(&bytes, |event| run.take(reader, event))?;
                if over {
                    events.finish(|event| run.take(reader, event));
                }
                run.end()
            }
        };
        if over {
            let rest = reader.finish(follows == Follows::Ended);
            decoded.push((raw(Vec::new()), rest));
        }
        Ok(decoded)
    }
}

/// Frames that have come together. Those that repeat one another but for their
/// text, as nearly all of a stream do, are put together to one: what follows
/// costs by the frame. A filter that changes the text of one changes all.
#[derive(Default)]
struct Run {
    decoded: Decoded,
    /// The bytes of the last frame, until another follows.
    raw: Vec<u8>,
}

impl Run {
    fn take(&mut self, reader: &mut dyn AnswerReader, event: Event<'_>) {
        let Read { events, repeats } = reader.frame(event.name.as_deref(), &event.data);
        if let Some((_, known)) = self.decoded.last_mut().filter(|_| repeats) {
            self.raw.extend_from_slice(event.raw);
            for event in events {
                append(known, event);
            }
            return;
        }
        self.close();
        self.raw.extend_from_slice(event.raw);
        let frame = Frame {
            name: event.name.map(Into::into),
            data: event.data.into(),
        };
        let raw = Bytes::new();
        self.decoded.push((Framed { frame, raw }, events));
    }

    fn close(&mut self) {
        if let Some((last, _)) = self.decoded.last_mut() {
            last.raw = std::mem::take(&mut self.raw).into();
        }
    }

    fn end(mut self) -> Decoded {
        self.close();
        self.decoded
    }
}

/// Adds an event, or its text to the last one if that is of the same part.
fn append(events: &mut Vec<ModelEvent>, event: ModelEvent) {
    use ModelEvent::{Reasoning, Text};
    match (events.last_mut(), event) {
        (Some(Text(last)), Text(more)) | (Some(Reasoning(last)), Reasoning(more))
            if (last.choice, last.part) == (more.choice, more.part) =>
        {
            last.text.push_str(&more.text);
        }
        (_, event) => events.push(event),
    }
}

/// The frame that a whole body is.
fn whole(body: Bytes) -> Framed {
    let frame = Frame {
        name: None,
        data: body.to_vec(),
    };
    Framed { frame, raw: body }
}
