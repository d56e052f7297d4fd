//! What administrators are told, as JSON. Times are RFC 3339, in UTC.
//!
//! The command line reads the same types again. A plugin's configuration is
//! left out of them: whoever wrote a secret into it, against all advice, should
//! not find it here too.

mod plugins;
mod reload;
mod status;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use plugins::{Plugin, Plugins};
pub use reload::{Refusal, Reloaded};
pub use status::{Past, Status};

/// Why something that was asked for was not done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refused {
    pub error: Reason,
}

/// See `Refused`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reason {
    pub message: String,
    /// The reload that failed, if one did.
    #[serde(flatten)]
    pub reload: Option<Refusal>,
}

/// The generation that is live now.
#[derive(Debug, Serialize, Deserialize)]
pub struct Live {
    pub generation: u64,
}

/// What an operator has decided about a plugin.
#[derive(Debug, Serialize, Deserialize)]
pub struct Switched {
    pub plugin: String,
    pub disabled: bool,
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

fn count(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
