//! An event filter that does all that one can do with an answer: it passes on,
//! holds back, replaces, drops and stops.
//!
//! Used by the tests of streams: what a client sees must not depend on how the
//! upstream cut its answer. Configuration, all of it optional:
//!
//! * `redact`: words that are replaced in text, refusals, reasoning and the
//!   arguments of tools, also where fragments split them;
//! * `replacement`: by what; "[redacted]" if absent;
//! * `stop-at`: phrases that end the answer with a denial ("guard.stopped")
//!   after all that came before them;
//! * `drop-reasoning`: whether reasoning and its signatures are left out;
//! * `drop-other`: whether `other` events are left out.
//!
//! `config.rs` finds the words, `window.rs` holds back what may become one, and
//! `session.rs` does so for each part of an answer.

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:guard;
        world guest {
            include palisade:plugin/answer-filter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "guest:guard/guest",
    generate_all,
});

mod config;
mod session;
mod window;

use std::cell::RefCell;
use std::sync::OnceLock;

use config::Config;
use exports::palisade::plugin::configuration::{self, ConfigError};
use exports::palisade::plugin::event_filter::{self, Step};
use palisade::plugin::message::Exchange;
use palisade::plugin::model::ModelEvent;
use palisade::plugin::types::Problem;

static CONFIG: OnceLock<Config> = OnceLock::new();

struct Guard;

impl configuration::Guest for Guard {
    fn configure(config: String) -> Result<(), Vec<ConfigError>> {
        let config: Config =
            serde_json::from_str(&config).map_err(|error| refused("", error.to_string()))?;
        if let Some(pointer) = config.empty() {
            return Err(refused(&pointer, "must not be empty".to_owned()));
        }
        CONFIG
            .set(config)
            .map_err(|_| refused("", "configured twice".to_owned()))
    }
}

fn refused(pointer: &str, message: String) -> Vec<ConfigError> {
    vec![ConfigError {
        pointer: pointer.to_owned(),
        message,
    }]
}

impl event_filter::Guest for Guard {
    type Session = RefCell<session::Session>;
}

impl event_filter::GuestSession for RefCell<session::Session> {
    fn new(_exchange: &Exchange) -> Self {
        Self::new(session::Session::new(CONFIG.get_or_init(Config::default)))
    }

    fn push(&self, events: Vec<ModelEvent>) -> Result<Step, Problem> {
        Ok(self.borrow_mut().push(events))
    }

    fn finish(&self) -> Result<Step, Problem> {
        Ok(self.borrow_mut().finish())
    }
}

#[cfg(target_family = "wasm")]
export!(Guard);
