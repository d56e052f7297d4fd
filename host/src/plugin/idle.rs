//! What waits for its next use, each with the thread that used it last: what it
//! touches is in the caches of that thread's core. A thread with nothing of its
//! own takes what waits with another one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

use thread_local::ThreadLocal;

/// See the module.
pub(super) struct Idle<T: Send> {
    /// Each thread's own, the last used last.
    lists: ThreadLocal<List<T>>,
    /// How many there are in all lists.
    count: AtomicUsize,
    /// Nothing is to wait.
    rests: AtomicBool,
}

/// In lines of the cache that no other list is in.
#[repr(align(64))]
struct List<T>(Mutex<Vec<T>>);

impl<T: Send> Default for Idle<T> {
    fn default() -> Self {
        Self {
            lists: ThreadLocal::new(),
            count: AtomicUsize::new(0),
            rests: AtomicBool::new(false),
        }
    }
}

impl<T> List<T> {
    fn with<R>(&self, act: impl FnOnce(&mut Vec<T>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Send> Idle<T> {
    pub(super) fn len(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Whether nothing is to wait.
    pub(super) fn rests(&self) -> bool {
        self.rests.load(SeqCst)
    }

    /// What this thread used last, or any other.
    pub(super) fn take(&self) -> Option<T> {
        if self.len() == 0 {
            return None;
        }
        let own = self.own().with(Vec::pop);
        let taken = own.or_else(|| self.lists.iter().find_map(|list| list.with(Vec::pop)))?;
        self.count.fetch_sub(1, SeqCst);
        Some(taken)
    }

    /// Lets something wait, unless so many wait already or nothing is to; then
    /// it is dropped.
    pub(super) fn keep(&self, used: T, most: usize) {
        let counted = |count| (count < most).then_some(count + 1);
        if self.rests() || self.count.fetch_update(SeqCst, SeqCst, counted).is_err() {
            return;
        }
        self.own().with(|list| list.push(used));
        // Rest may have begun meanwhile, and not have seen it.
        if self.rests() {
            drop(self.take());
        }
    }

    /// Drops what waits, and lets nothing wait, or lets it again.
    pub(super) fn rest(&self, rests: bool) {
        self.rests.store(rests, SeqCst);
        if rests {
            while self.take().is_some() {}
        }
    }

    fn own(&self) -> &List<T> {
        self.lists.get_or(|| List(Mutex::new(Vec::new())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_thread_takes_its_own_before_that_of_another() {
        let idle = Idle::default();
        idle.keep("first here", 8);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                idle.keep("there", 8);
                assert_eq!(idle.take(), Some("there"));
                idle.keep("there", 8);
            });
        });
        idle.keep("last here", 8);
        let all = [(); 4].map(|()| idle.take());
        let in_order = ["last here", "first here", "there"].map(Some);
        assert_eq!(all, [in_order[0], in_order[1], in_order[2], None]);
    }

    #[test]
    fn no_more_than_so_many_wait_and_none_at_rest() {
        let idle = Idle::default();
        for number in 0..5 {
            idle.keep(number, 3);
        }
        assert_eq!((idle.len(), idle.take()), (3, Some(2)));
        idle.rest(true);
        idle.keep(9, 3);
        assert_eq!((idle.len(), idle.take()), (0, None));
        idle.rest(false);
        idle.keep(9, 3);
        assert_eq!(idle.take(), Some(9));
    }

    #[test]
    fn nothing_is_left_at_rest_that_threads_used_when_it_began() {
        for _ in 0..100 {
            let (idle, used) = (Idle::default(), Arc::new(()));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| (0..50).for_each(|_| idle.keep(used.clone(), 1000)));
                }
                idle.rest(true);
            });
            assert_eq!((idle.len(), Arc::strong_count(&used)), (0, 1));
        }
    }
}
