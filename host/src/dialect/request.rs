//! What reading a request yields in every dialect: limits, counts, and the
//! result of translating it to the hub.

use serde_json::Value;

/// A request in the hub dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct Hub {
    pub body: Value,
    /// Pointers into the client's own body to what could not be carried over.
    /// They are for the `palisade-dropped` header and the record.
    pub dropped: Vec<String>,
}

/// A request that cannot be translated because it is malformed: a 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", if pointer.is_empty() { "body" } else { pointer })]
pub struct InvalidRequest {
    /// Where it is wrong: an RFC 6901 pointer into the client's body.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

/// The largest of several limits of tokens; none if there is no limit.
///
/// Numbers count however they are written (`100.0` is 100, and a fraction
/// counts as the next whole number). A negative one means no limit at all,
/// since some servers read `-1` so. A string that is a number counts, since some
/// servers take it for one. Anything else is as if it were absent.
pub fn token_limit<'a>(values: impl Iterator<Item = &'a Value>) -> Option<u64> {
    let mut largest = None;
    for number in values.filter_map(number) {
        let limit = match (number.as_u64(), number.as_f64()) {
            (Some(limit), _) => limit,
            (None, Some(float)) if float >= 0.0 => saturating(float),
            _ => return None,
        };
        largest = largest.max(Some(limit));
    }
    largest
}

fn number(value: &Value) -> Option<serde_json::Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// How many choices `n` asks for: at least 1, whatever is written there.
pub(super) fn choice_count(n: Option<&Value>) -> u32 {
    let count = token_limit(n.into_iter()).unwrap_or(1);
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

/// See [`super::Dialect::max_output_tokens_members`]. A member that is `null` is
/// as good as absent.
pub(super) fn limit_members(limits: &'static [&'static str], body: &Value) -> Vec<&'static str> {
    let present = |name: &&str| body.get(*name).is_some_and(|value| !value.is_null());
    let members: Vec<&str> = limits.iter().copied().filter(present).collect();
    if members.is_empty() {
        limits.iter().copied().take(1).collect()
    } else {
        members
    }
}

/// A whole number of tokens; the largest `u64` if it does not fit.
fn saturating(float: f64) -> u64 {
    // A cast from float to integer saturates.
    float.ceil() as u64
}
