//! The messages of a chat completion: who says what, and that each tool call
//! is answered right behind it.
//!
//! `chat` calls it, for OpenAI and Cerebras.

use serde_json::{Map, Value};

use crate::chat::Rules;
use crate::check::{Judge, is_base64, is_link, is_name, join, lists, present};
use crate::refusal::Refusal;

/// Judges the messages one by one and in their order.
pub fn check(judge: Judge, messages: &[Value], rules: &Rules) -> Result<(), Refusal> {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let place = format!("messages[{index}]");
        let message = judge.object(message, &place)?;
        let role = judge.text(judge.need(message, &place, "role")?, &join(&place, "role"))?;
        if !lists(rules.roles, role) {
            let known = rules.roles.replace(' ', "', '");
            return Err(judge.no(&join(&place, "role"), format!("must be one of '{known}'")));
        }
        if role == "tool" {
            let id = tool_result(judge, message, &place, rules)?;
            let Some(known) = open.iter().position(|own| *own == id) else {
                let message = "Invalid parameter: messages with role 'tool' must be a response to \
                               a preceeding message with 'tool_calls'.";
                return Err(judge.refuse(&join(&place, "role"), message));
            };
            open.remove(known);
            continue;
        }
        all_answered(judge, &open, &place)?;
        match role {
            "assistant" => open = assistant(judge, message, &place, rules)?,
            "function" => {}
            _ => spoken(judge, message, (&place, role), rules)?,
        }
    }
    all_answered(judge, &open, "messages")
}

fn all_answered(judge: Judge, open: &[&str], place: &str) -> Result<(), Refusal> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to \
         each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(judge.refuse(place, message))
}

/// A message of the system, a developer or a user.
fn spoken(
    judge: Judge,
    message: &Map<String, Value>,
    (place, role): (&str, &str),
    rules: &Rules,
) -> Result<(), Refusal> {
    judge.only(message, place, "role content name")?;
    let content = judge.need(message, place, "content")?;
    let kinds = if role == "user" { rules.parts } else { "text" };
    self::content(
        judge,
        content,
        (&join(place, "content"), role),
        (kinds, rules),
    )
}

/// The identifiers of the calls that an assistant's message makes.
fn assistant<'json>(
    judge: Judge,
    message: &'json Map<String, Value>,
    place: &str,
    rules: &Rules,
) -> Result<Vec<&'json str>, Refusal> {
    judge.only(message, place, rules.assistant)?;
    match present(message, "content") {
        Some(content) => {
            let content_place = join(place, "content");
            let kinds = ("text refusal", rules);
            self::content(judge, content, (&content_place, "assistant"), kinds)?;
        }
        None => {
            let other = ["tool_calls", "function_call", "refusal", "audio"];
            if !other.iter().any(|key| present(message, key).is_some()) {
                return Err(judge.no(&join(place, "content"), "expected a string, got null"));
            }
        }
    }
    let Some(calls) = present(message, "tool_calls") else {
        return Ok(Vec::new());
    };
    let place = join(place, "tool_calls");
    let calls = judge.list(calls, &place)?;
    if calls.is_empty() {
        let message = format!(
            "Invalid '{place}': empty array. Expected an array with minimum length 1, but got an \
             empty array instead."
        );
        return Err(judge.refuse(&place, message));
    }
    let with_places = calls.iter().enumerate();
    with_places
        .map(|(index, call)| tool_call(judge, call, (&place, index), rules))
        .collect()
}

