//! What a route speaks to: an adapter with its upstream, or an upstream that
//! takes exchanges as they come.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Member;
use crate::manifest::{self, PluginEntry, Problem, RouteEntry, Step, WithoutCredential};
use crate::plugin::{self, Plugin, Stage};
use crate::secret::Secret;
use crate::upstream::Base;
use crate::veil::Veil;

/// See the module.
#[derive(Debug, Clone)]
pub enum Provider {
    Adapter(Adapter),
    Direct(Direct),
}

/// An adapter in a route, with what it speaks to.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub plugin: Arc<Plugin>,
    /// None for an adapter that answers by itself.
    pub upstream: Option<Base>,
    pub credential: Option<NamedCredential>,
}

/// An upstream that speaks what its clients speak.
#[derive(Debug, Clone)]
pub struct Direct {
    pub upstream: Base,
    pub credential: Option<NamedCredential>,
    /// Where the credential is put.
    pub kind: plugin::Credential,
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

impl Provider {
    /// What a route speaks to; none if its plugin could not be loaded.
    pub(super) fn of(
        route: &RouteEntry,
        plugins: &BTreeMap<String, PluginEntry>,
        credentials: &BTreeMap<String, manifest::Credential>,
        loaded: &BTreeMap<String, Arc<Plugin>>,
    ) -> Option<Self> {
        let credential = |name: &String| {
            let credential = credentials.get(name)?;
            Some(NamedCredential {
                name: name.clone(),
                source: credential.source.to_string(),
                secret: credential.secret.clone(),
                veil: credential.secret.as_ref().and_then(Veil::over),
            })
        };
        match &route.provider {
            manifest::Provider::Plugin(at) => {
                let entry = plugins.get(&at.value)?;
                Some(Self::Adapter(Adapter {
                    plugin: loaded.get(&at.value)?.clone(),
                    upstream: entry.upstream.clone(),
                    credential: entry.credential.as_ref().and_then(credential),
                }))
            }
            manifest::Provider::Direct(direct) => Some(Self::Direct(Direct {
                upstream: direct.upstream.clone(),
                credential: direct
                    .credential
                    .as_ref()
                    .and_then(|at| credential(&at.value)),
                kind: direct.kind.clone(),
            })),
        }
    }

    /// The adapter's name, or the upstream's host.
    pub fn name(&self) -> &str {
        match self {
            Self::Adapter(adapter) => &adapter.plugin.name,
            Self::Direct(direct) => direct.upstream.host(),
        }
    }

    /// The credential that is named and is not there.
    fn missing(&self) -> Option<&NamedCredential> {
        let credential = match self {
            Self::Adapter(adapter) => &adapter.credential,
            Self::Direct(direct) => &direct.credential,
        };
        credential
            .as_ref()
            .filter(|credential| credential.secret.is_none())
    }

    /// Why a route with this provider is left out, if it is.
    pub(super) fn left_out(&self, route: &RouteEntry) -> Option<String> {
        let missing = self
            .missing()
            .filter(|_| route.without_credential == WithoutCredential::Skip)?;
        let NamedCredential { source, .. } = missing;
        Some(format!(
            "route \"{}\" is left out: {source} is not set",
            route.name
        ))
    }

    /// What is wrong with filters of answers that nobody decodes for them.
    pub(super) fn cannot_decode(&self, route: &RouteEntry, filters: &[Member]) -> Option<Problem> {
        let Self::Direct(_) = self else {
            return None;
        };
        let filter = filters
            .iter()
            .find(|m| m.plugin.serves(Stage::EventFilter))?;
        Some(Problem {
            step: Step::Check,
            line: Some(route.line),
            message: format!(
                "route \"{}\" filters answers (\"{}\"), and has no plugin that decodes them",
                route.name, filter.plugin.name
            ),
            hint: Some("name a `provider` in place of `upstream`".to_owned()),
        })
    }
}
