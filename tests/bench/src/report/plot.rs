//! Plots as SVG: bars, one panel a case. Colours follow the reader's theme.

use std::fmt::Write as _;

use super::table::shown;
use super::{Report, Row, Sample};
use crate::workload::Case;

/// A plot: its file, its title, what it shows, and in which cases.
struct Plot {
    file: &'static str,
    title: &'static str,
    figure: fn(&Sample) -> Option<f64>,
    shows: fn(&Case) -> bool,
}

const PLOTS: [Plot; 3] = [
    Plot {
        file: "processor.svg",
        title: "Processor time for a request, µs",
        figure: |s| s.processor,
        shows: |case| case.clients == 16 && case.rate.is_none(),
    },
    Plot {
        file: "throughput.svg",
        title: "Requests a second",
        figure: |s| Some(s.throughput),
        shows: |case| case.clients == 16 && case.bytes == 512 && case.rate.is_none(),
    },
    Plot {
        file: "latency.svg",
        title: "Latency, p99, µs",
        figure: |s| Some(s.p99),
        shows: |case| case.bytes == 512 && !case.streamed,
    },
];

const WIDTH: f64 = 720.0;
const LABELS: f64 = 170.0;
const FIGURES: f64 = 70.0;
const BAR: f64 = 18.0;
const GAP: f64 = 4.0;
const PANEL: f64 = 34.0;

/// A bar that is longer than this many times the longest of Palisade's is cut
/// short, so that the others can be told apart.
const CUT: f64 = 4.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}\
    .title{font-size:15px;font-weight:600}.case{font-weight:600}\
    .own{fill:#0969da}.other{fill:#8c959f}.cut{fill:#fff}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.own{fill:#4493f8}.other{fill:#6e7681}\
    .cut{fill:#0d1117}}";

/// Every plot, by the name of its file.
pub(super) fn all(report: &Report) -> Vec<(String, String)> {
    let plots = PLOTS
        .iter()
        .map(|plot| (plot.file.to_owned(), plot.draw(report)));
    plots.collect()
}

impl Plot {
    fn draw(&self, report: &Report) -> String {
        let mut body = String::new();
        let mut y = 28.0;
        let cases = report
            .cases
            .iter()
            .enumerate()
            .filter(|(_, case)| (self.shows)(case));
        for (at, case) in cases {
            let figure = |row: &Row| row.median(at).as_ref().and_then(self.figure);
            let bars: Vec<(&str, f64)> = report
                .rows
                .iter()
                .filter_map(|row| Some((row.name.as_str(), figure(row)?)))
                .collect();
            if bars.is_empty() {
                continue;
            }
            let _ = write!(
                body,
                "<text class=\"case\" x=\"0\" y=\"{}\">{case}</text>",
                y + 20.0
            );
            y += PANEL;
            y = panel(&mut body, &bars, y);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" \
             width=\"{WIDTH}\" height=\"{y}\" role=\"img\"><title>{title}</title>\
             <style>{STYLE}</style><text class=\"title\" x=\"0\" y=\"18\">{title}</text>{body}\
             </svg>\n",
            title = self.title
        )
    }
}

/// Draws the bars of one case; answers where the next panel begins.
fn panel(body: &mut String, bars: &[(&str, f64)], mut y: f64) -> f64 {
    let longest = |own: bool| {
        let figures = bars
            .iter()
            .filter(|(name, _)| is_own(name) == own)
            .map(|(_, f)| *f);
        figures.fold(0.0, f64::max)
    };
    let (own, other) = (longest(true), longest(false));
    let scale = if own > 0.0 {
        other.min(own * CUT).max(own)
    } else {
        other
    };
    for (name, figure) in bars {
        let class = if is_own(name) { "own" } else { "other" };
        let room = WIDTH - LABELS - FIGURES;
        let length = (figure / scale).min(1.0) * room;
        let middle = y + BAR - 5.0;
        let _ = write!(
            body,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>\
             <rect class=\"{class}\" x=\"{LABELS}\" y=\"{y}\" width=\"{length:.1}\" \
             height=\"{BAR}\" rx=\"2\"/>",
            LABELS - 8.0
        );
        if *figure > scale {
            let x = LABELS + length - 30.0;
            let _ = write!(
                body,
                "<path class=\"cut\" d=\"M{x} {}l6 -{h}h5l-6 {h}z\"/>",
                y + BAR,
                h = BAR
            );
        }
        let _ = write!(
            body,
            "<text x=\"{:.1}\" y=\"{middle}\">{}</text>",
            LABELS + length + 6.0,
            shown(Some(*figure))
        );
        y += BAR + GAP;
    }
    y + GAP
}

fn is_own(name: &str) -> bool {
    name.starts_with("palisade")
}
