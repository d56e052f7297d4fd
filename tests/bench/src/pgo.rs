//! A gateway that was optimised for what it does most (profile-guided
//! optimisation, <https://doc.rust-lang.org/rustc/profile-guided-optimization.html>).
//!
//! It is built twice. The first build counts how often each branch is taken
//! while it serves the benchmark's loads and compiles plugins that are saved; the
//! second is laid out by these counts: what runs for a request lies together,
//! and what seldom runs lies apart. The profile belongs to one state of the
//! sources and is not kept with them.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::arguments::{Bench, Program, Reload};
use crate::bench::{self, Places};
use crate::reload;

/// What the counting gateway is put under: each kind of exchange, and nothing
/// that a release would not meet.
const LOADS: [&str; 5] = [
    "palisade-0",
    "palisade-4",
    "palisade-4-events",
    "palisade-4-anthropic",
    "palisade-4-reuse",
];

/// For how many seconds plugins are saved under load.
const SAVING: f64 = 10.0;

/// The compiler that cargo uses here.
struct Compiler {
    /// The target that it runs on, and builds for.
    host: String,
    sysroot: PathBuf,
}

/// Builds the gateway, and says where it is.
pub fn run() -> anyhow::Result<()> {
    let places = Places::here()?;
    let compiler = Compiler::here()?;
    let merge = compiler.merge()?;
    let counts = places.target.join("pgo/counts");
    if counts.exists() {
        fs::remove_dir_all(&counts).with_context(|| counts.display().to_string())?;
    }
    let flag = format!("-Cprofile-generate={}", counts.display());
    let counting = build(&places, &compiler, "counting", &flag)?;
    bench::measure(&loads(counting.clone()))?;
    // Compilers of plugins are most of the program, and seldom run otherwise.
    reload::run(&Reload {
        seconds: SAVING,
        program: given(counting),
    })?;
    let profile = merged(&merge, &counts, &places.target.join("pgo"))?;
    let flag = format!("-Cprofile-use={}", profile.display());
    let guided = build(&places, &compiler, GUIDED, &flag)?;
    println!("{}", guided.display());
    Ok(())
}

/// The directory of the second build.
const GUIDED: &str = "guided";

/// The gateway that was built by [`run`].
pub fn built(places: &Places) -> anyhow::Result<PathBuf> {
    let program = program(places, &Compiler::here()?, GUIDED);
    let told = "there is no profile-guided build: `cargo run --release -p bench -- pgo` makes it";
    ensure!(program.exists(), told);
    Ok(program)
}

fn loads(counting: PathBuf) -> Bench {
    Bench {
        subjects: LOADS.map(str::to_owned).to_vec(),
        rounds: None,
        seconds: 1.0,
        quick: true,
        sizes: Vec::new(),
        clients: Vec::new(),
        no_scaling: true,
        record: false,
        redraw: false,
        install_peers: None,
        program: given(counting),
    }
}

fn given(palisade: PathBuf) -> Program {
    Program {
        palisade: Some(palisade),
        guided: false,
    }
}

/// Builds the gateway with a flag for the compiler, and answers where it is.
fn build(places: &Places, compiler: &Compiler, name: &str, flag: &str) -> anyhow::Result<PathBuf> {
    let directory = places.target.join("pgo").join(name);
    let mut cargo = bench::cargo_in(places);
    // With a target of its own, so that procedural macros and build scripts are
    // built without the flag.
    cargo
        .args(["build", "--release", "--package", "palisade"])
        .args(["--target", &compiler.host])
        .arg("--target-dir")
        .arg(directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flag);
    bench::succeed(&mut cargo)?;
    Ok(program(places, compiler, name))
}

fn program(places: &Places, compiler: &Compiler, name: &str) -> PathBuf {
    let directory = places.target.join("pgo").join(name);
    directory.join(&compiler.host).join("release/palisade")
}

/// Merges the counts into one file, which has a name by what is in it: cargo
/// builds again only what has other flags.
fn merged(merge: &Path, counts: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(counts).with_context(|| counts.display().to_string())?;
    let files = entries.map(|entry| Ok(entry?.path()));
    let files = files.collect::<anyhow::Result<Vec<PathBuf>>>()?;
    let merged = to.join("merged.profdata");
    let mut command = Command::new(merge);
    command.arg("merge").args(files).arg("-o").arg(&merged);
    bench::succeed(&mut command)?;
    let bytes = fs::read(&merged).with_context(|| merged.display().to_string())?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let named = to.join(format!("{:016x}.profdata", hasher.finish()));
    fs::rename(&merged, &named).with_context(|| named.display().to_string())?;
    Ok(named)
}

impl Compiler {
    fn here() -> anyhow::Result<Self> {
        let version = told(&["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        Ok(Self {
            host: host.context("rustc does not say its host")?.to_owned(),
            sysroot: told(&["--print", "sysroot"])?.trim().into(),
        })
    }

    /// The program that merges counts, of the same version as the compiler.
    fn merge(&self) -> anyhow::Result<PathBuf> {
        let tools = self
            .sysroot
            .join("lib/rustlib")
            .join(&self.host)
            .join("bin");
        let merge = tools.join("llvm-profdata");
        let told = "llvm-profdata is not there: `rustup component add llvm-tools` installs it";
        ensure!(merge.exists(), told);
        Ok(merge)
    }
}

/// What rustc says.
fn told(arguments: &[&str]) -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc).args(arguments).output();
    let output = output.context("rustc cannot be run")?;
    Ok(String::from_utf8(output.stdout)?)
}
