//! A subject that has been started, and how long that took.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::Subject;
use crate::process::Process;

/// How long a subject may take to serve; Python takes a quarter of that.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long one attempt to ask may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// How long a subject may settle before its memory is looked at.
const SETTLE: Duration = Duration::from_millis(300);

/// A subject that serves. It is paused until it is measured.
#[derive(Debug)]
pub struct Running {
    pub subject: Subject,
    pub process: Option<Process>,
    /// From its start until it had answered a request.
    pub start_up: Option<Duration>,
    /// Memory before the first load, in bytes.
    pub idle: Option<u64>,
}

impl Running {
    /// Starts a subject, and waits until it serves.
    pub fn start(subject: Subject) -> anyhow::Result<Self> {
        let Some(launch) = &subject.launch else {
            wait(&subject, None)?;
            return Ok(Self {
                subject,
                process: None,
                start_up: None,
                idle: None,
            });
        };
        if subject.starts_quickly {
            let mut process = Process::start(&mut launch.command()?)?;
            wait(&subject, Some(&mut process))?;
        }
        let begun = Instant::now();
        let mut process = Process::start(&mut launch.command()?)?;
        wait(&subject, Some(&mut process))?;
        let start_up = Some(begun.elapsed());
        std::thread::sleep(SETTLE);
        let idle = Some(process.resident());
        process.pause();
        Ok(Self {
            subject,
            process: Some(process),
            start_up,
            idle,
        })
    }
}

fn wait(subject: &Subject, mut process: Option<&mut Process>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let log = subject
        .launch
        .as_ref()
        .map(|launch| launch.log.display().to_string());
    let log = log.unwrap_or_default();
    let mut last = String::new();
    while begun.elapsed() < PATIENCE {
        match ask(subject) {
            Ok(()) => return Ok(()),
            Err(error) => last = format!("{error:#}"),
        }
        if process.as_mut().is_some_and(|process| process.has_ended()) {
            bail!("{} ended by itself, see {log}", subject.name);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!(
        "{} does not serve after {} s: {last}, see {log}",
        subject.name,
        PATIENCE.as_secs()
    )
}

fn ask(subject: &Subject) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(subject.target.address)?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.write_all(&subject.target.request(512, false))?;
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..read]);
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("it answered {answer:?}");
    }
    Ok(())
}
