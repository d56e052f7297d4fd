//! The configuration, and what a text begins with in its view.

use serde::Deserialize;

/// See `lib.rs`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    redact: Vec<String>,
    #[serde(default = "redacted")]
    pub replacement: String,
    #[serde(default)]
    stop_at: Vec<String>,
    #[serde(default)]
    pub drop_reasoning: bool,
    #[serde(default)]
    pub drop_other: bool,
}

fn redacted() -> String {
    "[redacted]".to_owned()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            redact: Vec::new(),
            replacement: redacted(),
            stop_at: Vec::new(),
            drop_reasoning: false,
            drop_other: false,
        }
    }
}

/// What a text begins with.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// No word.
    Free,
    /// What may become a word, or a longer one than it is, when more arrives.
    Undecided,
    /// A word to replace, of so many bytes.
    Redact(usize),
    /// A phrase to stop at.
    Stop,
}

impl Config {
    /// A pointer to the first word that is empty, which would match anywhere.
    pub fn empty(&self) -> Option<String> {
        let lists = [("redact", &self.redact), ("stop-at", &self.stop_at)];
        lists.iter().find_map(|(name, list)| {
            let index = list.iter().position(String::is_empty)?;
            Some(format!("/{name}/{index}"))
        })
    }

    /// What `text` begins with. If `last`, no more text will come, and nothing
    /// is undecided. A phrase to stop at comes before a word to replace, and a
    /// longer word before a shorter one, so that the outcome is that of the
    /// whole text however it was cut.
    pub fn head(&self, text: &str, last: bool) -> Head {
        let all = || self.redact.iter().chain(&self.stop_at);
        if !last && all().any(|word| word.len() > text.len() && word.starts_with(text)) {
            return Head::Undecided;
        }
        if self
            .stop_at
            .iter()
            .any(|phrase| text.starts_with(phrase.as_str()))
        {
            return Head::Stop;
        }
        let found = self
            .redact
            .iter()
            .filter(|word| text.starts_with(word.as_str()));
        found
            .map(String::len)
            .max()
            .map_or(Head::Free, Head::Redact)
    }
}
