//! A component that has been compiled and checked against the contract: what of
//! a plugin does not depend on the manifest, or, for one whose configuration is
//! part of its image (`snapshot`), what does.

use std::collections::BTreeSet;

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::engine::linker;
use super::grants::capabilities;
use super::reset;
use super::state::State;
use super::{CONTRACT, Grant, LoadError, Refusal, Stage};
use crate::bindings::exports::palisade::plugin as exports;

/// The stages that a component exports.
#[derive(Clone)]
pub(super) struct Stages {
    pub(super) configuration: Option<exports::configuration::GuestIndices>,
    pub(super) request_filter: Option<exports::request_filter::GuestIndices>,
    pub(super) rewriter: Option<exports::rewriter::GuestIndices>,
    pub(super) provider: Option<exports::provider::GuestIndices>,
    /// Of the provider's functions the one that every exchange calls, and many
    /// exchanges no other.
    pub(super) encode: Option<ComponentExportIndex>,
    pub(super) event_filter: Option<exports::event_filter::GuestIndices>,
    pub(super) log_sink: Option<exports::log_sink::GuestIndices>,
}

/// See the module.
#[derive(Clone)]
pub struct Code {
    pub(super) pre: InstancePre<State>,
    pub(super) stages: Stages,
    /// Whether its instances begin configured.
    pub(super) configured: bool,
    /// How they are put back, if they can be. What grants give, the host does
    /// not look through: whoever has one is not put back.
    pub(super) reset: Option<reset::Indices>,
    /// What the component asks for.
    pub imports: BTreeSet<String>,
}

impl Code {
    /// Checks what a compiled component imports and exports. `bytes` are what
    /// it was built from, to tell by which toolchain.
    pub(super) fn of(
        component: Component,
        grants: &BTreeSet<Grant>,
        bytes: &[u8],
    ) -> Result<Self, LoadError> {
        let engine = component.engine().clone();
        let linker = linker(&engine, &capabilities(grants))
            .map_err(|e| LoadError::Contract(format!("{e:#}")))?;
        let imports = imports(&engine, &component);
        let pre = linker.instantiate_pre(&component).map_err(|e| {
            match Refusal::of(&imports, grants, bytes) {
                Some(refusal) => LoadError::Imports(refusal),
                // An import that is there, and has another type.
                None => LoadError::Contract(format!("{e:#}")),
            }
        })?;
        let stages = Stages::of(&pre).map_err(|e| LoadError::Contract(format!("{e:#}")))?;
        if stages.names().is_empty() {
            return Err(without_stage(&engine, &component));
        }
        Ok(Self {
            pre,
            stages,
            configured: false,
            reset: None,
            imports,
        })
    }

    /// The same, for an image that has the configuration in it, of a component
    /// with this digest.
    pub(super) fn image(self, digest: &str, grants: &BTreeSet<Grant>) -> Self {
        let reset = reset::Indices::of(&self.pre, digest);
        Self {
            configured: true,
            reset: reset.filter(|_| grants.is_empty()),
            ..self
        }
    }
}

impl Stages {
    pub(super) fn of(pre: &InstancePre<State>) -> wasmtime::Result<Self> {
        let interface = |name| {
            let name = format!("palisade:plugin/{name}@{CONTRACT}");
            pre.component().get_export_index(None, &name)
        };
        macro_rules! indices {
            ($module:ident, $name:literal) => {
                if interface($name).is_some() {
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
            encode: interface("provider")
                .and_then(|at| pre.component().get_export_index(Some(&at), "encode")),
            event_filter: indices!(event_filter, "event-filter"),
            log_sink: indices!(log_sink, "log-sink"),
        })
    }

    /// Whether a stage is exported.
    pub(super) fn has(&self, stage: Stage) -> bool {
        match stage {
            Stage::RequestFilter => self.request_filter.is_some(),
            Stage::Rewriter => self.rewriter.is_some(),
            Stage::Provider => self.provider.is_some(),
            Stage::EventFilter => self.event_filter.is_some(),
            Stage::LogSink => self.log_sink.is_some(),
        }
    }

    pub(super) fn names(&self) -> Vec<Stage> {
        let all = [
            Stage::RequestFilter,
            Stage::Rewriter,
            Stage::Provider,
            Stage::EventFilter,
            Stage::LogSink,
        ];
        all.into_iter().filter(|stage| self.has(*stage)).collect()
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
