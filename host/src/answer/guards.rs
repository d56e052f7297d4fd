//! The filters of answers of one exchange, one after another: what the first
//! passes on, the second sees.

use std::pin::pin;

use crate::event::ModelEvent;
use crate::failure::Failure;
use crate::generation::Member;
use crate::message::Exchange;
use crate::plugin::{CallError, Instance, OnFailure, Session, Stage, Step};
use crate::timing::Timing;

/// The most events that a filter is shown at a time (`session.push`).
const MAX_EVENTS: usize = 256;

/// What a plugin's failure means by its policy: the failure of the exchange,
/// or a note that it goes on without the plugin.
pub fn failed(member: &Member, stage: Stage, error: &CallError) -> Result<String, Failure> {
    let plugin = member.plugin.name.as_str();
    match member.on_failure {
        // An operator has decided, who outranks the policy.
        _ if matches!(error, CallError::Disabled) => Ok(format!("{plugin} ({stage})")),
        OnFailure::Reject => Err(Failure::plugin(plugin, &stage.to_string(), error)),
        OnFailure::Bypass => {
            tracing::warn!(plugin, stage = %stage, %error, "the exchange goes on without it");
            Ok(format!("{plugin} ({stage})"))
        }
    }
}

/// All filters of answers of an exchange.
#[derive(Default)]
pub struct Guards {
    list: Vec<Guard>,
    /// Which were passed over, and where.
    bypassed: Vec<String>,
    timing: Timing,
}

struct Guard {
    member: Member,
    state: State,
    /// Whether it has taken events: from then on it may hold some back, and
    /// cannot be passed over without a hole in the answer.
    entered: bool,
}

enum State {
    /// Not yet asked; the instance is the one that saw the request.
    New(Option<Box<Instance>>),
    Open(Box<(Instance, Session)>),
    /// It failed, and its policy is to go on without it.
    Bypassed,
}

/// Events that the filters let through, and why one of them ended the answer.
#[derive(Debug, Default)]
pub struct Passed {
    pub events: Vec<ModelEvent>,
    pub stop: Option<Failure>,
}

impl Guards {
    /// The filters of a route that filter answers, each with the instance that
    /// it already has.
    pub fn new(filters: Vec<(Member, Option<Instance>)>) -> Self {
        let guards = filters
            .into_iter()
            .filter(|(m, _)| m.plugin.serves(Stage::EventFilter));
        let guard = |(member, held): (Member, Option<Instance>)| Guard {
            member,
            state: State::New(held.map(Box::new)),
            entered: false,
        };
        Self {
            list: guards.map(guard).collect(),
            bypassed: Vec::new(),
            timing: Timing::default(),
        }
    }

    /// Writes down where the time goes.
    pub fn time(&mut self, timing: Timing) {
        self.timing = timing;
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn bypassed(&self) -> &[String] {
        &self.bypassed
    }

    /// Shows events to each filter in turn.
    pub async fn push(
        &mut self,
        exchange: &mut Exchange,
        events: Vec<ModelEvent>,
    ) -> Result<Passed, Failure> {
        self.run(exchange, events, false).await
    }

    /// The answer is over: lets each filter pass on what it held back.
    pub async fn finish(
        &mut self,
        exchange: &mut Exchange,
        events: Vec<ModelEvent>,
    ) -> Result<Passed, Failure> {
        self.run(exchange, events, true).await
    }

    async fn run(
        &mut self,
        exchange: &mut Exchange,
        mut events: Vec<ModelEvent>,
        last: bool,
    ) -> Result<Passed, Failure> {
        let mut last = last;
        let mut stop = None;
        for guard in &mut self.list {
            // Passed over: what it would have been shown goes on as it is.
            if matches!(guard.state, State::Bypassed) {
                continue;
            }
            let plugin = guard.member.plugin.clone();
            let result = {
                let running = pin!(guard.run(exchange, &events, last));
                self.timing.measure(&plugin.name, running).await
            };
            match result {
                Ok(passed) => {
                    events = passed.events;
                    // The answer ends here, for the filters that follow too.
                    if let Some(failure) = passed.stop {
                        last = true;
                        stop.get_or_insert(failure);
                    }
                }
                Err(error) if guard.entered => {
                    let name = &guard.member.plugin.name;
                    return Err(Failure::plugin(name, "event-filter", &error));
                }
                Err(error) => {
                    self.bypassed
                        .push(failed(&guard.member, Stage::EventFilter, &error)?);
                    guard.state = State::Bypassed;
                }
            }
        }
        Ok(Passed { events, stop })
    }
}

impl Guard {
    async fn run(
        &mut self,
        exchange: &mut Exchange,
        events: &[ModelEvent],
        last: bool,
    ) -> Result<Passed, CallError> {
        self.open(exchange).await?;
        let State::Open(open) = &mut self.state else {
            return Err(CallError::Spent);
        };
        let (instance, session) = (&mut open.0, open.1);
        let mut passed = Passed::default();
        for batch in events.chunks(MAX_EVENTS) {
            let step = instance.guard(exchange, session, batch).await?;
            self.entered = true;
            if passed.take(step) {
                return Ok(passed);
            }
        }
        if last {
            let step = instance.guard_end(exchange, session).await?;
            passed.take(step);
        }
        Ok(passed)
    }

    async fn open(&mut self, exchange: &mut Exchange) -> Result<(), CallError> {
        let State::New(held) = &mut self.state else {
            return Ok(());
        };
        let mut instance = match held.take() {
            Some(instance) => *instance,
            None => Instance::start(&self.member.plugin).await?,
        };
        let session = instance.session(exchange).await?;
        self.state = State::Open(Box::new((instance, session)));
        Ok(())
    }
}

impl Passed {
    /// Adds what a call passed on; whether it ended the answer.
    fn take(&mut self, step: Step) -> bool {
        self.events.extend(step.emit);
        self.stop = step.stop.map(Failure::denied);
        self.stop.is_some()
    }
}
