//! What adapters for servers that speak OpenAI's chat completions share: the
//! decoding of answers into model events ([`Decoder`]), what a request carries
//! to such a server besides its body ([`forward`]), and where images in the
//! results of tools go ([`tool_media`]).
//!
//! This is a library and no plugin. `provider-openai` and `provider-cerebras`
//! use it; what one provider demands of a request is theirs. The host uses it
//! too, to read answers for filters where nothing is to be translated. The types of
//! model events are generated here once, and the adapters map theirs to them
//! (`with` in their `generate!`).
//!
//! It takes what servers send in the wild, and not only what OpenAI's schema
//! allows. The decisions, where servers differ:
//!
//! * A stream is whole when `[DONE]` has come. A server that never sends it
//!   needs [`Decoder::ends_at_finish_reason`].
//! * What a choice thinks, says and refuses are parts that end when another
//!   begins; a tool call is a part to which later fragments may still come.
//! * A chunk that repeats the last one but for its text is not read as JSON again
//!   (`repeated`).
//! * After an error nothing follows, whatever the server sends.
//! * What events cannot express is `other`. A member that repeats itself in
//!   every chunk is told once; `obfuscation` is padding, and dropped.

mod calls;
mod choice;
mod decoder;
mod failure;
pub mod forward;
#[cfg(test)]
mod heard;
mod others;
mod repeated;
pub mod tool_media;
mod usage;

pub use decoder::Decoder;
pub use palisade::plugin::model;

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    inline: "
        package local:openai-chat;
        world events {
            import palisade:plugin/model@0.1.0;
        }
    ",
    world: "local:openai-chat/events",
    generate_all,
    additional_derives: [PartialEq],
});
