//! One pass over the bytes of a body: whether they are JSON, where each value
//! is, and whether any object says something twice.
//!
//! It takes what `serde_json` takes (RFC 8259, at most 127 levels deep, no
//! number beyond a double's range, no half of a surrogate pair), which the
//! tests hold it to. What it keeps is `spans`; how it steps over strings, which
//! are most of a body, is `quoted`.

mod quoted;

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use bytestring::ByteString;

use self::quoted::{Quoted, quoted};
use super::spans::{Kind, MAX_BYTES, Scanned, Span};
use super::string::unescaped;
use super::{Ambiguity, MAX_MEMBERS, MAX_TOLD};

/// How deep values may be nested: what `serde_json` allows.
const MAX_LEVELS: usize = 127;

/// Up to how many members a key is compared with all others; beyond, keys go
/// into a set. Few objects have more.
const FEW: usize = 16;

/// How many spans there is room for without asking for more.
const FEW_SPANS: usize = 64;

/// The longest number that cannot be beyond a double's range if it has no
/// exponent.
const MAX_DIGITS: usize = 300;

/// The bytes are not JSON. Why is told by a parser that is made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

/// Scans bytes that are one JSON value, with white space around it.
pub fn scan(bytes: &Bytes) -> Result<Scanned, NotJson> {
    if bytes.len() > MAX_BYTES {
        return Err(NotJson);
    }
    let mut scan = Scan {
        bytes,
        at: 0,
        is_ascii: true,
        open: Vec::new(),
        keys: Vec::new(),
        spans: Vec::with_capacity(FEW_SPANS),
        ambiguity: None,
    };
    scan.space();
    scan.value()?;
    scan.space();
    if scan.at < bytes.len() {
        return Err(NotJson);
    }
    let Scan {
        spans,
        ambiguity,
        is_ascii,
        ..
    } = scan;
    Ok(Scanned {
        text: text(bytes, is_ascii)?,
        spans,
        ambiguity,
    })
}

/// What has been stepped over, as text: JSON is UTF-8 (RFC 8259, section 8.1).
fn text(bytes: &Bytes, is_ascii: bool) -> Result<ByteString, NotJson> {
    if !is_ascii {
        return ByteString::try_from(bytes.clone()).map_err(|_| NotJson);
    }
    debug_assert!(bytes.is_ascii());
    #[expect(
        unsafe_code,
        reason = "each byte has been looked at, and most are ASCII"
    )]
    // SAFETY: all bytes are ASCII. Outside of strings a scan steps over no
    // others; and of each string it knows whether it has others.
    Ok(unsafe { ByteString::from_bytes_unchecked(bytes.clone()) })
}

struct Scan<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Whether all strings so far are of plain ASCII.
    is_ascii: bool,
    /// The objects and arrays that are not closed yet, the outermost first.
    open: Vec<Open<'b>>,
    /// The keys of all open objects: each object's own are the last ones when
    /// it is the innermost.
    keys: Vec<Cow<'b, [u8]>>,
    spans: Vec<Span>,
    ambiguity: Option<Ambiguity>,
}

/// An object or an array that is not closed yet.
struct Open<'b> {
    is_object: bool,
    /// Which of the spans is its own.
    span: usize,
    /// Which of the keys are its own.
    keys: usize,
    /// How many members have begun.
    count: usize,
    /// Its keys, once there are many.
    many: Option<HashSet<Cow<'b, [u8]>>>,
}

