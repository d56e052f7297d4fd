//! A request filter that makes the edits its configuration lists, and tells in
//! a note how each of them went.
//!
//! Used by the tests of the overlay: what an edit changes, what it leaves as it
//! was, what is refused, and that nothing is left of it when the call fails.
//! Configuration:
//!
//! * `steps`: a list of edits and reads, made in this order; `steps.rs` has
//!   their forms. The note `editor` is then a JSON array of their outcomes: an
//!   edit's is null, or the host's error as a string in `{"error": …}`; a
//!   read's is what was read.
//! * `then`: what the call ends with: "proceed" (the default), "deny"
//!   (forbidden, "editor.denied"), "error" (a problem, "editor.failed") or
//!   "trap".

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:editor;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "guest:editor/guest",
    generate_all,
});

mod steps;

use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use exports::palisade::plugin::configuration::{self, ConfigError};
use exports::palisade::plugin::request_filter::{self, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::{Denial, DenialKind, Problem};
use steps::Step;

static CONFIG: OnceLock<Config> = OnceLock::new();

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    then: Then,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Then {
    #[default]
    Proceed,
    Deny,
    Error,
    Trap,
}

struct Filter;

impl configuration::Guest for Filter {
    fn configure(config: String) -> Result<(), Vec<ConfigError>> {
        let config = serde_json::from_str(&config).map_err(|error| refused(error.to_string()))?;
        CONFIG
            .set(config)
            .map_err(|_| refused("configured twice".to_owned()))
    }
}

fn refused(message: String) -> Vec<ConfigError> {
    vec![ConfigError {
        pointer: String::new(),
        message,
    }]
}

impl request_filter::Guest for Filter {
    fn check(request: &Request) -> Result<Verdict, Problem> {
        let Some(config) = CONFIG.get() else {
            return Err(problem(
                "config.missing",
                "called before it was configured".to_owned(),
            ));
        };
        let outcomes: Vec<Value> = config.steps.iter().map(|step| step.take(request)).collect();
        request
            .exchange()
            .set_note("editor", &Value::from(outcomes).to_string())
            .map_err(|error| problem("note.refused", error))?;
        end(config.then)
    }
}

#[expect(clippy::panic, reason = "a trap is what the configuration asks for")]
fn end(then: Then) -> Result<Verdict, Problem> {
    match then {
        Then::Proceed => Ok(Verdict::Proceed),
        Then::Deny => Ok(Verdict::Deny(Denial {
            kind: DenialKind::Forbidden,
            reason: "editor.denied".to_owned(),
            message: "denied after its edits".to_owned(),
            retry_after: None,
        })),
        Then::Error => Err(problem(
            "editor.failed",
            "failed after its edits".to_owned(),
        )),
        Then::Trap => panic!("trapped after its edits"),
    }
}

fn problem(code: &str, message: String) -> Problem {
    Problem {
        code: code.to_owned(),
        message,
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
