//! The WebAssembly engine of the process: its settings with their reasons, the
//! clock that interrupts plugins, and what every plugin is linked to.

use std::collections::BTreeSet;
use std::time::Duration;

use wasmtime::component::{HasData, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi::cli::WasiCli;
use wasmtime_wasi::clocks::WasiClocks;
use wasmtime_wasi::filesystem::WasiFilesystem;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiView, p2::bindings as wasi};

use super::grants::Capability;
use super::state::State;
use crate::bindings::key_value::wasi::keyvalue;
use crate::bindings::palisade::plugin::message;

/// How often running plugins are interrupted to let others have the thread and
/// to look at their deadline. Shorter buys little: a call lasts microseconds.
pub const TICK: Duration = Duration::from_millis(5);

/// The most memory that any plugin may be given, in bytes.
pub const MAX_MEMORY: usize = 1 << 30;

/// Makes the engine, with room for `instances` plugin instances at a time.
///
/// # Errors
///
/// If the address space for the pool cannot be reserved.
pub fn engine(instances: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // A component of one module has two more that tie it to its imports;
        // Python's has about thirty.
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(8))
        .total_stacks(instances)
        .max_memory_size(MAX_MEMORY)
        .table_elements(100_000)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(64)
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

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_guaranteed_dense_image_size(256 << 20)
        .epoch_interruption(true)
        // The contract has synchronous functions only; what concurrency needs
        // costs 2 µs a call.
        .concurrency_support(false)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20);
    Engine::new(&config)
}

/// Starts the thread that advances the epoch, until the engine is gone.
pub fn start_ticking(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
    Ok(())
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
