//! What every sequence of events must be, whatever a decoder makes of an
//! upstream: one `start` first, nothing for a choice after its one `finish`
//! but usage, nothing at all after an error, and an error if a choice never
//! finished. It also keeps count of tokens.

use std::collections::BTreeMap;

use crate::event::{Failure, FinishReason, ModelEvent, Start, Usage};

/// The most choices that an answer may have; OpenAI allows 128.
const MAX_CHOICES: usize = 1024;

#[derive(Debug, Default)]
pub struct Ledger {
    started: bool,
    failed: bool,
    /// Choices that have begun, and whether they have finished.
    choices: BTreeMap<u32, Progress>,
    usage: Option<Usage>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    finished: bool,
    called_tools: bool,
}

impl Ledger {
    /// Lets through what has its place in the sequence.
    pub fn admit(&mut self, events: Vec<ModelEvent>) -> Vec<ModelEvent> {
        let mut out = Vec::with_capacity(events.len() + 1);
        for event in events {
            if self.failed {
                break;
            }
            if let Some(event) = self.admitted(event) {
                if !std::mem::replace(&mut self.started, true)
                    && !matches!(event, ModelEvent::Start(_) | ModelEvent::Error(_))
                {
                    out.push(ModelEvent::Start(Start {
                        id: None,
                        model: None,
                        created: None,
                    }));
                }
                out.push(event);
            }
        }
        out
    }

    fn admitted(&mut self, event: ModelEvent) -> Option<ModelEvent> {
        let choice = match &event {
            ModelEvent::Start(_) => return (!self.started).then_some(event),
            ModelEvent::Usage(usage) => {
                self.count(usage);
                return Some(event);
            }
            ModelEvent::Error(_) => {
                self.failed = true;
                return Some(event);
            }
            ModelEvent::Other(_) => return Some(event),
            ModelEvent::Text(f)
            | ModelEvent::Reasoning(f)
            | ModelEvent::ReasoningSignature(f)
            | ModelEvent::Refusal(f)
            | ModelEvent::ToolArguments(f) => f.choice,
            ModelEvent::ToolCall(call) => call.choice,
            ModelEvent::Finish(finish) => finish.choice,
        };
        if self.choices.len() >= MAX_CHOICES && !self.choices.contains_key(&choice) {
            return None;
        }
        let progress = self.choices.entry(choice).or_default();
        if progress.finished {
            return None;
        }
        match event {
            ModelEvent::ToolCall(_) => progress.called_tools = true,
            ModelEvent::Finish(mut finish) => {
                progress.finished = true;
                // Some servers say "stop" though they called a tool (vercel/ai#12218).
                if finish.reason == FinishReason::Stop && progress.called_tools {
                    finish.reason = FinishReason::ToolCalls;
                }
                return Some(ModelEvent::Finish(finish));
            }
            _ => {}
        }
        Some(event)
    }

    /// Totals replace earlier ones, field by field.
    fn count(&mut self, new: &Usage) {
        let Some(known) = &mut self.usage else {
            self.usage = Some(*new);
            return;
        };
        known.input_tokens = new.input_tokens.or(known.input_tokens);
        known.output_tokens = new.output_tokens.or(known.output_tokens);
    }

    /// Whether every choice that began has finished.
    pub fn is_complete(&self) -> bool {
        !self.choices.is_empty() && self.choices.values().all(|progress| progress.finished)
    }

    /// The answer is over. An answer in which nothing finished was cut off,
    /// and so was a choice that did not finish.
    pub fn close(&mut self) -> Option<ModelEvent> {
        if self.failed || self.is_complete() {
            return None;
        }
        self.failed = true;
        Some(ModelEvent::Error(Failure {
            status: 502,
            kind: "upstream_truncated".to_owned(),
            code: None,
            message: "the upstream ended its answer before it was finished".to_owned(),
        }))
    }

    pub fn tokens(&self) -> (Option<u64>, Option<u64>) {
        let usage = self.usage.as_ref();
        (
            usage.and_then(|u| u.input_tokens),
            usage.and_then(|u| u.output_tokens),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Finish, Fragment, ToolCall};

    fn text(choice: u32, text: &str) -> ModelEvent {
        ModelEvent::Text(Fragment {
            choice,
            part: 0,
            text: text.to_owned(),
        })
    }

    fn finish(choice: u32, reason: FinishReason) -> ModelEvent {
        ModelEvent::Finish(Finish {
            choice,
            reason,
            stop_sequence: None,
        })
    }

    fn start() -> ModelEvent {
        ModelEvent::Start(Start {
            id: None,
            model: None,
            created: None,
        })
    }

    #[test]
    fn a_sequence_is_put_in_order() {
        let mut ledger = Ledger::default();
        let got = ledger.admit(vec![
            text(0, "a"),
            start(),
            finish(0, FinishReason::Stop),
            finish(0, FinishReason::Length),
            text(0, "late"),
        ]);
        assert_eq!(got, [start(), text(0, "a"), finish(0, FinishReason::Stop)]);
        assert_eq!(ledger.close(), None);
    }

    #[test]
    fn a_choice_that_did_not_finish_was_cut_off() {
        let mut ledger = Ledger::default();
        ledger.admit(vec![
            text(0, "a"),
            finish(0, FinishReason::Stop),
            text(1, "b"),
        ]);
        assert!(matches!(ledger.close(), Some(ModelEvent::Error(_))));
        assert_eq!(ledger.close(), None, "told once");
        assert!(
            Ledger::default().close().is_some(),
            "an empty answer is none"
        );
    }

    #[test]
    fn stop_after_a_tool_call_waits_for_its_result() {
        let call = ToolCall {
            choice: 0,
            part: 0,
            id: "c".into(),
            name: "f".into(),
        };
        let got = Ledger::default().admit(vec![
            start(),
            ModelEvent::ToolCall(call),
            finish(0, FinishReason::Stop),
        ]);
        assert_eq!(got[2], finish(0, FinishReason::ToolCalls));
    }

    #[test]
    fn nothing_follows_an_error() {
        let error = ModelEvent::Error(Failure {
            status: 529,
            kind: "overloaded_error".into(),
            code: None,
            message: "Overloaded".into(),
        });
        let mut ledger = Ledger::default();
        let got = ledger.admit(vec![
            text(0, "a"),
            error.clone(),
            finish(0, FinishReason::Stop),
        ]);
        assert_eq!(got, [start(), text(0, "a"), error]);
        assert!(ledger.admit(vec![text(0, "b")]).is_empty());
        assert_eq!(ledger.close(), None);
    }
}
