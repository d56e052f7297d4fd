//! How the plugins of the live generation fare.

use serde::{Deserialize, Serialize};

use super::{count, time};
use crate::generation::Generation;
use crate::manifest::PluginEntry;
use crate::plugin::{
    self, CONTRACT, CallError, Counts, Failed, OnFailure, Prepared, Stage, Standing,
};

/// The plugins of a generation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plugins {
    pub generation: u64,
    pub plugins: Vec<Plugin>,
}

/// A plugin: what it is, what it may, and how its calls ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plugin {
    pub name: String,
    pub source: String,
    pub sha256: String,
    pub stages: Vec<String>,
    /// The version of the contract that it was built for.
    pub contract: String,
    /// What it asks for.
    pub imports: Vec<String>,
    /// What it is given.
    pub grants: Vec<String>,
    pub limits: Limits,
    pub breaker: Breaker,
    /// How its instances come to be, as the manifest has it: "snapshot",
    /// "fresh" or "reuse N".
    pub instances: String,
    /// Why they do not begin from a snapshot although they should.
    pub without_snapshot: Option<String>,
    /// What one exchange cost when it was loaded.
    pub cost: Option<Cost>,
    pub on_failure: String,
    /// "well", "spared" (its breaker is open) or "disabled".
    pub standing: String,
    /// How long it is spared yet.
    pub spared_ms: Option<u64>,
    pub calls: Counts,
    /// The last failures, the newest last.
    pub failures: Vec<Failure>,
}

/// What a call may use.
#[derive(Debug, Serialize, Deserialize)]
pub struct Limits {
    pub time_ms: u64,
    pub cpu_ms: u64,
    pub memory: usize,
    pub tables: usize,
    pub transfer: usize,
    pub handles: usize,
    pub output: usize,
    pub edits: u32,
    pub log: u32,
}

/// When it is left alone.
#[derive(Debug, Serialize, Deserialize)]
pub struct Breaker {
    /// After so many failures in a row; 0 never is.
    pub failures: u32,
    pub backoff_ms: u64,
}

/// What one exchange costs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cost {
    pub time_us: u64,
    pub page_faults: f64,
}

/// A call that failed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub at: String,
    pub call: String,
    pub error: String,
    /// The functions that it was in when it trapped, the innermost first.
    pub backtrace: Option<String>,
}

impl Plugins {
    /// The plugins of a generation, in the order of names.
    pub fn of(generation: &Generation) -> Self {
        let all = generation.plugins.iter().filter_map(|plugin| {
            let entry = generation.entries.get(&plugin.name)?;
            Some(Plugin::of(plugin, entry))
        });
        Self {
            generation: generation.number,
            plugins: all.collect(),
        }
    }
}

impl Plugin {
    fn of(plugin: &plugin::Plugin, entry: &PluginEntry) -> Self {
        let health = plugin.health();
        let standing = health.standing();
        let spared = match standing {
            Standing::Spared(wait) => Some(count(wait.as_millis())),
            Standing::Well | Standing::Disabled => None,
        };
        let terms = plugin.terms();
        let without_snapshot = match plugin.prepared() {
            Prepared::Without(why) => Some(why.to_string()),
            Prepared::Snapshot(_) | Prepared::Configured => None,
        };
        Self {
            name: plugin.name.clone(),
            source: entry.source.to_string(),
            sha256: plugin.digest.clone(),
            stages: plugin.stages().iter().map(ToString::to_string).collect(),
            contract: CONTRACT.to_owned(),
            imports: plugin.imports().iter().cloned().collect(),
            grants: entry.grants.iter().map(ToString::to_string).collect(),
            limits: (&terms.limits).into(),
            breaker: Breaker {
                failures: terms.breaker.failures,
                backoff_ms: count(terms.breaker.backoff.as_millis()),
            },
            instances: terms.instances.to_string(),
            without_snapshot,
            cost: plugin.cost().map(|cost| Cost {
                time_us: count(cost.time.as_micros()),
                page_faults: cost.page_faults,
            }),
            on_failure: on_failure(plugin, entry).to_owned(),
            standing: standing.word().to_owned(),
            spared_ms: spared,
            calls: health.counts(),
            failures: health.failures().iter().map(Failure::from).collect(),
        }
    }
}

/// What happens to an exchange when the plugin fails it. An adapter cannot be
/// gone without.
fn on_failure(plugin: &plugin::Plugin, entry: &PluginEntry) -> &'static str {
    let only_logs = plugin.stages() == [Stage::LogSink];
    match entry.on_failure {
        Some(OnFailure::Bypass) => "bypass",
        Some(OnFailure::Reject) => "reject",
        None if only_logs => "bypass",
        None => "reject",
    }
}

impl From<&plugin::Limits> for Limits {
    fn from(limits: &plugin::Limits) -> Self {
        Self {
            time_ms: count(limits.time.as_millis()),
            cpu_ms: count(limits.cpu.as_millis()),
            memory: limits.memory,
            tables: limits.tables,
            transfer: limits.transfer,
            handles: limits.handles,
            output: limits.output,
            edits: limits.edits,
            log: limits.log,
        }
    }
}

impl From<&Failed> for Failure {
    fn from(failed: &Failed) -> Self {
        let backtrace = match &failed.error {
            CallError::Trap { backtrace, .. } => Some(backtrace.clone()),
            _ => None,
        };
        Self {
            at: time(failed.at),
            call: failed.call.to_owned(),
            error: failed.error.to_string(),
            backtrace,
        }
    }
}
