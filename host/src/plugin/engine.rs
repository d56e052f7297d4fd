//! The WebAssembly engines of the process: their settings with their reasons,
//! the clock that interrupts plugins, and what every plugin is linked to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use wasmtime::component::{HasData, Linker};
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig, Strategy,
};
use wasmtime_wasi::cli::WasiCli;
use wasmtime_wasi::clocks::WasiClocks;
use wasmtime_wasi::filesystem::WasiFilesystem;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiView, p2::bindings as wasi};

use super::Plugin;
use super::grants::Capability;
use super::limits::{MAX_MEMORY, MAX_TABLE};
use super::state::State;
use crate::bindings::key_value::wasi::keyvalue;
use crate::bindings::palisade::plugin::message;
use crate::permits::Permits;

/// How often running plugins are interrupted to let others have the thread and
/// to look at their deadline. Shorter buys little: a call lasts microseconds.
pub const TICK: Duration = Duration::from_millis(5);

/// The engines of the process.
#[derive(Clone)]
pub struct Engines {
    /// Runs plugins for exchanges.
    pub(super) serving: Engine,
    /// Run components once, for a snapshot: quick to compile for, slow to run.
    /// In the order in which they are tried: the first does not know all
    /// proposals.
    pub(super) rehearsing: Vec<Engine>,
    pub(super) places: Places,
}

/// Places of the pool that are not for calls. Calls are short, and whoever
/// wants to make one must find a place.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// For instances that are kept for the length of an answer.
    pub(super) kept: Arc<Permits>,
    /// For instances that have done their part and wait to be taken down.
    pub(super) spent: Arc<Permits>,
    /// For instances that have been put back and wait for an exchange of their
    /// plugin.
    pub(super) waiting: Arc<Permits>,
    /// Those that may have instances which wait.
    plugins: Arc<Mutex<Vec<Weak<Plugin>>>>,
}

impl Places {
    /// A plugin begins to serve.
    pub(super) fn enter(&self, plugin: &Arc<Plugin>) {
        let mut plugins = self.plugins();
        plugins.retain(|plugin| plugin.strong_count() > 0);
        plugins.push(Arc::downgrade(plugin));
    }

    /// Drops an instance that waits, of any plugin; whether there was one.
    pub(super) fn make_room(&self) -> bool {
        let plugins: Vec<_> = self.plugins().iter().filter_map(Weak::upgrade).collect();
        plugins.iter().any(|plugin| plugin.pool.drop_one())
    }

    fn plugins(&self) -> MutexGuard<'_, Vec<Weak<Plugin>>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of all instances that may be kept for answers.
const KEPT: (u32, u32) = (3, 4);

/// One in so many may be spent.
const SPENT: u32 = 8;

/// One in so many may wait. They give way to calls ([`Places::make_room`]).
const WAITING: u32 = 8;

impl Engines {
    /// Makes the engines, with room for `instances` plugin instances at a
    /// time, and starts the thread that interrupts what runs in them.
    ///
    /// # Errors
    ///
    /// If the address space for the pool cannot be reserved, or a thread not
    /// be started.
    pub fn new(instances: u32) -> wasmtime::Result<Self> {
        let kept = (instances / KEPT.1 * KEPT.0).max(1);
        let engines = Self {
            serving: serving(instances)?,
            rehearsing: rehearsing()?,
            places: Places {
                kept: Permits::new(kept as usize),
                spent: Permits::new((instances / SPENT) as usize),
                waiting: Permits::new((instances / WAITING) as usize),
                plugins: Arc::default(),
            },
        };
        engines.start_ticking()?;
        Ok(engines)
    }

    /// Starts the thread that advances the epochs, until the engines are gone.
    fn start_ticking(&self) -> std::io::Result<()> {
        let engines = self.rehearsing.iter().chain([&self.serving]);
        let engines: Vec<_> = engines.map(Engine::weak).collect();
        let advance = move || {
            let is_there = |engine: &EngineWeak| {
                let engine = engine.upgrade();
                engine.inspect(Engine::increment_epoch).is_some()
            };
            while engines.iter().all(is_there) {
                std::thread::sleep(TICK);
            }
        };
        let thread = std::thread::Builder::new().name("epoch".to_owned());
        thread.spawn(advance)?;
        Ok(())
    }
}

fn serving(instances: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // A component of one module has one or two more that tie it to its
        // imports (`tie`); Python's has about thirty.
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(8))
        .total_stacks(instances)
        .max_memory_size(MAX_MEMORY)
        .table_elements(MAX_TABLE)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(64)
        // One for functions, and what a language keeps references in.
        .max_tables_per_module(8)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        // Returning pages to the kernel for each call takes the lock of the
        // address space and makes two threads slower than one.
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(64);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes);
    }
    let mut config = settings();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .memory_guaranteed_dense_image_size(256 << 20);
    Engine::new(&config)
}

