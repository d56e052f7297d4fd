//! Putting an instance back to how it began, for another exchange: cheaper than
//! making another, and as good, since nothing of the last exchange is left.
//!
//! The component does that itself, by a module that the host has added to it
//! (`tie`); the host finds out which pages have been written to (`pages`). What
//! the host keeps for the instance is made anew. An instance is taken down
//! instead, as if there were no such thing, if anything is not as it has to
//! be: it has grown its memory, keeps a handle, or has had many.

use futures_util::FutureExt;
use wasmtime::bail;
use wasmtime::component::{ComponentExportIndex, InstancePre, TypedFunc, WasmList};

use super::Plugin;
use super::health::Health;
use super::pages::Range;
use super::running::{Running, charge};
use super::state::State;
use super::tie::{Arguments, MAX_HANDLES, Names, RANGES};

/// The most pages that are put back: it takes as long to make an instance.
const MAX_PAGES: u32 = 256;

/// Ticks of the epoch that putting back may take; it takes microseconds, and
/// what runs is the host's own.
const TICKS: u64 = 100;

/// Where a component exports what puts its instances back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Indices {
    memory: ComponentExportIndex,
    reset: ComponentExportIndex,
}

impl Indices {
    /// None if its instances cannot be put back.
    pub(super) fn of(pre: &InstancePre<State>, digest: &str) -> Option<Self> {
        let names = Names::of(digest);
        let export = |name: &str| pre.component().get_export_index(None, name);
        Some(Self {
            memory: export(&names.memory)?,
            reset: export(&names.reset)?,
        })
    }
}

/// Of one instance, the memory and the function that puts it back.
#[derive(Clone, Copy)]
pub(super) struct Reset {
    /// Where the memory lies in this process, and how many bytes it has. It
    /// stays there: an instance whose memory has grown is not put back.
    at: usize,
    bytes: usize,
    function: TypedFunc<Arguments, (bool,)>,
}

impl Running {
    /// Puts the instance back to how it began; `None` if that cannot be done,
    /// and it must serve no other exchange.
    pub(super) async fn put_back(&mut self, plugin: &Plugin) -> Option<()> {
        let indices = plugin.code.reset.as_ref()?;
        // Before the plugin's destructors run, which may be in vain, and after.
        self.handles()?;
        self.let_go(&plugin.health).await.ok()?;
        let handles = self.handles()?;
        self.store.set_epoch_deadline(TICKS);
        let reset = match self.reset {
            Some(reset) => reset,
            None => {
                let found = self.find(indices).await.ok()?;
                *self.reset.insert(found)
            }
        };
        let ranges = self.written.ranges(reset.at, reset.bytes)?;
        let pages: u32 = ranges.iter().map(|range| range.end - range.first).sum();
        if pages > MAX_PAGES {
            return None;
        }
        let mut left = ranges;
        // Once at least: there are not only pages.
        loop {
            let (now, later) = left.split_at(left.len().min(RANGES));
            let calling = reset
                .function
                .call_async(&mut self.store, packed(handles, now));
            let (as_it_was,) = calling.await.ok()?;
            if !as_it_was {
                return None;
            }
            if later.is_empty() {
                break;
            }
            left = later;
        }
        self.store.data_mut().renew(self.begun);
        self.served = 0;
        Some(())
    }

    /// How many handles it has been given at the most, if it holds none of them
    /// and there were not too many.
    fn handles(&self) -> Option<u32> {
        let state = self.store.data();
        (state.holds_nothing() && state.handles <= MAX_HANDLES).then_some(state.handles)
    }

    /// Drops what the host holds of the plugin's own. Destructors are the
    /// plugin's: they have what is left of a tick, and then the instance is not
    /// worth waiting for.
    async fn let_go(&mut self, health: &Health) -> wasmtime::Result<()> {
        self.store.set_epoch_deadline(1);
        self.store.data_mut().begin_call();
        for resource in std::mem::take(&mut self.owned) {
            let dropping = resource.resource_drop_async(&mut self.store);
            let dropped = dropping.now_or_never();
            self.written.ran(dropped.is_some());
            charge(health, &self.store);
            dropped.unwrap_or_else(|| bail!("its destructor takes too long"))?;
        }
        Ok(())
    }

    async fn find(&mut self, indices: &Indices) -> wasmtime::Result<Reset> {
        let whole = self
            .linked
            .get_typed_func::<(), (WasmList<u8>,)>(&mut self.store, indices.memory)?;
        // Nothing is copied for it.
        let transfer = self.store.hostcall_fuel();
        self.store.set_hostcall_fuel(usize::MAX);
        let (memory,) = whole.call_async(&mut self.store, ()).await?;
        self.store.set_hostcall_fuel(transfer);
        let memory = memory.as_le_slice(&self.store);
        let (at, bytes) = (memory.as_ptr() as usize, memory.len());
        let function = self.linked.get_typed_func(&mut self.store, indices.reset)?;
        Ok(Reset {
            at,
            bytes,
            function,
        })
    }
}

/// Ranges as the component takes them; those that are missing are empty.
fn packed(handles: u32, ranges: &[Range]) -> Arguments {
    let mut packed = ranges
        .iter()
        .map(|range| u64::from(range.first) << 32 | u64::from(range.end));
    let [a, b, c, d, e, f, g, h] = std::array::from_fn(|_| packed.next().unwrap_or(0));
    (handles, a, b, c, d, e, f, g, h)
}
