//! JSON as bytes: finding a value by its pointer, and changing one value
//! without touching a byte besides.
//!
//! Prompt caches and signatures depend on the bytes that a client sent, so an
//! edit never re-serialises what it does not name. `Json` owns the body of a
//! request and scans it once, on first use (`scan`): whether it is JSON, where
//! its members are, and whether it says something twice. What lies deeper is
//! found by scanning the one member that holds it. It knows no dialect.

#[cfg(test)]
mod oracle;
mod scan;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use scan::{Kind, Member, Scanned, scan};

/// The deepest pointer that is followed; deeper ones are refused.
const MAX_DEPTH: usize = 64;

/// The most members of one object. Requests have dozens; their largest
/// objects, maps of metadata and of schema properties, have hundreds. Every
/// key of an object is held while it is looked through, and some readers
/// compare each with all others: this bounds what both can cost.
const MAX_MEMBERS: usize = 65_536;

/// The most characters of a pointer that an error repeats.
const MAX_TOLD: usize = 256;

/// Why an edit could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("\"{0}\" is not a JSON pointer (RFC 6901)")]
    Pointer(String),
    #[error("the value for \"{pointer}\" is not JSON: {reason}")]
    Value { pointer: String, reason: String },
    #[error("the body is not JSON")]
    NotJson,
    #[error("\"{0}\" names nothing that can be written to")]
    Absent(String),
}

/// Why readers may disagree about what a body says. Pointers are those of
/// RFC 6901, cut to 256 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguity {
    #[error("the body has {0:?} twice")]
    Twice(String),
    #[error("the object at {0:?} of the body has more than {MAX_MEMBERS} members")]
    TooMany(String),
    #[error("the body is not JSON: {0}")]
    NotJson(String),
}

/// A body that may be JSON, with what has been learnt about it.
///
/// Cloning shares the bytes and the index.
#[derive(Debug, Clone)]
pub struct Json {
    bytes: Bytes,
    learnt: Arc<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    scanned: OnceLock<Option<Scanned>>,
    value: OnceLock<Option<Value>>,
    part: OnceLock<Value>,
}

