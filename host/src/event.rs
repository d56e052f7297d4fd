//! Model events: what a model said or did, in one form for every provider and
//! dialect. The types are the contract's own (`wit/0.1.0/types.wit`).

pub use crate::bindings::palisade::plugin::model::{
    Failure, Finish, FinishReason, Fragment, ModelEvent, Other, Start, ToolCall, Usage,
};
