//! From the upstream's bytes, or a plugin's events, to the events that the
//! client will be told: framing, decoding, the ledger, the filters.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::decoder::{Decoded, Decoder, Follows};
use super::guards::{Guards, Passed};
use super::ledger::Ledger;
use super::{Settled, of_event};
use crate::dialect::MakeReader;
use crate::event::ModelEvent;
use crate::exchange::Pinned;
use crate::failure::{Failure, Kind};
use crate::frame::{Framer, is_sse, raw};
use crate::message::{Exchange, ResponseHead};
use crate::plugin::{Framing, Instance};
use crate::timing::Timing;
use crate::upstream::Incoming;

/// How long an upstream may take to close when all has been said.
pub const LINGER: Duration = Duration::from_secs(1);

/// Where events come from.
pub enum Source {
    /// A plugin gave them all.
    Burst(Vec<ModelEvent>),
    Upstream(Box<Decoding>),
}

/// Who is to decode an answer.
pub enum DecodedBy {
    Adapter(Box<Instance>),
    Host(MakeReader),
}

/// An upstream's answer that is being decoded.
pub struct Decoding {
    incoming: Incoming,
    decoder: Decoder,
    /// Whether every choice has finished.
    complete: bool,
}

/// Events, with the bytes that they came in.
#[derive(Debug, Default)]
pub struct Batch {
    /// Each frame, and the events that were made of it; empty unless
    /// frames are kept.
    pub framed: Decoded,
    /// The first of the frames that says what has no place in the sequence, and
    /// so is in no event: no filter has seen it.
    pub unseen: Option<usize>,
    /// What the filters let through.
    pub events: Vec<ModelEvent>,
    /// The answer ends here, with this failure if there is one.
    pub end: Option<Result<(), Failure>>,
}

/// An answer on its way.
pub struct Flow {
    source: Source,
    guards: Guards,
    ledger: Ledger,
    /// Whether batches carry the frames that they came in.
    keeps_frames: bool,
    timing: Timing,
    pub exchange: Exchange,
    pub route: Pinned,
}

impl Source {
    pub fn burst(events: Vec<ModelEvent>) -> Self {
        Self::Burst(events)
    }

    /// Makes a decoder for an upstream's answer.
    pub async fn upstream(
        mut incoming: Incoming,
        by: DecodedBy,
        framing: Framing,
        exchange: &mut Exchange,
        route: &Pinned,
    ) -> Result<Self, Failure> {
        let adapter = route.provider.name();
        let streamed =
            incoming.status.is_success() && is_stream(framing, &incoming, exchange.facts.streaming);
        let limit = route.server().max_frame;
        let decoder = match by {
            DecodedBy::Host(reader) => Decoder::of_host(reader, streamed, limit),
            DecodedBy::Adapter(instance) => {
                let framer = match streamed.then(|| Framer::new(framing, limit)) {
                    Some(None) => return Err(unknown(adapter, framing)),
                    framer => framer.flatten(),
                };
                let head = ResponseHead {
                    status: incoming.status,
                    headers: Arc::new(std::mem::take(&mut incoming.headers)),
                    streamed,
                };
                Decoder::of_adapter(adapter, *instance, framer, exchange, &head).await?
            }
        };
        Ok(Self::Upstream(Box::new(Decoding {
            incoming,
            decoder,
            complete: false,
        })))
    }

    /// Whether what comes is a stream in the upstream's own framing.
    pub fn is_streamed(&self) -> bool {
        matches!(self, Self::Upstream(decoding) if decoding.decoder.is_streamed())
    }
}

/// The host cuts no answer into frames of this kind.
fn unknown(adapter: &str, framing: Framing) -> Failure {
    let message = format!("plugin \"{adapter}\" (provider): its framing is not known");
    Failure::new(Kind::Plugin, message).with_detail(format!("{framing:?}"))
}

