//! Making plugins of components: compile, take a snapshot, rehearse, and keep
//! what was compiled.
//!
//! One plugin is loaded on a thread of its own, from the first byte to the
//! last check, and a bounded number at a time. While the gateway serves these
//! threads step back for those of exchanges.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::{Cache, Stored};
use super::code::Code;
use super::engine::Engines;
use super::grants::capabilities;
use super::rehearse;
use super::snapshot::{self, Moment, SnapshotError};
use super::tie;
use super::{
    CONTRACT, Capability, Fixture, Grant, Instances, Learnt, LoadError, Plugin, Prepared, Terms,
};

/// How many compiled components are kept in memory, used or not: going back to
/// an earlier file then compiles nothing. One takes about as much memory as its
/// code.
const MAX_COMPILED: usize = 64;

/// How far a thread that loads steps back while the gateway serves, of 19.
const STEP_BACK: i32 = 10;

/// A component, as it was read.
#[derive(Debug, Clone)]
pub struct Source {
    pub bytes: Arc<Vec<u8>>,
    /// SHA-256 of the bytes, in hexadecimal digits.
    pub digest: String,
    /// What the plugin must do about requests of its own.
    pub fixtures: Vec<Fixture>,
}

impl Source {
    pub fn new(bytes: Vec<u8>) -> Self {
        let digest = hex(&Sha256::digest(&bytes));
        let bytes = Arc::new(bytes);
        Self {
            bytes,
            digest,
            fixtures: Vec::new(),
        }
    }
}

/// Makes plugins, and compiles each component only once.
pub struct Loader {
    engines: Engines,
    cache: Option<Cache>,
    /// Plugins that are loaded at a time.
    places: Semaphore,
    serving: AtomicBool,
    /// The most recently used one last.
    compiled: Mutex<Vec<(Compilation, Code)>>,
}

/// What compiled code depends on: the name that it is stored under, and what is
/// linked.
type Compilation = (String, BTreeSet<Capability>);

impl Loader {
    pub fn new(engines: Engines, cache: Option<Cache>) -> Arc<Self> {
        Arc::new(Self {
            engines,
            cache,
            places: Semaphore::new(cores()),
            serving: AtomicBool::new(false),
            compiled: Mutex::default(),
        })
    }

    /// The first generation is made: from now on half of the cores are left to
    /// traffic.
    pub fn make_room(&self) {
        if !self.serving.swap(true, Ordering::Relaxed) {
            self.places.forget_permits(cores() - (cores() / 2).max(1));
        }
    }

    /// Makes a plugin of a component, and checks that it can serve.
    pub async fn load(
        self: &Arc<Self>,
        source: Source,
        terms: Terms,
    ) -> Result<Arc<Plugin>, LoadError> {
        let _place = self.places.acquire().await;
        let (done, result) = oneshot::channel();
        let (loader, runtime) = (self.clone(), Handle::current());
        let steps_back = self.serving.load(Ordering::Relaxed);
        let run = move || {
            if steps_back {
                let _ = rustix::process::nice(STEP_BACK);
            }
            let loading = Loading {
                loader: &loader,
                source: &source,
                terms: Arc::new(terms),
            };
            let _ = done.send(runtime.block_on(loading.load()));
        };
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(run);
        let failed = |reason: String| LoadError::NotAComponent(reason);
        thread.map_err(|e| failed(format!("no thread can be started: {e}")))?;
        result
            .await
            .unwrap_or_else(|_| Err(failed("loading it failed".to_owned())))
    }

    fn known(&self, key: &Compilation) -> Option<Code> {
        let mut compiled = self.compiled();
        let at = compiled.iter().position(|(known, _)| known == key)?;
        let entry = compiled.remove(at);
        let code = entry.1.clone();
        compiled.push(entry);
        Some(code)
    }

