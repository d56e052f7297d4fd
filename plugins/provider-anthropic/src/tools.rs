//! Tools and the choice between them: OpenAI's `tools`, `tool_choice` and
//! `parallel_tool_calls`, and the older `functions` and `function_call`.
//!
//! Anthropic's own tools (`{"type": "web_search_20250305", …}`, with the date
//! that all of them have) are sent as they are. Other kinds than functions are
//! refused: a model that was to have a tool and does not have it answers
//! something else.

use serde_json::{Map, Value, json};

use crate::content;
use crate::hub::{Hub, Report};
use crate::names;
use crate::refusal::Refusal;
use crate::schema;

/// The tools of a request.
#[derive(Debug, Default)]
pub struct Tools {
    pub definitions: Vec<Value>,
    pub choice: Choice,
    /// Where the client made its choice, for reports.
    pub choice_at: &'static str,
    /// At most one call at a time.
    pub sequential: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// The client did not say.
    #[default]
    Unset,
    Auto,
    None,
    /// One of the tools must be called.
    Any,
    /// This tool must be called.
    Tool(String),
}

impl Tools {
    /// Whether a call is forced.
    pub fn forced(&self) -> bool {
        matches!(self.choice, Choice::Any | Choice::Tool(_))
    }

    /// Lets the model decide, where it cannot be forced.
    pub fn relax(&mut self, report: &mut Report) {
        if self.forced() {
            self.choice = Choice::Auto;
            report.drop(self.choice_at);
        }
    }

    /// `tool_choice`; none if it need not be sent.
    pub fn choice_member(&self) -> Option<Value> {
        if self.definitions.is_empty() {
            return None;
        }
        let mut choice = match &self.choice {
            Choice::Unset if !self.sequential => return None,
            Choice::Unset | Choice::Auto => json!({"type": "auto"}),
            Choice::None => return Some(json!({"type": "none"})),
            Choice::Any => json!({"type": "any"}),
            Choice::Tool(name) => json!({"type": "tool", "name": name}),
        };
        if self.sequential {
            choice["disable_parallel_tool_use"] = true.into();
        }
        Some(choice)
    }

    /// Anthropic wants tools defined that were called earlier, even if the
    /// client offers none any more: they are, and may not be called.
    pub fn define_called(&mut self, called: &[&str]) {
        if self.definitions.is_empty() && !called.is_empty() {
            let define = |name: &&str| json!({"name": name, "input_schema": empty_schema()});
            self.definitions = called.iter().map(define).collect();
            self.choice = Choice::None;
        }
    }
}

/// Takes and translates everything about tools. `strict` says whether the
/// model takes strict ones.
pub fn translate(hub: &mut Hub, strict: bool) -> Result<Tools, Refusal> {
    let mut tools = Tools {
        choice_at: "/tool_choice",
        ..Tools::default()
    };
    for (index, tool) in hub.take_list("tools")?.into_iter().flatten().enumerate() {
        let tool = tool_definition(&format!("/tools/{index}"), tool, strict, &mut hub.report)?;
        tools.definitions.push(tool);
    }
    for (index, function) in hub
        .take_list("functions")?
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = format!("/functions/{index}");
        let Value::Object(function) = function else {
            return Err(Refusal::malformed(&at, "expected an object"));
        };
        tools
            .definitions
            .push(definition(&at, function, strict, &mut hub.report)?);
    }
    if let Some(choice) = hub.take("tool_choice") {
        choose(&mut tools, &choice)?;
    } else if let Some(choice) = hub.take("function_call") {
        tools.choice_at = "/function_call";
        choose(&mut tools, &choice)?;
    }
    tools.sequential = hub.take_bool("parallel_tool_calls")? == Some(false);
    if tools.definitions.is_empty() {
        tools.relax(&mut hub.report);
    }
    Ok(tools)
}

fn tool_definition(
    at: &str,
    tool: Value,
    strict: bool,
    report: &mut Report,
) -> Result<Value, Refusal> {
    let Value::Object(mut tool) = tool else {
        return Err(Refusal::malformed(at, "expected an object"));
    };
    let kind = tool
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("function")
        .to_owned();
    if is_anthropic(&kind) {
        return Ok(tool.into());
    }
    if kind != "function" {
        let what = format!("anthropic takes no tool of type {kind:?}");
        return Err(Refusal::unsupported(&format!("{at}/type"), &what));
    }
    let mark = tool.remove("cache_control");
    let Some(Value::Object(function)) = tool.remove("function") else {
        return Err(Refusal::malformed(
            &format!("{at}/function"),
            "expected an object",
        ));
    };
    let mut definition = definition(&format!("{at}/function"), function, strict, report)?;
    content::mark(&mut definition, mark);
    Ok(definition)
}

