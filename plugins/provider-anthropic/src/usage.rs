//! Token counts: Anthropic's as the events'.
//!
//! Anthropic counts tokens from a cache apart, the events include them in the
//! input (litellm#31069). Counts come twice in a stream, first with the start
//! and then as totals with the end, which may correct all of them
//! (vercel/ai#17326), so each one replaces what was known.

use serde_json::Value;

use crate::palisade::plugin::model::Usage;

/// What is known so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    uncached: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
}

impl Counts {
    /// Takes over the counts of a `usage` member. Returns the totals; none if
    /// it held no count.
    pub fn absorb(&mut self, usage: &Value) -> Option<Usage> {
        let mut found = false;
        let mut take = |count: &mut Option<u64>, pointer: &str| {
            if let Some(number) = usage.pointer(pointer).and_then(Value::as_u64) {
                *count = Some(number);
                found = true;
            }
        };
        take(&mut self.uncached, "/input_tokens");
        take(&mut self.cache_read, "/cache_read_input_tokens");
        take(&mut self.cache_write, "/cache_creation_input_tokens");
        take(&mut self.output, "/output_tokens");
        take(
            &mut self.reasoning,
            "/output_tokens_details/thinking_tokens",
        );
        found.then(|| self.totals())
    }

    fn totals(&self) -> Usage {
        let input = [self.uncached, self.cache_read, self.cache_write];
        let add = |sum: u64, count| sum.saturating_add(count);
        Usage {
            input_tokens: input.iter().flatten().copied().reduce(add),
            output_tokens: self.output,
            cache_read_tokens: self.cache_read,
            cache_write_tokens: self.cache_write,
            reasoning_tokens: self.reasoning,
        }
    }
}
