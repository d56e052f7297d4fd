//! The transcripts on disk: `<provider>/<scenario>/` with
//!
//! * `whole.json` (or `whole.html`): the body of an answer that is not
//!   streamed, and of an answer whose status is an error;
//! * `stream.sse`: the body of a stream;
//! * `usage.sse`: the same with `stream_options.include_usage`, if that makes
//!   a difference;
//! * each of them with `.gz` besides, for clients that take gzip;
//! * `scenario.json`: how it is played ([`Play`]), for both forms or below
//!   `"whole"` and `"stream"` for one; `"transcript"`, the scenario whose
//!   files are used instead; `"require"`, pointers that must be in the
//!   request.
//!
//! Everything is read once, at the start. `server` asks for answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hyper::body::Bytes;
use serde_json::Value;

use crate::limits;
use crate::play::{Play, nothing_left};
use crate::provider::Provider;

/// What is asked of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Whether a stream was asked for.
    pub streaming: bool,
    /// Whether `stream_options.include_usage` was set.
    pub usage: bool,
    /// Whether the client takes gzip.
    pub gzip: bool,
}

/// The bytes of an answer and what they are.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// As on disk.
    pub bytes: Bytes,
    /// The value of `content-type`.
    pub content_type: &'static str,
    /// Whether the bytes are compressed with gzip.
    pub gzip: bool,
}

/// A scenario of one provider.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    files: BTreeMap<String, Bytes>,
    uses: Option<String>,
    whole: Play,
    stream: Play,
    /// Pointers (RFC 6901) that must be in the request's body.
    pub require: Vec<String>,
}

/// All scenarios of all providers.
#[derive(Debug)]
pub struct Transcripts {
    scenarios: BTreeMap<(Provider, String), Scenario>,
    signed: BTreeMap<String, String>,
    redacted: BTreeSet<String>,
}

impl Transcripts {
    /// Reads a folder that holds one folder a provider. The error names the
    /// file and says what is wrong with it.
    pub fn load(folder: &Path) -> Result<Transcripts, String> {
        let mut scenarios = BTreeMap::new();
        for provider in Provider::ALL {
            for (name, path) in folders(&folder.join(provider.name()))? {
                scenarios.insert((provider, name), Scenario::load(&path)?);
            }
        }
        for ((provider, name), scenario) in &scenarios {
            let target = scenario.uses.as_deref().unwrap_or(name);
            let files = scenarios
                .get(&(*provider, target.to_owned()))
                .map(|found| &found.files);
            if files.is_none_or(BTreeMap::is_empty) {
                let place = folder.join(provider.name()).join(name);
                return Err(format!("{}: has no transcript", place.display()));
            }
        }
        let mut loaded = Transcripts {
            scenarios,
            signed: BTreeMap::new(),
            redacted: BTreeSet::new(),
        };
        loaded.learn_signatures();
        Ok(loaded)
    }

    /// The names of a provider's scenarios, in alphabetical order.
    pub fn names(&self, provider: Provider) -> impl Iterator<Item = &str> {
        let of_provider = move |key: &&(Provider, String)| key.0 == provider;
        self.scenarios
            .keys()
            .filter(of_provider)
            .map(|(_, name)| name.as_str())
    }

    /// A file of a scenario, by name: the files of another if it uses them.
    pub fn file(&self, provider: Provider, scenario: &str, file: &str) -> Option<&[u8]> {
        self.files(provider, scenario)?.get(file).map(AsRef::as_ref)
    }

    pub(crate) fn scenario(&self, provider: Provider, name: &str) -> Option<&Scenario> {
        self.scenarios.get(&(provider, name.to_owned()))
    }

    /// The answer in the form that was asked for, and how it is played. An
    /// error status is never streamed. None if there is no such form.
    pub(crate) fn answer(
        &self,
        (provider, name): (Provider, &str),
        form: Form,
        play: &Play,
    ) -> Option<Transcript> {
        let files = self.files(provider, name)?;
        let failed = play.status.is_some_and(|status| status >= 400);
        let wanted: &[&str] = match (form.streaming && !failed, form.usage) {
            (true, true) => &["usage.sse", "stream.sse"],
            (true, false) => &["stream.sse"],
            (false, _) => &["whole.json", "whole.html"],
        };
        let file = wanted.iter().find(|file| files.contains_key(**file))?;
        let packed = form
            .gzip
            .then(|| files.get(&format!("{file}.gz")))
            .flatten();
        Some(Transcript {
            bytes: packed.or_else(|| files.get(*file))?.clone(),
            content_type: content_type(file),
            gzip: packed.is_some(),
        })
    }

