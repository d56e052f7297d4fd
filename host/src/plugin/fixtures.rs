//! A plugin's own fixtures: requests with what it must do about them, run when
//! it is loaded, under the limits that hold for exchanges. A plugin that does
//! otherwise is not loaded, so a mistake in a rule is found before traffic is.
//!
//! A file of fixtures is a JSON array:
//!
//! ```json
//! [ { "name": "a jailbreak is refused",
//!     "path": "/v1/chat/completions",
//!     "headers": { "x-team": "blue" },
//!     "body": { "model": "m", "messages": [] },
//!     "expect": { "deny": "instruction.forbidden" } } ]
//! ```
//!
//! `expect` is `"proceed"`, `"answer"`, `{ "deny": REASON }`, or `{ "set":
//! { POINTER: VALUE } }`: what then stands in the body (RFC 6901).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::Value;

use super::{Instance, Plugin, Stage, Verdict};
use crate::dialect;
use crate::json::Json;
use crate::message::{Exchange, Facts, Notes, Request, Target};

/// The most fixtures of one plugin: a reload waits for all of them.
const MAX_FIXTURES: usize = 1000;

/// One request, and what the plugin must do about it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    name: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Value,
    expect: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Proceed,
    Answer,
    Deny(String),
    Set(BTreeMap<String, Value>),
}

/// A fixture that a plugin did not keep to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fixture \"{name}\": it must {expected}, and did {found}")]
pub struct NotKept {
    pub name: String,
    pub expected: String,
    pub found: String,
}

/// Reads a file of fixtures.
///
/// # Errors
///
/// Says what is wrong with it, and where.
pub fn parse(text: &[u8]) -> Result<Vec<Fixture>, String> {
    let fixtures: Vec<Fixture> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    if fixtures.len() > MAX_FIXTURES {
        return Err(format!("there are more than {MAX_FIXTURES} fixtures"));
    }
    Ok(fixtures)
}

/// Shows every fixture to a fresh instance of the plugin.
pub(super) async fn run(plugin: &Arc<Plugin>, fixtures: &[Fixture]) -> Result<(), NotKept> {
    for fixture in fixtures {
        let (mut exchange, mut request) = fixture.message();
        let found = match show(plugin, &mut exchange, &mut request).await {
            Ok(found) => found,
            Err(error) => format!("not: {error}"),
        };
        if !fixture.expect.is_kept(&found, &request) {
            return Err(NotKept {
                name: fixture.name.clone(),
                expected: fixture.expect.to_string(),
                found: fixture.expect.instead(found, &request),
            });
        }
    }
    Ok(())
}

/// What the plugin does about a request, in the words of `expect`.
async fn show(
    plugin: &Arc<Plugin>,
    exchange: &mut Exchange,
    request: &mut Request,
) -> Result<String, super::CallError> {
    let mut instance = Instance::start(plugin).await?;
    if plugin.serves(Stage::RequestFilter) {
        match instance.check(exchange, request).await? {
            Verdict::Proceed => {}
            Verdict::Answer(_) => return Ok("answer".to_owned()),
            Verdict::Deny(denial) => return Ok(format!("deny with \"{}\"", denial.reason)),
        }
    }
    if plugin.serves(Stage::Rewriter) {
        instance.rewrite(exchange, request).await?;
    }
    Ok("proceed".to_owned())
}

impl Fixture {
    fn message(&self) -> (Exchange, Request) {
        let dialect = dialect::of_request(&Method::POST, &self.path);
        let body = Json::new(self.body.to_string().into());
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (
                HeaderName::try_from(name.as_str()),
                HeaderValue::from_str(value),
            ) {
                headers.append(name, value);
            }
        }
        let facts = Facts {
            id: "fixture".to_owned(),
            route: "fixture".to_owned(),
            principal: None,
            dialect,
            streaming: self.body["stream"] == true,
            requested_model: self.body["model"].as_str().map(str::to_owned),
        };
        let exchange = Exchange {
            facts: Arc::new(facts),
            notes: Notes::default(),
        };
        let target = Target {
            method: Method::POST,
            path: self.path.clone(),
            query: None,
        };
        let request = Request {
            target: Arc::new(target),
            headers: Arc::new(headers),
            body,
            dialect,
            dropped: Vec::new(),
        };
        (exchange, request)
    }
}

impl Expected {
    fn is_kept(&self, found: &str, request: &Request) -> bool {
        match self {
            Expected::Set(values) => found == "proceed" && self.wrong(values, request).is_none(),
            expected => found == expected.to_string(),
        }
    }

    /// What was found in the place of what is expected.
    fn instead(&self, found: String, request: &Request) -> String {
        match self {
            Expected::Set(values) if found == "proceed" => {
                let wrong = self.wrong(values, request);
                wrong.map_or(found, |(pointer, value)| {
                    format!("leave {value} at \"{pointer}\"")
                })
            }
            _ => found,
        }
    }

    fn wrong<'v>(
        &self,
        values: &'v BTreeMap<String, Value>,
        request: &Request,
    ) -> Option<(&'v str, String)> {
        values.iter().find_map(|(pointer, wanted)| {
            let text = request.body.get(pointer);
            let value = text.as_deref().map(serde_json::from_str::<Value>);
            let value = value.and_then(Result::ok);
            let told = text.map_or_else(|| "nothing".to_owned(), Cow::into_owned);
            (value.as_ref() != Some(wanted)).then_some((pointer.as_str(), told))
        })
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Expected::Proceed => f.write_str("proceed"),
            Expected::Answer => f.write_str("answer"),
            Expected::Deny(reason) => write!(f, "deny with \"{reason}\""),
            Expected::Set(values) => {
                let each = values.iter().map(|(p, v)| format!("set \"{p}\" to {v}"));
                f.write_str(&each.collect::<Vec<_>>().join(" and "))
            }
        }
    }
}
