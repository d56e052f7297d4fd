//! What a generation changes, plugin by plugin.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Generation;
use crate::plugin::Plugin;

/// What became of a plugin from one generation to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    New,
    /// Its component, configuration, grants or limits are other.
    Changed,
    /// It is the same, with all that it has counted.
    CarriedOver,
    Removed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Change::New => "new",
            Change::Changed => "changed",
            Change::CarriedOver => "carried over",
            Change::Removed => "removed",
        })
    }
}

impl Generation {
    /// What this generation changes of an earlier one, in the order of names.
    pub fn changes(&self, before: &Generation) -> Vec<(String, Change)> {
        let mut changes: BTreeMap<&str, Change> = before
            .plugins
            .iter()
            .map(|plugin| (plugin.name.as_str(), Change::Removed))
            .collect();
        for plugin in &self.plugins {
            let change = match before.plugin(&plugin.name) {
                None => Change::New,
                Some(known) if Arc::ptr_eq(known, plugin) => Change::CarriedOver,
                Some(_) => Change::Changed,
            };
            changes.insert(&plugin.name, change);
        }
        let named = changes.into_iter();
        named
            .map(|(name, change)| (name.to_owned(), change))
            .collect()
    }

    /// The plugin with a name.
    pub fn plugin(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }
}
