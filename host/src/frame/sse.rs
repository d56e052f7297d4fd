//! Server-sent events, as WHATWG HTML section 9.2 has them parsed: lines end in
//! CRLF, LF or CR; a blank line ends an event; comments are not data; a byte
//! order mark at the start is skipped. Unlike a browser's parser this one gives
//! the last event even if its blank line is missing (apisix#13090), since an
//! upstream that was cut off is noticed by what the event says, and gives
//! events that have a name but no data.

use std::borrow::Cow;

use super::TooLarge;

/// Whether a `content-type` is that of server-sent events.
pub fn is_sse(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}

/// An event as it stands in a stream: most need no copy.
#[derive(Debug)]
pub struct Event<'s> {
    pub name: Option<Cow<'s, str>>,
    pub data: Cow<'s, [u8]>,
    /// All its bytes, the blank line included.
    pub raw: &'s [u8],
}

/// An incremental parser.
#[derive(Debug)]
pub struct Sse {
    limit: usize,
    /// The bytes that have come of the event under way.
    held: Vec<u8>,
    line: Line,
}

/// Where a parser is among the lines.
#[derive(Debug, Default)]
struct Line {
    /// Where in the event the line under way begins.
    start: usize,
    /// A CR ended the last line: an LF that follows belongs to it.
    after_cr: bool,
    /// The first event, which may begin with a byte order mark, is over.
    begun: bool,
    /// Where the event's first line ends, as long as there is no other: nearly
    /// all have one, which is not looked for again.
    only: Option<usize>,
}

