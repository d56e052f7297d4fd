//! Permits, of which there are only so many, for what is turned away if none is
//! left. Nobody waits for one, so that neither taking a permit nor giving it
//! back needs a lock; a semaphore whose permits can be waited for takes one each
//! time that a permit comes back, which all workers would share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many permits are left. See the module.
#[derive(Debug)]
pub struct Permits(AtomicUsize);

/// A permit, which is given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

impl Permits {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(most)))
    }

    /// A permit, if one is left.
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        let one_less = |left: usize| left.checked_sub(1);
        // Whoever takes a permit sees what its last owner did before it came back.
        let taken = self
            .0
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, one_less);
        taken.ok().map(|_| Permit(self.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn no_more_are_taken_than_there_are_and_all_come_back() {
        let permits = Permits::new(2);
        let (first, second) = (permits.take(), permits.take());
        assert!(first.is_some() && second.is_some());
        assert!(permits.take().is_none());
        drop(first);
        let third = permits.take();
        assert!(third.is_some() && permits.take().is_none());
        assert!(Permits::new(0).take().is_none());
    }

    #[test]
    fn threads_that_take_at_once_take_no_more_either() {
        const MOST: usize = 3;
        let (permits, taken) = (Permits::new(MOST), AtomicUsize::new(0));
        let take_some = || {
            for _ in 0..1000 {
                let Some(_permit) = permits.take() else {
                    continue;
                };
                assert!(taken.fetch_add(1, Ordering::SeqCst) < MOST);
                thread::yield_now();
                taken.fetch_sub(1, Ordering::SeqCst);
            }
        };
        thread::scope(|scope| {
            for _ in 0..2 * MOST {
                scope.spawn(take_some);
            }
        });
        let left: Vec<_> = std::iter::from_fn(|| permits.take()).collect();
        assert_eq!(left.len(), MOST);
    }
}
