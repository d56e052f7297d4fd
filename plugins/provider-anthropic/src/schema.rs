//! JSON schemas as Anthropic's constrained decoding takes them, for structured
//! output and strict tools.
//!
//! It knows less of JSON Schema than OpenAI does and answers 400 to the rest:
//! every object must be closed, `oneOf` is unknown, and so are bounds,
//! patterns and most formats. As Anthropic's SDKs do, what it does not know is
//! moved into the description, where the model can still read it.

use serde_json::{Map, Value};

/// A schema that Anthropic takes.
#[derive(Debug)]
pub struct Constrained {
    /// What to send.
    pub schema: Value,
    /// Something is no longer enforced.
    pub loosened: bool,
    /// Somewhere it wanted an object with any members at all, which cannot be
    /// had: closed, that object is always empty.
    pub open: bool,
}

/// Keywords that keep their meaning and hold no schema.
const KEPT: &[&str] = &[
    "$ref",
    "type",
    "enum",
    "const",
    "required",
    "description",
    "title",
    "default",
];

/// Keywords that say nothing about what is valid.
const REMARKS: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "nullable",
];

const FORMATS: &[&str] = &[
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
];

/// The schema as far as Anthropic enforces it.
pub fn constrain(schema: &Value) -> Constrained {
    let mut constrained = Constrained {
        schema: Value::Null,
        loosened: false,
        open: false,
    };
    constrained.schema = constrained.node(schema);
    constrained
}

impl Constrained {
    fn node(&mut self, schema: &Value) -> Value {
        let Value::Object(members) = schema else {
            return schema.clone();
        };
        let mut kept = Map::new();
        let mut moved = Vec::new();
        for (keyword, value) in members {
            match keyword.as_str() {
                "properties" | "$defs" | "definitions" => {
                    kept.insert(keyword.clone(), self.named(value));
                }
                "items" => _ = kept.insert(keyword.clone(), self.node(value)),
                "anyOf" | "allOf" => _ = kept.insert(keyword.clone(), self.list(value)),
                "oneOf" => _ = kept.insert("anyOf".to_owned(), self.list(value)),
                "additionalProperties" => self.open |= *value != Value::Bool(false),
                "format"
                    if value
                        .as_str()
                        .is_some_and(|format| FORMATS.contains(&format)) =>
                {
                    kept.insert(keyword.clone(), value.clone());
                }
                "minItems" if matches!(value.as_u64(), Some(0 | 1)) => {
                    kept.insert(keyword.clone(), value.clone());
                }
                known if KEPT.contains(&known) => _ = kept.insert(keyword.clone(), value.clone()),
                remark if REMARKS.contains(&remark) => {}
                _ => moved.push(format!("{keyword}: {value}")),
            }
        }
        if is_object(members) {
            self.open |= members
                .get("properties")
                .is_none_or(|properties| !properties.is_object());
            kept.insert("additionalProperties".to_owned(), false.into());
        }
        if !moved.is_empty() {
            self.loosened = true;
            let said = kept.get("description").and_then(Value::as_str);
            let before = said.map(|said| format!("{said}\n\n")).unwrap_or_default();
            let text = format!("{before}{{{}}}", moved.join(", "));
            kept.insert("description".to_owned(), text.into());
        }
        kept.into()
    }

    fn named(&mut self, schemas: &Value) -> Value {
        let Value::Object(schemas) = schemas else {
            return schemas.clone();
        };
        schemas
            .iter()
            .map(|(name, schema)| (name.clone(), self.node(schema)))
            .collect()
    }

    fn list(&mut self, schemas: &Value) -> Value {
        let Value::Array(schemas) = schemas else {
            return schemas.clone();
        };
        schemas.iter().map(|schema| self.node(schema)).collect()
    }
}

fn is_object(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => schema.contains_key("properties"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::constrain;

    #[test]
    fn what_is_known_stays_and_the_rest_is_told() {
        let constrained = constrain(&json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "age": {"type": "integer", "minimum": 0, "description": "in years"},
                "mail": {"type": ["string", "null"], "format": "email", "maxLength": 9},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1},
                "shape": {"oneOf": [{"const": 1}, {"type": "object", "properties": {}}]},
            },
            "required": ["age"],
            "$defs": {"tag": {"enum": ["a", null]}},
        }));
        assert!(constrained.loosened && !constrained.open);
        assert_eq!(
            constrained.schema,
            json!({
                "type": "object",
                "properties": {
                    "age": {"type": "integer", "description": "in years\n\n{minimum: 0}"},
                    "mail": {
                        "type": ["string", "null"], "format": "email",
                        "description": "{maxLength: 9}",
                    },
                    "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1},
                    "shape": {"anyOf": [
                        {"const": 1},
                        {"type": "object", "properties": {}, "additionalProperties": false},
                    ]},
                },
                "required": ["age"],
                "$defs": {"tag": {"enum": ["a", null]}},
                "additionalProperties": false,
            })
        );
    }

    #[test]
    fn objects_with_any_members_are_noticed() {
        let open = [
            json!({"type": "object"}),
            json!({"type": "object", "additionalProperties": true, "properties": {}}),
            json!({"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}}),
        ];
        for schema in open {
            assert!(constrain(&schema).open, "{schema}");
        }
        let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
        assert!(!constrain(&closed).open);
    }
}
