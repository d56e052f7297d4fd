//! Making a generation: read every file once, hash it, compile what is new,
//! start each plugin once, and put the routes together. Everything that is
//! wrong is reported at once, and nothing of the live generation is touched.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::mpsc;

use super::{Adapter, Generation, Member, NamedCredential, Route};
use crate::builtin;
use crate::callout::Bound;
use crate::manifest::{
    Credential, Manifest, OutputTarget, PluginEntry, PluginName, Problem, Problems, RouteEntry,
    Source, WithoutCredential,
};
use crate::plugin::{
    Given, LoadError, Loader, LogRate, OnFailure, Output, Plugin, Source as PluginSource, Stage,
    Terms,
};
use crate::record::Logger;
use crate::store::{Memory, Store};
use crate::veil::Veil;

/// The largest component that is read, in bytes. Python's have 20 MiB.
const MAX_COMPONENT: u64 = 256 << 20;

/// Makes generations one after another, and carries over what has not changed.
pub struct Builder {
    loader: Arc<Loader>,
    kept: Mutex<Kept>,
    /// What plugins keep, through all generations.
    store: Arc<dyn Store>,
    running: mpsc::Sender<()>,
}

/// What earlier generations made that a later one may use again.
#[derive(Default)]
struct Kept {
    number: u64,
    plugins: HashMap<Identity, Weak<Plugin>>,
    loggers: Vec<Weak<Logger>>,
}

/// All that a plugin is made of; the same identity is the same plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    name: String,
    digest: String,
    terms: String,
    /// A credential that changes is another.
    credentials: Vec<String>,
}

type Loaded = BTreeMap<String, Arc<Plugin>>;

