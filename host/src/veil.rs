//! Keeping a secret out of what comes back from the server that it was sent to.
//!
//! Servers quote keys in their errors, and some echo all that they are sent.
//! A veil replaces each occurrence of one secret by asterisks, as many as it
//! has bytes, in header fields and in a body that comes in pieces. It knows the
//! secret as it was sent, percent-encoded, and with the slashes escaped as JSON
//! allows; it does not see one that was encoded otherwise or taken apart. So it
//! is a net beneath servers that err, and no defence against one that means to
//! give the secret away: such a server has it already.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http::{HeaderMap, HeaderValue};
use memchr::{memchr_iter, memmem::Finder};

use crate::secret::Secret;

/// The shortest secret that is looked for, in bytes. Those of providers have
/// more than thirty; a shorter one, such as the "unused" that a server of one's
/// own wants, may be a word of an answer.
const SHORTEST: usize = 16;

/// See the module.
#[derive(Clone)]
pub struct Veil {
    /// The secret in each of its forms.
    forms: Arc<[Finder<'static>]>,
    /// The end of what came last, which may be the beginning of the secret.
    held: Vec<u8>,
}

impl Veil {
    /// A veil over a secret; none if it is too short to be told from words.
    pub fn over(secret: &Secret) -> Option<Self> {
        let plain = secret.expose();
        if plain.len() < SHORTEST {
            return None;
        }
        let encoded = byte_serialize(plain.as_bytes()).collect();
        let mut texts = vec![plain.to_owned(), encoded, plain.replace('/', "\\/")];
        texts.sort_unstable();
        texts.dedup();
        let forms = texts.iter().map(|text| Finder::new(text).into_owned());
        Some(Self {
            forms: forms.collect(),
            held: Vec::new(),
        })
    }

    /// Covers the secret in the values of header fields.
    pub fn headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            if let Some(covered) = self.covered(value.as_bytes())
                && let Ok(covered) = HeaderValue::from_bytes(&covered)
            {
                *value = covered;
            }
        }
    }

    /// The next piece of a body: what can be passed on of it and of what was
    /// held back. Nothing is held back but the beginning of the secret.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        let mut piece = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(&piece);
            std::mem::take(&mut self.held).into()
        };
        if let Some(covered) = self.covered(&piece) {
            piece = covered.into();
        }
        let begun = self.forms.iter().map(|form| begun(&piece, form.needle()));
        let begun = begun.max().unwrap_or_default();
        self.held = piece.split_off(piece.len() - begun).into();
        piece
    }

    /// What was held back when the body is over.
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }

    /// The bytes with the secret covered; none if it is not there.
    fn covered(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut covered: Option<Vec<u8>> = None;
        for form in self.forms.iter() {
            for at in form.find_iter(bytes) {
                let bytes = covered.get_or_insert_with(|| bytes.to_vec());
                bytes[at..at + form.needle().len()].fill(b'*');
            }
        }
        covered
    }
}

impl fmt::Debug for Veil {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("[veil]")
    }
}

/// How many bytes at the end are a beginning of the text, and not all of it.
fn begun(bytes: &[u8], text: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(text.len() - 1);
    let mut starts = memchr_iter(text[0], &bytes[from..]);
    let start = starts.find(|start| text.starts_with(&bytes[from + start..]));
    start.map_or(0, |start| bytes.len() - from - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-canary/0123+456789";

    fn veil() -> Veil {
        Veil::over(&Secret::new(KEY)).unwrap()
    }

    /// What comes through in pieces.
    fn through(pieces: &[&[u8]]) -> String {
        let mut veil = veil();
        let mut all = Vec::new();
        for piece in pieces {
            all.extend_from_slice(&veil.pass(Bytes::copy_from_slice(piece)));
        }
        all.extend_from_slice(&veil.rest());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn a_secret_is_covered_wherever_it_is_cut() {
        let text = format!("Incorrect key: {KEY}, {KEY}{KEY}.");
        let covered = text.replace(KEY, &"*".repeat(KEY.len()));
        for cut in 0..=text.len() {
            let (a, b) = text.as_bytes().split_at(cut);
            assert_eq!(through(&[a, b]), covered, "{cut}");
        }
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        assert_eq!(through(&bytes), covered);
    }

    #[test]
    fn other_ways_to_write_it_are_known() {
        let said =
            through(&[b"/v1?key=sk-canary%2F0123%2B456789&x {\"k\":\"sk-canary\\/0123+456789\"}"]);
        assert!(!said.contains("canary"), "{said}");
    }

    #[test]
    fn what_only_begins_like_it_is_whole() {
        for text in ["sk-canary/0123+45678", "s", "sk-ssk-canary", ""] {
            assert_eq!(through(&[text.as_bytes()]), text);
        }
        let mut veil = veil();
        assert_eq!(veil.pass("data: x\n\n".into()), "data: x\n\n");
        assert_eq!(veil.pass("an s".into()), "an ");
        assert_eq!(veil.pass("entence".into()), "sentence");
    }

    #[test]
    fn header_fields_are_covered() {
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", format!("Bearer {KEY}").parse().unwrap());
        veil().headers(&mut headers);
        assert_eq!(headers["x-echo"], "Bearer *********************");
    }

    #[test]
    fn a_word_is_no_secret() {
        assert!(Veil::over(&Secret::new("not-needed")).is_none());
    }
}
