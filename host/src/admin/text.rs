//! What the command line prints: the answers of `view`, for people.

use std::fmt::Write as _;
use std::time::Duration;

use super::view::{Past, Plugin, Plugins, Refusal, Refused, Reloaded, Status, Switched};

pub(super) fn status(status: &Status) -> String {
    let mut out = String::new();
    let up = ago(status.uptime_s);
    let _ = writeln!(out, "palisade {}, up {up}", status.version);
    let live = &status.live;
    let _ = writeln!(
        out,
        "generation {} is live since {}: {}",
        live.generation,
        live.since,
        why(live)
    );
    let _ = writeln!(out, "exchanges under way: {}", status.exchanges);
    if let Some(since) = &status.reload.held_back {
        let _ = writeln!(out, "a reload waits for earlier generations since {since}");
    }
    if let Some(back) = &status.reload.taken_back {
        let _ = writeln!(
            out,
            "generation {} was taken back at {}: plugin \"{}\" {}",
            back.generation, back.at, back.plugin, back.reason
        );
    }
    if let Some(error) = &status.reload.error {
        out.push_str(&refusal(error));
    }
    for setting in &status.reload.restart {
        let _ = writeln!(out, "{setting} was changed: it takes a restart");
    }
    for skipped in &status.skipped {
        let _ = writeln!(out, "{skipped}");
    }
    for disabled in &status.disabled {
        let _ = writeln!(
            out,
            "plugin {} is disabled since {} by {}",
            disabled.plugin, disabled.since, disabled.who
        );
    }
    for past in &status.draining {
        let _ = writeln!(
            out,
            "generation {} ends: {} exchanges, replaced {} ago",
            past.generation,
            past.exchanges,
            ago(past.replaced_s.unwrap_or_default())
        );
    }
    for past in &status.history {
        let _ = writeln!(
            out,
            "generation {} can be brought back: live at {}, {}",
            past.generation,
            past.since,
            why(past)
        );
    }
    out
}

fn why(past: &Past) -> String {
    match &past.who {
        Some(who) => format!("{} by {who}", past.reason),
        None => past.reason.clone(),
    }
}

fn ago(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

pub(super) fn plugins(plugins: &Plugins) -> String {
    let mut out = String::new();
    for plugin in &plugins.plugins {
        one(&mut out, plugin);
    }
    out
}

fn one(out: &mut String, plugin: &Plugin) {
    let _ = writeln!(
        out,
        "plugin {}: {} ({})",
        plugin.name,
        plugin.stages.join(", "),
        plugin.standing
    );
    let _ = writeln!(out, "  {} sha256 {}", plugin.source, plugin.sha256);
    let _ = writeln!(
        out,
        "  contract {}, imports {}, grants {}, on-failure {}",
        plugin.contract,
        listed(&plugin.imports),
        listed(&plugin.grants),
        plugin.on_failure
    );
    let limits = &plugin.limits;
    let _ = writeln!(
        out,
        "  limits: {} ms, {} ms of CPU time, {} MiB of memory, {} MiB of output",
        limits.time_ms,
        limits.cpu_ms,
        limits.memory >> 20,
        limits.output >> 20
    );
    let _ = writeln!(out, "  instances: {}{}", plugin.instances, costs(plugin));
    let calls = &plugin.calls;
    let _ = writeln!(
        out,
        "  calls: {} ok, {} problems, {} traps, {} deadlines, {} out of memory, {} without an instance, {} spared, {} disabled",
        calls.ok,
        calls.problems,
        calls.traps,
        calls.deadlines,
        calls.memory,
        calls.exhausted,
        calls.spared,
        calls.disabled
    );
    let time = Duration::from_micros(calls.time_us);
    let _ = writeln!(
        out,
        "  they took {:.3} s and {} slices of CPU time, and {} instances",
        time.as_secs_f64(),
        calls.cpu_slices,
        calls.instances
    );
    for failure in &plugin.failures {
        let _ = writeln!(out, "  {} {}: {}", failure.at, failure.call, failure.error);
        for line in failure.backtrace.iter().flat_map(|text| text.lines()) {
            let _ = writeln!(out, "    {line}");
        }
    }
}

fn costs(plugin: &Plugin) -> String {
    let mut out = String::new();
    if let Some(why) = &plugin.without_snapshot {
        let _ = write!(out, ", but made ahead: {why}");
    }
    if let Some(cost) = &plugin.cost {
        let _ = write!(
            out,
            "; an exchange costs about {} µs and {:.1} page faults",
            cost.time_us, cost.page_faults
        );
    }
    out
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(" ")
}

pub(super) fn reloaded(reloaded: &Reloaded) -> String {
    let mut out = String::new();
    for plugin in &reloaded.plugins {
        let _ = writeln!(out, "plugin {}: {}", plugin.name, plugin.change);
    }
    for skipped in &reloaded.skipped {
        let _ = writeln!(out, "{skipped}");
    }
    for setting in &reloaded.restart {
        let _ = writeln!(out, "{setting} was changed: it takes a restart");
    }
    let _ = match reloaded.generation {
        Some(number) => writeln!(out, "generation {number} is live"),
        None => writeln!(out, "nothing was changed: it would be reloaded so"),
    };
    out
}

pub(super) fn switched(switched: &Switched) -> String {
    let what = if switched.disabled {
        "is disabled: exchanges go on without it, or are refused if it is their adapter"
    } else {
        "is enabled"
    };
    format!("plugin {} {what}\n", switched.plugin)
}

pub(super) fn refused(refused: &Refused) -> String {
    match &refused.error.reload {
        Some(reload) => refusal(reload).trim_end().to_owned(),
        None => refused.error.message.clone(),
    }
}

fn refusal(refusal: &Refusal) -> String {
    let mut out = format!("not reloaded at {}:\n", refusal.at);
    for problem in &refusal.problems {
        let _ = writeln!(out, "  {}: {}", problem.step, problem.text);
    }
    out
}