fn tool_call<'json>(
    judge: Judge,
    call: &'json Value,
    (place, index): (&str, usize),
    rules: &Rules,
) -> Result<&'json str, Refusal> {
    let place = format!("{place}[{index}]");
    let call = judge.object(call, &place)?;
    judge.only(call, &place, rules.tool_call)?;
    let id_place = join(&place, "id");
    let id = judge.text(judge.need(call, &place, "id")?, &id_place)?;
    if id.is_empty() || id.chars().count() > rules.longest_call_id {
        let message = format!(
            "Invalid '{id_place}': string too long. Expected a string with maximum length {}, but \
             got a string with length {} instead.",
            rules.longest_call_id,
            id.chars().count()
        );
        return Err(judge.refuse(&id_place, message));
    }
    if judge.need(call, &place, "type")? != "function" {
        return Ok(id);
    }
    let place = join(&place, "function");
    let function = judge.object(judge.need(call, &place, "function")?, &place)?;
    judge.only(function, &place, rules.called)?;
    let name = judge.text(judge.need(function, &place, "name")?, &join(&place, "name"))?;
    if !is_name(name) {
        return Err(judge.no(&join(&place, "name"), "must match '^[a-zA-Z0-9_-]+$'"));
    }
    judge.text(
        judge.need(function, &place, "arguments")?,
        &join(&place, "arguments"),
    )?;
    Ok(id)
}

/// The identifier of the call whose result a message holds. Results are text:
/// an image is refused in every role but the user's.
fn tool_result<'json>(
    judge: Judge,
    message: &'json Map<String, Value>,
    place: &str,
    rules: &Rules,
) -> Result<&'json str, Refusal> {
    judge.only(message, place, "role content tool_call_id name")?;
    let content = judge.need(message, place, "content")?;
    self::content(
        judge,
        content,
        (&join(place, "content"), "tool"),
        ("text", rules),
    )?;
    let id = judge.need(message, place, "tool_call_id")?;
    judge.text(id, &join(place, "tool_call_id"))
}

fn content(
    judge: Judge,
    content: &Value,
    (place, role): (&str, &str),
    (kinds, rules): (&str, &Rules),
) -> Result<(), Refusal> {
    if content.is_string() {
        return Ok(());
    }
    let parts = content
        .as_array()
        .filter(|parts| !parts.is_empty())
        .ok_or_else(|| judge.no(place, "expected a string or a non-empty array of objects"))?;
    for (index, part) in parts.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let part = judge.object(part, &place)?;
        let kind = judge.text(judge.need(part, &place, "type")?, &join(&place, "type"))?;
        if !lists(kinds, kind) {
            let message = format!(
                "Invalid '{place}'. Content of type '{kind}' is not allowed for messages with \
                 role '{role}'."
            );
            return Err(judge.refuse(&place, message));
        }
        judge.only(part, &place, &format!("{} {kind}", rules.part))?;
        let value = judge.need(part, &place, kind)?;
        match kind {
            "text" | "refusal" => judge.text(value, &join(&place, kind)).map(drop)?,
            "image_url" => image(judge, value, &join(&place, kind))?,
            "file" => file(judge, value, &join(&place, kind))?,
            _ => {}
        }
    }
    Ok(())
}

fn image(judge: Judge, value: &Value, place: &str) -> Result<(), Refusal> {
    let image = judge.object(value, place)?;
    judge.only(image, place, "url detail")?;
    let url = judge.text(judge.need(image, place, "url")?, &join(place, "url"))?;
    let pictures = ["image/png", "image/jpeg", "image/gif", "image/webp"];
    if is_link(url) || data_url(url).is_some_and(|(kind, _)| pictures.contains(&kind)) {
        return Ok(());
    }
    Err(judge.no(
        place,
        "expected a link or a data URL of a PNG, JPEG, GIF or WEBP image",
    ))
}

fn file(judge: Judge, value: &Value, place: &str) -> Result<(), Refusal> {
    let file = judge.object(value, place)?;
    judge.only(file, place, "filename file_data file_id")?;
    let data = present(file, "file_data").and_then(Value::as_str);
    if data.is_some_and(|url| data_url(url).is_some()) || present(file, "file_id").is_some() {
        return Ok(());
    }
    Err(judge.no(place, "expected a file_id or a data URL as file_data"))
}

/// The media type and the base64 text of a data URL (RFC 2397).
fn data_url(url: &str) -> Option<(&str, &str)> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    is_base64(data).then_some((kind, data))
}
