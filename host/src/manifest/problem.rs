//! What is wrong with a manifest: every problem at once, each with its line
//! and, where one is known, a hint.

use std::fmt;
use std::path::{Path, PathBuf};

/// A step of making a generation the live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Reading the manifest and what it names.
    Read,
    /// What can be said without running anything: keys, names, digests,
    /// imports against grants, exports against stages.
    Check,
    Compile,
    /// Starting each plugin once, with its configuration.
    Probe,
    /// Waiting for earlier generations to end.
    Drain,
    /// Putting it in the place of the live one.
    Swap,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Step::Read => "read",
            Step::Check => "check",
            Step::Compile => "compile",
            Step::Probe => "probe",
            Step::Drain => "drain",
            Step::Swap => "swap",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line in the manifest, from 1; none if it concerns no line.
    pub line: Option<usize>,
    /// The step that found it.
    pub step: Step,
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Everything that is wrong with one manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    pub file: PathBuf,
    pub list: Vec<Problem>,
}

impl Problems {
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
        }
    }

    /// A single problem, which concerns no line.
    pub fn one(file: &Path, step: Step, message: impl Into<String>) -> Self {
        let problem = Problem {
            line: None,
            step,
            message: message.into(),
            hint: None,
        };
        Self {
            file: file.to_owned(),
            list: vec![problem],
        }
    }

    /// The line of the log for one of them.
    pub fn line(&self, problem: &Problem) -> String {
        let mut line = self.file.display().to_string();
        if let Some(number) = problem.line {
            line.push_str(&format!(":{number}"));
        }
        line.push_str(&format!(": {}", problem.message));
        if let Some(hint) = &problem.hint {
            line.push_str(&format!(" ({hint})"));
        }
        line
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            f.write_str(&self.line(problem))?;
        }
        Ok(())
    }
}
