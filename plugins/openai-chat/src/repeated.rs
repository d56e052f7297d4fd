//! Chunks that repeat the chunk before them but for their text.
//!
//! Nearly all of a stream is that: the same members with the same values, and
//! another piece of text. Once one chunk has been read as JSON and gave a piece
//! of text and nothing else, the next one is compared with it byte by byte, and
//! only its text is read. Where a byte differs the chunk is read as JSON.
//!
//! OpenAI pads each chunk with an `obfuscation` of another length, so that is
//! let differ too. It is nobody's message.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{Fragment, ModelEvent};

/// How many shapes in a row may be learnt in vain. A server whose chunks differ
/// each time (`logprobs`) is not looked at more often.
const MAX_VAIN: u32 = 3;

/// What is known of the last chunk.
#[derive(Clone, Debug, Default)]
pub struct Repeated {
    shape: Option<Shape>,
    /// Shapes that were learnt and that no chunk had.
    vain: u32,
}

#[derive(Clone, Debug)]
struct Shape {
    /// What stands before the text, its opening quote included.
    before: Vec<u8>,
    /// From the closing quote of the text to the opening quote of the padding,
    /// or to the end.
    between: Vec<u8>,
    /// From the closing quote of the padding; none if there is no padding.
    after: Option<Vec<u8>>,
    /// The event, without its text.
    event: ModelEvent,
    met: bool,
}

impl Repeated {
    /// The event of a chunk that repeats the last one; none if the chunk has to
    /// be read. A text that is empty makes no event.
    pub fn read(&mut self, chunk: &[u8]) -> Option<Option<ModelEvent>> {
        let shape = self.shape.as_mut()?;
        let Some(text) = shape.text(chunk) else {
            self.vain = if shape.met { 0 } else { self.vain + 1 };
            self.shape = None;
            return None;
        };
        shape.met = true;
        let mut event = shape.event.clone();
        if let Some(fragment) = fragment(&mut event) {
            fragment.text = text;
        }
        Some(has_text(&mut event).then_some(event))
    }

    /// Learns from a chunk that was read, and from what was made of it.
    pub fn learn(&mut self, chunk: &[u8], events: &[ModelEvent]) {
        self.shape = match events {
            [event] if self.vain < MAX_VAIN => Shape::of(chunk, event.clone()),
            _ => None,
        };
    }
}

impl Shape {
    fn of(chunk: &[u8], mut event: ModelEvent) -> Option<Self> {
        let text = std::mem::take(&mut fragment(&mut event)?.text);
        let read: Chunk = serde_json::from_slice(chunk).ok()?;
        let [Choice { delta: Some(delta) }] = &read.choices[..] else {
            return None;
        };
        let texts = [delta.content, delta.reasoning_content, delta.reasoning];
        let said = |raw: &&RawValue| raw.get().starts_with('"') && raw.get() != "\"\"";
        let mut texts = texts.into_iter().flatten().filter(said);
        let (Some(raw), None) = (texts.next(), texts.next()) else {
            return None;
        };
        // A shape in whose place another text stood would be wrong ever after.
        if serde_json::from_str::<String>(raw.get()).ok()? != text {
            return None;
        }
        let (before, rest) = around(chunk, raw)?;
        let padding = read.obfuscation.filter(|raw| raw.get().starts_with('"'));
        let (between, after) = match padding {
            Some(raw) => around(rest, raw).map(|(between, after)| (between, Some(after)))?,
            None => (rest, None),
        };
        Some(Self {
            before: before.to_vec(),
            between: between.to_vec(),
            after: after.map(<[u8]>::to_vec),
            event,
            met: false,
        })
    }

    /// The text of a chunk of this shape.
    fn text(&self, chunk: &[u8]) -> Option<String> {
        let (text, rest) = string(past(chunk, &self.before)?)?;
        let rest = past(rest, &self.between)?;
        let rest = match &self.after {
            Some(after) => past(string(rest)?.1, after)?,
            None => rest,
        };
        rest.is_empty().then_some(text)
    }
}

/// The members of a chunk that tell its shape.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow)]
    obfuscation: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
}

/// What follows a beginning; none if it begins otherwise. `strip_prefix` goes
/// byte by byte in WebAssembly, and this is most of a chunk.
fn past<'c>(chunk: &'c [u8], beginning: &[u8]) -> Option<&'c [u8]> {
    let (begins, rest) = chunk.split_at_checked(beginning.len())?;
    let (blocks, end) = begins.as_chunks::<16>();
    let (expected, expected_end) = beginning.as_chunks::<16>();
    let word = |block: &[u8; 16]| u128::from_ne_bytes(*block);
    let mut blocks = blocks.iter().zip(expected);
    let is_same = blocks.all(|(one, other)| word(one) == word(other)) && end == expected_end;
    is_same.then_some(rest)
}

