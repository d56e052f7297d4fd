//! One method for each function of the contract: lends the message to the
//! plugin, calls it, and takes back what it changed.

use std::sync::Arc;

use wasmtime::component::{Resource, ResourceAny, TypedFunc};

use super::Stage;
use super::call::{CallError, Instance, Problem, unfit};
use super::running::Running;
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

/// The guest's side of a stage, looked up once in each instance: a stream calls
/// its functions for every frame.
macro_rules! guest {
    ($instance:ident, $stage:ident) => {{
        let plugin = $instance.plugin.clone();
        let running = $instance.running()?;
        if running.guests.$stage.is_none() {
            let indices = plugin.code.stages.$stage.as_ref();
            let indices = indices.ok_or_else(|| absent(stringify!($stage)))?;
            let guest = indices.load(&mut running.store, &running.linked);
            running.guests.$stage = Some(Arc::new(guest.map_err(unfit)?));
        }
        let guest = running.guests.$stage.clone();
        guest.ok_or_else(|| absent(stringify!($stage)))?
    }};
}

/// The stages of an instance that have been called.
#[derive(Default)]
pub(super) struct Guests {
    request_filter: Option<Arc<exports::request_filter::Guest>>,
    rewriter: Option<Arc<exports::rewriter::Guest>>,
    provider: Option<Arc<exports::provider::Guest>>,
    encode: Option<Encode>,
    event_filter: Option<Arc<exports::event_filter::Guest>>,
    log_sink: Option<Arc<exports::log_sink::Guest>>,
}

type Encode = TypedFunc<(Resource<Request>,), (Result<Action, Problem>,)>;

fn absent(stage: &str) -> CallError {
    CallError::Protocol(format!("it does not export `{}`", stage.replace('_', "-")))
}

fn full(error: wasmtime::component::ResourceTableError) -> CallError {
    CallError::Protocol(format!("its handles: {error}"))
}

impl Instance {
    /// Looks up every function of every stage that the plugin exports, which
    /// checks their types.
    pub(super) fn look_up(&mut self) -> Result<(), CallError> {
        for stage in self.plugin.stages() {
            match stage {
                Stage::RequestFilter => drop(guest!(self, request_filter)),
                Stage::Rewriter => drop(guest!(self, rewriter)),
                Stage::Provider => drop(guest!(self, provider)),
                Stage::EventFilter => drop(guest!(self, event_filter)),
                Stage::LogSink => drop(guest!(self, log_sink)),
            }
        }
        Ok(())
    }

