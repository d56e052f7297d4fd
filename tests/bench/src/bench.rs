//! The whole benchmark: what it needs, in which order, and what comes out.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::unistd::Pid;

use crate::arguments::{self, Program};
use crate::peers;
use crate::pgo;
use crate::process::{self, Process};
use crate::report::{Machine, Report, Row, Scaling};
use crate::rounds::{self, Samples};
use crate::subject::{self, Found, Running, Subject, Workshop};
use crate::workload::{self, Case};

/// Enough clients for two cores, and small requests.
const SCALING: Case = Case {
    bytes: 512,
    streamed: false,
    clients: 64,
    rate: None,
};

/// Where things are.
pub struct Places {
    /// The repository.
    pub root: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
}

impl Places {
    /// Those of the program that runs.
    pub fn here() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()?;
        let program = std::env::current_exe()?;
        // target/PROFILE/bench
        let target = program
            .ancestors()
            .nth(2)
            .context("the program is in no target directory")?;
        Ok(Self {
            root,
            target: target.to_owned(),
        })
    }

    fn peers(&self) -> PathBuf {
        self.target.join("bench/peers")
    }

    fn results(&self, record: bool) -> PathBuf {
        if record {
            self.root.join("tests/bench/results")
        } else {
            self.target.join("bench/results")
        }
    }
}

/// Does what the command line says.
pub fn run(wanted: &arguments::Bench) -> anyhow::Result<()> {
    let places = Places::here()?;
    if let Some(names) = &wanted.install_peers {
        let all = peers::ALL.map(str::to_owned);
        return peers::install(if names.is_empty() { &all } else { names }, &places.peers());
    }
    let results = places.results(wanted.record);
    let report = if wanted.redraw {
        Report::read(&results)?
    } else {
        measure(wanted)?
    };
    report.write(&results)?;
    println!("{}", report.markdown());
    eprintln!("written to {}", results.display());
    Ok(())
}

/// Measures what is wanted.
pub fn measure(wanted: &arguments::Bench) -> anyhow::Result<Report> {
    let (upstream, address) = upstream(Duration::ZERO)?;
    let workshop = workshop(&wanted.program, address)?;
    let (cases, rounds) = plan(wanted);
    let time = Duration::from_secs_f64(wanted.seconds);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;

    let (subjects, absent) = start(wanted, &workshop)?;
    let samples = runtime.block_on(rounds::run(&subjects, &cases, rounds, time))?;
    let rows = rows(&subjects, &cases, &samples);
    drop(subjects);
    let scaling = if wanted.no_scaling {
        None
    } else {
        eprintln!("one core, and two");
        Some(runtime.block_on(scaling(&workshop, &upstream, rounds, time))?)
    };
    drop(upstream);
    let machine = Machine::here();
    Ok(Report {
        machine,
        rounds,
        seconds: wanted.seconds,
        cases,
        rows,
        scaling,
        absent,
    })
}

fn plan(wanted: &arguments::Bench) -> (Vec<Case>, usize) {
    // Fewer rounds tell more of what else the machine did than of the subjects.
    let rounds = if wanted.quick { 1 } else { 7 };
    let rounds = wanted.rounds.map_or(rounds, usize::from);
    let cases = if wanted.quick {
        workload::quick()
    } else if wanted.sizes.is_empty() && wanted.clients.is_empty() {
        workload::usual()
    } else {
        let or = |given: &[usize], usual: &[usize]| {
            if given.is_empty() {
                usual.to_vec()
            } else {
                given.to_vec()
            }
        };
        let sizes = or(&wanted.sizes, &[512, 10 << 10, 100 << 10]);
        workload::full(&sizes, &or(&wanted.clients, &[1, 16, 64]))
    };
    (cases, rounds)
}

/// Starts what is wanted and there; one that does not serve is told of and
/// left out.
fn start(
    wanted: &arguments::Bench,
    workshop: &Workshop,
) -> anyhow::Result<(Vec<Running>, Vec<String>)> {
    let named = |name: &str| {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        };
        wanted.subjects.is_empty() || wanted.subjects.iter().any(fits)
    };
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    for found in subject::all(workshop, named)? {
        let told = match found {
            Found::Here(subject) => {
                let name = subject.name.clone();
                eprintln!("starting {name}");
                match Running::start(*subject) {
                    Ok(subject) => {
                        running.push(subject);
                        continue;
                    }
                    Err(error) => format!("{name} is left out: {error:#}"),
                }
            }
            Found::Absent { name, hint } => format!("{name} is not there: {hint}"),
        };
        eprintln!("{told}");
        absent.push(told);
    }
    ensure!(!running.is_empty(), "there is nothing to measure");
    Ok((running, absent))
}

