//! Asking a running gateway, for the command line.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::guard::MARK;
use super::text;
use super::view::{Live, Plugins, Refused, Reloaded, Status, Switched};
use crate::manifest::Admin;

/// How long an answer may take: longer than the gateway keeps anyone waiting.
const TIMEOUT: Duration = Duration::from_secs(370);

/// Something that a gateway is asked, or told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    Status,
    Plugins,
    Metrics,
    Reload {
        dry_run: bool,
    },
    /// The generation to bring back, if not the one before.
    Rollback(Option<u64>),
    Disable(String),
    Enable(String),
}

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no gateway answers at {at}; is it running? ({reason})")]
    Unreachable { at: Admin, reason: String },
    /// The gateway did not do what it was told to.
    #[error("{0}")]
    Refused(String),
    #[error("the gateway's answer is not understood: {0}")]
    Foreign(String),
}

/// The other end of a gateway's listener for administrators.
pub struct Client {
    at: Admin,
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// A client of the gateway that listens there.
    ///
    /// # Errors
    ///
    /// If the system's randomness or the like is missing.
    pub fn new(at: Admin) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        let (builder, base) = match &at {
            Admin::Unix(path) => {
                let base = "http://localhost".to_owned();
                (builder.unix_socket(path.as_path()), base)
            }
            Admin::Tcp(address) => (builder, format!("http://{address}")),
        };
        // The library wants one, although nothing here is encrypted.
        crate::upstream::install_cryptography();
        let http = builder.build()?;
        Ok(Self { at, http, base })
    }

    /// Asks, and answers the JSON that came and whether it was done.
    pub async fn ask_json(&self, question: &Question) -> Result<(bool, String), AskError> {
        let (status, body) = self.send(question).await?;
        Ok((status.is_success(), body))
    }

    /// Asks, and answers a text for people.
    pub async fn ask(&self, question: &Question) -> Result<String, AskError> {
        let (status, body) = self.send(question).await?;
        if !status.is_success() {
            let refused: Refused = read(&body)?;
            return Err(AskError::Refused(text::refused(&refused)));
        }
        match question {
            Question::Status => read::<Status>(&body).map(|status| text::status(&status)),
            Question::Plugins => read::<Plugins>(&body).map(|plugins| text::plugins(&plugins)),
            // It is a text, and programs read it.
            Question::Metrics => Ok(body),
            Question::Reload { .. } => read::<Reloaded>(&body).map(|done| text::reloaded(&done)),
            Question::Rollback(_) => {
                read::<Live>(&body).map(|live| format!("generation {} is live\n", live.generation))
            }
            Question::Disable(_) | Question::Enable(_) => {
                read::<Switched>(&body).map(|switched| text::switched(&switched))
            }
        }
    }

    async fn send(&self, question: &Question) -> Result<(reqwest::StatusCode, String), AskError> {
        let base = &self.base;
        let request = match question {
            Question::Status => self.http.get(format!("{base}/v1/status")),
            Question::Plugins => self.http.get(format!("{base}/v1/plugins")),
            Question::Metrics => self.http.get(format!("{base}/metrics")),
            Question::Reload { dry_run } => self.post(&format!("reload?dry-run={dry_run}")),
            Question::Rollback(None) => self.post("rollback"),
            Question::Rollback(Some(number)) => {
                let body = format!("{{\"generation\":{number}}}");
                self.post("rollback").body(body)
            }
            Question::Disable(name) => self.post(&format!("plugins/{name}/disable")),
            Question::Enable(name) => self.post(&format!("plugins/{name}/enable")),
        };
        let unreachable = |error: reqwest::Error| AskError::Unreachable {
            at: self.at.clone(),
            reason: root(&error),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.text().await.map_err(unreachable)?;
        Ok((status, body))
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/v1/{path}", self.base));
        request.header(MARK, "1")
    }
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, AskError> {
    serde_json::from_str(body).map_err(|e| AskError::Foreign(e.to_string()))
}

/// The innermost reason: the outer ones only say that something was asked.
fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
