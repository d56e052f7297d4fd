//! A request filter that answers in the place of a model.
//!
//! Used by the tests of answers that no upstream gave: the host writes them in
//! the client's dialect, as a stream or whole. Configuration:
//!
//! * `events` (required): what to answer; `events.rs` has the form;
//! * `when`: answers only if a text of the request contains this; else the
//!   exchange goes on. Without it every request is answered.

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:answering-filter;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "guest:answering-filter/guest",
    generate_all,
});

mod events;

use std::sync::OnceLock;

use serde::Deserialize;

use events::Event;
use exports::palisade::plugin::configuration::{self, ConfigError};
use exports::palisade::plugin::request_filter::{self, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::Problem;

static CONFIG: OnceLock<Config> = OnceLock::new();

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    events: Vec<Event>,
    when: Option<String>,
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
            return Err(Problem {
                code: "config.missing".to_owned(),
                message: "called before it was configured".to_owned(),
            });
        };
        let asked = config.when.as_ref().is_none_or(|phrase| {
            request
                .texts()
                .iter()
                .any(|text| text.content.contains(phrase))
        });
        if !asked {
            return Ok(Verdict::Proceed);
        }
        let events = config.events.iter().cloned().map(Into::into).collect();
        Ok(Verdict::Answer(events))
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
