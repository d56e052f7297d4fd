//! From the upstream's bytes, or a plugin's events, to the events that the
//! client will be told: framing, decoding, the ledger, the filters.

use std::sync::Arc;
use std::time::Duration;

use super::guards::{Guards, Passed};
use super::ledger::Ledger;
use super::{Settled, of_event};
use crate::event::ModelEvent;
use crate::exchange::Pinned;
use crate::failure::{Failure, Kind};
use crate::frame::{Framed, Framer, is_sse, raw};
use crate::message::{Exchange, ResponseHead};
use crate::plugin::{CallError, Decoder, Framing, Instance};
use crate::timing::Timing;
use crate::upstream::Incoming;

/// The most frames that a decoder is shown at a time (`decoder.push`).
const MAX_FRAMES: usize = 64;

/// How long an upstream may take to close when all has been said.
pub const LINGER: Duration = Duration::from_secs(1);

/// Where events come from.
pub enum Source {
    /// A plugin gave them all.
    Burst(Vec<ModelEvent>),
    Upstream(Box<Decoding>),
}

/// An upstream's answer that is being decoded.
pub struct Decoding {
    incoming: Incoming,
    /// None for a body that is not a stream: it is one frame.
    framer: Option<Framer>,
    instance: Instance,
    decoder: Decoder,
    adapter: Arc<str>,
    /// Whether every choice has finished.
    complete: bool,
}

/// Events, with the bytes that they came in.
#[derive(Debug, Default)]
pub struct Batch {
    /// Each frame, and the events that were made of it; empty unless
    /// frames are kept.
    pub framed: Vec<(Framed, Vec<ModelEvent>)>,
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
        mut instance: Instance,
        framing: Framing,
        exchange: &mut Exchange,
        route: &Pinned,
    ) -> Result<Self, Failure> {
        let adapter: Arc<str> = route.provider.name().into();
        let streamed =
            incoming.status.is_success() && is_stream(framing, &incoming, exchange.facts.streaming);
        let framer = if streamed {
            let framer = Framer::new(framing, route.server().max_frame);
            Some(framer.ok_or_else(|| {
                let message = format!("plugin \"{adapter}\" (provider): its framing is not known");
                Failure::new(Kind::Plugin, message).with_detail(format!("{framing:?}"))
            })?)
        } else {
            None
        };
        let head = ResponseHead {
            status: incoming.status,
            headers: Arc::new(std::mem::take(&mut incoming.headers)),
            streamed,
        };
        let decoder = instance.decoder(exchange, &head).await;
        let decoder = decoder.map_err(|e| Failure::plugin(&adapter, "provider", &e))?;
        Ok(Self::Upstream(Box::new(Decoding {
            incoming,
            framer,
            instance,
            decoder,
            adapter,
            complete: false,
        })))
    }

    /// Whether what comes is a stream in the upstream's own framing.
    pub fn is_streamed(&self) -> bool {
        matches!(self, Self::Upstream(decoding) if decoding.framer.is_some())
    }
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
        for (_, events) in &mut framed {
            *events = self.ledger.admit(std::mem::take(events));
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

type Frames = Vec<(Framed, Vec<ModelEvent>)>;

impl Decoding {
    /// Reads what comes next and decodes it; whether that was the end.
    async fn read(
        &mut self,
        exchange: &mut Exchange,
        timing: &Timing,
        limit: usize,
        idle: std::time::Duration,
    ) -> Result<(Frames, bool), Failure> {
        let mut frames = Vec::new();
        let over = match &mut self.framer {
            None => {
                let body = self.incoming.whole(limit, idle).await?;
                frames.push(Framed {
                    raw: body.clone(),
                    ..raw(body.to_vec())
                });
                true
            }
            Some(framer) => match self.incoming.pieces(idle).await {
                // All has been said: how the upstream hangs up does not matter.
                Err(_) if self.complete => {
                    framer.finish(&mut frames);
                    true
                }
                Err(failure) => return Err(failure),
                Ok(Some(chunk)) => {
                    framer
                        .push(&chunk, &mut frames)
                        .map_err(|e| Failure::new(Kind::Upstream, e.to_string()))?;
                    false
                }
                Ok(None) => {
                    framer.finish(&mut frames);
                    true
                }
            },
        };
        if frames.is_empty() && !over {
            return Ok((Vec::new(), false));
        }
        let adapter = self.adapter.clone();
        let decoding = self.decode(exchange, frames, over);
        let decoded = timing.measure(&adapter, decoding).await;
        let framed = decoded.map_err(|e| Failure::plugin(&self.adapter, "provider", &e))?;
        Ok((framed, over))
    }

    async fn decode(
        &mut self,
        exchange: &mut Exchange,
        framed: Vec<Framed>,
        over: bool,
    ) -> Result<Frames, CallError> {
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
