//! The manifest, `proxy.toml`: what an operator decides.
//!
//! Reading goes from raw to valid in one step (`read`), collecting every
//! problem with its line. What comes out holds only what is right in itself;
//! whether plugins can be loaded and serve the stages that routes give them is
//! `generation`'s to find out, with problems of the same form.

mod environment;
mod lock;
mod problem;
mod read;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobMatcher;
use http::HeaderName;

pub use environment::{Environment, SecretSource};
pub use lock::{Lock, Locked};
pub use problem::{Problem, Problems, Step};

use crate::callout::Bound;
use crate::plugin::{Breaker, Grant, Instances, Limits, OnFailure};
use crate::secret::Secret;
use crate::upstream::Base;

/// A manifest that is right in itself.
#[derive(Debug)]
pub struct Manifest {
    pub file: PathBuf,
    pub server: Server,
    pub reload: Reload,
    /// Where the gateway is administered; none if it is not.
    pub admin: Option<Admin>,
    pub log: Log,
    pub credentials: BTreeMap<String, Credential>,
    pub keys: Vec<ClientKey>,
    pub plugins: BTreeMap<String, PluginEntry>,
    pub routes: Vec<RouteEntry>,
}

/// The gateway's own bounds. Each has a default with a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    /// Origins whose pages may use the gateway from a browser; "*" is any.
    pub cors_origins: Vec<String>,
    /// The largest request body, in bytes. 32 MiB is what Anthropic takes, and
    /// more than OpenAI's 20 MiB of images.
    pub max_request_body: usize,
    /// The largest answer that must be held whole, in bytes: one that is
    /// decoded and is not a stream.
    pub max_response_body: usize,
    /// The largest frame of a streamed answer, in bytes. Generated images come
    /// in one frame.
    pub max_frame: usize,
    /// How many threads serve connections: as many as there are cores.
    pub workers: u32,
    /// How many connections are open at a time; more wait to be accepted.
    pub max_connections: u32,
    /// How many exchanges are under way at a time; more are answered 503.
    pub max_exchanges: u32,
    /// How many plugin instances there are at a time; when all are in use, 503.
    pub max_instances: u32,
    /// How long a client may take to send its head, and then its body.
    pub request_timeout: Duration,
    /// How long exchanges may go on after the gateway was told to stop.
    pub drain_timeout: Duration,
    /// Whether answers tell where their time went.
    pub server_timing: bool,
    /// How long a changed file must be quiet before it is loaded.
    pub settle: Duration,
    pub cache: CacheDirectory,
}

/// Where compiled components are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheDirectory {
    /// Where the user's caches are.
    Default,
    Named(PathBuf),
    /// Nowhere: they are compiled at each start.
    Off,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            cors_origins: Vec::new(),
            max_request_body: 32 << 20,
            max_response_body: 64 << 20,
            max_frame: 16 << 20,
            workers: cores(),
            max_connections: 4096,
            max_exchanges: 1024,
            max_instances: 2048,
            request_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            server_timing: false,
            settle: Duration::from_millis(100),
            cache: CacheDirectory::Default,
        }
    }
}

fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(1)
}

/// How files become generations, and how long earlier ones are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    pub watch: Watch,
    /// How many earlier generations can be brought back at once. Each keeps
    /// its compiled plugins, of which unchanged ones are shared.
    pub keep: u32,
    /// How many replaced generations may still have exchanges under way; a
    /// reload waits for one of them to end when it is reached.
    pub max_draining: u32,
    /// For how long after a reload a plugin that is new may bring the earlier
    /// generation back by failing; none if never.
    pub auto_rollback: Option<Duration>,
    /// The line that demands a digest in the lock file for every plugin.
    pub locked: Option<usize>,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            watch: Watch::Notify,
            keep: 5,
            // Long streams last minutes, and files change that often only
            // while someone works on them.
            max_draining: 8,
            auto_rollback: None,
            locked: None,
        }
    }
}

/// How changes of files are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The system tells; a look now and then makes it certain.
    Notify,
    /// By looking, for file systems that do not tell.
    Poll,
}

/// Where the gateway is administered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    /// A socket in the file system, which only its owner may use.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Admin::Unix(path) => write!(f, "unix:{}", path.display()),
            Admin::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// What the gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A filter: "info", "warn", "palisade=debug,info".
    pub level: String,
    /// JSON lines instead of text.
    pub json: bool,
}

/// A provider's credential, and the hosts that may see it.
#[derive(Debug)]
pub struct Credential {
    pub source: SecretSource,
    /// None if it is not there: what needs it is then refused or skipped.
    pub secret: Option<Secret>,
    /// Host names, in lower case.
    pub hosts: BTreeSet<String>,
}

/// A key by which clients are known.
#[derive(Debug)]
pub struct ClientKey {
    pub name: String,
    pub source: SecretSource,
    pub secret: Secret,
}

/// Where a plugin's component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is part of the gateway: `builtin:NAME`.
    Builtin(String),
    File(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Source::Builtin(name) => write!(f, "builtin:{name}"),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Where the manifest directs a plugin's standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputTarget {
    Log,
    Stdout,
    File(PathBuf),
}

