//! Plugins: loading a component, checking what it asks for, and calling it.
//!
//! - `engine`: the process's engine and what every plugin is linked to
//! - `state`, `host`, `output`: what one instance is given
//! - `grants`: what a plugin may be given besides, and does with it
//! - `call`: one instance, its limits, and how a call can end
//! - `stages`: one method for each function of the contract
//!
//! A `Plugin` is immutable and shared; an `Instance` belongs to one exchange.

mod call;
mod engine;
mod grants;
mod host;
mod output;
mod stages;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

pub use call::{CallError, Instance};
use engine::linker;
pub use engine::{MAX_MEMORY, engine, start_ticking};
pub use grants::http::MAX_REQUESTS;
pub use grants::key_value::{Opened, Seen};
pub use grants::{Capability, Grant, NotAGrant, Refusal, capabilities};
pub use output::Output;
pub use stages::{Action, Decoder, Frame, Framing, Reply, Session, Step, UpstreamRequest, Verdict};
pub use stages::{Credential, Denial, DenialKind, Entry, Outcome};
pub use state::{ExchangeView, State};

use crate::bindings::exports::palisade::plugin as exports;
use crate::callout::{Bound, Callout, Reach};
use crate::dialect::{self, Dialect};
use crate::store::Store;

/// The version of the contract that this host speaks.
pub const CONTRACT: &str = "0.1.0";

/// What a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wall time of one call, including the start of its instance.
    pub time: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory: usize,
    /// What one call may return or write into a message, in bytes.
    pub output: usize,
    /// Each body of a request that it makes, and of its answer, in bytes.
    pub http_body: usize,
    /// Requests that all its instances together make at a time.
    pub http_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A Rust filter needs microseconds, and a fresh Python one 15 ms on
            // an idle machine; a second is far from both, and short enough for
            // a client to survive.
            time: Duration::from_secs(1),
            // Python starts at about 40 MiB, and a prompt of 10 MiB takes ten times
            // that while it is looked at.
            memory: 256 << 20,
            output: 32 << 20,
            // A question to a service and its verdict have a few KiB; a body is
            // held whole, by each of up to eight requests of a call.
            http_body: 1 << 20,
            // Enough for some hundred exchanges a second at 50 ms a request,
            // and no flood for whoever answers.
            http_requests: 16,
        }
    }
}

/// What to do about an exchange when a plugin fails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The exchange fails.
    Reject,
    /// The exchange goes on as if the plugin were not there; the record says so.
    Bypass,
}

/// What an operator decides about a plugin, apart from its code.
pub struct Terms {
    /// The name that the manifest gives it.
    pub name: String,
    /// Its configuration as JSON text.
    pub config: String,
    pub limits: Limits,
    pub output: Output,
    pub grants: BTreeSet<Grant>,
    /// The credentials that its grants name.
    pub credentials: BTreeMap<String, Bound>,
    /// Where the buckets are.
    pub store: Arc<dyn Store>,
}

/// The stages that a component exports.
#[derive(Clone)]
struct Stages {
    configuration: Option<exports::configuration::GuestIndices>,
    request_filter: Option<exports::request_filter::GuestIndices>,
    rewriter: Option<exports::rewriter::GuestIndices>,
    provider: Option<exports::provider::GuestIndices>,
    event_filter: Option<exports::event_filter::GuestIndices>,
    log_sink: Option<exports::log_sink::GuestIndices>,
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
    #[error("it is not a WebAssembly component: {0}")]
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
    #[error("it cannot be given HTTP: {0}")]
    Callout(String),
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

/// A component that has been compiled and checked against the contract; what
/// of a plugin does not depend on the manifest.
#[derive(Clone)]
pub struct Code {
    pre: InstancePre<State>,
    stages: Stages,
    /// What the component asks for.
    pub imports: BTreeSet<String>,
}

impl Code {
    /// Compiles a component and checks what it imports and exports. Takes
    /// from a tenth of a second to half a minute of CPU, by size.
    pub fn compile(
        engine: &Engine,
        grants: &BTreeSet<Grant>,
        bytes: &[u8],
    ) -> Result<Self, LoadError> {
        let linker = linker(engine, &capabilities(grants))
            .map_err(|e| LoadError::Contract(format!("{e:#}")))?;
        let component = Component::from_binary(engine, bytes)
            .map_err(|e| LoadError::NotAComponent(format!("{e:#}")))?;
        let imports = imports(engine, &component);
        let pre = linker.instantiate_pre(&component).map_err(|e| {
            match Refusal::of(&imports, grants, bytes) {
                Some(refusal) => LoadError::Imports(refusal),
                // An import that is there, and has another type.
                None => LoadError::Contract(format!("{e:#}")),
            }
        })?;
        let stages = Stages::of(&pre).map_err(|e| LoadError::Contract(format!("{e:#}")))?;
        if stages.names().is_empty() {
            return Err(without_stage(engine, &component));
        }
        Ok(Self {
            pre,
            stages,
            imports,
        })
    }
}

/// A plugin that is ready to be called.
pub struct Plugin {
    pub name: String,
    /// SHA-256 of the component, in hexadecimal digits.
    pub digest: String,
    pub limits: Limits,
    code: Code,
    config: String,
    output: Output,
    grants: BTreeSet<Grant>,
    /// None if it is granted no origin.
    callout: Option<Callout>,
    store: Arc<dyn Store>,
    /// Dialects besides the hub that an adapter takes.
    dialects: Vec<&'static dyn Dialect>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .finish()
    }
}

