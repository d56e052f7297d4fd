//! Where the time of an exchange went, for the answer's `server-timing` field:
//! each plugin's share, and the upstream's until its answer began.
//!
//! It is kept only where the manifest asks for it; elsewhere a measurement
//! costs a look at an option.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shares of one exchange, which all that work on it add to.
#[derive(Debug, Clone, Default)]
pub struct Timing(Option<Arc<Mutex<Shares>>>);

/// Each name with its time, in the order in which they came.
type Shares = Vec<(String, Duration)>;

/// What the upstream's share is called. Other shares have a plugin's name.
pub const UPSTREAM: &str = "upstream";

impl Timing {
    /// Keeps shares if it is `wanted`.
    pub fn new(wanted: bool) -> Self {
        Self(wanted.then(Arc::default))
    }

    /// Adds the time that `work` takes to the share of `name`.
    pub async fn measure<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        let Some(shares) = &self.0 else {
            return work.await;
        };
        let begun = Instant::now();
        let done = work.await;
        let time = begun.elapsed();
        let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        match shares.iter_mut().find(|(known, _)| known == name) {
            Some((_, share)) => *share += time,
            None => shares.push((name.to_owned(), time)),
        }
        done
    }

    /// The value of the header field (W3C Server Timing, section 3), in
    /// milliseconds; none if nothing is kept.
    pub fn field(&self, total: Duration) -> Option<String> {
        let shares = self.0.as_ref()?;
        let shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        let mut field = format!("total;dur={}", milliseconds(total));
        for (name, time) in shares.iter() {
            let _ = write!(field, ", {name};dur={}", milliseconds(*time));
        }
        Some(field)
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
            timing.measure(name, work).await;
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
    async fn nothing_is_kept_where_nobody_asked() {
        let timing = Timing::default();
        assert_eq!(timing.measure("a", async { 1 }).await, 1);
        assert_eq!(timing.field(Duration::ZERO), None);
    }
}
