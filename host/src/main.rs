//! The `palisade` program: manifest → generation → listen → serve → drain.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use palisade::admin::{Client, Listener, Question};
use palisade::builtin;
use palisade::generation::{Builder, Components, Generation};
use palisade::manifest::{Admin, CacheDirectory, Lock, Log, Manifest, Problems};
use palisade::plugin::{Cache, Cost, Engines, Loader, Moment, Plugin, Prepared};
use palisade::process::{self, Parts, Process};
use palisade::reload::{self, Control};
use palisade::server::Drained;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// An exchange makes some hundreds of small allocations, from all threads; the
/// C library's allocator took a sixth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long loggers may take to write what they have when all exchanges have
/// ended, or were cut off.
const FLUSH: Duration = Duration::from_secs(5);

/// An AI gateway whose every stage is a sandboxed WebAssembly component.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The manifest.
    #[arg(
        short,
        long,
        global = true,
        default_value = "proxy.toml",
        env = "PALISADE_CONFIG"
    )]
    config: PathBuf,
    /// Listen here instead of where the manifest says; port 0 takes a free one.
    #[arg(long, env = "PALISADE_LISTEN")]
    listen: Option<SocketAddr>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the manifest and every plugin, and serve nothing.
    Check,
    /// Write the first-party plugins to a directory, to copy or to replace.
    Export { directory: PathBuf },
    /// Write the digest of every plugin to the lock file beside the manifest.
    Lock,
    /// Tell what the running gateway is doing.
    Status(Asked),
    /// Tell how the plugins of the running gateway fare.
    Plugins(Asked),
    /// Print the metrics of the running gateway, as OpenMetrics text.
    Metrics,
    /// Load the files as they are now.
    Reload {
        /// Only tell what would be done.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Bring an earlier generation back, at once.
    Rollback {
        /// The generation's number, if it is not the one before.
        generation: Option<u64>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Have exchanges use a plugin again.
    Enable {
        name: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Have exchanges go on without a plugin, and refuse those that need it.
    Disable {
        name: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// How the running gateway's answer is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Asked {
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Command {
    /// What the running gateway is asked; none for what needs none.
    fn question(&self) -> Option<(Question, Asked)> {
        Some(match self {
            Command::Check | Command::Export { .. } | Command::Lock => return None,
            Command::Status(asked) => (Question::Status, *asked),
            Command::Plugins(asked) => (Question::Plugins, *asked),
            Command::Metrics => (Question::Metrics, Asked { json: false }),
            Command::Reload { dry_run, asked } => (Question::Reload { dry_run: *dry_run }, *asked),
            Command::Rollback { generation, asked } => (Question::Rollback(*generation), *asked),
            Command::Enable { name, asked } => (Question::Enable(name.clone()), *asked),
            Command::Disable { name, asked } => (Question::Disable(name.clone()), *asked),
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("palisade: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    process::keep_to_small_pages();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let code = match &arguments.command {
        None => runtime.block_on(serve(arguments)),
        Some(Command::Check) => runtime.block_on(check(&arguments.config)),
        Some(Command::Export { directory }) => export(directory),
        Some(Command::Lock) => runtime.block_on(lock(&arguments.config)),
        Some(command) => runtime.block_on(ask(command, &arguments.config)),
    };
    // A compilation under way is of no use to anyone.
    runtime.shutdown_background();
    code
}

/// A process that dies leaves no image of its memory: secrets are in it.
fn leave_no_core() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // It can always be lowered.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

async fn serve(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    leave_no_core();
    let ((manifest, components), start) = reload::load(&arguments.config).await?;
    start_log(&manifest.log);
    let listen = arguments.listen.unwrap_or(manifest.server.listen);
    let (running, mut ended) = mpsc::channel(1);
    let builder = builder(&manifest, running)?;
    let admin = manifest.admin.clone();
    let generation = builder.make(manifest, components).await?;
    let clients = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen} (is another server there? see `listen`)")
    })?;
    let administrators = match &admin {
        Some(at) => Some(Listener::bind(at).await?),
        None => None,
    };
    let (stopped, hangup) = (stopped()?, hangup()?);
    let at = clients.local_addr()?;
    let admin_at = administrators.as_ref().map(Listener::address).transpose()?;

    let parts = Parts {
        manifest: arguments.config.clone(),
        generation,
        start,
        builder,
        clients,
        administrators,
    };
    let mut process = Process::start(parts, stopped)?;
    announce(&process.gateway.generation(), at, admin_at);
    tokio::spawn(hangups(hangup, process.control.clone()));
    let drained = process.ended().await?;
    drop(process);
    // Loggers write what they have before the process ends.
    if tokio::time::timeout(FLUSH, ended.recv()).await.is_err() {
        tracing::warn!("stopped before every logger had written its records");
    }
    match drained {
        Drained::All => tracing::info!("stopped"),
        Drained::TimedOut => tracing::warn!("stopped before every exchange had ended"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Ready when the process is told to stop.
fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new exchanges are taken, those under way go on");
    })
}

fn hangup() -> io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
}

/// Asks for a reload whenever the process gets a hangup signal.
async fn hangups(mut hangup: tokio::signal::unix::Signal, control: Control) {
    while hangup.recv().await.is_some() {
        control.hangup();
    }
}

fn builder(manifest: &Manifest, running: mpsc::Sender<()>) -> anyhow::Result<Builder> {
    let engines = Engines::new(manifest.server.max_instances).map_err(|e| {
        anyhow::anyhow!("the plugin pool cannot be made (see `max-instances`): {e:#}")
    })?;
    let loader = Loader::new(engines, cache(&manifest.server.cache)?);
    Ok(Builder::new(loader, running))
}

/// Opens the cache. One that was asked for must be there; the default one is
/// left out where it cannot be had.
fn cache(wanted: &CacheDirectory) -> anyhow::Result<Option<Cache>> {
    match wanted {
        CacheDirectory::Off => Ok(None),
        CacheDirectory::Named(path) => Cache::open(path)
            .map(Some)
            .with_context(|| format!("the cache {} cannot be used (see `cache`)", path.display())),
        CacheDirectory::Default => {
            let opened = Cache::default_directory().map(|path| (Cache::open(&path), path));
            Ok(opened.and_then(|(opened, path)| {
                opened
                    .inspect_err(|error| {
                        let path = path.display();
                        tracing::info!(%path, %error, "compiled plugins are not kept");
                    })
                    .ok()
            }))
        }
    }
}

fn announce(generation: &Generation, clients: SocketAddr, administrators: Option<Admin>) {
    // Whoever started the process may not read what it says.
    let _ = writeln!(io::stdout(), "listening on http://{clients}");
    for skipped in &generation.skipped {
        tracing::info!("{skipped}");
    }
    if let Some(at) = administrators {
        tracing::info!("administered on {at}");
    }
    let (routes, plugins) = (generation.routes.len(), generation.plugins.len());
    tracing::info!(generation = generation.number, routes, plugins, "serving");
}

async fn check(config: &Path) -> anyhow::Result<ExitCode> {
    let manifest = Manifest::load(config)?;
    let (running, _ended) = mpsc::channel(1);
    let generation = builder(&manifest, running)?.build(manifest).await?;
    // A reader that has seen enough is no failure: `palisade check | head -1`.
    let _ = report(&generation, config, &mut io::stdout().lock());
    Ok(ExitCode::SUCCESS)
}

/// Writes what a manifest makes up.
fn report(generation: &Generation, config: &Path, out: &mut impl Write) -> io::Result<()> {
    for plugin in &generation.plugins {
        let stages: Vec<_> = plugin.stages().iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "plugin {}: {} (sha256 {})",
            plugin.name,
            stages.join(", "),
            plugin.digest
        )?;
        writeln!(out, "  {}", begins(plugin))?;
        for grant in plugin.unasked() {
            writeln!(out, "  never asks for its grant \"{grant}\"")?;
        }
    }
    for route in &generation.routes {
        let filters: Vec<_> = route
            .filters
            .iter()
            .map(|m| m.plugin.name.as_str())
            .collect();
        let rewriter = route.rewriter.as_ref().map(|m| m.plugin.name.as_str());
        let chain: Vec<_> = filters
            .into_iter()
            .chain(rewriter)
            .chain([route.provider.name()])
            .collect();
        writeln!(out, "route {}: {}", route.name, chain.join(" → "))?;
    }
    for skipped in &generation.skipped {
        writeln!(out, "{skipped}")?;
    }
    writeln!(out, "{}: ok", config.display())?;
    out.flush()
}

/// How a plugin's instances begin, and what that costs an exchange.
fn begins(plugin: &Plugin) -> String {
    let instances = plugin.terms().instances;
    let begins = match plugin.prepared() {
        Prepared::Snapshot(Moment::Configured) => {
            "instances: snapshot, without the rehearsal, which would change what it says".to_owned()
        }
        Prepared::Snapshot(_) | Prepared::Configured => format!("instances: {instances}"),
        Prepared::Without(why) => format!("instances: made ahead, as there is no snapshot: {why}"),
    };
    match plugin.cost() {
        Some(Cost { time, page_faults }) => format!(
            "{begins}; an exchange costs about {} µs and {page_faults:.1} page faults",
            time.as_micros()
        ),
        None => begins,
    }
}

/// Asks the running gateway of a manifest, and prints what it answers.
async fn ask(command: &Command, config: &Path) -> anyhow::Result<ExitCode> {
    let Some((question, asked)) = command.question() else {
        return Ok(ExitCode::SUCCESS);
    };
    let admin = Manifest::admin(config)?.with_context(|| {
        let hint = "add [admin] with `listen = \"unix:admin.sock\"`, and start the gateway again";
        format!("{} has no [admin] ({hint})", config.display())
    })?;
    let client = Client::new(admin)?;
    if !asked.json {
        let told = client.ask(&question).await?;
        let _ = io::stdout().write_all(told.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let (done, answer) = client.ask_json(&question).await?;
    let _ = writeln!(io::stdout(), "{answer}");
    Ok(if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Writes the lock file of a manifest.
async fn lock(config: &Path) -> anyhow::Result<ExitCode> {
    let mut manifest = Manifest::load(config)?;
    // What is locked is what is there, not what was there.
    manifest.reload.locked = None;
    let components = Components::read(&manifest).await;
    let lock = components.into_lock(&manifest).map_err(|list| Problems {
        file: config.to_owned(),
        list,
    })?;
    let file = Lock::file(config);
    lock.write(&file)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let _ = writeln!(
        io::stdout(),
        "{}: {} plugins",
        file.display(),
        lock.plugins.len()
    );
    Ok(ExitCode::SUCCESS)
}

fn export(directory: &Path) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    for name in builtin::names() {
        let file = directory.join(format!("{name}.wasm"));
        let bytes = builtin::component(name).unwrap_or_default();
        std::fs::write(&file, bytes).with_context(|| file.display().to_string())?;
        let _ = writeln!(io::stdout(), "{}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn start_log(log: &Log) {
    let filter: Targets = log
        .level
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(tracing::level_filters::LevelFilter::INFO));
    let ansi = io::IsTerminal::is_terminal(&io::stderr());
    let text = tracing_subscriber::fmt::layer()
        .with_ansi(ansi)
        .with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    if log.json {
        registry.with(text.json()).init();
    } else {
        registry.with(text).init();
    }
}