impl Builder {
    /// `running` is held by every logger's task until it has written its last
    /// record, and by every plugin's output until it has written its last byte.
    pub fn new(loader: Arc<Loader>, running: mpsc::Sender<()>) -> Self {
        Self {
            loader,
            kept: Mutex::default(),
            store: Arc::new(Memory::default()),
            running,
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the generation that a manifest describes.
    pub async fn build(&self, manifest: Manifest) -> Result<Generation, Problems> {
        let mut problems = Problems::new(&manifest.file);
        let plugins = self.load_all(&manifest, &mut problems).await;
        let mut routes = Vec::new();
        let mut skipped = Vec::new();
        for route in manifest.routes {
            let entries = (&manifest.plugins, &manifest.credentials);
            match adapter(&route, entries, &plugins) {
                Some(adapter) if skips(&route, &adapter) => {
                    skipped.push(left_out(&route, &adapter))
                }
                adapter => {
                    let made = self.route(route, adapter, &manifest.plugins, &plugins);
                    routes.extend(made.map_err(|list| problems.list.extend(list)).ok());
                }
            }
        }
        if routes.is_empty() && problems.list.is_empty() {
            let message = format!("no route is left: {}", skipped.join("; "));
            problems.list.push(Problem {
                line: None,
                message,
                hint: None,
            });
        }
        if !problems.list.is_empty() {
            problems.list.sort_by_key(|problem| problem.line);
            return Err(problems);
        }
        self.loader.make_room();
        let mut kept = self.kept();
        kept.number += 1;
        let number = kept.number;
        kept.plugins.retain(|_, plugin| plugin.strong_count() > 0);
        drop(kept);
        let (server, keys) = (manifest.server, manifest.keys);
        let plugins = plugins.into_values().collect();
        let loggers = all_loggers(&routes);
        Ok(Generation {
            number,
            server,
            keys,
            routes,
            loggers,
            skipped,
            plugins,
        })
    }

    async fn load_all(&self, manifest: &Manifest, problems: &mut Problems) -> Loaded {
        let credentials = &manifest.credentials;
        let entries = manifest.plugins.values();
        let loading = entries.map(|entry| self.load(entry, entry.secrets(credentials)));
        let mut loaded = Loaded::new();
        for (entry, result) in manifest
            .plugins
            .values()
            .zip(futures_util::future::join_all(loading).await)
        {
            match result {
                Ok(plugin) => {
                    loaded.insert(entry.name.clone(), plugin);
                }
                Err(list) => problems.list.extend(list),
            }
        }
        loaded
    }

    async fn load(
        &self,
        entry: &PluginEntry,
        credentials: BTreeMap<String, Bound>,
    ) -> Result<Arc<Plugin>, Vec<Problem>> {
        let bytes = read(&entry.source).await.map_err(|message| {
            vec![Problem {
                line: Some(entry.source_line),
                message: format!("plugin \"{}\": {message}", entry.name),
                hint: hint(&entry.source),
            }]
        })?;
        let source = PluginSource::new(bytes);
        let identity = Identity {
            name: entry.name.clone(),
            digest: source.digest.clone(),
            terms: format!(
                "{:?} {:?} {:?} {:?} {:?} {}",
                entry.limits,
                entry.breaker,
                entry.instances,
                entry.grants,
                entry.output,
                entry.config
            ),
            credentials: credentials.values().map(Bound::identity).collect(),
        };
        let known = self.kept().plugins.get(&identity).and_then(Weak::upgrade);
        if let Some(plugin) = known {
            return Ok(plugin);
        }
        let failed = |error: LoadError| unloadable(entry, &error);
        let (grants, store) = (entry.grants.clone(), self.store.clone());
        let given = Given::new(grants, credentials, &entry.limits, store)
            .map_err(|e| vec![problem(entry.grants_line, e)])?;
        let terms = Terms {
            name: entry.name.clone(),
            config: entry.config.clone(),
            limits: entry.limits,
            breaker: entry.breaker,
            instances: entry.instances,
            log_rate: LogRate::default(),
            output: output(&entry.output, &self.running).map_err(|e| {
                vec![problem(
                    entry.line,
                    format!("plugin \"{}\": its output: {e}", entry.name),
                )]
            })?,
            given,
        };
        let plugin = self.loader.load(source, terms).await.map_err(failed)?;
        self.kept()
            .plugins
            .insert(identity, Arc::downgrade(&plugin));
        Ok(plugin)
    }

    fn route(
        &self,
        route: RouteEntry,
        adapter: Option<Adapter>,
        entries: &BTreeMap<String, PluginEntry>,
        plugins: &Loaded,
    ) -> Result<Route, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut member = |at: &PluginName, stages: &[Stage], default| {
            let plugin = plugins.get(&at.value)?;
            if !stages.iter().any(|stage| plugin.serves(*stage)) {
                problems.push(wrong_stage(at, plugin, stages));
                return None;
            }
            let on_failure = entries.get(&at.value).and_then(|entry| entry.on_failure);
            Some(Member {
                plugin: plugin.clone(),
                on_failure: on_failure.unwrap_or(default),
            })
        };
        let filter = [Stage::RequestFilter, Stage::EventFilter];
        let filters: Vec<_> = route
            .filters
            .iter()
            .filter_map(|at| member(at, &filter, OnFailure::Reject))
            .collect();
        let rewriter = route
            .rewriter
            .as_ref()
            .and_then(|at| member(at, &[Stage::Rewriter], OnFailure::Reject));
        let _ = member(&route.provider, &[Stage::Provider], OnFailure::Reject);
        let loggers: Vec<_> = route
            .loggers
            .iter()
            .filter_map(|at| member(at, &[Stage::LogSink], OnFailure::Bypass))
            .collect();
        let Some(adapter) = adapter.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Route {
            name: route.name,
            matches: route.matches,
            filters,
            rewriter,
            adapter,
            loggers: loggers.iter().map(|member| self.logger(member)).collect(),
            first_byte_timeout: route.first_byte_timeout,
            idle_timeout: route.idle_timeout,
        })
    }

    /// The task of a logger: the one that runs, or a new one.
    fn logger(&self, member: &Member) -> Arc<Logger> {
        let mut kept = self.kept();
        kept.loggers.retain(|logger| logger.strong_count() > 0);
        let known = kept.loggers.iter().filter_map(Weak::upgrade);
        if let Some(logger) = known.into_iter().find(|logger| logger.runs(&member.plugin)) {
            return logger;
        }
        let logger = Logger::start(
            member.plugin.clone(),
            member.on_failure,
            self.running.clone(),
        );
        kept.loggers.push(Arc::downgrade(&logger));
        logger
    }
}

