//! A request filter: which models may be asked, for how many tokens, and what
//! they must not be told.
//!
//! `rules.rs` decides, `normal.rs` sees through disguises of a text, `glob.rs`
//! matches patterns and `config.rs` reads the configuration. This file asks
//! the host for what a rule needs, and for nothing that no rule needs.
//!
//! Configuration, all of it optional:
//!
//! ```toml
//! allowed-models = ["gpt-4o*", "claude-*"]  # absent or empty: all
//! max-tokens = 4096                         # output tokens of all choices together
//! on-missing-max-tokens = "allow"           # or "reject", or "inject" the limit
//! forbidden-instructions = ["system:*jailbreak*", "*:*ignore previous instructions*"]
//! ```
//!
//! Patterns know `*` and `?` and stand for a whole name or text. Those of
//! models are case-sensitive; those of instructions are not, and follow a role:
//! system (and developer, which is the same), user, assistant, tool,
//! tool-definition or `*`. A list may also be one string with commas between
//! its entries, where an entry in double quotes may contain commas.
//!
//! On a path whose body is in no dialect that the host knows, the `model` of a
//! JSON body is checked, and the limits of tokens that it sets; its texts are
//! not, because nobody says which of its strings a model reads.

mod config;
mod glob;
mod normal;
mod rules;

use std::hint::black_box;
use std::sync::OnceLock;

use config::{Config, OnMissing};
use exports::palisade::plugin::configuration::{ConfigError, Guest as Configuration};
use exports::palisade::plugin::request_filter::{
    Denial, Guest as RequestFilter, Problem, Request, Verdict,
};
use heap as _;
use rules::Limit;

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    inline: "
        package local:security-filter;
        world plugin {
            include palisade:plugin/security-filter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
        }
    ",
    world: "local:security-filter/plugin",
    generate_all,
    additional_derives: [PartialEq],
});

struct Plugin;

/// How much text finds room without a heap that grows, in bytes: asking for
/// memory in an exchange takes longer than reading the text.
const ROOM: usize = 512 << 10;

/// How many words the host looks for at a time.
const MAX_WORDS: usize = 64;

/// Written once, by `configure`.
static CONFIG: OnceLock<Config> = OnceLock::new();

impl Configuration for Plugin {
    fn configure(json: String) -> Result<(), Vec<ConfigError>> {
        let config = config::parse(&json)?;
        CONFIG.get_or_init(|| config);
        // What the heap has grown to stands in the snapshot.
        drop(black_box(Vec::<u8>::with_capacity(ROOM)));
        Ok(())
    }
}

impl RequestFilter for Plugin {
    fn check(request: &Request) -> Result<Verdict, Problem> {
        let config = CONFIG.get_or_init(Config::default);
        let is_chat = request.dialect().is_some();
        if let Some(denial) = refusal(request, config, is_chat) {
            return Ok(Verdict::Deny(denial));
        }
        match tokens(request, config, is_chat) {
            Limit::Refused(denial) => return Ok(Verdict::Deny(denial)),
            Limit::Injected(tokens) => {
                request
                    .set_max_output_tokens(tokens)
                    .map_err(|message| Problem {
                        code: "max-tokens.not-set".into(),
                        message,
                    })?;
            }
            Limit::Kept => {}
        }
        Ok(Verdict::Proceed)
    }
}

/// Whether the model or a text is forbidden.
fn refusal(request: &Request, config: &Config, is_chat: bool) -> Option<Denial> {
    if !config.allowed_models.is_empty() {
        let denial = rules::model(&config.allowed_models, request.model().as_deref(), is_chat);
        if denial.is_some() {
            return denial;
        }
    }
    let forbidden = &config.forbidden;
    if forbidden.is_empty() || !might_match(request, &config.words) {
        return None;
    }
    rules::instructions(forbidden, &request.texts())
}

/// Whether a text may match a pattern, each of which has one of `words`. What
/// is not plain ASCII may say them in a disguise.
fn might_match(request: &Request, words: &[String]) -> bool {
    let mut findings = words
        .chunks(MAX_WORDS)
        .map(|words| request.find_words(words));
    findings.any(|finding| {
        finding.map_or(true, |finding| {
            !finding.plain_ascii || !finding.words.is_empty()
        })
    })
}

fn tokens(request: &Request, config: &Config, is_chat: bool) -> Limit {
    if config.max_tokens.is_none() && config.on_missing == OnMissing::Allow {
        return Limit::Kept;
    }
    if is_chat {
        return rules::tokens(config, request.max_output_tokens(), request.choices());
    }
    match rules::unknown_dialect_tokens(|pointer| request.get(pointer)) {
        Some((tokens, choices)) => rules::tokens(config, Some(tokens), choices),
        // An embedding has no output whose tokens could be limited.
        None => Limit::Kept,
    }
}

// `cargo build` builds natively too, and no native linker takes such names.
#[cfg(target_family = "wasm")]
export!(Plugin);
