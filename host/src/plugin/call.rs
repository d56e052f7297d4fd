//! One plugin instance, and how a call of it can end.
//!
//! An instance serves one exchange: every call that the exchange makes of the
//! plugin goes to it, so a plugin may keep what it needs from the request to
//! the answer, and nothing outlives the exchange. An instance that has failed
//! is never called again.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Instance as Linked;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use super::state::State;
use super::{ConfigError, Plugin};
use crate::message::Exchange;

/// Why a call gave no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The plugin said that it could not do its job.
    #[error("{code}: {message}")]
    Problem { code: String, message: String },
    /// The plugin broke: a panic, an abort, a wrong instruction.
    #[error("it trapped: {0}")]
    Trap(String),
    #[error("deadline of {} ms passed", .0.as_millis())]
    Deadline(Duration),
    #[error("limit of {} MiB of memory was reached", .0 >> 20)]
    Memory(usize),
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
}

/// The longest explanation of a trap that is kept, in bytes.
const MAX_TRAP_TEXT: usize = 2 << 10;

/// A running plugin.
pub struct Instance {
    pub(super) plugin: Arc<Plugin>,
    pub(super) store: Store<State>,
    pub(super) linked: Linked,
    failed: bool,
}

impl Instance {
    /// Makes an instance and configures it, within the time of one call.
    pub async fn start(plugin: &Arc<Plugin>) -> Result<Self, CallError> {
        let mut store = Store::new(plugin.code.pre.engine(), State::new(plugin.clone()));
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_hostcall_fuel(plugin.limits.output.saturating_mul(2));

        let linking = plugin.code.pre.instantiate_async(&mut store);
        let linked = match tokio::time::timeout(plugin.limits.time, linking).await {
            Ok(Ok(linked)) => linked,
            Ok(Err(error)) => return Err(broken(&store, &error)),
            Err(_) => return Err(CallError::Deadline(plugin.limits.time)),
        };
        let mut instance = Self {
            plugin: plugin.clone(),
            store,
            linked,
            failed: false,
        };
        instance.configure().await?;
        Ok(instance)
    }

    async fn configure(&mut self) -> Result<(), CallError> {
        let plugin = self.plugin.clone();
        let Some(indices) = &plugin.code.stages.configuration else {
            return Ok(());
        };
        let guest = indices.load(&mut self.store, &self.linked).map_err(unfit)?;
        let answer = self
            .limited(async |store| guest.call_configure(store, &plugin.config).await)
            .await?;
        answer.map_err(|errors| {
            let told =
                |e: crate::bindings::exports::palisade::plugin::configuration::ConfigError| {
                    ConfigError {
                        pointer: e.pointer,
                        message: e.message,
                    }
                };
            CallError::Configuration(errors.into_iter().map(told).collect())
        })
    }

    /// Runs a call within the plugin's time, and keeps its instance from being
    /// entered again if it fails.
    pub(super) async fn limited<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(CallError::Spent);
        }
        let time = self.plugin.limits.time;
        self.store.data_mut().begin_call(time);
        let result = match tokio::time::timeout(time, call(&mut self.store)).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(broken(&self.store, &error)),
            Err(_) => Err(CallError::Deadline(time)),
        };
        self.failed = result.is_err();
        result
    }

    /// Runs a call that may read the exchange and leave notes. Notes are kept
    /// if the call returns `ok`.
    pub(super) async fn on_exchange<T>(
        &mut self,
        exchange: &mut Exchange,
        call: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<Result<T, Problem>>,
    ) -> Result<T, CallError> {
        self.store.data_mut().exchange = Some(exchange.clone());
        let result = self.limited(call).await;
        let staged = self.store.data_mut().exchange.take();
        let value = result?.map_err(|p| CallError::Problem {
            code: p.code,
            message: p.message,
        })?;
        if let Some(staged) = staged {
            *exchange = staged;
        }
        Ok(value)
    }
}

pub(super) use crate::bindings::palisade::plugin::types::Problem;

/// A component whose exports were checked when it was loaded does not fit.
pub(super) fn unfit(error: wasmtime::Error) -> CallError {
    CallError::Protocol(format!("{error:#}"))
}

/// Says in a sentence how an instance broke.
fn broken(store: &Store<State>, error: &wasmtime::Error) -> CallError {
    let state = store.data();
    if state.limiter.denied {
        return CallError::Memory(state.plugin.limits.memory);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Exhausted;
    }
    let text = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => format!("{:#}", error.root_cause()),
    };
    CallError::Trap(text.chars().take(MAX_TRAP_TEXT).collect())
}
