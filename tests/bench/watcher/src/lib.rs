//! The least that a filter of answers does: it looks at the text of each event
//! for a word, and passes on what does not hold it. It stands for a filter in
//! the benchmark, where what counts is that every event crosses into a sandbox
//! and back.

wit_bindgen::generate!({ path: "../../../wit/0.1.0", world: "answer-filter", generate_all });

use exports::palisade::plugin::event_filter::{
    Exchange, Guest, GuestSession, ModelEvent, Problem, Step,
};
use heap as _;
use palisade::plugin::types::{Denial, DenialKind};

/// No answer of the benchmark's upstream holds it.
const WORD: &str = "xylophone";

struct Watcher;

struct Session;

impl Guest for Watcher {
    type Session = Session;
}

impl GuestSession for Session {
    fn new(_: &Exchange) -> Self {
        Self
    }

    fn push(&self, events: Vec<ModelEvent>) -> Result<Step, Problem> {
        let stop = events.iter().any(holds_word).then(|| Denial {
            kind: DenialKind::Forbidden,
            reason: "word.present".into(),
            message: "the answer holds a word that it must not".into(),
            retry_after: None,
        });
        let emit = if stop.is_some() { Vec::new() } else { events };
        Ok(Step { emit, stop })
    }

    fn finish(&self) -> Result<Step, Problem> {
        Ok(Step {
            emit: Vec::new(),
            stop: None,
        })
    }
}

fn holds_word(event: &ModelEvent) -> bool {
    matches!(event, ModelEvent::Text(fragment) if fragment.text.contains(WORD))
}

export!(Watcher);
