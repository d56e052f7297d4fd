//! JSON as bytes: finding a value by its pointer, and changing one value
//! without touching a byte besides.
//!
//! Prompt caches and signatures depend on the bytes that a client sent, so an
//! edit never re-serialises what it does not name. `Json` owns the body of a
//! request and indexes its top level once, on first use; what lies deeper is
//! found by scanning the one member that holds it. It knows no dialect.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

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

    /// Checks that no object, at any depth, has a member twice or too many
    /// members. Reads the bytes once, keeps no values, and tells of the first
    /// member that is wrong.
    ///
    /// Readers disagree about which of two members counts, so a filter could
    /// be shown one and the provider another.
    pub fn unambiguous(&self) -> Result<(), Ambiguity> {
        let mut found = None;
        let mut deserializer = serde_json::Deserializer::from_slice(&self.bytes);
        let scanned = Scan(&mut found)
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end());
        match (found, scanned) {
            (Some(found), _) => Err(found.ambiguity()),
            (None, Err(error)) => Err(Ambiguity::NotJson(error.to_string())),
            (None, Ok(())) => Ok(()),
        }
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
        let (kind, members) = outermost(&self.bytes[parent.clone()]).ok_or(EditError::NotJson)?;
        let at = position(&kind, &members, last);
        let goes = |i: usize| match kind {
            Container::Object => members[i].key == *last,
            Container::Array => at == Some(i),
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
            ("{\"b\":3 ,\"a\":1, \"a\":2}", "/a", "{\"b\":3}"),
            ("{ \"a\":1, \"a\":2 }", "/a", "{}"),
            (
                "{\"a\":1 , \"b\":2,\"a\":3 , \"c\":4, \"\\u0061\":5 }",
                "/a",
                "{ \"b\":2 , \"c\":4 }",
            ),
            ("[ {\"a\":1,\"a\":{}} ]", "/0/a", "[ {} ]"),
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
    fn two_thousand_duplicates_are_removed_at_once() {
        let duplicates = "\"a\":[1, {}] , ".repeat(2000);
        let body = format!("{{\"m\":{{{duplicates}\"b\":1}}}}");
        let removed = Json::new(body.into()).remove("/m/a").unwrap();
        assert_eq!(text(&removed), "{\"m\":{ \"b\":1}}");
    }

    #[test]
    fn a_member_that_stands_twice_is_found_at_any_depth() {
        let cases = [
            ("{\"model\":1,\"mod\\u0065l\":2}", "/model"),
            (
                "{\"messages\":[{\"role\":0},{\"content\":[],\"content\":\"x\"}],\"a\":1,\"a\":2}",
                "/messages/1/content",
            ),
            ("{\"a/b\":{\"~\":{\"\":1,\"\":2}}}", "/a~1b/~0/"),
            ("[[1.5,-2,true,null,[{\"x\":1,\"x\":1}]]]", "/0/4/0/x"),
        ];
        for (body, pointer) in cases {
            let twice = Err(Ambiguity::Twice(pointer.to_owned()));
            assert_eq!(json(body).unambiguous(), twice, "{body}");
        }
        for body in [
            BODY,
            "{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]}}",
            " 1E40 ",
            "[]",
        ] {
            assert_eq!(json(body).unambiguous(), Ok(()), "{body}");
        }
    }

    #[test]
    fn a_long_pointer_is_told_in_part() {
        let key = "é".repeat(100_000);
        let body = format!("{{\"{key}\":{{\"x\":1,\"x\":2}}}}");
        let told = format!("/{}…", "é".repeat(MAX_TOLD - 1));
        let found = Json::new(body.into()).unambiguous();
        assert_eq!(found, Err(Ambiguity::Twice(told)));
    }

    #[test]
    fn what_cannot_be_looked_through_is_no_clean_body() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for body in [deep, "{".to_owned(), "{} {}".to_owned(), "1E400".to_owned()] {
            let found = Json::new(body.into()).unambiguous();
            assert!(matches!(found, Err(Ambiguity::NotJson(_))), "{found:?}");
        }
        let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
        assert_eq!(Json::new(deep.into()).unambiguous(), Ok(()));
    }

    fn object_of(members: usize) -> String {
        let members: Vec<_> = (0..members).map(|i| format!("\"k{i}\":{i}")).collect();
        format!("{{{}}}", members.join(","))
    }

    #[test]
    fn the_members_of_one_object_are_bounded() {
        let unambiguous = |body: String| Json::new(body.into()).unambiguous();
        assert_eq!(unambiguous(object_of(MAX_MEMBERS)), Ok(()));
        let many = format!("{{\"a\":[{0},{0}]}}", object_of(50_000));
        assert_eq!(unambiguous(many), Ok(()));
        assert_eq!(
            unambiguous(object_of(100_000)),
            Err(Ambiguity::TooMany(String::new()))
        );
        let below = format!("{{\"a\":[{}]}}", object_of(MAX_MEMBERS + 1));
        assert_eq!(
            unambiguous(below),
            Err(Ambiguity::TooMany("/a/0".to_owned()))
        );
    }
}
