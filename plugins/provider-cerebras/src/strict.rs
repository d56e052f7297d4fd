//! Which schemas of tools Cerebras takes in strict mode, where arguments are
//! guaranteed to match.
//!
//! Every object must be closed and every property required; recursion,
//! patterns, formats and bounds of lengths are refused, and so are schemas
//! that are long or deep (inference-docs.cerebras.ai, structured outputs). The
//! rule here errs on the safe side: a keyword that is not listed keeps a
//! schema from being strict, and strictness never changes what a tool accepts,
//! but for members that it did not name.

use serde_json::Value;

/// Keywords that are taken, or only describe.
const KEYWORDS: [&str; 19] = [
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "definitions",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maximum",
    "minimum",
    "properties",
    "required",
    "title",
];
/// Levels of a schema, references followed; so none that refers to itself.
const MAX_DEPTH: usize = 10;
/// Characters of a schema's JSON text.
const MAX_LENGTH: usize = 5000;

/// The schema with every object closed; none if it cannot be strict.
pub fn closed(schema: &Value) -> Option<Value> {
    if !schema.is_object() || kind(schema) != Some("object") || !fits(schema, schema, 0) {
        return None;
    }
    let mut closed = schema.clone();
    close(&mut closed);
    (closed.to_string().chars().count() <= MAX_LENGTH).then_some(closed)
}

fn fits(schema: &Value, root: &Value, depth: usize) -> bool {
    let Some(members) = schema.as_object() else {
        return false;
    };
    if depth > MAX_DEPTH || !members.keys().all(|key| is_known(key)) {
        return false;
    }
    let referred = match schema["$ref"].as_str() {
        Some(target) => target
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(pointer))
            .is_some_and(|target| fits(target, root, depth + 1)),
        None => true,
    };
    let parts = |key: &str| {
        members
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let items = members
        .get("items")
        .is_none_or(|items| fits(items, root, depth + 1));
    referred
        && items
        && (!is_object(schema) || object_fits(schema, root, depth))
        && parts("anyOf").all(|part| fits(part, root, depth + 1))
}

fn object_fits(schema: &Value, root: &Value, depth: usize) -> bool {
    let is_open = !matches!(
        schema["additionalProperties"],
        Value::Null | Value::Bool(false)
    );
    // An object without properties may hold anything; closed it would not.
    let Some(properties) = schema["properties"].as_object() else {
        return false;
    };
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let is_required = |name: &String| required.iter().any(|required| required == name);
    !is_open
        && properties.keys().all(is_required)
        && properties
            .values()
            .all(|property| fits(property, root, depth + 1))
}

fn close(schema: &mut Value) {
    if is_object(schema) {
        schema["additionalProperties"] = false.into();
    }
    for key in ["properties", "$defs", "definitions"] {
        let parts = schema.get_mut(key).and_then(Value::as_object_mut);
        parts
            .into_iter()
            .flat_map(|parts| parts.values_mut())
            .for_each(close);
    }
    let any_of = schema.get_mut("anyOf").and_then(Value::as_array_mut);
    any_of.into_iter().flatten().for_each(close);
    if let Some(items) = schema.get_mut("items") {
        close(items);
    }
}

fn is_known(keyword: &str) -> bool {
    keyword == "type" || KEYWORDS.contains(&keyword)
}

fn is_object(schema: &Value) -> bool {
    let among = |kinds: &Vec<Value>| kinds.iter().any(|kind| kind == "object");
    kind(schema) == Some("object")
        || schema["type"].as_array().is_some_and(among)
        || schema.get("properties").is_some()
}

fn kind(schema: &Value) -> Option<&str> {
    schema["type"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::closed;

    fn object(properties: Value, required: Value) -> Value {
        json!({"type": "object", "properties": properties, "required": required})
    }

    #[test]
    fn objects_are_closed_at_every_level() {
        let inner = object(json!({"b": {"type": "string"}}), json!(["b"]));
        let schema = json!({
            "type": "object", "required": ["a", "c", "d"],
            "properties": {
                "a": {"type": "array", "items": inner},
                "c": {"anyOf": [inner, {"type": "null"}]},
                "d": {"$ref": "#/$defs/d"}},
            "$defs": {"d": inner},
        });
        let closed = closed(&schema).unwrap();
        for place in [
            "",
            "/properties/a/items",
            "/properties/c/anyOf/0",
            "/$defs/d",
        ] {
            let found = closed.pointer(place).unwrap();
            assert_eq!(found["additionalProperties"], false, "{place}");
        }
    }

    #[test]
    fn what_would_change_its_meaning_stays_open() {
        let text = json!({"type": "string"});
        let with = |property: Value| object(json!({"a": property}), json!(["a"]));
        let deep = (0..11).fold(text.clone(), |inner, _| with(inner));
        let cases = [
            (object(json!({}), json!([])), true),
            (json!({"type": "object", "properties": {}}), true),
            (
                with(json!({"type": "integer", "minimum": 1, "description": "d"})),
                true,
            ),
            (
                with(json!({"type": ["string", "null"], "enum": ["a", null]})),
                true,
            ),
            (json!({"type": "object"}), false),
            (json!({"type": "string"}), false),
            (json!(null), false),
            (object(json!({"a": text, "b": text}), json!(["a"])), false),
            (with(json!({"type": "object"})), false),
            (
                with(json!({"type": "object", "additionalProperties": {"type": "string"}})),
                false,
            ),
            (with(json!({"type": "string", "pattern": "^a"})), false),
            (with(json!({"type": "string", "format": "date"})), false),
            (
                with(json!({"type": "array", "items": text, "minItems": 1})),
                false,
            ),
            (with(json!({"allOf": [text]})), false),
            (with(json!({"$ref": "#"})), false),
            (with(json!({"$ref": "https://example.com/schema"})), false),
            (
                with(json!({"type": "string", "description": "d".repeat(5000)})),
                false,
            ),
            (with(json!(true)), false),
            (deep, false),
        ];
        for (schema, expected) in cases {
            assert_eq!(closed(&schema).is_some(), expected, "{schema}");
        }
    }
}
