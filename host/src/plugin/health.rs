//! How a plugin fares: its calls counted by how they ended, its last failures,
//! and the breaker that spares exchanges a plugin which fails every time.
//!
//! One `Health` belongs to one `Plugin`, so counts begin anew with a new
//! component or configuration, and go on through reloads that change neither.
//! Calls count from many threads at once; one that ends well takes no lock, and
//! but for slices of CPU time writes to nothing that other threads write to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use thread_local::ThreadLocal;

use super::CallError;

/// How many failures of a plugin are remembered: enough to see a pattern.
const REMEMBERED: usize = 8;

/// The longest a breaker waits before the plugin is tried again.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// When a plugin that fails every time is no longer called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// How many failures in a row open it; 0 never does.
    pub failures: u32,
    /// How long the plugin is left alone then; doubled with each trial that
    /// fails, up to five minutes.
    pub backoff: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            // Fewer would let one bad prompt, sent again by its client, open it.
            failures: 5,
            // A plugin does not mend itself; a service that it asks may.
            backoff: Duration::from_secs(10),
        }
    }
}

/// Calls by how they ended, and what they took. All count from the plugin's
/// load. Administrators are told them as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Calls that returned `ok` and kept every rule, a refusal among them.
    pub ok: u64,
    /// The plugin reported a problem.
    pub problems: u64,
    /// It trapped, or broke the contract.
    pub traps: u64,
    /// It used up its wall time or its CPU time.
    pub deadlines: u64,
    /// It reached a limit of memory or of tables.
    pub memory: u64,
    /// No instance was free.
    pub exhausted: u64,
    /// Not called, since its breaker was open.
    pub spared: u64,
    /// Not called, since an operator had disabled it.
    pub disabled: u64,
    /// Instances that were made.
    pub instances: u64,
    /// Time of all calls, in microseconds, starts of instances included.
    pub time_us: u64,
    /// Slices of CPU time (`TICK`) that they used, each counted when it ended
    /// within a call.
    pub cpu_slices: u64,
}

impl Counts {
    /// These and others, added up.
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What was counted since an earlier moment.
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            ok: of(self.ok, other.ok),
            problems: of(self.problems, other.problems),
            traps: of(self.traps, other.traps),
            deadlines: of(self.deadlines, other.deadlines),
            memory: of(self.memory, other.memory),
            exhausted: of(self.exhausted, other.exhausted),
            spared: of(self.spared, other.spared),
            disabled: of(self.disabled, other.disabled),
            instances: of(self.instances, other.instances),
            time_us: of(self.time_us, other.time_us),
            cpu_slices: of(self.cpu_slices, other.cpu_slices),
        }
    }
}

/// A failure that is remembered.
#[derive(Debug, Clone)]
pub struct Failed {
    pub at: SystemTime,
    /// The function that was called: "check", "decoder.push".
    pub call: &'static str,
    /// How it ended, with the backtrace if it trapped.
    pub error: CallError,
}

/// Whether a plugin is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Well,
    /// It failed too often in a row, and is left alone for so long.
    Spared(Duration),
    /// An operator has disabled it.
    Disabled,
}

impl Standing {
    /// Every standing in a word.
    pub const WORDS: [&str; 3] = ["well", "spared", "disabled"];

    /// This one.
    pub fn word(self) -> &'static str {
        let [well, spared, disabled] = Self::WORDS;
        match self {
            Self::Well => well,
            Self::Spared(_) => spared,
            Self::Disabled => disabled,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Health {
    breaker: Breaker,
    /// What each thread has seen.
    usual: ThreadLocal<Usual>,
    problems: AtomicU64,
    traps: AtomicU64,
    deadlines: AtomicU64,
    memory: AtomicU64,
    exhausted: AtomicU64,
    spared: AtomicU64,
    refused_disabled: AtomicU64,
    instances: AtomicU64,
    cpu_slices: AtomicU64,
    disabled: AtomicBool,
    /// Failures since the function that fails last ended well.
    in_a_row: AtomicU32,
    recent: Mutex<Recent>,
}

/// What every call counts, in a line of the cache of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Usual {
    ok: AtomicU64,
    time_us: AtomicU64,
}

#[derive(Debug, Default)]
struct Recent {
    failures: VecDeque<Failed>,
    /// The function whose failures are counted.
    failing: &'static str,
    /// While the breaker is open.
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    until: Instant,
    backoff: Duration,
    /// Whether an exchange has been let through to try the plugin.
    tried: bool,
}

impl Health {
    pub fn new(breaker: Breaker) -> Self {
        Self {
            breaker,
            usual: ThreadLocal::new(),
            problems: AtomicU64::new(0),
            traps: AtomicU64::new(0),
            deadlines: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            spared: AtomicU64::new(0),
            refused_disabled: AtomicU64::new(0),
            instances: AtomicU64::new(0),
            cpu_slices: AtomicU64::new(0),
            disabled: AtomicBool::new(false),
            in_a_row: AtomicU32::new(0),
            recent: Mutex::default(),
        }
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        let all = |of: fn(&Usual) -> &AtomicU64| {
            self.usual.iter().map(|usual| of(usual).load(Relaxed)).sum()
        };
        Counts {
            ok: all(|usual| &usual.ok),
            problems: self.problems.load(Relaxed),
            traps: self.traps.load(Relaxed),
            deadlines: self.deadlines.load(Relaxed),
            memory: self.memory.load(Relaxed),
            exhausted: self.exhausted.load(Relaxed),
            spared: self.spared.load(Relaxed),
            disabled: self.refused_disabled.load(Relaxed),
            instances: self.instances.load(Relaxed),
            time_us: all(|usual| &usual.time_us),
            cpu_slices: self.cpu_slices.load(Relaxed),
        }
    }

