//! One answer: a window for each of its parts.
//!
//! Held text is passed on when its part must be over: at the next part of the
//! choice that begins, at the choice's finish, at an error, and at the end. So
//! events stay in order, and a word is not found if a new part begins in the
//! middle of it.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::exports::palisade::plugin::event_filter::Step;
use crate::palisade::plugin::model::{Fragment, ModelEvent};
use crate::palisade::plugin::types::{Denial, DenialKind};
use crate::window::{Passed, Window};

/// What makes a fragment an event again.
type Kind = fn(Fragment) -> ModelEvent;

/// Choice and part.
type Key = (u32, u32);

struct Part {
    kind: Kind,
    window: Window,
    /// Whether a word was replaced in it: its signature no longer holds then.
    altered: bool,
}

/// One answer.
pub struct Session {
    config: &'static Config,
    parts: BTreeMap<Key, Part>,
    emit: Vec<ModelEvent>,
    stopped: bool,
}

impl Session {
    pub fn new(config: &'static Config) -> Self {
        Self {
            config,
            parts: BTreeMap::new(),
            emit: Vec::new(),
            stopped: false,
        }
    }

    /// Takes what has arrived.
    pub fn push(&mut self, events: Vec<ModelEvent>) -> Step {
        for event in events {
            if self.stopped {
                break;
            }
            self.take(event);
        }
        self.step()
    }

    /// Passes on what is still held back.
    pub fn finish(&mut self) -> Step {
        self.release(|_| true);
        self.step()
    }

    fn step(&mut self) -> Step {
        Step {
            emit: std::mem::take(&mut self.emit),
            stop: self.stopped.then(denial),
        }
    }

    fn take(&mut self, event: ModelEvent) {
        match event {
            ModelEvent::Reasoning(_) | ModelEvent::ReasoningSignature(_)
                if self.config.drop_reasoning => {}
            ModelEvent::Other(_) if self.config.drop_other => {}
            ModelEvent::Text(fragment) => self.take_fragment(ModelEvent::Text, fragment),
            ModelEvent::Reasoning(fragment) => self.take_fragment(ModelEvent::Reasoning, fragment),
            ModelEvent::Refusal(fragment) => self.take_fragment(ModelEvent::Refusal, fragment),
            ModelEvent::ToolArguments(fragment) => {
                self.take_fragment(ModelEvent::ToolArguments, fragment);
            }
            ModelEvent::ReasoningSignature(ref signature) => {
                let key = (signature.choice, signature.part);
                self.release(|other| other == key);
                if self.parts.get(&key).is_none_or(|part| !part.altered) {
                    self.pass(event);
                }
            }
            ModelEvent::ToolCall(ref call) => {
                let choice = call.choice;
                self.release(|(other, _)| other == choice);
                self.pass(event);
            }
            ModelEvent::Finish(ref finish) => {
                let choice = finish.choice;
                self.release(|(other, _)| other == choice);
                self.pass(event);
            }
            ModelEvent::Error(_) => {
                self.release(|_| true);
                self.pass(event);
            }
            ModelEvent::Start(_) | ModelEvent::Usage(_) | ModelEvent::Other(_) => self.pass(event),
        }
    }

    fn take_fragment(&mut self, kind: Kind, fragment: Fragment) {
        let key = (fragment.choice, fragment.part);
        if !self.parts.contains_key(&key) {
            self.release(|(other, _)| other == key.0);
            self.parts.insert(
                key,
                Part {
                    kind,
                    window: Window::default(),
                    altered: false,
                },
            );
        }
        let Some(part) = self.parts.get_mut(&key).filter(|_| !self.stopped) else {
            return;
        };
        let held = !part.window.is_empty();
        let passed = part.window.push(self.config, &fragment.text);
        let untouched = !held && !passed.altered && !passed.stopped && part.window.is_empty();
        if untouched {
            // The host sends the bytes that an unchanged event came in.
            self.pass(kind(fragment));
        } else {
            self.pass_on(key, passed);
        }
    }

    /// Passes on what is held back of the parts that `over` names, in their
    /// order, until a phrase stops the answer.
    fn release(&mut self, over: impl Fn(Key) -> bool) {
        let keys: Vec<Key> = self
            .parts
            .keys()
            .copied()
            .filter(|key| over(*key))
            .collect();
        for key in keys {
            if self.stopped {
                return;
            }
            if let Some(part) = self.parts.get_mut(&key) {
                let passed = part.window.release(self.config);
                self.pass_on(key, passed);
            }
        }
    }

    fn pass_on(&mut self, key: Key, passed: Passed) {
        let Some(part) = self.parts.get_mut(&key) else {
            return;
        };
        part.altered |= passed.altered;
        if !passed.text.is_empty() {
            let (choice, part_number) = key;
            let fragment = Fragment {
                choice,
                part: part_number,
                text: passed.text,
            };
            self.emit.push((part.kind)(fragment));
        }
        self.stopped |= passed.stopped;
    }

    fn pass(&mut self, event: ModelEvent) {
        if !self.stopped {
            self.emit.push(event);
        }
    }
}

fn denial() -> Denial {
    Denial {
        kind: DenialKind::Forbidden,
        reason: "guard.stopped".to_owned(),
        message: "the answer held a phrase that is not allowed".to_owned(),
        retry_after: None,
    }
}
