//! A log sink that writes each exchange as one line of JSON to its standard
//! output, which the manifest sends to a file or to the console.
//!
//! This file is glue; `line.rs` says what a line looks like. The plugin takes
//! no configuration, and never sees the text of a request or an answer.
//!
//! An instance that keeps nothing of the host's is put back when it has written
//! a batch, and writes the next one. So the output is asked for by each batch
//! and dropped after it, where `std::io::stdout` would keep it, and the memory
//! that a batch takes is there from the beginning (`build.rs`).

mod line;
mod time;

use std::io::Write;

use exports::palisade::plugin::log_sink::{Entry, Guest, Problem};
use heap as _;
use wasip2::cli::stdout::get_stdout;

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    inline: "
        package local:logger;
        world plugin {
            include palisade:plugin/logger@0.1.0;
        }
    ",
    world: "local:logger/plugin",
    generate_all,
});

struct Plugin;

/// How many records are written at a time: few enough that their lines stay in
/// the caches, and many enough that calls of the host do not count.
const AT_ONCE: usize = 32;

impl Guest for Plugin {
    fn write(entries: Vec<Entry>) -> Result<(), Problem> {
        let mut output = get_stdout();
        entries
            .chunks(AT_ONCE)
            // Lines are whole, since the host lets nothing go before the end of
            // the call: those of several plugins in one file do not interleave.
            .try_for_each(|entries| output.write_all(&line::render(entries)))
            .and_then(|()| Write::flush(&mut output))
            .map_err(|error| Problem {
                code: "output.failed".into(),
                message: format!("cannot write {} entries: {error}", entries.len()),
            })
    }
}

// `cargo build` builds natively too, and no native linker takes such names.
#[cfg(target_family = "wasm")]
export!(Plugin);
