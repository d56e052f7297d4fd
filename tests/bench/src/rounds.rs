//! Interleaved rounds: every subject in turn with one load, then with the next,
//! and all of it again. What else the machine does hits all subjects alike, and
//! the median over the rounds forgets what hit one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::{self, Measured};
use crate::report::Sample;
use crate::subject::Running;
use crate::workload::Case;

/// How long a load runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(400);

/// What was found: of each subject, by name, and each case, a sample a round,
/// and none of a round in which it failed.
pub type Samples = BTreeMap<(String, Case), Vec<Option<Sample>>>;

/// Measures all subjects. A subject that fails a case is left out of its table
/// and told of.
pub async fn run(
    subjects: &[Running],
    cases: &[Case],
    rounds: usize,
    time: Duration,
) -> anyhow::Result<Samples> {
    let mut samples = Samples::new();
    for round in 1..=rounds {
        for case in cases {
            eprintln!("round {round} of {rounds}: {case}");
            for running in subjects {
                let sample = one(running, *case, time).await?;
                let key = (running.subject.name.clone(), *case);
                samples.entry(key).or_default().push(sample);
            }
        }
    }
    Ok(samples)
}

/// Measures one subject once.
pub async fn one(running: &Running, case: Case, time: Duration) -> anyhow::Result<Option<Sample>> {
    if let Some(process) = &running.process {
        process.resume();
    }
    let process = running.process.as_ref();
    let measured = load::run(&running.subject.target, case, (WARM_UP, time), process).await?;
    let resident = process.map(crate::process::Process::resident);
    if let Some(process) = process {
        process.pause();
    }
    let name = &running.subject.name;
    if let Some(failure) = &measured.failure {
        eprintln!(
            "{name}: {} failed in \"{case}\": {failure}",
            measured.failures
        );
    }
    let enough = measured.answers > 0 && measured.failures * 100 <= measured.answers;
    Ok(enough.then(|| sample(&measured, resident)))
}

fn sample(measured: &Measured, resident: Option<u64>) -> Sample {
    let answers = measured.answers as f64;
    let processor = measured.processor_time.as_secs_f64() * 1e6 / answers;
    let at = |quantile| measured.latency.value_at_quantile(quantile) as f64;
    Sample {
        processor: resident.map(|_| processor),
        throughput: answers / measured.elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        first_byte_p50: measured.first_byte.value_at_quantile(0.5) as f64,
        first_byte_p99: measured.first_byte.value_at_quantile(0.99) as f64,
        resident: resident.map(|bytes| bytes as f64 / f64::from(1 << 20)),
    }
}
