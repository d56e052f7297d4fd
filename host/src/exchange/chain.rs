//! The chain: which plugin sees the request, in which order, and what its
//! decision or its failure means.

use std::future::Future;
use std::pin::{Pin, pin};

use bytes::Bytes;

use super::{Pinned, direct};
use crate::answer::{self, DecodedBy, Flow, Guards, Origin, Ready, Source};
use crate::dialect;
use crate::event::ModelEvent;
use crate::failure::{Failure, Kind};
use crate::generation::{Member, Provider};
use crate::message::{Exchange, Request};
use crate::plugin::{
    Action, CallError, Framing, Instance, OnFailure, Spent, Stage, UpstreamRequest, Verdict,
};
use crate::record::Recorder;
use crate::timing::{Timing, UPSTREAM};
use crate::upstream::{Client, Incoming, Outgoing};

/// A message on its way through the chain.
struct Chain<'r> {
    route: Pinned,
    exchange: Exchange,
    request: Request,
    recorder: &'r mut Recorder,
    timing: Timing,
    /// The instances of filters that will see the answer too, in the order of
    /// the route's filters.
    held: Vec<Option<Instance>>,
    /// Instances that have done their part. Taking one down takes as long as a
    /// call, so it is done while the upstream is at work.
    spent: Vec<Spent>,
}

/// What the chain decided.
enum Decision {
    Send(Box<(Instance, UpstreamRequest)>),
    /// To the route's own upstream, as it is.
    Pass,
    Answer(Vec<ModelEvent>),
    Reply(crate::plugin::Reply),
}

/// Takes a request through the chain to its answer.
pub(super) async fn run(
    client: &Client,
    route: Pinned,
    exchange: Exchange,
    request: Request,
    recorder: &mut Recorder,
) -> Result<Ready, Failure> {
    let held = route.filters.iter().map(|_| None).collect();
    let timing = recorder.timing().clone();
    let mut chain = Chain {
        timing,
        route,
        exchange,
        request,
        recorder,
        held,
        spent: Vec::new(),
    };
    chain.guarded()?;
    let decided = chain.decide().await;
    // What plugins noted explains a refusal as well as an answer.
    chain.recorder.entry().model = chain.request.model();
    for (key, value) in chain.exchange.notes.clone().into_pairs() {
        chain.recorder.set_note(&key, value);
    }
    if !chain.request.dropped.is_empty() {
        chain
            .recorder
            .note("dropped", chain.request.dropped.join(", "));
    }
    match decided? {
        Decision::Send(sending) => chain.send(client, *sending).await,
        Decision::Pass => chain.pass(client).await,
        Decision::Answer(events) => chain.answered(events).await,
        Decision::Reply(reply) => answer::reply(reply),
    }
}

