//! Anthropic's messages: everything in the request besides its messages, which
//! are in `message_history`.
//!
//! Sources: <https://docs.anthropic.com/en/api/messages> and the errors that
//! people report, named where a rule is not in the reference.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::check::{Judge, join, lists, present};
use crate::message_history;
use crate::refusal::Refusal;
use crate::schema::{self, Strictness};
use crate::transcripts::Transcripts;

const REQUEST: &str = "cache_control container context_management diagnostics inference_geo \
                       max_tokens mcp_servers messages metadata model output_config service_tier \
                       speed stop_sequences stream system temperature thinking tool_choice tools \
                       top_k top_p user_profile_id workspace_id";

const TOOL: &str = "name description input_schema type cache_control strict allowed_callers \
                    defer_loading eager_input_streaming input_examples";

/// The smallest thinking budget, in tokens.
const LEAST_BUDGET: u64 = 1024;

/// Judges a request; `transcripts` knows which signatures were given out.
pub fn check(
    judge: Judge,
    request: &Map<String, Value>,
    transcripts: &Transcripts,
) -> Result<(), Refusal> {
    judge.only(request, "", REQUEST)?;
    judge.need(request, "", "max_tokens")?;
    let limit = judge.positive(request, "max_tokens")?;
    system(judge, request)?;
    sampling(judge, request)?;
    let thinks = thinking(judge, request, limit.unwrap_or(0))?;
    let tools = tools(judge, request)?;
    tool_choice(judge, request, &tools, thinks)?;
    output_config(judge, request)?;
    let messages = judge.list(judge.need(request, "", "messages")?, "messages")?;
    message_history::check(judge, messages, thinks, transcripts)?;
    cache_controls(judge, request)
}

fn system(judge: Judge, request: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(system) = present(request, "system") else {
        return Ok(());
    };
    if system.is_string() {
        return Ok(());
    }
    for (index, block) in judge.list(system, "system")?.iter().enumerate() {
        let place = format!("system[{index}]");
        let block = judge.object(block, &place)?;
        judge.only(block, &place, "type text cache_control citations")?;
        if judge.need(block, &place, "type")? != "text" {
            return Err(judge.no(&join(&place, "type"), "Input should be 'text'"));
        }
        let text = judge.text(judge.need(block, &place, "text")?, &join(&place, "text"))?;
        if text.is_empty() {
            return Err(judge.no("system", "text content blocks must be non-empty"));
        }
    }
    Ok(())
}

fn sampling(judge: Judge, request: &Map<String, Value>) -> Result<(), Refusal> {
    judge.within(request, "temperature", &(0.0..=1.0))?;
    judge.within(request, "top_p", &(0.0..=1.0))?;
    judge.positive(request, "top_k")?;
    if let Some(stream) = present(request, "stream").filter(|stream| !stream.is_boolean()) {
        return Err(judge.no(
            "stream",
            format!("Input should be a valid boolean, not {stream}"),
        ));
    }
    if let Some(metadata) = present(request, "metadata") {
        judge.only(judge.object(metadata, "metadata")?, "metadata", "user_id")?;
    }
    let Some(stops) = present(request, "stop_sequences") else {
        return Ok(());
    };
    for stop in judge.list(stops, "stop_sequences")? {
        // litellm#3286, litellm#7484
        if judge.text(stop, "stop_sequences")?.trim().is_empty() {
            let what = "each stop sequence must contain non-whitespace";
            return Err(judge.no("stop_sequences", what));
        }
    }
    Ok(())
}

/// Whether the model is to think before it answers.
fn thinking(judge: Judge, request: &Map<String, Value>, limit: u64) -> Result<bool, Refusal> {
    let Some(thinking) = present(request, "thinking") else {
        return Ok(false);
    };
    let thinking = judge.object(thinking, "thinking")?;
    match judge.need(thinking, "thinking", "type")?.as_str() {
        Some("disabled") => return judge.only(thinking, "thinking", "type").map(|()| false),
        Some("adaptive") => judge.only(thinking, "thinking", "type display")?,
        Some("enabled") => {
            judge.only(thinking, "thinking", "type display budget_tokens")?;
            let budget = judge.need(thinking, "thinking", "budget_tokens")?.as_u64();
            if budget.is_none_or(|budget| budget < LEAST_BUDGET) {
                let what = "Input should be greater than or equal to 1024";
                return Err(judge.no("thinking.enabled.budget_tokens", what));
            }
            if budget.is_some_and(|budget| budget >= limit) {
                let message = "`max_tokens` must be greater than `thinking.budget_tokens`.";
                return Err(judge.refuse("max_tokens", message));
            }
        }
        _ => return Err(judge.no("thinking.type", "must be enabled, disabled or adaptive")),
    }
    let cold = present(request, "temperature").and_then(Value::as_f64);
    if cold.is_some_and(|temperature| (temperature - 1.0).abs() > f64::EPSILON) {
        let message = "`temperature` may only be set to 1 when thinking is enabled.";
        return Err(judge.refuse("temperature", message));
    }
    if present(request, "top_k").is_some() {
        return Err(judge.refuse("top_k", "`top_k` must be unset when thinking is enabled."));
    }
    Ok(true)
}

