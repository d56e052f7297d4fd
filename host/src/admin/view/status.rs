//! What the gateway is doing.

use serde::{Deserialize, Serialize};

use super::{Refusal, time};
use crate::gateway::Gateway;
use crate::generation::Lived;
use crate::reload::{self, Told};

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub started: String,
    pub uptime_s: u64,
    /// The live generation.
    pub live: Past,
    /// All exchanges under way.
    pub exchanges: usize,
    pub reload: Reloading,
    /// Earlier generations that can be brought back, the newest first.
    pub history: Vec<Past>,
    /// Replaced generations that still have exchanges.
    pub draining: Vec<Past>,
    pub disabled: Vec<Disabled>,
    /// Routes that were left out, each with the reason.
    pub skipped: Vec<String>,
}

/// A generation that is or was live.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Past {
    pub generation: u64,
    /// When it went live, the last time that it did.
    pub since: String,
    /// Why it did: "start", "file-change", "sighup", "admin", "rollback" or
    /// "automatic-rollback".
    pub reason: String,
    pub who: Option<String>,
    /// Exchanges that are on it.
    pub exchanges: usize,
    /// How long ago it was replaced; none for the live one.
    pub replaced_s: Option<u64>,
}

/// What is to be known of reloading.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reloading {
    /// Why the files as they are now are not what is served, if so.
    pub error: Option<Refusal>,
    /// Since when a reload waits for earlier generations to end.
    pub held_back: Option<String>,
    /// Settings that take a restart to have an effect.
    pub restart: Vec<String>,
    /// The generation that was taken back since a plugin failed.
    pub taken_back: Option<TakenBack>,
}

/// A generation that was taken back by itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct TakenBack {
    pub at: String,
    pub generation: u64,
    pub plugin: String,
    pub reason: String,
}

/// A plugin that exchanges go on without.
#[derive(Debug, Serialize, Deserialize)]
pub struct Disabled {
    pub plugin: String,
    pub who: String,
    pub since: String,
}

impl Status {
    /// What a gateway and its reloader are doing now.
    pub fn of(gateway: &Gateway, told: &Told) -> Self {
        let (live, replaced) = gateway.history();
        let on_replaced: usize = replaced.iter().map(|lived| lived.exchanges).sum();
        let draining = replaced.iter().filter(|lived| lived.drains());
        let kept = replaced.iter().filter(|lived| lived.kept);
        let uptime = gateway.started().elapsed().unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: time(gateway.started()),
            uptime_s: uptime.as_secs(),
            live: Past::from(&live),
            exchanges: live.exchanges + on_replaced,
            reload: told.into(),
            history: kept.map(Past::from).collect(),
            draining: draining.map(Past::from).collect(),
            disabled: disabled(gateway),
            skipped: gateway.generation().skipped.clone(),
        }
    }
}

fn disabled(gateway: &Gateway) -> Vec<Disabled> {
    let all = gateway.disabled().into_iter();
    let view = all.map(|(plugin, disabled)| Disabled {
        plugin,
        who: disabled.who,
        since: time(disabled.since),
    });
    view.collect()
}

impl From<&Lived> for Past {
    fn from(lived: &Lived) -> Self {
        Self {
            generation: lived.number,
            since: time(lived.since),
            reason: lived.cause.word().to_owned(),
            who: lived.cause.who().map(str::to_owned),
            exchanges: lived.exchanges,
            replaced_s: lived.replaced.map(|ago| ago.as_secs()),
        }
    }
}

impl From<&Told> for Reloading {
    fn from(told: &Told) -> Self {
        let taken_back = |back: &reload::TakenBack| TakenBack {
            at: time(back.at),
            generation: back.generation,
            plugin: back.plugin.clone(),
            reason: back.reason.clone(),
        };
        Self {
            error: told.refused.as_ref().map(Into::into),
            held_back: told.held_back.map(time),
            restart: told.restart.iter().map(ToString::to_string).collect(),
            taken_back: told.taken_back.as_ref().map(taken_back),
        }
    }
}
