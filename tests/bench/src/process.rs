//! A subject's process with all its children: started in a group of its own,
//! paused while others are measured, and ended by its identifier. What it has
//! used comes from the kernel's accounting.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(3);

/// Lets all threads of a process use these processors only.
pub fn pin(process: Pid, processors: &str) -> anyhow::Result<()> {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--pid", "--cpu-list", processors]);
    let output = command.arg(process.to_string()).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{process} is not pinned: {told}");
    Ok(())
}

/// A running process and its children; ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
}

impl Process {
    /// Starts a command as the leader of its own group.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        let group = Pid::from_raw(i32::try_from(child.id())?);
        Ok(Self { child, group })
    }

    /// The standard output, if it was piped and not taken yet.
    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Keeps it from using the processor until it is resumed.
    pub fn pause(&self) {
        let _ = killpg(self.group, Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        let _ = killpg(self.group, Signal::SIGCONT);
    }

    /// Processor time of the process and its children, to the nanosecond.
    pub fn processor_time(&self) -> Duration {
        let each = self.members().into_iter().filter_map(|process| {
            let clock = nix::time::clock_getcpuclockid(process).ok()?;
            Some(Duration::from(nix::time::clock_gettime(clock).ok()?))
        });
        each.sum()
    }

    /// Resident memory of the process and its children, in bytes. Pages that
    /// they share count for each.
    pub fn resident(&self) -> u64 {
        let each = self.members().into_iter().filter_map(|process| {
            let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?;
            let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kilobytes << 10)
        });
        each.sum()
    }

    /// Lets it use these processors only, which are told as `taskset` wants
    /// them.
    pub fn pin(&self, processors: &str) -> anyhow::Result<()> {
        let mut members = self.members().into_iter();
        members.try_for_each(|process| pin(process, processors))
    }

    /// Every process of the group.
    fn members(&self) -> Vec<Pid> {
        let Ok(processes) = fs::read_dir("/proc") else {
            return vec![self.group];
        };
        let names = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids = names.filter_map(|name| name.parse::<i32>().ok());
        ids.filter(|id| group_of(*id) == Some(self.group.as_raw()))
            .map(Pid::from_raw)
            .collect()
    }
}

fn group_of(process: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in parentheses and may hold anything; state, parent and
    // group follow it.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(2)?.parse().ok()
}

impl Drop for Process {
    fn drop(&mut self) {
        self.resume();
        let _ = killpg(self.group, Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE && !self.has_ended() {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Children may outlive their parent.
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Raises the limit of open files as far as it goes; answers how far.
pub fn raise_limit() -> anyhow::Result<usize> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(usize::try_from(most).unwrap_or(usize::MAX))
}
