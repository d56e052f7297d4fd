//! What the parts of the host execute, by instructions, which is the same on a
//! busy machine as on an idle one: so a change that makes a part dearer shows,
//! however little that is.
//!
//! Each part (`tests/bench/parts`) runs under callgrind, so many times and
//! twice as many; the difference is its cost. The gateway is compiled as for
//! development, which is there already where this is checked, but for
//! `palisade` itself, which is optimised. So the figures tell of changes, not of
//! what a release executes. Valgrind has the registers of AVX2 where the
//! processor has them, and the record is of one that does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::bench::{self, Places};

/// The parts, and how often each is run for one count: so often that the noise
/// of what comes before it (hash seeds) is a small part of it.
const PARTS: [(&str, u32); 10] = [
    ("decode", 100),
    ("instance", 400),
    ("put-back", 400),
    ("call", 2_000),
    ("accessor", 400),
    ("read", 50),
    ("splice", 200),
    ("framing", 100),
    ("render-chat", 50),
    ("render-messages", 50),
];

/// Parts whose first run compiles a plugin, for the processor that valgrind
/// pretends to be, and keeps it for the runs that are counted.
const COMPILING: [&str; 2] = ["instance", "decode"];

/// Parts that are counted at the same time.
const WORKERS: usize = 2;

/// What is compiled as for a release.
const OPTIMISED: [&str; 5] = [
    "profile.dev.package.palisade.opt-level=2",
    "profile.dev.package.palisade.debug-assertions=false",
    "profile.dev.package.parts.opt-level=2",
    "profile.dev.package.fearless_simd.opt-level=2",
    "profile.dev.package.fearless_simd.debug-assertions=false",
];

/// `tests/bench/instructions.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// How far a part may be from its record, in percent.
    margin: f64,
    /// Instructions of one run of each part.
    parts: BTreeMap<String, u64>,
}

/// Counts every part, and compares with the record or writes it.
pub fn run(wanted: &arguments::Instructions) -> anyhow::Result<()> {
    let places = Places::here()?;
    let file = places.root.join("tests/bench/instructions.toml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let recorded: Recorded = toml::from_str(&text).with_context(|| file.display().to_string())?;
    let (program, guests) = build(&places)?;
    for part in COMPILING {
        under(&["--tool=none"], &program, &guests, (part, 1))?;
    }
    let counted = all(&program, &guests, &wanted.parts)?;
    let verdicts: Vec<_> = counted
        .iter()
        .map(|(part, count)| verdict(part, *count, &recorded))
        .collect();
    for (verdict, _) in &verdicts {
        println!("{verdict}");
    }
    if wanted.record {
        return record(&file, &text, &counted);
    }
    let outside = verdicts.iter().filter(|(_, within)| !within).count();
    ensure!(
        outside == 0,
        "{outside} parts are further than {} % from {}; if that is meant, write it there with \
         --record and say why in the commit",
        recorded.margin,
        file.display()
    );
    Ok(())
}

/// A line about a part, and whether it is within the margin.
fn verdict(part: &str, count: u64, recorded: &Recorded) -> (String, bool) {
    let Some(before) = recorded.parts.get(part) else {
        return (format!("{part:16} {count:>9}  is not recorded"), false);
    };
    let change = (count as f64 / *before as f64 - 1.0) * 100.0;
    let within = change.abs() <= recorded.margin;
    let mark = if within { "" } else { "  outside the margin" };
    (
        format!("{part:16} {count:>9}  {change:>+6.1} %{mark}"),
        within,
    )
}

/// Writes the counts into the record, and leaves its comments alone.
fn record(file: &Path, text: &str, counted: &[(&str, u64)]) -> anyhow::Result<()> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (part, count) in counted {
        let line = format!("{part} = {count}");
        let is_its = |line: &String| {
            line.split_once('=')
                .is_some_and(|(name, _)| name.trim() == *part)
        };
        match lines.iter().position(is_its) {
            Some(at) => lines[at] = line,
            None => lines.push(line),
        }
    }
    fs::write(file, lines.join("\n") + "\n").with_context(|| file.display().to_string())
}

/// Builds the parts and their guests; answers where they are.
fn build(places: &Places) -> anyhow::Result<(PathBuf, PathBuf)> {
    // With the tests, so that what both depend on has the same features, and is
    // not compiled again where the tests have been run.
    let mut arguments = vec!["build", "--package", "parts", "--package", "palisade-tests"];
    for setting in OPTIMISED {
        arguments.extend(["--config", setting]);
    }
    bench::cargo(places, &arguments)?;
    let guests = places.target.join("bench/guests");
    fs::create_dir_all(&guests)?;
    let asker = bench::guest(places, "asker")?;
    fs::copy(&asker, guests.join("asker.wasm")).with_context(|| asker.display().to_string())?;
    Ok((places.target.join("debug/parts"), guests))
}

/// Counts the parts that are wanted, two at a time.
fn all(
    program: &Path,
    guests: &Path,
    wanted: &[String],
) -> anyhow::Result<Vec<(&'static str, u64)>> {
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    let parts: Vec<_> = PARTS
        .into_iter()
        .filter(|(part, _)| is_wanted(part))
        .collect();
    ensure!(
        !parts.is_empty(),
        "there are {}",
        PARTS.map(|(part, _)| part).join(", ")
    );
    let next = AtomicUsize::new(0);
    let worker = || -> anyhow::Result<Vec<(usize, u64)>> {
        let mut counted = Vec::new();
        while let Some((at, part)) = one_of(&parts, &next) {
            let count = cost(program, guests, *part).with_context(|| part.0)?;
            counted.push((at, count));
        }
        Ok(counted)
    };
    let ended = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ended.collect::<Vec<_>>()
    });
    let mut counted = Vec::new();
    for counts in ended {
        counted.extend(counts.map_err(|_| anyhow::anyhow!("a worker broke"))??);
    }
    counted.sort_unstable();
    Ok(counted
        .into_iter()
        .map(|(at, count)| (parts[at].0, count))
        .collect())
}

/// The next part that nobody has taken.
fn one_of<'p, P>(parts: &'p [P], next: &AtomicUsize) -> Option<(usize, &'p P)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, parts.get(at)?))
}

/// What one run of a part costs.
fn cost(program: &Path, guests: &Path, (part, times): (&str, u32)) -> anyhow::Result<u64> {
    let once = executed(program, guests, (part, times))?;
    let twice = executed(program, guests, (part, times * 2))?;
    Ok(twice.saturating_sub(once) / u64::from(times))
}

/// What a process executes that runs a part so many times.
fn executed(program: &Path, guests: &Path, (part, times): (&str, u32)) -> anyhow::Result<u64> {
    let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let told = under(&tool, program, guests, (part, times))?;
    let collected = told
        .lines()
        .find_map(|line| line.split("Collected :").nth(1));
    let count = collected.context("valgrind does not say what it collected")?;
    Ok(count.trim().parse()?)
}

/// Runs a part under a tool of valgrind's; answers what that said.
fn under(
    tool: &[&str],
    program: &Path,
    guests: &Path,
    (part, times): (&str, u32),
) -> anyhow::Result<String> {
    let output = Command::new("valgrind")
        .args(tool)
        .arg(program)
        .args([part, &times.to_string()])
        .arg(guests)
        .output()
        .context("valgrind cannot be run (apt-get install valgrind)")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{told}");
    Ok(told)
}
