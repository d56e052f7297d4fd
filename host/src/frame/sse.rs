//! Server-sent events, as WHATWG HTML section 9.2 has them parsed: lines end in
//! CRLF, LF or CR; a blank line ends an event; comments are not data; a byte
//! order mark at the start is skipped. Unlike a browser's parser this one gives
//! the last event even if its blank line is missing (apisix#13090), since an
//! upstream that was cut off is noticed by what the event says, and gives
//! events that have a name but no data.

use bytes::{Bytes, BytesMut};

use super::{Framed, TooLarge};
use crate::plugin::Frame;

/// Whether a `content-type` is that of server-sent events.
pub fn is_sse(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}

/// An incremental parser.
#[derive(Debug)]
pub struct Sse {
    limit: usize,
    /// The bytes of the event under way, all its lines.
    raw: BytesMut,
    /// Where in `raw` the line under way begins.
    line: usize,
    /// A CR ended the last line: an LF that follows belongs to it.
    after_cr: bool,
    started: bool,
    name: Option<String>,
    data: Vec<u8>,
    has_data: bool,
}

impl Sse {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            raw: BytesMut::new(),
            line: 0,
            after_cr: false,
            started: false,
            name: None,
            data: Vec::new(),
            has_data: false,
        }
    }

    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Framed>) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                self.take_trailing_lf(out);
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.raw.extend_from_slice(bytes);
                return self.within_limit();
            };
            self.raw.extend_from_slice(&bytes[..=end]);
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            // The LF of a CRLF that came together belongs to the frame's bytes.
            if self.after_cr && bytes.first() == Some(&b'\n') {
                self.raw.extend_from_slice(b"\n");
                self.after_cr = false;
                bytes = &bytes[1..];
            }
            self.within_limit()?;
            self.end_line(out);
        }
        Ok(())
    }

    pub fn finish(&mut self, out: &mut Vec<Framed>) {
        if self.line < self.raw.len() {
            self.end_line(out);
        }
        self.end_event(out);
    }

    pub fn held(&self) -> usize {
        self.raw.len()
    }

    fn within_limit(&self) -> Result<(), TooLarge> {
        if self.raw.len() > self.limit {
            Err(TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }

    /// A CRLF was split between two reads: its LF is nobody's line.
    fn take_trailing_lf(&mut self, out: &mut [Framed]) {
        if self.raw.is_empty()
            && let Some(last) = out.last_mut()
        {
            let mut raw = BytesMut::from(&last.raw[..]);
            raw.extend_from_slice(b"\n");
            last.raw = raw.freeze();
        } else {
            self.raw.extend_from_slice(b"\n");
            self.line = self.raw.len();
        }
    }

    /// Handles the line from `self.line` to the end of `raw`.
    fn end_line(&mut self, out: &mut Vec<Framed>) {
        let mut line = &self.raw[self.line..];
        while let [head @ .., b'\n' | b'\r'] = line {
            line = head;
        }
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            self.line = self.raw.len();
            self.end_event(out);
            return;
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => self.name = Some(String::from_utf8_lossy(value).into_owned()),
            // Comments, `id` and `retry` are for browsers.
            _ => {}
        }
        self.line = self.raw.len();
    }

    fn end_event(&mut self, out: &mut Vec<Framed>) {
        self.line = 0;
        let raw: Bytes = self.raw.split().freeze();
        let name = self.name.take().filter(|name| !name.is_empty());
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) || name.is_some() {
            out.push(Framed {
                frame: Frame { name, data },
                raw,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Event<'t> = (Option<&'t str>, &'t str);

    fn parsed(chunks: &[&[u8]]) -> Vec<(Option<String>, String)> {
        let mut sse = Sse::new(1 << 20);
        let mut out = Vec::new();
        for chunk in chunks {
            sse.push(chunk, &mut out).unwrap();
        }
        sse.finish(&mut out);
        let event = |f: Framed| (f.frame.name, String::from_utf8(f.frame.data).unwrap());
        out.into_iter().map(event).collect()
    }

    const CASES: &[(&str, &[Event<'static>])] = &[
        ("data: a\n\n", &[(None, "a")]),
        ("data:a\r\rdata: b\r\r", &[(None, "a"), (None, "b")]),
        (
            "event: x\r\ndata: a\r\n\r\n: note\r\n\r\ndata: b\r\n\r\n",
            &[(Some("x"), "a"), (None, "b")],
        ),
        ("data: a\ndata: b\n\n", &[(None, "a\nb")]),
        ("data\n\ndata\ndata\n\n", &[(None, ""), (None, "\n")]),
        ("\u{feff}data: é\n\n", &[(None, "é")]),
        ("data: last", &[(None, "last")]),
        ("data: last\n", &[(None, "last")]),
        (": ping\n\n\n\ndata:  two\n\n\n\n", &[(None, " two")]),
        ("event: ping\n\n", &[(Some("ping"), "")]),
        ("id: 1\nretry: 2\nfoo: 3\ndata: x\n\n", &[(None, "x")]),
        (
            "data: {\"t\":\"日本語😀\"}\r\n\r\n",
            &[(None, "{\"t\":\"日本語😀\"}")],
        ),
        ("", &[]),
    ];

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        for (text, expected) in CASES {
            let expected: Vec<_> = expected
                .iter()
                .map(|(n, d)| (n.map(str::to_owned), (*d).to_owned()))
                .collect();
            let bytes = text.as_bytes();
            assert_eq!(parsed(&[bytes]), expected, "{text:?}");
            for cut in 0..bytes.len() {
                let (a, b) = bytes.split_at(cut);
                assert_eq!(parsed(&[a, b]), expected, "{text:?} cut at {cut}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(parsed(&single), expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn the_bytes_of_all_frames_are_the_stream() {
        for (text, _) in CASES.iter().filter(|(text, expected)| {
            !expected.is_empty() && !text.contains(": note") && !text.starts_with(": ping")
        }) {
            let mut out = Vec::new();
            let mut sse = Sse::new(1 << 20);
            sse.push(text.as_bytes(), &mut out).unwrap();
            sse.finish(&mut out);
            let joined: Vec<u8> = out.iter().flat_map(|f| f.raw.to_vec()).collect();
            assert_eq!(String::from_utf8(joined).unwrap(), *text);
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut sse = Sse::new(16);
        let error = sse.push(b"data: 0123456789abcdef", &mut Vec::new());
        assert_eq!(error, Err(TooLarge { limit: 16 }));
    }

    #[test]
    fn vectors_of_the_corpus_hold() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/corpus/sse/sse-parser-vectors.json"
        );
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("not run: {path} is absent");
            return;
        };
        let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
        for vector in vectors.as_array().unwrap() {
            let chunks: Vec<&str> = vector["chunks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c.as_str().unwrap())
                .collect();
            // A byte order mark that was itself encoded twice is not one.
            if chunks
                .iter()
                .any(|chunk| chunk.contains("\u{ef}\u{bb}\u{bf}"))
            {
                continue;
            }
            let whole: Vec<&[u8]> = chunks.iter().map(|c| c.as_bytes()).collect();
            let once = parsed(&whole);
            let bytes = whole.concat();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(once, parsed(&single), "{}", vector["name"]);
            // Vectors tell of comments and retries too, which are not for us.
            let events = vector["expected"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|e| e["data"].is_string());
            let expected: Vec<_> = events
                .map(|e| {
                    (
                        e["event"].as_str().map(str::to_owned),
                        e["data"].as_str().unwrap().to_owned(),
                    )
                })
                .collect();
            // Ours gives an event whose blank line is missing, and one without
            // data; a browser does not.
            let ours: Vec<_> = once
                .iter()
                .filter(|event| expected.contains(event))
                .cloned()
                .collect();
            assert_eq!(ours, expected, "{}", vector["name"]);
            if once.len() > expected.len() {
                println!(
                    "{}: {:?} more than a browser gives",
                    vector["name"],
                    once.len() - expected.len()
                );
            }
        }
    }
}
