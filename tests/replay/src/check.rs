//! Whether a request is one that the real provider would take.
//!
//! This module reads what all providers have in common and hands the rest to
//! `chat` (OpenAI, Cerebras) or `messages` (Anthropic). The rules are those of
//! the providers' API references and of the errors that people report; a
//! request that breaks one is answered as the provider answers it. They are
//! stricter than a provider where it is lenient only by accident: a member
//! that is no part of its API is always refused, because a gateway that lets
//! one through has leaked a member of its own or of another dialect.

use std::ops::RangeInclusive;

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::chat;
use crate::messages;
use crate::provider::Provider;
use crate::refusal::Refusal;
use crate::transcripts::Transcripts;

/// What a well-formed request asks for.
#[derive(Debug)]
pub struct Asked {
    /// Its `model`, which names the scenario, by itself or behind a real one.
    pub model: String,
    /// Whether a stream is asked for.
    pub streaming: bool,
    /// Whether a usage chunk is asked for.
    pub usage: bool,
    /// The whole body.
    pub json: Value,
}

/// Judges the body of a chat, and the header fields that belong to it.
pub fn body(
    provider: Provider,
    headers: &HeaderMap,
    bytes: &[u8],
    transcripts: &Transcripts,
) -> Result<Asked, Refusal> {
    let judge = Judge(provider);
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(judge.no("content-type", "must be application/json"));
    }
    let json: Value =
        serde_json::from_slice(bytes).map_err(|error| Refusal::not_json(provider, &error))?;
    let object = judge.object(&json, "body")?;
    let model = judge.need(object, "", "model")?;
    let model = judge.text(model, "model")?.to_owned();
    match provider {
        Provider::OpenAi => chat::check(judge, object, &chat::OPENAI)?,
        Provider::Cerebras => chat::check(judge, object, &chat::CEREBRAS)?,
        Provider::Anthropic => {
            if headers.get("anthropic-version").is_none() {
                return Err(judge.no("anthropic-version", "header is required"));
            }
            messages::check(judge, object, transcripts)?;
        }
    }
    let streaming = object.get("stream") == Some(&Value::Bool(true));
    let usage = json.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
    Ok(Asked {
        model,
        streaming,
        usage,
        json,
    })
}

/// Looks at JSON with a provider's eyes. A place is written as OpenAI does,
/// `messages[1].content`; the empty place is the body.
#[derive(Clone, Copy, Debug)]
pub struct Judge(pub Provider);

impl Judge {
    /// A refusal of what stands at a place.
    pub fn no(self, place: &str, what: impl AsRef<str>) -> Refusal {
        let what = what.as_ref();
        let message = match self.0 {
            Provider::OpenAi => format!("Invalid value for '{place}': {what}."),
            Provider::Anthropic | Provider::Cerebras => {
                format!("{}: {what}", place.replace('[', ".").replace(']', ""))
            }
        };
        Refusal::invalid(self.0, place, message)
    }

    /// A refusal of the request as a whole, in the provider's own words.
    pub fn refuse(self, place: &str, message: impl Into<String>) -> Refusal {
        Refusal::invalid(self.0, place, message.into())
    }

    /// A member that must be there and not null.
    pub fn need<'json>(
        self,
        object: &'json Map<String, Value>,
        place: &str,
        key: &str,
    ) -> Result<&'json Value, Refusal> {
        present(object, key).ok_or_else(|| self.no(&join(place, key), "Field required"))
    }

    /// A string.
    pub fn text<'json>(self, value: &'json Value, place: &str) -> Result<&'json str, Refusal> {
        value
            .as_str()
            .ok_or_else(|| self.no(place, "Input should be a valid string"))
    }

    /// A list.
    pub fn list<'json>(self, value: &'json Value, place: &str) -> Result<&'json [Value], Refusal> {
        let list = value
            .as_array()
            .ok_or_else(|| self.no(place, "Input should be a valid list"));
        list.map(Vec::as_slice)
    }

    /// An object.
    pub fn object<'json>(
        self,
        value: &'json Value,
        place: &str,
    ) -> Result<&'json Map<String, Value>, Refusal> {
        value
            .as_object()
            .ok_or_else(|| self.no(place, "Input should be a valid dictionary"))
    }

    /// An object that has only members which the provider knows: their names,
    /// separated by blanks.
    pub fn only(
        self,
        object: &Map<String, Value>,
        place: &str,
        known: &str,
    ) -> Result<(), Refusal> {
        match object.keys().find(|key| !lists(known, key)) {
            None => Ok(()),
            Some(key) => Err(Refusal::unknown_member(self.0, &join(place, key))),
        }
    }

    /// A number within a range, if it is there.
    pub fn within(
        self,
        object: &Map<String, Value>,
        key: &str,
        range: &RangeInclusive<f64>,
    ) -> Result<(), Refusal> {
        let Some(value) = present(object, key) else {
            return Ok(());
        };
        let number = value
            .as_f64()
            .ok_or_else(|| self.no(key, "Input should be a number"))?;
        if range.contains(&number) {
            return Ok(());
        }
        Err(self.no(
            key,
            format!("must be between {} and {}", range.start(), range.end()),
        ))
    }

    /// A positive integer, if it is there.
    pub fn positive(self, object: &Map<String, Value>, key: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = present(object, key) else {
            return Ok(None);
        };
        let number = value.as_u64().filter(|number| *number > 0);
        number
            .map(Some)
            .ok_or_else(|| self.no(key, "must be an integer of at least 1"))
    }

    /// A name of a tool or a schema: letters, digits, `_` and `-`, up to
    /// `longest` of them.
    pub fn name(self, value: &Value, place: &str, longest: usize) -> Result<String, Refusal> {
        let name = self.text(value, place)?;
        if is_name(name) && name.len() <= longest {
            return Ok(name.to_owned());
        }
        Err(self.no(
            place,
            format!("String should match pattern '^[a-zA-Z0-9_-]{{1,{longest}}}$'"),
        ))
    }
}

/// The member, unless it is absent or null.
pub fn present<'json>(object: &'json Map<String, Value>, key: &str) -> Option<&'json Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// The place of a member of what stands at a place.
pub fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

/// Whether a name is among names that are separated by blanks.
pub fn lists(names: &str, name: &str) -> bool {
    names.split(' ').any(|own| own == name)
}

/// Whether it is a link that a provider would fetch.
pub fn is_link(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Whether it is not empty and has only letters, digits, `_` and `-`.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Whether it is base64 in the standard alphabet (RFC 4648, section 4), padded
/// and not empty.
pub fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    !digits.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(digit)
}
