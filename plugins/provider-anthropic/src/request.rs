//! A request in the hub dialect as a request to Anthropic's Messages API.
//!
//! This is the table of contents of the translation: each of OpenAI's members
//! is taken here or in the module that is named, and what is left is reported
//! (`hub.rs`). Called by `lib.rs`.

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::hub::{Hub, Report};
use crate::messages;
use crate::output;
use crate::refusal::Refusal;
use crate::sampling;
use crate::thinking;
use crate::tools;

/// Anthropic's bound on `metadata.user_id`, in characters.
const MAX_USER_ID: usize = 256;

/// A translated request.
#[derive(Debug)]
pub struct Translation {
    pub body: Value,
    pub report: Report,
}

/// Translates a request for the given API version.
pub fn translate(body: &[u8], config: &Config, version: &str) -> Result<Translation, Refusal> {
    let mut hub = Hub::parse(body)?;
    let name = hub.take_text("model")?.filter(|model| !model.is_empty());
    let name = name.ok_or_else(|| Refusal::malformed("/model", "expected the name of a model"))?;
    refuse_choices(&mut hub)?;
    let model = config.abilities(&name);

    let mut conversation = messages::translate(&mut hub, model.system_messages)?;
    let mut tools = tools::translate(&mut hub, model.json_schema)?;
    let output = output::translate(&mut hub, &mut tools, &model)?;
    conversation.system.extend(output.instruction);
    tools.define_called(&conversation.called_tools());
    if !model.forced_tools {
        tools.relax(&mut hub.report);
    }
    let interrupted = conversation.goes_on_without_thinking();
    let plan = thinking::plan(&mut hub, &mut tools, interrupted, &model, config)?;
    let allowed = sampling::allowed(model.sampling, version);
    let sampling = sampling::translate(&mut hub, allowed, plan.thinks())?;

    let mut body = Members::default();
    body.add("model", Some(name.into()));
    body.add("max_tokens", Some(plan.max_tokens.into()));
    body.add(
        "stream",
        hub.take_bool("stream")?
            .filter(|stream| *stream)
            .map(Value::from),
    );
    body.add("system", conversation.system_member());
    let turns = conversation
        .turns
        .into_iter()
        .map(messages::Turn::into_message);
    body.add("messages", Some(turns.collect()));
    body.add("tool_choice", tools.choice_member());
    body.add(
        "tools",
        Some(tools.definitions.into()).filter(|tools| tools != &json!([])),
    );
    body.add("thinking", plan.thinking);
    body.add("output_config", output_config(plan.effort, output.format));
    body.0.extend(sampling);
    body.add("stop_sequences", stop_sequences(&mut hub)?);
    body.add("metadata", metadata(&mut hub)?);
    body.add("service_tier", service_tier(&mut hub)?);
    body.add("cache_control", hub.take("cache_control"));
    Ok(Translation {
        body: body.0.into(),
        report: hub.into_report(),
    })
}

/// The body, in the order in which members were added.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn add(&mut self, name: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value);
        }
    }
}

/// Anthropic gives one answer only, and one is not what `n` asks for.
fn refuse_choices(hub: &mut Hub) -> Result<(), Refusal> {
    match hub.take_count("n")? {
        None | Some(1) => Ok(()),
        Some(_) => Err(Refusal::unsupported(
            "/n",
            "anthropic gives one choice only",
        )),
    }
}

fn output_config(effort: Option<&str>, format: Option<Value>) -> Option<Value> {
    let mut config = Members::default();
    config.add("effort", effort.map(Value::from));
    config.add("format", format);
    (!config.0.is_empty()).then(|| config.0.into())
}

/// OpenAI's string or list. Anthropic refuses sequences of white space only
/// (litellm#7484).
fn stop_sequences(hub: &mut Hub) -> Result<Option<Value>, Refusal> {
    let (list, single) = match hub.take("stop") {
        None => return Ok(None),
        Some(Value::Array(list)) => (list, false),
        Some(one) => (vec![one], true),
    };
    let mut sequences = Vec::new();
    for (index, sequence) in list.into_iter().enumerate() {
        let at = if single {
            "/stop".to_owned()
        } else {
            format!("/stop/{index}")
        };
        match sequence.as_str() {
            None => return Err(Refusal::malformed(&at, "expected a string")),
            Some(text) if text.trim().is_empty() => hub.report.drop(at),
            Some(_) => sequences.push(sequence),
        }
    }
    Ok((!sequences.is_empty()).then(|| sequences.into()))
}

/// `user`, or the name that OpenAI has given it since.
fn metadata(hub: &mut Hub) -> Result<Option<Value>, Refusal> {
    let user = hub.take_text("user")?.filter(|user| !user.is_empty());
    let (at, id) = match user {
        Some(user) => ("/user", Some(user)),
        None => ("/safety_identifier", hub.take_text("safety_identifier")?),
    };
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    if id.chars().count() > MAX_USER_ID {
        hub.report.drop(at);
        return Ok(None);
    }
    Ok(Some(json!({"user_id": id})))
}

/// "auto" is the best capacity that there is, "standard_only" the default one.
fn service_tier(hub: &mut Hub) -> Result<Option<Value>, Refusal> {
    let tier = hub.take_text("service_tier")?;
    Ok(match tier.as_deref() {
        Some("auto" | "priority") => Some("auto".into()),
        Some("default" | "standard_only") => Some("standard_only".into()),
        None => None,
        Some(_) => {
            hub.report.drop("/service_tier");
            None
        }
    })
}
