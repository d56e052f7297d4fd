//! Measures Palisade beside other proxies and gateways, on this machine:
//!
//! ```sh
//! cargo run --release -p bench -- --install-peers   # once, and only to compare
//! cargo run --release -p bench                      # all subjects, half an hour
//! cargo run --release -p bench -- --quick           # of what says most, one round
//! cargo run --release -p bench -- streams           # 10,000 slow streams at a time
//! cargo run --release -p bench -- reload            # saving plugins under load
//! cargo run --release -p bench -- pgo               # a profile-guided build
//! cargo run -p bench -- instructions                # parts, by instructions
//! ```
//!
//! It builds Palisade, starts an upstream of its own (`mock`), starts every
//! subject that is there (`subject`), puts loads on them in interleaved rounds
//! (`rounds`, `load`), and reports the medians (`report`) to
//! `target/bench/results`, or with `--record` to `tests/bench/results`, which
//! the README shows. The figure to trust on a busy machine is the processor
//! time for a request, which comes from the kernel's accounting (`process`).
//!
//! `instructions` counts what the parts of the host execute (`parts`), which
//! is the same on every run, and compares it with what was recorded.

mod arguments;
mod bench;
mod instructions;
mod load;
mod mock;
mod peers;
mod pgo;
mod process;
mod proxy;
mod reload;
mod report;
mod rounds;
mod streams;
mod subject;
mod workload;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        None => bench::run(&arguments.bench)?,
        Some(Command::Streams(wanted)) => streams::run(&wanted)?,
        Some(Command::Reload(wanted)) => reload::run(&wanted)?,
        Some(Command::Pgo) => pgo::run()?,
        Some(Command::Instructions(wanted)) => instructions::run(&wanted)?,
        Some(Command::Mock { listen, interval }) => {
            process::raise_limit()?;
            let interval = std::time::Duration::from_millis(interval);
            servers()?.block_on(mock::serve(listen, interval))?;
        }
        Some(Command::Proxy { listen, upstream }) => {
            servers()?.block_on(proxy::serve(listen, upstream))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A runtime for a server of this crate, with a thread for each core.
fn servers() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}
