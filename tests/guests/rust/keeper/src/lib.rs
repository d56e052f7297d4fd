//! A request filter that does with buckets what its configuration lists, and
//! tells in a note what came of each step.
//!
//! Used by the tests of `wasi:keyvalue`: which buckets open, what they keep, and
//! what their bounds answer. Configuration:
//!
//! * `steps`: a list of steps, made in this order; [`Step`] has their forms. The
//!   note `steps` is then a JSON array of their outcomes, an error's being
//!   `{"error": …}`.
//! * `while-configured`: whether they are made when the plugin is configured
//!   too.
//! * `then-trap`: whether the call ends with a panic.

wit_bindgen::generate!({
    path: ["../../../../wit/0.1.0", "../../../../wit/keyvalue"],
    inline: "
        package guest:keeper;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
            include palisade:plugin/configurable@0.1.0;
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
        }
    ",
    world: "guest:keeper/guest",
    generate_all,
});

use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

use exports::palisade::plugin::configuration::{self, ConfigError};
use exports::palisade::plugin::request_filter::{self, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::Problem;
use wasi::keyvalue::atomics::{self, Cas, CasError};
use wasi::keyvalue::store::{self, Bucket};

static CONFIG: OnceLock<Config> = OnceLock::new();

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    while_configured: bool,
    #[serde(default)]
    then_trap: bool,
}

/// One thing to do with a bucket.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    bucket: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Get(String),
    Set(String, String),
    /// A value of this many bytes.
    SetBytes(String, usize),
    Delete(String),
    Exists(String),
    List {
        cursor: Option<String>,
    },
    Increment(String, i64),
    /// Replaces a value by another if it is still what is seen; if it is
    /// `disturbed`, something else is set in between.
    Swap {
        key: String,
        value: String,
        #[serde(default)]
        disturbed: bool,
    },
}

impl Step {
    fn make(&self) -> Result<Value, store::Error> {
        let bucket = store::open(&self.bucket)?;
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        Ok(match &self.what {
            What::Get(key) => json!(bucket.get(key)?.map(text)),
            What::Set(key, value) => json!(bucket.set(key, value.as_bytes())?),
            What::SetBytes(key, bytes) => json!(bucket.set(key, &vec![b'x'; *bytes])?),
            What::Delete(key) => json!(bucket.delete(key)?),
            What::Exists(key) => json!(bucket.exists(key)?),
            What::List { cursor } => {
                let page = bucket.list_keys(cursor.as_deref())?;
                json!({ "keys": page.keys, "cursor": page.cursor })
            }
            What::Increment(key, delta) => json!(atomics::increment(&bucket, key, *delta)?),
            What::Swap {
                key,
                value,
                disturbed,
            } => swap(&bucket, key, value, *disturbed)?,
        })
    }
}

/// Tells how often it had to try.
fn swap(bucket: &Bucket, key: &str, value: &str, disturbed: bool) -> Result<Value, store::Error> {
    let mut seen = Cas::new(bucket, key)?;
    if disturbed {
        bucket.set(key, b"disturbed")?;
    }
    for tries in 1.. {
        let before = seen.current()?;
        match atomics::swap(seen, value.as_bytes()) {
            Ok(()) => {
                let before = before.map(|it| String::from_utf8_lossy(&it).into_owned());
                return Ok(json!({ "tries": tries, "before": before }));
            }
            Err(CasError::StoreError(error)) => return Err(error),
            Err(CasError::CasFailed(now)) => seen = now,
        }
    }
    Ok(Value::Null)
}

fn make_all(steps: &[Step]) -> Value {
    let told = |step: &Step| {
        let outcome = step.make();
        outcome.unwrap_or_else(|error| json!({ "error": format!("{error:?}") }))
    };
    steps.iter().map(told).collect()
}

struct Filter;

impl configuration::Guest for Filter {
    fn configure(config: String) -> Result<(), Vec<ConfigError>> {
        let refused = |message: String| {
            vec![ConfigError {
                pointer: String::new(),
                message,
            }]
        };
        let config: Config =
            serde_json::from_str(&config).map_err(|error| refused(error.to_string()))?;
        if config.while_configured {
            make_all(&config.steps);
        }
        CONFIG
            .set(config)
            .map_err(|_| refused("configured twice".to_owned()))
    }
}

impl request_filter::Guest for Filter {
    #[expect(clippy::panic, reason = "the configuration may ask for it")]
    fn check(request: &Request) -> Result<Verdict, Problem> {
        let Some(config) = CONFIG.get() else {
            return Ok(Verdict::Proceed);
        };
        let note = make_all(&config.steps).to_string();
        if config.then_trap {
            panic!("the configuration asks for a panic");
        }
        let set = request.exchange().set_note("steps", &note);
        set.map_err(|message| Problem {
            code: "note.refused".to_owned(),
            message,
        })?;
        Ok(Verdict::Proceed)
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