/// A plugin, as the manifest has it.
#[derive(Debug)]
pub struct PluginEntry {
    pub name: String,
    pub line: usize,
    pub source: Source,
    pub source_line: usize,
    /// The digest that the component must have.
    pub sha256: Option<reader::At<String>>,
    /// Its configuration, as JSON text.
    pub config: String,
    /// The line of each pointer into the configuration.
    config_lines: Vec<(String, usize)>,
    pub grants: BTreeSet<Grant>,
    pub grants_line: usize,
    pub limits: Limits,
    pub breaker: Breaker,
    pub instances: Instances,
    /// None takes the stage's default: bypass for loggers, else reject.
    pub on_failure: Option<OnFailure>,
    /// A file of requests with what it must do about them.
    pub fixtures: Option<reader::At<PathBuf>>,
    pub output: OutputTarget,
    /// The base URL below which an adapter's requests go.
    pub upstream: Option<Base>,
    /// The credential that goes with them.
    pub credential: Option<String>,
}

impl PluginEntry {
    /// The credentials that may be placed in the plugin's own requests.
    pub fn secrets(&self, credentials: &BTreeMap<String, Credential>) -> BTreeMap<String, Bound> {
        let named = self.grants.iter().filter_map(|grant| match grant {
            Grant::Secret(name) => Some((name, credentials.get(name)?)),
            _ => None,
        });
        let bound = named.map(|(name, credential)| {
            let bound = Bound {
                secret: credential.secret.clone(),
                hosts: credential.hosts.clone(),
            };
            (name.clone(), bound)
        });
        bound.collect()
    }

    /// The line of what a pointer into the configuration names, or of the
    /// nearest thing around it.
    pub fn config_line(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some((_, line)) = self.config_lines.iter().find(|(p, _)| p == pointer) {
                return *line;
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return self.line,
            }
        }
    }
}

/// What a request must be for a route to take it. Whatever is absent matches
/// anything.
#[derive(Debug, Default)]
pub struct Match {
    /// One of these globs matches the path.
    pub paths: Vec<GlobMatcher>,
    /// One of these globs matches the model that the body names.
    pub models: Vec<GlobMatcher>,
    /// Each of these header fields has a value that its glob matches.
    pub headers: Vec<(HeaderName, GlobMatcher)>,
    /// One of these client keys was presented.
    pub keys: Vec<String>,
}

/// What to do with a route whose provider's credential is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutCredential {
    /// It takes its requests and refuses them, saying what is missing.
    Refuse,
    /// It is left out, and the next one that matches takes them.
    Skip,
}

/// A name that refers to a plugin, with its line.
pub type PluginName = reader::At<String>;

/// What a route speaks to, as the manifest has it.
#[derive(Debug)]
pub enum Provider {
    /// An adapter, which knows its upstream.
    Plugin(PluginName),
    Direct(Direct),
}

/// An upstream that speaks what its clients speak.
#[derive(Debug)]
pub struct Direct {
    pub upstream: Base,
    pub credential: Option<reader::At<String>>,
    /// Where the credential is put.
    pub kind: crate::plugin::Credential,
}

/// A route, as the manifest has it.
#[derive(Debug)]
pub struct RouteEntry {
    pub name: String,
    pub line: usize,
    pub matches: Match,
    pub filters: Vec<PluginName>,
    pub rewriter: Option<PluginName>,
    pub provider: Provider,
    pub loggers: Vec<PluginName>,
    pub without_credential: WithoutCredential,
    /// How long the upstream may take to begin its answer. The official SDKs
    /// wait ten minutes.
    pub first_byte_timeout: Duration,
    /// How long it may then be silent.
    pub idle_timeout: Duration,
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        let directory = file.parent().unwrap_or(Path::new("."));
        let text = std::fs::read_to_string(file)
            .map_err(|e| Problems::one(file, Step::Read, format!("cannot be read: {e}")))?;
        let environment = Environment::read(directory)
            .map_err(|message| Problems::one(file, Step::Read, message))?;
        Self::parse(file, &text, &environment)
    }

    /// Every file that this manifest is made of, itself among them: a change
    /// of any is a reason to reload.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        let mut files = BTreeSet::from([self.file.clone(), directory.join(".env")]);
        files.extend(
            self.plugins
                .values()
                .filter_map(|plugin| match &plugin.source {
                    Source::File(path) => Some(path.clone()),
                    Source::Builtin(_) => None,
                }),
        );
        let fixtures = self.plugins.values().filter_map(|p| p.fixtures.as_ref());
        files.extend(fixtures.map(|at| at.value.clone()));
        if self.reload.locked.is_some() {
            files.insert(Lock::file(&self.file));
        }
        let credentials = self.credentials.values().map(|entry| &entry.source);
        let secrets = credentials.chain(self.keys.iter().map(|key| &key.source));
        files.extend(secrets.filter_map(|source| match source {
            SecretSource::File(path) => Some(directory.join(path)),
            SecretSource::Variable(_) => None,
        }));
        files
    }

    /// Where the gateway of a manifest is administered, whatever else is wrong
    /// with the manifest.
    pub fn admin(file: &Path) -> Result<Option<Admin>, Problems> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| Problems::one(file, Step::Read, format!("cannot be read: {e}")))?;
        read::only_admin(file, &text)
    }

    /// Checks the text of a manifest.
    pub fn parse(file: &Path, text: &str, environment: &Environment) -> Result<Self, Problems> {
        read::manifest(file, text, environment)
    }
}