    /// Puts something into the plugin's table, to lend it for a call.
    fn lend<T: Send + 'static>(&mut self, value: T) -> Result<Resource<T>, CallError> {
        let state = self.running()?.store.data_mut();
        state.push(value).map_err(full)
    }

    /// Takes back what was lent. A call that failed has taken it along.
    fn take_back<T: 'static>(&mut self, own: Resource<T>) -> Result<T, CallError> {
        let table = &mut self.running()?.store.data_mut().table;
        table.delete(own).map_err(full)
    }

    /// Lends `request` for a call, and keeps what the call made of it if it
    /// returns `ok`.
    async fn on_request<T>(
        &mut self,
        name: &'static str,
        exchange: &mut Exchange,
        request: &mut Request,
        call: impl AsyncFnOnce(&mut Running, Resource<Request>) -> wasmtime::Result<Result<T, Problem>>,
    ) -> Result<T, CallError> {
        let own = self.lend(request.clone())?;
        let lent = Resource::new_borrow(own.rep());
        let result = self
            .on_exchange(name, exchange, async |running| call(running, lent).await)
            .await?;
        let edited = self.take_back(own)?;
        if let Some(rule) = unreadable(request, &edited) {
            return Err(self.broke(name, rule));
        }
        *request = edited;
        Ok(result)
    }

    /// Keeps the instance for the length of an answer, which may be long: so
    /// many may be kept that some are left for calls that are short.
    fn keep(&mut self, owned: ResourceAny) -> Result<(), CallError> {
        let places = self.plugin.places.kept.clone();
        let running = self.running()?;
        running.owned.push(owned);
        if running.kept.is_none() {
            running.kept = Some(places.take().ok_or(CallError::Exhausted)?);
        }
        Ok(())
    }

    /// Checks what a call returned against the bound of a body.
    fn within(&mut self, name: &'static str, bytes: usize) -> Result<(), CallError> {
        let most = self.plugin.terms.limits.output;
        if bytes <= most {
            return Ok(());
        }
        let rule = format!("{name} returned {bytes} bytes, and may return {most} (`output`)");
        Err(self.broke(name, rule))
    }

    /// `request-filter.check`.
    pub async fn check(
        &mut self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Verdict, CallError> {
        let guest = guest!(self, request_filter);
        let verdict = self
            .on_request("check", exchange, request, async |running, request| {
                guest.call_check(&mut running.store, request).await
            })
            .await?;
        if let Verdict::Answer(events) = &verdict {
            self.within("check", size(events))?;
        }
        self.well("check");
        Ok(verdict)
    }

    /// `rewriter.rewrite`.
    pub async fn rewrite(
        &mut self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<(), CallError> {
        let guest = guest!(self, rewriter);
        self.on_request("rewrite", exchange, request, async |running, request| {
            guest.call_rewrite(&mut running.store, request).await
        })
        .await?;
        self.well("rewrite");
        Ok(())
    }

    /// `provider.describe`: the names of the dialects that it takes.
    pub(super) async fn describe(&mut self) -> Result<Vec<String>, CallError> {
        let guest = guest!(self, provider);
        let description = self
            .limited("describe", async |running| {
                guest.call_describe(&mut running.store).await
            })
            .await?;
        self.well("describe");
        Ok(description.dialects)
    }

    /// `provider.encode` by itself: to look up the provider's other functions
    /// and check their types takes as long as a call.
    fn encoding(&mut self) -> Result<Encode, CallError> {
        let index = self.plugin.code.stages.encode;
        let index = index.ok_or_else(|| absent("provider"))?;
        let running = self.running()?;
        if let Some(encode) = running.guests.encode {
            return Ok(encode);
        }
        let encode = running.linked.get_typed_func(&mut running.store, index);
        Ok(*running.guests.encode.insert(encode.map_err(unfit)?))
    }

    /// `provider.encode`.
    pub async fn encode(
        &mut self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Action, CallError> {
        let encode = self.encoding()?;
        let action = self
            .on_request("encode", exchange, request, async |running, request| {
                let (action,) = encode.call_async(&mut running.store, (request,)).await?;
                Ok(action)
            })
            .await?;
        let bytes = match &action {
            Action::Send(request) => request.body.as_ref().map_or(0, Vec::len),
            Action::Answer(events) => size(events),
            Action::Reply(reply) => reply.body.len(),
            Action::Deny(_) => 0,
        };
        self.within("encode", bytes)?;
        self.well("encode");
        Ok(action)
    }

    /// Makes a decoder for an answer.
    pub async fn decoder(
        &mut self,
        exchange: &mut Exchange,
        head: &ResponseHead,
    ) -> Result<Decoder, CallError> {
        let guest = guest!(self, provider);
        let own = self.lend(head.clone())?;
        let lent = Resource::new_borrow(own.rep());
        let made = self
            .on_exchange("decoder", exchange, async |running| {
                let decoder = guest.decoder();
                decoder
                    .call_constructor(&mut running.store, lent)
                    .await
                    .map(Ok)
            })
            .await?;
        self.well("decoder");
        self.take_back(own)?;
        self.keep(made)?;
        Ok(Decoder(made))
    }

    /// `decoder.push`: the events of each frame.
    pub async fn decode(
        &mut self,
        exchange: &mut Exchange,
        decoder: Decoder,
        frames: &[Frame],
    ) -> Result<Vec<Vec<ModelEvent>>, CallError> {
        let guest = guest!(self, provider);
        let events = self
            .on_exchange("decoder.push", exchange, async |running| {
                let methods = guest.decoder();
                methods
                    .call_push(&mut running.store, decoder.0, frames)
                    .await
            })
            .await?;
        if events.len() != frames.len() {
            let (got, wanted) = (events.len(), frames.len());
            let rule = format!("decoder.push returned {got} lists for {wanted} frames");
            return Err(self.broke("decoder.push", rule));
        }
        self.within(
            "decoder.push",
            events.iter().map(|events| size(events)).sum(),
        )?;
        self.well("decoder.push");
        Ok(events)
    }

    /// `decoder.finish`.
    pub async fn decode_end(
        &mut self,
        exchange: &mut Exchange,
        decoder: Decoder,
    ) -> Result<Vec<ModelEvent>, CallError> {
        let guest = guest!(self, provider);
        let events = self
            .on_exchange("decoder.finish", exchange, async |running| {
                let methods = guest.decoder();
                methods.call_finish(&mut running.store, decoder.0).await
            })
            .await?;
        self.within("decoder.finish", size(&events))?;
        self.well("decoder.finish");
        Ok(events)
    }

    /// Makes a session for an answer.
    pub async fn session(&mut self, exchange: &mut Exchange) -> Result<Session, CallError> {
        let guest = guest!(self, event_filter);
        let own = self.lend(ExchangeView)?;
        let lent = Resource::new_borrow(own.rep());
        let made = self
            .on_exchange("session", exchange, async |running| {
                let session = guest.session();
                session
                    .call_constructor(&mut running.store, lent)
                    .await
                    .map(Ok)
            })
            .await?;
        self.well("session");
        self.take_back(own)?;
        self.keep(made)?;
        Ok(Session(made))
    }

    /// `session.push`.
    pub async fn guard(
        &mut self,
        exchange: &mut Exchange,
        session: Session,
        events: &[ModelEvent],
    ) -> Result<Step, CallError> {
        let guest = guest!(self, event_filter);
        let step = self
            .on_exchange("session.push", exchange, async |running| {
                let methods = guest.session();
                methods
                    .call_push(&mut running.store, session.0, events)
                    .await
            })
            .await?;
        self.within("session.push", size(&step.emit))?;
        self.well("session.push");
        Ok(step)
    }

    /// `session.finish`.
    pub async fn guard_end(
        &mut self,
        exchange: &mut Exchange,
        session: Session,
    ) -> Result<Step, CallError> {
        let guest = guest!(self, event_filter);
        let step = self
            .on_exchange("session.finish", exchange, async |running| {
                let methods = guest.session();
                methods.call_finish(&mut running.store, session.0).await
            })
            .await?;
        self.within("session.finish", size(&step.emit))?;
        self.well("session.finish");
        Ok(step)
    }

    /// `log-sink.write`. What it writes to its output is written if the call
    /// returns `ok`: all of it or nothing.
    pub async fn write(&mut self, entries: &[Entry]) -> Result<(), CallError> {
        let guest = guest!(self, log_sink);
        let writing = self.running()?.store.data_mut().writing().clone();
        writing.held.begin();
        let written = self
            .limited("write", async |running| {
                guest.call_write(&mut running.store, entries).await
            })
            .await?;
        let bytes = writing.held.end();
        written.map_err(|problem| self.problem("write", problem))?;
        self.well("write");
        self.plugin.terms.output.write(&bytes);
        Ok(())
    }
}

/// What is wrong with a body that a plugin left where a dialect is spoken:
/// whoever comes next could not read it, or not all in the same way.
fn unreadable(before: &Request, after: &Request) -> Option<String> {
    after.dialect?;
    if before.body.is_same(&after.body) {
        return None;
    }
    let wrong = after.body.unambiguous().err()?;
    Some(format!("the body that it left cannot be read: {wrong}"))
}

/// Bytes of text in events.
fn size(events: &[ModelEvent]) -> usize {
    let of = |event: &ModelEvent| match event {
        ModelEvent::Text(f)
        | ModelEvent::Reasoning(f)
        | ModelEvent::ReasoningSignature(f)
        | ModelEvent::Refusal(f)
        | ModelEvent::ToolArguments(f) => f.text.len(),
        ModelEvent::ToolCall(call) => call.id.len() + call.name.len(),
        ModelEvent::Error(error) => error.message.len(),
        ModelEvent::Other(other) => other.json.len(),
        ModelEvent::Start(_) | ModelEvent::Usage(_) | ModelEvent::Finish(_) => 0,
    };
    events.iter().map(of).sum()
}