/// The names of the tools that are offered.
fn tools(judge: Judge, request: &Map<String, Value>) -> Result<BTreeSet<String>, Refusal> {
    let mut names = BTreeSet::new();
    let Some(list) = present(request, "tools") else {
        return Ok(names);
    };
    for (index, tool) in judge.list(list, "tools")?.iter().enumerate() {
        let place = format!("tools[{index}]");
        let tool = judge.object(tool, &place)?;
        let own = present(tool, "type").is_none_or(|kind| kind == "custom");
        let name = if own {
            custom_tool(judge, tool, &format!("{place}.custom"))?
        } else {
            let name = judge.need(tool, &place, "name")?;
            judge.text(name, &join(&place, "name"))?.to_owned()
        };
        if !names.insert(name) {
            return Err(judge.no("tools", "Tool names must be unique."));
        }
    }
    Ok(names)
}

fn custom_tool(judge: Judge, tool: &Map<String, Value>, place: &str) -> Result<String, Refusal> {
    judge.only(tool, place, TOOL)?;
    let name = judge.name(judge.need(tool, place, "name")?, &join(place, "name"), 128)?;
    if let Some(description) = tool.get("description") {
        judge.text(description, &join(place, "description"))?;
    }
    let place = join(place, "input_schema");
    let schema = judge.object(judge.need(tool, &place, "input_schema")?, &place)?;
    if judge.need(schema, &place, "type")? != "object" {
        return Err(judge.no(&join(&place, "type"), "Input should be 'object'"));
    }
    if tool.get("strict") == Some(&Value::Bool(true)) {
        schema::check(&Value::Object(schema.clone()), Strictness::Closed)
            .map_err(|error| judge.no(&place, error))?;
    }
    Ok(name)
}

fn tool_choice(
    judge: Judge,
    request: &Map<String, Value>,
    tools: &BTreeSet<String>,
    thinks: bool,
) -> Result<(), Refusal> {
    let Some(choice) = present(request, "tool_choice") else {
        return Ok(());
    };
    let place = "tool_choice";
    if tools.is_empty() {
        let message = "tool_choice may only be specified while providing tools.";
        return Err(judge.no(place, message));
    }
    let choice = judge.object(choice, place)?;
    let kind = judge.text(judge.need(choice, place, "type")?, &join(place, "type"))?;
    let known = match kind {
        "auto" | "any" => "type disable_parallel_tool_use",
        "none" => "type",
        "tool" => "type name disable_parallel_tool_use",
        _ => return Err(judge.no(place, "type must be auto, any, tool or none")),
    };
    judge.only(choice, place, known)?;
    if kind == "tool" {
        let name = judge.text(judge.need(choice, place, "name")?, &join(place, "name"))?;
        if !tools.contains(name) {
            return Err(judge.no(place, format!("Tool '{name}' not found in provided tools")));
        }
    }
    if thinks && lists("any tool", kind) {
        let message = "Thinking may not be enabled when tool_choice forces tool use.";
        return Err(judge.refuse(place, message));
    }
    Ok(())
}

fn output_config(judge: Judge, request: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(config) = present(request, "output_config") else {
        return Ok(());
    };
    let place = "output_config";
    let config = judge.object(config, place)?;
    judge.only(config, place, "effort format task_budget")?;
    if let Some(effort) = present(config, "effort") {
        let place = join(place, "effort");
        if !lists("low medium high xhigh max", judge.text(effort, &place)?) {
            return Err(judge.no(&place, "must be low, medium, high, xhigh or max"));
        }
    }
    let Some(format) = present(config, "format") else {
        return Ok(());
    };
    let place = join(place, "format");
    let format = judge.object(format, &place)?;
    judge.only(format, &place, "type schema")?;
    if judge.need(format, &place, "type")? != "json_schema" {
        return Err(judge.no(&join(&place, "type"), "Input should be 'json_schema'"));
    }
    let schema = judge.need(format, &place, "schema")?;
    schema::check(schema, Strictness::Closed)
        .map_err(|error| judge.no(&join(&place, "schema"), error))
}

/// At most four cache breakpoints are allowed, in the whole request.
fn cache_controls(judge: Judge, request: &Map<String, Value>) -> Result<(), Refusal> {
    let blocks = ["system", "tools", "messages"]
        .iter()
        .filter_map(|key| request.get(*key));
    let count: usize = blocks.map(count_cache_controls).sum();
    if count <= 4 {
        return Ok(());
    }
    let message =
        format!("A maximum of 4 blocks with cache_control may be provided. Found {count}.");
    Err(judge.refuse("cache_control", message))
}

fn count_cache_controls(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(count_cache_controls).sum(),
        Value::Object(object) => {
            // What a schema or a tool's input calls its members is its own.
            let inside = object
                .iter()
                .filter(|(key, _)| !lists("input_schema input", key));
            let inside: usize = inside.map(|(_, value)| count_cache_controls(value)).sum();
            inside + usize::from(present(object, "cache_control").is_some())
        }
        _ => 0,
    }
}
