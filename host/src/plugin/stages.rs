//! One method for each function of the contract: lends the message to the
//! plugin, calls it, and takes back what it changed.

use wasmtime::component::{Resource, ResourceAny};

use super::call::{CallError, Instance, unfit};
use super::state::ExchangeView;
use crate::bindings::exports::palisade::plugin as exports;
use crate::event::ModelEvent;
use crate::message::{Exchange, Request, ResponseHead};

pub use crate::bindings::palisade::plugin::types::{Denial, DenialKind};
pub use exports::event_filter::Step;
pub use exports::log_sink::{Entry, Outcome};
pub use exports::provider::{Action, Credential, Frame, Framing, Reply, UpstreamRequest};
pub use exports::request_filter::Verdict;

/// A decoder of one answer, in the adapter's instance.
#[derive(Debug, Clone, Copy)]
pub struct Decoder(ResourceAny);

/// A guard's session on one answer, in its instance.
#[derive(Debug, Clone, Copy)]
pub struct Session(ResourceAny);

fn absent(stage: &str) -> CallError {
    CallError::Protocol(format!("it does not export `{stage}`"))
}

impl Instance {
    /// Lends `request` for a call, and keeps what the call made of it if it
    /// returns `ok`.
    async fn on_request<T>(
        &mut self,
        exchange: &mut Exchange,
        request: &mut Request,
        call: impl AsyncFnOnce(
            &mut wasmtime::Store<super::State>,
            Resource<Request>,
        ) -> wasmtime::Result<Result<T, super::call::Problem>>,
    ) -> Result<T, CallError> {
        let own = self
            .store
            .data_mut()
            .table
            .push(request.clone())
            .map_err(full)?;
        let lent = Resource::new_borrow(own.rep());
        let result = self
            .on_exchange(exchange, async |store| call(store, lent).await)
            .await;
        let edited = self.store.data_mut().table.delete(own).map_err(full)?;
        if result.is_ok() {
            *request = edited;
        }
        result
    }

