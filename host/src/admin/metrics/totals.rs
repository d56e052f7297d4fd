//! The counts of plugins by name. A plugin's own counts begin anew when a
//! reload changes it, and go on when an earlier generation is brought back;
//! what a monitoring system takes for a counter may only grow. So what each
//! plugin has counted since it was last looked at is added to its name's sum.
//!
//! What a plugin counts after the last look, before its generation is gone, is
//! in no sum. Generations are kept for several reloads, so that is little.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::plugin::Counts;

/// See the module.
pub(super) struct Totals<P> {
    sums: BTreeMap<String, Counts>,
    seen: Vec<Seen<P>>,
}

/// A plugin, and what it had counted when it was last looked at.
struct Seen<P> {
    name: String,
    plugin: Weak<P>,
    counts: Counts,
}

impl<P> Default for Totals<P> {
    fn default() -> Self {
        Self {
            sums: BTreeMap::new(),
            seen: Vec::new(),
        }
    }
}

impl<P> Totals<P> {
    /// Looks at a plugin, which several generations may share.
    pub fn add(&mut self, name: &str, plugin: &Arc<P>, counts: Counts) {
        let known = |seen: &&mut Seen<P>| seen.plugin.as_ptr() == Arc::as_ptr(plugin);
        let before = match self.seen.iter_mut().find(known) {
            Some(seen) => std::mem::replace(&mut seen.counts, counts),
            None => {
                self.seen.push(Seen {
                    name: name.to_owned(),
                    plugin: Arc::downgrade(plugin),
                    counts,
                });
                Counts::default()
            }
        };
        let sum = self.sums.entry(name.to_owned()).or_default();
        *sum = sum.plus(&counts.since(&before));
    }

    /// The sums, when all plugins that there are have been looked at. A name
    /// that no plugin has any more is forgotten.
    pub fn settle(&mut self) -> BTreeMap<String, Counts> {
        self.seen.retain(|seen| seen.plugin.strong_count() > 0);
        let Self { sums, seen } = self;
        sums.retain(|name, _| seen.iter().any(|seen| seen.name == *name));
        sums.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ok: u64) -> Counts {
        Counts {
            ok,
            time_us: 10 * ok,
            ..Counts::default()
        }
    }

    fn told(totals: &mut Totals<()>) -> Vec<(String, u64, u64)> {
        let sums = totals.settle().into_iter();
        sums.map(|(name, sum)| (name, sum.ok, sum.time_us))
            .collect()
    }

    #[test]
    fn sums_grow_through_reloads_and_rollbacks() {
        let (mut totals, old, new) = (Totals::default(), Arc::new(()), Arc::new(()));
        totals.add("a", &old, counts(5));
        // Generations that share it.
        totals.add("a", &old, counts(5));
        assert_eq!(told(&mut totals), [("a".to_owned(), 5, 50)]);
        // It was changed, and an exchange that began before goes on.
        totals.add("a", &new, counts(2));
        totals.add("a", &old, counts(6));
        assert_eq!(told(&mut totals), [("a".to_owned(), 8, 80)]);
        drop(old);
        totals.add("a", &new, counts(3));
        assert_eq!(told(&mut totals), [("a".to_owned(), 9, 90)]);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let (mut totals, a, b) = (Totals::default(), Arc::new(()), Arc::new(()));
        totals.add("a", &a, counts(1));
        totals.add("b", &b, counts(1));
        drop(a);
        assert_eq!(told(&mut totals), [("b".to_owned(), 1, 10)]);
        assert_eq!(totals.seen.len(), 1);
    }
}
