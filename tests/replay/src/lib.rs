//! An upstream for tests. It plays OpenAI, Anthropic and Cerebras from
//! transcripts on disk, byte for byte, and checks each request the way the
//! real provider would, so that a wrong translation shows as that provider's
//! own error.
//!
//! A request goes left to right through these modules: [`Server`] accepts it,
//! `journal` notes it, `check` judges it, [`Transcripts`] finds the scenario
//! that its `model` names, and `played` sends the answer as its [`Play`] says:
//! in which chunks, after which delays, broken off where.
//!
//! What it does not do: think, translate, speak TLS or HTTP/2, or reach any
//! network. It listens on 127.0.0.1 only. Everything it keeps has a bound, and
//! the bound has a name (`limits`).
//!
//! The binary of the same name serves the end-to-end tests in other languages;
//! Rust tests start a [`Server`] in their own process.

mod chat;
mod chat_messages;
mod check;
mod connection;
mod control;
mod journal;
mod limits;
mod message_blocks;
mod message_history;
mod messages;
mod play;
mod played;
mod provider;
mod refusal;
mod schema;
mod server;
mod transcripts;

pub use control::Controls;
pub use journal::{Ending, Recorded};
pub use play::{Abort, Chunks, How, Play};
pub use provider::Provider;
pub use server::Server;
pub use transcripts::Transcripts;
