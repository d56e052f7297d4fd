//! `wasi:keyvalue` for plugins: which buckets a plugin may open, and the step
//! from the standard's interface to `store`.
//!
//! A rehearsal must leave nothing behind, so it works on buckets of its own,
//! which are gone with the instance.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use super::Grant;
use crate::bindings::key_value::wasi::keyvalue::{atomics, store};
use crate::plugin::state::State;
use crate::store::{Bucket, Memory, Store, StoreError};

type Fallible<T> = wasmtime::Result<T>;
type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

/// A bucket that a plugin has opened.
pub struct Opened(Arc<dyn Bucket>);

/// A value as it was seen.
pub struct Seen {
    bucket: Arc<dyn Bucket>,
    key: String,
    value: Option<Bytes>,
}

impl From<StoreError> for store::Error {
    fn from(error: StoreError) -> Self {
        Self::Other(error.to_string())
    }
}

impl State {
    fn opened(&self, bucket: &Resource<Opened>) -> Fallible<Arc<dyn Bucket>> {
        Ok(self.table.get(bucket)?.0.clone())
    }

    fn see(&mut self, seen: Seen) -> Fallible<Resource<Seen>> {
        Ok(self.table.push(seen)?)
    }
}

impl store::Host for State {
    async fn open(&mut self, name: String) -> Answer<Resource<Opened>> {
        let granted = self
            .terms
            .given
            .grants
            .contains(&Grant::KeyValue(name.clone()));
        if !granted {
            return Ok(Err(store::Error::AccessDenied));
        }
        let opening = if self.rehearsal {
            let scratch = self.scratch.get_or_insert_with(Memory::default);
            scratch.bucket(&name)
        } else {
            self.terms.given.store.bucket(&name)
        };
        match opening.await {
            Ok(bucket) => Ok(Ok(self.table.push(Opened(bucket))?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl store::HostBucket for State {
    async fn get(&mut self, bucket: Resource<Opened>, key: String) -> Answer<Option<Vec<u8>>> {
        let value = self.opened(&bucket)?.get(&key).await;
        Ok(value.map(|it| it.map(Vec::from)).map_err(Into::into))
    }

    async fn set(&mut self, bucket: Resource<Opened>, key: String, value: Vec<u8>) -> Answer<()> {
        let set = self.opened(&bucket)?.set(&key, value.into()).await;
        Ok(set.map_err(Into::into))
    }

    async fn delete(&mut self, bucket: Resource<Opened>, key: String) -> Answer<()> {
        let deleted = self.opened(&bucket)?.delete(&key).await;
        Ok(deleted.map_err(Into::into))
    }

    async fn exists(&mut self, bucket: Resource<Opened>, key: String) -> Answer<bool> {
        let value = self.opened(&bucket)?.get(&key).await;
        Ok(value.map(|it| it.is_some()).map_err(Into::into))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Opened>,
        cursor: Option<String>,
    ) -> Answer<store::KeyResponse> {
        let bucket = self.opened(&bucket)?;
        let Ok(after) = cursor.map_or(Ok(0), |cursor| cursor.parse()) else {
            return Ok(Err(StoreError::Cursor.into()));
        };
        let page = bucket.keys(after).await;
        let told = |(keys, next): crate::store::Page| store::KeyResponse {
            keys,
            cursor: next.map(|place| place.to_string()),
        };
        Ok(page.map(told).map_err(Into::into))
    }

    async fn drop(&mut self, bucket: Resource<Opened>) -> Fallible<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    async fn increment(
        &mut self,
        bucket: Resource<Opened>,
        key: String,
        delta: i64,
    ) -> Answer<i64> {
        let sum = self.opened(&bucket)?.increment(&key, delta).await;
        Ok(sum.map_err(Into::into))
    }

    async fn swap(
        &mut self,
        cas: Resource<Seen>,
        value: Vec<u8>,
    ) -> Fallible<Result<(), atomics::CasError>> {
        let Seen {
            bucket,
            key,
            value: seen,
        } = self.table.delete(cas)?;
        match bucket.swap(&key, seen, value.into()).await {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(value)) => {
                let now = self.see(Seen { bucket, key, value })?;
                Ok(Err(atomics::CasError::CasFailed(now)))
            }
            Err(error) => Ok(Err(atomics::CasError::StoreError(error.into()))),
        }
    }
}

impl atomics::HostCas for State {
    async fn new(&mut self, bucket: Resource<Opened>, key: String) -> Answer<Resource<Seen>> {
        let bucket = self.opened(&bucket)?;
        match bucket.get(&key).await {
            Ok(value) => Ok(Ok(self.see(Seen { bucket, key, value })?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn current(&mut self, cas: Resource<Seen>) -> Answer<Option<Vec<u8>>> {
        let seen = self.table.get(&cas)?;
        Ok(Ok(seen.value.clone().map(Vec::from)))
    }

    async fn drop(&mut self, cas: Resource<Seen>) -> Fallible<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
