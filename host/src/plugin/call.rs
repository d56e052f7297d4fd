//! One plugin instance, and how a call of it can end.
//!
//! An instance serves one exchange: every call that the exchange makes of the
//! plugin goes to it, so a plugin may keep what it needs from the request to
//! the answer. Nothing outlives the exchange: an instance that serves another
//! has been put back to how it began, unless the manifest says that instances
//! are used again as they are (`pool`). One that has failed, or whose call was
//! given up, is gone at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, WasmBacktrace};

use super::running::Running;
use super::state::State;
use super::{ConfigError, Denied, Plugin};
use crate::message::Exchange;
use crate::permits::Permit;

/// Why a call gave no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The plugin said that it could not do its job.
    #[error("{code}: {message}")]
    Problem { code: String, message: String },
    /// The plugin broke: a panic, an abort, a wrong instruction. With the
    /// functions that it was in, the innermost first.
    #[error("it trapped: {text}")]
    Trap { text: String, backtrace: String },
    #[error("deadline of {} ms passed", .0.as_millis())]
    Deadline(Duration),
    #[error("limit of {} ms of CPU time was reached", .0.as_millis())]
    Cpu(Duration),
    #[error("{0}")]
    Limit(Denied),
    /// What it returned breaks a rule of the contract.
    #[error("it broke the contract: {0}")]
    Protocol(String),
    #[error("its configuration is refused")]
    Configuration(Vec<ConfigError>),
    /// All instances of the pool are in use.
    #[error("all plugin instances are in use")]
    Exhausted,
    /// An earlier call of the same exchange failed.
    #[error("it failed earlier in this exchange")]
    Spent,
    /// It failed too often in a row, and is left alone for so long.
    #[error("it failed too often in a row, and is not called for another {} s", .0.as_secs().max(1))]
    Spared(Duration),
    /// An operator has disabled it.
    #[error("it is disabled")]
    Disabled,
}

/// The longest explanation of a trap that is kept, in bytes, and the longest
/// backtrace.
const MAX_TRAP_TEXT: usize = 2 << 10;
const MAX_BACKTRACE: usize = 4 << 10;

/// A running plugin, on loan to an exchange.
pub struct Instance {
    pub(super) plugin: Arc<Plugin>,
    /// None once a call has failed.
    running: Option<Box<Running>>,
}

impl Instance {
    /// Takes an instance that is ready, or makes one, within the time of one
    /// call.
    pub async fn start(plugin: &Arc<Plugin>) -> Result<Self, CallError> {
        plugin.health.admit()?;
        let begun = Instant::now();
        let running = match plugin.pool.take(plugin).await {
            Some(running) => Ok(running),
            // Most find one; the state of the others is large.
            None => Box::pin(make(plugin)).await,
        };
        plugin.health.took(begun.elapsed());
        match running {
            Ok(running) => Ok(Self {
                plugin: plugin.clone(),
                running: Some(running),
            }),
            Err(error) => {
                plugin.health.failed("start", &error);
                Err(error)
            }
        }
    }

    pub(super) fn running(&mut self) -> Result<&mut Running, CallError> {
        self.running.as_deref_mut().ok_or(CallError::Spent)
    }

    /// Runs a call within the plugin's limits, and counts it if it fails. What
    /// it returned is then looked at, and counted by `well`, `problem` or
    /// `broke`. While it runs the instance is on loan to it: if it fails, or is
    /// given up, it is gone.
    pub(super) async fn limited<T>(
        &mut self,
        name: &'static str,
        call: impl AsyncFnOnce(&mut Running) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        let mut running = self.running.take().ok_or(CallError::Spent)?;
        let begun = Instant::now();
        let health = &self.plugin.health;
        let result = running.limited(health, call).await;
        health.took(begun.elapsed());
        match &result {
            Ok(_) => self.running = Some(running),
            Err(error) => health.failed(name, error),
        }
        result
    }

