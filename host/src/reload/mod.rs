//! Watching the files that the live generation is made of, and replacing it.
//!
//! A reload is a transaction: settle, read everything once, check, compile and
//! start aside, then one swap. Whatever fails on the way leaves the live
//! generation as it was and is told with its step and its reason; it is tried
//! again now and then, since the reason may lie outside the files (no instance
//! was free). The system's notifications make it quick; a look at the files
//! every few seconds makes it certain, since not every file system notifies.
//!
//! - `files`, `watch`: what is read, and noticing that it changes
//! - `control`: asking for a reload, and what is told of it
//! - `trial`: taking a generation back whose new plugins fail
//! - `fixed`: settings that take a restart

mod control;
mod files;
mod fixed;
mod trial;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::Instant;

use control::{Answer, Ask};
pub use control::{Control, Outcome, Refused, Reloaded, TakenBack, Told, Unasked};
pub use files::Read;
use files::{Files, fingerprint};
use fixed::Fixed;
use trial::Trial;
use watch::Watching;

use crate::gateway::Gateway;
use crate::generation::{Builder, Cause, Generation, Turn};
use crate::manifest::{Problem, Problems, Step, Watch};

/// How often files are looked at without being told.
const LOOK: Duration = Duration::from_secs(2);

/// How many times the settling time a storm of writes may put off a reload.
const PATIENCE: u32 = 20;

/// How long a reload waits at most for files that someone is writing.
const WRITING: Duration = Duration::from_secs(120);

/// How often it is looked whether someone still writes, for whoever has asked.
const WRITTEN: Duration = Duration::from_millis(20);

/// How long after a failure the same files are tried again; doubled with each
/// further one.
const RETRY: Duration = Duration::from_secs(2);
const MAX_RETRY: Duration = Duration::from_secs(60);

/// Keeps a gateway's generation up to date with its files.
pub struct Reloader {
    gateway: Arc<Gateway>,
    builder: Builder,
    manifest: PathBuf,
    files: Files,
    watching: Watching,
    started: Fixed,
    latest: Fixed,
    control: Control,
    asked: mpsc::Receiver<Ask>,
    failed: Option<Failed>,
    held: Option<Wanted>,
    trial: Option<Trial>,
}

/// What a reloader begins with: the files as they were when they were read,
/// and what cannot change while the process runs.
pub struct Start {
    files: Files,
    fixed: Fixed,
}

/// Reads and checks a manifest, and remembers the state of its files: what is
/// written later is loaded later.
///
/// # Errors
///
/// Every problem of the manifest.
pub async fn load(manifest: &Path) -> Result<(Read, Start), Problems> {
    let (files, read) = Files::read(manifest, BTreeSet::new()).await;
    let read = read?;
    let fixed = Fixed::of(&read.0);
    Ok((read, Start { files, fixed }))
}

/// A reload that is to be made.
#[derive(Debug, Clone)]
struct Wanted {
    cause: Cause,
    /// When it was wanted: bringing an earlier generation back later overrules
    /// it.
    turn: Turn,
}

/// A reload that failed.
struct Failed {
    wanted: Wanted,
    /// What was told of it.
    told: Vec<String>,
    wait: Duration,
    again: Instant,
}

/// What there is to do.
enum Work {
    Changed(Wanted),
    /// The same files are tried again.
    Retry(Wanted),
    /// There is room for a reload that was held back.
    Room(Wanted),
    Ask(Ask),
}

impl Reloader {
    /// `start` is what the live generation was made of: what has changed since
    /// it was read is loaded at once.
    pub fn new(
        gateway: Arc<Gateway>,
        builder: Builder,
        manifest: PathBuf,
        start: Start,
    ) -> (Self, Control) {
        let (control, asked) = Control::new();
        let reloader = Self {
            gateway,
            builder,
            manifest,
            files: start.files,
            watching: Watching::new(start.fixed.watch),
            latest: start.fixed.clone(),
            started: start.fixed,
            control: control.clone(),
            asked,
            failed: None,
            held: None,
            trial: None,
        };
        (reloader, control)
    }

