//! Plugins: loading a component, checking what it asks for, and calling it.
//!
//! - `engine`: the process's engines and what every plugin is linked to
//! - `loader`: from a component to a plugin, by `code`, `snapshot`, `tie`,
//!   `rehearse`, `fixtures` and `cache`
//! - `state`, `host`, `output`: what one instance is given
//! - `grants`: what a plugin may be given besides, and does with it
//! - `running`, `call`: one instance, its limits, and how a call can end
//! - `pool`, `idle`: instances that wait
//! - `reset`, `pages`: putting one back to how it began
//! - `stages`: one method for each function of the contract
//! - `terms`, `limits`, `health`: what it may do, and how it fares
//!
//! A `Plugin` is immutable and shared; an `Instance` belongs to one exchange.

mod cache;
mod call;
mod code;
mod engine;
mod fixtures;
mod grants;
mod health;
mod host;
mod idle;
mod limits;
mod loader;
mod output;
mod pages;
mod pool;
mod rehearse;
mod reset;
mod running;
mod snapshot;
mod stages;
mod state;
mod terms;
mod tie;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use cache::Cache;
pub use call::{CallError, Instance, Spent};
use code::Code;
pub use engine::Engines;
use engine::Places;
pub use fixtures::{Fixture, NotKept, parse as parse_fixtures};
pub use grants::http::MAX_REQUESTS;
pub use grants::key_value::{Opened, Seen};
pub use grants::{Capability, Given, Grant, NotAGrant, Refusal};
pub use health::{Breaker, Counts, Failed, Health, Standing};
pub use limits::{Denied, Limits, MAX_HTTP_BODY, MAX_MEMORY, MAX_TABLE};
pub use loader::{Loader, Source};
pub use output::{LogRate, Output};
pub use pool::Instances;
use pool::Pool;
pub use rehearse::Cost;
use rehearse::Outcomes;
pub use snapshot::{Moment, SnapshotError};
pub use stages::{Action, Decoder, Frame, Framing, Reply, Session, Step, UpstreamRequest, Verdict};
pub use stages::{Credential, Denial, DenialKind, Entry, Outcome};
pub use state::{ExchangeView, State};
pub use terms::Terms;

use crate::dialect::{self, Dialect};

/// The version of the contract that this host speaks.
pub const CONTRACT: &str = "0.1.0";

/// What to do about an exchange when a plugin fails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The exchange fails.
    Reject,
    /// The exchange goes on as if the plugin were not there; the record says so.
    Bypass,
}

/// A stage that a plugin can serve, by the name of the interface that it
/// exports for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    RequestFilter,
    Rewriter,
    Provider,
    EventFilter,
    LogSink,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Stage::RequestFilter => "request-filter",
            Stage::Rewriter => "rewriter",
            Stage::Provider => "provider",
            Stage::EventFilter => "event-filter",
            Stage::LogSink => "log-sink",
        })
    }
}

/// Why a component cannot serve as the plugin that the manifest wants.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("it is no WebAssembly component that can be run here: {0}")]
    NotAComponent(String),
    #[error("it imports {0}")]
    Imports(Refusal),
    #[error("it does not fit the contract palisade:plugin@{CONTRACT}: {0}")]
    Contract(String),
    #[error("it exports none of the stages of palisade:plugin@{CONTRACT}; its exports are: {0}")]
    NoStage(String),
    #[error("it was built for {0}, and this host speaks palisade:plugin@{CONTRACT}")]
    Version(String),
    #[error("it takes no configuration (it does not export `configuration`)")]
    TakesNoConfiguration,
    #[error("its configuration is refused: {}", listed(.0))]
    Configuration(Vec<ConfigError>),
    #[error("it cannot be started: {0}")]
    Start(CallError),
    #[error(transparent)]
    Fixture(NotKept),
}

/// What a plugin says of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// An RFC 6901 pointer into the configuration.
    pub pointer: String,
    pub message: String,
}

fn listed(errors: &[ConfigError]) -> String {
    let all: Vec<_> = errors
        .iter()
        .map(|e| format!("{}: {}", e.pointer, e.message))
        .collect();
    all.join("; ")
}

/// How the instances of a plugin begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    /// From a snapshot that was taken at this moment.
    Snapshot(Moment),
    /// Configured anew, as the manifest says.
    Configured,
    /// Configured anew, since there is no snapshot, for this reason.
    Without(String),
}

/// A plugin that is ready to be called.
pub struct Plugin {
    pub name: String,
    /// SHA-256 of the component, in hexadecimal digits.
    pub digest: String,
    terms: Arc<Terms>,
    code: Code,
    health: Health,
    pool: Pool,
    places: Places,
    /// Whether it only rehearses: then nothing that it does has an effect.
    rehearses: bool,
    prepared: Prepared,
    cost: Option<Cost>,
    /// Dialects besides the hub that an adapter takes.
    dialects: Vec<&'static dyn Dialect>,
}

