//! What is asked of every subject: bodies of a size, streamed or not, from so
//! many clients at a time. The bodies are those of a chat: a system prompt and
//! turns of about 2 KB, as much of them as the size needs.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

/// How many events the upstream's streams have, terminator included.
pub const EVENTS: usize = 52;

/// The longest text of one turn, in bytes.
const TURN: usize = 2 << 10;

/// One measurement's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Case {
    /// The size of the request's body, about.
    pub bytes: usize,
    pub streamed: bool,
    /// Clients, each of which asks again when it has its answer.
    pub clients: usize,
    /// Requests a second that all of them ask together, none before its time;
    /// as many as they can if there is none.
    #[serde(default)]
    pub rate: Option<u32>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.streamed {
            f.write_str("stream, ")?;
        }
        // Halves are as many digits as a table has room for.
        if self.bytes.is_multiple_of(512) {
            write!(f, "{} KB", self.bytes as f64 / 1024.0)?;
        } else {
            write!(f, "{} bytes", self.bytes)?;
        }
        let plural = if self.clients == 1 { "" } else { "s" };
        write!(f, ", {} client{plural}", self.clients)?;
        match self.rate {
            Some(rate) => write!(f, ", {rate}/s"),
            None => Ok(()),
        }
    }
}

/// Requests a second that every compiled gateway has time for, on two cores
/// which load and upstream share.
pub const RATE: u32 = 4_000;

/// The cases of the targets, and those that show how a subject bends.
pub fn usual() -> Vec<Case> {
    let whole = [
        (512, 1, None),
        (512, 16, Some(RATE)),
        (512, 16, None),
        (512, 64, None),
        (10 << 10, 16, None),
        (100 << 10, 16, None),
    ];
    let streamed = [(512, 1, None), (512, 16, None)];
    let cases = whole.iter().map(|case| (case, false));
    let cases = cases.chain(streamed.iter().map(|case| (case, true)));
    cases
        .map(|((bytes, clients, rate), streamed)| Case {
            bytes: *bytes,
            streamed,
            clients: *clients,
            rate: *rate,
        })
        .collect()
}

/// The cases that say most in the least time.
pub fn quick() -> Vec<Case> {
    let keeps = |case: &Case| case.clients == 16 && case.bytes != 10 << 10;
    usual().into_iter().filter(keeps).collect()
}

/// Every size with every number of clients, streamed and not.
pub fn full(sizes: &[usize], clients: &[usize]) -> Vec<Case> {
    let mut cases = Vec::new();
    for streamed in [false, true] {
        for bytes in sizes {
            let of_size = clients.iter().map(|clients| Case {
                bytes: *bytes,
                streamed,
                clients: *clients,
                rate: None,
            });
            cases.extend(of_size);
        }
    }
    cases
}

/// The body of a request in OpenAI's chat dialect, of about `bytes` bytes.
pub fn chat_body(bytes: usize, streamed: bool) -> Vec<u8> {
    let mut messages = vec![json!({"role": "system", "content": "You are a helpful assistant."})];
    // What surrounds the texts takes about this much.
    let mut left = bytes.saturating_sub(if streamed { 210 } else { 160 });
    let mut user = true;
    while left > 0 {
        let length = left.min(TURN);
        let role = if user { "user" } else { "assistant" };
        messages.push(json!({"role": role, "content": prose(length)}));
        // A turn's own braces, quotes and names.
        left = left.saturating_sub(length + 40);
        user = !user;
    }
    let mut body = json!({"model": "gpt-4o", "max_tokens": 256, "temperature": 0.5});
    body["messages"] = messages.into();
    if streamed {
        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
    }
    body.to_string().into_bytes()
}

/// Text of a length, with a line break now and then, as prompts have.
fn prose(length: usize) -> String {
    const LINE: &str = "The gate lets in whoever has a reason to be there, and it asks \"why\" of \
                        everyone else; what it was told is written down.\n";
    LINE.chars().cycle().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_told_by_a_size_without_many_digits() {
        let told = |bytes, streamed, clients, rate| {
            let case = Case {
                bytes,
                streamed,
                clients,
                rate,
            };
            case.to_string()
        };
        assert_eq!(told(512, false, 1, None), "0.5 KB, 1 client");
        assert_eq!(
            told(100 << 10, true, 16, None),
            "stream, 100 KB, 16 clients"
        );
        assert_eq!(
            told(3000, false, 7, Some(4000)),
            "3000 bytes, 7 clients, 4000/s"
        );
    }

    #[test]
    fn bodies_have_about_their_size() {
        for bytes in [512, 10 << 10, 100 << 10] {
            for streamed in [false, true] {
                let length = chat_body(bytes, streamed).len();
                let off = length.abs_diff(bytes) as f64 / bytes as f64;
                assert!(off < 0.05, "{length} bytes for {bytes}");
            }
        }
    }
}
