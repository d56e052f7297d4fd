//! What the host keeps for one plugin instance: the message that it works on,
//! its limits, and the little of WASI that it gets. Made for each instance,
//! and gone with it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, format_err};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use super::Plugin;
use super::grants::http::Http;
use super::output::{GuestOutput, Stream};
use crate::message::Exchange;
use crate::store::Memory;

/// The most handles that a plugin can hold at a time. A well-behaved one holds
/// a handful; the bound is what a leak meets.
const MAX_HANDLES: usize = 4096;

/// A handle on the exchange; what it shows lies in the state.
#[derive(Debug)]
pub struct ExchangeView;

/// The state of one plugin instance.
pub struct State {
    pub(super) plugin: Arc<Plugin>,
    pub(super) table: ResourceTable,
    /// The exchange of the call under way, with the notes staged in it.
    pub(super) exchange: Option<Exchange>,
    /// Edits that the call under way has made.
    pub(super) edits: u32,
    /// Made on first use: most calls never touch WASI.
    wasi: Option<WasiCtx>,
    http: Http,
    /// The instance is only being tried: what it calls must have no effect.
    pub(super) rehearsal: bool,
    /// The buckets of a rehearsal.
    pub(super) scratch: Option<Memory>,
    pub(super) limiter: Limiter,
}

impl State {
    pub(super) fn new(plugin: Arc<Plugin>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let limiter = Limiter {
            memory: plugin.limits.memory,
            denied: false,
        };
        Self {
            http: Http::new(plugin.clone()),
            plugin,
            table,
            exchange: None,
            edits: 0,
            wasi: None,
            rehearsal: false,
            scratch: None,
            limiter,
        }
    }

    /// A call begins, which has this much time.
    pub(super) fn begin_call(&mut self, time: Duration) {
        self.edits = 0;
        self.http.begin_call(time);
    }

    /// The exchange of the call under way.
    pub(super) fn exchange(&mut self) -> wasmtime::Result<&mut Exchange> {
        self.exchange
            .as_mut()
            .ok_or_else(|| format_err!("no exchange is under way"))
    }
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let plugin = &self.plugin;
        let ctx = self.wasi.get_or_insert_with(|| {
            WasiCtx::builder()
                .stdout(GuestOutput::new(plugin.clone(), Stream::Stdout))
                .stderr(GuestOutput::new(plugin.clone(), Stream::Stderr))
                .allow_tcp(false)
                .allow_udp(false)
                .build()
        });
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.hooks.rehearsal = self.rehearsal;
        WasiHttpCtxView {
            ctx: &mut self.http.ctx,
            hooks: &mut self.http.hooks,
            table: &mut self.table,
        }
    }
}

/// Keeps an instance within its memory.
#[derive(Debug)]
pub(super) struct Limiter {
    memory: usize,
    /// Whether growth was refused, so that a trap can be explained.
    pub(super) denied: bool,
}

/// The most elements of a plugin's table; the pool has room for as many.
const MAX_TABLE_ELEMENTS: usize = 100_000;

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(desired <= self.memory)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(desired <= MAX_TABLE_ELEMENTS)
    }
}

impl Limiter {
    /// Growth that is refused traps: Rust aborts on a failed allocation with
    /// nothing to tell why, and other languages do worse.
    fn grow(&mut self, allowed: bool) -> wasmtime::Result<bool> {
        if allowed {
            return Ok(true);
        }
        self.denied = true;
        Err(format_err!(
            "the limit of {} MiB of memory was reached",
            self.memory >> 20
        ))
    }
}