/// What a rehearsal has shown of a plugin.
struct Learnt {
    cost: Option<Cost>,
    dialects: Vec<&'static dyn Dialect>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Makes a plugin that may rehearse; [`Plugin::serving`] lets it serve.
    fn new(code: Code, digest: String, terms: Arc<Terms>, places: Places) -> Self {
        Self {
            name: terms.name.clone(),
            digest,
            health: Health::new(terms.breaker),
            pool: Pool::rehearsing(code.reset.is_some()),
            terms,
            code,
            places,
            rehearses: true,
            prepared: Prepared::Configured,
            cost: None,
            dialects: Vec::new(),
        }
    }

    /// Starts it once, with its configuration, to see that it can be, and asks
    /// an adapter what it takes.
    async fn described(mut self) -> Result<Arc<Self>, LoadError> {
        if self.code.stages.configuration.is_none() && self.terms.config != "{}" {
            return Err(LoadError::TakesNoConfiguration);
        }
        let starting = Arc::new(self);
        let mut instance = Instance::start(&starting).await?;
        instance.look_up().map_err(|error| match error {
            CallError::Protocol(rule) => LoadError::Contract(rule),
            other => LoadError::Start(other),
        })?;
        if !starting.serves(Stage::Provider) {
            return Ok(starting);
        }
        let names = instance.describe().await?;
        drop(instance);
        self = only(starting)?;
        let known = names.iter().filter_map(|name| dialect::by_name(name));
        self.dialects = known.collect();
        Ok(Arc::new(self))
    }

    /// Shows it the samples and its own fixtures, which it must keep to, and
    /// tells how that went. What an exchange costs is measured if all went well.
    async fn rehearse(self, fixtures: &[Fixture]) -> Result<(Learnt, Outcomes), LoadError> {
        let rehearsing = self.described().await?;
        let mut instance = Instance::start(&rehearsing).await?;
        let outcomes = rehearse::run(&mut instance).await;
        drop(instance);
        let kept = fixtures::run(&rehearsing, fixtures).await;
        kept.map_err(LoadError::Fixture)?;
        let all_well = outcomes.iter().all(|outcome| outcome.kind == "ok");
        let cost = if all_well {
            rehearse::measure(&rehearsing).await
        } else {
            None
        };
        let dialects = rehearsing.dialects.clone();
        Ok((Learnt { cost, dialects }, outcomes))
    }

    /// Lets it serve, after a rehearsal.
    fn serving(self, prepared: Prepared, learnt: Learnt) -> Arc<Self> {
        let is_snapshot = matches!(prepared, Prepared::Snapshot(_));
        let plugin = Arc::new(Self {
            pool: Pool::new(self.terms.instances, is_snapshot, self.code.reset.is_some()),
            rehearses: false,
            prepared,
            cost: learnt.cost,
            dialects: learnt.dialects,
            ..self
        });
        plugin.places.enter(&plugin);
        plugin
    }

    /// Whether the plugin exports a stage.
    pub fn serves(&self, stage: Stage) -> bool {
        self.code.stages.has(stage)
    }

    /// The stages that it exports.
    pub fn stages(&self) -> Vec<Stage> {
        self.code.stages.names()
    }

    pub fn imports(&self) -> &BTreeSet<String> {
        &self.code.imports
    }

    /// Grants that it never asks for.
    pub fn unasked(&self) -> impl Iterator<Item = &Grant> {
        let imports = self.code.imports.iter();
        let asked: BTreeSet<_> = imports
            .filter_map(|import| Capability::for_import(import))
            .collect();
        let grants = self.terms.given.grants().iter();
        grants.filter(move |grant| !asked.contains(&grant.capability()))
    }

    /// Lets go of the instances that wait, and of those that would, until it
    /// is woken.
    pub fn rest(&self) {
        self.pool.rest(true);
    }

    /// Lets instances wait for exchanges, which are to come.
    pub fn wake(&self) {
        self.pool.rest(false);
    }

    /// What the operator decided about it.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How it fares.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// How its instances begin.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// What an exchange cost when it was loaded, after a rehearsal in the same
    /// place of the pool: at most what one costs later. None if it could not
    /// take every sample.
    pub fn cost(&self) -> Option<Cost> {
        self.cost
    }

    /// Whether the adapter takes requests of a dialect as they are. The hub is
    /// taken by every adapter.
    pub fn takes(&self, dialect: &dyn Dialect) -> bool {
        dialect::is_hub(dialect)
            || self
                .dialects
                .iter()
                .any(|taken| taken.name() == dialect.name())
    }
}

/// The plugin, when nothing else holds it any more.
fn only(plugin: Arc<Plugin>) -> Result<Plugin, LoadError> {
    Arc::into_inner(plugin).ok_or_else(|| {
        LoadError::Start(CallError::Protocol(
            "its rehearsal is still running".to_owned(),
        ))
    })
}

impl From<CallError> for LoadError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Configuration(errors) => Self::Configuration(errors),
            other => Self::Start(other),
        }
    }
}
