//! How an answer is played: its status, its pace, where it is cut, where it
//! breaks off. A scenario's `scenario.json` says it for one transcript, and a
//! control request can say otherwise while the server runs.
//!
//! Reading the settings is here; acting on them is in `played` and `server`.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::limits;

/// Where an answer's body is cut into chunks. Each is one chunk of HTTP's
/// chunked coding, so a client that decodes it sees the same boundaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// All of it at once.
    Whole,
    /// After each blank line: one server-sent event a chunk.
    Events,
    /// Every byte by itself.
    Bytes,
    /// At these offsets, in bytes from the beginning, in ascending order.
    At(Vec<usize>),
    /// In pieces of 1 to `longest` bytes, the same for the same seed.
    Random {
        /// Where the sequence of lengths begins.
        seed: u64,
        /// In bytes, at least 1.
        longest: usize,
    },
}

/// What happens where an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The connection is reset (TCP RST).
    Reset,
    /// The connection is closed (TCP FIN) although the body is not over.
    Close,
    /// The body ends as HTTP wants it, but the provider's transcript does not.
    End,
}

/// An answer that breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Bytes of the body that are sent before.
    pub after: usize,
    /// What happens then.
    pub how: How,
}

/// How an answer is played. What is none is left as it would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Play {
    /// The HTTP status; 200 if none.
    pub status: Option<u16>,
    /// Header fields to add to the provider's own, or to replace them.
    pub headers: Vec<(String, String)>,
    /// The wait before the head of the answer.
    pub head_delay: Option<Duration>,
    /// The wait between chunks.
    pub chunk_delay: Option<Duration>,
    /// Where the body is cut; [`Chunks::Events`] for a stream and
    /// [`Chunks::Whole`] for a body if none.
    pub chunks: Option<Chunks>,
    /// Where the answer breaks off.
    pub abort: Option<Abort>,
    /// Whether no answer comes at all, for [`limits::DELAY`].
    pub hang: Option<bool>,
}

impl Play {
    /// These settings where they say something, and `base` where they do not.
    pub fn over(self, base: &Play) -> Play {
        let mut headers = base.headers.clone();
        headers.retain(|(name, _)| !self.headers.iter().any(|(own, _)| own == name));
        headers.extend(self.headers);
        Play {
            status: self.status.or(base.status),
            headers,
            head_delay: self.head_delay.or(base.head_delay),
            chunk_delay: self.chunk_delay.or(base.chunk_delay),
            chunks: self.chunks.or_else(|| base.chunks.clone()),
            abort: self.abort.or(base.abort),
            hang: self.hang.or(base.hang),
        }
    }

    /// Takes the settings out of a JSON object and leaves what else is in it.
    /// The error names the member and says what it should be.
    pub fn take(object: &mut Map<String, Value>) -> Result<Play, String> {
        Ok(Play {
            status: object
                .remove("status")
                .map(|value| status(&value))
                .transpose()?,
            headers: object
                .remove("headers")
                .map_or(Ok(Vec::new()), |value| headers(&value))?,
            head_delay: delay(object, "head_delay_ms")?,
            chunk_delay: delay(object, "chunk_delay_ms")?,
            chunks: object
                .remove("chunks")
                .map(|value| chunks(&value))
                .transpose()?,
            abort: object
                .remove("abort")
                .map(|value| abort(&value))
                .transpose()?,
            hang: object
                .remove("hang")
                .map(|value| value.as_bool().ok_or("hang: must be true or false"))
                .transpose()?,
        })
    }

    /// Reads an object that holds settings and nothing else.
    pub fn read(value: Value) -> Result<Play, String> {
        let Value::Object(mut object) = value else {
            return Err("must be an object".to_owned());
        };
        let play = Play::take(&mut object)?;
        nothing_left(&object)?;
        Ok(play)
    }
}

/// An error if the object still has a member: one that nobody knows.
pub fn nothing_left(object: &Map<String, Value>) -> Result<(), String> {
    match object.keys().next() {
        None => Ok(()),
        Some(key) => Err(format!("{key}: unknown")),
    }
}

fn status(value: &Value) -> Result<u16, String> {
    value
        .as_u64()
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| (200..=599).contains(number) && StatusCode::from_u16(*number).is_ok())
        .ok_or_else(|| "status: must be a number from 200 to 599".to_owned())
}

fn headers(value: &Value) -> Result<Vec<(String, String)>, String> {
    let object = value.as_object().ok_or("headers: must be an object")?;
    if object.len() > limits::HEADERS {
        return Err(format!("headers: at most {} are allowed", limits::HEADERS));
    }
    let mut fields = Vec::new();
    for (name, value) in object {
        let text = value
            .as_str()
            .ok_or_else(|| format!("headers/{name}: must be a string"))?;
        HeaderName::try_from(name).map_err(|error| format!("headers/{name}: {error}"))?;
        HeaderValue::try_from(text).map_err(|error| format!("headers/{name}: {error}"))?;
        fields.push((name.to_ascii_lowercase(), text.to_owned()));
    }
    Ok(fields)
}