    fn keep(&self, key: Compilation, code: &Code) {
        let mut compiled = self.compiled();
        compiled.retain(|(known, _)| *known != key);
        if compiled.len() >= MAX_COMPILED {
            compiled.remove(0);
        }
        compiled.push((key, code.clone()));
    }

    fn compiled(&self) -> std::sync::MutexGuard<'_, Vec<(Compilation, Code)>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One plugin that is being loaded.
struct Loading<'l> {
    loader: &'l Loader,
    source: &'l Source,
    terms: Arc<Terms>,
}

impl Loading<'_> {
    fn grants(&self) -> &BTreeSet<Grant> {
        self.terms.given.grants()
    }

    fn checked(&self, component: Component) -> Result<Code, LoadError> {
        Code::of(component, self.grants(), &self.source.bytes)
    }

    async fn load(&self) -> Result<Arc<Plugin>, LoadError> {
        let mut prepared = Prepared::Configured;
        if self.terms.instances == Instances::Snapshot {
            match self.snapshotted().await {
                Ok(plugin) => return Ok(plugin),
                Err(NoPlugin::Refused(error)) => return Err(error),
                Err(NoPlugin::NoSnapshot(why)) => prepared = Prepared::Without(why.to_string()),
            }
        }
        let code = self.compiled("plain", &self.loader.engines.serving, "", || {
            Ok(self.source.bytes.clone())
        })?;
        let (learnt, _) = self.rehearsed(code.clone()).await?;
        Ok(self.plugin(code).serving(prepared, learnt))
    }

    /// A plugin whose instances begin from a snapshot.
    async fn snapshotted(&self) -> Result<Arc<Plugin>, NoPlugin> {
        for moment in [Moment::Rehearsed, Moment::Configured] {
            if let Some(plugin) = self.taken(moment).await? {
                return Ok(plugin);
            }
        }
        match self.take(Moment::Rehearsed).await {
            // What it kept of the rehearsal may be what stands in the way.
            Err(NoPlugin::NoSnapshot(SnapshotError::Differs | SnapshotError::Start(_))) => {
                self.take(Moment::Configured).await
            }
            other => other,
        }
    }

    /// A plugin whose snapshot was taken before, here or by a process before
    /// this one.
    async fn taken(&self, moment: Moment) -> Result<Option<Arc<Plugin>>, LoadError> {
        let key = (self.image_name(moment), capabilities(self.grants()));
        let known = self.loader.known(&key);
        let stored = self.stored(moment);
        let Some(stand_in) = self.again(stored.as_ref())?.or_else(|| known.clone()) else {
            return Ok(None);
        };
        // Needed once more only if nothing is known yet.
        let stored = stored.filter(|_| known.is_none());
        let (learnt, _) = self.rehearsed(stand_in).await?;
        let code = match known {
            Some(code) => Some(code),
            None => self.again(stored.as_ref())?,
        };
        Ok(code.map(|code| self.snapshot(code, moment, learnt)))
    }

    fn stored(&self, moment: Moment) -> Option<Stored> {
        let cache = self.loader.cache.as_ref()?;
        cache.load(&self.image_name(moment))
    }

    /// The code of a snapshot that was stored, with the memory that its
    /// instances begin with.
    ///
    /// Each time it is loaded it has places of its own in the pool, and what
    /// serves is not what rehearsed: the pages that were ever written to in a
    /// place are put back after each exchange, and a rehearsal of all that a
    /// plugin can do writes to two or three times as many as an exchange.
    /// Without a cache nothing is stored, and what has rehearsed serves.
    fn again(&self, stored: Option<&Stored>) -> Result<Option<Code>, LoadError> {
        let engine = &self.loader.engines.serving;
        let Some(component) = stored.and_then(|stored| stored.component(engine)) else {
            return Ok(None);
        };
        // Or its first exchange would make it, and meet what stands in the way.
        let image = component.initialize_copy_on_write_image();
        image.map_err(|e| LoadError::NotAComponent(format!("{e:#}")))?;
        Ok(Some(
            self.checked(component)?
                .image(&self.source.digest, self.grants()),
        ))
    }

    /// A plugin whose instances begin from a snapshot, and whose code is kept.
    fn snapshot(&self, code: Code, moment: Moment, learnt: Learnt) -> Arc<Plugin> {
        let key = (self.image_name(moment), capabilities(self.grants()));
        self.loader.keep(key, &code);
        self.plugin(code)
            .serving(Prepared::Snapshot(moment), learnt)
    }

    fn image_name(&self, moment: Moment) -> String {
        // What a rehearsal was given may be what it remembers.
        let (grants, config) = (self.grants(), &self.terms.config);
        let salt = format!(
            "{moment:?}\0{}\0{}\0{grants:?}\0{config}",
            rehearse::VERSION,
            tie::VERSION
        );
        self.name("snapshot", &self.loader.engines.serving, &salt)
    }

    /// Takes a snapshot, and checks that it behaves as the component does.
    async fn take(&self, moment: Moment) -> Result<Arc<Plugin>, NoPlugin> {
        let instrumented = self.instrumented()?;
        let terms = Arc::new(self.terms.rehearsal());
        let digest = self.source.digest.clone();
        let places = self.loader.engines.places.clone();
        let stand_in = Plugin::new(instrumented, digest, terms, places);
        let stand_in = match stand_in.described().await {
            Err(LoadError::Start(error)) => return Err(SnapshotError::Start(error).into()),
            described => described?,
        };
        let (image, before) = snapshot::take(&self.source.bytes, &stand_in, moment).await?;
        if let Some(tied) = self.tied(&image) {
            match self.imaged(&tied, moment, &before).await {
                Err(NoPlugin::NoSnapshot(SnapshotError::Start(error))) => {
                    tracing::debug!(plugin = %self.terms.name, %error, "its modules stay as they are");
                }
                made => return made,
            }
        }
        let component = Component::from_binary(&self.loader.engines.serving, &image)
            .map_err(|e| SnapshotError::Image(format!("{e:#}")))?;
        self.imaged(&component, moment, &before).await
    }

    /// The component in the form that its state can be read from.
    fn instrumented(&self) -> Result<Code, NoPlugin> {
        let compiled_for = |engine: &Engine| {
            self.compiled("instrumented", engine, "", || {
                let bytes = taken_apart(|| snapshot::instrument(&self.source.bytes));
                let bytes = bytes
                    .ok_or_else(|| SnapshotError::Shape("it cannot be taken apart".to_owned()))??;
                Ok(Arc::new(bytes))
            })
        };
        let mut why_not = String::new();
        for engine in &self.loader.engines.rehearsing {
            why_not = match taken_apart(|| compiled_for(engine)) {
                None => "its compiler failed".to_owned(),
                // A proposal that its compiler does not know.
                Some(Err(NoPlugin::Refused(LoadError::NotAComponent(why)))) => why,
                Some(compiled) => return compiled,
            };
            tracing::debug!(plugin = %self.terms.name, why_not, "not in this engine");
        }
        Err(SnapshotError::Shape(why_not).into())
    }

    /// The plugin that an image makes, if it behaves as the component did.
    async fn imaged(
        &self,
        component: &Component,
        moment: Moment,
        before: &rehearse::Outcomes,
    ) -> Result<Arc<Plugin>, NoPlugin> {
        let code = self
            .checked(component.clone())?
            .image(&self.source.digest, self.grants());
        let (learnt, after) = self.rehearsed(code.clone()).await?;
        if !moment.is_faithful(before, &after) {
            return Err(SnapshotError::Differs.into());
        }
        self.store(&self.image_name(moment), component);
        let stored = self.stored(moment);
        let code = self.again(stored.as_ref())?.unwrap_or(code);
        Ok(self.snapshot(code, moment, learnt))
    }

    /// An image whose instances are made sooner, if it can be had.
    fn tied(&self, image: &[u8]) -> Option<Component> {
        let names = tie::Names::of(&self.source.digest);
        let tied = match taken_apart(|| tie::tie(image, &names))? {
            Ok(tied) => tied,
            Err(why) => {
                tracing::debug!(plugin = %self.terms.name, %why, "its modules stay as they are");
                return None;
            }
        };
        if let Some(why) = tied.lasts {
            tracing::debug!(plugin = %self.terms.name, %why, "its instances are not put back");
        }
        let compiled = Component::from_binary(&self.loader.engines.serving, &tied.component);
        compiled
            .inspect_err(|error| {
                tracing::debug!(plugin = %self.terms.name, %error, "its modules stay as they are");
            })
            .ok()
    }

    /// Starts a plugin once: asks an adapter what it takes, shows it the
    /// samples, measures what an exchange costs.
    async fn rehearsed(&self, code: Code) -> Result<(Learnt, rehearse::Outcomes), LoadError> {
        self.plugin(code).rehearse(&self.source.fixtures).await
    }

    fn plugin(&self, code: Code) -> Plugin {
        let digest = self.source.digest.clone();
        let places = self.loader.engines.places.clone();
        Plugin::new(code, digest, self.terms.clone(), places)
    }

    /// Compiles what `bytes` answers, unless that was done before, here or by
    /// a process before this one.
    fn compiled(
        &self,
        kind: &str,
        engine: &Engine,
        salt: &str,
        bytes: impl FnOnce() -> Result<Arc<Vec<u8>>, NoPlugin>,
    ) -> Result<Code, NoPlugin> {
        let name = self.name(kind, engine, salt);
        let key = (name.clone(), capabilities(self.grants()));
        if let Some(code) = self.loader.known(&key) {
            return Ok(code);
        }
        let stored = self.loader.cache.as_ref();
        let stored = stored.and_then(|cache| cache.load(&name));
        let component = match stored.and_then(|stored| stored.component(engine)) {
            Some(component) => component,
            None => {
                let compiled = Component::from_binary(engine, &bytes()?);
                let compiled = compiled.map_err(|e| LoadError::NotAComponent(format!("{e:#}")))?;
                self.store(&name, &compiled);
                compiled
            }
        };
        let code = self.checked(component)?;
        self.loader.keep(key, &code);
        Ok(code)
    }

    fn store(&self, name: &str, component: &Component) {
        let Some(cache) = &self.loader.cache else {
            return;
        };
        if let Err(error) = cache.store(name, component) {
            tracing::warn!(%error, "compiled code is not kept");
        }
    }

    /// What compiled code is stored under: all that it depends on.
    fn name(&self, kind: &str, engine: &Engine, salt: &str) -> String {
        let mut settings = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        let parts = [kind, CONTRACT, &self.source.digest, salt];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.update(settings.finish().to_le_bytes());
        hex(&hash.finalize())
    }
}

/// Why an attempt made no plugin.
enum NoPlugin {
    /// Nor will any other.
    Refused(LoadError),
    /// It can be had without a snapshot.
    NoSnapshot(SnapshotError),
}

impl From<SnapshotError> for NoPlugin {
    fn from(error: SnapshotError) -> Self {
        Self::NoSnapshot(error)
    }
}

impl From<LoadError> for NoPlugin {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Start(error) => Self::NoSnapshot(SnapshotError::Start(error)),
            refused => Self::Refused(refused),
        }
    }
}

impl From<NoPlugin> for LoadError {
    fn from(error: NoPlugin) -> Self {
        match error {
            NoPlugin::Refused(error) => error,
            NoPlugin::NoSnapshot(why) => Self::NotAComponent(why.to_string()),
        }
    }
}

/// What taking a component apart, or compiling it, answers; none if that panics.
fn taken_apart<T>(how: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(how)).ok()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
