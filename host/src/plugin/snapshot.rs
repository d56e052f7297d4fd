//! Taking a snapshot: a component whose memory is as it was after `configure`
//! and a rehearsal, so that no exchange pays for either.
//!
//! The component is instrumented so that its state can be read, run once in an
//! engine of its own, and written anew with that state as its initial one
//! (wasmtime-wizer). What a component kept from the rehearsal is then in every
//! instance: hash seeds, and whatever it remembers of the samples. A component
//! that holds a handle of the host's across calls cannot be snapshotted, since
//! the handle is not in the image; the rehearsal of the image shows it.

use std::sync::Arc;

use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Instance as Linked, Lift, WasmList};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::rehearse::{self, Outcomes};
use super::running::Running;
use super::state::State;
use super::{CallError, Instance, Plugin};

/// Why there is no snapshot. The plugin can serve without one.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its shape does not allow it: a module that is instantiated twice, a
    /// table that is written to.
    #[error("its shape does not allow it: {0}")]
    Shape(String),
    #[error("it could not be started: {0}")]
    Start(CallError),
    #[error("its state could not be read: {0}")]
    Unreadable(String),
    #[error("its image does not behave as the component does")]
    Differs,
    #[error("its image cannot be loaded: {0}")]
    Image(String),
}

/// Whether a snapshot is taken after a rehearsal, or after `configure` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Rehearsed,
    Configured,
}

impl Moment {
    /// Whether an image of this moment behaves as the component did. One with
    /// a rehearsal in its memory must say the same, word by word; one without
    /// may say what differs each time, such as a random number.
    pub(super) fn is_faithful(self, before: &Outcomes, after: &Outcomes) -> bool {
        let kinds = |outcomes: &Outcomes| outcomes.iter().map(|o| o.kind).collect::<Vec<_>>();
        match self {
            Moment::Rehearsed => before == after,
            Moment::Configured => kinds(before) == kinds(after),
        }
    }
}

/// The component in the form that its state can be read from.
pub(super) fn instrument(component: &[u8]) -> Result<Vec<u8>, SnapshotError> {
    let (_, instrumented) = Wizer::new()
        .instrument_component(component)
        .map_err(shape)?;
    Ok(instrumented)
}

/// Runs a plugin made of the instrumented component, and writes the component
/// anew with the state in which it is then. With the outcomes of its rehearsal.
pub(super) async fn take(
    component: &[u8],
    instrumented: &Arc<Plugin>,
    moment: Moment,
) -> Result<(Vec<u8>, Outcomes), SnapshotError> {
    let wizer = Wizer::new();
    let (context, _) = wizer.instrument_component(component).map_err(shape)?;
    let start = async || {
        Instance::start(instrumented)
            .await
            .map_err(SnapshotError::Start)
    };
    let mut rehearsing = start().await?;
    let outcomes = rehearse::run(&mut rehearsing).await;
    let mut instance = match moment {
        Moment::Rehearsed => rehearsing,
        Moment::Configured => start().await?,
    };
    let running = instance.running().map_err(SnapshotError::Start)?;
    running.store.set_hostcall_fuel(usize::MAX);
    // What reads a memory takes a page more of it.
    running.store.data_mut().limiter.lift();
    let (failed, failure) = oneshot::channel();
    let failed = Some(failed);
    let mut reader = Reader { running, failed };
    let image = wizer.snapshot_component(&context, &mut reader);
    tokio::select! {
        biased;
        Ok(error) = failure => Err(SnapshotError::Unreadable(format!("{error:#}"))),
        image = image => Ok((image.map_err(shape)?, outcomes)),
    }
}

fn shape(error: wasmtime::Error) -> SnapshotError {
    SnapshotError::Shape(format!("{error:#}"))
}

/// Reads the state of an instrumented instance. An error, which whoever reads
/// does not expect, is told elsewhere, and the reading never ends.
struct Reader<'r> {
    running: &'r mut Running,
    failed: Option<oneshot::Sender<wasmtime::Error>>,
}

impl Reader<'_> {
    async fn read<R: Lift + 'static, T>(
        &mut self,
        instance: &str,
        function: &str,
        take: impl FnOnce(&Store<State>, R) -> T,
    ) -> T {
        let Running { store, linked, .. } = &mut *self.running;
        match call(store, linked, instance, function).await {
            Ok(result) => take(store, result),
            Err(error) => {
                if let Some(failed) = self.failed.take() {
                    let _ = failed.send(error);
                }
                std::future::pending().await
            }
        }
    }
}

async fn call<R: Lift + 'static>(
    store: &mut Store<State>,
    linked: &Linked,
    instance: &str,
    function: &str,
) -> wasmtime::Result<R> {
    let absent = || wasmtime::format_err!("it does not export {instance}#{function}");
    let (_, at) = linked
        .get_export(&mut *store, None, instance)
        .ok_or_else(absent)?;
    let (_, at) = linked
        .get_export(&mut *store, Some(&at), function)
        .ok_or_else(absent)?;
    let function = linked.get_typed_func::<(), (R,)>(&mut *store, at)?;
    Ok(function.call_async(&mut *store, ()).await?.0)
}

impl ComponentInstanceState for Reader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        function: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        self.read(instance, function, |store, list: WasmList<u8>| {
            contents(list.as_le_slice(store));
        })
        .await;
    }

    async fn call_func_ret_s32(&mut self, instance: &str, function: &str) -> i32 {
        self.read(instance, function, |_, value: i32| value).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, function: &str) -> i64 {
        self.read(instance, function, |_, value: i64| value).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, function: &str) -> u32 {
        self.read(instance, function, |_, value: f32| value.to_bits())
            .await
    }

    async fn call_func_ret_f64(&mut self, instance: &str, function: &str) -> u64 {
        self.read(instance, function, |_, value: f64| value.to_bits())
            .await
    }
}
