//! The form of the answer: OpenAI's `response_format`.
//!
//! | asked for | sent |
//! |---|---|
//! | `json_schema`, to a model that takes schemas | `output_config.format` |
//! | `json_schema`, else | a tool that must be called, whose arguments are the answer |
//! | `json_object`, and schemas that neither can carry | an instruction in `system` |
//!
//! The tool is named [`ANSWER_TOOL`], by which the decoder recognises it and
//! hands its arguments on as text. An instruction is no guarantee, so it is
//! reported. A schema with objects of any members goes to the tool even where
//! `output_config.format` exists, which would leave those objects empty.

use serde_json::{Value, json};

use crate::content;
use crate::hub::{Hub, Report};
use crate::models::Abilities;
use crate::refusal::Refusal;
use crate::schema;
use crate::tools::{Choice, Tools};

/// The tool whose arguments are the answer.
pub const ANSWER_TOOL: &str = "palisade_answer";

const FORMAT: &str = "/response_format";

/// What the form of the answer needs besides tools.
#[derive(Debug, Default)]
pub struct Output {
    /// `output_config.format`.
    pub format: Option<Value>,
    /// A text block for the end of the system prompt.
    pub instruction: Option<Value>,
}

/// Takes `response_format` and adds what it needs to the tools.
pub fn translate(hub: &mut Hub, tools: &mut Tools, model: &Abilities) -> Result<Output, Refusal> {
    let Some(format) = hub.take("response_format") else {
        return Ok(Output::default());
    };
    let kind = format.get("type").and_then(Value::as_str);
    let report = &mut hub.report;
    match kind {
        Some("text") => Ok(Output::default()),
        Some("json_object") => Ok(instruct(None, report)),
        Some("json_schema") => {
            let schema = format.get("json_schema").unwrap_or(&Value::Null);
            match schema.get("schema") {
                Some(wanted @ Value::Object(_)) => Ok(with_schema(
                    &described(wanted, schema),
                    tools,
                    model,
                    report,
                )),
                None | Some(Value::Null) => Ok(instruct(None, report)),
                Some(_) => {
                    let at = format!("{FORMAT}/json_schema/schema");
                    Err(Refusal::malformed(&at, "expected an object"))
                }
            }
        }
        Some(kind) => {
            let what = format!("anthropic has no format {kind:?}");
            Err(Refusal::unsupported(&format!("{FORMAT}/type"), &what))
        }
        None => Err(Refusal::malformed(
            &format!("{FORMAT}/type"),
            "expected a string",
        )),
    }
}

fn with_schema(
    wanted: &Value,
    tools: &mut Tools,
    model: &Abilities,
    report: &mut Report,
) -> Output {
    let constrained = schema::constrain(wanted);
    let can_force = model.forced_tools && wanted["type"] == "object";
    if model.json_schema && !(constrained.open && can_force) {
        if constrained.loosened || constrained.open {
            report.drop(format!("{FORMAT}/json_schema/schema"));
        }
        let format = json!({"type": "json_schema", "schema": constrained.schema});
        return Output {
            format: Some(format),
            instruction: None,
        };
    }
    if !can_force {
        return instruct(Some(wanted), report);
    }
    force(wanted, tools);
    Output::default()
}

/// Makes the model call the tool that takes the answer, or one of the client's
/// own first, if it has any and may use them.
fn force(wanted: &Value, tools: &mut Tools) {
    let others = !tools.definitions.is_empty() && tools.choice != Choice::None;
    tools.definitions.push(json!({
        "name": ANSWER_TOOL,
        "description": "Takes the final answer. Call it once, with the whole answer.",
        "input_schema": wanted,
    }));
    match (&tools.choice, others) {
        // The client wants one of its own tools called now.
        (Choice::Tool(_), _) => {}
        (_, true) => tools.choice = Choice::Any,
        (_, false) => tools.choice = Choice::Tool(ANSWER_TOOL.to_owned()),
    }
    if !matches!(&tools.choice, Choice::Tool(name) if name != ANSWER_TOOL) {
        tools.choice_at = FORMAT;
    }
}

fn instruct(wanted: Option<&Value>, report: &mut Report) -> Output {
    report.drop(FORMAT);
    let mut text = "Answer with one JSON object and nothing else: no other text, and no Markdown \
                    fence around it."
        .to_owned();
    if let Some(wanted) = wanted {
        text.push_str(&format!(" It must match this JSON schema: {wanted}"));
    }
    Output {
        format: None,
        instruction: content::text(text),
    }
}

/// The schema with the description that stands beside it, if it has none.
fn described(wanted: &Value, beside: &Value) -> Value {
    let mut wanted = wanted.clone();
    if let Some(text) = beside.get("description").filter(|text| text.is_string())
        && wanted.get("description").is_none()
    {
        wanted["description"] = text.clone();
    }
    wanted
}
