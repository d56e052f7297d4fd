//! What is measured: how each subject is configured and started. A subject that
//! is not installed here is absent, with a line that says how to get it.
//!
//! - `palisade`: the gateway, by number of plugins and policy of instances
//! - `proxies`: nginx, haproxy, and the bare proxy of this crate
//! - `envoy`: bare, and with filters in WebAssembly
//! - `gateways`: LiteLLM and Portkey

mod envoy;
mod gateways;
mod palisade;
mod proxies;
mod running;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

pub use envoy::build_filter;
pub use palisade::{Policy, RELOADED};
pub use running::Running;

use crate::load::Target;

/// What all subjects are made of.
#[derive(Debug, Clone)]
pub struct Workshop {
    /// Where configurations, keys and logs are written.
    pub directory: PathBuf,
    /// Where `--install-peers` puts what it installs.
    pub peers: PathBuf,
    /// The upstream that answers.
    pub upstream: SocketAddr,
    /// The `palisade` program.
    pub palisade: PathBuf,
    /// Whether its build was guided by a profile.
    pub guided: bool,
    /// The component of the filter of answers.
    pub watcher: PathBuf,
}

/// Something to be measured.
#[derive(Debug, Clone)]
pub struct Subject {
    pub name: String,
    /// A few words for the table.
    pub what: String,
    pub version: String,
    pub target: Target,
    /// None for the upstream itself, which runs already.
    pub launch: Option<Launch>,
    /// Whether it starts quickly enough to be started twice, so that the
    /// second start finds warm caches.
    pub starts_quickly: bool,
}

/// A command line that can be run again.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// Where its output goes.
    pub log: PathBuf,
    /// The processors that it may use, as `taskset` wants them.
    pub processors: Option<String>,
}

/// A subject, or why there is none.
#[derive(Debug)]
pub enum Found {
    Here(Box<Subject>),
    Absent { name: String, hint: String },
}

/// All subjects whose name is wanted, in the order in which they are measured.
pub fn all(workshop: &Workshop, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<Found>> {
    let mut found = vec![Found::here(direct(workshop))];
    found.extend(palisade::all(workshop)?);
    found.push(Found::here(proxies::hyper(workshop)?));
    found.push(proxies::nginx(workshop)?);
    found.push(proxies::haproxy(workshop)?);
    found.extend(envoy::all(workshop)?);
    found.push(gateways::portkey(workshop)?);
    found.push(gateways::litellm(workshop)?);
    found.retain(|found| wanted(found.name()));
    Ok(found)
}

/// The subject whose targets are about four plugins, to be pinned.
pub fn four_plugins(workshop: &Workshop) -> anyhow::Result<Subject> {
    palisade::with_policy(workshop, Policy::Default)
}

/// A gateway for many slow streams: without plugins besides the adapter, or
/// with a filter that lives as long as each stream.
pub fn for_streams(workshop: &Workshop, streams: usize, watched: bool) -> anyhow::Result<Subject> {
    palisade::for_streams(workshop, streams, watched)
}

/// A gateway whose filter is a file of the directory that comes with it.
pub fn for_reload(workshop: &Workshop) -> anyhow::Result<(Subject, PathBuf)> {
    palisade::for_reload(workshop)
}

fn direct(workshop: &Workshop) -> Subject {
    Subject {
        name: "direct".to_owned(),
        what: "no proxy".to_owned(),
        version: String::new(),
        target: chat(workshop.upstream),
        launch: None,
        starts_quickly: false,
    }
}

impl Found {
    fn here(subject: Subject) -> Self {
        Self::Here(Box::new(subject))
    }

    fn absent(name: &str, hint: &str) -> Self {
        Self::Absent {
            name: name.to_owned(),
            hint: hint.to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Here(subject) => &subject.name,
            Self::Absent { name, .. } => name,
        }
    }
}

impl Workshop {
    /// A fresh directory for a subject.
    fn place(&self, name: &str) -> anyhow::Result<PathBuf> {
        let place = self.directory.join(name);
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
        }
        fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
        Ok(place)
    }
}

impl Launch {
    fn new(program: impl Into<PathBuf>, arguments: &[&str], place: &Path) -> Self {
        Self {
            program: program.into(),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            variables: Vec::new(),
            log: place.join("output.log"),
            processors: None,
        }
    }

    /// The command, with its output in the log.
    pub fn command(&self) -> anyhow::Result<Command> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = match &self.processors {
            None => Command::new(&self.program),
            Some(processors) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", processors]).arg(&self.program);
                command
            }
        };
        command
            .args(&self.arguments)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }
}

/// The path on which chat is spoken, at an address.
fn chat(address: SocketAddr) -> Target {
    Target {
        address,
        path: "/v1/chat/completions".to_owned(),
        headers: Vec::new(),
    }
}

/// An address of this machine that nobody listens on.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A program in the usual places.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only root's path leads.
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let directories = std::env::split_paths(&path).chain(usual);
    directories
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// The first line that a program says of its version, as far as it is one.
fn version(program: &Path, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else {
        return String::new();
    };
    let all = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&all);
    let words = text.split(|c: char| c.is_whitespace() || "/,-".contains(c));
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    words
        .into_iter()
        .find(number)
        .unwrap_or_default()
        .trim_end_matches(',')
        .to_owned()
}