impl Chain<'_> {
    /// A path whose answers cannot be read must not be a way round a filter of
    /// answers.
    fn guarded(&self) -> Result<(), Failure> {
        let guard = self
            .route
            .filters
            .iter()
            .find(|m| m.plugin.serves(Stage::EventFilter));
        match (guard, self.exchange.facts.dialect) {
            (Some(guard), None) => Err(Failure::new(
                Kind::NotFound,
                format!(
                    "route \"{}\" filters answers (\"{}\"), and cannot read those of {}",
                    self.route.name, guard.plugin.name, self.request.target.path
                ),
            )
            .with_detail("let another route match this path, if it may be passed through unread")),
            _ => Ok(()),
        }
    }

    async fn decide(&mut self) -> Result<Decision, Failure> {
        for index in 0..self.route.filters.len() {
            if let Some(events) = self.filter(index).await? {
                return Ok(Decision::Answer(events));
            }
        }
        if let Some(rewriter) = self.route.rewriter.clone() {
            let timing = self.timing.clone();
            let rewritten = {
                let rewriting = pin!(self.rewrite(&rewriter));
                timing.measure(&rewriter.plugin.name, rewriting).await
            };
            self.allow(&rewriter, Stage::Rewriter, rewritten)?;
        }
        self.encode().await
    }

    /// Shows the request to one filter; answers the events by which the filter
    /// answers it, if it does.
    async fn filter(&mut self, index: usize) -> Result<Option<Vec<ModelEvent>>, Failure> {
        let member = self.route.filters[index].clone();
        if !member.plugin.serves(Stage::RequestFilter) {
            return Ok(None);
        }
        let timing = self.timing.clone();
        let checked = {
            let checking = pin!(self.check(index, &member));
            timing.measure(&member.plugin.name, checking).await
        };
        match self.allow(&member, Stage::RequestFilter, checked)? {
            None | Some(Verdict::Proceed) => Ok(None),
            Some(Verdict::Deny(denial)) => Err(self.denied(&member, Failure::denied(denial))),
            Some(Verdict::Answer(events)) if self.exchange.facts.dialect.is_some() => {
                self.recorder
                    .note("answered-by", member.plugin.name.clone());
                Ok(Some(events))
            }
            Some(Verdict::Answer(_)) => {
                let broke =
                    CallError::Protocol("it answered by events on a path without a dialect".into());
                self.allow::<()>(&member, Stage::RequestFilter, Err(broke))
                    .map(|_| None)
            }
        }
    }

    async fn check(&mut self, index: usize, member: &Member) -> Result<Verdict, CallError> {
        let mut instance = Instance::start(&member.plugin).await?;
        let verdict = instance
            .check(&mut self.exchange, &mut self.request)
            .await?;
        if member.plugin.serves(Stage::EventFilter) {
            self.held[index] = Some(instance);
        } else {
            self.spent.extend(instance.spent());
        }
        Ok(verdict)
    }

    async fn rewrite(&mut self, member: &Member) -> Result<(), CallError> {
        let mut instance = Instance::start(&member.plugin).await?;
        instance
            .rewrite(&mut self.exchange, &mut self.request)
            .await?;
        self.spent.extend(instance.spent());
        Ok(())
    }

    /// Waits for the upstream, and takes down what is spent as soon as the
    /// request is on its way.
    async fn answer_of(
        &mut self,
        sending: Pin<&mut impl Future<Output = Result<Incoming, Failure>>>,
    ) -> Result<Incoming, Failure> {
        let spent = std::mem::take(&mut self.spent);
        let taking_down = async {
            if !spent.is_empty() {
                // Whoever writes to the connection has its turn first.
                tokio::task::yield_now().await;
            }
            drop(spent);
        };
        let both = pin!(futures_util::future::join(sending, taking_down));
        self.timing.measure(UPSTREAM, both).await.0
    }

    async fn encode(&mut self) -> Result<Decision, Failure> {
        self.recorder.entry().provider = Some(self.route.provider.name().to_owned());
        let Provider::Adapter(adapter) = &self.route.provider else {
            return Ok(Decision::Pass);
        };
        let member = Member {
            plugin: adapter.plugin.clone(),
            on_failure: OnFailure::Reject,
        };
        self.translate(&member)?;
        let encoded = {
            let (exchange, request) = (&mut self.exchange, &mut self.request);
            let encoding = pin!(async {
                let mut instance = Instance::start(&member.plugin).await?;
                let action = instance.encode(exchange, request).await?;
                Ok((instance, action))
            });
            self.timing.measure(&member.plugin.name, encoding).await
        };
        let (instance, action) = encoded
            .map_err(|error: CallError| Failure::plugin(&member.plugin.name, "provider", &error))?;
        match action {
            Action::Send(request) => Ok(Decision::Send(Box::new((instance, request)))),
            Action::Answer(events) if self.exchange.facts.dialect.is_some() => {
                Ok(Decision::Answer(events))
            }
            Action::Answer(_) => {
                let broke =
                    CallError::Protocol("it answered by events on a path without a dialect".into());
                Err(Failure::plugin(&member.plugin.name, "provider", &broke))
            }
            Action::Reply(reply) => Ok(Decision::Reply(reply)),
            Action::Deny(denial) => Err(self.denied(&member, Failure::denied(denial))),
        }
    }

    /// Puts the request into the hub dialect, unless the adapter takes it as
    /// it is.
    fn translate(&mut self, adapter: &Member) -> Result<(), Failure> {
        let Some(dialect) = self.request.dialect.filter(|d| !adapter.plugin.takes(*d)) else {
            return Ok(());
        };
        let Some(body) = self.request.body.value() else {
            return Err(Failure::invalid("a plugin left a body that is not JSON"));
        };
        let hub = dialect
            .to_hub(body)
            .map_err(|e| Failure::invalid(e.to_string()))?;
        for pointer in hub.dropped {
            // Beyond the bound they are no longer listed one by one.
            let _ = self.request.report_dropped(pointer);
        }
        self.request.set_body(Bytes::from(hub.body.to_string()));
        self.request.dialect = Some(dialect::hub());
        Ok(())
    }

    fn denied(&mut self, member: &Member, failure: Failure) -> Failure {
        self.recorder.note("denied-by", member.plugin.name.clone());
        failure
    }

    /// What a plugin's failure means: by its policy the exchange fails, or
    /// goes on without the plugin.
    fn allow<T>(
        &mut self,
        member: &Member,
        stage: Stage,
        result: Result<T, CallError>,
    ) -> Result<Option<T>, Failure> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => answer::failed(member, stage, &error).map(|note| {
                self.recorder.note("bypassed", note);
                None
            }),
        }
    }

    fn guards(&mut self) -> Guards {
        let held = std::mem::take(&mut self.held);
        Guards::new(self.route.filters.iter().cloned().zip(held).collect())
    }

    fn origin(&self, same_dialect: bool) -> Origin {
        let client = self.exchange.facts.dialect;
        let usage_in_stream = match self.request.settings() {
            Some((dialect, body)) if client == Some(dialect) => dialect.wants_usage_in_stream(body),
            // Translated to the hub: the other dialects always tell.
            _ => true,
        };
        Origin {
            same_dialect,
            usage_in_stream,
            created: self.recorder.started_at(),
            dropped: self.request.dropped.clone(),
            bodiless: self.request.target.method == http::Method::HEAD,
        }
    }

    /// An answer that a plugin gave by itself.
    async fn answered(mut self, events: Vec<ModelEvent>) -> Result<Ready, Failure> {
        let guards = self.guards();
        let origin = self.origin(false);
        let Some(client) = self.exchange.facts.dialect else {
            return Err(Failure::new(
                Kind::Internal,
                "an answer by events has no dialect",
            ));
        };
        let flow = Flow::new(Source::burst(events), guards, self.exchange, self.route);
        let flow = flow.timed(self.timing);
        answer::of_events(flow, client, origin, None).await
    }

    async fn send(
        mut self,
        client: &Client,
        (instance, mut upstream): (Instance, UpstreamRequest),
    ) -> Result<Ready, Failure> {
        self.read_where_it_goes(&upstream.path)?;
        let answered_in = upstream.dialect.as_deref().and_then(dialect::by_name);
        let framing = upstream.framing;
        let body = match upstream.body.take() {
            Some(body) => Bytes::from(body).into(),
            None => self.request.body.pieces().into(),
        };
        let method = self.request.target.method.clone();
        let Provider::Adapter(adapter) = &self.route.provider else {
            return Err(Failure::new(Kind::Internal, "the route has no adapter"));
        };
        let outgoing = Outgoing::new(adapter, method, upstream, body)?;
        let sending = pin!(outgoing.send(client, self.route.first_byte_timeout));
        let spoken = self.exchange.facts.dialect;
        let same = spoken.is_none_or(|spoken| answered_in.is_some_and(|dialect| dialect == spoken));
        let guards = self.guards();
        // What is passed through nobody decodes; what the host reads, it does.
        let reader = spoken.and_then(|spoken| spoken.reader());
        let streamed = framing == Framing::Sse && self.exchange.facts.streaming;
        let reader = reader.filter(|_| same && streamed);
        let (by, spent) = match reader {
            _ if same && guards.is_empty() => (None, Some(instance)),
            Some(reader) => (Some(DecodedBy::Host(reader)), Some(instance)),
            None => (Some(DecodedBy::Adapter(Box::new(instance))), None),
        };
        // Whoever will not decode has done its part.
        self.spent.extend(spent.and_then(Instance::spent));
        let incoming = self.answer_of(sending).await?;
        let origin = self.origin(same);
        let by = by.filter(|_| !same || incoming.status.is_success());
        let (Some(spoken), Some(by)) = (spoken, by) else {
            let watched = spoken.map(|dialect| (dialect, self.exchange.facts.clone()));
            return answer::passed_through(incoming, watched, origin, &self.route).await;
        };
        let head = answer::Kept::of(&incoming);
        let source = {
            let (exchange, route) = (&mut self.exchange, &self.route);
            let opening = pin!(Source::upstream(incoming, by, framing, exchange, route));
            self.timing.measure(route.provider.name(), opening).await?
        };
        let flow = Flow::new(source, guards, self.exchange, self.route);
        let flow = flow.timed(self.timing);
        answer::of_events(flow, spoken, origin, Some(head)).await
    }

    /// A request that was not read as a dialect must not get to where one is
    /// spoken: filters have not seen its texts.
    fn read_where_it_goes(&self, path: &str) -> Result<(), Failure> {
        if self.exchange.facts.dialect.is_some() || !dialect::is_reached(path) {
            return Ok(());
        }
        let asked = &self.request.target.path;
        let failure = Failure::new(Kind::NotFound, format!("there is nothing at {asked}"));
        Err(failure.with_detail(format!("it would reach {path} unread")))
    }

    /// Sends a request to the upstream that the route names itself.
    async fn pass(mut self, client: &Client) -> Result<Ready, Failure> {
        let Provider::Direct(upstream) = &self.route.provider else {
            return Err(Failure::new(Kind::Internal, "the route has no upstream"));
        };
        let Request {
            target, headers, ..
        } = &self.request;
        self.read_where_it_goes(&upstream.upstream.path_of(&target.path))?;
        let body = self.request.body.pieces().into();
        let outgoing = direct::outgoing(upstream, target, headers, body)?;
        let sending = pin!(outgoing.send(client, self.route.first_byte_timeout));
        let incoming = self.answer_of(sending).await?;
        let facts = &self.exchange.facts;
        let watched = facts.dialect.map(|dialect| (dialect, facts.clone()));
        answer::passed_through(incoming, watched, self.origin(true), &self.route).await
    }
}
