//! A request filter that was built for version 0.9.0 of the contract, which no
//! host knows yet.
//!
//! Used by the tests of what the host says of a plugin that is newer than it:
//! a matter of versions, and not of a wrong world.

wit_bindgen::generate!({
    inline: "
        package palisade:plugin@0.9.0;
        interface request-filter {
            check: func() -> result<_, string>;
        }
        world security-filter {
            export request-filter;
        }
    ",
});

use exports::palisade::plugin::request_filter::Guest;

struct Filter;

impl Guest for Filter {
    fn check() -> Result<(), String> {
        Ok(())
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
