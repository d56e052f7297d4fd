//! A component of every stage that breaks in the way its configuration names.
//!
//! Used by the tests of limits, of failure policies and of what the host makes
//! of answers that keep no rule. Where the configuration names no fault, or
//! another stage, each stage does the least it can:
//!
//! * the filter lets go on, the rewriter edits nothing, the guard passes on;
//! * the adapter sends the request as it stands to the same path of its
//!   upstream, with no credential, framed as server-sent events, and decodes
//!   the data of each frame, whatever it is, as a piece of text;
//! * the sink writes a line for each entry: exchange, outcome, and status or
//!   "-".
//!
//! `plan.rs` has the configuration, `fault.rs` what may happen anywhere, and the
//! other files one stage each, with what may happen only there.

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:misbehaving;
        world guest {
            include palisade:plugin/configurable@0.1.0;
            include palisade:plugin/security-filter@0.1.0;
            include palisade:plugin/model-rewriter@0.1.0;
            include palisade:plugin/provider-adapter@0.1.0;
            include palisade:plugin/answer-filter@0.1.0;
            include palisade:plugin/logger@0.1.0;
        }
    ",
    world: "guest:misbehaving/guest",
    generate_all,
});

mod adapter;
mod edits;
mod events;
mod fault;
mod filter;
mod guard;
mod plan;
mod rewriter;
mod sink;

#[path = "../../answering-filter/src/events.rs"]
mod event_list;

/// What exports every interface.
struct Plugin;

#[cfg(target_family = "wasm")]
export!(Plugin);
