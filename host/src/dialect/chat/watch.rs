//! Looks at chat completions that are passed through untouched.

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::dialect::Watch;
use crate::dialect::member::value;

/// The members by which a chunk tells of the answer itself, and how their values
/// begin if they do.
const TELLING: [(&str, &[u8]); 3] = [
    (r#""usage""#, b"{"),
    (r#""finish_reason""#, b"\""),
    (r#""error""#, b""),
];

/// Their names, looked for all at once; none on a processor that cannot.
static NAMES: LazyLock<Option<Searcher>> =
    LazyLock::new(|| Searcher::new(TELLING.map(|(name, _)| name)));

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
    if is_telling(data) {
        learn(watch, data);
    }
}

/// Whether a chunk may say more than text.
fn is_telling(chunk: &[u8]) -> bool {
    let Some(names) = &*NAMES else {
        return true;
    };
    names.find_iter(chunk).any(|name| {
        let (_, begins) = TELLING[name.pattern().as_usize()];
        value(&chunk[name.end()..]).is_some_and(|value| value.starts_with(begins))
    })
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
