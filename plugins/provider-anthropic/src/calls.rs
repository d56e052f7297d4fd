//! The tool calls of an assistant's message, in both of OpenAI's forms.
//!
//! Anthropic wants arguments as an object, the hub has them as text that a
//! model wrote: no arguments are `{}`, and text that is no object is kept as
//! the single member [`UNREADABLE`], so that the model sees what it did and no
//! request fails for it (hermes-agent#107830).

use serde_json::{Map, Value, json};

use crate::content;
use crate::names;
use crate::refusal::Refusal;

/// What arguments are wrapped in that are no JSON object.
pub const UNREADABLE: &str = "unreadable_arguments";

/// A call, ready to be sent.
#[derive(Debug)]
pub struct Call {
    /// As Anthropic takes it.
    pub id: String,
    /// As the client names the tool.
    pub name: String,
    encoded_name: String,
    input: Value,
    cache_control: Option<Value>,
}

impl Call {
    pub fn into_block(self) -> Value {
        let mut block = json!({"type": "tool_use", "id": self.id, "name": self.encoded_name});
        block["input"] = self.input;
        content::mark(&mut block, self.cache_control);
        block
    }
}

/// Takes the calls out of a message that stands at `at`.
pub fn of_message(at: &str, message: &mut Map<String, Value>) -> Result<Vec<Call>, Refusal> {
    let mut calls = Vec::new();
    match message.remove("tool_calls") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for (index, call) in list.into_iter().enumerate() {
                calls.push(tool_call(&format!("{at}/tool_calls/{index}"), call)?);
            }
        }
        Some(_) => {
            return Err(Refusal::malformed(
                &format!("{at}/tool_calls"),
                "expected an array",
            ));
        }
    }
    if let Some(Value::Object(function)) = message.remove("function_call") {
        let at = format!("{at}/function_call");
        calls.push(call(&at, None, function, "arguments")?);
    }
    Ok(calls)
}

fn tool_call(at: &str, value: Value) -> Result<Call, Refusal> {
    let Value::Object(mut value) = value else {
        return Err(Refusal::malformed(at, "expected an object"));
    };
    let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
    let cache_control = value.remove("cache_control");
    // A custom tool has text for its input; Anthropic's tools have objects.
    for (form, arguments) in [("function", "arguments"), ("custom", "input")] {
        if let Some(Value::Object(function)) = value.remove(form) {
            let call = call(&format!("{at}/{form}"), id, function, arguments)?;
            return Ok(Call {
                cache_control,
                ..call
            });
        }
    }
    Err(Refusal::malformed(
        &format!("{at}/function"),
        "expected an object",
    ))
}

fn call(
    at: &str,
    id: Option<String>,
    mut function: Map<String, Value>,
    arguments: &str,
) -> Result<Call, Refusal> {
    let at_name = format!("{at}/name");
    let Some(Value::String(name)) = function.remove("name") else {
        return Err(Refusal::malformed(&at_name, "expected a string"));
    };
    // A call without an identifier gets one of its place.
    let id = id
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| format!("call{}", at.replace('/', "_")));
    Ok(Call {
        id: names::call_id(&id),
        encoded_name: names::tool_name(&name, &at_name)?,
        name,
        input: input(function.remove(arguments)),
        cache_control: None,
    })
}

/// The arguments as an object.
fn input(arguments: Option<Value>) -> Value {
    match arguments {
        None | Some(Value::Null) => json!({}),
        Some(object @ Value::Object(_)) => object,
        Some(Value::String(text)) if text.trim().is_empty() => json!({}),
        Some(Value::String(text)) => match serde_json::from_str(&text) {
            Ok(object @ Value::Object(_)) => object,
            Ok(Value::Null) => json!({}),
            _ => json!({ UNREADABLE: text }),
        },
        Some(other) => json!({ UNREADABLE: other }),
    }
}