/// A function as a tool of Anthropic's.
fn definition(
    at: &str,
    mut function: Map<String, Value>,
    strict: bool,
    report: &mut Report,
) -> Result<Value, Refusal> {
    let at_name = format!("{at}/name");
    let Some(Value::String(name)) = function.remove("name") else {
        return Err(Refusal::malformed(&at_name, "expected a string"));
    };
    let mut tool = json!({"name": names::tool_name(&name, &at_name)?});
    // `null` is no description to Anthropic (experiential#658).
    if let Some(Value::String(text)) = function.remove("description")
        && !text.trim().is_empty()
    {
        tool["description"] = text.into();
    }
    let mut schema = match function.remove("parameters") {
        None | Some(Value::Null) => empty_schema(),
        Some(Value::Object(schema)) => object_schema(schema),
        Some(_) => {
            return Err(Refusal::malformed(
                &format!("{at}/parameters"),
                "expected an object",
            ));
        }
    };
    if function.get("strict") == Some(&Value::Bool(true)) {
        let constrained = schema::constrain(&schema);
        if strict && !constrained.open {
            if constrained.loosened {
                report.drop(format!("{at}/parameters"));
            }
            schema = constrained.schema;
            tool["strict"] = true.into();
        } else {
            report.drop(format!("{at}/strict"));
        }
    }
    tool["input_schema"] = schema;
    content::mark(&mut tool, function.remove("cache_control"));
    Ok(tool)
}

/// The schema with the type that Anthropic demands, everything else untouched
/// (opencode#12295: `$ref`, `$defs` and `additionalProperties` stay).
fn object_schema(schema: Map<String, Value>) -> Value {
    if schema.get("type").is_some_and(|kind| !kind.is_null()) {
        return schema.into();
    }
    let mut typed = Map::new();
    typed.insert("type".to_owned(), "object".into());
    typed.extend(schema.into_iter().filter(|(name, _)| name != "type"));
    typed.into()
}

/// The schema of a tool that takes nothing.
fn empty_schema() -> Value {
    json!({"type": "object", "properties": {}})
}

/// All of Anthropic's own tools have a date in their type.
fn is_anthropic(kind: &str) -> bool {
    let date = kind.rsplit_once('_').map_or("", |(_, date)| date);
    date.len() == 8 && date.starts_with("20") && date.bytes().all(|byte| byte.is_ascii_digit())
}

fn choose(tools: &mut Tools, choice: &Value) -> Result<(), Refusal> {
    let at = tools.choice_at;
    let unknown = || Refusal::malformed(at, "expected none, auto, required or a tool");
    tools.choice = match choice {
        Value::String(mode) => mode_choice(mode).ok_or_else(unknown)?,
        Value::Object(choice) => {
            if let Some(allowed) = choice.get("allowed_tools") {
                return allow(tools, allowed);
            }
            let function = choice.get("function").or_else(|| choice.get("custom"));
            let name = function
                .unwrap_or(&Value::Null)
                .get("name")
                .or_else(|| choice.get("name"));
            let name = name.and_then(Value::as_str).ok_or_else(unknown)?;
            Choice::Tool(names::tool_name(name, at)?)
        }
        _ => return Err(unknown()),
    };
    Ok(())
}

fn mode_choice(mode: &str) -> Option<Choice> {
    match mode {
        "none" => Some(Choice::None),
        "auto" => Some(Choice::Auto),
        "required" | "any" => Some(Choice::Any),
        _ => None,
    }
}

/// `{"allowed_tools": {"mode": …, "tools": […]}}`: the others are not offered.
fn allow(tools: &mut Tools, allowed: &Value) -> Result<(), Refusal> {
    let at = format!("{}/allowed_tools", tools.choice_at);
    let mode = allowed
        .get("mode")
        .and_then(Value::as_str)
        .unwrap_or("auto");
    let choice = mode_choice(mode);
    let list = allowed.get("tools").and_then(Value::as_array);
    let (Some(choice), Some(list)) = (choice, list) else {
        return Err(Refusal::malformed(
            &at,
            "expected a mode and an array of tools",
        ));
    };
    let mut names = Vec::new();
    for tool in list {
        let function = tool.get("function").unwrap_or(tool);
        if let Some(name) = function.get("name").and_then(Value::as_str) {
            names.push(names::tool_name(name, &at)?);
        }
    }
    tools.choice = choice;
    tools
        .definitions
        .retain(|tool| names.iter().any(|name| tool["name"] == name.as_str()));
    Ok(())
}