fn delay(object: &mut Map<String, Value>, key: &str) -> Result<Option<Duration>, String> {
    let Some(value) = object.remove(key) else {
        return Ok(None);
    };
    value
        .as_u64()
        .map(Duration::from_millis)
        .filter(|delay| *delay <= limits::DELAY)
        .map(Some)
        .ok_or_else(|| {
            format!(
                "{key}: must be milliseconds up to {}",
                limits::DELAY.as_millis()
            )
        })
}

fn chunks(value: &Value) -> Result<Chunks, String> {
    let wrong = || {
        "chunks: must be \"whole\", \"events\", \"bytes\", {\"at\": [offsets, ascending]} or \
         {\"seed\": number, \"longest\": number}"
            .to_owned()
    };
    match value {
        Value::String(name) => match name.as_str() {
            "whole" => Ok(Chunks::Whole),
            "events" => Ok(Chunks::Events),
            "bytes" => Ok(Chunks::Bytes),
            _ => Err(wrong()),
        },
        Value::Object(object) if object.len() == 1 => {
            let list = object
                .get("at")
                .and_then(Value::as_array)
                .ok_or_else(wrong)?;
            let offsets: Option<Vec<usize>> = list.iter().map(as_usize).collect();
            let offsets = offsets.ok_or_else(wrong)?;
            if offsets.len() > limits::CHUNKS || !offsets.is_sorted_by(|one, two| one < two) {
                return Err(wrong());
            }
            Ok(Chunks::At(offsets))
        }
        Value::Object(object) if object.len() == 2 => {
            let seed = object
                .get("seed")
                .and_then(Value::as_u64)
                .ok_or_else(wrong)?;
            let longest = object.get("longest").and_then(as_usize).ok_or_else(wrong)?;
            if longest == 0 {
                return Err(wrong());
            }
            Ok(Chunks::Random { seed, longest })
        }
        _ => Err(wrong()),
    }
}

fn abort(value: &Value) -> Result<Abort, String> {
    let wrong =
        || "abort: must be {\"after\": bytes, \"how\": \"reset\", \"close\" or \"end\"}".to_owned();
    let object = value
        .as_object()
        .filter(|object| object.len() == 2)
        .ok_or_else(wrong)?;
    let after = object.get("after").and_then(as_usize).ok_or_else(wrong)?;
    let how = match object.get("how").and_then(Value::as_str) {
        Some("reset") => How::Reset,
        Some("close") => How::Close,
        Some("end") => How::End,
        _ => return Err(wrong()),
    };
    Ok(Abort { after, how })
}

fn as_usize(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_setting_is_read() {
        let play = Play::read(json!({
            "status": 429, "headers": {"Retry-After": "7"}, "head_delay_ms": 1,
            "chunk_delay_ms": 2, "chunks": {"seed": 3, "longest": 4},
            "abort": {"after": 5, "how": "reset"}, "hang": true,
        }))
        .unwrap();
        assert_eq!(
            play,
            Play {
                status: Some(429),
                headers: vec![("retry-after".to_owned(), "7".to_owned())],
                head_delay: Some(Duration::from_millis(1)),
                chunk_delay: Some(Duration::from_millis(2)),
                chunks: Some(Chunks::Random {
                    seed: 3,
                    longest: 4
                }),
                abort: Some(Abort {
                    after: 5,
                    how: How::Reset
                }),
                hang: Some(true),
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (settings, name) in [
            (json!({"status": 99}), "status"),
            (json!({"headers": {"a b": "c"}}), "headers/a b"),
            (json!({"head_delay_ms": 600_001}), "head_delay_ms"),
            (json!({"chunks": "words"}), "chunks"),
            (json!({"chunks": {"at": [3, 3]}}), "chunks"),
            (json!({"chunks": {"seed": 1, "longest": 0}}), "chunks"),
            (json!({"abort": {"after": 1}}), "abort"),
            (json!({"hang": 1}), "hang"),
            (json!({"delay": 1}), "delay"),
        ] {
            let error = Play::read(settings).unwrap_err();
            assert!(error.starts_with(name), "{error} names {name}");
        }
    }

    #[test]
    fn an_override_says_only_what_it_says() {
        let base = Play::read(json!({"status": 429, "headers": {"retry-after": "7", "x": "1"}}));
        let own = Play::read(json!({"headers": {"x": "2"}, "hang": true}));
        let both = own.unwrap().over(&base.unwrap());
        assert_eq!(both.status, Some(429));
        assert_eq!(both.hang, Some(true));
        assert_eq!(
            both.headers,
            [("retry-after", "7"), ("x", "2")].map(|(name, value)| (name.into(), value.into()))
        );
    }
}