impl<'b> Scan<'b> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Steps over a byte that must be there.
    fn step_over(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() != Some(byte) {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over a value, and all that is in it.
    fn value(&mut self) -> Result<(), NotJson> {
        loop {
            let opened = self.begin()?;
            if opened && self.open_member()? {
                continue;
            }
            // A value has ended, and with it perhaps those around it.
            loop {
                if self.open.is_empty() {
                    return Ok(());
                }
                if self.next_member()? {
                    break;
                }
            }
        }
    }

    /// Steps over a value without members, or into one that may have some.
    fn begin(&mut self) -> Result<bool, NotJson> {
        let start = self.at;
        let kind = match self.peek().ok_or(NotJson)? {
            b'"' => {
                self.string()?;
                return Ok(false);
            }
            byte @ (b'{' | b'[') => {
                if self.open.len() == MAX_LEVELS {
                    return Err(NotJson);
                }
                self.at += 1;
                self.open.push(Open {
                    is_object: byte == b'{',
                    span: self.spans.len(),
                    keys: self.keys.len(),
                    count: 0,
                    many: None,
                });
                let is_object = byte == b'{';
                self.keep(start, if is_object { Kind::Object } else { Kind::Array });
                return Ok(true);
            }
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        };
        self.keep(start, kind);
        Ok(false)
    }

    /// Keeps where a value is that ends here, for all that is known yet.
    fn keep(&mut self, start: usize, kind: Kind) {
        self.spans.push(Span::new(start..self.at, kind));
    }

    /// Steps over a string, keeps where it is, and answers what it is.
    fn string(&mut self) -> Result<Kind, NotJson> {
        let start = self.at;
        let Quoted {
            kind,
            is_plain_ascii,
            end,
        } = quoted(self.bytes, start)?;
        self.at = end;
        self.is_ascii &= is_plain_ascii;
        let span = Span::string(start..end, kind, is_plain_ascii);
        self.spans.push(span);
        Ok(kind)
    }

    fn word(&mut self, word: &[u8]) -> Result<Kind, NotJson> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(Kind::Other)
    }

    /// Steps to the first member of what has just been opened, or closes it.
    fn open_member(&mut self) -> Result<bool, NotJson> {
        self.space();
        let end = if self.innermost()?.is_object {
            b'}'
        } else {
            b']'
        };
        if self.peek() == Some(end) {
            self.close();
            return Ok(false);
        }
        self.member()?;
        Ok(true)
    }

    /// Steps to the next member of what is open, or closes it.
    fn next_member(&mut self) -> Result<bool, NotJson> {
        self.space();
        let end = if self.innermost()?.is_object {
            b'}'
        } else {
            b']'
        };
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                self.member()?;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.close();
                Ok(false)
            }
            _ => Err(NotJson),
        }
    }

    fn innermost(&mut self) -> Result<&mut Open<'b>, NotJson> {
        self.open.last_mut().ok_or(NotJson)
    }

    fn close(&mut self) {
        self.at += 1;
        let Some(open) = self.open.pop() else {
            return;
        };
        self.keys.truncate(open.keys);
        let size = self.spans.len() - open.span;
        self.spans[open.span].close(self.at, size);
    }

    /// Steps to the value of a member.
    fn member(&mut self) -> Result<(), NotJson> {
        let mut key = None;
        if self.innermost()?.is_object {
            key = Some(self.key()?);
            self.space();
            self.step_over(b':')?;
            self.space();
        }
        self.innermost()?.count += 1;
        if let Some(key) = key {
            self.compare(key)?;
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Cow<'b, [u8]>, NotJson> {
        if self.peek() != Some(b'"') {
            return Err(NotJson);
        }
        let start = self.at;
        let kind = self.string()?;
        let inner = &self.bytes[start + 1..self.at - 1];
        if kind != Kind::Escaped {
            return Ok(Cow::Borrowed(inner));
        }
        let inner = std::str::from_utf8(inner).map_err(|_| NotJson)?;
        Ok(Cow::Owned(unescaped(inner).into_bytes()))
    }

    /// Holds a key to those that its object has already.
    fn compare(&mut self, key: Cow<'b, [u8]>) -> Result<(), NotJson> {
        let Some(open) = self.open.last_mut() else {
            return Err(NotJson);
        };
        let own = &self.keys[open.keys..];
        let twice = match &mut open.many {
            Some(many) => !many.insert(key.clone()),
            None => own.contains(&key),
        };
        if own.len() == FEW && open.many.is_none() {
            let all = own.iter().chain([&key]).cloned();
            open.many = Some(all.collect());
        }
        let too_many = open.count > MAX_MEMBERS;
        self.keys.push(key);
        if self.ambiguity.is_none() && (twice || too_many) {
            let is = if twice {
                Ambiguity::Twice
            } else {
                Ambiguity::TooMany
            };
            self.ambiguity = Some(is(self.pointer(twice)));
        }
        Ok(())
    }

    /// Where the scan is: the member under way, or what it is a member of. Cut
    /// to what an error tells.
    fn pointer(&self, of_member: bool) -> String {
        let levels = self.open.len() - usize::from(!of_member);
        let mut pointer = String::new();
        for (i, open) in self.open[..levels].iter().enumerate() {
            pointer.push('/');
            if open.is_object {
                let end = self
                    .open
                    .get(i + 1)
                    .map_or(self.keys.len(), |next| next.keys);
                let key = self.keys[..end].last().map(|key| key.as_ref());
                let key = String::from_utf8_lossy(key.unwrap_or_default());
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            } else {
                pointer.push_str(&(open.count - 1).to_string());
            }
        }
        match pointer.char_indices().nth(MAX_TOLD) {
            Some((end, _)) => format!("{}…", &pointer[..end]),
            None => pointer,
        }
    }

    fn number(&mut self) -> Result<Kind, NotJson> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let mut exponent = false;
        if let Some(b'e' | b'E') = self.peek() {
            exponent = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        if exponent || self.at - start > MAX_DIGITS {
            // Whoever parses the body later must not find it out of range.
            let number = &self.bytes[start..self.at];
            serde_json::from_slice::<serde_json::Value>(number).map_err(|_| NotJson)?;
        }
        Ok(Kind::Other)
    }

    /// Steps over one digit or more.
    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            Err(NotJson)
        } else {
            Ok(())
        }
    }
}
