//! Runs one part of the host so many times:
//!
//! ```sh
//! parts NAME TIMES [DIRECTORY]
//! ```
//!
//! `cargo run -p bench -- instructions` counts what it executes, with TIMES and
//! with twice as many; the difference is what the part costs, without what it
//! takes to get there. So everything here is the same on every run: one
//! thread, no clock, no network. DIRECTORY holds the guests.
//!
//! - `host`: what the host does by itself: JSON, framing, rendering
//! - `guest`: what crosses into a sandbox and back

mod guest;
mod host;
mod sample;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parts: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().context("which part?")?;
    let times: usize = arguments.next().context("how many times?")?.parse()?;
    let directory = arguments.next().map(PathBuf::from).unwrap_or_default();
    match name.as_str() {
        "read" => host::read(times),
        "splice" => host::splice(times),
        "framing" => host::framing(times),
        "render-chat" => host::render("openai.chat", times),
        "render-messages" => host::render("anthropic.messages", times),
        "instance" => guest::instance(times, &directory),
        "put-back" => guest::put_back(times, &directory),
        "call" => guest::call(times, &directory),
        "accessor" => guest::accessor(times, &directory),
        "decode" => guest::decode(times, &directory),
        other => anyhow::bail!("there is no part \"{other}\""),
    }
}
