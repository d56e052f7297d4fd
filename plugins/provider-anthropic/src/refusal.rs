//! Why a request cannot be translated: what every module of the request side
//! returns, and `lib.rs` turns into a denial.

/// How much is told, in characters: it may quote the client, who may have sent
/// megabytes.
const MAX_MESSAGE: usize = 500;

/// A request that is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable and machine-readable: "request.malformed", "request.unsupported".
    pub reason: &'static str,
    /// For the caller: what is wrong, and an RFC 6901 pointer to where.
    pub message: String,
}

impl Refusal {
    /// The request breaks the hub dialect's own rules.
    pub fn malformed(pointer: &str, what: &str) -> Self {
        Self::at("request.malformed", pointer, what)
    }

    /// The request is well formed, but leaving this out would change what it
    /// means, and Anthropic has no place for it.
    pub fn unsupported(pointer: &str, what: &str) -> Self {
        Self::at("request.unsupported", pointer, what)
    }

    fn at(reason: &'static str, pointer: &str, what: &str) -> Self {
        let place = if pointer.is_empty() {
            "the body"
        } else {
            pointer
        };
        let message = format!("{place}: {what}")
            .chars()
            .take(MAX_MESSAGE)
            .collect();
        Self { reason, message }
    }
}
