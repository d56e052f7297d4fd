//! A request filter that traps while it is being instantiated, before any
//! export can be called.
//!
//! Its type is in order, so nothing short of an instance shows that it is
//! broken: used by the tests of the probe that a reload makes before it swaps.

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:start-trap;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
        }
    ",
    world: "guest:start-trap/guest",
    generate_all,
});

use exports::palisade::plugin::request_filter::{Guest, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::Problem;

/// A component runs this when it is instantiated. Rust's own modules for this
/// target have none and run constructors in the first call, which is too late
/// here. Only on wasm, where the name means something.
#[cfg(target_family = "wasm")]
#[unsafe(export_name = "_initialize")]
extern "C" fn initialize() {
    core::arch::wasm32::unreachable()
}

struct Filter;

impl Guest for Filter {
    fn check(_request: &Request) -> Result<Verdict, Problem> {
        Ok(Verdict::Proceed)
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
