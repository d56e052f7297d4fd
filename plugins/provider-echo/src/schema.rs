//! The smallest instance of a JSON Schema, for structured answers and for the
//! arguments of tool calls.
//!
//! It knows what schemas for language models are made of: types, required
//! members, enumerations, references within the schema, alternatives, and the
//! bounds of numbers, lengths and counts. It does not know patterns and
//! conditions; an instance for those may not be valid.

use std::cell::Cell;

use serde_json::{Map, Number, Value, json};

/// Deeper than any schema that OpenAI takes (10 levels); a schema that refers
/// to itself without end gets `null` there.
const MAX_DEPTH: usize = 32;
/// No bound of a schema makes a string longer than this.
const MAX_LENGTH: u64 = 1024;
/// How many values an instance may have: a short schema that refers to itself
/// twice would have 2 to the power of [`MAX_DEPTH`] otherwise.
const MAX_VALUES: u32 = 4096;

/// The smallest value that `schema` allows. Free strings are "echo".
pub fn instance(schema: &Value) -> Value {
    Builder {
        root: schema,
        left: Cell::new(MAX_VALUES),
    }
    .build(schema, 0)
}

struct Builder<'a> {
    /// What references point into.
    root: &'a Value,
    /// Values that may still be made.
    left: Cell<u32>,
}

