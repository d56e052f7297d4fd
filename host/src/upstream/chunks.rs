//! The data of a chunked body (RFC 9112, section 7.1), all that has come at
//! once.

use httparse::Status;

/// The longest line with a chunk's size that is read here, in bytes: sixteen
/// digits and what ends them.
const MAX_LINE: usize = 18;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Whether a chunk is under way: the line break after its data has not come.
    within: bool,
    /// Bytes of its data that have not come.
    left: u64,
}

/// What stands at the end of the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'b> {
    /// The beginning of what separates two chunks, maybe nothing of it.
    More(&'b [u8]),
    /// The last chunk, or a line that is not like most: from here on the body
    /// is someone else's to read.
    Line(&'b [u8]),
    /// No line break.
    Broken,
}

impl Chunks {
    /// Whether a chunk is under way.
    pub fn is_within(&self) -> bool {
        self.within
    }

    /// Appends the data in `bytes` to `data`. What is left comes again, with
    /// what follows it.
    pub fn decode<'b>(&mut self, mut bytes: &'b [u8], data: &mut Vec<u8>) -> Next<'b> {
        loop {
            if self.within {
                let most = usize::try_from(self.left).unwrap_or(usize::MAX);
                let (here, rest) = bytes.split_at(most.min(bytes.len()));
                data.extend_from_slice(here);
                self.left -= here.len() as u64;
                bytes = match rest {
                    _ if self.left > 0 => return Next::More(rest),
                    [b'\r', b'\n', rest @ ..] => rest,
                    [] | [b'\r'] => return Next::More(rest),
                    _ => return Next::Broken,
                };
                self.within = false;
            }
            match httparse::parse_chunk_size(bytes) {
                Ok(Status::Complete((line, size))) if size > 0 && is_plain(&bytes[..line]) => {
                    bytes = &bytes[line..];
                    (self.within, self.left) = (true, size);
                }
                Ok(Status::Partial) if bytes.len() < MAX_LINE => return Next::More(bytes),
                _ => return Next::Line(bytes),
            }
        }
    }
}

/// Whether a line is like most. What may stand in an extension is not checked
/// by who reads the size.
fn is_plain(line: &[u8]) -> bool {
    line.len() <= MAX_LINE && !line.contains(&b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is decoded of `bytes`, which come in two reads, and what stands at
    /// the end: `+` and the rest, `=` and the line, or `!`.
    fn decoded(bytes: &[u8], first: usize) -> (String, String) {
        let (mut chunks, mut data) = (Chunks::default(), Vec::new());
        let (first, second) = bytes.split_at(first);
        let again = match chunks.decode(first, &mut data) {
            Next::More(rest) => [rest, second].concat(),
            // What comes then is not looked at any more.
            _ => {
                (chunks, data) = (Chunks::default(), Vec::new());
                bytes.to_vec()
            }
        };
        let next = match chunks.decode(&again, &mut data) {
            Next::More(rest) => format!("+{}", String::from_utf8_lossy(rest)),
            Next::Line(line) => format!("={}", String::from_utf8_lossy(line)),
            Next::Broken => "!".to_owned(),
        };
        (String::from_utf8(data).unwrap(), next)
    }

    #[test]
    fn chunks_are_data_however_they_come() {
        let cases = [
            ("", "", "+"),
            ("4\r\nword\r\n", "word", "+"),
            ("4\r\nword\r\n0\r\n\r\n", "word", "=0\r\n\r\n"),
            (
                "4\r\nword\r\n2\r\n, \r\nA\r\nand anothe",
                "word, and anothe",
                "+",
            ),
            ("000c\r\nabcdefghijkl\r\n1", "abcdefghijkl", "+1"),
            (
                "1\r\na\r\n1\r\nb\r\n0\r\nx: y\r\n\r\nmore",
                "ab",
                "=0\r\nx: y\r\n\r\nmore",
            ),
            ("1 \r\na\r\n00\r\n\r\n", "a", "=00\r\n\r\n"),
            ("1\r\na\r\n1;a=b\r\nb\r\n", "a", "=1;a=b\r\nb\r\n"),
            ("1\r\na\r\n1;\na\r\nb\r\n", "a", "=1;\na\r\nb\r\n"),
            (
                "1\r\na\r\n1;extension=longer\r\nb\r\n",
                "a",
                "=1;extension=longer\r\nb\r\n",
            ),
            ("1\r\na\r\n\r\n", "a", "=\r\n"),
            ("1\r\na\r\nx\r\n", "a", "=x\r\n"),
            ("1\r\na\r\n-1\r\n", "a", "=-1\r\n"),
            ("11111111111111111\r\n", "", "=11111111111111111\r\n"),
            ("fffffffffffffffe\r\nab", "ab", "+"),
            ("1\r\nab\r\n", "a", "!"),
            ("1\r\na\n1\r\n", "a", "!"),
        ];
        for (bytes, data, next) in cases {
            for first in 0..=bytes.len() {
                let expected = (data.to_owned(), next.to_owned());
                assert_eq!(
                    decoded(bytes.as_bytes(), first),
                    expected,
                    "{bytes:?}, {first}"
                );
            }
        }
    }
}