impl Json {
    pub fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            learnt: Arc::default(),
        }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the bytes are the same; at once, if nothing was written since
    /// one was cloned from the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.learnt, &other.learnt) || self.bytes == other.bytes
    }

    /// The whole body parsed; none if it is not JSON. Parsed once.
    pub fn value(&self) -> Option<&Value> {
        self.learnt
            .value
            .get_or_init(|| serde_json::from_slice(&self.bytes).ok())
            .as_ref()
    }

    /// The whole body parsed, with its strings left where they are; none if it
    /// is not JSON. Quick to make, and not kept.
    pub fn borrowed(&self) -> Option<serde_json_borrow::Value<'_>> {
        serde_json::from_slice(&self.bytes).ok()
    }

    fn scanned(&self) -> Option<&Scanned> {
        self.learnt
            .scanned
            .get_or_init(|| scan(&self.bytes).ok())
            .as_ref()
    }

    /// Whether it is a JSON object.
    pub fn is_object(&self) -> bool {
        self.scanned().is_some_and(|s| s.kind == Kind::Object)
    }

    /// Checks that it is JSON and that no object, at any depth, has a member
    /// twice or too many members. Tells of the first member that is wrong.
    ///
    /// Readers disagree about which of two members counts, so a filter could
    /// be shown one and the provider another.
    pub fn unambiguous(&self) -> Result<(), Ambiguity> {
        match self.scanned() {
            Some(Scanned {
                ambiguity: Some(ambiguity),
                ..
            }) => Err(ambiguity.clone()),
            Some(_) => Ok(()),
            None => Err(Ambiguity::NotJson(self.reason())),
        }
    }

    /// Why it is not JSON.
    fn reason(&self) -> String {
        let parsed = serde_json::from_slice::<Value>(&self.bytes);
        parsed.map_or_else(
            |error| error.to_string(),
            |_| "it cannot be read".to_owned(),
        )
    }

    /// An object of those members of the top-level object that have one of
    /// these names, which are the same for every call; null if it is none.
    /// Parsing them alone is what a look at a large body costs.
    pub fn part(&self, names: &[&str]) -> &Value {
        let member = |member: &Member| {
            let value = serde_json::from_slice(self.bytes.get(member.value.clone())?).ok()?;
            Some((member.key.to_string(), value))
        };
        self.learnt.part.get_or_init(|| match self.scanned() {
            Some(scanned) if scanned.kind == Kind::Object => {
                let named = scanned.members.iter().filter(|m| names.contains(&&*m.key));
                Value::Object(named.filter_map(member).collect())
            }
            _ => Value::Null,
        })
    }

    /// The text of the value at `pointer`, as it was written.
    pub fn get(&self, pointer: &str) -> Option<&str> {
        let range = self.find(&steps(pointer).ok()?)?;
        std::str::from_utf8(&self.bytes[range]).ok()
    }

    /// The string at `pointer`; none if it is absent or not a string.
    pub fn string(&self, pointer: &str) -> Option<String> {
        serde_json::from_str(self.get(pointer)?).ok()
    }

    fn find(&self, steps: &[String]) -> Option<Range<usize>> {
        let Some((first, deeper)) = steps.split_first() else {
            return self.scanned().map(|_| trimmed(&self.bytes));
        };
        let scanned = self.scanned()?;
        let at = position(scanned, first)?;
        find_below(&self.bytes, scanned.members[at].value.clone(), deeper)
    }

    /// Writes `json` at `pointer`. An absent last step is created: a member of
    /// an object, or the element after the last one of an array (also "-").
    pub fn set(&self, pointer: &str, json: &str) -> Result<Self, EditError> {
        let steps = steps(pointer)?;
        let json = valid_value(pointer, json)?;
        if let Some(range) = self.find(&steps) {
            let scanned = self.scanned_with(&range, json);
            let spliced = self.spliced(range, json.as_bytes());
            if scanned.is_some() {
                let _ = spliced.learnt.scanned.set(scanned);
            }
            return Ok(spliced);
        }
        let (parent, last) = self.parent(pointer, &steps)?;
        let absent = || EditError::Absent(pointer.to_owned());
        let Scanned { kind, members, .. } =
            scan(&self.bytes[parent.clone()]).map_err(|_| absent())?;
        let comma = if members.is_empty() { "" } else { "," };
        let addition = match kind {
            Kind::Object => format!("{comma}{}:{json}", Value::from(last.as_str())),
            Kind::Array if last == "-" || *last == members.len().to_string() => {
                format!("{comma}{json}")
            }
            _ => return Err(absent()),
        };
        let end = match members.last() {
            Some(member) => parent.start + member.value.end,
            None => trimmed_in(&self.bytes, parent).start + 1,
        };
        Ok(self.spliced(end..end, addition.as_bytes()))
    }

    /// Removes what `pointer` names, with its comma, and every member of that
    /// key if it stands more than once; the same body if there is nothing.
    pub fn remove(&self, pointer: &str) -> Result<Self, EditError> {
        let steps = steps(pointer)?;
        if steps.is_empty() {
            return Err(EditError::Absent(pointer.to_owned()));
        }
        if self.find(&steps).is_none() {
            return Ok(self.clone());
        }
        let (parent, last) = self.parent(pointer, &steps)?;
        let scanned = scan(&self.bytes[parent.clone()]).map_err(|_| EditError::NotJson)?;
        let at = position(&scanned, last);
        let Scanned { kind, members, .. } = scanned;
        let goes = |i: usize| match kind {
            Kind::Object => *members[i].key == **last,
            _ => at == Some(i),
        };
        let inner = trimmed_in(&self.bytes, parent.clone());
        let mut removed = Vec::with_capacity(self.bytes.len());
        let mut copied = 0;
        let mut keeps_one = false;
        for i in 0..members.len() {
            if !goes(i) {
                keeps_one = true;
                continue;
            }
            let end = parent.start + members[i].value.end;
            // The comma before it goes along, or the one after it if nothing
            // stays before it.
            let (from, to) = if keeps_one {
                (parent.start + members[i - 1].value.end, end)
            } else {
                let first = copied.max(inner.start + 1);
                let comma = self.bytes[end..].iter().position(|b| *b == b',');
                match comma {
                    Some(comma) if i + 1 < members.len() => (first, end + comma + 1),
                    _ => (first, inner.end - 1),
                }
            };
            removed.extend_from_slice(&self.bytes[copied..from]);
            copied = to;
        }
        removed.extend_from_slice(&self.bytes[copied..]);
        Ok(Self::new(removed.into()))
    }

    fn parent<'s>(
        &self,
        pointer: &str,
        steps: &'s [String],
    ) -> Result<(Range<usize>, &'s String), EditError> {
        let absent = || EditError::Absent(pointer.to_owned());
        let (last, above) = steps.split_last().ok_or_else(absent)?;
        match self.find(above) {
            Some(range) => Ok((range, last)),
            None if self.scanned().is_none() => Err(EditError::NotJson),
            None => Err(absent()),
        }
    }

    /// What a scan will find when the value at `range` has been replaced: known
    /// without one where the new value has no members.
    fn scanned_with(&self, range: &Range<usize>, json: &str) -> Option<Scanned> {
        let value = scan(json.as_bytes()).ok()?;
        if value.kind != Kind::Scalar {
            return None;
        }
        self.scanned()?.with_scalar(range, json.len())
    }

    fn spliced(&self, range: Range<usize>, with: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len() - range.len() + with.len());
        bytes.extend_from_slice(&self.bytes[..range.start]);
        bytes.extend_from_slice(with);
        bytes.extend_from_slice(&self.bytes[range.end..]);
        Self::new(bytes.into())
    }
}

