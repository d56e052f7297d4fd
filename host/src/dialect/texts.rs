//! Collecting the texts that a model will read, with a pointer to each.
//!
//! Each dialect walks its own body; this holds the place where it is and the
//! rules for values whose shape it does not know: tool definitions, JSON
//! Schemas, blocks of a kind that is newer than this code. Those are searched
//! for every string, because a filter must not be got round by a new spelling.

use serde_json_borrow::{ObjectAsVec, Value};

/// Who says what a tool definition or an output schema says.
pub const SYSTEM: &str = "system";
pub const USER: &str = "user";
pub const ASSISTANT: &str = "assistant";
pub const TOOL: &str = "tool";
pub const TOOL_DEFINITION: &str = "tool-definition";

/// A piece of text in a request that a model will read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a> {
    /// "system", "user", "assistant", "tool", "tool-definition", or what the
    /// client wrote as a role that no dialect knows.
    pub role: &'a str,
    /// An RFC 6901 pointer to a string of the body.
    pub pointer: String,
    /// The string, never empty.
    pub content: &'a str,
}

/// Members whose strings are data and never read as text, unless someone put
/// more than one word there.
const OPAQUE: [&str; 6] = [
    "data",
    "file_data",
    "signature",
    "encrypted_content",
    "encrypted_index",
    "encrypted_stdout",
];

/// Members whose strings are words of a format, unless someone wrote a
/// sentence there.
const WORDS: [&str; 12] = [
    "type",
    "required",
    "$ref",
    "$schema",
    "$id",
    "format",
    "id",
    "tool_use_id",
    "file_id",
    "media_type",
    "url",
    "detail",
];

/// The longest string that is taken for a word of a format.
const LONGEST_WORD: usize = 256;

/// The texts of a body, and the place that is being looked at.
#[derive(Debug, Default)]
pub struct Texts<'a> {
    found: Vec<Text<'a>>,
    pointer: String,
}

impl<'a> Texts<'a> {
    /// What was found, in the order in which it was.
    pub fn into_vec(self) -> Vec<Text<'a>> {
        self.found
    }

    /// Looks at a value that stands under `key` here.
    pub fn within(&mut self, key: &str, look: impl FnOnce(&mut Self)) {
        let before = self.pointer.len();
        self.pointer.push('/');
        push_escaped(&mut self.pointer, key);
        look(self);
        self.pointer.truncate(before);
    }

    /// Looks at a member, if the object has it.
    pub fn member(
        &mut self,
        object: &'a ObjectAsVec<'a>,
        key: &str,
        look: impl FnOnce(&mut Self, &'a Value<'a>),
    ) {
        if let Some(value) = object.get(key) {
            self.within(key, |texts| look(texts, value));
        }
    }

    /// Looks at each element of an array; at nothing if it is none.
    pub fn each(&mut self, array: &'a Value, mut look: impl FnMut(&mut Self, &'a Value<'a>)) {
        for (index, value) in array.iter_array().into_iter().flatten().enumerate() {
            self.within(&index.to_string(), |texts| look(texts, value));
        }
    }

    /// Takes the value here if it is a string that says something.
    pub fn take(&mut self, role: &'a str, value: &'a Value<'a>) {
        if let Some(content) = value.as_str().filter(|text| !text.is_empty()) {
            let pointer = self.pointer.clone();
            self.found.push(Text {
                role,
                pointer,
                content,
            });
        }
    }

    /// Takes a member if it is a string that says something.
    pub fn take_member(&mut self, role: &'a str, object: &'a ObjectAsVec<'a>, key: &str) {
        self.member(object, key, |texts, value| texts.take(role, value));
    }

    /// Takes every string at and below the value here.
    pub fn take_all(&mut self, role: &'a str, value: &'a Value<'a>) {
        match value {
            Value::Str(_) => self.take(role, value),
            Value::Array(_) => self.each(value, |texts, element| texts.take_all(role, element)),
            Value::Object(members) => {
                for (key, value) in members.iter() {
                    self.within(key, |texts| texts.take_all(role, value));
                }
            }
            _ => {}
        }
    }

    /// Takes every string at and below the value here that may be read as
    /// text, in an object whose shape is not known or is a schema.
    pub fn search(&mut self, role: &'a str, value: &'a Value<'a>) {
        match value {
            Value::Array(_) => self.each(value, |texts, element| texts.search(role, element)),
            Value::Object(members) => {
                for (key, value) in members.iter() {
                    self.within(key, |texts| texts.search_member(role, key, value));
                }
            }
            _ => self.take(role, value),
        }
    }

    fn search_member(&mut self, role: &'a str, key: &str, value: &'a Value<'a>) {
        // A schema may have a property with any name, so what is skipped is
        // skipped only where it is not an object.
        let skipped = |text: &Value<'_>| {
            let opaque = |text: &str| OPAQUE.contains(&key) && !text.contains(' ');
            let word = |text: &str| WORDS.contains(&key) && is_word(text);
            text.as_str().is_some_and(|text| opaque(text) || word(text))
        };
        match value {
            Value::Array(_) => self.each(value, |texts, element| match element {
                Value::Str(_) if skipped(element) => {}
                _ => texts.search(role, element),
            }),
            _ if skipped(value) => {}
            _ => self.search(role, value),
        }
    }
}

/// Whether a string is one word of printable ASCII, as names of formats are.
fn is_word(text: &str) -> bool {
    text.len() <= LONGEST_WORD && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Appends a step of a pointer (RFC 6901, section 3).
pub fn push_escaped(pointer: &mut String, key: &str) {
    for c in key.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            _ => pointer.push(c),
        }
    }
}
