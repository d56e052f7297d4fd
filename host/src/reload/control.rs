//! How others ask for a reload, and what they are told of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use super::files::Fingerprint;
use crate::generation::Change;
use crate::manifest::{Problem, Problems, Step};

/// How many may ask at a time; further ones are told to ask again.
const ASKING: usize = 16;

/// A handle on the reloader.
#[derive(Clone)]
pub struct Control {
    asks: mpsc::Sender<Ask>,
    told: Arc<Mutex<Told>>,
}

/// Something that the reloader is asked to do.
pub(super) enum Ask {
    /// A hangup signal: whoever sent it reads the log.
    Hangup,
    Reload(String, Answer),
    DryRun(Answer),
}

pub(super) type Answer = oneshot::Sender<Outcome>;

/// How a reload ended.
pub type Outcome = Result<Reloaded, Refused>;

/// A reload that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The generation that is live now; none after a dry run.
    pub generation: Option<u64>,
    /// What the generation changes, plugin by plugin.
    pub plugins: Vec<(String, Change)>,
    /// Routes that were left out, each with the reason.
    pub skipped: Vec<String>,
    /// Settings that take a restart to have an effect.
    pub restart: Vec<&'static str>,
}

/// A reload that changed nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub at: SystemTime,
    pub problems: Vec<Problem>,
    /// A line for each problem, with the file and the place in it.
    pub lines: Vec<String>,
}

impl Refused {
    /// The first step that found a problem.
    pub fn step(&self) -> Step {
        let steps = self.problems.iter().map(|problem| problem.step);
        steps.min().unwrap_or(Step::Check)
    }
}

impl From<Problems> for Refused {
    fn from(problems: Problems) -> Self {
        let lines = problems.list.iter().map(|problem| problems.line(problem));
        Self {
            at: SystemTime::now(),
            lines: lines.collect(),
            problems: problems.list,
        }
    }
}

/// What the reloader tells of itself.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Why the files as they are now are not what is served, if they are not.
    pub refused: Option<Refused>,
    /// Since when a reload waits for earlier generations to end.
    pub held_back: Option<SystemTime>,
    /// Settings that take a restart to have an effect.
    pub restart: Vec<&'static str>,
    /// The last generation that was taken back since a plugin failed.
    pub taken_back: Option<TakenBack>,
}

/// A generation that was taken back by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBack {
    pub at: SystemTime,
    pub generation: u64,
    pub plugin: String,
    pub reason: String,
    /// The state of its files, which is not loaded again.
    pub(super) files: Fingerprint,
}

/// The reloader cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    #[error("too many have asked already; ask again later")]
    Busy,
    #[error("the gateway is stopping")]
    Stopping,
}

impl Control {
    pub(super) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASKING);
        let told = Arc::default();
        (Self { asks, told }, asked)
    }

    /// Asks for a reload as a hangup signal does. Asking twice before it has
    /// begun is asking once.
    pub fn hangup(&self) {
        let _ = self.asks.try_send(Ask::Hangup);
    }

    /// Asks for a reload, and waits until it has ended.
    pub async fn reload(&self, who: &str) -> Result<Outcome, Unasked> {
        self.ask(|answer| Ask::Reload(who.to_owned(), answer)).await
    }

    /// Asks what a reload would do, and waits until that is known.
    pub async fn dry_run(&self) -> Result<Outcome, Unasked> {
        self.ask(Ask::DryRun).await
    }

    async fn ask(&self, ask: impl FnOnce(Answer) -> Ask) -> Result<Outcome, Unasked> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(ask(answer)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Unasked::Busy,
            mpsc::error::TrySendError::Closed(_) => Unasked::Stopping,
        })?;
        answered.await.map_err(|_| Unasked::Stopping)
    }

    /// What the reloader tells of itself.
    pub fn told(&self) -> Told {
        self.lock().clone()
    }

    pub(super) fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
