//! The manifest, `proxy.toml`: what an operator decides.
//!
//! Reading goes from raw to valid in one step (`read`), collecting every
//! problem with its line. What comes out holds only what is right in itself;
//! whether plugins can be loaded and serve the stages that routes give them is
//! `generation`'s to find out, with problems of the same form.

mod environment;
mod problem;
mod read;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobMatcher;
use http::HeaderName;

pub use environment::{Environment, SecretSource};
pub use problem::{Problem, Problems};

use crate::callout::Bound;
use crate::plugin::{Breaker, Grant, Instances, Limits, OnFailure};
use crate::secret::Secret;

/// A manifest that is right in itself.
#[derive(Debug)]
pub struct Manifest {
    pub file: PathBuf,
    pub server: Server,
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
            max_connections: 4096,
            max_exchanges: 1024,
            max_instances: 2048,
            request_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            settle: Duration::from_millis(100),
            cache: CacheDirectory::Default,
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
    pub output: OutputTarget,
    /// The base URL below which an adapter's requests go.
    pub upstream: Option<reqwest::Url>,
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

/// A route, as the manifest has it.
#[derive(Debug)]
pub struct RouteEntry {
    pub name: String,
    pub line: usize,
    pub matches: Match,
    pub filters: Vec<PluginName>,
    pub rewriter: Option<PluginName>,
    pub provider: PluginName,
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
            .map_err(|e| Problems::one(file, format!("cannot be read: {e}")))?;
        let environment =
            Environment::read(directory).map_err(|message| Problems::one(file, message))?;
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
        let secrets = self
            .credentials
            .values()
            .map(|credential| &credential.source);
        files.extend(secrets.filter_map(|source| match source {
            SecretSource::File(path) => Some(directory.join(path)),
            SecretSource::Variable(_) => None,
        }));
        files
    }

    /// Checks the text of a manifest.
    pub fn parse(file: &Path, text: &str, environment: &Environment) -> Result<Self, Problems> {
        read::manifest(file, text, environment)
    }
}