impl Builder<'_> {
    fn build(&self, schema: &Value, depth: usize) -> Value {
        if self.left.get() == 0 {
            return Value::Null;
        }
        self.left.set(self.left.get() - 1);
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        if let Some(target) = schema["$ref"].as_str() {
            let target = self.root.pointer(target.trim_start_matches('#'));
            return target.map_or(Value::Null, |target| self.build(target, depth + 1));
        }
        let fixed = ["/const", "/enum/0", "/default", "/examples/0"];
        if let Some(value) = fixed.iter().find_map(|pointer| schema.pointer(pointer)) {
            return value.clone();
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.build(&self.merge(schema, parts), depth + 1);
        }
        for alternatives in ["anyOf", "oneOf"] {
            if let Some(first) = schema[alternatives].get(0) {
                return self.build(first, depth + 1);
            }
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => string(schema).into(),
            "integer" | "number" => number(schema),
            "boolean" => false.into(),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = schema["required"].as_array().into_iter().flatten();
        let required = required.take_while(|_| self.left.get() > 0);
        let member = |name: &Value| {
            let name = name.as_str()?;
            Some((
                name.to_owned(),
                self.build(&schema["properties"][name], depth + 1),
            ))
        };
        Value::Object(required.filter_map(member).collect())
    }

    fn array(&self, schema: &Value, depth: usize) -> Value {
        let first = schema["prefixItems"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let count = schema["minItems"].as_u64().unwrap_or(0) as usize;
        let indexes = (0..count).take_while(|_| self.left.get() > 0);
        let item = |index| self.build(first.get(index).unwrap_or(&schema["items"]), depth + 1);
        Value::Array(indexes.map(item).collect())
    }

    /// One schema for `allOf`: the members of all parts, where those of the
    /// schema itself win, and properties and required names are put together.
    fn merge(&self, schema: &Value, parts: &[Value]) -> Value {
        let mut merged = Map::new();
        let mut own = schema.clone();
        if let Value::Object(own) = &mut own {
            own.shift_remove("allOf");
        }
        for part in parts.iter().chain([&own]) {
            let target = part["$ref"].as_str();
            let part = target
                .and_then(|target| self.root.pointer(target.trim_start_matches('#')))
                .unwrap_or(part);
            for (key, value) in part.as_object().into_iter().flatten() {
                match (merged.get_mut(key), value) {
                    (Some(Value::Object(known)), Value::Object(more)) => {
                        known.extend(more.clone());
                    }
                    (Some(Value::Array(known)), Value::Array(more)) if key == "required" => {
                        known.extend(more.iter().cloned());
                    }
                    _ => {
                        merged.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        Value::Object(merged)
    }
}

/// The type of a schema: the first that it names, or what its members suggest.
fn kind(schema: &Value) -> &str {
    let named = schema["type"]
        .as_str()
        .or_else(|| schema["type"][0].as_str());
    let suggested = || match schema {
        Value::Object(schema) if schema.contains_key("properties") => "object",
        Value::Object(schema) if schema.contains_key("items") => "array",
        Value::Object(schema) if schema.contains_key("minimum") => "number",
        _ => "string",
    };
    named.unwrap_or_else(suggested)
}

fn string(schema: &Value) -> String {
    let text = match schema["format"].as_str() {
        Some("date-time") => "1970-01-01T00:00:00Z",
        Some("date") => "1970-01-01",
        Some("time") => "00:00:00Z",
        Some("duration") => "PT0S",
        Some("email") => "echo@example.com",
        Some("hostname") => "example.com",
        Some("ipv4") => "127.0.0.1",
        Some("ipv6") => "::1",
        Some("uuid") => "00000000-0000-0000-0000-000000000000",
        Some("uri" | "url") => "https://example.com/",
        _ => "echo",
    };
    let least = schema["minLength"].as_u64().unwrap_or(0).min(MAX_LENGTH) as usize;
    let most = schema["maxLength"]
        .as_u64()
        .map_or(usize::MAX, |most| most as usize);
    let padding = std::iter::repeat_n('.', least.saturating_sub(text.len()));
    text.chars().chain(padding).take(most).collect()
}

/// The number nearest to zero within the bounds, as far as steps allow.
fn number(schema: &Value) -> Value {
    let integer = kind(schema) == "integer";
    let step = schema["multipleOf"]
        .as_f64()
        .unwrap_or(if integer { 1.0 } else { 0.0 });
    let bound = |inclusive: &str, exclusive: &str, by: f64| {
        let beyond = if step > 0.0 { step } else { 1.0 };
        let exclusive = schema[exclusive].as_f64().map(|bound| bound + by * beyond);
        schema[inclusive].as_f64().or(exclusive)
    };
    let least = bound("minimum", "exclusiveMinimum", 1.0).unwrap_or(f64::NEG_INFINITY);
    let most = bound("maximum", "exclusiveMaximum", -1.0).unwrap_or(f64::INFINITY);
    let nearest = 0.0_f64.max(least).min(most);
    let value = match step > 0.0 {
        true if nearest < 0.0 => (nearest / step).floor() * step,
        true => (nearest / step).ceil() * step,
        false => nearest,
    };
    if value.fract() == 0.0 {
        return json!(value as i64);
    }
    Number::from_f64(value).map_or(json!(0), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::instance;
    use serde_json::{Value, json};

    #[test]
    fn instances_are_the_smallest() {
        let cases = [
            (json!({}), json!("echo")),
            (json!(true), json!("echo")),
            (json!({"type": "object"}), json!({})),
            (
                json!({"type": "object", "required": ["a", "c", "d"], "properties": {
                    "a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "boolean"}}}),
                json!({"a": 0, "c": false, "d": "echo"}),
            ),
            (json!({"enum": ["x", "y"]}), json!("x")),
            (json!({"const": 5}), json!(5)),
            (json!({"type": ["string", "null"]}), json!("echo")),
            (json!({"type": "null"}), Value::Null),
            (
                json!({"type": "array", "items": {"type": "integer"}}),
                json!([]),
            ),
            (
                json!({"items": {"type": "integer"}, "minItems": 2}),
                json!([0, 0]),
            ),
            (json!({"type": "string", "minLength": 6}), json!("echo..")),
            (json!({"type": "string", "maxLength": 2}), json!("ec")),
            (
                json!({"type": "string", "format": "date"}),
                json!("1970-01-01"),
            ),
            (json!({"type": "integer", "minimum": 18}), json!(18)),
            (json!({"type": "integer", "exclusiveMinimum": 0}), json!(1)),
            (json!({"type": "integer", "maximum": -3}), json!(-3)),
            (json!({"type": "number", "minimum": 0.5}), json!(0.5)),
            (
                json!({"type": "integer", "minimum": 7, "multipleOf": 5}),
                json!(10),
            ),
            (
                json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
                json!(0),
            ),
            (
                json!({"$defs": {"p": {"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}}}},
                    "type": "object", "required": ["p"], "properties": {"p": {"$ref": "#/$defs/p"}}}),
                json!({"p": {"x": 0}}),
            ),
            (
                json!({"allOf": [
                    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                    {"properties": {"b": {"const": 1}}, "required": ["b"]}]}),
                json!({"a": 0, "b": 1}),
            ),
        ];
        for (schema, expected) in cases {
            assert_eq!(instance(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn endless_schemas_end() {
        let schema = json!({"type": "object", "required": ["next"],
            "properties": {"next": {"$ref": "#"}}});
        assert!(instance(&schema).is_object());
        let wide = json!({"type": "array", "minItems": 1_000_000, "items": {"$ref": "#"}});
        let branching = json!({"type": "object", "required": ["a", "b", "c"],
            "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"$ref": "#"}}});
        for schema in [wide, branching] {
            assert!(instance(&schema).to_string().len() < 100_000);
        }
        assert!(instance(&json!({"$ref": "#"})).is_null());
    }
}