    /// Watches and reloads, for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            self.watching.files(&self.files.paths);
            match self.work().await {
                Work::Changed(wanted) => match self.settle().await {
                    // What is asked for meanwhile takes the change along.
                    Some(ask) => self.answer(ask).await,
                    None => self.reload(wanted, None).await,
                },
                Work::Retry(wanted) | Work::Room(wanted) => self.reload(wanted, None).await,
                Work::Ask(ask) => self.answer(ask).await,
            }
        }
    }

    async fn answer(&mut self, ask: Ask) {
        // Whoever asks need not wait for quiet, but half a file is no file.
        let begun = Instant::now();
        while self.watching.being_written() && begun.elapsed() < WRITING {
            tokio::time::sleep(WRITTEN).await;
        }
        let (cause, answer) = match ask {
            Ask::Hangup => (Cause::Hangup, None),
            Ask::Reload(who, answer) => (Cause::Admin(who), Some(answer)),
            Ask::DryRun(answer) => {
                let outcome = self.dry_run().await.map_err(Refused::from);
                let _ = answer.send(outcome);
                return;
            }
        };
        self.failed = None;
        let wanted = self.wanted(cause);
        self.reload(wanted, answer).await;
    }

    fn wanted(&self, cause: Cause) -> Wanted {
        let turn = self.gateway.turn();
        Wanted { cause, turn }
    }

    /// Waits until there is something to do.
    async fn work(&mut self) -> Work {
        loop {
            match &self.held {
                Some(wanted) if self.room() => return Work::Room(wanted.clone()),
                Some(_) => {}
                None if self.files.differ() => return Work::Changed(self.wanted(Cause::Files)),
                None => {}
            }
            // An operator has decided otherwise since.
            let turn = self.gateway.turn();
            self.failed.take_if(|failed| failed.wanted.turn != turn);
            let now = Instant::now();
            let again = self.failed.as_ref().map(|failed| failed.again);
            if let Some(failed) = self.failed.as_ref().filter(|failed| failed.again <= now) {
                return Work::Retry(failed.wanted.clone());
            }
            let look = now + LOOK;
            tokio::select! {
                Some(ask) = self.asked.recv() => return Work::Ask(ask),
                () = self.watching.changed() => {}
                () = self.gateway.idle(), if self.held.is_some() => {}
                () = tokio::time::sleep_until(again.map_or(look, |again| again.min(look))) => {}
            }
        }
    }

    /// Waits until the files have been quiet for the settling time and nobody
    /// is writing them, or until something is asked for.
    async fn settle(&mut self) -> Option<Ask> {
        let quiet = self.gateway.generation().server.settle;
        let quiet = match self.started.watch {
            Watch::Notify => quiet,
            // A writer is only seen by what it has written by the next look.
            Watch::Poll => quiet.max(LOOK),
        };
        let begun = Instant::now();
        loop {
            let before = fingerprint(&self.files.paths);
            tokio::select! {
                Some(ask) = self.asked.recv() => return Some(ask),
                () = tokio::time::sleep(quiet) => {}
            }
            let enough = if self.watching.being_written() {
                begun.elapsed() >= WRITING
            } else {
                fingerprint(&self.files.paths) == before || begun.elapsed() >= quiet * PATIENCE
            };
            if enough {
                return None;
            }
        }
    }

    /// Whether another generation may be replaced while it has exchanges.
    fn room(&self) -> bool {
        let most = self.gateway.generation().reload.max_draining;
        self.gateway.draining() < most as usize
    }

    async fn reload(&mut self, wanted: Wanted, answer: Option<Answer>) {
        let outcome = if self.room() {
            self.held = None;
            self.control.tell(|told| told.held_back = None);
            self.transact(&wanted).await.map_err(Refused::from)
        } else {
            Err(self.hold_back(&wanted).into())
        };
        match &outcome {
            Ok(_) => {
                self.failed = None;
                self.control.tell(|told| told.refused = None);
            }
            Err(refused) if self.held.is_some() => {
                self.control
                    .tell(|told| told.refused = Some(refused.clone()));
            }
            Err(refused) => self.failed(wanted, refused),
        }
        if let Some(answer) = answer {
            let _ = answer.send(outcome);
        }
    }

    /// Keeps a reload for when an earlier generation has ended.
    fn hold_back(&mut self, wanted: &Wanted) -> Problems {
        let live = self.gateway.generation();
        let draining = self.gateway.draining();
        let message = format!(
            "held back: {draining} earlier generations still have exchanges, and `max-draining` is {}",
            live.reload.max_draining
        );
        if self.held.is_none() {
            tracing::warn!(generation = live.number, "reload {message}");
            let now = Some(SystemTime::now());
            self.control.tell(|told| told.held_back = now);
        }
        self.held = Some(wanted.clone());
        Problems::one(&self.manifest, Step::Drain, message)
    }

    fn failed(&mut self, wanted: Wanted, refused: &Refused) {
        let live = self.gateway.generation().number;
        // A change that leaves the problem is told again; a retry is not.
        let before = self.failed.take();
        if before
            .as_ref()
            .is_none_or(|before| before.told != refused.lines)
        {
            for (problem, line) in refused.problems.iter().zip(&refused.lines) {
                tracing::error!(generation = live, step = %problem.step, "not reloaded: {line}");
            }
        }
        self.control
            .tell(|told| told.refused = Some(refused.clone()));
        // What was decided about these files does not change by itself.
        if refused.step() == Step::Swap {
            return;
        }
        let wait = before.map_or(RETRY, |before| (before.wait * 2).min(MAX_RETRY));
        self.failed = Some(Failed {
            wanted,
            told: refused.lines.clone(),
            wait,
            again: Instant::now() + wait,
        });
    }

    /// The transaction: either its last step makes the new generation the live
    /// one, or nothing has happened.
    async fn transact(&mut self, wanted: &Wanted) -> Result<Reloaded, Problems> {
        let known = std::mem::take(&mut self.files.paths);
        let (files, read) = Files::read(&self.manifest, known).await;
        // Also if it cannot be built: a file that is missing may yet come.
        self.files = files;
        let (manifest, components) = read?;
        self.barred(&self.files)?;
        let fixed = Fixed::of(&manifest);
        let before = self.gateway.generation();
        let generation = self.builder.make(manifest, components).await?;
        let reloaded = self.told_of(&generation, &before, &fixed);
        let overtaken = |e| Problems::one(&self.manifest, Step::Swap, format!("{e}"));
        let swapped = self
            .gateway
            .swap(generation, wanted.cause.clone(), wanted.turn);
        let live = swapped.map_err(overtaken)?;

        let (cause, who) = (wanted.cause.word(), wanted.cause.who());
        tracing::info!(generation = live.number, %cause, who, "reloaded");
        for skipped in &reloaded.skipped {
            tracing::info!("{skipped}");
        }
        for name in fixed.news(&self.started, &self.latest) {
            tracing::warn!("{name} was changed: it takes a restart to have an effect");
        }
        self.control.tell(|told| {
            told.restart.clone_from(&reloaded.restart);
            told.taken_back = None;
        });
        self.latest = fixed;
        let gateway = (self.gateway.clone(), self.control.clone());
        self.trial = Trial::begin(gateway, &live, &before, &self.files.seen);
        Ok(Reloaded {
            generation: Some(live.number),
            ..reloaded
        })
    }

    /// All of the transaction but its last step.
    async fn dry_run(&self) -> Result<Reloaded, Problems> {
        let (files, read) = Files::read(&self.manifest, self.files.paths.clone()).await;
        let (manifest, components) = read?;
        self.barred(&files)?;
        let fixed = Fixed::of(&manifest);
        let generation = self.builder.make(manifest, components).await?;
        Ok(self.told_of(&generation, &self.gateway.generation(), &fixed))
    }

    fn told_of(&self, generation: &Generation, before: &Generation, fixed: &Fixed) -> Reloaded {
        Reloaded {
            generation: None,
            plugins: generation.changes(before),
            skipped: generation.skipped.clone(),
            restart: fixed.waiting(&self.started),
        }
    }

    /// Files that were taken back are not loaded again until they change.
    fn barred(&self, files: &Files) -> Result<(), Problems> {
        let taken_back = self.control.told().taken_back;
        let Some(back) = taken_back.filter(|back| back.files == files.seen) else {
            return Ok(());
        };
        let mut problems = Problems::new(&self.manifest);
        problems.list.push(Problem {
            line: None,
            step: Step::Swap,
            message: format!(
                "these files were generation {}, which was taken back: plugin \"{}\" {}",
                back.generation, back.plugin, back.reason
            ),
            hint: Some(format!(
                "change them, or bring it back: `palisade rollback {}`",
                back.generation
            )),
        });
        Err(problems)
    }
}
