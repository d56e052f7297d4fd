//! A request filter that makes the HTTP requests its configuration lists, and
//! tells in a note what came of each.
//!
//! Used by the tests of outgoing HTTP: what leaves, where to, what is placed in
//! it, and what each bound and each grant answers. Configuration:
//!
//! * `calls`: a list of requests, made in this order; `call.rs` has their form.
//!   The note `calls` is then a JSON array of their outcomes: `{"status",
//!   "headers", "body"}`, or `{"error": …}` with the error's code.
//! * `at-once`: whether all are begun before the first is waited for.
//! * `while-configured`: whether they are made when the plugin is configured,
//!   instead of for a request; an outcome that is no error then refuses the
//!   configuration.

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:caller;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "guest:caller/guest",
    generate_all,
});

mod call;

use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use call::Call;
use exports::palisade::plugin::configuration::{self, ConfigError};
use exports::palisade::plugin::request_filter::{self, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::Problem;

static CONFIG: OnceLock<Config> = OnceLock::new();

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(default)]
    calls: Vec<Call>,
    #[serde(default)]
    at_once: bool,
    #[serde(default)]
    while_configured: bool,
}

impl Config {
    fn make(&self) -> Vec<Value> {
        if self.at_once {
            let begun: Vec<_> = self.calls.iter().map(Call::begin).collect();
            return begun.into_iter().map(call::end).collect();
        }
        let calls = self.calls.iter();
        calls.map(|call| call::end(call.begin())).collect()
    }
}

struct Filter;

impl configuration::Guest for Filter {
    fn configure(config: String) -> Result<(), Vec<ConfigError>> {
        let config: Config =
            serde_json::from_str(&config).map_err(|error| refused(error.to_string()))?;
        if config.while_configured {
            let outcomes = config.make();
            if outcomes.iter().any(|outcome| outcome["error"].is_null()) {
                return Err(refused(Value::Array(outcomes).to_string()));
            }
        }
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
        let outcomes = match CONFIG.get() {
            Some(config) if !config.while_configured => config.make(),
            _ => Vec::new(),
        };
        let note = Value::Array(outcomes).to_string();
        let set = request.exchange().set_note("calls", &note);
        set.map_err(|message| Problem {
            code: "note.refused".to_owned(),
            message,
        })?;
        Ok(Verdict::Proceed)
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
