//! Plugins: loading a component, checking what it asks for, and calling it.
//!
//! - `engine`: the process's engine and what every plugin is linked to
//! - `state`, `host`, `output`: what one instance is given
//! - `call`: one instance, its limits, and how a call can end
//! - `stages`: one method for each function of the contract
//!
//! A `Plugin` is immutable and shared; an `Instance` belongs to one exchange.

mod call;
mod engine;
mod host;
mod output;
mod stages;
mod state;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

pub use call::{CallError, Instance};
use engine::linker;
pub use engine::{MAX_MEMORY, engine, start_ticking};
pub use output::Output;
pub use stages::{Action, Decoder, Frame, Framing, Reply, Session, Step, UpstreamRequest, Verdict};
pub use stages::{Credential, Denial, DenialKind, Entry, Outcome};
pub use state::{ExchangeView, State};

use crate::bindings::exports::palisade::plugin as exports;
use crate::dialect::{self, Dialect};

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
        }
    }
}

/// Something beyond the baseline that an operator can give a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// `wasi:clocks`: what time it is.
    Clocks,
    /// `wasi:random`: random bytes. Seeds for hash tables need no grant.
    Random,
}

impl Grant {
    /// Every grant there is.
    pub const ALL: [Self; 2] = [Self::Clocks, Self::Random];

    /// The grant that an import needs; none if it is in the baseline or cannot
    /// be granted.
    fn for_import(import: &str) -> Option<Self> {
        match import {
            _ if import.starts_with("wasi:clocks/") => Some(Self::Clocks),
            _ if import.starts_with("wasi:random/insecure-seed") => None,
            _ if import.starts_with("wasi:random/") => Some(Self::Random),
            _ => None,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Grant::Clocks => "clocks",
            Grant::Random => "random",
        })
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
#[derive(Debug)]
pub struct Terms {
    /// The name that the manifest gives it.
    pub name: String,
    /// Its configuration as JSON text.
    pub config: String,
    pub limits: Limits,
    pub output: Output,
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
    #[error("it imports {}", wanted(.0))]
    Imports(Vec<(String, Option<Grant>)>),
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
        let linker = linker(engine, grants).map_err(|e| LoadError::Contract(format!("{e:#}")))?;
        let component = Component::from_binary(engine, bytes)
            .map_err(|e| LoadError::NotAComponent(format!("{e:#}")))?;
        let imports = imports(engine, &component);
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|e| unlinked(&imports, grants, &format!("{e:#}")))?;
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
        } = terms;
        let mut plugin = Self {
            name,
            digest,
            limits,
            code,
            config,
            output,
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

/// Tells imports that are not provided from one that has the wrong type.
fn unlinked(imports: &BTreeSet<String>, grants: &BTreeSet<Grant>, reason: &str) -> LoadError {
    let missing = imports.iter().filter_map(|import| {
        let grant = Grant::for_import(import);
        let given = match grant {
            Some(grant) => grants.contains(&grant),
            None => BASELINE.iter().any(|prefix| import.starts_with(prefix)),
        };
        (!given).then(|| (import.clone(), grant))
    });
    let mut missing: Vec<_> = missing.collect();
    // What cannot be had comes first: granting the rest would be in vain.
    missing.sort_by_key(|(_, grant)| *grant);
    if missing.is_empty() {
        LoadError::Contract(reason.to_owned())
    } else {
        LoadError::Imports(missing)
    }
}

fn wanted(missing: &[(String, Option<Grant>)]) -> String {
    let each = missing.iter().map(|(import, grant)| match grant {
        Some(grant) => format!("\"{import}\", which needs the grant \"{grant}\""),
        None => format!("\"{import}\", which no plugin is given"),
    });
    let mut text = each.collect::<Vec<_>>().join(", ");
    let grants: BTreeSet<_> = missing.iter().filter_map(|(_, grant)| *grant).collect();
    if missing.iter().all(|(_, grant)| grant.is_some()) {
        let names: Vec<_> = grants.iter().map(|grant| format!("\"{grant}\"")).collect();
        text.push_str(&format!(
            "; write `grants = [{}]` in its manifest entry",
            names.join(", ")
        ));
    }
    text
}

/// What every plugin is linked to, by the beginning of its name.
const BASELINE: [&str; 5] = [
    "palisade:plugin/",
    "wasi:io/",
    "wasi:cli/",
    "wasi:filesystem/",
    "wasi:random/insecure-seed",
];
