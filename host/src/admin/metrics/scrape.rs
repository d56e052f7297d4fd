//! Which metrics there are, and how they are written. Names follow Prometheus'
//! conventions: base units, and `_total` for what only grows.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::admin::view::{Plugin, Status};
use crate::plugin::{Counts, Standing};

/// All that is told at one moment.
#[derive(Debug)]
pub(super) struct Scrape {
    pub status: Status,
    /// The plugins of the live generation.
    pub plugins: Vec<Plugin>,
    /// The counts of plugins by name.
    pub totals: BTreeMap<String, Counts>,
}

/// A way in which a call ends, or why there was none, and how to read its count.
type Outcome = (&'static str, fn(&Counts) -> u64);

const OUTCOMES: [Outcome; 8] = [
    ("ok", |counts| counts.ok),
    ("problem", |counts| counts.problems),
    ("trap", |counts| counts.traps),
    ("deadline", |counts| counts.deadlines),
    ("memory", |counts| counts.memory),
    ("exhausted", |counts| counts.exhausted),
    ("spared", |counts| counts.spared),
    ("disabled", |counts| counts.disabled),
];

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        self.process(&mut out)?;
        self.reloads(&mut out)?;
        self.calls(&mut out)?;
        self.plugins(&mut out)
    }
}

impl Scrape {
    fn process(&self, out: &mut Out) -> fmt::Result {
        let Out(encoder) = out;
        let help = "The version of the gateway.";
        let mut build =
            encoder.encode_descriptor("palisade_build", help, None, MetricType::Info)?;
        build.encode_info(&[("version", self.status.version.as_str())])?;
        out.gauge(
            "palisade_generation",
            "The number of the live generation.",
            self.status.live.generation,
        )?;
        out.gauge(
            "palisade_generations_draining",
            "Replaced generations that still have exchanges.",
            self.status.draining.len(),
        )?;
        out.gauge(
            "palisade_exchanges_in_progress",
            "Exchanges under way, of all generations.",
            self.status.exchanges,
        )
    }

    fn reloads(&self, out: &mut Out) -> fmt::Result {
        let reload = &self.status.reload;
        out.gauge(
            "palisade_reload_failing",
            "Whether the files as they are now cannot be loaded.",
            u32::from(reload.error.is_some()),
        )?;
        out.gauge(
            "palisade_reload_held_back",
            "Whether a reload waits for earlier generations to end.",
            u32::from(reload.held_back.is_some()),
        )?;
        out.gauge(
            "palisade_reload_taken_back",
            "Whether the last generation was taken back since a plugin failed.",
            u32::from(reload.taken_back.is_some()),
        )?;
        out.gauge(
            "palisade_restart_needed",
            "Whether a setting was changed that takes a restart.",
            u32::from(!reload.restart.is_empty()),
        )
    }

    fn calls(&self, out: &mut Out) -> fmt::Result {
        let totals = || {
            self.totals
                .iter()
                .map(|(name, counts)| (name.as_str(), counts))
        };
        let calls = totals().flat_map(|(name, counts)| {
            OUTCOMES.map(|(outcome, of)| ([("plugin", name), ("outcome", outcome)], of(counts)))
        });
        let help = "Calls of a plugin by how they ended, or why there was none.";
        out.counters("palisade_plugin_calls", help, None, calls)?;
        let time = totals().map(|(name, counts)| {
            let time = Duration::from_micros(counts.time_us);
            ([("plugin", name)], time.as_secs_f64())
        });
        let help = "Time of a plugin's calls, starts of instances included.";
        out.counters("palisade_plugin_time", help, Some(&Unit::Seconds), time)?;
        let slices = totals().map(|(name, counts)| ([("plugin", name)], counts.cpu_slices));
        let help = "Slices of 5 ms of CPU time that ended in a plugin's calls.";
        out.counters("palisade_plugin_cpu_slices", help, None, slices)?;
        let instances = totals().map(|(name, counts)| ([("plugin", name)], counts.instances));
        let help = "Instances of a plugin that were started.";
        out.counters("palisade_plugin_instances", help, None, instances)
    }

    fn plugins(&self, out: &mut Out) -> fmt::Result {
        let standing = self.plugins.iter().flat_map(|plugin| {
            Standing::WORDS.map(|word| {
                let labels = [("plugin", plugin.name.as_str()), ("standing", word)];
                (labels, u32::from(plugin.standing == word))
            })
        });
        let help = "Whether a plugin of the live generation is called.";
        out.gauges("palisade_plugin_standing", help, None, standing)?;
        let costs = || {
            let plugins = self.plugins.iter();
            plugins.filter_map(|p| Some(([("plugin", p.name.as_str())], p.cost.as_ref()?)))
        };
        let times = costs().map(|(labels, cost)| {
            let time = Duration::from_micros(cost.time_us);
            (labels, time.as_secs_f64())
        });
        let (name, unit) = ("palisade_plugin_exchange_cost", Unit::Seconds);
        let help = "Time of one exchange, measured when the plugin was loaded.";
        out.gauges(name, help, Some(&unit), times)?;
        let faults = costs().map(|(labels, cost)| (labels, cost.page_faults));
        let help = "Page faults of one exchange, measured when the plugin was loaded.";
        out.gauges("palisade_plugin_exchange_page_faults", help, None, faults)
    }
}

