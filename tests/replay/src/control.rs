//! Overrides of how scenarios are played, while the server runs, and the paths
//! by which tests in other languages reach them:
//!
//! * `POST /_control` `{"provider": …, "scenario": …, "play": {…}}`: overrides
//!   the play of a scenario; without `provider` or `scenario`, of all of them.
//!   A later override of the same scope replaces an earlier one.
//! * `DELETE /_control`: all is as on disk again.
//! * `GET /_requests?after=N`: the requests that are kept, as a JSON list.
//! * `DELETE /_requests`: forgets them.
//!
//! Rust tests use [`Controls`] and [`crate::Server::requests`] instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::Method;
use serde_json::{Map, Value, json};

use crate::journal::{Journal, Recorded};
use crate::limits;
use crate::play::{Play, nothing_left};
use crate::provider::Provider;

/// What an override applies to: none stands for all.
type Scope = (Option<Provider>, Option<String>);

/// The overrides of a server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    overrides: Arc<Mutex<Vec<(Scope, Play)>>>,
}

impl Controls {
    /// Plays a scenario otherwise than its file says. `None` stands for all
    /// providers or all scenarios; narrower overrides win over wider ones.
    /// The error says that [`limits::OVERRIDES`] is reached.
    pub fn set(
        &self,
        provider: Option<Provider>,
        scenario: Option<&str>,
        play: Play,
    ) -> Result<(), String> {
        let scope = (provider, scenario.map(str::to_owned));
        let mut overrides = self.lock();
        overrides.retain(|(own, _)| *own != scope);
        if overrides.len() == limits::OVERRIDES {
            return Err(format!("at most {} overrides are kept", limits::OVERRIDES));
        }
        overrides.push((scope, play));
        Ok(())
    }

    /// Plays everything as its files say.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How a scenario is to be played, whose file says `base`.
    pub(crate) fn apply(&self, provider: Provider, scenario: &str, base: &Play) -> Play {
        let overrides = self.lock();
        let mut applying: Vec<&(Scope, Play)> = overrides
            .iter()
            .filter(|((own, _), _)| own.is_none_or(|own| own == provider))
            .filter(|((_, own), _)| own.as_deref().is_none_or(|own| own == scenario))
            .collect();
        applying.sort_by_key(|((provider, scenario), _)| (scenario.is_some(), provider.is_some()));
        applying
            .into_iter()
            .fold(base.clone(), |play, (_, own)| own.clone().over(&play))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Scope, Play)>> {
        self.overrides
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads an override as `POST /_control` takes it.
    fn read(&self, body: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let Value::Object(mut object) = value else {
            return Err("must be an object".to_owned());
        };
        let provider = text(&mut object, "provider")?
            .map(|name| Provider::named(&name).ok_or_else(|| format!("provider: no {name:?}")))
            .transpose()?;
        let scenario = text(&mut object, "scenario")?;
        let play = Play::read(object.remove("play").ok_or("play: is missing")?)?;
        nothing_left(&object)?;
        self.set(provider, scenario.as_deref(), play)
    }
}

fn text(object: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{key}: must be a string")),
    }
}

/// Answers a request to a control path; none if the path is none.
pub fn answer(
    (method, path, query): (&Method, &str, &str),
    body: &[u8],
    controls: &Controls,
    journal: &Journal,
) -> Option<(u16, Value)> {
    let answer = match (path, method.as_str()) {
        ("/_control", "POST") => match controls.read(body) {
            Ok(()) => (200, json!({})),
            Err(error) => (400, json!({"error": error})),
        },
        ("/_control", "DELETE") => {
            controls.clear();
            (200, json!({}))
        }
        ("/_requests", "GET") => {
            let after = query
                .strip_prefix("after=")
                .and_then(|number| number.parse().ok());
            let requests = journal.since(after.unwrap_or(0));
            (200, requests.iter().map(Recorded::to_json).collect())
        }
        ("/_requests", "DELETE") => {
            journal.clear();
            (200, json!({}))
        }
        ("/_control" | "/_requests", _) => (405, json!({"error": "no such method here"})),
        ("/", "GET" | "HEAD") => (200, json!({"replay": Provider::ALL.map(Provider::name)})),
        _ => return None,
    };
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_override_wins() {
        let controls = Controls::default();
        let status = |status| Play {
            status: Some(status),
            ..Play::default()
        };
        controls.set(None, None, status(500)).unwrap();
        controls
            .set(Some(Provider::OpenAi), None, status(501))
            .unwrap();
        controls
            .set(Some(Provider::OpenAi), Some("chat"), status(502))
            .unwrap();
        let played = |provider, scenario| {
            controls
                .apply(provider, scenario, &Play::default())
                .status
                .unwrap()
        };
        assert_eq!(played(Provider::Anthropic, "chat"), 500);
        assert_eq!(played(Provider::OpenAi, "slow"), 501);
        assert_eq!(played(Provider::OpenAi, "chat"), 502);
        controls.clear();
        assert_eq!(
            controls.apply(Provider::OpenAi, "chat", &Play::default()),
            Play::default()
        );
    }

    #[test]
    fn a_control_request_that_is_wrong_says_what() {
        let controls = Controls::default();
        for (body, name) in [
            (r#"{"play": {"hang": 1}}"#, "hang"),
            (r#"{"provider": "nobody", "play": {}}"#, "provider"),
            (r#"{"scenario": 1, "play": {}}"#, "scenario"),
            (r#"{}"#, "play"),
            (r#"{"play": {}, "more": 1}"#, "more"),
        ] {
            assert!(
                controls
                    .read(body.as_bytes())
                    .unwrap_err()
                    .starts_with(name),
                "{body}"
            );
        }
    }
}
