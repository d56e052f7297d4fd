//! JSON as bytes: finding a value by its pointer, and changing one value
//! without touching a byte besides.
//!
//! Prompt caches and signatures depend on the bytes that a client sent, so an
//! edit never re-serialises what it does not name. `Json` owns the body of a
//! request and indexes its top level once, on first use; what lies deeper is
//! found by scanning the one member that holds it. It knows no dialect.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The deepest pointer that is followed; deeper ones are refused.
const MAX_DEPTH: usize = 64;

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
    top: OnceLock<Option<Vec<Member>>>,
    value: OnceLock<Option<Value>>,
}

/// A member of an object, or an element of an array (whose key is empty).
#[derive(Debug)]
struct Member {
    key: String,
    value: Range<usize>,
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

    /// The whole body parsed; none if it is not JSON. Parsed once.
    pub fn value(&self) -> Option<&Value> {
        self.learnt
            .value
            .get_or_init(|| serde_json::from_slice(&self.bytes).ok())
            .as_ref()
    }

    /// The members of the top-level object; none if the body is not an object.
    fn top(&self) -> Option<&[Member]> {
        let index = || match outermost(&self.bytes)? {
            (Container::Object, members) => Some(members),
            (Container::Array, _) => None,
        };
        self.learnt.top.get_or_init(index).as_deref()
    }

