//! Chat completions as OpenAI and Cerebras take them: everything in the
//! request besides its messages, which are in `chat_messages`.
//!
//! Sources: <https://platform.openai.com/docs/api-reference/chat/create>,
//! <https://inference-docs.cerebras.ai/api-reference/chat-completions>, and the
//! errors that people report, named where a rule is not in a reference.

use serde_json::{Map, Value};

use crate::chat_messages;
use crate::check::{Judge, join, present};
use crate::provider::Provider;
use crate::refusal::Refusal;
use crate::schema::{self, Strictness};

/// In what the two providers differ. Names are separated by blanks.
#[derive(Debug)]
pub struct Rules {
    /// Members of the request.
    request: &'static str,
    /// Members of an assistant's message.
    pub assistant: &'static str,
    /// Members of a tool call.
    pub tool_call: &'static str,
    /// Members of the function that a call names.
    pub called: &'static str,
    /// Members of a content part, besides the one that its type names.
    pub part: &'static str,
    /// Types of content parts.
    pub parts: &'static str,
    /// Roles.
    pub roles: &'static str,
    /// The longest identifier of a tool call, in characters.
    pub longest_call_id: usize,
    /// Whether a tool's description may be null.
    null_description: bool,
}

/// The rules of OpenAI. `annotations`, `parsed` and `parsed_arguments` are not in
/// its reference, but its SDKs send messages back as they hold them, and it takes
/// them (openai-node#1161).
pub static OPENAI: Rules = Rules {
    request: "audio frequency_penalty function_call functions logit_bias logprobs \
              max_completion_tokens max_tokens messages metadata modalities model moderation n \
              parallel_tool_calls prediction presence_penalty prompt_cache_key \
              prompt_cache_options prompt_cache_retention reasoning_effort response_format \
              safety_identifier seed service_tier stop store stream stream_options temperature \
              tool_choice tools top_logprobs top_p user verbosity web_search_options",
    assistant: "role content name refusal tool_calls function_call audio annotations parsed",
    tool_call: "id type function custom",
    called: "name arguments parsed_arguments",
    part: "type prompt_cache_breakpoint",
    parts: "text image_url input_audio file refusal",
    roles: "system developer user assistant tool function",
    longest_call_id: 40,
    null_description: false,
};

/// The rules of Cerebras, which refuses whatever it does not know:
/// huggingface.js#2268, opencode#6648.
pub static CEREBRAS: Rules = Rules {
    request: "clear_thinking disable_reasoning frequency_penalty logit_bias logprobs \
              max_completion_tokens max_tokens messages min_completion_tokens min_tokens model \
              model_parameters n parallel_tool_calls prediction presence_penalty \
              prompt_cache_key reasoning_effort reasoning_format response_format seed \
              service_tier stop stream stream_options temperature tool_choice tools top_logprobs \
              top_p user",
    assistant: "role content name reasoning tool_calls",
    tool_call: "id type function index",
    called: "name arguments",
    part: "type",
    parts: "text image_url image",
    roles: "system developer user assistant tool",
    longest_call_id: usize::MAX,
    null_description: true,
};

/// Judges a request.
pub fn check(judge: Judge, request: &Map<String, Value>, rules: &Rules) -> Result<(), Refusal> {
    judge.only(request, "", rules.request)?;
    let messages = judge.list(judge.need(request, "", "messages")?, "messages")?;
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1, \
                       but got an empty array instead.";
        return Err(judge.refuse("messages", message));
    }
    chat_messages::check(judge, messages, rules)?;
    sampling(judge, request)?;
    streaming(judge, request)?;
    let tools = tools(judge, request, rules)?;
    tool_choice(judge, request, &tools)?;
    response_format(judge, request, messages)
}

fn sampling(judge: Judge, request: &Map<String, Value>) -> Result<(), Refusal> {
    judge.within(request, "temperature", &(0.0..=2.0))?;
    judge.within(request, "top_p", &(0.0..=1.0))?;
    judge.within(request, "presence_penalty", &(-2.0..=2.0))?;
    judge.within(request, "frequency_penalty", &(-2.0..=2.0))?;
    judge.positive(request, "n")?;
    let old = judge.positive(request, "max_tokens")?;
    let new = judge.positive(request, "max_completion_tokens")?;
    if old.is_some() && new.is_some() {
        let message =
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return Err(judge.refuse("max_tokens", message));
    }
    match present(request, "stop") {
        None | Some(Value::String(_)) => Ok(()),
        Some(Value::Array(list)) if list.len() <= 4 && list.iter().all(Value::is_string) => Ok(()),
        Some(_) => Err(judge.no("stop", "expected a string or an array of at most 4 strings")),
    }
}

fn streaming(judge: Judge, request: &Map<String, Value>) -> Result<(), Refusal> {
    let stream = present(request, "stream");
    if stream.is_some_and(|value| !value.is_boolean()) {
        return Err(judge.no("stream", "Input should be a valid boolean"));
    }
    let Some(options) = present(request, "stream_options") else {
        return Ok(());
    };
    let known = match judge.0 {
        Provider::OpenAi => "include_usage include_obfuscation",
        Provider::Anthropic | Provider::Cerebras => "include_usage",
    };
    judge.only(
        judge.object(options, "stream_options")?,
        "stream_options",
        known,
    )?;
    if stream == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
    Err(judge.refuse("stream_options", message))
}

