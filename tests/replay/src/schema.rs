//! What providers ask of a JSON schema that constrains what a model writes.
//!
//! They want every object closed, and OpenAI wants every property required:
//! <https://platform.openai.com/docs/guides/structured-outputs>. `chat` and
//! `messages` call it.

use serde_json::Value;

/// How strict a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// `additionalProperties` must be false on every object.
    Closed,
    /// That, and every property must be required.
    ClosedAndRequired,
}

/// Checks a schema and all that it is made of. The error says what is missing.
pub fn check(schema: &Value, strictness: Strictness) -> Result<(), String> {
    let Some(object) = schema.as_object() else {
        return Ok(());
    };
    if object.get("type").is_some_and(|kind| kind == "object") {
        if object.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err(
                "For 'object' type, 'additionalProperties' must be explicitly set to false"
                    .to_owned(),
            );
        }
        if strictness == Strictness::ClosedAndRequired {
            all_required(schema)?;
        }
    }
    let maps = ["properties", "$defs", "definitions"];
    for part in maps
        .iter()
        .filter_map(|key| schema[key].as_object())
        .flat_map(|map| map.values())
    {
        check(part, strictness)?;
    }
    let lists = ["anyOf", "oneOf", "allOf", "prefixItems"];
    for part in lists
        .iter()
        .filter_map(|key| schema[key].as_array())
        .flatten()
    {
        check(part, strictness)?;
    }
    check(&schema["items"], strictness)
}

fn all_required(schema: &Value) -> Result<(), String> {
    let required = schema["required"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    match properties
        .map(|(key, _)| key)
        .find(|key| !required.iter().any(|own| own == *key))
    {
        None => Ok(()),
        Some(key) => Err(format!(
            "'required' is required to be supplied and to be an array including every key in \
             properties. Missing '{key}'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_closed_at_every_depth() {
        let closed = json!({"type": "object", "additionalProperties": false,
            "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let open = json!({"type": "object", "properties": {}});
        for place in ["/items", "/anyOf/1", "/properties/b", "/$defs/c"] {
            let mut schema = json!({"type": "array", "items": closed, "anyOf": [closed, closed],
                "properties": {"b": closed}, "$defs": {"c": closed}});
            assert_eq!(check(&schema, Strictness::ClosedAndRequired), Ok(()));
            *schema.pointer_mut(place).unwrap() = open.clone();
            assert!(check(&schema, Strictness::Closed).is_err(), "{place}");
        }
    }

    #[test]
    fn only_openai_wants_every_property_required() {
        let schema = json!({"type": "object", "additionalProperties": false,
            "properties": {"a": {}, "b": {}}, "required": ["a"]});
        assert_eq!(check(&schema, Strictness::Closed), Ok(()));
        assert!(
            check(&schema, Strictness::ClosedAndRequired)
                .unwrap_err()
                .contains("'b'")
        );
    }
}
