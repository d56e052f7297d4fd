//! Counts of tokens, by the names that OpenAI and others give them.

use serde_json::Value;

use crate::model::Usage;

/// Reads a `usage` object; none if it counts nothing (null, empty).
pub fn usage(value: &Value) -> Option<Usage> {
    if !value.is_object() {
        return None;
    }
    let input = first(value, &[&["prompt_tokens"], &["input_tokens"]]);
    let output = first(value, &[&["completion_tokens"], &["output_tokens"]]);
    let reasoning = first(
        value,
        &[
            &["completion_tokens_details", "reasoning_tokens"],
            &["reasoning_tokens"],
        ],
    );
    let usage = Usage {
        input_tokens: input,
        output_tokens: output.map(|output| with_reasoning(value, input, output, reasoning)),
        cache_read_tokens: first(
            value,
            &[
                &["prompt_tokens_details", "cached_tokens"],
                // DeepSeek, Mistral
                &["prompt_cache_hit_tokens"],
                &["num_cached_tokens"],
            ],
        ),
        cache_write_tokens: first(value, &[&["prompt_tokens_details", "cache_write_tokens"]]),
        reasoning_tokens: reasoning,
    };
    (usage != NOTHING).then_some(usage)
}

const NOTHING: Usage = Usage {
    input_tokens: None,
    output_tokens: None,
    cache_read_tokens: None,
    cache_write_tokens: None,
    reasoning_tokens: None,
};

/// The output with reasoning. OpenAI counts reasoning among the tokens of the
/// completion; xAI counts it beside them, which shows in the total.
fn with_reasoning(value: &Value, input: Option<u64>, output: u64, reasoning: Option<u64>) -> u64 {
    let total = first(value, &[&["total_tokens"]]);
    let sum = reasoning.and_then(|reasoning| output.checked_add(reasoning));
    match (total, input, sum) {
        (Some(total), Some(input), Some(sum)) if input.checked_add(sum) == Some(total) => sum,
        _ => output,
    }
}

/// The first count that is there, each by the names of the members on the way
/// to it. A pointer would be taken apart, and its parts copied, for each.
fn first(value: &Value, places: &[&[&str]]) -> Option<u64> {
    let at = |place: &&[&str]| {
        let mut names = place.iter();
        count(names.try_fold(value, |value, name| value.get(name))?)
    };
    places.iter().find_map(at)
}

/// A whole number, also one that is written as `12.0`.
fn count(value: &Value) -> Option<u64> {
    let whole = |number: &f64| *number >= 0.0 && number.fract() == 0.0;
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(whole).map(|number| number as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::usage;

    /// Input, output, cache read, cache write, reasoning; -1 for none.
    fn counted(value: Value) -> Option<[i64; 5]> {
        let usage = usage(&value)?;
        let all = [
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
        ];
        Some(all.map(|count| count.map_or(-1, |count| count as i64)))
    }

    #[test]
    fn usage_by_every_name() {
        let cases = [
            (json!(null), None),
            (json!({}), None),
            (json!({"cost": 3}), None),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2.0}),
                Some([5, 2, -1, -1, -1]),
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14,
                    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
                    "completion_tokens_details": {"reasoning_tokens": 7}}),
                Some([5, 9, 4, 1, 7]),
            ),
            // As xAI counts.
            (
                json!({"prompt_tokens": 331, "completion_tokens": 11, "total_tokens": 613,
                    "completion_tokens_details": {"reasoning_tokens": 271}}),
                Some([331, 282, -1, -1, 271]),
            ),
            (
                json!({"prompt_tokens": 8, "completion_tokens": 1, "prompt_tokens_details": null,
                    "prompt_cache_hit_tokens": 6, "reasoning_tokens": 0}),
                Some([8, 1, 6, -1, 0]),
            ),
            (
                json!({"input_tokens": 1, "output_tokens": -1}),
                Some([1, -1, -1, -1, -1]),
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(counted(value.clone()), expected, "{value}");
        }
    }
}
