//! A component that exports the contract's request filter by its name and
//! version, with a function of another type.
//!
//! Used by the tests of what the host says of it when it is loaded: no call may
//! be what finds out.

wit_bindgen::generate!({
    inline: "
        package palisade:plugin@0.1.0;
        interface request-filter {
            check: func(body: list<u8>) -> u32;
        }
        world security-filter {
            export request-filter;
        }
    ",
});

use exports::palisade::plugin::request_filter::Guest;

struct Filter;

impl Guest for Filter {
    fn check(body: Vec<u8>) -> u32 {
        u32::try_from(body.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
