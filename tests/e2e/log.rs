//! What the process logs, at every level, as far as a test looks at it: the
//! gateway's own lines are kept, and every line is searched for canaries.
//!
//! A canary is a secret that must not be seen. It is looked for as it is, in
//! base64 at each of the three places where its bytes may fall, and
//! percent-encoded.

use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// What a canary is found by.
pub const CANARY: &str = "canary-Zq7/wX+4vB9nT2kLm";

/// The gateway's lines, and those with a canary.
#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    canaries: Vec<String>,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    lines: Vec::new(),
    canaries: Vec::new(),
});

struct Searched;

impl Write for Searched {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if shows_canary(&line) {
            kept.canaries.push(line.clone());
        }
        if line.contains("palisade") {
            kept.lines.push(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Searched {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// Begins to listen, for all tests of this process.
pub fn listen() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // What the compiler says of a component is much, and knows no secret.
        let filter = Targets::new()
            .with_default(LevelFilter::TRACE)
            .with_target("cranelift", LevelFilter::OFF)
            .with_target("wasmtime", LevelFilter::OFF);
        let text = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(Searched);
        let registry = tracing_subscriber::registry().with(text).with(filter);
        tracing::subscriber::set_global_default(registry).expect("no other subscriber");
    });
}

/// Waits for a line that holds all of these.
pub async fn logged(words: &[&str]) -> bool {
    for _ in 0..100 {
        let found = {
            let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            let has = |line: &String| words.iter().all(|word| line.contains(word));
            kept.lines.iter().any(has)
        };
        if found {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// The lines that held a canary.
pub fn canaries() -> Vec<String> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.canaries.clone()
}

/// Whether a text shows a canary, in any form.
pub fn shows_canary(text: &str) -> bool {
    static FORMS: OnceLock<Vec<String>> = OnceLock::new();
    let forms = FORMS.get_or_init(|| {
        let mut forms = vec![
            CANARY.to_owned(),
            CANARY.replace('/', "%2F").replace('+', "%2B"),
            CANARY.replace('/', "\\/"),
        ];
        // What stands before the secret moves its bits; what is the same for
        // all that may stand there is in the middle.
        for before in 0..3 {
            let moved = [vec![0; before], CANARY.as_bytes().to_vec()].concat();
            let encoded = base64(&moved);
            forms.push(encoded[4..encoded.len() - 4].to_owned());
        }
        forms
    });
    forms.iter().any(|form| text.contains(form.as_str()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .chain([&0; 2])
            .take(3)
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let digit = |shift: usize| char::from(DIGITS[bits >> shift & 63]);
        text.extend([digit(18), digit(12), digit(6), digit(0)]);
    }
    text
}

#[test]
fn a_canary_is_seen_in_every_form() {
    // By `base64` of coreutils.
    assert_eq!(base64(b"Bearer x"), "QmVhcmVyIHgA");
    for prefix in ["", "a", "ab", "abc"] {
        let text = format!("{prefix}{CANARY} and more");
        assert!(shows_canary(&text));
        assert!(shows_canary(&base64(text.as_bytes())), "{prefix}");
    }
    assert!(shows_canary("key=canary-Zq7%2FwX%2B4vB9nT2kLm&"));
    assert!(!shows_canary("canary"));
}
