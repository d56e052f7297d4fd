//! Where the time of an exchange went, for the answer's `server-timing` field:
//! each plugin's share, and the upstream's until its answer began. A plugin's
//! also tells the slices of CPU time that it used, if it used any.
//!
//! It is kept only where the manifest asks for it; elsewhere a measurement
//! costs a look at an option.

use std::cell::Cell;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shares of one exchange, which all that work on it add to.
#[derive(Debug, Clone, Default)]
pub struct Timing(Option<Arc<Mutex<Shares>>>);

/// Each name with its share, in the order in which they came.
type Shares = Vec<(String, Share)>;

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    time: Duration,
    cpu_slices: u32,
}

tokio::task_local! {
    /// What the work that is measured has used so far.
    static CPU_SLICES: Cell<u32>;
}

/// Adds slices of CPU time to what is measured around the caller, if anything
/// is.
pub fn used(slices: u32) {
    // Most exchanges are not measured, and records are written after them.
    let _ = CPU_SLICES.try_with(|all| all.set(all.get().saturating_add(slices)));
}

/// What the upstream's share is called. Other shares have a plugin's name.
pub const UPSTREAM: &str = "upstream";

impl Timing {
    /// Keeps shares if it is `wanted`.
    pub fn new(wanted: bool) -> Self {
        Self(wanted.then(Arc::default))
    }

    /// Adds what `work` takes to the share of `name`. It stays where it is: the
    /// state of a stage has kilobytes, and would be moved for each.
    pub async fn measure<T>(&self, name: &str, work: Pin<&mut impl Future<Output = T>>) -> T {
        let Some(shares) = &self.0 else {
            return work.await;
        };
        let begun = Instant::now();
        let mut work = pin!(CPU_SLICES.scope(Cell::new(0), work));
        let done = work.as_mut().await;
        let time = begun.elapsed();
        let cpu_slices = work.take_value().map_or(0, Cell::into_inner);
        let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        match shares.iter_mut().find(|(known, _)| known == name) {
            Some((_, share)) => share.add(time, cpu_slices),
            None => shares.push((name.to_owned(), Share { time, cpu_slices })),
        }
        done
    }

    /// The value of the header field (W3C Server Timing, section 3), in
    /// milliseconds; none if nothing is kept.
    pub fn field(&self, total: Duration) -> Option<String> {
        let shares = self.0.as_ref()?;
        let shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        let mut field = format!("total;dur={}", milliseconds(total));
        for (name, share) in shares.iter() {
            let _ = write!(field, ", {name};dur={}", milliseconds(share.time));
            if share.cpu_slices > 0 {
                let _ = write!(field, ";cpu-slices={}", share.cpu_slices);
            }
        }
        Some(field)
    }
}

impl Share {
    fn add(&mut self, time: Duration, cpu_slices: u32) {
        self.time += time;
        self.cpu_slices = self.cpu_slices.saturating_add(cpu_slices);
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shares_of_one_name_are_added_up() {
        let timing = Timing::new(true);
        for (name, time) in [("a", 10), ("b", 0), ("a", 10)] {
            let work = tokio::time::sleep(Duration::from_millis(time));
            timing.measure(name, pin!(work)).await;
        }
        let field = timing.field(Duration::from_micros(1_234_567)).unwrap();
        assert!(field.starts_with("total;dur=1234.567, a;dur="), "{field}");
        assert_eq!(field.matches("dur=").count(), 3, "{field}");
        let a = field
            .split("a;dur=")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        assert!(a.unwrap().parse::<f64>().unwrap() >= 20.0, "{field}");
    }

    #[tokio::test]
    async fn slices_go_to_the_share_that_used_them() {
        let timing = Timing::new(true);
        for (name, slices) in [("a", 2), ("b", 0), ("a", 3)] {
            timing.measure(name, pin!(async { used(slices) })).await;
            used(7);
        }
        let field = timing.field(Duration::ZERO).unwrap();
        let slices = |share: &str| {
            let parameters = share.split_once(";cpu-slices=");
            parameters.map(|(_, slices)| slices.to_owned())
        };
        let told: Vec<_> = field.split(", ").map(slices).collect();
        assert_eq!(told, [None, Some("5".to_owned()), None], "{field}");
    }

    #[tokio::test]
    async fn nothing_is_kept_where_nobody_asked() {
        let timing = Timing::default();
        used(1);
        assert_eq!(timing.measure("a", pin!(async { 1 })).await, 1);
        assert_eq!(timing.field(Duration::ZERO), None);
    }
}
