//! A component that has been instantiated and configured: its store, and the
//! limits that hold while one of its functions runs.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use wasmtime::component::{Instance as Linked, ResourceAny};
use wasmtime::{Store, UpdateDeadline, format_err};

use super::call::{CallError, broken, unfit};
use super::health::Health;
use super::limits::Limiter;
use super::pages::Written;
use super::reset::Reset;
use super::stages::Guests;
use super::state::State;
use super::{ConfigError, Plugin};
use crate::permits::Permit;
use crate::timing;

/// See the module.
pub(super) struct Running {
    pub(super) store: Store<State>,
    pub(super) linked: Linked,
    pub(super) guests: Guests,
    /// Exchanges that it has served.
    pub(super) served: u32,
    /// What the host holds of the plugin's own: a decoder, a session.
    pub(super) owned: Vec<ResourceAny>,
    /// Its place among those that are kept for the length of an answer, or
    /// among those that wait.
    pub(super) kept: Option<Permit>,
    /// What puts it back, once that has been looked for.
    pub(super) reset: Option<Reset>,
    /// Which pages it has written to.
    pub(super) written: Written,
    /// What it had of memory and tables when it began.
    pub(super) begun: Limiter,
}

impl Running {
    /// Makes an instance and configures it, unless its configuration is part
    /// of its image.
    pub(super) async fn make(plugin: &Arc<Plugin>) -> Result<Box<Self>, CallError> {
        let limits = &plugin.terms.limits;
        let state = State::new(plugin.terms.clone(), plugin.rehearses);
        let mut store = Store::new(plugin.code.pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        // Lets others have the thread, and counts what it has used.
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            state.slices += 1;
            if state.used_up() {
                return Err(format_err!("the limit of CPU time was reached"));
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_hostcall_fuel(limits.transfer);

        let (linked, _) = {
            let linking = pin!(plugin.code.pre.instantiate_async(&mut store));
            within(limits.time, linking).await
        };
        charge(&plugin.health, &store);
        let linked = match linked {
            Some(Ok(linked)) => linked,
            Some(Err(error)) => return Err(broken(&store, &error)),
            None => return Err(CallError::Deadline(limits.time)),
        };
        let begun = store.data().limiter;
        // It is handed on from call to call.
        let mut running = Box::new(Self {
            store,
            linked,
            guests: Guests::default(),
            served: 0,
            owned: Vec::new(),
            kept: None,
            reset: None,
            written: Written::default(),
            begun,
        });
        if !plugin.code.configured {
            running.configure(plugin).await?;
        }
        plugin.health.made();
        Ok(running)
    }

    async fn configure(&mut self, plugin: &Arc<Plugin>) -> Result<(), CallError> {
        let Some(indices) = &plugin.code.stages.configuration else {
            return Ok(());
        };
        let guest = indices.load(&mut self.store, &self.linked).map_err(unfit)?;
        let answer = self
            .limited(&plugin.health, async |running| {
                let config = &plugin.terms.config;
                guest.call_configure(&mut running.store, config).await
            })
            .await?;
        answer.map_err(|errors| {
            let told = errors.into_iter().map(|e| ConfigError {
                pointer: e.pointer,
                message: e.message,
            });
            CallError::Configuration(told.collect())
        })
    }

    /// Runs a call within the plugin's limits, and counts the CPU time that it
    /// uses. After an error the instance must not be entered again.
    pub(super) async fn limited<T>(
        &mut self,
        health: &Health,
        call: impl AsyncFnOnce(&mut Self) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        // Slices that went by while it waited for its next call are not its own.
        self.store.set_epoch_deadline(1);
        let state = self.store.data_mut();
        state.begin_call();
        let time = state.terms.limits.time;
        let (result, at_once) = {
            let calling = pin!(call(self));
            within(time, calling).await
        };
        self.written.ran(at_once);
        charge(health, &self.store);
        match result {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => Err(broken(&self.store, &error)),
            None => Err(CallError::Deadline(time)),
        }
    }

    /// Makes it ready for another exchange: drops what the last one left.
    pub(super) async fn clear(&mut self, health: &Health) -> Result<(), CallError> {
        let owned = std::mem::take(&mut self.owned);
        self.limited(health, async |running| {
            for resource in owned {
                resource.resource_drop_async(&mut running.store).await?;
            }
            Ok(())
        })
        .await?;
        let state = self.store.data_mut();
        state.exchange = None;
        state.writing().logged.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// Counts the slices of CPU time of a call that has ended. Most use none.
pub(super) fn charge(health: &Health, store: &Store<State>) {
    let slices = store.data().slices;
    if slices > 0 {
        health.used(slices);
        timing::used(slices);
    }
}

/// What a future comes to within a time, none if it takes longer, and whether
/// it came to it at once. Most calls end at their first poll, and for those no
/// timer is set.
async fn within<F: Future>(time: Duration, mut future: Pin<&mut F>) -> (Option<F::Output>, bool) {
    if let Poll::Ready(value) = poll!(&mut future) {
        return (Some(value), true);
    }
    (tokio::time::timeout(time, future).await.ok(), false)
}
