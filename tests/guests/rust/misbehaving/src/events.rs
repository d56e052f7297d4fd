//! Model events, in order and out of it, for the stages that return some.

use crate::fault::HUGE;
use crate::palisade::plugin::model::{Failure, Finish, FinishReason, Fragment, ModelEvent, Start};
use crate::plan::Plan;

/// The head of an answer of this plugin.
pub fn start() -> ModelEvent {
    ModelEvent::Start(Start {
        id: Some("misbehaving".to_owned()),
        model: Some("misbehaving".to_owned()),
        created: None,
    })
}

/// A piece of the only part of the only choice.
pub fn text(text: String) -> ModelEvent {
    ModelEvent::Text(Fragment {
        choice: 0,
        part: 0,
        text,
    })
}

/// The end of the only choice.
pub fn finish() -> ModelEvent {
    ModelEvent::Finish(Finish {
        choice: 0,
        reason: FinishReason::Stop,
        stop_sequence: None,
    })
}

/// An upstream that failed.
pub fn failure() -> ModelEvent {
    ModelEvent::Error(Failure {
        status: 502,
        kind: "misbehaving".to_owned(),
        code: None,
        message: "the upstream is said to have failed".to_owned(),
    })
}

/// What the plan lists.
pub fn listed(plan: &Plan) -> Vec<ModelEvent> {
    plan.events.iter().cloned().map(Into::into).collect()
}

/// Text events that are huge together.
pub fn huge(plan: &Plan) -> Vec<ModelEvent> {
    let count = plan.count_or(1).max(1);
    let length = plan.amount_or(HUGE) / count;
    (0..count).map(|_| text("x".repeat(length))).collect()
}

/// The same events, with each finish twice; one finish if there are no events.
pub fn finished_twice(events: Vec<ModelEvent>) -> Vec<ModelEvent> {
    if events.is_empty() {
        return vec![finish()];
    }
    let twice = |event: ModelEvent| match event {
        ModelEvent::Finish(_) => vec![event.clone(), event],
        _ => vec![event],
    };
    events.into_iter().flat_map(twice).collect()
}
