//! Which path does what. Answers are JSON, errors too: `{"error": {"message",
//! …}}`. Everything is below `/v1/` but for `/metrics`, which is text, and where
//! monitoring systems look for it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::guard;
use super::metrics::{self, Metrics};
use super::view::{self, Plugins, Status};
use crate::gateway::{Disabled, Gateway};
use crate::generation::{Cause, RollbackError};
use crate::reload::{Control, Outcome, Unasked};

/// The largest body of a request, in bytes: it holds a number.
const MAX_BODY: usize = 4 << 10;

/// How long a body may take.
const BODY: Duration = Duration::from_secs(10);

/// How long whoever asks for a reload is kept waiting. It goes on without them.
const WAIT: Duration = Duration::from_secs(300);

/// What administrators can do, and with what.
#[derive(Clone)]
pub(super) struct Api {
    gateway: Arc<Gateway>,
    control: Control,
    metrics: Arc<Metrics>,
}

/// A request that was not done: a status, and what to say.
struct Refusal {
    status: StatusCode,
    message: String,
    reload: Option<view::Refusal>,
    allow: Option<&'static str>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            reload: None,
            allow: None,
        }
    }
}

type Answer = Result<Response<Full<Bytes>>, Refusal>;

impl Api {
    pub fn new(gateway: Arc<Gateway>, control: Control) -> Self {
        Self {
            gateway,
            control,
            metrics: Arc::default(),
        }
    }

    /// Answers a request that someone makes.
    pub async fn handle(&self, request: Request<Incoming>, who: &str) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let answer = match guard::refused(&head) {
            Some(why) => Err(Refusal::new(StatusCode::FORBIDDEN, why)),
            None => self.route(&head, body, who).await,
        };
        answer.unwrap_or_else(refuse)
    }

    async fn route(&self, head: &Parts, body: Incoming, who: &str) -> Answer {
        let path = head.uri.path();
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        let allowed = match steps[..] {
            ["metrics"] | ["v1", "status" | "plugins"] => "GET",
            ["v1", "reload" | "rollback"] => "POST",
            ["v1", "plugins", _, "disable" | "enable"] => "POST",
            _ => {
                let there_is = "/metrics, /v1/status, /v1/plugins, /v1/reload, \
                                /v1/rollback, /v1/plugins/NAME/disable and \
                                /v1/plugins/NAME/enable";
                let message = format!("there is nothing at {path}; there are {there_is}");
                return Err(Refusal::new(StatusCode::NOT_FOUND, message));
            }
        };
        if head.method != allowed {
            let message = format!("{path} takes {allowed}");
            return Err(Refusal {
                allow: Some(allowed),
                ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
            });
        }
        match (&head.method, &steps[1..]) {
            (&Method::GET, []) => self.metrics(),
            (&Method::GET, ["status"]) => done(&Status::of(&self.gateway, &self.control.told())),
            (&Method::GET, _) => done(&Plugins::of(&self.gateway.generation())),
            (_, ["reload"]) => self.reload(head, who).await,
            (_, ["rollback"]) => self.rollback(&read(body).await?, who),
            (_, [_, name, word]) => self.switch(name, *word == "disable", who),
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "there is nothing")),
        }
    }

    fn metrics(&self) -> Answer {
        let told = self.metrics.told(&self.gateway, &self.control.told());
        let text =
            told.map_err(|e| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
        Ok(answer(text.into(), metrics::CONTENT_TYPE))
    }

    async fn reload(&self, head: &Parts, who: &str) -> Answer {
        let query = head.uri.query().unwrap_or_default();
        let mut dry = false;
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*key, &*value) {
                ("dry-run", "true") => dry = true,
                ("dry-run", "false") => dry = false,
                _ => {
                    let message = format!("`{key}={value}` is not `dry-run=true`");
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
                }
            }
        }
        let asked = async {
            match dry {
                true => self.control.dry_run().await,
                false => self.control.reload(who).await,
            }
        };
        match tokio::time::timeout(WAIT, asked).await {
            Ok(outcome) => reloaded(outcome),
            Err(_) => {
                let message = "it is still being made; /v1/status tells when it is live";
                Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, message))
            }
        }
    }

    fn rollback(&self, body: &[u8], who: &str) -> Answer {
        /// Which generation to bring back, if not the one before.
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct To {
            generation: Option<u64>,
        }
        let to: To = match body {
            [] => To::default(),
            body => serde_json::from_slice(body).map_err(|e| {
                let message = format!("the body is not {{\"generation\": N}}: {e}");
                Refusal::new(StatusCode::BAD_REQUEST, message)
            })?,
        };
        let before = self.gateway.generation().number;
        let cause = Cause::Rollback(who.to_owned());
        let live = self.gateway.rollback(to.generation, cause).map_err(|e| {
            let status = match e {
                RollbackError::Unknown { .. } => StatusCode::NOT_FOUND,
                _ => StatusCode::CONFLICT,
            };
            Refusal::new(status, e.to_string())
        })?;
        let generation = live.number;
        tracing::warn!(generation, who, "rolled back from generation {before}");
        done(&view::Live { generation })
    }

    fn switch(&self, name: &str, disabled: bool, who: &str) -> Answer {
        let word = disabled.then(|| Disabled {
            who: who.to_owned(),
            since: SystemTime::now(),
        });
        if !self.gateway.set_disabled(name, word) {
            let message = format!("there is no plugin \"{name}\"");
            return Err(Refusal::new(StatusCode::NOT_FOUND, message));
        }
        let what = if disabled { "disabled" } else { "enabled" };
        tracing::warn!(plugin = name, who, "plugin {what}");
        let plugin = name.to_owned();
        done(&view::Switched { plugin, disabled })
    }
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let reading = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(BODY, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => {
            let message = format!("the body cannot be read, or has more than {MAX_BODY} bytes");
            Err(Refusal::new(StatusCode::BAD_REQUEST, message))
        }
        Err(_) => {
            let message = "the body did not come in time";
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

fn reloaded(outcome: Result<Outcome, Unasked>) -> Answer {
    let outcome =
        outcome.map_err(|e| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
    match outcome {
        Ok(reloaded) => done(&view::Reloaded::from(&reloaded)),
        Err(refused) => {
            let message = format!("not reloaded: {} failed", refused.step());
            Err(Refusal {
                reload: Some(view::Refusal::from(&refused)),
                ..Refusal::new(StatusCode::CONFLICT, message)
            })
        }
    }
}

fn refuse(refusal: Refusal) -> Response<Full<Bytes>> {
    let told = view::Refused {
        error: view::Reason {
            message: refusal.message,
            reload: refusal.reload,
        },
    };
    let mut response = json(&told);
    *response.status_mut() = refusal.status;
    if let Some(allow) = refusal.allow {
        let fields = response.headers_mut();
        fields.insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn done(told: &impl Serialize) -> Answer {
    Ok(json(told))
}

fn json(told: &impl Serialize) -> Response<Full<Bytes>> {
    // What is told has no keys but strings.
    let text = serde_json::to_vec(told).unwrap_or_default();
    answer(text.into(), "application/json")
}

fn answer(body: Bytes, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
