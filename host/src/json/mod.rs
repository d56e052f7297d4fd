//! JSON as bytes: finding a value by its pointer, and changing one value
//! without touching a byte besides.
//!
//! Prompt caches and signatures depend on the bytes that a client sent, so an
//! edit never re-serialises what it does not name. `Json` owns the body of a
//! request and scans it once, on first use (`scan`): whether it is JSON, where
//! its values are, and whether it says something twice. What has been replaced
//! in it is kept beside it (`replaced`). `Node` is the way from one value to
//! those in it, and `words` looks for words in many. It knows no dialect.

mod block;
mod node;
#[cfg(test)]
mod oracle;
mod replaced;
mod scan;
mod spans;
mod string;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use replaced::{MAX_REPLACED, Replaced, Replacement};
use scan::scan;
use spans::Scanned;

pub use node::Node;
pub use spans::Kind;
pub use words::{MAX_WORD, find as find_words};

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

/// The longest body that is sent in one piece, in bytes, whatever has been
/// replaced in it: to copy that takes no longer than to keep account of pieces.
const SMALL: usize = 4 << 10;

/// A body that may be JSON, with what has been learnt about it.
///
/// Cloning shares the bytes and the index.
#[derive(Debug, Clone)]
pub struct Json {
    source: Arc<Source>,
    learnt: Arc<Learnt>,
}

/// A body as it was read.
#[derive(Debug)]
struct Source {
    bytes: Bytes,
    scanned: OnceLock<Option<Scanned>>,
}

/// What has been made of it since.
#[derive(Debug, Default)]
struct Learnt {
    /// Of a body that is JSON and unambiguous; of others nothing is replaced.
    replaced: Replaced,
    whole: OnceLock<Bytes>,
    value: OnceLock<Option<Value>>,
    part: OnceLock<Value>,
}

impl Json {
    pub fn new(bytes: Bytes) -> Self {
        Self {
            source: Arc::new(Source {
                bytes,
                scanned: OnceLock::new(),
            }),
            learnt: Arc::default(),
        }
    }

    /// The whole body. Put together once, if something has been replaced.
    pub fn bytes(&self) -> &Bytes {
        if self.learnt.replaced.is_empty() {
            return &self.source.bytes;
        }
        self.learnt.whole.get_or_init(|| self.joined().into())
    }

    /// The whole body in pieces, as it lies in memory.
    pub fn pieces(&self) -> Vec<Bytes> {
        let Learnt {
            replaced, whole, ..
        } = &*self.learnt;
        if replaced.is_empty() || whole.get().is_some() || self.source.bytes.len() <= SMALL {
            return vec![self.bytes().clone()];
        }
        replaced::pieces(&self.source.bytes, replaced)
    }

    fn joined(&self) -> String {
        let text = self.scanned().map_or("", |scanned| &scanned.text);
        replaced::joined(text, 0..text.len(), &self.learnt.replaced)
    }