/// Winch compiles in a fraction of the time, and is used where wasmtime calls it
/// tier 1 (docs.wasmtime.dev, "Tiers of Support"). It knows neither tail calls
/// nor relaxed SIMD. Its frames are larger, and the stack with them; a component
/// for which that is not enough has no snapshot.
fn rehearsing() -> wasmtime::Result<Vec<Engine>> {
    let on_demand = |stacks: usize| {
        let mut config = settings();
        config
            .allocation_strategy(InstanceAllocationStrategy::OnDemand)
            .max_wasm_stack(stacks * WASM_STACK)
            .async_stack_size(stacks * ASYNC_STACK);
        config
    };
    let mut engines = Vec::new();
    if cfg!(target_arch = "x86_64") {
        engines.push(Engine::new(on_demand(4).strategy(Strategy::Winch))?);
    }
    engines.push(Engine::new(
        on_demand(1).cranelift_opt_level(OptLevel::None),
    )?);
    Ok(engines)
}

/// The stack that a plugin may use, and that of a call with what the host needs,
/// in bytes.
const WASM_STACK: usize = 512 << 10;
const ASYNC_STACK: usize = 1 << 20;

/// What the engines have in common.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // The contract has synchronous functions only; what concurrency needs
        // costs 2 µs a call.
        .concurrency_support(false);
    config
}

/// What a plugin gets its own state from, in the linker's terms.
struct Own;

impl HasData for Own {
    type Data<'a> = &'a mut State;
}

/// Links what every plugin may have, and what it has been granted.
///
/// The baseline is the contract's message handles, and of WASI what is
/// harmless. There is no environment, no argument, no file and no socket: the
/// file interface is there because the standard libraries of C and Python
/// import it, and holds no directory; sockets are absent.
pub fn linker(engine: &Engine, granted: &BTreeSet<Capability>) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    message::add_to_linker::<State, Own>(l, |state| state)?;

    wasmtime_wasi_io::add_to_linker_async(l)?;
    wasi::random::insecure_seed::add_to_linker::<State, WasiRandom>(l, |s| s.ctx().ctx.random())?;
    wasi::filesystem::types::add_to_linker::<State, WasiFilesystem>(l, files)?;
    wasi::filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, files)?;
    wasi::cli::exit::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::environment::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::stdin::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::stdout::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::stderr::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::terminal_input::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::terminal_output::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, cli)?;
    wasi::cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, cli)?;

    if granted.contains(&Capability::Clocks) {
        wasi::clocks::wall_clock::add_to_linker::<State, WasiClocks>(l, clocks)?;
        wasi::clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(l, clocks)?;
    }
    if granted.contains(&Capability::Random) {
        wasi::random::random::add_to_linker::<State, WasiRandom>(l, |s| s.ctx().ctx.random())?;
        wasi::random::insecure::add_to_linker::<State, WasiRandom>(l, |s| s.ctx().ctx.random())?;
    }
    if granted.contains(&Capability::Http) {
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    }
    if granted.contains(&Capability::KeyValue) {
        keyvalue::store::add_to_linker::<State, Own>(l, |state| state)?;
        keyvalue::atomics::add_to_linker::<State, Own>(l, |state| state)?;
    }
    Ok(linker)
}

fn clocks(state: &mut State) -> wasmtime_wasi::clocks::WasiClocksCtxView<'_> {
    wasmtime_wasi::clocks::WasiClocksView::clocks(state)
}

fn files(state: &mut State) -> wasmtime_wasi::filesystem::WasiFilesystemCtxView<'_> {
    wasmtime_wasi::filesystem::WasiFilesystemView::filesystem(state)
}

fn cli(state: &mut State) -> wasmtime_wasi::cli::WasiCliCtxView<'_> {
    wasmtime_wasi::cli::WasiCliView::cli(state)
}
