//! A generation: everything that a manifest and its plugins' files make up,
//! immutable once made. An exchange takes the generation of its first moment
//! and stays on it until its last byte; a reload makes a new one aside and
//! swaps it in (`reload`).

mod build;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use reqwest::Url;

pub use build::Builder;

use crate::manifest::{ClientKey, Match, Server};
use crate::plugin::{OnFailure, Plugin};
use crate::record::Logger;
use crate::secret::Secret;
use crate::veil::Veil;

/// See the module.
pub struct Generation {
    /// Counts up from 1 with every generation of this process.
    pub number: u64,
    pub server: Server,
    pub keys: Vec<ClientKey>,
    pub routes: Vec<Route>,
    /// Every logger of the routes.
    pub loggers: Vec<Arc<Logger>>,
    /// Routes that were left out, each with the reason.
    pub skipped: Vec<String>,
    /// Every plugin of the manifest, in the order of names.
    pub plugins: Vec<Arc<Plugin>>,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A plugin in a route, with what to do if it fails.
#[derive(Debug, Clone)]
pub struct Member {
    pub plugin: Arc<Plugin>,
    pub on_failure: OnFailure,
}

/// An adapter in a route, with what it speaks to.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub plugin: Arc<Plugin>,
    /// None for an adapter that answers by itself.
    pub upstream: Option<Url>,
    pub credential: Option<NamedCredential>,
}

/// A credential on its way to the one place that uses it.
#[derive(Debug, Clone)]
pub struct NamedCredential {
    pub name: String,
    /// Where it should have come from, for the message that it is missing.
    pub source: String,
    pub secret: Option<Secret>,
    /// Covers it in what comes back; none if it is not there, or too short.
    pub veil: Option<Veil>,
}

/// A route that is ready to serve.
pub struct Route {
    pub name: String,
    pub matches: Match,
    /// Security filters and answer filters, in the order of the manifest.
    pub filters: Vec<Member>,
    pub rewriter: Option<Member>,
    pub adapter: Adapter,
    pub loggers: Vec<Arc<Logger>>,
    pub first_byte_timeout: Duration,
    pub idle_timeout: Duration,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a route looks at.
pub struct Sought<'r> {
    pub path: &'r str,
    pub headers: &'r HeaderMap,
    pub model: Option<&'r str>,
    pub principal: Option<&'r str>,
}

/// Keys are configured, and what was presented is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not one of this gateway's")]
pub struct UnknownKey;

impl Generation {
    /// The name of the client key that was presented; an error if keys are
    /// configured and it is none of them.
    pub fn principal(&self, presented: Option<&Secret>) -> Result<Option<&str>, UnknownKey> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        // Every key is compared, so that time does not tell which one is near.
        let mut found = None;
        for key in &self.keys {
            if presented.is_some_and(|presented| key.secret.matches(presented)) {
                found = Some(key.name.as_str());
            }
        }
        found.map(Some).ok_or(UnknownKey)
    }
}

impl Route {
    /// Whether the route takes a request; the first one that does serves it.
    pub fn takes(&self, sought: &Sought) -> bool {
        let Match {
            paths,
            models,
            headers,
            keys,
        } = &self.matches;
        let path = paths.is_empty() || paths.iter().any(|glob| glob.is_match(sought.path));
        let model = models.is_empty()
            || sought
                .model
                .is_some_and(|model| models.iter().any(|glob| glob.is_match(model)));
        let header = headers.iter().all(|(name, glob)| {
            let values = sought.headers.get_all(name).iter();
            values
                .filter_map(|value| value.to_str().ok())
                .any(|value| glob.is_match(value))
        });
        let key = keys.is_empty()
            || sought
                .principal
                .is_some_and(|principal| keys.iter().any(|key| key == principal));
        path && model && header && key
    }
}