    /// Whether nothing has been written since one was cloned from the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.learnt, &other.learnt)
    }

    /// The whole body parsed; none if it is not JSON. Parsed once.
    pub fn value(&self) -> Option<&Value> {
        self.learnt
            .value
            .get_or_init(|| serde_json::from_slice(self.bytes()).ok())
            .as_ref()
    }

    /// The outermost value, from which all others are reached; none if the body
    /// is not JSON.
    pub fn root(&self) -> Option<Node<'_>> {
        let scanned = self.scanned()?;
        Some(Node::root(scanned, &self.learnt.replaced))
    }

    /// What one pass finds in the body that was read.
    fn scanned(&self) -> Option<&Scanned> {
        let Source { bytes, scanned } = &*self.source;
        scanned.get_or_init(|| scan(bytes).ok()).as_ref()
    }

    /// Whether it is a JSON object.
    pub fn is_object(&self) -> bool {
        self.root().is_some_and(Node::is_object)
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
        let parsed = serde_json::from_slice::<Value>(&self.source.bytes);
        parsed.map_or_else(
            |error| error.to_string(),
            |_| "it cannot be read".to_owned(),
        )
    }

    /// An object of those members of the top-level object that have one of
    /// these names, which are the same for every call; null if it is none.
    /// Parsing them alone is what a look at a large body costs.
    pub fn part(&self, names: &[&str]) -> &Value {
        let named = |root: Node<'_>| {
            let members = root.members().filter(|(key, _)| names.contains(&&**key));
            let parsed = |(key, value): (Cow<'_, str>, Node<'_>)| {
                Some((key.into_owned(), serde_json::from_str(&value.json()).ok()?))
            };
            Value::Object(members.filter_map(parsed).collect())
        };
        self.learnt.part.get_or_init(|| {
            let object = self.root().filter(|root| root.is_object());
            object.map(named).unwrap_or_default()
        })
    }

    /// The text of the value at `pointer`, as it was written.
    pub fn get(&self, pointer: &str) -> Option<Cow<'_, str>> {
        Some(self.find(&steps(pointer).ok()?)?.json())
    }

    /// The string at `pointer`; none if it is absent or not a string.
    pub fn string(&self, pointer: &str) -> Option<String> {
        let value = self.find(&steps(pointer).ok()?)?;
        value.string().map(Cow::into_owned)
    }

    fn find(&self, steps: &[Cow<'_, str>]) -> Option<Node<'_>> {
        let mut steps = steps.iter();
        steps.try_fold(self.root()?, |value, step| value.step(step))
    }

    /// Writes `json` at `pointer`. An absent last step is created: a member of
    /// an object, or the element after the last one of an array (also "-").
    pub fn set(&self, pointer: &str, json: &str) -> Result<Self, EditError> {
        let steps = steps(pointer)?;
        let json = valid_value(pointer, json)?;
        if let Some(value) = self.find(&steps) {
            let place = replaced::place(&self.learnt.replaced, value);
            return self.replaced(place, json);
        }
        let (parent, last) = self.parent(pointer, &steps)?;
        let comma = if parent.is_empty() { "" } else { "," };
        let addition = match parent.kind() {
            Kind::Object => format!("{comma}{}:{json}", Value::from(last)),
            Kind::Array if last == "-" || last == parent.elements().count().to_string() => {
                format!("{comma}{json}")
            }
            _ => return Err(EditError::Absent(pointer.to_owned())),
        };
        let end = match parent.last() {
            Some(value) => replaced::place(&self.learnt.replaced, value).end,
            None => parent.range().start + 1,
        };
        self.written(end..end, &addition)
    }

    /// Removes what `pointer` names, with its comma, and every member of that
    /// key if it stands more than once; the same body if there is nothing.
    pub fn remove(&self, pointer: &str) -> Result<Self, EditError> {
        let steps = steps(pointer)?;
        if steps.is_empty() {
            return Err(EditError::Absent(pointer.to_owned()));
        }
        if !self.learnt.replaced.is_empty() {
            return Self::new(self.bytes().clone()).remove(pointer);
        }
        let Some(value) = self.find(&steps) else {
            return Ok(self.clone());
        };
        let bytes = &self.source.bytes;
        let (parent, last) = self.parent(pointer, &steps)?;
        let inner = parent.range().start + 1..parent.range().end - 1;
        // Each entry with whether it goes, and the place where it ends.
        let entries: Vec<(bool, usize)> = if parent.is_object() {
            let members = parent.members();
            let entry = |(key, value): (Cow<'_, str>, Node<'_>)| (key == last, value.range().end);
            members.map(entry).collect()
        } else {
            let entry = |e: Node<'_>| (e.range() == value.range(), e.range().end);
            parent.elements().map(entry).collect()
        };
        let mut removed = Vec::with_capacity(bytes.len());
        let mut copied = 0;
        let mut keeps_one = false;
        for (i, (goes, end)) in entries.iter().copied().enumerate() {
            if !goes {
                keeps_one = true;
                continue;
            }
            // The comma before it goes along, or the one after it if nothing
            // stays before it.
            let (from, to) = if keeps_one {
                (entries[i - 1].1, end)
            } else {
                let first = copied.max(inner.start);
                let comma = bytes[end..].iter().position(|b| *b == b',');
                match comma {
                    Some(comma) if i + 1 < entries.len() => (first, end + comma + 1),
                    _ => (first, inner.end),
                }
            };
            removed.extend_from_slice(&bytes[copied..from]);
            copied = to;
        }
        removed.extend_from_slice(&bytes[copied..]);
        Ok(Self::new(removed.into()))
    }

    fn parent<'s>(
        &self,
        pointer: &str,
        steps: &'s [Cow<'s, str>],
    ) -> Result<(Node<'_>, &'s str), EditError> {
        let absent = || EditError::Absent(pointer.to_owned());
        let (last, above) = steps.split_last().ok_or_else(absent)?;
        match self.find(above) {
            Some(parent) => Ok((parent, last)),
            None if self.root().is_none() => Err(EditError::NotJson),
            None => Err(absent()),
        }
    }

    /// The body with `json` in the place of the value at `range` of what was
    /// read. A string, a number or a word is kept beside it, and is all of it
    /// that has to be scanned: no key comes or goes, and nothing lies deeper
    /// than before. What was ambiguous may have gone with the value.
    fn replaced(&self, range: Range<usize>, json: &str) -> Result<Self, EditError> {
        let scanned = self.scanned().ok_or(EditError::NotJson)?;
        let scalar = Some(json).filter(|json| !json.starts_with(['{', '[']));
        let scalar = scalar.and_then(|json| scan(&Bytes::copy_from_slice(json.as_bytes())).ok());
        let replaced = &self.learnt.replaced;
        if let Some(by) = scalar
            && scanned.ambiguity.is_none()
            && replaced.len() < MAX_REPLACED
        {
            return Ok(Self {
                source: self.source.clone(),
                learnt: Arc::new(Learnt {
                    replaced: replaced::with(replaced, Replacement { range, by }),
                    ..Learnt::default()
                }),
            });
        }
        self.written(range, json)
    }

    /// The body with `text` in the place of what stands at `range` of what was
    /// read, in one piece, which nobody has looked at yet.
    fn written(&self, range: Range<usize>, text: &str) -> Result<Self, EditError> {
        let scanned = self.scanned().ok_or(EditError::NotJson)?;
        let by = Scanned::unread(text.to_owned().into());
        let replaced = replaced::with(&self.learnt.replaced, Replacement { range, by });
        let whole = 0..scanned.text.len();
        let text = replaced::joined(&scanned.text, whole, &replaced);
        Ok(Self::new(text.into()))
    }
}

/// The steps of an RFC 6901 pointer, unescaped.
fn steps(pointer: &str) -> Result<Vec<Cow<'_, str>>, EditError> {
    let bad = || EditError::Pointer(pointer.chars().take(256).collect());
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or_else(bad)?;
    let steps: Vec<_> = rest
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

fn unescaped(step: &str) -> Option<Cow<'_, str>> {
    if !step.contains('~') {
        return Some(Cow::Borrowed(step));
    }
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
    Some(Cow::Owned(out))
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
