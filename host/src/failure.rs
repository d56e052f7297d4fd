//! How an exchange fails: whose fault it is, what the client is told, what the
//! operator is told, and with which status. Statuses are chosen here and
//! nowhere else; their rendering is the dialect's.

use http::{HeaderMap, StatusCode};

use crate::plugin::{CallError, Denial, DenialKind};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is malformed, or asks for what cannot be had.
    InvalidRequest,
    /// No valid client key was presented.
    Unauthenticated,
    /// A rule forbids it.
    Forbidden,
    /// No route or no such path.
    NotFound,
    /// A method that is not passed on.
    MethodNotAllowed,
    /// The request is larger than a bound.
    TooLarge,
    /// The client was too slow to send its request.
    RequestTimeout,
    /// A limit of the operator was reached.
    RateLimited,
    /// A plugin failed, and the manifest says to refuse the exchange then.
    Plugin,
    /// The gateway's own fault, or its configuration's.
    Internal,
    /// A bound of the gateway was reached; later it may be well again.
    Overloaded,
    /// The upstream could not be reached, or its answer was no answer.
    Upstream,
    /// The upstream took too long.
    UpstreamTimeout,
    /// The upstream said so itself, with this status.
    Answered(StatusCode),
}

impl Kind {
    pub fn status(self) -> StatusCode {
        match self {
            Kind::InvalidRequest => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Kind::Plugin | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Upstream => StatusCode::BAD_GATEWAY,
            Kind::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Answered(status) => status,
        }
    }
}

/// A failed or refused exchange.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}{}", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct Failure {
    pub kind: Kind,
    /// For the client: names what and where, and nothing that it may not see.
    pub message: String,
    /// For the operator, besides.
    pub detail: Option<String>,
    /// The `type` of the error, where it is not the dialect's own for the status.
    pub error_type: Option<String>,
    /// A stable, machine-readable reason.
    pub code: Option<String>,
    /// After how many seconds to try again.
    pub retry_after: Option<u32>,
    /// Whether a plugin decided so, rather than anything having failed.
    pub denied: bool,
    /// Header fields of the upstream's that belong to its error: when to try
    /// again, what is left of its limits.
    pub headers: Option<Box<HeaderMap>>,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: None,
            error_type: None,
            code: None,
            retry_after: None,
            denied: false,
            headers: None,
        }
    }

    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    pub fn with_code(self, code: impl Into<String>) -> Self {
        Self {
            code: Some(code.into()),
            ..self
        }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, message)
    }

    /// A bound of the gateway was reached.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(Kind::Overloaded, message)
        }
    }

    /// A plugin's decision.
    pub fn denied(denial: Denial) -> Self {
        let kind = match denial.kind {
            DenialKind::InvalidRequest => Kind::InvalidRequest,
            DenialKind::Unauthenticated => Kind::Unauthenticated,
            DenialKind::Unavailable => Kind::Overloaded,
            DenialKind::Forbidden => Kind::Forbidden,
            DenialKind::NotFound => Kind::NotFound,
            DenialKind::RateLimited => Kind::RateLimited,
        };
        // What clients of the proxy that Palisade follows look for.
        let error_type =
            matches!(kind, Kind::Forbidden).then(|| "security_filter_error".to_owned());
        Self {
            error_type,
            code: Some(bounded(denial.reason, 128)),
            retry_after: denial.retry_after,
            denied: true,
            ..Self::new(kind, bounded(denial.message, 4 << 10))
        }
    }

    /// A plugin that failed, where the exchange must not go on without it. The
    /// client learns which plugin, the operator why.
    pub fn plugin(name: &str, stage: &str, error: &CallError) -> Self {
        match error {
            CallError::Exhausted => {
                return Self::overloaded("the gateway is busy: all plugin instances are in use");
            }
            CallError::Spared(wait) => {
                let message =
                    format!("plugin \"{name}\" ({stage}) fails, and is left alone for now");
                let wait = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
                return Self {
                    retry_after: Some(wait.max(1)),
                    ..Self::overloaded(message)
                }
                .with_detail(error.to_string());
            }
            CallError::Disabled => {
                return Self::overloaded(format!("plugin \"{name}\" ({stage}) is disabled"));
            }
            _ => {}
        }
        let summary = match error {
            CallError::Problem { .. } => "reported a problem".to_owned(),
            CallError::Trap { .. } => "trapped".to_owned(),
            CallError::Deadline(_) | CallError::Cpu(_) | CallError::Limit(_) => error.to_string(),
            _ => "failed".to_owned(),
        };
        Self::new(
            Kind::Plugin,
            format!("plugin \"{name}\" ({stage}): {summary}"),
        )
        .with_detail(error.to_string())
        .with_code("plugin_failed")
    }
}

fn bounded(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit)
            .rev()
            .find(|i| text.is_char_boundary(*i))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_not_shown_what_the_plugin_said() {
        let error = CallError::Problem {
            code: "x".into(),
            message: "sk-internal".into(),
        };
        let failure = Failure::plugin("pii", "request-filter", &error);
        assert_eq!(
            failure.message,
            "plugin \"pii\" (request-filter): reported a problem"
        );
        assert!(failure.to_string().contains("sk-internal"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(bounded("ééé".into(), 3), "é");
    }
}
