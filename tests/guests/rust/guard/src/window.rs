//! What is held back of one part: the end of its text, if that may be the
//! beginning of a word. Never longer than the longest word.

use crate::config::{Config, Head};

/// The text that has not been passed on.
#[derive(Default)]
pub struct Window {
    held: String,
}

/// What may be passed on.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    pub text: String,
    /// Whether a word was replaced.
    pub altered: bool,
    /// Whether a phrase to stop at follows; what comes after it is gone.
    pub stopped: bool,
}

impl Window {
    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Adds what has arrived.
    pub fn push(&mut self, config: &Config, text: &str) -> Passed {
        self.held.push_str(text);
        self.scan(config, false)
    }

    /// Gives up what is held back, because the part is over.
    pub fn release(&mut self, config: &Config) -> Passed {
        self.scan(config, true)
    }

    fn scan(&mut self, config: &Config, last: bool) -> Passed {
        let mut passed = Passed {
            text: String::new(),
            altered: false,
            stopped: false,
        };
        let mut rest = self.held.as_str();
        while let Some(first) = rest.chars().next() {
            let taken = match config.head(rest, last) {
                Head::Undecided => break,
                Head::Free => {
                    passed.text.push(first);
                    first.len_utf8()
                }
                Head::Redact(length) => {
                    passed.text.push_str(&config.replacement);
                    passed.altered = true;
                    length
                }
                Head::Stop => {
                    passed.stopped = true;
                    rest.len()
                }
            };
            rest = &rest[taken..];
        }
        self.held = rest.to_owned();
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::{Passed, Window};
    use crate::config::Config;

    /// What a client would see of these fragments.
    fn seen(config: &Config, fragments: &[&str]) -> Passed {
        let mut window = Window::default();
        let mut seen = Passed {
            text: String::new(),
            altered: false,
            stopped: false,
        };
        let mut add = |passed: Passed| {
            seen.text.push_str(&passed.text);
            seen.altered |= passed.altered;
            seen.stopped |= passed.stopped;
            passed.stopped
        };
        for fragment in fragments {
            if add(window.push(config, fragment)) {
                return seen;
            }
        }
        add(window.release(config));
        seen
    }

    #[test]
    fn what_is_seen_does_not_depend_on_how_the_text_was_cut() {
        let config: Config = serde_json::from_str(
            r#"{"redact": ["sec", "secret", "aab", "größe"], "stop-at": ["stop here"]}"#,
        )
        .unwrap();
        for text in [
            "a secret, a sector and a sec",
            "aaab aaaab secsecret",
            "die größe der größ",
            "no stop, no stop h, but stop here secret",
            "secre",
        ] {
            let whole = seen(&config, &[text]);
            for (first, _) in text.char_indices() {
                for (second, _) in text.char_indices().filter(|(at, _)| *at >= first) {
                    let cut = [&text[..first], &text[first..second], &text[second..]];
                    assert_eq!(seen(&config, &cut), whole, "{cut:?}");
                }
            }
        }
    }

    #[test]
    fn no_more_is_held_back_than_may_become_a_word() {
        let config: Config = serde_json::from_str(r#"{"redact": ["secret"]}"#).unwrap();
        let mut window = Window::default();
        assert_eq!(window.push(&config, "a sec").text, "a ");
        assert!(!window.is_empty());
        assert_eq!(window.push(&config, "tion").text, "section");
        assert!(window.is_empty());
    }
}
