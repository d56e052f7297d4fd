//! A generation: everything that a manifest and its plugins' files make up,
//! immutable once made but for the count of its exchanges. An exchange takes the generation of its first moment
//! and stays on it until its last byte; a reload makes a new one aside and
//! swaps it in (`reload`).

mod build;
mod changes;
mod components;
mod history;
mod provider;
mod under_way;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

pub use build::Builder;
pub use changes::Change;
pub use components::Components;
pub use history::{Cause, History, Lived, Overtaken, Retired, RollbackError, Turn};
pub use provider::{Adapter, Direct, NamedCredential, Provider};
pub use under_way::{Stay, UnderWay};

use crate::manifest::{ClientKey, Match, PluginEntry, Reload, Server};
use crate::plugin::{OnFailure, Plugin};
use crate::record::Logger;
use crate::secret::Secret;

/// See the module.
pub struct Generation {
    /// Counts up from 1 with every generation that goes live in this process.
    pub number: u64,
    pub server: Server,
    pub reload: Reload,
    pub keys: Vec<ClientKey>,
    pub routes: Vec<Route>,
    /// Every logger of the routes.
    pub loggers: Vec<Arc<Logger>>,
    /// Routes that were left out, each with the reason.
    pub skipped: Vec<String>,
    /// The plugins as the manifest has them, by name.
    pub entries: BTreeMap<String, PluginEntry>,
    /// Every plugin of the manifest, in the order of names.
    pub plugins: Vec<Arc<Plugin>>,
    /// The exchanges that are on it.
    pub under_way: UnderWay,
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

/// A route that is ready to serve.
pub struct Route {
    pub name: String,
    pub matches: Match,
    /// Security filters and answer filters, in the order of the manifest.
    pub filters: Vec<Member>,
    pub rewriter: Option<Member>,
    pub provider: Provider,
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

    /// The index of the route that takes a request whatever its body says, if
    /// that route does not look at it either.
    pub fn unread(&self, sought: &Sought) -> Option<usize> {
        let index = self.routes.iter().position(|r| r.takes_head(sought))?;
        let route = &self.routes[index];
        (route.matches.models.is_empty() && route.is_direct()).then_some(index)
    }
}

impl Route {
    /// Whether neither a plugin of the route nor its upstream wants the body
    /// to be read.
    fn is_direct(&self) -> bool {
        let direct = matches!(self.provider, Provider::Direct(_));
        direct && self.filters.is_empty() && self.rewriter.is_none()
    }

    /// Whether the route takes a request; the first one that does serves it.
    pub fn takes(&self, sought: &Sought) -> bool {
        let models = &self.matches.models;
        let model = models.is_empty()
            || sought
                .model
                .is_some_and(|model| models.iter().any(|glob| glob.is_match(model)));
        model && self.takes_head(sought)
    }

    /// Whether nothing but the model speaks against it.
    fn takes_head(&self, sought: &Sought) -> bool {
        let Match {
            paths,
            headers,
            keys,
            models: _,
        } = &self.matches;
        let path = paths.is_empty() || paths.iter().any(|glob| glob.is_match(sought.path));
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
        path && header && key
    }
}
