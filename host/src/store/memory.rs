//! Buckets in memory, gone with the process.
//!
//! A bucket is split into shards by the hash of the key, each behind its own
//! lock, which is held for one look-up and never across a wait. The bounds of
//! the bucket are counted beside the shards, so that no two keys share a lock
//! for their sake.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::ready;

use super::{
    Answer, Bucket, MAX_BUCKETS, MAX_BYTES, MAX_KEY, MAX_KEYS, MAX_PAGE, MAX_VALUE, Page, Store,
    StoreError,
};

/// Locks of a bucket. More than cores, so that two plugins seldom meet.
const SHARDS: usize = 32;

/// See the module.
#[derive(Default)]
pub struct Memory {
    buckets: Mutex<HashMap<String, Arc<Kept>>>,
}

impl Store for Memory {
    fn bucket(&self, name: &str) -> Answer<'static, Arc<dyn Bucket>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let room = buckets.len() < MAX_BUCKETS;
        let found = match buckets.entry(name.to_owned()) {
            Entry::Occupied(found) => Ok(found.get().clone() as Arc<dyn Bucket>),
            Entry::Vacant(new) if room => Ok(new.insert(Arc::default()).clone() as Arc<dyn Bucket>),
            Entry::Vacant(_) => Err(StoreError::Buckets),
        };
        ready(found).boxed()
    }
}

/// A bucket.
#[derive(Default)]
struct Kept {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    keys: AtomicUsize,
    bytes: AtomicUsize,
    /// The place of the key that was set last.
    last: AtomicU64,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Arc<str>, Held>,
    /// Keys by their place in the order in which they were first set.
    order: BTreeMap<u64, Arc<str>>,
}

struct Held {
    place: u64,
    value: Bytes,
}

impl Kept {
    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        // The remainder is below the number of shards, whatever a pointer is.
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a value into the shard that was locked for its key.
    fn put(&self, shard: &mut Shard, key: &str, value: Bytes) -> Result<(), StoreError> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(StoreError::Key);
        }
        if value.len() > MAX_VALUE {
            return Err(StoreError::Value);
        }
        if let Some(held) = shard.entries.get_mut(key) {
            let (before, after) = (held.value.len(), value.len());
            take(&self.bytes, after.saturating_sub(before), MAX_BYTES).ok_or(StoreError::Bytes)?;
            self.bytes
                .fetch_sub(before.saturating_sub(after), Ordering::Relaxed);
            held.value = value;
            return Ok(());
        }
        take(&self.keys, 1, MAX_KEYS).ok_or(StoreError::Keys)?;
        if take(&self.bytes, key.len() + value.len(), MAX_BYTES).is_none() {
            self.keys.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Bytes);
        }
        let place = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let key: Arc<str> = key.into();
        shard.order.insert(place, key.clone());
        shard.entries.insert(key, Held { place, value });
        Ok(())
    }

    fn remove(&self, key: &str) {
        let mut shard = self.shard(key);
        let Some(held) = shard.entries.remove(key) else {
            return;
        };
        shard.order.remove(&held.place);
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.bytes
            .fetch_sub(key.len() + held.value.len(), Ordering::Relaxed);
    }

    fn add(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let mut shard = self.shard(key);
        let before = match shard.entries.get(key) {
            None => 0,
            Some(held) => number(&held.value).ok_or(StoreError::NotANumber)?,
        };
        let sum = before.checked_add(delta).ok_or(StoreError::Overflow)?;
        self.put(&mut shard, key, sum.to_string().into())?;
        Ok(sum)
    }

    fn page(&self, after: u64) -> Page {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // One more than a page, to see whether there is another.
            let next = shard
                .order
                .range(after.saturating_add(1)..)
                .take(MAX_PAGE + 1);
            found.extend(next.map(|(place, key)| (*place, key.clone())));
        }
        found.sort_unstable_by_key(|(place, _)| *place);
        let more = found.len() > MAX_PAGE;
        found.truncate(MAX_PAGE);
        let last = found.last().map(|(place, _)| *place);
        let keys = found.iter().map(|(_, key)| key.to_string()).collect();
        (keys, last.filter(|_| more))
    }
}

/// Adds to a count unless it would pass its bound.
fn take(count: &AtomicUsize, more: usize, bound: usize) -> Option<()> {
    let add = |now: usize| now.checked_add(more).filter(|sum| *sum <= bound);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
        .ok()
        .map(drop)
}

fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl Bucket for Kept {
    fn get(&self, key: &str) -> Answer<'_, Option<Bytes>> {
        let shard = self.shard(key);
        ready(Ok(shard.entries.get(key).map(|held| held.value.clone()))).boxed()
    }

    fn set(&self, key: &str, value: Bytes) -> Answer<'_, ()> {
        let mut shard = self.shard(key);
        ready(self.put(&mut shard, key, value)).boxed()
    }

    fn delete(&self, key: &str) -> Answer<'_, ()> {
        self.remove(key);
        ready(Ok(())).boxed()
    }

    fn keys(&self, after: u64) -> Answer<'_, Page> {
        ready(Ok(self.page(after))).boxed()
    }

    fn increment(&self, key: &str, delta: i64) -> Answer<'_, i64> {
        ready(self.add(key, delta)).boxed()
    }

    fn swap(
        &self,
        key: &str,
        seen: Option<Bytes>,
        value: Bytes,
    ) -> Answer<'_, Result<(), Option<Bytes>>> {
        let mut shard = self.shard(key);
        let now = shard.entries.get(key).map(|held| held.value.clone());
        if now != seen {
            return ready(Ok(Err(now))).boxed();
        }
        ready(self.put(&mut shard, key, value).map(Ok)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bucket() -> Arc<dyn Bucket> {
        Memory::default().bucket("b").await.unwrap()
    }

    #[tokio::test]
    async fn a_bucket_is_known_by_its_name() {
        let memory = Memory::default();
        let (one, same) = (memory.bucket("a").await, memory.bucket("a").await);
        let other = memory.bucket("b").await.unwrap();
        one.unwrap().set("k", "v".into()).await.unwrap();
        assert_eq!(same.unwrap().get("k").await.unwrap(), Some("v".into()));
        assert_eq!(other.get("k").await.unwrap(), None);
    }

    #[tokio::test]
    async fn buckets_are_bounded() {
        let memory = Memory::default();
        for i in 0..MAX_BUCKETS {
            assert!(memory.bucket(&i.to_string()).await.is_ok());
        }
        let more = memory.bucket("more").await;
        assert_eq!(more.err(), Some(StoreError::Buckets));
        assert!(memory.bucket("0").await.is_ok());
    }

    #[tokio::test]
    async fn keys_and_values_obeyed() {
        let bucket = bucket().await;
        let key = "k".repeat(MAX_KEY);
        let value = Bytes::from(vec![0; MAX_VALUE]);
        bucket.set(&key, value.clone()).await.unwrap();
        assert_eq!(bucket.get(&key).await.unwrap(), Some(value));
    }

    #[tokio::test]
    async fn keys_and_values_violated() {
        let bucket = bucket().await;
        let long = "k".repeat(MAX_KEY + 1);
        let big = Bytes::from(vec![0; MAX_VALUE + 1]);
        for (key, value, error) in [
            (long.as_str(), Bytes::new(), StoreError::Key),
            ("", Bytes::new(), StoreError::Key),
            ("k", big.clone(), StoreError::Value),
        ] {
            assert_eq!(bucket.set(key, value).await, Err(error));
        }
        assert_eq!(bucket.swap("k", None, big).await, Err(StoreError::Value));
        assert_eq!(bucket.increment(&long, 1).await, Err(StoreError::Key));
        assert_eq!(bucket.keys(0).await.unwrap().0, Vec::<String>::new());
    }

    #[tokio::test]
    async fn the_bytes_of_a_bucket_obeyed_and_violated() {
        let bucket = bucket().await;
        let value = Bytes::from(vec![0; MAX_VALUE]);
        let mut kept = 0;
        let full = loop {
            match bucket.set(&format!("{kept:08}"), value.clone()).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full, StoreError::Bytes);
        assert_eq!(kept, MAX_BYTES / (MAX_VALUE + 8));
        // What is taken away makes room, and a shorter value does too.
        bucket.delete("00000000").await.unwrap();
        bucket.set("00000001", Bytes::new()).await.unwrap();
        bucket.set("again", value.clone()).await.unwrap();
        bucket.set("00000001", value).await.unwrap();
    }

    #[tokio::test]
    async fn the_keys_of_a_bucket_obeyed_and_violated() {
        let bucket = bucket().await;
        for i in 0..MAX_KEYS {
            bucket.set(&i.to_string(), Bytes::new()).await.unwrap();
        }
        let more = bucket.set("more", Bytes::new()).await;
        assert_eq!(more, Err(StoreError::Keys));
        bucket.set("0", "x".into()).await.unwrap();
        bucket.delete("0").await.unwrap();
        bucket.set("more", Bytes::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_list_has_pages() {
        let bucket = bucket().await;
        for i in 0..MAX_PAGE + 5 {
            bucket.set(&i.to_string(), Bytes::new()).await.unwrap();
        }
        let (first, next) = bucket.keys(0).await.unwrap();
        assert_eq!(
            (first.len(), first[0].as_str(), first[999].as_str()),
            (MAX_PAGE, "0", "999")
        );
        let (second, end) = bucket.keys(next.unwrap()).await.unwrap();
        assert_eq!(second, ["1000", "1001", "1002", "1003", "1004"]);
        assert_eq!(end, None);
        assert_eq!(bucket.keys(u64::MAX).await.unwrap(), (Vec::new(), None));
    }

    #[tokio::test]
    async fn a_number_is_text() {
        let bucket = bucket().await;
        assert_eq!(bucket.increment("n", 5).await, Ok(5));
        assert_eq!(bucket.increment("n", -7).await, Ok(-2));
        assert_eq!(bucket.get("n").await.unwrap(), Some("-2".into()));
        bucket.set("t", "many".into()).await.unwrap();
        assert_eq!(bucket.increment("t", 1).await, Err(StoreError::NotANumber));
        bucket.set("m", i64::MAX.to_string().into()).await.unwrap();
        assert_eq!(bucket.increment("m", 1).await, Err(StoreError::Overflow));
    }

    #[tokio::test]
    async fn a_swap_sees_what_came_between() {
        let bucket = bucket().await;
        assert_eq!(bucket.swap("k", None, "a".into()).await, Ok(Ok(())));
        let late = bucket.swap("k", None, "b".into()).await;
        assert_eq!(late, Ok(Err(Some("a".into()))));
        let again = bucket.swap("k", Some("a".into()), "b".into()).await;
        assert_eq!(again, Ok(Ok(())));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_increment_is_lost() {
        let bucket = bucket().await;
        let add = |bucket: Arc<dyn Bucket>| async move {
            for _ in 0..1000 {
                bucket.increment("n", 1).await.unwrap();
            }
        };
        let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(add(bucket.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(bucket.get("n").await.unwrap(), Some("8000".into()));
    }
}
