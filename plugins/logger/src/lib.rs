//! A log sink that writes each exchange as one line of JSON to its standard
//! output, which the manifest sends to a file or to the console.
//!
//! This file is glue; `line.rs` says what a line looks like. The plugin takes
//! no configuration, and never sees the text of a request or an answer.

mod line;
mod time;

use std::io::Write;

use exports::palisade::plugin::log_sink::{Entry, Guest, Problem};
use heap as _;

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

impl Guest for Plugin {
    fn write(entries: Vec<Entry>) -> Result<(), Problem> {
        // One write for the whole batch: lines of several plugins that share a
        // file do not interleave, and a batch costs one call to the host.
        let lines = line::render(&entries);
        let mut output = std::io::stdout().lock();
        output
            .write_all(&lines)
            .and_then(|()| output.flush())
            .map_err(|error| Problem {
                code: "output.failed".into(),
                message: format!("cannot write {} entries: {error}", entries.len()),
            })
    }
}

// `cargo build` builds natively too, and no native linker takes such names.
#[cfg(target_family = "wasm")]
export!(Plugin);
