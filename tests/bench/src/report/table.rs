//! The tables of a report, in Markdown: a row a subject, a column a case.

use std::fmt::Write as _;

use super::{Report, Sample};

/// A table: its title, and what of a sample it shows.
type Table = (&'static str, fn(&Sample) -> Option<f64>);

const TABLES: [Table; 6] = [
    ("Processor time for a request, µs", |s| s.processor),
    ("Requests a second", |s| Some(s.throughput)),
    ("Latency, p50, µs", |s| Some(s.p50)),
    ("Latency, p99, µs", |s| Some(s.p99)),
    ("Latency, p99.9, µs", |s| Some(s.p999)),
    ("Time to the first byte of the body, p50, µs", |s| {
        Some(s.first_byte_p50)
    }),
];

/// The subject that others are compared with.
const DIRECT: &str = "direct";

pub(super) fn all(report: &Report) -> String {
    let mut text = format!(
        "{}\n\nMedians of {} interleaved rounds of {} s each; load, upstream and subject share \
         the machine.\n",
        report.machine, report.rounds, report.seconds
    );
    for (title, figure) in TABLES {
        table(&mut text, report, title, |report, row, at| {
            report.rows[row].median(at).as_ref().and_then(figure)
        });
    }
    table(
        &mut text,
        report,
        "Latency added to no proxy, p50, µs",
        |report, row, at| {
            let direct = report.row(DIRECT)?.median(at)?.p50;
            let row = &report.rows[row];
            let own = row.median(at)?.p50;
            (row.name != DIRECT).then_some(own - direct)
        },
    );
    memory(&mut text, report);
    for absent in &report.absent {
        let _ = writeln!(text, "- {absent}");
    }
    text
}

fn table(
    text: &mut String,
    report: &Report,
    title: &str,
    figure: impl Fn(&Report, usize, usize) -> Option<f64>,
) {
    let cases: Vec<_> = report.cases.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "\n**{title}**\n\n| | {} |", cases.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(cases.len()));
    for (row, subject) in report.rows.iter().enumerate() {
        let figures = (0..cases.len()).map(|at| figure(report, row, at));
        let figures: Vec<_> = figures.collect();
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let figures: Vec<_> = figures.into_iter().map(shown).collect();
        let _ = writeln!(text, "| {} | {} |", subject.name, figures.join(" | "));
    }
}

/// With a comma at each thousand, and a digit after the point if it is small.
pub(super) fn shown(figure: Option<f64>) -> String {
    let Some(figure) = figure else {
        return "–".to_owned();
    };
    if figure.abs() < 10.0 {
        return format!("{figure:.1}");
    }
    let digits = format!("{:.0}", figure.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if figure < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

/// What subjects are, and what they need before they do anything.
fn memory(text: &mut String, report: &Report) {
    let _ = writeln!(
        text,
        "\n| | what | version | start-up, ms | idle, MiB | after load, MiB |\n\
         |---|---|---|---:|---:|---:|"
    );
    for row in &report.rows {
        let medians = (0..row.rounds.len()).filter_map(|at| row.median(at));
        let loaded = medians.filter_map(|sample| sample.resident);
        let loaded = loaded.max_by(f64::total_cmp);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            row.name,
            row.what,
            row.version,
            shown(row.start_up),
            shown(row.idle),
            shown(loaded)
        );
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn figures_are_read_at_a_glance() {
        let cases = [
            (Some(1.25), "1.2"),
            (Some(12.4), "12"),
            (Some(999.6), "1,000"),
            (Some(1_234_567.0), "1,234,567"),
            (Some(-1234.0), "-1,234"),
            (None, "–"),
        ];
        for (figure, text) in cases {
            assert_eq!(shown(figure), text);
        }
    }
}
