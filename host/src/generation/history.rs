//! The generations of a process: the live one, earlier ones that can be
//! brought back at once, and replaced ones that still have exchanges.
//!
//! Earlier generations are kept whole, so bringing one back compiles nothing.
//! One that is no longer kept lives on for as long as an exchange is on it,
//! and is seen until then.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::Generation;

/// Why a generation is, or was, the live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The process was started with it.
    Start,
    /// Its files changed.
    Files,
    /// The process got a hangup signal.
    Hangup,
    /// Someone asked for a reload.
    Admin(String),
    /// Someone brought it back.
    Rollback(String),
    /// It came back by itself, since a plugin failed in a later one.
    AutoRollback { generation: u64, plugin: String },
}

impl Cause {
    /// The cause in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Cause::Start => "start",
            Cause::Files => "file-change",
            Cause::Hangup => "sighup",
            Cause::Admin(_) => "admin",
            Cause::Rollback(_) => "rollback",
            Cause::AutoRollback { .. } => "automatic-rollback",
        }
    }

    /// Who asked for it, if someone did.
    pub fn who(&self) -> Option<&str> {
        match self {
            Cause::Admin(who) | Cause::Rollback(who) => Some(who),
            _ => None,
        }
    }
}

/// Why no earlier generation was brought back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    #[error("there is no earlier generation")]
    None,
    #[error("generation {0} is the live one")]
    Live(u64),
    #[error("generation {number} is not kept; there are {}", listed(.kept))]
    Unknown { number: u64, kept: Vec<u64> },
}

fn listed(numbers: &[u64]) -> String {
    if numbers.is_empty() {
        return "none".to_owned();
    }
    let all: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// A reload was overtaken: while it was made, an earlier generation was
/// brought back, and what it began from is no longer what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an earlier generation was brought back meanwhile")]
pub struct Overtaken;

/// How many times someone has brought an earlier generation back; a reload
/// remembers it from its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn(u64);

/// See the module.
pub struct History {
    live: Entry,
    /// Earlier ones that are kept, or have exchanges.
    replaced: Vec<(Entry, Instant)>,
    /// The kept generations that led to the live one, which is the last. One
    /// that was left by bringing an earlier one back is not among them.
    line: Vec<u64>,
    last: u64,
    turn: Turn,
}

struct Entry {
    number: u64,
    since: SystemTime,
    cause: Cause,
    /// While it can be brought back.
    kept: Option<Arc<Generation>>,
    generation: Weak<Generation>,
}

/// What is told of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lived {
    pub number: u64,
    /// When it went live, the last time that it did.
    pub since: SystemTime,
    pub cause: Cause,
    /// How long ago it was replaced; none for the live one.
    pub replaced: Option<Duration>,
    /// Exchanges that are on it.
    pub exchanges: usize,
    /// Whether it can be brought back.
    pub kept: bool,
}

impl Lived {
    /// Whether it was replaced and still has exchanges.
    pub fn drains(&self) -> bool {
        self.replaced.is_some() && self.exchanges > 0
    }
}

/// Generations that are no longer kept, to be dropped where nothing waits.
pub type Retired = Vec<Arc<Generation>>;

impl History {
    /// Begins with the first generation.
    pub fn new(mut generation: Generation) -> (Self, Arc<Generation>) {
        generation.number = 1;
        let first = Arc::new(generation);
        let history = Self {
            live: Entry::of(&first, Cause::Start),
            replaced: Vec::new(),
            line: vec![1],
            last: 1,
            turn: Turn::default(),
        };
        (history, first)
    }

    /// Numbers a generation and makes it the live one.
    pub fn add(&mut self, mut generation: Generation, cause: Cause) -> (Arc<Generation>, Retired) {
        self.last += 1;
        generation.number = self.last;
        let live = Arc::new(generation);
        self.replace(Entry::of(&live, cause));
        self.line.push(self.last);
        let retired = self.retire(live.reload.keep as usize);
        (live, retired)
    }

    /// Makes an earlier generation the live one: the given one, or the one
    /// that led to the live one.
    pub fn back(
        &mut self,
        to: Option<u64>,
        cause: Cause,
    ) -> Result<Arc<Generation>, RollbackError> {
        let number = match to {
            Some(number) if number == self.live.number => {
                return Err(RollbackError::Live(number));
            }
            Some(number) => number,
            None => *self.line.iter().nth_back(1).ok_or(RollbackError::None)?,
        };
        let found = self.replaced.iter();
        let mut found = found.filter(|(entry, _)| entry.number == number);
        let kept = found.next().and_then(|(entry, _)| entry.kept.clone());
        let live = kept.ok_or_else(|| RollbackError::Unknown {
            number,
            kept: self.kept(),
        })?;
        self.replaced.retain(|(entry, _)| entry.number != number);
        // Nobody decided against a reload under way.
        if !matches!(cause, Cause::AutoRollback { .. }) {
            self.turn.0 += 1;
        }
        self.replace(Entry::of(&live, cause));
        match self.line.iter().position(|n| *n == number) {
            Some(at) => self.line.truncate(at + 1),
            None => self.line.push(number),
        }
        Ok(live)
    }

    /// The generations that can be brought back.
    fn kept(&self) -> Vec<u64> {
        let entries = self.replaced.iter().map(|(entry, _)| entry);
        let kept = entries.filter(|entry| entry.kept.is_some());
        kept.map(|entry| entry.number).collect()
    }

    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// The live generation, and every other that is kept or has exchanges, the
    /// one that was replaced last first.
    pub fn list(&self) -> (Lived, Vec<Lived>) {
        let replaced = self.replaced.iter().rev();
        let replaced = replaced.filter(|(entry, _)| entry.generation.strong_count() > 0);
        let replaced = replaced.map(|(entry, at)| entry.lived(Some(at.elapsed())));
        (self.live.lived(None), replaced.collect())
    }

    /// Every generation that is still there.
    pub fn generations(&self) -> Vec<Arc<Generation>> {
        let replaced = self.replaced.iter().map(|(entry, _)| entry);
        let entries = std::iter::once(&self.live).chain(replaced);
        entries
            .filter_map(|entry| entry.generation.upgrade())
            .collect()
    }

    fn replace(&mut self, live: Entry) {
        let before = std::mem::replace(&mut self.live, live);
        self.replaced.push((before, Instant::now()));
    }

    /// Keeps those that were replaced last, and forgets those that are gone.
    fn retire(&mut self, keep: usize) -> Retired {
        let kept = self.replaced.iter_mut().rev().map(|(entry, _)| entry);
        let kept = kept.filter(|entry| entry.kept.is_some());
        let retired: Retired = kept
            .skip(keep)
            .filter_map(|entry| entry.kept.take())
            .collect();
        let gone = |number: u64| retired.iter().any(|generation| generation.number == number);
        self.line.retain(|number| !gone(*number));
        self.replaced
            .retain(|(entry, _)| entry.generation.strong_count() > 0);
        retired
    }
}

impl Entry {
    fn of(generation: &Arc<Generation>, cause: Cause) -> Self {
        Self {
            number: generation.number,
            since: SystemTime::now(),
            cause,
            kept: Some(generation.clone()),
            generation: Arc::downgrade(generation),
        }
    }

    fn lived(&self, replaced: Option<Duration>) -> Lived {
        let generation = self.generation.upgrade();
        Lived {
            number: self.number,
            since: self.since,
            cause: self.cause.clone(),
            replaced,
            exchanges: generation.map_or(0, |generation| generation.under_way.count()),
            kept: self.kept.is_some(),
        }
    }
}
