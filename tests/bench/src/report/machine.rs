//! Where a run took place.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// In GiB.
    pub memory: u64,
    pub kernel: String,
    pub rustc: String,
    pub date: String,
}

impl Machine {
    /// The machine that this is.
    pub fn here() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kilobytes = field(&memory, "MemTotal")
            .split(' ')
            .next()
            .and_then(|n| n.parse().ok());
        Self {
            processor: field(&processors, "model name").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kilobytes.map_or(0, |kilobytes: u64| kilobytes.div_ceil(1 << 20)),
            kernel: said("uname", &["-sr"]),
            rustc: said("rustc", &["--version"]),
            date: said("date", &["+%Y-%m-%d"]),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self {
            processor,
            cores,
            memory,
            kernel,
            rustc,
            date,
        } = self;
        write!(
            f,
            "{date}: {processor}, {cores} cores, {memory} GiB, {kernel}, {rustc}"
        )
    }
}

fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':'))
        .map_or("", |(_, value)| value.trim())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}
