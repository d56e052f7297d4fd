//! The steps that a configuration may list, each an object with one member:
//!
//! ```json
//! [ {"set-model": "m"},
//!   {"set": {"pointer": "/temperature", "json": "0.5"}},
//!   {"remove": "/user"},
//!   {"set-max-output-tokens": 100},
//!   {"set-body": "{}"},
//!   {"set-header": {"name": "x-a", "value": "b"}},
//!   {"remove-header": "x-b"},
//!   {"report-dropped": "/logit_bias"},
//!   {"note": {"key": "k", "value": "v"}},
//!   {"get": "/model"}, {"model": null}, {"max-output-tokens": null},
//!   {"header": "x-a"}, {"body": null}, {"texts": null}, {"read-note": "k"},
//!   {"find-words": ["a word"]} ]
//! ```
//!
//! `json` is a string so that a test can write JSON which is none.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::palisade::plugin::message::Request;

/// One call of the host.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    SetModel(String),
    Set { pointer: String, json: String },
    Remove(String),
    SetMaxOutputTokens(u64),
    SetBody(String),
    SetHeader { name: String, value: String },
    RemoveHeader(String),
    ReportDropped(String),
    Note { key: String, value: String },
    Get(String),
    Model(()),
    MaxOutputTokens(()),
    Header(String),
    Body(()),
    Texts(()),
    ReadNote(String),
    FindWords(Vec<String>),
}

impl Step {
    /// Makes the call and returns its outcome for the note.
    pub fn take(&self, request: &Request) -> Value {
        match self {
            Self::SetModel(model) => outcome(request.set_model(model)),
            Self::Set { pointer, json } => outcome(request.set(pointer, json)),
            Self::Remove(pointer) => outcome(request.remove(pointer)),
            Self::SetMaxOutputTokens(tokens) => outcome(request.set_max_output_tokens(*tokens)),
            Self::SetBody(body) => outcome(request.set_body(body.as_bytes())),
            Self::SetHeader { name, value } => outcome(request.set_header(name, value.as_bytes())),
            Self::RemoveHeader(name) => outcome(request.remove_header(name)),
            Self::ReportDropped(pointer) => outcome(request.report_dropped(pointer)),
            Self::Note { key, value } => outcome(request.exchange().set_note(key, value)),
            Self::Get(pointer) => json!(request.get(pointer)),
            Self::Model(()) => json!(request.model()),
            Self::MaxOutputTokens(()) => json!(request.max_output_tokens()),
            Self::Header(name) => request
                .header(name)
                .iter()
                .map(|value| lossy(value))
                .collect(),
            Self::Body(()) => json!(lossy(&request.body())),
            Self::Texts(()) => request
                .texts()
                .into_iter()
                .map(|text| json!([text.role, text.pointer, text.content]))
                .collect(),
            Self::ReadNote(key) => json!(request.exchange().note(key)),
            Self::FindWords(words) => match request.find_words(words) {
                Ok(finding) => json!([finding.words, finding.plain_ascii]),
                Err(error) => outcome(Err(error)),
            },
        }
    }
}

fn outcome(result: Result<(), String>) -> Value {
    match result {
        Ok(()) => Value::Null,
        Err(error) => json!({ "error": error }),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
