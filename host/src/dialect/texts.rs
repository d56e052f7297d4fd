//! Collecting the texts that a model will read, with a pointer to each.
//!
//! Each dialect walks its own body; this holds the place where it is and the
//! rules for values whose shape it does not know: tool definitions, JSON
//! Schemas, blocks of a kind that is newer than this code. Those are searched
//! for every string, because a filter must not be got round by a new spelling.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::json::{self, Kind, Node};

/// Who says what a tool definition or an output schema says.
pub const SYSTEM: Role = Cow::Borrowed("system");
pub const USER: Role = Cow::Borrowed("user");
pub const ASSISTANT: Role = Cow::Borrowed("assistant");
pub const TOOL: Role = Cow::Borrowed("tool");
pub const TOOL_DEFINITION: Role = Cow::Borrowed("tool-definition");

/// A piece of text in a request that a model will read.
#[derive(Debug, Clone)]
pub struct Text<'a> {
    /// "system", "user", "assistant", "tool", "tool-definition", or what the
    /// client wrote as a role that no dialect knows.
    pub role: Role<'a>,
    /// An RFC 6901 pointer to a string of the body.
    pub pointer: String,
    /// The string, never empty.
    pub value: Node<'a>,
}

impl<'a> Text<'a> {
    /// What it says.
    pub fn content(&self) -> Cow<'a, str> {
        self.value.string().unwrap_or_default()
    }
}

/// Who says something; of what a client wrote, its own words.
pub type Role<'a> = Cow<'a, str>;

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
#[derive(Debug)]
pub struct Texts<'a> {
    found: Vec<Text<'a>>,
    pointer: String,
    /// Whether pointers are wanted. Who only wants contents need not wait for them.
    has_pointers: bool,
}

impl<'a> Texts<'a> {
    pub fn with_pointers() -> Self {
        Self {
            found: Vec::new(),
            pointer: String::new(),
            has_pointers: true,
        }
    }

    /// For texts of which only the contents matter: their pointers are empty.
    pub fn without_pointers() -> Self {
        Self {
            has_pointers: false,
            ..Self::with_pointers()
        }
    }

    /// What was found, in the order in which it was.
    pub fn into_vec(self) -> Vec<Text<'a>> {
        self.found
    }

    /// What all of them say, one after another.
    pub fn joined(&self) -> String {
        Node::joined(self.values())
    }

    /// Which of these words stand in what they say, one after another
    /// ([`json::find_words`]).
    pub fn find_words(&self, words: &[String]) -> Vec<bool> {
        json::find_words(self.values(), words)
    }

    /// Whether all of them are plain ASCII ([`Node::is_plain_ascii`]).
    pub fn are_plain_ascii(&self) -> bool {
        self.values().all(Node::is_plain_ascii)
    }

    fn values(&self) -> impl Iterator<Item = Node<'a>> + Clone {
        self.found.iter().map(|text| text.value)
    }

    /// Looks at a value that stands under `key` here.
    pub fn within(&mut self, key: &str, look: impl FnOnce(&mut Self)) {
        let before = self.pointer.len();
        if self.has_pointers {
            self.pointer.push('/');
            push_escaped(&mut self.pointer, key);
        }
        look(self);
        self.pointer.truncate(before);
    }

    /// Looks at a member, if there is an object and it has it.
    pub fn member(&mut self, object: Node<'a>, key: &str, look: impl FnOnce(&mut Self, Node<'a>)) {
        if let Some(value) = object.get(key) {
            self.within(key, |texts| look(texts, value));
        }
    }

    /// Looks at each member of an object; at nothing if it is none.
    pub fn members(&mut self, object: Node<'a>, mut look: impl FnMut(&mut Self, &str, Node<'a>)) {
        for (key, value) in object.members() {
            self.within(&key, |texts| look(texts, &key, value));
        }
    }

    /// Looks at each element of an array; at nothing if it is none.
    pub fn each(&mut self, array: Node<'a>, mut look: impl FnMut(&mut Self, Node<'a>)) {
        let before = self.pointer.len();
        for (index, value) in array.elements().enumerate() {
            if self.has_pointers {
                // Writing to a string cannot fail.
                let _ = write!(self.pointer, "/{index}");
            }
            look(self, value);
            self.pointer.truncate(before);
        }
    }

    /// Takes the value here if it is a string that says something.
    pub fn take(&mut self, role: &Role<'a>, value: Node<'a>) {
        if value.is_text() {
            self.found.push(Text {
                role: role.clone(),
                pointer: self.pointer.clone(),
                value,
            });
        }
    }

    /// Takes a member if it is a string that says something.
    pub fn take_member(&mut self, role: &Role<'a>, object: Node<'a>, key: &str) {
        self.member(object, key, |texts, value| texts.take(role, value));
    }

    /// Looks at content: a string, or strings and parts.
    pub fn content(
        &mut self,
        role: &Role<'a>,
        value: Node<'a>,
        part: fn(&mut Self, &Role<'a>, Node<'a>),
    ) {
        self.take(role, value);
        self.each(value, |texts, element| {
            let look = if element.is_object() {
                part
            } else {
                Self::take
            };
            look(texts, role, element);
        });
    }

    /// Takes every string at and below the value here.
    pub fn take_all(&mut self, role: &Role<'a>, value: Node<'a>) {
        match value.kind() {
            Kind::Array => self.each(value, |texts, element| texts.take_all(role, element)),
            Kind::Object => self.members(value, |texts, _, value| texts.take_all(role, value)),
            Kind::Plain | Kind::Escaped | Kind::Other => self.take(role, value),
        }
    }

    /// Takes every string at and below the value here that may be read as
    /// text, in an object whose shape is not known or is a schema.
    pub fn search(&mut self, role: &Role<'a>, value: Node<'a>) {
        match value.kind() {
            Kind::Array => self.each(value, |texts, element| texts.search(role, element)),
            Kind::Object => self.members(value, |texts, key, value| {
                texts.search_member(role, key, value);
            }),
            Kind::Plain | Kind::Escaped | Kind::Other => self.take(role, value),
        }
    }

    fn search_member(&mut self, role: &Role<'a>, key: &str, value: Node<'a>) {
        // A schema may have a property with any name, so what is skipped is
        // skipped only where it is not an object.
        let skipped = |text: Node<'_>| {
            let opaque = |text: &str| OPAQUE.contains(&key) && !text.contains(' ');
            let word = |text: &str| WORDS.contains(&key) && is_word(text);
            text.string()
                .is_some_and(|text| opaque(&text) || word(&text))
        };
        match value.kind() {
            Kind::Array => self.each(value, |texts, element| {
                if !skipped(element) {
                    texts.search(role, element);
                }
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
