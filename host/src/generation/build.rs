//! Making a generation of a manifest and the components that were read for it:
//! compile what is new, start each plugin once, and put the routes together.
//! Everything that is wrong is reported at once, and nothing of the live
//! generation is touched.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::mpsc;

use super::components::Components;
use super::{Generation, Member, Provider, Route, UnderWay};
use crate::callout::Bound;
use crate::manifest::{
    self, Manifest, OutputTarget, PluginEntry, PluginName, Problem, Problems, RouteEntry, Step,
};
use crate::plugin::{
    Given, LoadError, Loader, LogRate, OnFailure, Output, Plugin, Source as Component, Stage, Terms,
};
use crate::record::Logger;
use crate::store::{Memory, Store};

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

    /// Reads the components of a manifest, and makes the generation that it
    /// describes.
    pub async fn build(&self, manifest: Manifest) -> Result<Generation, Problems> {
        let components = Components::read(&manifest).await;
        self.make(manifest, components).await
    }

    /// Makes the generation that a manifest describes, of components that have
    /// been read. It gets its number when it goes live.
    pub async fn make(
        &self,
        manifest: Manifest,
        components: Components,
    ) -> Result<Generation, Problems> {
        let mut problems = Problems::new(&manifest.file);
        let plugins = self.load_all(&manifest, components, &mut problems).await;
        let mut routes = Vec::new();
        let mut skipped = Vec::new();
        for route in manifest.routes {
            let (entries, credentials) = (&manifest.plugins, &manifest.credentials);
            let provider = Provider::of(&route, entries, credentials, &plugins);
            match provider
                .as_ref()
                .and_then(|provider| provider.left_out(&route))
            {
                Some(why) => skipped.push(why),
                None => {
                    let made = self.route(route, provider, entries, &plugins);
                    routes.extend(made.map_err(|list| problems.list.extend(list)).ok());
                }
            }
        }
        if routes.is_empty() && problems.list.is_empty() {
            let message = format!("no route is left: {}", skipped.join("; "));
            problems.list.push(Problem {
                line: None,
                step: Step::Check,
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
        kept.plugins.retain(|_, plugin| plugin.strong_count() > 0);
        drop(kept);
        let (server, reload, keys) = (manifest.server, manifest.reload, manifest.keys);
        let plugins = plugins.into_values().collect();
        let loggers = all_loggers(&routes);
        Ok(Generation {
            number: 0,
            server,
            reload,
            keys,
            routes,
            loggers,
            skipped,
            entries: manifest.plugins,
            plugins,
            under_way: UnderWay::default(),
        })
    }

    async fn load_all(
        &self,
        manifest: &Manifest,
        components: Components,
        problems: &mut Problems,
    ) -> Loaded {
        problems.list.extend(components.problems);
        let read = components.read.into_iter();
        let loading = read.filter_map(|(name, component)| {
            let entry = manifest.plugins.get(&name)?;
            let credentials = entry.secrets(&manifest.credentials);
            Some(self.load(entry, component, credentials))
        });
        let mut loaded = Loaded::new();
        for result in futures_util::future::join_all(loading).await {
            match result {
                Ok(plugin) => {
                    loaded.insert(plugin.name.clone(), plugin);
                }
                Err(list) => problems.list.extend(list),
            }
        }
        loaded
    }

    async fn load(
        &self,
        entry: &PluginEntry,
        source: Component,
        credentials: BTreeMap<String, Bound>,
    ) -> Result<Arc<Plugin>, Vec<Problem>> {
        let identity = Identity {
            name: entry.name.clone(),
            digest: source.digest.clone(),
            terms: format!(
                "{:?} {:?} {:?} {:?} {:?} {} {:?}",
                entry.limits,
                entry.breaker,
                entry.instances,
                entry.grants,
                entry.output,
                entry.config,
                source.fixtures
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
            .map_err(|e| vec![problem(entry.grants_line, Step::Check, e)])?;
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
                    Step::Check,
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
        provider: Option<Provider>,
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
        if let manifest::Provider::Plugin(at) = &route.provider {
            let _ = member(at, &[Stage::Provider], OnFailure::Reject);
        }
        let loggers: Vec<_> = route
            .loggers
            .iter()
            .filter_map(|at| member(at, &[Stage::LogSink], OnFailure::Bypass))
            .collect();
        let undecoded = provider
            .as_ref()
            .and_then(|p| p.cannot_decode(&route, &filters));
        problems.extend(undecoded);
        let Some(provider) = provider.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Route {
            name: route.name,
            matches: route.matches,
            filters,
            rewriter,
            provider,
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
        let runs = |logger: &Arc<Logger>| logger.runs(&member.plugin, member.on_failure);
        if let Some(logger) = known.into_iter().find(runs) {
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

fn all_loggers(routes: &[Route]) -> Vec<Arc<Logger>> {
    let mut all: Vec<Arc<Logger>> = Vec::new();
    for logger in routes.iter().flat_map(|route| &route.loggers) {
        if !all.iter().any(|known| Arc::ptr_eq(known, logger)) {
            all.push(logger.clone());
        }
    }
    all
}

fn problem(line: usize, step: Step, message: String) -> Problem {
    Problem {
        line: Some(line),
        step,
        message,
        hint: None,
    }
}

fn unloadable(entry: &PluginEntry, error: &LoadError) -> Vec<Problem> {
    let LoadError::Configuration(errors) = error else {
        let message = format!("plugin \"{}\" ({}): {error}", entry.name, entry.source);
        return vec![problem(entry.source_line, step_of(error), message)];
    };
    let told = errors.iter().map(|e| {
        let message = format!(
            "plugin \"{}\": config {}: {}",
            entry.name, e.pointer, e.message
        );
        problem(entry.config_line(&e.pointer), Step::Probe, message)
    });
    told.collect()
}

/// The step that an error belongs to.
fn step_of(error: &LoadError) -> Step {
    match error {
        LoadError::NotAComponent(_) => Step::Compile,
        LoadError::Start(_) | LoadError::Configuration(_) | LoadError::Fixture(_) => Step::Probe,
        _ => Step::Check,
    }
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
    problem(at.line, Step::Check, message)
}

fn output(target: &OutputTarget, running: &mpsc::Sender<()>) -> std::io::Result<Output> {
    match target {
        OutputTarget::Log => Ok(Output::Log),
        OutputTarget::Stdout => Output::stdout(running.clone()),
        OutputTarget::File(path) => Output::file(path, running.clone()),
    }
}