    /// A key that stands twice in the top-level object, if one does.
    ///
    /// Readers disagree about which of the two counts, so a filter could be
    /// shown one and the provider another.
    pub fn duplicate_key(&self) -> Option<&str> {
        let members = self.top()?;
        members.iter().enumerate().find_map(|(i, member)| {
            members[..i]
                .iter()
                .any(|m| m.key == member.key)
                .then_some(member.key.as_str())
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
            return self.value().map(|_| trimmed(&self.bytes));
        };
        if let Some(members) = self.top() {
            let member = members.iter().rfind(|m| m.key == *first)?;
            return find_below(&self.bytes, member.value.clone(), deeper);
        }
        find_below(&self.bytes, 0..self.bytes.len(), steps)
    }

    /// Writes `json` at `pointer`. An absent last step is created: a member of
    /// an object, or the element after the last one of an array (also "-").
    pub fn set(&self, pointer: &str, json: &str) -> Result<Self, EditError> {
        let steps = steps(pointer)?;
        let json = valid_value(pointer, json)?;
        if let Some(range) = self.find(&steps) {
            return Ok(self.spliced(range, json.as_bytes()));
        }
        let (parent, last) = self.parent(pointer, &steps)?;
        let (kind, members) = outermost(&self.bytes[parent.clone()])
            .ok_or_else(|| EditError::Absent(pointer.to_owned()))?;
        let comma = if members.is_empty() { "" } else { "," };
        let addition = match kind {
            Container::Object => format!("{comma}{}:{json}", Value::from(last.as_str())),
            Container::Array if last == "-" || *last == members.len().to_string() => {
                format!("{comma}{json}")
            }
            Container::Array => return Err(EditError::Absent(pointer.to_owned())),
        };
        let end = match members.last() {
            Some(member) => parent.start + member.value.end,
            None => trimmed_in(&self.bytes, parent).start + 1,
        };
        Ok(self.spliced(end..end, addition.as_bytes()))
    }

    /// Removes what `pointer` names, with its comma; the same body if there is
    /// nothing.
    pub fn remove(&self, pointer: &str) -> Result<Self, EditError> {
        let steps = steps(pointer)?;
        if steps.is_empty() {
            return Err(EditError::Absent(pointer.to_owned()));
        }
        if self.find(&steps).is_none() {
            return Ok(self.clone());
        }
        let (parent, last) = self.parent(pointer, &steps)?;
        let (kind, members) = outermost(&self.bytes[parent.clone()]).ok_or(EditError::NotJson)?;
        let Some(at) = position(&kind, &members, last) else {
            return Ok(self.clone());
        };
        let inner = trimmed_in(&self.bytes, parent.clone());
        let (from, to) = if at > 0 {
            (members[at - 1].value.end, members[at].value.end)
        } else {
            let first = inner.start + 1 - parent.start;
            let after = members[0].value.end;
            let comma = self.bytes[parent.start + after..]
                .iter()
                .position(|b| *b == b',');
            match comma {
                Some(comma) if members.len() > 1 => (first, after + comma + 1),
                _ => (first, inner.end - 1 - parent.start),
            }
        };
        let removed = self.spliced(parent.start + from..parent.start + to, b"");
        // A key that stood twice is still there.
        if removed.find(&steps).is_some() && matches!(kind, Container::Object) {
            return removed.remove(pointer);
        }
        Ok(removed)
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
            None if self.value().is_none() => Err(EditError::NotJson),
            None => Err(absent()),
        }
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
    let (kind, members) = outermost(&bytes[range.clone()])?;
    let at = position(&kind, &members, first)?;
    let found = &members[at].value;
    find_below(
        bytes,
        range.start + found.start..range.start + found.end,
        deeper,
    )
}

/// Where a step leads. Of a key that stands twice the last one counts, as most
/// readers have it; array indices have no leading zeros (RFC 6901, section 4).
fn position(kind: &Container, members: &[Member], step: &str) -> Option<usize> {
    match kind {
        Container::Object => members.iter().rposition(|m| m.key == step),
        Container::Array => {
            let index: usize = step.parse().ok()?;
            (index < members.len() && index.to_string() == step).then_some(index)
        }
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

/// The members of the object or array that `bytes` are; none if they are
/// neither, or not JSON.
fn outermost(bytes: &[u8]) -> Option<(Container, Vec<Member>)> {
    struct Outermost<'b>(&'b [u8]);

    impl Outermost<'_> {
        fn range(&self, raw: &RawValue) -> Range<usize> {
            let start = raw.get().as_ptr() as usize - self.0.as_ptr() as usize;
            start..start + raw.get().len()
        }
    }

    impl<'de> Visitor<'de> for Outermost<'de> {
        type Value = (Container, Vec<Member>);

        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("an object or an array")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((key, raw)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                members.push(Member {
                    key: key.into_owned(),
                    value: self.range(raw),
                });
            }
            Ok((Container::Object, members))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(raw) = seq.next_element::<&'de RawValue>()? {
                members.push(Member {
                    key: String::new(),
                    value: self.range(raw),
                });
            }
            Ok((Container::Array, members))
        }
    }

    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let found = deserializer.deserialize_any(Outermost(bytes)).ok()?;
    deserializer.end().ok()?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &'static str) -> Json {
        Json::new(Bytes::from_static(text.as_bytes()))
    }

    fn text(json: &Json) -> &str {
        std::str::from_utf8(json.bytes()).unwrap()
    }

    const BODY: &str = "{ \"model\" : \"gpt\\u002d4\",\n \"a/b\": {\"~\": [1, {\"x\":null} ,3]},\"e\":{} , \"l\":[ ] }\n";

    #[test]
    fn finds_values_by_pointer() {
        let cases = [
            ("/model", Some("\"gpt\\u002d4\"")),
            ("/a~1b/~0/1/x", Some("null")),
            ("/a~1b/~0/2", Some("3")),
            ("/a~1b/~0/02", None),
            ("/a~1b/~0/3", None),
            ("/missing", None),
            ("model", None),
            ("/e", Some("{}")),
            ("/~2", None),
        ];
        for (pointer, expected) in cases {
            assert_eq!(json(BODY).get(pointer), expected, "{pointer}");
        }
        assert_eq!(json(BODY).get(""), Some(BODY.trim()));
        assert_eq!(json(BODY).string("/model").as_deref(), Some("gpt-4"));
    }

    #[test]
    fn an_edit_changes_only_its_bytes() {
        let cases = [
            ("{\"a\":1, \"b\" : 2}", "/b", " 3 ", "{\"a\":1, \"b\" : 3}"),
            ("{\"a\":1 }", "/c", "\"x\"", "{\"a\":1,\"c\":\"x\" }"),
            (" { } ", "/q\"", "[]", " {\"q\\\"\":[] } "),
            ("{\"l\":[1 ,2 ]}", "/l/-", "3", "{\"l\":[1 ,2,3 ]}"),
            ("{\"l\":[]}", "/l/0", "3", "{\"l\":[3]}"),
            ("{\"l\":[1]}", "/l/0", "{}", "{\"l\":[{}]}"),
            ("[1]", "/0", "2", "[2]"),
            (
                "{\"a\":{\"b\":{}}}",
                "/a/b/c",
                "1",
                "{\"a\":{\"b\":{\"c\":1}}}",
            ),
            (" 1 ", "", "2", " 2 "),
        ];
        for (before, pointer, value, after) in cases {
            assert_eq!(
                text(&json(before).set(pointer, value).unwrap()),
                after,
                "{pointer}"
            );
        }
    }

    #[test]
    fn a_removal_takes_its_comma_along() {
        let cases = [
            ("{\"a\":1, \"b\":2 ,\"c\":3}", "/a", "{ \"b\":2 ,\"c\":3}"),
            ("{\"a\":1, \"b\":2 ,\"c\":3}", "/b", "{\"a\":1 ,\"c\":3}"),
            ("{\"a\":1, \"b\":2 ,\"c\":3}", "/c", "{\"a\":1, \"b\":2}"),
            ("{ \"a\":1 }", "/a", "{}"),
            ("[1,2]", "/0", "[2]"),
            ("[1,2]", "/1", "[1]"),
            ("{\"x\":[ 7 ],\"y\":0}", "/x/0", "{\"x\":[],\"y\":0}"),
            ("{\"a\":1,\"a\":2,\"b\":3}", "/a", "{\"b\":3}"),
            ("{\"a\":1}", "/z", "{\"a\":1}"),
        ];
        for (before, pointer, after) in cases {
            assert_eq!(
                text(&json(before).remove(pointer).unwrap()),
                after,
                "{before} {pointer}"
            );
        }
    }

    #[test]
    fn a_bad_edit_says_what_is_wrong() {
        let error = |j: &'static str, p: &str, v: &str| json(j).set(p, v).unwrap_err();
        assert_eq!(error("{}", "a", "1"), EditError::Pointer("a".into()));
        assert!(matches!(error("{}", "/a", "{"), EditError::Value { .. }));
        assert!(matches!(error("{}", "/a", "1 2"), EditError::Value { .. }));
        assert_eq!(error("nope", "/a", "1"), EditError::NotJson);
        assert_eq!(error("{}", "/a/b", "1"), EditError::Absent("/a/b".into()));
        assert_eq!(
            error("{\"l\":[]}", "/l/5", "1"),
            EditError::Absent("/l/5".into())
        );
        assert_eq!(
            error("{\"s\":\"x\"}", "/s/y", "1"),
            EditError::Absent("/s/y".into())
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_found() {
        assert_eq!(
            json("{\"model\":1,\"mod\\u0065l\":2}").duplicate_key(),
            Some("model")
        );
        assert_eq!(json(BODY).duplicate_key(), None);
    }
}
