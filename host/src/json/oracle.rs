//! For the tests: what a parser finds of members that stand twice. It is slow,
//! and simple enough to be believed.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Ambiguity, MAX_MEMBERS, MAX_TOLD};

/// The first member that stands twice, or the first object with too many.
pub fn ambiguity(bytes: &[u8]) -> Option<Ambiguity> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let _ = Scan(&mut found).deserialize(&mut deserializer);
    found.map(Found::ambiguity)
}

/// Looks through a value of any kind for an object that is ambiguous. The
/// recursion is bounded by `serde_json`'s own limit of 128 levels.
struct Scan<'f>(&'f mut Option<Found>);

/// What a scan stopped at, with the steps that lead there, the last one first:
/// each level adds its own on the way out.
struct Found {
    is: fn(String) -> Ambiguity,
    steps: Vec<String>,
}

impl Found {
    fn ambiguity(self) -> Ambiguity {
        let escaped = |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
        let pointer: String = self.steps.iter().rev().map(escaped).collect();
        let mut told: String = pointer.chars().take(MAX_TOLD).collect();
        if told.len() < pointer.len() {
            told.push('…');
        }
        (self.is)(told)
    }
}

impl Scan<'_> {
    /// Looks through what lies under one step.
    fn below<T, E>(
        &mut self,
        step: impl FnOnce() -> String,
        look: impl FnOnce(Scan<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = look(Scan(self.0));
        if let Some(found) = self.0.as_mut().filter(|_| result.is_err()) {
            found.steps.push(step());
        }
        result
    }

    /// Ends the scan: the error only carries the way out.
    fn stop<E: serde::de::Error>(self, is: fn(String) -> Ambiguity, steps: Vec<String>) -> E {
        *self.0 = Some(Found { is, steps });
        E::custom("ambiguous")
    }
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0_usize;
        while self
            .below(|| index.to_string(), |scan| seq.next_element_seed(scan))?
            .is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut keys: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = map.next_key_seed(Key)? {
            if keys.contains(&key) {
                return Err(self.stop(Ambiguity::Twice, vec![key.into_owned()]));
            }
            if keys.len() == MAX_MEMBERS {
                return Err(self.stop(Ambiguity::TooMany, Vec::new()));
            }
            self.below(|| key.to_string(), |scan| map.next_value_seed(scan))?;
            keys.insert(key);
        }
        Ok(())
    }
}

/// Reads a key without copying it, unless it has escapes. (What serde makes of
/// a `Cow` is always a copy.)
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
