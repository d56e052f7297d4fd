//! What the host keeps for one plugin instance: the message that it works on,
//! its limits, and the little of WASI that it gets. Made for each instance,
//! and gone with it.

use std::sync::Arc;

use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime::format_err;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use super::Terms;
use super::engine::TICK;
use super::grants::http::Http;
use super::limits::Limiter;
use super::output::{GuestOutput, Stream, Writing};
use crate::message::Exchange;
use crate::store::Memory;

/// A handle on the exchange; what it shows lies in the state.
#[derive(Debug)]
pub struct ExchangeView;

/// The state of one plugin instance.
pub struct State {
    pub(super) terms: Arc<Terms>,
    /// Whether the plugin only rehearses: what it does has no effect outside.
    pub(super) rehearsal: bool,
    pub(super) table: ResourceTable,
    /// The exchange of the call under way, with the notes staged in it.
    pub(super) exchange: Option<Exchange>,
    /// Edits that the call under way has made.
    pub(super) edits: u32,
    /// Slices of CPU time that the call under way has used.
    pub(super) slices: u32,
    /// How many handles it has been given in this exchange, at the most.
    pub(super) handles: u32,
    /// Made on first use, as its WASI is: most calls never touch it.
    writing: Option<Arc<Writing>>,
    wasi: Option<WasiCtx>,
    http: Http,
    /// The buckets of a rehearsal.
    pub(super) scratch: Option<Memory>,
    pub(super) limiter: Limiter,
}

impl State {
    pub(super) fn new(terms: Arc<Terms>, rehearsal: bool) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(terms.limits.handles);
        let limiter = Limiter::new(&terms.limits);
        Self {
            http: Http::new(terms.clone(), rehearsal),
            terms,
            rehearsal,
            table,
            exchange: None,
            edits: 0,
            slices: 0,
            handles: 0,
            writing: None,
            wasi: None,
            scratch: None,
            limiter,
        }
    }

    /// Begins anew, for another exchange, with what the instance had of memory
    /// and tables when it began.
    pub(super) fn renew(&mut self, begun: Limiter) {
        *self = Self {
            limiter: begun,
            ..Self::new(self.terms.clone(), self.rehearsal)
        };
    }

    /// Whether it holds nothing of the host's. What grants give is not looked
    /// at: there must be none.
    pub(super) fn holds_nothing(&self) -> bool {
        self.table.is_empty()
    }

    /// A function of WASI is called. Of those that every plugin may call, none
    /// gives more than one handle: there are no directories, and no sockets.
    fn calls_wasi(&mut self) {
        self.handles = self.handles.saturating_add(1);
    }

    /// Puts a message, or a part of one, where the plugin gets a handle on it.
    pub(super) fn push<T: Send + 'static>(
        &mut self,
        value: T,
    ) -> Result<Resource<T>, ResourceTableError> {
        self.handles = self.handles.saturating_add(1);
        self.table.push(value)
    }

    /// A call begins.
    pub(super) fn begin_call(&mut self) {
        (self.edits, self.slices) = (0, 0);
        self.http.begin_call();
    }

    /// Whether the call under way has used all its CPU time.
    pub(super) fn used_up(&self) -> bool {
        TICK * self.slices >= self.terms.limits.cpu.max(TICK)
    }

    /// What it has written in this exchange.
    pub(super) fn writing(&mut self) -> &Arc<Writing> {
        self.writing.get_or_insert_default()
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
        self.calls_wasi();
        &mut self.table
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.calls_wasi();
        let ctx = self.wasi.get_or_insert_with(|| {
            let writing = self.writing.get_or_insert_default();
            let output = |stream| {
                GuestOutput::new(self.terms.clone(), stream, writing.clone(), self.rehearsal)
            };
            WasiCtx::builder()
                .stdout(output(Stream::Stdout))
                .stderr(output(Stream::Stderr))
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
        WasiHttpCtxView {
            ctx: &mut self.http.ctx,
            hooks: &mut self.http.hooks,
            table: &mut self.table,
        }
    }
}
