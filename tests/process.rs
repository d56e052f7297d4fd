//! The real program as a process of its own, to be measured and killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running gateway, killed when it is dropped.
pub struct Started {
    child: Child,
    pub url: String,
    log: PathBuf,
}

impl Started {
    /// Starts the program with a manifest on a free port, and waits until it
    /// listens; its log if it does not.
    pub fn new(manifest: &Path) -> Result<Self, String> {
        let log = manifest.with_extension("log");
        let mut command = Command::new(crate::program("palisade"));
        command.arg("--config").arg(manifest);
        command.args(["--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&log).expect("a file"));
        let mut child = command.spawn().expect("the program to start");
        let stdout = child.stdout.take().expect("its output");
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let mut started = Self {
            child,
            url: url.unwrap_or_default(),
            log,
        };
        if started.url.is_empty() {
            started.kill();
            return Err(started.log());
        }
        Ok(started)
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as if the machine had failed.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The memory that it occupies, in bytes.
    pub fn memory(&self) -> u64 {
        let statm = format!("/proc/{}/statm", self.child.id());
        let text = std::fs::read_to_string(statm).expect("a running process");
        let pages = text
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("a number of pages") * 4096
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}