impl Sse {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Vec::new(),
            line: Line::default(),
        }
    }

    /// Takes bytes as they arrive, and shows each event that they complete.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut show: impl FnMut(Event<'_>),
    ) -> Result<(), TooLarge> {
        if bytes.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.line.after_cr)
            && let Some(rest) = bytes.strip_prefix(b"\n")
        {
            // Nobody's line: it goes along with what follows.
            self.held.push(b'\n');
            self.line.start = self.held.len();
            bytes = rest;
        }
        if !self.held.is_empty() {
            let held = self.held.len();
            self.held.extend_from_slice(bytes);
            let Some(end) = self.line.end_of_event(&self.held, held) else {
                return self.within_limit(self.held.len());
            };
            bytes = &bytes[end - held..];
            let event = std::mem::take(&mut self.held);
            self.end_event(&event[..end], &mut show)?;
        }
        while let Some(end) = self.line.end_of_event(bytes, 0) {
            let (event, rest) = bytes.split_at(end);
            self.end_event(event, &mut show)?;
            bytes = rest;
        }
        self.held.extend_from_slice(bytes);
        self.within_limit(self.held.len())
    }

    /// The stream is over: shows the event whose blank line is missing.
    pub fn finish(&mut self, show: impl FnMut(Event<'_>)) {
        self.line.start = 0;
        let event = std::mem::take(&mut self.held);
        // It was within the limit when its last bytes came.
        let _ = self.end_event(&event, show);
    }

    /// How many of the bytes that have come belong to an event that is not
    /// complete.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn end_event(&mut self, raw: &[u8], show: impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        self.within_limit(raw.len())?;
        let is_first = !std::mem::replace(&mut self.line.begun, true);
        Event::of(raw, is_first, self.line.only.take()).map(show);
        Ok(())
    }

    fn within_limit(&self, length: usize) -> Result<(), TooLarge> {
        if length > self.limit {
            Err(TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

impl Line {
    /// Where the event ends that `bytes` begin with, of which those before
    /// `seen` have been looked at; none if it does not end in them.
    fn end_of_event(&mut self, bytes: &[u8], seen: usize) -> Option<usize> {
        let mut from = seen;
        while let Some(at) = memchr::memchr2(b'\n', b'\r', &bytes[from..]) {
            let (line, mut end) = (&bytes[self.start..from + at], from + at + 1);
            if bytes[end - 1] == b'\r' {
                match bytes.get(end) {
                    Some(b'\n') => end += 1,
                    next => self.after_cr = next.is_none(),
                }
            }
            let is_marked = !self.begun && self.start == 0 && line == BYTE_ORDER_MARK;
            if line.is_empty() || is_marked {
                self.start = 0;
                return Some(end);
            }
            self.only = (self.start == 0).then_some(from + at);
            (self.start, from) = (end, end);
        }
        None
    }
}

/// U+FEFF, which a stream may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<'s> Event<'s> {
    /// Reads the lines of an event; none if it has neither a name nor data.
    /// `only` is where its one line ends, of an event that has no other.
    fn of(raw: &'s [u8], is_first: bool, only: Option<usize>) -> Option<Self> {
        let mut name = None;
        let mut data: Option<Cow<'_, [u8]>> = None;
        let marked = raw.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first);
        let only = only.filter(|_| marked.is_none());
        let mut rest = match only {
            Some(end) => &raw[..end],
            None => marked.unwrap_or(raw),
        };
        while !rest.is_empty() {
            // An empty line is the end, or stands between CR and LF.
            let end = match only {
                Some(_) => rest.len(),
                None => memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()),
            };
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            let (field, value) = parts(line);
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match field {
                b"data" => match &mut data {
                    None => data = Some(value.into()),
                    Some(data) => {
                        let data = data.to_mut();
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                },
                b"event" => name = Some(String::from_utf8_lossy(value)),
                // Comments, `id` and `retry` are for browsers.
                _ => {}
            }
        }
        let name = name.filter(|name| !name.is_empty());
        (data.is_some() || name.is_some()).then(|| Self {
            name,
            data: data.unwrap_or_default(),
            raw,
        })
    }
}

/// The name and the value of a field; most are `data`.
fn parts(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = match line.starts_with(b"data:") {
        true => Some(4),
        false => memchr::memchr(b':', line),
    };
    match colon {
        Some(colon) => (&line[..colon], &line[colon + 1..]),
        None => (line, &line[line.len()..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'t> = (Option<&'t str>, &'t str);

    fn parsed(chunks: &[&[u8]]) -> Vec<(Option<String>, String)> {
        let mut sse = Sse::new(1 << 20);
        let mut out = Vec::new();
        for chunk in chunks {
            sse.push(chunk, |event| out.push(told(&event))).unwrap();
        }
        sse.finish(|event| out.push(told(&event)));
        out
    }

    fn told(event: &Event<'_>) -> (Option<String>, String) {
        let data = String::from_utf8(event.data.to_vec()).unwrap();
        (event.name.as_deref().map(str::to_owned), data)
    }

    const CASES: &[(&str, &[Expected<'static>])] = &[
        ("data: a\n\n", &[(None, "a")]),
        ("data:a\r\rdata: b\r\r", &[(None, "a"), (None, "b")]),
        (
            "event: x\r\ndata: a\r\n\r\n: note\r\n\r\ndata: b\r\n\r\n",
            &[(Some("x"), "a"), (None, "b")],
        ),
        ("data: a\ndata: b\n\n", &[(None, "a\nb")]),
        ("data\n\ndata\ndata\n\n", &[(None, ""), (None, "\n")]),
        ("\u{feff}data: é\n\n", &[(None, "é")]),
        (
            "\u{feff}\ndata: a\n\u{feff}\ndata: b\n\n",
            &[(None, "a\nb")],
        ),
        ("data: a\n\n\u{feff}data: b\n\n", &[(None, "a")]),
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
            // What says nothing is not shown, and its bytes neither.
            let silent = ["\u{feff}\n", "\n\u{feff}data", ": ping", ": note"];
            !expected.is_empty() && !silent.iter().any(|part| text.contains(part))
        }) {
            let mut joined = Vec::new();
            let mut sse = Sse::new(1 << 20);
            sse.push(text.as_bytes(), |event| joined.extend(event.raw))
                .unwrap();
            sse.finish(|event| joined.extend(event.raw));
            assert_eq!(String::from_utf8(joined).unwrap(), *text);
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut sse = Sse::new(16);
        let error = sse.push(b"data: 0123456789abcdef", |_| ());
        assert_eq!(error, Err(TooLarge { limit: 16 }));
        let mut sse = Sse::new(16);
        let error = sse.push(b"data: 0\n\ndata: 0123456789\n\n", |_| ());
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
