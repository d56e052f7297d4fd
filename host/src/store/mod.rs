//! State that plugins share and that outlives an exchange: buckets of keys and
//! values behind one interface.
//!
//! There is one implementation now, `memory`, which lives as long as the
//! process. One on disk, or on a server that several gateways share, is another
//! implementation of the same traits; that is why their functions may wait, and
//! why a number is kept as decimal text.
//!
//! Who may open which bucket is not decided here (`plugin::grants`).

mod memory;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use memory::Memory;

/// How many buckets there can be. Names come from the manifest; those of
/// earlier manifests stay, since an exchange may still use them.
pub const MAX_BUCKETS: usize = 256;

/// The most keys of a bucket: one for each of many users, and a list of them
/// all is still made in milliseconds.
pub const MAX_KEYS: usize = 64 << 10;

/// The longest key, in bytes. Names and identifiers are shorter; what is longer
/// is content, and can be hashed.
pub const MAX_KEY: usize = 512;

/// The longest value, in bytes: state, and not bodies.
pub const MAX_VALUE: usize = 64 << 10;

/// The most bytes of a bucket, keys and values together. With `MAX_BUCKETS`
/// this is what all plugins together can make the gateway keep: 4 GiB if an
/// operator names that many buckets, 16 MiB if one.
pub const MAX_BYTES: usize = 16 << 20;

/// The most keys in one page of a list.
pub const MAX_PAGE: usize = 1000;

/// Why an operation changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("there are {MAX_BUCKETS} buckets already")]
    Buckets,
    #[error("the bucket holds {MAX_KEYS} keys already")]
    Keys,
    #[error("the bucket holds {} MiB already", MAX_BYTES >> 20)]
    Bytes,
    #[error("a key has 1 to {MAX_KEY} bytes")]
    Key,
    #[error("a value has at most {} KiB", MAX_VALUE >> 10)]
    Value,
    #[error("the value is not a decimal number")]
    NotANumber,
    #[error("the sum is larger than a signed number of 64 bits")]
    Overflow,
    #[error("the cursor is none that a list gave")]
    Cursor,
}

/// What an operation answers, perhaps after a while.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Some of a bucket's keys, and where the next ones begin; none if there are
/// no more.
pub type Page = (Vec<String>, Option<u64>);

/// All buckets.
pub trait Store: Send + Sync {
    /// The bucket of a name, made if it is not there.
    fn bucket(&self, name: &str) -> Answer<'static, Arc<dyn Bucket>>;
}

/// One bucket.
pub trait Bucket: Send + Sync {
    fn get(&self, key: &str) -> Answer<'_, Option<Bytes>>;

    fn set(&self, key: &str, value: Bytes) -> Answer<'_, ()>;

    fn delete(&self, key: &str) -> Answer<'_, ()>;

    /// The keys after a place in the order in which they were first set.
    fn keys(&self, after: u64) -> Answer<'_, Page>;

    /// Adds to a number, and answers the sum.
    fn increment(&self, key: &str, delta: i64) -> Answer<'_, i64>;

    /// Sets a value if the key still has the one that was seen; else answers
    /// what it has now.
    fn swap(
        &self,
        key: &str,
        seen: Option<Bytes>,
        value: Bytes,
    ) -> Answer<'_, Result<(), Option<Bytes>>>;
}