/// Where metrics are written.
struct Out<'e>(DescriptorEncoder<'e>);

/// Labels of a sample, by name.
type Labels<'l, const N: usize> = [(&'l str, &'l str); N];

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        let Self(encoder) = self;
        gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl Iterator<Item = (Labels<'l, N>, impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        let Self(encoder) = self;
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl Iterator<Item = (Labels<'l, N>, impl EncodeCounterValue)>,
    ) -> fmt::Result {
        let Self(encoder) = self;
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plugin(name: &str, standing: &str, cost: Value) -> Plugin {
        let plugin = json!({
            "name": name, "source": "x.wasm", "sha256": "00", "stages": [], "contract": "0",
            "imports": [], "grants": [],
            "limits": { "time_ms": 1, "cpu_ms": 1, "memory": 1, "tables": 1, "transfer": 1,
                "handles": 1, "output": 1, "edits": 1, "log": 1 },
            "breaker": { "failures": 1, "backoff_ms": 1 },
            "instances": "snapshot", "without_snapshot": null, "cost": cost,
            "on_failure": "reject", "standing": standing, "spared_ms": null,
            "calls": Counts::default(), "failures": [],
        });
        serde_json::from_value(plugin).unwrap()
    }

    fn status() -> Status {
        let live = json!({ "generation": 3, "since": "x", "reason": "admin", "who": "who-canary",
            "exchanges": 1, "replaced_s": null });
        let status = json!({
            "version": "1.2.3", "started": "x", "uptime_s": 1, "live": live, "exchanges": 7,
            "reload": { "error": null, "held_back": "x", "restart": [], "taken_back": null },
            "history": [live], "draining": [live], "disabled": [], "skipped": ["skip-canary"],
        });
        serde_json::from_value(status).unwrap()
    }

    fn told(name: &str) -> String {
        let counts = Counts {
            ok: 5,
            traps: 2,
            time_us: 1_500_000,
            cpu_slices: 40,
            instances: 6,
            ..Counts::default()
        };
        let cost = json!({ "time_us": 250, "page_faults": 1.5 });
        super::super::write(Scrape {
            status: status(),
            plugins: vec![plugin(name, "spared", cost)],
            totals: BTreeMap::from([(name.to_owned(), counts)]),
        })
        .unwrap()
    }

    #[test]
    fn what_is_told_has_its_names_units_and_values() {
        let told = told("guard");
        for line in [
            "# TYPE palisade_build info",
            "palisade_build_info{version=\"1.2.3\"} 1",
            "palisade_generation 3",
            "palisade_generations_draining 1",
            "palisade_exchanges_in_progress 7",
            "palisade_reload_failing 0",
            "palisade_reload_held_back 1",
            "palisade_reload_taken_back 0",
            "palisade_restart_needed 0",
            "# TYPE palisade_plugin_calls counter",
            "palisade_plugin_calls_total{plugin=\"guard\",outcome=\"ok\"} 5",
            "palisade_plugin_calls_total{plugin=\"guard\",outcome=\"trap\"} 2",
            "palisade_plugin_calls_total{plugin=\"guard\",outcome=\"spared\"} 0",
            "# UNIT palisade_plugin_time_seconds seconds",
            "palisade_plugin_time_seconds_total{plugin=\"guard\"} 1.5",
            "palisade_plugin_cpu_slices_total{plugin=\"guard\"} 40",
            "palisade_plugin_instances_total{plugin=\"guard\"} 6",
            "palisade_plugin_standing{plugin=\"guard\",standing=\"well\"} 0",
            "palisade_plugin_standing{plugin=\"guard\",standing=\"spared\"} 1",
            "palisade_plugin_exchange_cost_seconds{plugin=\"guard\"} 0.00025",
            "palisade_plugin_exchange_page_faults{plugin=\"guard\"} 1.5",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}: {told}");
        }
        assert!(told.ends_with("\n# EOF\n"), "{told}");
        assert!(
            !told.contains("canary"),
            "names and reasons stay out: {told}"
        );
    }

    /// Names of plugins need no quoting; whatever they were, no line would end
    /// early.
    #[test]
    fn a_label_cannot_break_the_format() {
        let odd = "a\"b\\c\nd{}=\u{e9}\" 1";
        let (told, plain) = (told(odd), told("plain"));
        let escaped = r#"{plugin="a\"b\\c\nd{}=é\" 1"} 40"#;
        let line = format!("palisade_plugin_cpu_slices_total{escaped}");
        assert!(told.lines().any(|told| told == line), "{told}");
        assert_eq!(told.lines().count(), plain.lines().count());
    }
}