type Entries<'m> = (
    &'m BTreeMap<String, PluginEntry>,
    &'m BTreeMap<String, Credential>,
);

fn adapter(route: &RouteEntry, entries: Entries, plugins: &Loaded) -> Option<Adapter> {
    let entry = entries.0.get(&route.provider.value)?;
    let credential = entry.credential.as_ref().and_then(|name| {
        let credential = entries.1.get(name)?;
        Some(NamedCredential {
            name: name.clone(),
            source: credential.source.to_string(),
            secret: credential.secret.clone(),
            veil: credential.secret.as_ref().and_then(Veil::over),
        })
    });
    let plugin = plugins.get(&route.provider.value)?.clone();
    Some(Adapter {
        plugin,
        upstream: entry.upstream.clone(),
        credential,
    })
}

fn all_loggers(routes: &[Route]) -> Vec<Arc<Logger>> {
    let mut all: Vec<Arc<Logger>> = Vec::new();
    for logger in routes.iter().flat_map(|route| &route.loggers) {
        if !all.iter().any(|known| Arc::ptr_eq(known, logger)) {
            all.push(logger.clone());
        }
    }
    all
}

fn missing(adapter: &Adapter) -> Option<&NamedCredential> {
    adapter
        .credential
        .as_ref()
        .filter(|credential| credential.secret.is_none())
}

fn skips(route: &RouteEntry, adapter: &Adapter) -> bool {
    route.without_credential == WithoutCredential::Skip && missing(adapter).is_some()
}

fn left_out(route: &RouteEntry, adapter: &Adapter) -> String {
    let source = missing(adapter).map_or(String::new(), |credential| credential.source.clone());
    format!("route \"{}\" is left out: {source} is not set", route.name)
}

fn problem(line: usize, message: String) -> Problem {
    Problem {
        line: Some(line),
        message,
        hint: None,
    }
}

fn unloadable(entry: &PluginEntry, error: &LoadError) -> Vec<Problem> {
    let LoadError::Configuration(errors) = error else {
        let message = format!("plugin \"{}\" ({}): {error}", entry.name, entry.source);
        return vec![problem(entry.source_line, message)];
    };
    let told = errors.iter().map(|e| {
        let message = format!(
            "plugin \"{}\": config {}: {}",
            entry.name, e.pointer, e.message
        );
        problem(entry.config_line(&e.pointer), message)
    });
    told.collect()
}

fn wrong_stage(at: &PluginName, plugin: &Plugin, wanted: &[Stage]) -> Problem {
    let list = |stages: &[Stage]| {
        let names: Vec<_> = stages.iter().map(Stage::to_string).collect();
        names.join(" or ")
    };
    let message = format!(
        "plugin \"{}\" exports {}, and cannot serve as {}",
        plugin.name,
        list(&plugin.stages()).replace(" or ", " and "),
        list(wanted)
    );
    problem(at.line, message)
}

fn output(target: &OutputTarget, running: &mpsc::Sender<()>) -> std::io::Result<Output> {
    match target {
        OutputTarget::Log => Ok(Output::Log),
        OutputTarget::Stdout => Output::stdout(running.clone()),
        OutputTarget::File(path) => Output::file(path, running.clone()),
    }
}

async fn read(source: &Source) -> Result<Vec<u8>, String> {
    match source {
        Source::Builtin(name) => builtin::component(name)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| format!("there is no {source}")),
        Source::File(path) => read_file(path).await,
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
    let length = tokio::fs::metadata(path).await.map_err(cannot)?.len();
    if length > MAX_COMPONENT {
        return Err(format!(
            "{} is larger than {} MiB",
            path.display(),
            MAX_COMPONENT >> 20
        ));
    }
    tokio::fs::read(path).await.map_err(cannot)
}

fn hint(source: &Source) -> Option<String> {
    matches!(source, Source::Builtin(_))
        .then(|| format!("there are {}", builtin::names().join(", ")))
}