fn rows(subjects: &[Running], cases: &[Case], samples: &Samples) -> Vec<Row> {
    subjects
        .iter()
        .map(|running| Row::of(running, cases, samples))
        .collect()
}

/// The same gateway on one core and on two, in turns. Load and upstream are on
/// the same cores: beside a gateway on one they would have another to
/// themselves, and beside one on two they would take from it.
async fn scaling(
    workshop: &Workshop,
    upstream: &Process,
    rounds: usize,
    time: Duration,
) -> anyhow::Result<Scaling> {
    let pinned = |processors: &str| -> anyhow::Result<Running> {
        let directory = workshop.directory.join(format!("on-{processors}"));
        let workshop = Workshop {
            directory,
            ..workshop.clone()
        };
        let mut subject: Subject = subject::four_plugins(&workshop)?;
        if let Some(launch) = &mut subject.launch {
            launch.processors = Some(processors.to_owned());
        }
        Running::start(subject)
    };
    let (one, two) = (pinned("0")?, pinned("0,1")?);
    let mut scaling = Scaling {
        subject: one.subject.name.clone(),
        one: Vec::new(),
        two: Vec::new(),
    };
    for _ in 0..rounds {
        let turns = [
            ("0", &one, &mut scaling.one),
            ("0,1", &two, &mut scaling.two),
        ];
        for (processors, running, found) in turns {
            upstream.pin(processors)?;
            process::pin(Pid::this(), processors)?;
            found.push(rounds::one(running, SCALING, time).await?);
        }
    }
    for found in [&scaling.one, &scaling.two] {
        ensure!(found.iter().any(Option::is_some), "it did not serve");
    }
    Ok(scaling)
}

/// Starts the upstream as a process of its own; answers where it listens.
pub fn upstream(interval: Duration) -> anyhow::Result<(Process, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("mock")
        .arg(format!("--interval={}", interval.as_millis()));
    let mut process = Process::start(command.stdout(Stdio::piped()))?;
    let stdout = process.stdout().context("the upstream has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line
        .trim()
        .parse()
        .context("the upstream does not say where it listens")?;
    Ok((process, address))
}

/// Builds what is measured.
pub fn workshop(program: &Program, upstream: SocketAddr) -> anyhow::Result<Workshop> {
    let places = Places::here()?;
    let palisade = match &program.palisade {
        Some(palisade) => palisade
            .canonicalize()
            .with_context(|| palisade.display().to_string())?,
        None if program.guided => pgo::built(&places)?,
        None => {
            cargo(&places, &["build", "--release", "--package", "palisade"])?;
            places.target.join("release/palisade")
        }
    };
    Ok(Workshop {
        directory: places.target.join("bench/run"),
        peers: places.peers(),
        upstream,
        palisade,
        guided: program.guided,
        watcher: guest(&places, "watcher")?,
    })
}

/// Builds one of the benchmark's guests; answers its component.
pub fn guest(places: &Places, name: &str) -> anyhow::Result<PathBuf> {
    let wasm = places.target.join("wasm");
    let target_dir = format!("--target-dir={}", wasm.display());
    let target = ["--target", "wasm32-wasip2", "--profile", "plugin"];
    cargo(
        places,
        &[&["build", "--package", name, &target_dir][..], &target].concat(),
    )?;
    Ok(wasm.join(format!("wasm32-wasip2/plugin/{name}.wasm")))
}

/// Runs cargo in the repository.
pub fn cargo(places: &Places, arguments: &[&str]) -> anyhow::Result<()> {
    succeed(cargo_in(places).args(arguments))
}

/// Cargo, to be run in the repository.
pub fn cargo_in(places: &Places) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&places.root);
    cargo
}

/// Runs a command to its end.
pub fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status();
    let status =
        status.with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
