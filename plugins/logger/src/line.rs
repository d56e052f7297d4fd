//! What a line of the log looks like.
//!
//! Names and meanings are the contract's (`log-sink.entry` in
//! `wit/0.1.0/stages.wit`), in snake case; what an entry does not have is left
//! out. `time` is `started-at` in RFC 3339, and `duration_us` says its unit.

use serde::{Serialize, Serializer};

use crate::exports::palisade::plugin::log_sink::{Entry, Outcome};
use crate::time::rfc3339;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    exchange_id: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<&'a str>,
    streaming: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    request_bytes: u64,
    response_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "object")]
    notes: &'a [(String, String)],
}

/// What a line takes, in bytes, if nothing in it is unusually long.
const USUAL: usize = 512;

/// One line of JSON for each entry, each with its line feed.
pub fn render(entries: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(entries.len() * USUAL);
    for entry in entries {
        // Strings and numbers always have a JSON form, and memory takes all.
        let _ = serde_json::to_writer(&mut lines, &line(entry));
        lines.push(b'\n');
    }
    lines
}

fn line(entry: &Entry) -> Line<'_> {
    Line {
        time: rfc3339(entry.started_at),
        exchange_id: &entry.exchange_id,
        outcome: match entry.outcome {
            Outcome::Answered => "answered",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
        },
        status: entry.status,
        method: &entry.method,
        path: &entry.path,
        route: entry.route.as_deref(),
        principal: entry.principal.as_deref(),
        dialect: entry.dialect.as_deref(),
        streaming: entry.streaming,
        requested_model: entry.requested_model.as_deref(),
        model: entry.model.as_deref(),
        provider: entry.provider.as_deref(),
        duration_us: entry.duration,
        input_tokens: entry.input_tokens,
        output_tokens: entry.output_tokens,
        request_bytes: entry.request_bytes,
        response_bytes: entry.response_bytes,
        error: entry.error.as_deref(),
        notes: &entry.notes,
    }
}

/// Writes what has a name each, and no name twice, as an object.
fn object<S: Serializer>(members: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(members.iter().map(|(name, value)| (name, value)))
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::exports::palisade::plugin::log_sink::{Entry, Outcome};

    fn entry() -> Entry {
        Entry {
            exchange_id: "x-1".into(),
            started_at: 1_767_225_599_000,
            duration: 1_250,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            status: None,
            outcome: Outcome::Cancelled,
            route: None,
            principal: None,
            dialect: None,
            streaming: false,
            requested_model: None,
            model: None,
            provider: None,
            input_tokens: None,
            output_tokens: None,
            request_bytes: 7,
            response_bytes: 0,
            error: None,
            notes: vec![],
        }
    }

    fn rendered(entries: &[Entry]) -> String {
        String::from_utf8(render(entries)).unwrap()
    }

    #[test]
    fn absent_members_are_left_out() {
        assert_eq!(
            rendered(&[entry()]),
            concat!(
                r#"{"time":"2025-12-31T23:59:59.000Z","exchange_id":"x-1","outcome":"cancelled","#,
                r#""method":"POST","path":"/v1/chat/completions","streaming":false,"#,
                r#""duration_us":1250,"request_bytes":7,"response_bytes":0}"#,
                "\n"
            )
        );
        assert_eq!(rendered(&[]), "");
    }

    #[test]
    fn all_members_are_written_on_one_line() {
        let full = Entry {
            status: Some(403),
            outcome: Outcome::Denied,
            route: Some("chat".into()),
            principal: Some("team \"a\"".into()),
            dialect: Some("openai.chat".into()),
            streaming: true,
            requested_model: Some("gpt".into()),
            model: Some("llama".into()),
            provider: Some("cerebras".into()),
            input_tokens: Some(3),
            output_tokens: Some(0),
            error: Some("two\nlines".into()),
            notes: vec![("b".into(), "2".into()), ("a".into(), "1\r\n".into())],
            ..entry()
        };
        let lines = rendered(&[full, entry()]);
        assert_eq!(lines.lines().count(), 2);
        let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(line["principal"], "team \"a\"");
        assert_eq!(line["status"], 403);
        assert_eq!(line["outcome"], "denied");
        assert_eq!(line["output_tokens"], 0);
        assert_eq!(line["error"], "two\nlines");
        assert_eq!(line["notes"], serde_json::json!({"a": "1\r\n", "b": "2"}));
        assert_eq!(line.as_object().unwrap().len(), 21 - 1);
    }
}
