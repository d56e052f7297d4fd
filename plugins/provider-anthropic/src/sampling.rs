//! Sampling: `temperature`, `top_p` and `top_k`, as far as the model, its
//! thinking and the API version allow them.
//!
//! OpenAI's temperature goes to 2, Anthropic's to 1. What is changed or left
//! out is reported, unless it was the default anyway.

use serde_json::{Map, Value};

use crate::hub::Hub;
use crate::models::Sampling;
use crate::refusal::Refusal;

/// From this version on, the three are unknown members (400).
const REMOVED: &str = "2026-10-21";

/// While it thinks, a model takes no smaller `top_p` (Anthropic's page on
/// extended thinking).
const MIN_TOP_P_THINKING: f64 = 0.95;

/// What may be sent, by the model and the version that is asked for.
pub fn allowed(model: Sampling, version: &str) -> Sampling {
    // Versions are dates, which compare as texts.
    if version >= REMOVED {
        Sampling::None
    } else {
        model
    }
}

/// Takes the three members and returns those to send.
pub fn translate(
    hub: &mut Hub,
    allowed: Sampling,
    thinks: bool,
) -> Result<Map<String, Value>, Refusal> {
    let temperature = hub.take_number("temperature")?;
    let top_p = hub.take_number("top_p")?.filter(|p| *p != 1.0);
    // Others write 0 and -1 for "no limit".
    let top_k = hub.take_number("top_k")?.filter(|k| *k >= 1.0);
    let fixed = allowed == Sampling::None || thinks;
    let either = allowed == Sampling::Either;

    let sent_temperature = temperature
        .map(|wanted| wanted.clamp(0.0, 1.0))
        .filter(|wanted| !(fixed || either && top_p.is_some() && *wanted == 1.0));
    let carried = |wanted: f64| wanted == 1.0 || sent_temperature == Some(wanted);
    if temperature.is_some_and(|wanted| !carried(wanted)) {
        hub.report.drop("/temperature");
    }

    let least = if thinks { MIN_TOP_P_THINKING } else { 0.0 };
    let possible = allowed != Sampling::None && !(either && sent_temperature.is_some());
    let sent_top_p = top_p.filter(|p| possible && (least..1.0).contains(p));
    if top_p != sent_top_p {
        hub.report.drop("/top_p");
    }

    let sent_top_k = top_k.filter(|_| !fixed);
    if top_k != sent_top_k {
        hub.report.drop("/top_k");
    }

    let mut members = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    add("temperature", sent_temperature.map(Value::from));
    add("top_p", sent_top_p.map(Value::from));
    add("top_k", sent_top_k.map(|k| Value::from(k as u64)));
    Ok(members)
}
