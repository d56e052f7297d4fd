//! The list of models, in a form that the SDKs of OpenAI and of Anthropic both
//! read: each model has the members of both.

use serde_json::{Value, json};

use crate::palisade::plugin::types::{Denial, DenialKind};

/// The answer to `GET /v1/models`.
pub fn list(names: &[String]) -> String {
    json!({
        "object": "list",
        "data": names.iter().map(|name| model(name)).collect::<Vec<_>>(),
        "first_id": names.first(),
        "last_id": names.last(),
        "has_more": false,
    })
    .to_string()
}

/// The answer to `GET /v1/models/{name}`.
pub fn one(names: &[String], name: &str) -> Result<String, Denial> {
    if names.iter().any(|known| known == name) {
        return Ok(model(name).to_string());
    }
    let message = format!("the echo provider lists no model {name:?}");
    Err(crate::denial(
        DenialKind::NotFound,
        "model.not-found",
        message,
    ))
}

/// Models are as old as time itself: a clock would make answers differ.
fn model(name: &str) -> Value {
    json!({
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "palisade",
        "type": "model",
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    })
}

#[cfg(test)]
mod tests {
    use super::{list, one};

    #[test]
    fn models_are_listed_in_order() {
        let names = ["a".to_owned(), "b/c".to_owned()];
        let value: serde_json::Value = serde_json::from_str(&list(&names)).unwrap();
        assert_eq!(value["object"], "list");
        assert_eq!(value["data"][1]["id"], "b/c");
        assert_eq!(value["last_id"], "b/c");
        assert!(one(&names, "b/c").unwrap().contains("\"b/c\""));
        assert_eq!(one(&names, "c").unwrap_err().reason, "model.not-found");
        let empty: serde_json::Value = serde_json::from_str(&list(&[])).unwrap();
        assert_eq!(empty["data"], serde_json::json!([]));
    }
}
