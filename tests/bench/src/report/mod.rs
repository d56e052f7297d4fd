//! What was found, for people and for programs: the medians, as JSON, as tables
//! in Markdown, and as plots.

mod machine;
mod plot;
mod table;
mod targets;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use machine::Machine;

use crate::rounds::Samples;
use crate::subject::Running;
use crate::workload::Case;

/// One measurement of one subject. Times are in microseconds, memory in MiB.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    /// Processor time of the subject for one request.
    pub processor: Option<f64>,
    /// Requests a second.
    pub throughput: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// Until the first byte of the body.
    pub first_byte_p50: f64,
    pub first_byte_p99: f64,
    pub resident: Option<f64>,
}

/// What a subject is, and what it did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub what: String,
    pub version: String,
    /// Milliseconds from its start to its first answer, with warm caches.
    pub start_up: Option<f64>,
    /// Memory before the first load, in MiB.
    pub idle: Option<f64>,
    /// What each round found, for each of the cases in their order.
    pub rounds: Vec<Vec<Option<Sample>>>,
}

/// How throughput follows the number of cores, of one subject: what each round
/// found on one and on two.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scaling {
    pub subject: String,
    pub one: Vec<Option<Sample>>,
    pub two: Vec<Option<Sample>>,
}

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    pub rounds: usize,
    pub seconds: f64,
    pub cases: Vec<Case>,
    pub rows: Vec<Row>,
    pub scaling: Option<Scaling>,
    /// Subjects that were not there, each with how to get it.
    pub absent: Vec<String>,
}

impl Row {
    /// The row of a subject in the samples of a run.
    pub fn of(running: &Running, cases: &[Case], samples: &Samples) -> Self {
        let subject = &running.subject;
        let of = |case: &Case| samples.get(&(subject.name.clone(), *case)).cloned();
        let rounds: Vec<_> = cases.iter().map(|c| of(c).unwrap_or_default()).collect();
        Self {
            name: subject.name.clone(),
            what: subject.what.clone(),
            version: subject.version.clone(),
            start_up: running.start_up.map(|time| time.as_secs_f64() * 1e3),
            idle: running.idle.map(|bytes| bytes as f64 / f64::from(1 << 20)),
            rounds,
        }
    }

    /// The medians in the case with this index.
    fn median(&self, case: usize) -> Option<Sample> {
        Sample::median(self.rounds.get(case)?)
    }
}

impl Sample {
    /// The median of each figure by itself over the rounds in which there is
    /// one; none if there is none.
    fn median(rounds: &[Option<Self>]) -> Option<Self> {
        let served = || rounds.iter().flatten();
        let of = |figure: fn(&Self) -> f64| middle(served().map(figure));
        let of_some = |figure: Figure| middle(served().filter_map(figure));
        Some(Self {
            processor: of_some(|s| s.processor),
            throughput: of(|s| s.throughput)?,
            p50: of(|s| s.p50)?,
            p99: of(|s| s.p99)?,
            p999: of(|s| s.p999)?,
            first_byte_p50: of(|s| s.first_byte_p50)?,
            first_byte_p99: of(|s| s.first_byte_p99)?,
            resident: of_some(|s| s.resident),
        })
    }
}

/// What of a sample is looked at.
type Figure = fn(&Sample) -> Option<f64>;

/// A figure divided by another, in each round by itself: what hit a round hit
/// both.
fn ratios(these: &[Option<Sample>], those: &[Option<Sample>], figure: Figure) -> Option<Spread> {
    let pairs = these.iter().zip(those);
    let ratio = |(this, that): (&Option<Sample>, &Option<Sample>)| {
        Some(figure(this.as_ref()?)? / figure(that.as_ref()?)?)
    };
    Spread::of(pairs.filter_map(ratio))
}

fn middle(figures: impl Iterator<Item = f64>) -> Option<f64> {
    Spread::of(figures).map(|spread| spread.middle)
}

/// Where figures lie: the median, and the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    middle: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// None of no figures.
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let half = figures.len() / 2;
        let middle = match figures.len() % 2 {
            1 => figures[half],
            _ => (figures[half - 1] + figures[half]) / 2.0,
        };
        Some(Self {
            middle,
            least,
            most,
        })
    }

    fn times(self, factor: f64) -> Self {
        Self {
            middle: self.middle * factor,
            least: self.least * factor,
            most: self.most * factor,
        }
    }

    /// Of a figure that was found once.
    fn single(figure: f64) -> Self {
        Self {
            middle: figure,
            least: figure,
            most: figure,
        }
    }
}

impl Report {
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The medians of a subject in a case.
    fn sample(&self, name: &str, case: Case) -> Option<Sample> {
        let at = self.cases.iter().position(|known| *known == case)?;
        self.row(name)?.median(at)
    }

    /// A figure of one subject divided by that of another ([`ratios`]).
    fn ratios(
        &self,
        (subject, anchor): (&str, &str),
        case: Case,
        figure: Figure,
    ) -> Option<Spread> {
        let at = self.cases.iter().position(|known| *known == case)?;
        let rounds = |name| self.row(name)?.rounds.get(at);
        ratios(rounds(subject)?, rounds(anchor)?, figure)
    }

    /// The tables and what has been reached, in Markdown.
    pub fn markdown(&self) -> String {
        format!("{}\n{}", table::all(self), targets::all(self))
    }

    /// Writes `report.json`, `report.md` and the plots.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let mut files = vec![
            (
                "report.json".to_owned(),
                serde_json::to_string_pretty(self)? + "\n",
            ),
            ("report.md".to_owned(), self.markdown()),
        ];
        files.extend(plot::all(self));
        for (name, text) in files {
            let file = directory.join(name);
            fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    /// Reads what an earlier run wrote.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let file = directory.join("report.json");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_forgets_what_hit_one_round() {
        assert_eq!(middle([3.0, 900.0, 1.0].into_iter()), Some(3.0));
        assert_eq!(middle([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(middle([].into_iter()), None);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let throughput = |throughput| {
            Some(Sample {
                processor: None,
                throughput,
                p50: 1.0,
                p99: 1.0,
                p999: 1.0,
                first_byte_p50: 1.0,
                first_byte_p99: 1.0,
                resident: None,
            })
        };
        // The second round was slow for both, and in the third one failed.
        let these = [100.0, 10.0, 100.0, 90.0].map(throughput);
        let mut those = [200.0, 20.0, 1.0, 200.0].map(throughput);
        those[2] = None;
        let found = ratios(&these, &those, |s| Some(s.throughput));
        let (middle, least, most) = (0.5, 0.45, 0.5);
        let expected = Spread {
            middle,
            least,
            most,
        };
        assert_eq!(found, Some(expected));
        assert_eq!(ratios(&these, &those, |s| s.processor), None);
    }
}
