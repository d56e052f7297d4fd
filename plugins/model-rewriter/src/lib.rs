//! A model rewriter: the client asks for one model, the provider is asked for
//! another, by rules that the operator writes.
//!
//! This file is glue between the contract and `rules.rs`, which decides. The
//! plugin changes the model and nothing else; it never refuses a request.
//!
//! Configuration:
//!
//! ```toml
//! rules = [
//!   { from = "gpt-4*", to = "llama-3.3-70b" },
//!   { from = "openai/*", to = "*" },   # `*` is what the first `*` matched
//! ]
//! default = "llama-3.3-70b"            # when no rule matches; optional
//! ```

mod glob;
mod rules;

use std::sync::OnceLock;

use exports::palisade::plugin::configuration::{ConfigError, Guest as Configuration};
use exports::palisade::plugin::rewriter::{Guest as Rewriter, Problem, Request};
use heap as _;
use rules::Rules;

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    inline: "
        package local:model-rewriter;
        world plugin {
            include palisade:plugin/model-rewriter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "local:model-rewriter/plugin",
    generate_all,
    additional_derives: [PartialEq],
});

struct Plugin;

/// Written once, by `configure`.
static RULES: OnceLock<Rules> = OnceLock::new();

impl Configuration for Plugin {
    fn configure(config: String) -> Result<(), Vec<ConfigError>> {
        let rules = rules::parse(&config)?;
        RULES.get_or_init(|| rules);
        Ok(())
    }
}

impl Rewriter for Plugin {
    fn rewrite(request: &Request) -> Result<(), Problem> {
        let Some(rules) = RULES.get() else {
            return Ok(());
        };
        let edit = match request.model() {
            Some(model) => rules.apply(&model).map(|to| request.set_model(&to)),
            // `set-model` changes a model that is there; this adds one.
            None if request.dialect().is_some() => rules
                .default_model()
                .map(|to| request.set("/model", &serde_json::Value::from(to).to_string())),
            None => None,
        };
        match edit {
            Some(Err(message)) => Err(Problem {
                code: "model.not-set".into(),
                message,
            }),
            _ => Ok(()),
        }
    }
}

// `cargo build` builds natively too, and no native linker takes such names.
#[cfg(target_family = "wasm")]
export!(Plugin);
