//! How a reload ended.

use serde::{Deserialize, Serialize};

use super::time;
use crate::reload;

/// A reload that went well, or would.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// The generation that is live now; none after a dry run.
    pub generation: Option<u64>,
    pub plugins: Vec<Changed>,
    /// Routes that were left out, each with the reason.
    pub skipped: Vec<String>,
    /// Settings that take a restart to have an effect.
    pub restart: Vec<String>,
}

/// What became of a plugin.
#[derive(Debug, Serialize, Deserialize)]
pub struct Changed {
    pub name: String,
    /// "new", "changed", "carried over" or "removed".
    pub change: String,
}

/// A reload that failed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub at: String,
    /// The first step that failed: "read", "check", "compile", "probe",
    /// "drain" or "swap".
    pub step: String,
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    pub step: String,
    /// The line in the manifest.
    pub line: Option<usize>,
    /// All of it, with file, line and hint.
    pub text: String,
}

impl From<&reload::Reloaded> for Reloaded {
    fn from(reloaded: &reload::Reloaded) -> Self {
        let changed = |(name, change): &(String, crate::generation::Change)| Changed {
            name: name.clone(),
            change: change.to_string(),
        };
        Self {
            generation: reloaded.generation,
            plugins: reloaded.plugins.iter().map(changed).collect(),
            skipped: reloaded.skipped.clone(),
            restart: reloaded.restart.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&reload::Refused> for Refusal {
    fn from(refused: &reload::Refused) -> Self {
        let problems = refused.problems.iter().zip(&refused.lines);
        let problem = |(problem, text): (&crate::manifest::Problem, &String)| Problem {
            step: problem.step.to_string(),
            line: problem.line,
            text: text.clone(),
        };
        Self {
            at: time(refused.at),
            step: refused.step().to_string(),
            problems: problems.map(problem).collect(),
        }
    }
}
