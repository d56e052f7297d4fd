//! The targets that Palisade has set itself against the others of the same
//! run, and what of each was reached. A ratio is taken in each round by itself;
//! what is said of it is their median, and their least and greatest.

use std::fmt::Write as _;

use super::{Figure, Report, Sample, Spread, ratios};
use crate::workload::{self, Case};

const SMALL: Case = Case {
    bytes: 512,
    streamed: false,
    clients: 16,
    rate: None,
};
const PACED: Case = Case {
    rate: Some(workload::RATE),
    ..SMALL
};
const SINGLE: Case = Case {
    clients: 1,
    ..SMALL
};
const LARGE: Case = Case {
    bytes: 100 << 10,
    ..SMALL
};
const STREAM: Case = Case {
    streamed: true,
    ..SMALL
};

/// A figure that may not be above (or, if `least`, below) another one by more
/// than a factor.
struct Ratio {
    number: &'static str,
    says: &'static str,
    subject: &'static str,
    anchor: &'static str,
    case: Case,
    figure: Figure,
    bound: f64,
    least: bool,
}

const fn processor(
    (number, says): (&'static str, &'static str),
    (subject, anchor): (&'static str, &'static str),
    case: Case,
    bound: f64,
) -> Ratio {
    let figure: Figure = |s: &Sample| s.processor;
    Ratio {
        number,
        says,
        subject,
        anchor,
        case,
        figure,
        bound,
        least: false,
    }
}

const fn throughput(anchor: &'static str, bound: f64) -> Ratio {
    Ratio {
        number: "5",
        says: "throughput with four plugins",
        subject: "palisade-4",
        anchor,
        case: SMALL,
        figure: |s| Some(s.throughput),
        bound,
        least: true,
    }
}

const fn slowest((number, says): (&'static str, &'static str), case: Case) -> Ratio {
    Ratio {
        number,
        says,
        subject: "palisade-4",
        anchor: "envoy-4",
        case,
        figure: |s| Some(s.p99),
        bound: 1.0,
        least: false,
    }
}

const RATIOS: [Ratio; 12] = [
    processor(
        ("1", "four plugins, 0.5 KB"),
        ("palisade-4", "envoy-4"),
        SMALL,
        0.8,
    ),
    processor(
        ("1, beyond", "the same"),
        ("palisade-4", "envoy"),
        SMALL,
        1.0,
    ),
    processor(
        ("1, reused", "the same"),
        ("palisade-4-reuse", "envoy-4"),
        SMALL,
        0.55,
    ),
    processor(
        ("2", "four plugins, 100 KB"),
        ("palisade-4", "envoy-4"),
        LARGE,
        0.35,
    ),
    processor(
        ("3", "stream, a filter of every event"),
        ("palisade-4-events", "envoy-4"),
        STREAM,
        1.0,
    ),
    processor(
        ("3", "stream, no filter of events"),
        ("palisade-4", "nginx"),
        STREAM,
        1.5,
    ),
    processor(("4", "no plugin"), ("palisade-0", "hyper"), SMALL, 1.25),
    throughput("litellm", 100.0),
    throughput("portkey", 15.0),
    slowest(("6", "p99 at one client"), SINGLE),
    slowest(("6", "p99 at the same rate"), PACED),
    // Whoever answers more is busier meanwhile.
    slowest(("6, beyond", "p99 of as much as each can answer"), SMALL),
];

pub(super) fn all(report: &Report) -> String {
    let mut text = String::from("| target | | bound | found | |\n|---|---|---:|---:|---|\n");
    for ratio in &RATIOS {
        let who = (ratio.subject, ratio.anchor);
        let found = report.ratios(who, ratio.case, ratio.figure);
        let says = format!("{}, {} ÷ {}", ratio.says, ratio.subject, ratio.anchor);
        line(
            &mut text,
            (ratio.number, &says),
            ("×", ratio.bound, ratio.least),
            found,
        );
    }
    if let Some(scaling) = &report.scaling {
        let two_to_one = |figure| ratios(&scaling.two, &scaling.one, figure);
        let cores = ("5", "throughput, two cores ÷ one");
        let found = two_to_one(|s| Some(s.throughput));
        line(&mut text, cores, ("×", 1.6, true), found);
        let same = ("5", "the same, by processor time for a request");
        // Two cores have twice the time.
        let found = two_to_one(|s| s.processor.map(f64::recip));
        let found = found.map(|found| found.times(2.0));
        line(&mut text, same, ("×", 1.6, true), found);
    }
    let direct = report.sample("direct", SINGLE).map(|s| s.p50);
    let own = report.sample("palisade-4", SINGLE).map(|s| s.p50);
    let added = own.zip(direct).map(|(own, direct)| own - direct);
    line(
        &mut text,
        ("6", "p50 added at one client"),
        (" µs", 150.0, false),
        added.map(Spread::single),
    );
    let row = report.row("palisade-4");
    let start = row.and_then(|row| row.start_up);
    line(
        &mut text,
        ("7", "ready to serve, warm"),
        (" ms", 60.0, false),
        start.map(Spread::single),
    );
    let idle = row.and_then(|row| row.idle);
    line(
        &mut text,
        ("7", "memory before the first load"),
        (" MiB", 40.0, false),
        idle.map(Spread::single),
    );
    text
}

fn line(
    text: &mut String,
    (number, says): (&str, &str),
    (unit, bound, least): (&str, f64, bool),
    found: Option<Spread>,
) {
    let Some(spread) = found else {
        return;
    };
    let found = spread.middle;
    let kept = if least {
        found >= bound
    } else {
        found <= bound
    };
    let beyond = (found / bound - 1.0).abs() * 100.0;
    let verdict = if kept {
        "reached".to_owned()
    } else {
        format!("missed by {beyond:.0} %")
    };
    let sign = if least { "≥" } else { "≤" };
    let digits = if unit == "×" { 2 } else { 0 };
    let Spread {
        least: low, most, ..
    } = spread;
    let rounds = match low < most {
        true => format!(" ({low:.digits$} to {most:.digits$})"),
        false => String::new(),
    };
    let _ = writeln!(
        text,
        "| {number} | {says} | {sign} {bound}{unit} | {found:.digits$}{unit}{rounds} | {verdict} |"
    );
}