    /// The text that the transcripts sign with this signature.
    pub(crate) fn signed_text(&self, signature: &str) -> Option<&str> {
        self.signed.get(signature).map(String::as_str)
    }

    /// Whether the transcripts hold this redacted thinking.
    pub(crate) fn has_redacted(&self, data: &str) -> bool {
        self.redacted.contains(data)
    }

    fn files(&self, provider: Provider, name: &str) -> Option<&BTreeMap<String, Bytes>> {
        let scenario = self.scenario(provider, name)?;
        match &scenario.uses {
            None => Some(&scenario.files),
            Some(other) => self.scenario(provider, other).map(|found| &found.files),
        }
    }

    /// Anthropic knows the signatures that it made, and refuses all others.
    fn learn_signatures(&mut self) {
        for scenario in self.scenarios.values() {
            let Some(bytes) = scenario.files.get("whole.json") else {
                continue;
            };
            let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
            for block in body["content"].as_array().into_iter().flatten() {
                let text = |key: &str| block[key].as_str().map(str::to_owned);
                if let (Some(thinking), Some(signature)) = (text("thinking"), text("signature")) {
                    self.signed.insert(signature, thinking);
                }
                if block["type"] == "redacted_thinking" {
                    self.redacted.extend(text("data"));
                }
            }
        }
    }
}

impl Scenario {
    fn load(folder: &Path) -> Result<Scenario, String> {
        let mut scenario = Scenario::default();
        for entry in entries(folder)? {
            let name = entry
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name == "scenario.json" {
                scenario
                    .configure(&read(&entry)?)
                    .map_err(|error| at(&entry, &error))?;
            } else if known(&name) {
                scenario.files.insert(name, read(&entry)?);
            } else {
                return Err(at(&entry, "no such file belongs to a scenario"));
            }
        }
        Ok(scenario)
    }

    fn configure(&mut self, json: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let Value::Object(mut object) = value else {
            return Err("must be an object".to_owned());
        };
        self.uses = object
            .remove("transcript")
            .map(|value| {
                value
                    .as_str()
                    .map(str::to_owned)
                    .ok_or("transcript: must be a string")
            })
            .transpose()?;
        if let Some(list) = object.remove("require") {
            let pointers = list
                .as_array()
                .map(|list| list.iter().map(Value::as_str).collect());
            let pointers: Option<Vec<&str>> = pointers.flatten();
            let pointers = pointers.ok_or("require: must be a list of pointers")?;
            self.require = pointers.into_iter().map(str::to_owned).collect();
        }
        let whole = object
            .remove("whole")
            .map_or(Ok(Play::default()), Play::read)?;
        let stream = object
            .remove("stream")
            .map_or(Ok(Play::default()), Play::read)?;
        let both = Play::take(&mut object)?;
        nothing_left(&object)?;
        self.whole = whole.over(&both);
        self.stream = stream.over(&both);
        Ok(())
    }

    /// How the scenario is played in this form.
    pub(crate) fn play(&self, form: Form) -> &Play {
        if form.streaming {
            &self.stream
        } else {
            &self.whole
        }
    }
}

fn known(file: &str) -> bool {
    let plain = file.strip_suffix(".gz").unwrap_or(file);
    ["whole.json", "whole.html", "stream.sse", "usage.sse"].contains(&plain)
}

fn content_type(file: &str) -> &'static str {
    match file.rsplit('.').next() {
        Some("sse") => "text/event-stream; charset=utf-8",
        Some("html") => "text/html; charset=UTF-8",
        _ => "application/json",
    }
}

fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let named = |path: PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        (name, path)
    };
    Ok(entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
        .map(named)
        .collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let list = fs::read_dir(folder).map_err(|error| at(folder, &error.to_string()))?;
    let paths: Result<Vec<PathBuf>, _> =
        list.map(|entry| entry.map(|found| found.path())).collect();
    let mut paths = paths.map_err(|error| at(folder, &error.to_string()))?;
    paths.sort();
    Ok(paths)
}

fn read(file: &Path) -> Result<Bytes, String> {
    let length = fs::metadata(file)
        .map_err(|error| at(file, &error.to_string()))?
        .len();
    if length > limits::TRANSCRIPT {
        return Err(at(file, "is too long for a transcript"));
    }
    fs::read(file)
        .map(Bytes::from)
        .map_err(|error| at(file, &error.to_string()))
}

fn at(path: &Path, error: &str) -> String {
    format!("{}: {error}", path.display())
}