    /// Runs a call that may read the exchange and leave notes. Notes are kept
    /// if the call returns `ok`.
    pub(super) async fn on_exchange<T>(
        &mut self,
        name: &'static str,
        exchange: &mut Exchange,
        call: impl AsyncFnOnce(&mut Running) -> wasmtime::Result<Result<T, Problem>>,
    ) -> Result<T, CallError> {
        self.running()?.store.data_mut().exchange = Some(exchange.clone());
        let value = self.limited(name, call).await?;
        let staged = self.running()?.store.data_mut().exchange.take();
        let value = value.map_err(|problem| self.problem(name, problem))?;
        if let Some(staged) = staged {
            *exchange = staged;
        }
        Ok(value)
    }

    /// A call ended well, and what it returned keeps every rule.
    pub(super) fn well(&self, name: &'static str) {
        self.plugin.health.well(name);
    }

    /// What the plugin reports of itself.
    pub(super) fn problem(&self, name: &'static str, problem: Problem) -> CallError {
        let error = CallError::Problem {
            code: problem.code,
            message: problem.message,
        };
        self.plugin.health.failed(name, &error);
        error
    }

    /// What it returned breaks a rule; the instance is not trusted further.
    pub(super) fn broke(&mut self, name: &'static str, rule: String) -> CallError {
        self.running = None;
        let error = CallError::Protocol(rule);
        self.plugin.health.failed(name, &error);
        error
    }
}

/// The most instances that give way to one: another exchange may be first to
/// take a place that has become free, and an instance of many modules takes
/// those of several.
const MAX_GIVING_WAY: u32 = 64;

/// Makes an instance. If there is no place, those that wait give way.
async fn make(plugin: &Arc<Plugin>) -> Result<Box<Running>, CallError> {
    for _ in 0..MAX_GIVING_WAY {
        match Running::make(plugin).await {
            Err(CallError::Exhausted) if plugin.places.make_room() => {}
            made => return made,
        }
    }
    Err(CallError::Exhausted)
}

/// An instance that has done its part, until it is taken down.
pub struct Spent {
    #[expect(dead_code, reason = "held for its drop")]
    instance: Instance,
    #[expect(dead_code, reason = "held for its drop")]
    place: Permit,
}

impl Instance {
    /// Lets it wait to be taken down, which takes as long as a call. If many
    /// wait already it is gone at once: each has a place that another exchange
    /// may want.
    pub fn spent(self) -> Option<Spent> {
        let place = self.plugin.places.spent.take()?;
        Some(Spent {
            instance: self,
            place,
        })
    }
}

impl Drop for Instance {
    /// Gives an instance that may be used again back; otherwise it is gone.
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.plugin.pool.give_back(&self.plugin, running);
        }
    }
}

pub(super) use crate::bindings::palisade::plugin::types::Problem;

/// A component whose exports were checked when it was loaded does not fit.
pub(super) fn unfit(error: wasmtime::Error) -> CallError {
    CallError::Protocol(format!("{error:#}"))
}

/// Says in a sentence how an instance broke.
pub(super) fn broken(store: &Store<State>, error: &wasmtime::Error) -> CallError {
    let state = store.data();
    if let Some(denied) = state.limiter.denied {
        return CallError::Limit(denied);
    }
    if state.used_up() {
        return CallError::Cpu(state.terms.limits.cpu);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Exhausted;
    }
    let limits = &state.terms.limits;
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return CallError::Limit(Denied::Handles(limits.handles));
    }
    // wasmtime has no type for this one.
    if format!("{error:#}").contains("fuel allocated for hostcalls") {
        return CallError::Limit(Denied::Transfer(limits.transfer));
    }
    let text = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => format!("{:#}", error.root_cause()),
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    CallError::Trap {
        text: text.chars().take(MAX_TRAP_TEXT).collect(),
        backtrace: backtrace
            .map(|backtrace| backtrace.to_string().chars().take(MAX_BACKTRACE).collect())
            .unwrap_or_default(),
    }
}