/// What stands before a string in `chunk`, with its opening quote, and after
/// it, with its closing one. `raw` is a part of the same buffer.
fn around<'c>(chunk: &'c [u8], raw: &RawValue) -> Option<(&'c [u8], &'c [u8])> {
    let start = (raw.get().as_ptr() as usize).checked_sub(chunk.as_ptr() as usize)?;
    let end = start + raw.get().len();
    Some((chunk.get(..=start)?, chunk.get(end - 1..)?))
}

/// A string of JSON without its opening quote: its text, and what follows from
/// its closing quote on.
fn string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut end = 0;
    let mut is_plain = true;
    loop {
        match bytes.get(end)? {
            b'"' => break,
            b'\\' => {
                is_plain = false;
                end += 2;
            }
            byte if *byte < b' ' => return None,
            _ => end += 1,
        }
    }
    let (inner, rest) = bytes.split_at(end);
    let text = if is_plain {
        std::str::from_utf8(inner).ok()?.to_owned()
    } else {
        let quoted = [b"\"", inner, b"\""].concat();
        serde_json::from_slice(&quoted).ok()?
    };
    Some((text, rest))
}

fn fragment(event: &mut ModelEvent) -> Option<&mut Fragment> {
    match event {
        ModelEvent::Text(fragment) | ModelEvent::Reasoning(fragment) => Some(fragment),
        _ => None,
    }
}

fn has_text(event: &mut ModelEvent) -> bool {
    fragment(event).is_some_and(|fragment| !fragment.text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decoder;

    /// Whether the second chunk was read by the shape of the first, and what a
    /// decoder makes of both, which is the same for one that learns nothing.
    fn repeats(first: &str, second: &str) -> bool {
        let mut decoder = Decoder::new(200, true);
        let head = br#"{"id":"a","choices":[{"index":0,"delta":{"role":"assistant"}}]}"#;
        decoder.push(None, head);
        let mut fresh = decoder.clone();
        let events = decoder.push(None, first.as_bytes());
        fresh.push(None, first.as_bytes());
        fresh.forget();
        let mut repeated = Repeated::default();
        repeated.learn(first.as_bytes(), &events);
        let read = repeated.read(second.as_bytes());
        let told = decoder.push(None, second.as_bytes());
        assert_eq!(told, fresh.push(None, second.as_bytes()), "{second}");
        if let Some(event) = &read {
            assert_eq!(&told, &Vec::from_iter(event.clone()), "{second}");
        }
        read.is_some()
    }

    #[test]
    fn only_the_text_may_differ() {
        let chunk = |text: &str| {
            format!(
                r#"{{"id":"a","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}],"usage":null}}"#
            )
        };
        let first = chunk("one");
        for text in [
            "two",
            "",
            r#"\"quoted\" \u00e9 \\"#,
            "é",
            "{}",
            r"\ud83d\ude00",
        ] {
            assert!(repeats(&first, &chunk(text)), "{text}");
        }
        for text in ["\n", r"\x", r"\ud83d", r#"","role":"user"#, r"\"] {
            assert!(!repeats(&first, &chunk(text)), "{text}");
        }
        let others = [
            first.replace(r#""id":"a""#, r#""id":"b""#),
            first.replace("null}]", r#""stop"}]"#),
            first.replace(r#""index":0"#, r#""index":1"#),
            first.replace("null}", r#"{"prompt_tokens":1}}"#),
            first[..first.len() - 1].to_owned(),
            format!("{first} x"),
            "[DONE]".to_owned(),
        ];
        for other in others {
            assert!(!repeats(&first, &other), "{other}");
        }
    }

    #[test]
    fn padding_may_differ_and_reasoning_repeats_too() {
        let padded = |text: &str, padding: &str| {
            format!(
                r#"{{"id":"a","choices":[{{"delta":{{"content":"{text}"}}}}],"obfuscation":"{padding}"}}"#
            )
        };
        assert!(repeats(&padded("a", "xyz"), &padded("b", "x")));
        assert!(!repeats(&padded("a", "xyz"), &padded("b", "x\",\"c\":\"d")));
        let thinks = |text: &str| {
            format!(r#"{{"choices":[{{"delta":{{"content":"","reasoning":"{text}"}}}}]}}"#)
        };
        assert!(repeats(&thinks("a"), &thinks("b")));
        let both = |text: &str| {
            format!(r#"{{"choices":[{{"delta":{{"content":"c","reasoning":"{text}"}}}}]}}"#)
        };
        assert!(!repeats(&both("a"), &both("b")), "two events");
    }

    #[test]
    fn chunks_that_never_repeat_are_soon_left_alone() {
        let chunk =
            |number: u32| format!(r#"{{"n":{number},"choices":[{{"delta":{{"content":"x"}}}}]}}"#);
        let text = ModelEvent::Text(Fragment {
            choice: 0,
            part: 0,
            text: "x".into(),
        });
        let mut repeated = Repeated::default();
        for number in 0..9 {
            assert_eq!(repeated.read(chunk(number).as_bytes()), None);
            repeated.learn(chunk(number).as_bytes(), std::slice::from_ref(&text));
        }
        assert!(repeated.shape.is_none());
    }
}
