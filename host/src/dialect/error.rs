//! What an error answer says, before a dialect gives it its shape.
//!
//! Which status an error has is decided where it arises; the dialects only
//! choose names of their own for it.

use crate::event::Failure;

/// The type of the error that a refusal by a security filter has in every
/// dialect.
pub const SECURITY_FILTER_ERROR: &str = "security_filter_error";

/// An error as the client will read it.
#[derive(Debug, Clone, Copy)]
pub struct ErrorView<'a> {
    /// The HTTP status that it has, or would have outside a stream.
    pub status: u16,
    /// A name for it, given by the gateway or the provider; none or empty
    /// takes the one that the dialect uses for the status.
    pub kind: Option<&'a str>,
    /// A machine-readable code; only some dialects have room for it.
    pub code: Option<&'a str>,
    pub message: &'a str,
    /// The exchange's identifier; only some dialects have room for it.
    pub request_id: Option<&'a str>,
}

impl<'a> ErrorView<'a> {
    /// An error that came as a model event.
    pub fn of_failure(failure: &'a Failure, request_id: Option<&'a str>) -> Self {
        Self {
            status: failure.status,
            kind: Some(failure.kind.as_str()),
            code: failure.code.as_deref(),
            message: &failure.message,
            request_id,
        }
    }

    /// The kind, unless it is missing or empty.
    pub(super) fn kind(&self) -> Option<&'a str> {
        self.kind.filter(|kind| !kind.is_empty())
    }
}
