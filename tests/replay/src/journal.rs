//! What was asked, and how each answer ended: the last requests, kept for
//! tests that assert what a gateway forwarded and that it hung up when its
//! client did.
//!
//! `server` opens an entry before it answers, and the answer carries the entry
//! with it; an entry that is dropped before it was ended tells that the peer
//! closed the connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use serde_json::{Map, Value, json};

use crate::limits;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All of it was handed over, or the scenario broke it off.
    Answered,
    /// The peer closed the connection before.
    Closed,
}

/// A request, and what became of its answer.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its number: 1 for the first request of this server.
    pub number: u64,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without the question mark; none if there is none.
    pub query: Option<String>,
    /// All header fields, in the order in which they came; bytes beyond ASCII
    /// are replaced.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The provider and scenario that were asked; none if there is no such.
    pub scenario: Option<String>,
    /// The status that was sent; none while there is no head.
    pub status: Option<u16>,
    /// Why the request was refused; none if it was not.
    pub refused: Option<String>,
    /// Bytes of the answer's body that were handed over so far.
    pub sent: u64,
    /// How the answer ended, and how long after the request had come; none
    /// while it lasts.
    pub ended: Option<(Ending, Duration)>,
    started: Instant,
}

impl Recorded {
    /// The values of a header field, in order.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let of_name = |(own, _): &&(String, String)| own.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(of_name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// How long after its start the peer closed the connection; none if it
    /// did not, or not before the answer was over.
    pub fn closed(&self) -> Option<Duration> {
        match self.ended {
            Some((Ending::Closed, after)) => Some(after),
            _ => None,
        }
    }

    /// The form that `GET /_requests` gives. Times are in milliseconds since
    /// the request's start.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("number", json!(self.number));
        put("method", json!(self.method));
        put("path", json!(self.path));
        put("query", json!(self.query));
        put("headers", json!(self.headers));
        match std::str::from_utf8(&self.body) {
            Ok(text) => put("body", json!(text)),
            Err(_) => put("body_hex", json!(hex(&self.body))),
        };
        put("scenario", json!(self.scenario));
        put("status", json!(self.status));
        put("refused", json!(self.refused));
        put("sent", json!(self.sent));
        let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        put("ended", json!(self.ended.map(|(_, after)| millis(after))));
        put("closed", json!(self.closed().map(millis)));
        Value::Object(object)
    }
}

/// The last requests, within [`limits::JOURNAL_REQUESTS`] and
/// [`limits::JOURNAL_BODIES`].
#[derive(Clone, Debug, Default)]
pub struct Journal {
    inner: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    bytes: usize,
    requests: VecDeque<Recorded>,
}

impl Journal {
    /// Notes a request and returns the entry that its answer will carry.
    pub fn open(&self, head: &Parts, body: Bytes) -> Entry {
        let mut kept = self.lock();
        kept.last += 1;
        kept.bytes += body.len();
        let number = kept.last;
        kept.requests.push_back(Recorded {
            number,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            headers: fields(&head.headers),
            body,
            scenario: None,
            status: None,
            refused: None,
            sent: 0,
            ended: None,
            started: Instant::now(),
        });
        while kept.requests.len() > limits::JOURNAL_REQUESTS || kept.bytes > limits::JOURNAL_BODIES
        {
            let Some(oldest) = kept.requests.pop_front() else {
                break;
            };
            kept.bytes -= oldest.body.len();
        }
        Entry {
            journal: self.clone(),
            number,
        }
    }

    /// The requests that are kept, in the order in which they came, from the
    /// one after number `after`.
    pub fn since(&self, after: u64) -> Vec<Recorded> {
        let kept = self.lock();
        kept.requests
            .iter()
            .filter(|request| request.number > after)
            .cloned()
            .collect()
    }

    /// Forgets all requests. Numbers go on.
    pub fn clear(&self) {
        let mut kept = self.lock();
        kept.requests.clear();
        kept.bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // What is kept is whole after each statement, so a panic elsewhere
        // does not spoil it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request whose answer is under way.
#[derive(Debug)]
pub struct Entry {
    journal: Journal,
    number: u64,
}

impl Entry {
    /// The request's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Notes which scenario was asked.
    pub fn scenario(&self, name: String) {
        self.change(|request| request.scenario = Some(name));
    }

    /// Notes the status that is sent.
    pub fn status(&self, status: u16) {
        self.change(|request| request.status = Some(status));
    }

    /// Notes that the request was refused.
    pub fn refused(&self, message: String) {
        self.change(|request| request.refused = Some(message));
    }

    /// Notes that so many bytes more were handed over.
    pub fn sent(&self, bytes: usize) {
        self.change(|request| request.sent += bytes as u64);
    }

    /// Notes that the answer is over. Later endings change nothing.
    pub fn end(&self, ending: Ending) {
        self.change(|request| {
            let after = request.started.elapsed();
            request.ended.get_or_insert((ending, after));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Recorded)) {
        let mut kept = self.journal.lock();
        if let Some(request) = kept
            .requests
            .iter_mut()
            .rfind(|own| own.number == self.number)
        {
            change(request);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(Ending::Closed);
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
