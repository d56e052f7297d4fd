//! What an operator decides about a plugin, apart from its code.

use std::sync::Arc;

use super::grants::Given;
use super::health::Breaker;
use super::limits::Limits;
use super::output::{LogRate, Output};
use super::pool::Instances;

/// How much longer a call may take while a component is rehearsed for a
/// snapshot: it runs in code that is not optimised.
const REHEARSAL_FACTOR: u32 = 4;

/// See the module.
#[derive(Debug)]
pub struct Terms {
    /// The name that the manifest gives it.
    pub name: String,
    /// Its configuration as JSON text.
    pub config: String,
    pub limits: Limits,
    pub breaker: Breaker,
    pub instances: Instances,
    pub output: Output,
    pub log_rate: LogRate,
    pub given: Arc<Given>,
}

impl Terms {
    /// The same for a rehearsal, in which output goes nowhere.
    pub(super) fn rehearsal(&self) -> Self {
        Self {
            name: self.name.clone(),
            config: self.config.clone(),
            limits: Limits {
                time: self.limits.time * REHEARSAL_FACTOR,
                cpu: self.limits.cpu * REHEARSAL_FACTOR,
                ..self.limits
            },
            breaker: Breaker {
                failures: 0,
                ..self.breaker
            },
            instances: Instances::Fresh,
            output: Output::Log,
            log_rate: LogRate::default(),
            given: self.given.clone(),
        }
    }
}
