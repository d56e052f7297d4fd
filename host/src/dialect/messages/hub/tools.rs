//! Tools and the choice among them.

use serde_json::{Map, Value, json};

use super::Translation;
use super::node::Node;
use crate::dialect::InvalidRequest;

/// Translates `tools` and `tool_choice`. A choice is left out, and reported,
/// if the tools that it is about were: providers refuse it then.
pub fn tools(root: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
    let mut tools = Vec::new();
    if let Some(node) = root.get("tools") {
        for tool in node.elements()? {
            tools.extend(self::tool(&tool, to)?);
        }
    }
    if let Some(choice) = root.get("tool_choice") {
        tool_choice(&choice, &tools, to)?;
    }
    if !tools.is_empty() {
        to.put("tools", Value::Array(tools));
    }
    Ok(())
}

/// One tool; none if the client does not define it itself.
fn tool(node: &Node<'_>, to: &mut Translation) -> Result<Option<Value>, InvalidRequest> {
    node.object()?;
    if let Some(kind) = node.get("type")
        && kind.string()? != "custom"
    {
        to.drop(node);
        return Ok(None);
    }
    node.string_at("name")?;
    let (mut function, mut cache_control) = (Map::new(), None);
    for (name, member) in node.members()? {
        match name {
            "type" => {}
            "name" | "description" => _ = function.insert(name.into(), member.string()?.into()),
            "strict" => _ = function.insert(name.into(), member.value.clone()),
            "input_schema" => {
                let schema = member.object()?.clone();
                function.insert("parameters".into(), Value::Object(schema));
            }
            "cache_control" => cache_control = Some(member.value.clone()),
            _ => to.drop_setting(&member),
        }
    }
    let mut tool = json!({"type": "function", "function": function});
    if let Some(cache_control) = cache_control {
        tool["cache_control"] = cache_control;
    }
    Ok(Some(tool))
}

fn tool_choice(
    node: &Node<'_>,
    tools: &[Value],
    to: &mut Translation,
) -> Result<(), InvalidRequest> {
    let kind = node.kind()?;
    let choice = match kind {
        "auto" | "none" => json!(kind),
        "any" => json!("required"),
        "tool" => json!({"type": "function", "function": {"name": node.string_at("name")?}}),
        _ => return Err(node.invalid(&format!("type \"{kind}\" is not auto, any, tool or none"))),
    };
    let name = choice.pointer("/function/name");
    let known = |tool: &Value| name.is_none() || tool.pointer("/function/name") == name;
    if !tools.iter().any(known) {
        // Without tools, these two ask for what happens anyway.
        if !matches!(kind, "auto" | "none") {
            to.drop(node);
        }
        return Ok(());
    }
    to.put("tool_choice", choice);
    // The other value is the default, and some providers refuse the member
    // altogether (tensorzero#2805).
    if node
        .get("disable_parallel_tool_use")
        .is_some_and(|node| *node.value == Value::Bool(true))
    {
        to.put("parallel_tool_calls", Value::Bool(false));
    }
    Ok(())
}

/// Whether OpenAI takes a schema as strict: every object lists all its
/// properties as required and allows no others
/// (platform.openai.com/docs/guides/structured-outputs#supported-schemas).
pub fn keeps_strict_rules(schema: &Value) -> bool {
    let Value::Object(members) = schema else {
        return !schema.is_array()
            || schema
                .as_array()
                .is_some_and(|all| all.iter().all(keeps_strict_rules));
    };
    if let Some(Value::Object(properties)) = members.get("properties") {
        let required = members.get("required").and_then(Value::as_array);
        let listed = |name: &String| required.is_some_and(|all| all.iter().any(|r| r == name));
        let closed = members.get("additionalProperties") == Some(&Value::Bool(false));
        if !closed || !properties.keys().all(listed) {
            return false;
        }
        if !properties.values().all(keeps_strict_rules) {
            return false;
        }
    } else if members.get("type").is_some_and(|kind| kind == "object") {
        // An object without properties would have to be open.
        return false;
    }
    let nested = |(name, value): (&String, &Value)| match name.as_str() {
        "properties" | "enum" | "const" | "default" | "examples" | "required" => true,
        "$defs" | "definitions" => value
            .as_object()
            .is_none_or(|all| all.values().all(keeps_strict_rules)),
        _ => keeps_strict_rules(value),
    };
    members.iter().all(nested)
}
