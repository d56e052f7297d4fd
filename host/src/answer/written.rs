//! Events in the client's dialect: as a stream or as one body.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::flow::{Batch, Flow};
use super::reply::Kept;
use super::verbatim::Verbatim;
use super::{Content, Origin, Piece, Pieces, Ready, Settled, of_event, shown};
use crate::dialect::{Dialect, Settings, StreamRenderer};
use crate::failure::{Failure, Kind};

/// Writes an answer of events. It is known to have begun well when this
/// returns: a failure before that is the exchange's.
pub async fn of_events(
    flow: Flow,
    client: &'static dyn Dialect,
    origin: Origin,
    kept: Option<Kept>,
) -> Result<Ready, Failure> {
    let mut headers = kept.map(Kept::into_headers).unwrap_or_default();
    let settings = origin.settings(&flow.exchange.facts);
    let (content, content_type) = if flow.exchange.facts.streaming {
        let streamed = Streamed::begin(flow, client, settings, &origin).await;
        (streamed, "text/event-stream; charset=utf-8")
    } else {
        (
            whole(flow, client, &settings, &origin).await,
            "application/json",
        )
    };
    let content = match content {
        Ok(content) => content,
        Err(failure) => {
            return Err(Failure {
                headers: Some(Box::new(headers)),
                ..failure
            });
        }
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if matches!(content, Content::Stream(..)) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    Ok(Ready {
        status: StatusCode::OK,
        headers,
        content,
        dropped: origin.dropped,
    })
}

/// Gathers all events and writes one body.
async fn whole(
    mut flow: Flow,
    client: &'static dyn Dialect,
    settings: &Settings,
    origin: &Origin,
) -> Result<Content, Failure> {
    let verbatim = origin.same_dialect && !flow.is_streamed();
    if verbatim {
        flow.keep_frames();
    }
    let limit = flow.route.server().max_response_body;
    let (mut framed, mut events, mut size) = (Vec::new(), Vec::new(), 0_usize);
    let mut all_seen = true;
    loop {
        let batch = flow.next().await;
        all_seen &= batch.unseen.is_none();
        size += batch
            .framed
            .iter()
            .map(|(framed, _)| framed.raw.len())
            .sum::<usize>();
        framed.extend(batch.framed);
        events.extend(batch.events);
        if size.max(events.len()) > limit {
            return Err(Failure::new(
                Kind::Upstream,
                format!("the answer is larger than {limit} bytes"),
            ));
        }
        match batch.end {
            Some(Ok(())) => break,
            Some(Err(failure)) => return Err(failure),
            None => {}
        }
    }
    let settled = flow.settled();
    let unchanged =
        verbatim && all_seen && framed.iter().flat_map(|(_, events)| events).eq(&events);
    let body = match framed.into_iter().next() {
        Some((framed, _)) if unchanged => framed.raw,
        _ => client
            .render_body(settings, &events)
            .map_err(of_event)?
            .into(),
    };
    Ok(Content::Whole(body, settled))
}

/// An answer that is written as a stream of server-sent events.
struct Streamed {
    flow: Flow,
    renderer: Box<dyn StreamRenderer>,
    verbatim: Option<Verbatim>,
    /// What `begin` has written already.
    first: Option<Piece>,
    ended: bool,
}

impl Streamed {
    /// Reads until there is something to send.
    async fn begin(
        mut flow: Flow,
        client: &'static dyn Dialect,
        settings: Settings,
        origin: &Origin,
    ) -> Result<Content, Failure> {
        let verbatim = (origin.same_dialect && flow.is_streamed()).then(|| {
            flow.keep_frames();
            Verbatim::default()
        });
        let renderer = client.stream_renderer(settings);
        let mut streamed = Self {
            flow,
            renderer,
            verbatim,
            first: None,
            ended: false,
        };
        let first = loop {
            match streamed.advance().await {
                // Nothing has been sent, so it can still be a status: if there
                // is nothing to send either, or a filter forbids the answer.
                Piece::Broken(bytes, failure) if bytes.is_empty() || failure.denied => {
                    return Err(failure);
                }
                Piece::Bytes(bytes) if bytes.is_empty() => {}
                piece => break piece,
            }
        };
        streamed.first = Some(first);
        Ok(Content::Stream(Box::new(streamed), None))
    }

    /// Writes what the next batch says; it may be nothing.
    async fn advance(&mut self) -> Piece {
        if self.ended {
            return Piece::End(Bytes::new());
        }
        let batch = self.flow.next().await;
        let mut out = Vec::new();
        let end = self.write(batch, &mut out);
        self.ended = end.is_some();
        match end {
            Some(Err(failure)) => {
                // What precedes the failure makes it too late for a status.
                if !out.is_empty() {
                    self.write_error(&failure, &mut out);
                }
                Piece::Broken(out.into(), failure)
            }
            _ => Piece::Bytes(out.into()),
        }
    }

    fn write(&mut self, mut batch: Batch, out: &mut Vec<u8>) -> Option<Result<(), Failure>> {
        let renderer = self.renderer.as_mut();
        match &mut self.verbatim {
            Some(verbatim) => {
                batch.framed.truncate(batch.unseen.unwrap_or(usize::MAX));
                verbatim.write(batch.framed, &batch.events, renderer, out);
                if batch.unseen.is_some() {
                    verbatim.part_ways(renderer, out);
                }
            }
            None => renderer.events(&batch.events, out),
        }
        if let Some(Ok(())) = batch.end {
            let said = self
                .verbatim
                .as_mut()
                .is_some_and(|v| v.finish(renderer, out));
            if !said {
                renderer.finish(out);
            }
        }
        batch.end
    }

    fn write_error(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        let id = self.flow.exchange.facts.id.clone();
        self.renderer.error(&shown(failure, &id), out);
    }

    async fn piece(&mut self) -> Piece {
        if let Some(first) = self.first.take() {
            return first;
        }
        loop {
            match self.advance().await {
                Piece::Bytes(bytes) if bytes.is_empty() => {}
                Piece::Broken(bytes, failure) if bytes.is_empty() => {
                    let mut out = Vec::new();
                    self.write_error(&failure, &mut out);
                    return Piece::Broken(out.into(), failure);
                }
                piece => return piece,
            }
        }
    }
}

impl Pieces for Streamed {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Piece> + Send + '_>> {
        Box::pin(self.piece())
    }

    fn settled(&self) -> Settled {
        self.flow.settled()
    }
}
