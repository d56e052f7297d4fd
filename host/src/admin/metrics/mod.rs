//! What a monitoring system is told, as OpenMetrics text.
//!
//! Nothing is counted for it: all of it is read when someone asks, from what
//! the gateway counts for its administrators. So its labels hold names of
//! plugins and a version, and no secret.
//!
//! - `totals`: the counts of plugins, summed up over reloads
//! - `scrape`: which metrics there are, and how they are written

mod scrape;
mod totals;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use self::scrape::Scrape;
use self::totals::Totals;
use super::view::{Plugins, Status};
use crate::gateway::Gateway;
use crate::plugin::Plugin;
use crate::reload::Told;

/// The type of what `told` answers.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// See the module.
#[derive(Default)]
pub(super) struct Metrics {
    totals: Mutex<Totals<Plugin>>,
}

impl Metrics {
    /// What a gateway and its reloader are doing now.
    pub fn told(&self, gateway: &Gateway, told: &Told) -> Result<String, fmt::Error> {
        let totals = {
            let lock = self.totals.lock();
            let mut totals = lock.unwrap_or_else(PoisonError::into_inner);
            for generation in gateway.generations() {
                for plugin in &generation.plugins {
                    totals.add(&plugin.name, plugin, plugin.health().counts());
                }
            }
            totals.settle()
        };
        write(Scrape {
            status: Status::of(gateway, told),
            plugins: Plugins::of(&gateway.generation()).plugins,
            totals,
        })
    }
}

fn write(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}