/// The steps of an RFC 6901 pointer, unescaped.
fn steps(pointer: &str) -> Result<Vec<String>, EditError> {
    let bad = || EditError::Pointer(pointer.chars().take(256).collect());
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or_else(bad)?;
    let steps: Vec<String> = rest
        .split('/')
        .map(unescaped)
        .collect::<Option<_>>()
        .ok_or_else(bad)?;
    if steps.len() > MAX_DEPTH {
        Err(bad())
    } else {
        Ok(steps)
    }
}

fn unescaped(step: &str) -> Option<String> {
    let mut out = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

fn valid_value<'v>(pointer: &str, json: &'v str) -> Result<&'v str, EditError> {
    match serde_json::from_str::<&RawValue>(json) {
        Ok(raw) => Ok(raw.get()),
        Err(e) => Err(EditError::Value {
            pointer: pointer.to_owned(),
            reason: e.to_string(),
        }),
    }
}

fn find_below(bytes: &[u8], range: Range<usize>, steps: &[String]) -> Option<Range<usize>> {
    let Some((first, deeper)) = steps.split_first() else {
        return Some(range);
    };
    let scanned = scan(&bytes[range.clone()]).ok()?;
    let found = &scanned.members[position(&scanned, first)?].value;
    find_below(
        bytes,
        range.start + found.start..range.start + found.end,
        deeper,
    )
}

/// Where a step leads. Of a key that stands twice the last one counts, as most
/// readers have it; array indices have no leading zeros (RFC 6901, section 4).
fn position(scanned: &Scanned, step: &str) -> Option<usize> {
    let members = &scanned.members;
    match scanned.kind {
        Kind::Object => members.iter().rposition(|m| *m.key == *step),
        Kind::Array => {
            let index: usize = step.parse().ok()?;
            (index < members.len() && index.to_string() == step).then_some(index)
        }
        Kind::Scalar => None,
    }
}

fn trimmed(bytes: &[u8]) -> Range<usize> {
    trimmed_in(bytes, 0..bytes.len())
}

fn trimmed_in(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = &bytes[range.clone()];
    let start = text
        .iter()
        .position(|b| !b.is_ascii_whitespace())
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|b| !b.is_ascii_whitespace())
        .map_or(start, |i| i + 1);
    range.start + start..range.start + end
}
