//! The message in flight: what is known of an exchange, its request, and the
//! head of the upstream's answer.
//!
//! A plugin's call works on a clone (`plugin::call`), and the clone replaces
//! the original only if the call returns `ok`. So clones are cheap: what is
//! large is shared, and what a call changes is its own.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::dialect::{self, Dialect};
use crate::json::Json;

/// The most notes an exchange holds, and the longest key and value, in bytes:
/// notes are for facts, and go into every record.
const MAX_NOTES: usize = 32;
const MAX_NOTE_KEY: usize = 64;
const MAX_NOTE_VALUE: usize = 4 << 10;

/// The most parameters that are reported as dropped: they travel in a header.
const MAX_DROPPED: usize = 64;

/// What the host knew of an exchange before any plugin ran.
#[derive(Debug)]
pub struct Facts {
    pub id: String,
    pub route: String,
    /// The name of the client key that was presented.
    pub principal: Option<String>,
    /// The dialect that the client speaks; none on a path that is passed
    /// through.
    pub dialect: Option<&'static dyn Dialect>,
    /// Whether the client asked for a stream.
    pub streaming: bool,
    /// The model that the client asked for.
    pub requested_model: Option<String>,
}

/// One request with its answer, as plugins see it: facts, and notes.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub facts: Arc<Facts>,
    pub notes: Notes,
}

/// What plugins leave for one another and for the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes(Vec<(String, String)>);

impl Notes {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// Sets a note, or says which bound it would break.
    pub fn set(&mut self, key: String, value: String) -> Result<(), String> {
        if key.is_empty() || key.len() > MAX_NOTE_KEY {
            return Err(format!("a note's key has 1 to {MAX_NOTE_KEY} bytes"));
        }
        if value.len() > MAX_NOTE_VALUE {
            return Err(format!("a note's value has at most {MAX_NOTE_VALUE} bytes"));
        }
        if let Some(note) = self.0.iter_mut().find(|(k, _)| *k == key) {
            note.1 = value;
            return Ok(());
        }
        if self.0.len() >= MAX_NOTES {
            return Err(format!("an exchange holds at most {MAX_NOTES} notes"));
        }
        self.0.push((key, value));
        Ok(())
    }

    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// The request line, as the client sent it.
#[derive(Debug)]
pub struct Target {
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
}

/// A request on its way to a provider.
#[derive(Debug, Clone)]
pub struct Request {
    pub target: Arc<Target>,
    /// Without credentials and without what belongs to one connection.
    pub headers: Arc<HeaderMap>,
    pub body: Json,
    /// The dialect that the body is written in now.
    pub dialect: Option<&'static dyn Dialect>,
    /// Pointers to what could not be carried over to the provider.
    pub dropped: Vec<String>,
}

impl Request {
    /// The model that the body names.
    pub fn model(&self) -> Option<String> {
        self.body.string("/model")
    }

    /// Its dialect, and its body as far as it holds settings; none if the host
    /// cannot read it.
    pub fn settings(&self) -> Option<(&'static dyn Dialect, &serde_json::Value)> {
        let settings = self.body.part(&dialect::READ_SETTINGS);
        Some((self.dialect?, Some(settings).filter(|s| s.is_object())?))
    }

    /// The texts that a model will read; none if the host cannot tell them.
    pub fn texts(&self) -> Vec<dialect::Text<'_>> {
        let read = self.dialect.zip(self.body.root());
        read.map(|(dialect, body)| dialect.texts(body))
            .unwrap_or_default()
    }

    /// The same for whoever asks only what they say.
    pub fn contents(&self) -> dialect::Texts<'_> {
        let read = self.dialect.zip(self.body.root());
        read.map_or_else(dialect::Texts::without_pointers, |(dialect, body)| {
            dialect.contents(body)
        })
    }

    pub fn set_body(&mut self, body: Bytes) {
        self.body = Json::new(body);
    }

    pub fn set_header(&mut self, name: &str, value: Vec<u8>) -> Result<(), String> {
        let name = plugin_header(name)?;
        let value = HeaderValue::from_bytes(&value)
            .map_err(|_| format!("the value of header \"{name}\" holds a control character"))?;
        Arc::make_mut(&mut self.headers).insert(name, value);
        Ok(())
    }

    pub fn remove_header(&mut self, name: &str) -> Result<(), String> {
        let name = plugin_header(name)?;
        Arc::make_mut(&mut self.headers).remove(name);
        Ok(())
    }

    pub fn report_dropped(&mut self, pointer: String) -> Result<(), String> {
        if self.dropped.len() >= MAX_DROPPED || pointer.len() > MAX_NOTE_KEY {
            return Err(format!(
                "at most {MAX_DROPPED} pointers of {MAX_NOTE_KEY} bytes"
            ));
        }
        if !self.dropped.contains(&pointer) {
            self.dropped.push(pointer);
        }
        Ok(())
    }
}

/// The head of the upstream's answer.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: Arc<HeaderMap>,
    /// Whether frames of a stream follow, or one whole body.
    pub streamed: bool,
}

/// Header fields that carry a client's credentials. They never reach a plugin,
/// a log or a record.
pub const CREDENTIAL_HEADERS: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "set-cookie",
];

/// Header fields that belong to one connection or to the framing of a body
/// (RFC 9110, section 7.6.1), which the host writes by itself.
pub const CONNECTION_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "accept-encoding",
];

/// A header field that a plugin may set: well-formed, and not the host's own.
pub fn plugin_header(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        format!(
            "\"{}\" is not a header field's name",
            name.escape_debug().take(64).collect::<String>()
        )
    })?;
    let owned = |names: &[&str]| names.contains(&parsed.as_str());
    if owned(&CREDENTIAL_HEADERS) || owned(&CONNECTION_HEADERS) {
        return Err(format!("header \"{parsed}\" belongs to the host"));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded() {
        let mut notes = Notes::default();
        for i in 0..MAX_NOTES {
            notes.set(format!("k{i}"), "v".into()).unwrap();
        }
        notes.set("k0".into(), "again".into()).unwrap();
        assert_eq!(notes.get("k0"), Some("again"));
        assert!(notes.set("one-more".into(), "v".into()).is_err());
        assert!(
            Notes::default()
                .set("k".into(), "v".repeat(MAX_NOTE_VALUE + 1))
                .is_err()
        );
        assert!(Notes::default().set(String::new(), String::new()).is_err());
    }

    #[test]
    fn a_plugin_cannot_set_what_is_the_hosts() {
        for name in [
            "Authorization",
            "x-api-key",
            "host",
            "Content-Length",
            "a b",
            "",
            "x\r\ny",
        ] {
            assert!(plugin_header(name).is_err(), "{name:?}");
        }
        assert!(plugin_header("X-Team").is_ok());
    }
}