    /// The last failures, the newest last.
    pub fn failures(&self) -> Vec<Failed> {
        self.recent().failures.iter().cloned().collect()
    }

    /// Whether the plugin is called now.
    pub fn standing(&self) -> Standing {
        if self.disabled.load(Relaxed) {
            return Standing::Disabled;
        }
        match self.recent().open {
            Some(open) => Standing::Spared(open.until.saturating_duration_since(Instant::now())),
            None => Standing::Well,
        }
    }

    /// Whether exchanges go on without the plugin by an operator's word.
    pub fn set_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Relaxed);
    }

    /// How many failures there have been since the function that fails last
    /// ended well.
    pub fn failures_in_a_row(&self) -> u32 {
        self.in_a_row.load(Relaxed)
    }

    /// Whether an instance may be started; the error says why not. When the
    /// breaker's wait is over one exchange is let through to try the plugin.
    pub(super) fn admit(&self) -> Result<(), CallError> {
        if self.disabled.load(Relaxed) {
            self.refused_disabled.fetch_add(1, Relaxed);
            return Err(CallError::Disabled);
        }
        if self.breaker.failures == 0 || self.in_a_row.load(Relaxed) < self.breaker.failures {
            return Ok(());
        }
        self.try_at(Instant::now())
    }

    fn try_at(&self, now: Instant) -> Result<(), CallError> {
        match &mut self.recent().open {
            Some(open) if now < open.until => {
                self.spared.fetch_add(1, Relaxed);
                Err(CallError::Spared(open.until - now))
            }
            // This one tries; others wait until it has failed or done well.
            Some(open) => {
                open.until = now + open.backoff;
                open.tried = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// An instance was made.
    pub(super) fn made(&self) {
        self.instances.fetch_add(1, Relaxed);
    }

    /// A call took so long.
    pub(super) fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.usual.get_or_default().time_us.fetch_add(time, Relaxed);
    }

    /// A call used so many slices of CPU time.
    pub(super) fn used(&self, slices: u32) {
        self.cpu_slices.fetch_add(slices.into(), Relaxed);
    }

    /// A call ended well. That ends a row of failures of the same function:
    /// one that works does not speak for another that never does.
    pub(super) fn well(&self, call: &'static str) {
        self.usual.get_or_default().ok.fetch_add(1, Relaxed);
        if self.in_a_row.load(Relaxed) == 0 {
            return;
        }
        self.mend(call, &mut self.recent());
    }

    /// Ends a row of failures of a function.
    fn mend(&self, call: &'static str, recent: &mut Recent) {
        if recent.failing == call {
            self.in_a_row.store(0, Relaxed);
            recent.open = None;
        }
    }

    /// A call failed. A want of instances is not the plugin's fault, and a
    /// problem that it reports is an answer: neither opens the breaker, and an
    /// answer closes it.
    pub(super) fn failed(&self, call: &'static str, error: &CallError) {
        self.failed_at(Instant::now(), call, error);
    }

    fn failed_at(&self, now: Instant, call: &'static str, error: &CallError) {
        let (count, broke) = match error {
            CallError::Problem { .. } | CallError::Configuration(_) => (&self.problems, false),
            CallError::Exhausted => (&self.exhausted, false),
            CallError::Deadline(_) | CallError::Cpu(_) => (&self.deadlines, true),
            CallError::Limit(_) => (&self.memory, true),
            CallError::Spent | CallError::Spared(_) | CallError::Disabled => return,
            _ => (&self.traps, true),
        };
        count.fetch_add(1, Relaxed);
        let mut recent = self.recent();
        recent.failures.push_back(Failed {
            at: SystemTime::now(),
            call,
            error: error.clone(),
        });
        if recent.failures.len() > REMEMBERED {
            recent.failures.pop_front();
        }
        if broke {
            recent.failing = call;
            self.broke(now, &mut recent);
        } else if matches!(error, CallError::Problem { .. }) {
            self.mend(call, &mut recent);
        }
    }

    fn broke(&self, now: Instant, recent: &mut Recent) {
        let in_a_row = self.in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if self.breaker.failures == 0 || in_a_row < self.breaker.failures {
            return;
        }
        let backoff = match recent.open {
            // Calls that were under way when it opened say nothing new.
            Some(open) if !open.tried => return,
            Some(open) => (open.backoff * 2).min(MAX_BACKOFF),
            None => self.breaker.backoff,
        };
        recent.open = Some(Open {
            until: now + backoff,
            backoff,
            tried: false,
        });
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> CallError {
        CallError::Trap {
            text: "unreachable".to_owned(),
            backtrace: String::new(),
        }
    }

    fn health() -> Health {
        Health::new(Breaker {
            failures: 2,
            backoff: Duration::from_secs(10),
        })
    }

    fn is_spared(health: &Health, now: Instant) -> bool {
        matches!(health.try_at(now), Err(CallError::Spared(_)))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_row_of_failures_opens_the_breaker_and_one_success_closes_it() {
        let (health, now) = (health(), Instant::now());
        health.failed_at(now, "check", &trap());
        health.well("check");
        health.failed_at(now, "check", &trap());
        assert!(health.admit().is_ok(), "the row was interrupted");
        health.failed_at(now, "check", &trap());
        assert!(is_spared(&health, now), "two in a row");
        assert!(matches!(health.standing(), Standing::Spared(_)));
        let later = now + seconds(11);
        assert!(!is_spared(&health, later), "one may try");
        assert!(is_spared(&health, later), "others wait for it");
        health.well("check");
        assert!(health.admit().is_ok());
        assert_eq!(health.standing(), Standing::Well);
    }

    #[test]
    fn the_wait_doubles_with_each_trial_that_fails() {
        let (health, mut now) = (health(), Instant::now());
        // The third was under way when it opened.
        for _ in 0..3 {
            health.failed_at(now, "check", &trap());
        }
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            assert!(
                is_spared(&health, now + seconds(wait - 1)),
                "before {wait} s"
            );
            now += seconds(wait);
            assert!(!is_spared(&health, now), "after {wait} s");
            health.failed_at(now, "check", &trap());
        }
    }

    #[test]
    fn what_is_no_break_opens_nothing() {
        let health = health();
        let problem = CallError::Problem {
            code: "x".to_owned(),
            message: "y".to_owned(),
        };
        for _ in 0..10 {
            health.failed("check", &problem);
            health.failed("start", &CallError::Exhausted);
        }
        assert!(health.admit().is_ok());
        let counts = health.counts();
        assert_eq!(
            (counts.problems, counts.exhausted, counts.traps),
            (10, 10, 0)
        );
        assert_eq!(health.failures().len(), REMEMBERED);
    }

    #[test]
    fn a_problem_ends_a_row_of_failures_as_an_answer_does() {
        let (health, now) = (health(), Instant::now());
        let problem = CallError::Problem {
            code: "x".to_owned(),
            message: "y".to_owned(),
        };
        health.failed_at(now, "check", &trap());
        health.failed_at(now, "check", &problem);
        health.failed_at(now, "check", &trap());
        assert!(health.admit().is_ok(), "the row was interrupted");
        health.failed_at(now, "check", &trap());
        assert!(is_spared(&health, now), "two in a row");
        health.failed_at(now, "check", &problem);
        assert_eq!(health.standing(), Standing::Well, "it works again");
    }

    #[test]
    fn one_function_does_not_speak_for_another() {
        let health = health();
        health.failed("check", &trap());
        health.well("session.push");
        health.failed("check", &trap());
        assert!(health.admit().is_err());
    }

    #[test]
    fn a_disabled_plugin_is_not_called() {
        let health = health();
        health.set_disabled(true);
        assert!(matches!(health.admit(), Err(CallError::Disabled)));
        assert_eq!(
            (health.standing(), health.counts().disabled),
            (Standing::Disabled, 1)
        );
        health.set_disabled(false);
        assert!(health.admit().is_ok());
    }
}