impl Plugin {
    /// Makes a plugin of a component: starts it once, with its configuration,
    /// to see that it can be, and asks an adapter what it takes.
    pub async fn load(code: Code, digest: String, terms: Terms) -> Result<Arc<Self>, LoadError> {
        if code.stages.configuration.is_none() && terms.config != "{}" {
            return Err(LoadError::TakesNoConfiguration);
        }
        let Terms {
            name,
            config,
            limits,
            output,
            grants,
            credentials,
            store,
        } = terms;
        let callout = callout(&grants, credentials, &limits)?;
        let mut plugin = Self {
            name,
            digest,
            limits,
            code,
            config,
            output,
            grants,
            callout,
            store,
            dialects: Vec::new(),
        };
        if plugin.serves(Stage::Provider) {
            let probe = Arc::new(plugin);
            let names = Instance::start(&probe).await?.describe().await?;
            plugin = Arc::into_inner(probe).ok_or_else(|| {
                LoadError::Start(CallError::Protocol("its probe is still running".to_owned()))
            })?;
            plugin.dialects = names
                .iter()
                .filter_map(|name| dialect::by_name(name))
                .collect();
            return Ok(Arc::new(plugin));
        }
        let plugin = Arc::new(plugin);
        drop(Instance::start(&plugin).await?);
        Ok(plugin)
    }

    /// Whether the plugin exports a stage.
    pub fn serves(&self, stage: Stage) -> bool {
        self.code.stages.names().contains(&stage)
    }

    /// The stages that it exports.
    pub fn stages(&self) -> Vec<Stage> {
        self.code.stages.names()
    }

    pub fn imports(&self) -> &BTreeSet<String> {
        &self.code.imports
    }

    /// What the manifest grants it.
    pub fn grants(&self) -> &BTreeSet<Grant> {
        &self.grants
    }

    /// Grants that it never asks for.
    pub fn unasked(&self) -> impl Iterator<Item = &Grant> {
        let imports = self.code.imports.iter();
        let asked: BTreeSet<_> = imports
            .filter_map(|import| Capability::for_import(import))
            .collect();
        self.grants
            .iter()
            .filter(move |grant| !asked.contains(&grant.capability()))
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

/// The way out that grants open; none if they open none.
fn callout(
    grants: &BTreeSet<Grant>,
    credentials: BTreeMap<String, Bound>,
    limits: &Limits,
) -> Result<Option<Callout>, LoadError> {
    let mut reach = Reach {
        credentials,
        max_requests: limits.http_requests,
        max_body: limits.http_body,
        ..Reach::default()
    };
    for grant in grants {
        match grant {
            Grant::Http(origin) => reach.origins.push(origin.clone()),
            Grant::Private(net) => reach.private.push(*net),
            _ => {}
        }
    }
    if reach.origins.is_empty() {
        return Ok(None);
    }
    let made = Callout::new(reach).map_err(|e| LoadError::Callout(e.to_string()))?;
    Ok(Some(made))
}

impl From<CallError> for LoadError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Configuration(errors) => Self::Configuration(errors),
            other => Self::Start(other),
        }
    }
}

impl Stages {
    fn of(pre: &InstancePre<State>) -> wasmtime::Result<Self> {
        let exports = |name| {
            let name = format!("palisade:plugin/{name}@{CONTRACT}");
            pre.component().get_export_index(None, &name).is_some()
        };
        macro_rules! indices {
            ($module:ident, $name:literal) => {
                if exports($name) {
                    Some(exports::$module::GuestIndices::new(pre)?)
                } else {
                    None
                }
            };
        }
        Ok(Self {
            configuration: indices!(configuration, "configuration"),
            request_filter: indices!(request_filter, "request-filter"),
            rewriter: indices!(rewriter, "rewriter"),
            provider: indices!(provider, "provider"),
            event_filter: indices!(event_filter, "event-filter"),
            log_sink: indices!(log_sink, "log-sink"),
        })
    }

    fn names(&self) -> Vec<Stage> {
        let exported = [
            (Stage::RequestFilter, self.request_filter.is_some()),
            (Stage::Rewriter, self.rewriter.is_some()),
            (Stage::Provider, self.provider.is_some()),
            (Stage::EventFilter, self.event_filter.is_some()),
            (Stage::LogSink, self.log_sink.is_some()),
        ];
        exported
            .into_iter()
            .filter_map(|(stage, is)| is.then_some(stage))
            .collect()
    }
}

fn imports(engine: &Engine, component: &Component) -> BTreeSet<String> {
    let ty = component.component_type();
    let names = ty
        .imports(engine)
        .filter(|(_, item)| !types_only(engine, &item.ty));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Whether an import only brings names of types: it asks for nothing.
fn types_only(engine: &Engine, item: &ComponentItem) -> bool {
    let ComponentItem::ComponentInstance(instance) = item else {
        return false;
    };
    instance
        .exports(engine)
        .all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
}

/// Tells a plugin of another version of the contract from what is none.
fn without_stage(engine: &Engine, component: &Component) -> LoadError {
    let ty = component.component_type();
    let names: Vec<_> = ty
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let ours = names
        .iter()
        .find_map(|name| name.strip_prefix("palisade:plugin/"));
    match ours.and_then(|name| name.split_once('@')) {
        Some((_, version)) if version != CONTRACT => {
            LoadError::Version(format!("palisade:plugin@{version}"))
        }
        _ if names.is_empty() => LoadError::NoStage("none".to_owned()),
        _ => LoadError::NoStage(names.join(", ")),
    }
}