    /// `request-filter.check`.
    pub async fn check(
        &mut self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Verdict, CallError> {
        let plugin = self.plugin.clone();
        let indices = plugin.code.stages.request_filter.as_ref();
        let guest = indices
            .ok_or_else(|| absent("request-filter"))?
            .load(&mut self.store, &self.linked)
            .map_err(unfit)?;
        self.on_request(exchange, request, async |store, request| {
            guest.call_check(store, request).await
        })
        .await
    }

    /// `rewriter.rewrite`.
    pub async fn rewrite(
        &mut self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<(), CallError> {
        let plugin = self.plugin.clone();
        let indices = plugin.code.stages.rewriter.as_ref();
        let guest = indices
            .ok_or_else(|| absent("rewriter"))?
            .load(&mut self.store, &self.linked)
            .map_err(unfit)?;
        self.on_request(exchange, request, async |store, request| {
            guest.call_rewrite(store, request).await
        })
        .await
    }

    fn provider(&mut self) -> Result<exports::provider::Guest, CallError> {
        let plugin = self.plugin.clone();
        let indices = plugin.code.stages.provider.as_ref();
        indices
            .ok_or_else(|| absent("provider"))?
            .load(&mut self.store, &self.linked)
            .map_err(unfit)
    }

    /// `provider.describe`: the names of the dialects that it takes.
    pub(super) async fn describe(&mut self) -> Result<Vec<String>, CallError> {
        let guest = self.provider()?;
        let description = self
            .limited(async |store| guest.call_describe(store).await)
            .await?;
        Ok(description.dialects)
    }

    /// `provider.encode`.
    pub async fn encode(
        &mut self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Action, CallError> {
        let guest = self.provider()?;
        self.on_request(exchange, request, async |store, request| {
            guest.call_encode(store, request).await
        })
        .await
    }

    /// Makes a decoder for an answer.
    pub async fn decoder(
        &mut self,
        exchange: &mut Exchange,
        head: &ResponseHead,
    ) -> Result<Decoder, CallError> {
        let guest = self.provider()?;
        let own = self
            .store
            .data_mut()
            .table
            .push(head.clone())
            .map_err(full)?;
        let lent = Resource::new_borrow(own.rep());
        let made = self
            .on_exchange(exchange, async |store| {
                guest.decoder().call_constructor(store, lent).await.map(Ok)
            })
            .await;
        self.store.data_mut().table.delete(own).map_err(full)?;
        made.map(Decoder)
    }

    /// `decoder.push`: the events of each frame.
    pub async fn decode(
        &mut self,
        exchange: &mut Exchange,
        decoder: Decoder,
        frames: &[Frame],
    ) -> Result<Vec<Vec<ModelEvent>>, CallError> {
        let guest = self.provider()?;
        let events = self
            .on_exchange(exchange, async |store| {
                guest.decoder().call_push(store, decoder.0, frames).await
            })
            .await?;
        if events.len() != frames.len() {
            let (got, wanted) = (events.len(), frames.len());
            return Err(CallError::Protocol(format!(
                "decoder.push returned {got} lists for {wanted} frames"
            )));
        }
        Ok(events)
    }

    /// `decoder.finish`.
    pub async fn decode_end(
        &mut self,
        exchange: &mut Exchange,
        decoder: Decoder,
    ) -> Result<Vec<ModelEvent>, CallError> {
        let guest = self.provider()?;
        self.on_exchange(exchange, async |store| {
            guest.decoder().call_finish(store, decoder.0).await
        })
        .await
    }

    fn event_filter(&mut self) -> Result<exports::event_filter::Guest, CallError> {
        let plugin = self.plugin.clone();
        let indices = plugin.code.stages.event_filter.as_ref();
        indices
            .ok_or_else(|| absent("event-filter"))?
            .load(&mut self.store, &self.linked)
            .map_err(unfit)
    }

    /// Makes a session for an answer.
    pub async fn session(&mut self, exchange: &mut Exchange) -> Result<Session, CallError> {
        let guest = self.event_filter()?;
        let own = self
            .store
            .data_mut()
            .table
            .push(ExchangeView)
            .map_err(full)?;
        let lent = Resource::new_borrow(own.rep());
        let made = self
            .on_exchange(exchange, async |store| {
                guest.session().call_constructor(store, lent).await.map(Ok)
            })
            .await;
        self.store.data_mut().table.delete(own).map_err(full)?;
        made.map(Session)
    }

    /// `session.push`.
    pub async fn guard(
        &mut self,
        exchange: &mut Exchange,
        session: Session,
        events: &[ModelEvent],
    ) -> Result<Step, CallError> {
        let guest = self.event_filter()?;
        self.on_exchange(exchange, async |store| {
            guest.session().call_push(store, session.0, events).await
        })
        .await
    }

    /// `session.finish`.
    pub async fn guard_end(
        &mut self,
        exchange: &mut Exchange,
        session: Session,
    ) -> Result<Step, CallError> {
        let guest = self.event_filter()?;
        self.on_exchange(exchange, async |store| {
            guest.session().call_finish(store, session.0).await
        })
        .await
    }

    /// `log-sink.write`.
    pub async fn write(&mut self, entries: &[Entry]) -> Result<(), CallError> {
        let plugin = self.plugin.clone();
        let indices = plugin.code.stages.log_sink.as_ref();
        let guest = indices
            .ok_or_else(|| absent("log-sink"))?
            .load(&mut self.store, &self.linked)
            .map_err(unfit)?;
        let written = self
            .limited(async |store| guest.call_write(store, entries).await)
            .await?;
        written.map_err(|p| CallError::Problem {
            code: p.code,
            message: p.message,
        })
    }
}

fn full(error: wasmtime::component::ResourceTableError) -> CallError {
    CallError::Protocol(format!("its handles: {error}"))
}
