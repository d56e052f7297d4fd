//! The `palisade` program: manifest → generation → listen → serve → drain.

use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use palisade::builtin;
use palisade::gateway::Gateway;
use palisade::generation::{Builder, Generation};
use palisade::manifest::{CacheDirectory, Log, Manifest};
use palisade::plugin::{Cache, Cost, Engines, Loader, Moment, Plugin, Prepared};
use palisade::reload::{self, Reloader};
use palisade::server::{self, Drained};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
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
    listen: Option<std::net::SocketAddr>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the manifest and every plugin, and serve nothing.
    Check,
    /// Write the first-party plugins to a directory, to copy or to replace.
    Export { directory: PathBuf },
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let code = match &arguments.command {
        None => runtime.block_on(serve(arguments)),
        Some(Command::Check) => runtime.block_on(check(&arguments.config)),
        Some(Command::Export { directory }) => export(directory),
    };
    // A compilation under way is of no use to anyone.
    runtime.shutdown_background();
    code
}

async fn serve(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (manifest, start) = reload::load(&arguments.config)?;
    start_log(&manifest.log);
    let listen = arguments.listen.unwrap_or(manifest.server.listen);
    let (running, mut ended) = mpsc::channel(1);
    let builder = builder(&manifest, running)?;
    let generation = builder.build(manifest).await?;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen} (is another server there? see `listen`)")
    })?;
    let (stopped, asked) = (stopped()?, hangups()?);
    announce(&generation, &listener)?;

    let gateway = Arc::new(Gateway::new(generation)?);
    let reloader = Reloader::new(gateway.clone(), builder, arguments.config.clone(), start);
    let reloading = tokio::spawn(reloader.run(asked));
    let drained = server::serve(gateway.clone(), listener, stopped).await;
    reloading.abort();
    let _ = reloading.await;
    drop(gateway);
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

/// Told whenever the process is asked to reload.
fn hangups() -> anyhow::Result<Arc<Notify>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    let asked = Arc::new(Notify::new());
    let told = asked.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            told.notify_one();
        }
    });
    Ok(asked)
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

fn announce(generation: &Generation, listener: &TcpListener) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    // Whoever started the process may not read what it says.
    let _ = writeln!(io::stdout(), "listening on http://{address}");
    for skipped in &generation.skipped {
        tracing::info!("{skipped}");
    }
    let (routes, plugins) = (generation.routes.len(), generation.plugins.len());
    tracing::info!(generation = generation.number, routes, plugins, "serving");
    Ok(())
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
            .chain([route.adapter.plugin.name.as_str()])
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