/// The names of the tools that are offered.
fn tools(
    judge: Judge,
    request: &Map<String, Value>,
    rules: &Rules,
) -> Result<Vec<String>, Refusal> {
    let Some(list) = present(request, "tools") else {
        return Ok(Vec::new());
    };
    let list = judge.list(list, "tools")?;
    if list.is_empty() {
        let message = "Invalid 'tools': empty array. Expected an array with minimum length 1, but \
                       got an empty array instead.";
        return Err(judge.refuse("tools", message));
    }
    let mut names = Vec::new();
    for (index, tool) in list.iter().enumerate() {
        let place = format!("tools[{index}]");
        let tool = judge.object(tool, &place)?;
        match judge.text(judge.need(tool, &place, "type")?, &join(&place, "type"))? {
            "function" => names.push(function(judge, tool, &place, rules)?),
            "custom" if judge.0 == Provider::OpenAi => {}
            other => return Err(judge.no(&join(&place, "type"), format!("{other:?} is unknown"))),
        }
    }
    Ok(names)
}

fn function(
    judge: Judge,
    tool: &Map<String, Value>,
    place: &str,
    rules: &Rules,
) -> Result<String, Refusal> {
    judge.only(tool, place, "type function")?;
    let place = join(place, "function");
    let function = judge.object(judge.need(tool, &place, "function")?, &place)?;
    judge.only(function, &place, "name description parameters strict")?;
    let name = judge.name(
        judge.need(function, &place, "name")?,
        &join(&place, "name"),
        64,
    )?;
    match function.get("description") {
        None | Some(Value::String(_)) => {}
        Some(Value::Null) if rules.null_description => {}
        Some(_) => {
            return Err(judge.no(&join(&place, "description"), "None is not of type 'string'"));
        }
    }
    let Some(parameters) = present(function, "parameters") else {
        return Ok(name);
    };
    let place = join(&place, "parameters");
    if judge
        .object(parameters, &place)?
        .get("type")
        .is_none_or(|kind| kind != "object")
    {
        let message = format!(
            "Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \
             \"object\"'."
        );
        return Err(judge.refuse(&place, message));
    }
    if function.get("strict") == Some(&Value::Bool(true)) {
        schema::check(parameters, Strictness::ClosedAndRequired).map_err(|error| {
            judge.refuse(
                &place,
                format!("Invalid schema for function '{name}': {error}."),
            )
        })?;
    }
    Ok(name)
}

fn tool_choice(
    judge: Judge,
    request: &Map<String, Value>,
    tools: &[String],
) -> Result<(), Refusal> {
    let without_tools = present(request, "tools").is_none();
    for key in ["tool_choice", "parallel_tool_calls"] {
        if without_tools && present(request, key).is_some() && judge.0 == Provider::OpenAi {
            let message = format!("'{key}' is only allowed when 'tools' are specified.");
            return Err(judge.refuse(key, message));
        }
    }
    match present(request, "tool_choice") {
        None => Ok(()),
        Some(Value::String(name)) if ["none", "auto", "required"].contains(&name.as_str()) => {
            Ok(())
        }
        Some(Value::Object(choice))
            if choice.get("type").is_some_and(|kind| kind == "function") =>
        {
            let name = choice
                .get("function")
                .and_then(|function| function["name"].as_str());
            match name {
                Some(name) if tools.iter().any(|own| own == name) => Ok(()),
                Some(name) => {
                    Err(judge.no("tool_choice", format!("tool '{name}' is not in 'tools'")))
                }
                None => Err(judge.no("tool_choice", "function.name is missing")),
            }
        }
        Some(Value::Object(choice))
            if judge.0 == Provider::OpenAi
                && choice
                    .get("type")
                    .is_some_and(|kind| kind == "allowed_tools") =>
        {
            Ok(())
        }
        Some(_) => Err(judge.no(
            "tool_choice",
            "must be 'none', 'auto', 'required' or a tool",
        )),
    }
}

fn response_format(
    judge: Judge,
    request: &Map<String, Value>,
    messages: &[Value],
) -> Result<(), Refusal> {
    let Some(format) = present(request, "response_format") else {
        return Ok(());
    };
    let place = "response_format";
    let format = judge.object(format, place)?;
    match format.get("type").and_then(Value::as_str) {
        Some("text") => judge.only(format, place, "type"),
        Some("json_object") => {
            let text = Value::Array(messages.to_vec()).to_string().to_lowercase();
            if judge.0 != Provider::OpenAi || text.contains("json") {
                return judge.only(format, place, "type");
            }
            let message = "'messages' must contain the word 'json' in some form, to use \
                           'response_format' of type 'json_object'.";
            Err(judge.refuse("messages", message))
        }
        Some("json_schema") => {
            judge.only(format, place, "type json_schema")?;
            json_schema(judge, judge.need(format, place, "json_schema")?)
        }
        _ => Err(judge.no(place, "type must be 'text', 'json_object' or 'json_schema'")),
    }
}

fn json_schema(judge: Judge, value: &Value) -> Result<(), Refusal> {
    let place = "response_format.json_schema";
    let object = judge.object(value, place)?;
    judge.only(object, place, "name description schema strict")?;
    let name = judge.name(judge.need(object, place, "name")?, &join(place, "name"), 64)?;
    let Some(schema) = present(object, "schema") else {
        return Ok(());
    };
    let strict = object.get("strict") == Some(&Value::Bool(true));
    let root_is_object = schema.get("type").is_some_and(|kind| kind == "object");
    let checked = match (strict, root_is_object) {
        (false, _) => Ok(()),
        (true, true) => schema::check(schema, Strictness::ClosedAndRequired),
        (true, false) => Err("schema must be a JSON Schema of 'type: \"object\"'".to_owned()),
    };
    checked.map_err(|error| {
        judge.refuse(
            place,
            format!("Invalid schema for response_format '{name}': {error}."),
        )
    })
}