/// Whether a successful answer is a stream: by its type, or, where the type
/// says nothing, because a stream was asked for.
fn is_stream(framing: Framing, incoming: &Incoming, asked: bool) -> bool {
    let content_type = incoming.headers.get(http::header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match framing {
        Framing::Sse if is_sse(content_type) => true,
        Framing::Ndjson if essence.contains("ndjson") || essence.contains("jsonl") => true,
        Framing::AwsEventStream if essence == "application/vnd.amazon.eventstream" => true,
        _ => asked && essence != "application/json" && !essence.starts_with("text/html"),
    }
}

impl Flow {
    pub fn new(source: Source, guards: Guards, exchange: Exchange, route: Pinned) -> Self {
        Self {
            source,
            guards,
            ledger: Ledger::default(),
            keeps_frames: false,
            timing: Timing::default(),
            exchange,
            route,
        }
    }

    /// Writes down where the time goes.
    pub fn timed(mut self, timing: Timing) -> Self {
        self.guards.time(timing.clone());
        self.timing = timing;
        self
    }

    /// Whether what comes is a stream in the upstream's own framing.
    pub fn is_streamed(&self) -> bool {
        self.source.is_streamed()
    }

    /// Makes batches carry the frames that they came in.
    pub fn keep_frames(&mut self) {
        self.keeps_frames = true;
    }

    /// What comes next. Not called again after a batch that has an end.
    pub async fn next(&mut self) -> Batch {
        match self.advance().await {
            Ok(batch) => batch,
            Err(failure) => Batch {
                end: Some(Err(failure)),
                ..Batch::default()
            },
        }
    }

    async fn advance(&mut self) -> Result<Batch, Failure> {
        let (mut framed, over) = match &mut self.source {
            Source::Burst(events) => (vec![(raw(Vec::new()), std::mem::take(events))], true),
            Source::Upstream(decoding) => {
                let limit = self.route.server().max_response_body;
                decoding.complete = self.ledger.is_complete();
                let idle = if decoding.complete {
                    LINGER
                } else {
                    self.route.idle_timeout
                };
                let (exchange, timing) = (&mut self.exchange, &self.timing);
                decoding.read(exchange, timing, limit, idle).await?
            }
        };
        let mut unseen = None;
        for (index, (_, events)) in framed.iter_mut().enumerate() {
            let told = said(events);
            *events = self.ledger.admit(std::mem::take(events));
            unseen = unseen.or((said(events) < told).then_some(index));
        }
        let mut events: Vec<_> = if self.keeps_frames {
            framed
                .iter()
                .flat_map(|(_, events)| events.clone())
                .collect()
        } else {
            framed.drain(..).flat_map(|(_, events)| events).collect()
        };
        if over {
            events.extend(self.ledger.close());
        }
        let error = take_error(&mut events);
        let failed = error.is_some();
        let mut passed = if over && !failed {
            self.guards.finish(&mut self.exchange, events).await?
        } else if events.is_empty() {
            Passed::default()
        } else {
            self.guards.push(&mut self.exchange, events).await?
        };
        // A filter may put an error in the place of what follows.
        let error = take_error(&mut passed.events).or(error);
        let end = match (passed.stop, error) {
            (Some(stop), _) => Some(Err(stop)),
            (None, Some(error)) => Some(Err(error)),
            (None, None) if over => Some(Ok(())),
            (None, None) => None,
        };
        Ok(Batch {
            framed,
            unseen,
            events: passed.events,
            end,
        })
    }

    pub fn settled(&self) -> Settled {
        let (input_tokens, output_tokens) = self.ledger.tokens();
        let notes = self.exchange.notes.clone().into_pairs();
        let bypassed = self.guards.bypassed().to_vec();
        Settled {
            input_tokens,
            output_tokens,
            notes,
            bypassed,
            error: None,
        }
    }
}

/// How many events say something of an answer, and not only that it begins.
fn said(events: &[ModelEvent]) -> usize {
    let begins = |event: &&ModelEvent| matches!(event, ModelEvent::Start(_));
    events.len() - events.iter().filter(begins).count()
}

/// Cuts the events at an error, which ends the answer.
fn take_error(events: &mut Vec<ModelEvent>) -> Option<Failure> {
    let at = events
        .iter()
        .position(|event| matches!(event, ModelEvent::Error(_)))?;
    match events.split_off(at).into_iter().next() {
        Some(ModelEvent::Error(error)) => Some(of_event(error)),
        _ => None,
    }
}

impl Decoding {
    /// Reads what comes next and decodes it; whether that was the end.
    async fn read(
        &mut self,
        exchange: &mut Exchange,
        timing: &Timing,
        limit: usize,
        idle: std::time::Duration,
    ) -> Result<(Decoded, bool), Failure> {
        let (bytes, follows) = if self.decoder.is_streamed() {
            match self.incoming.pieces(idle).await {
                // All has been said: how the upstream hangs up does not matter.
                Err(_) if self.complete => (Bytes::new(), Follows::Broke),
                Err(failure) => return Err(failure),
                Ok(Some(piece)) => (piece, Follows::More),
                Ok(None) => (Bytes::new(), Follows::Ended),
            }
        } else {
            (self.incoming.whole(limit, idle).await?, Follows::Ended)
        };
        let decoding = self.decoder.decode(exchange, timing, bytes, follows);
        Ok((decoding.await?, follows != Follows::More))
    }
}
