//! Looks at chat completions that are passed through untouched.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::dialect::Watch;
use crate::dialect::member::{ERROR, FINISH_REASON, USAGE, values};

/// What is worth knowing of a chunk or a whole answer.
#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    finish_reason: Option<String>,
}

/// See [`Watch::frame`].
pub fn frame(watch: &mut Watch, data: &[u8]) {
    if data.trim_ascii() == b"[DONE]" {
        watch.terminated = true;
        return;
    }
    let telling = values(data, &USAGE).any(|value| value.starts_with(b"{"))
        || values(data, &FINISH_REASON).any(|value| value.starts_with(b"\""))
        || ERROR.find(data).is_some();
    if telling {
        learn(watch, data);
    }
}

/// See [`Watch::body`].
pub fn body(watch: &mut Watch, body: &[u8]) {
    watch.terminated = true;
    learn(watch, body);
}

fn learn(watch: &mut Watch, json: &[u8]) {
    let Ok(seen) = serde_json::from_slice::<Seen>(json) else {
        return;
    };
    if let Some(usage) = seen.usage {
        watch.input_tokens = usage.prompt_tokens.or(watch.input_tokens);
        watch.output_tokens = usage.completion_tokens.or(watch.output_tokens);
    }
    let named = |choice: &Choice| choice.finish_reason.as_ref().is_some_and(|r| !r.is_empty());
    watch.finished |= seen.choices.iter().flatten().any(named);
    watch.failed |= seen.error.is_some();
}
