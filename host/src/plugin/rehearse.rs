//! A rehearsal: synthetic exchanges that a plugin is shown before it serves.
//!
//! It has three uses. Before a snapshot it lets a plugin build what it builds
//! lazily (tables of automata, a grown heap), so that no exchange has to. After
//! one it shows that the image behaves as the component did. And it tells what
//! an exchange costs: time and page faults.
//!
//! The samples are written here, in the dialects that the host knows; nothing
//! of a client's is in them. What a plugin answers does not matter, only that
//! it answers the same whether it has rehearsed or not: one that remembers the
//! rehearsal must not begin its exchanges with that memory.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Action, CallError, Instance, Plugin, Stage};
use crate::dialect::{self, Dialect, Settings};
use crate::event::{Finish, FinishReason, Fragment, ModelEvent, Start, ToolCall, Usage};
use crate::frame::Framer;
use crate::json::Json;
use crate::message::{Exchange, Facts, Notes, Request, ResponseHead, Target};

/// Counts up whenever a rehearsal changes, since snapshots hold what it left.
pub(super) const VERSION: u32 = 2;

/// How many exchanges are measured.
const MEASURED: u32 = 8;

/// The largest frame of a sample, in bytes.
const MAX_FRAME: usize = 64 << 10;

/// How the calls of a rehearsal ended, in their order.
pub(super) type Outcomes = Vec<Outcome>;

/// How one call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// "ok", or the kind of its failure.
    pub kind: &'static str,
    /// Stands for all that it said: what it returned, edited and noted.
    pub said: u64,
}

impl Outcome {
    fn of<T: Debug>(result: Result<T, CallError>, exchange: &Exchange, request: &Request) -> Self {
        let mut said = DefaultHasher::new();
        let kind = match &result {
            Ok(value) => {
                format!("{value:?} {:?}", exchange.notes).hash(&mut said);
                request.body.bytes().hash(&mut said);
                format!("{:?}", request.headers).hash(&mut said);
                "ok"
            }
            Err(error) => kind(error),
        };
        Self {
            kind,
            said: said.finish(),
        }
    }
}

/// What one exchange costs a plugin, the start of its instance included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub time: Duration,
    /// Pages that the kernel had to provide. Each takes a lock that all cores
    /// share, so a plugin with many does not scale.
    pub page_faults: f64,
}

/// Shows an instance the samples.
pub(super) async fn run(instance: &mut Instance) -> Outcomes {
    let stages = instance.plugin.stages();
    let mut outcomes = Outcomes::new();
    for (dialect, body) in samples() {
        let (mut exchange, sample) = sample(dialect, body);
        for stage in &stages {
            let mut request = sample.clone();
            let result = match stage {
                Stage::Provider if !instance.plugin.takes(dialect) => continue,
                Stage::LogSink => continue,
                stage => call(instance, *stage, &mut exchange, &mut request).await,
            };
            outcomes.push(Outcome::of(result, &exchange, &request));
        }
    }
    // What the host still holds of it must not be in a snapshot.
    let plugin = instance.plugin.clone();
    if let Ok(running) = instance.running()
        && running.clear(&plugin.health).await.is_err()
    {
        outcomes.push(Outcome {
            kind: "unclear",
            said: 0,
        });
    }
    outcomes
}

/// Shows a sample to one stage, and tells all that it said.
async fn call(
    instance: &mut Instance,
    stage: Stage,
    exchange: &mut Exchange,
    request: &mut Request,
) -> Result<String, CallError> {
    Ok(match stage {
        Stage::RequestFilter => format!("{:?}", instance.check(exchange, request).await?),
        Stage::Rewriter => format!("{:?}", instance.rewrite(exchange, request).await?),
        Stage::Provider => provide(instance, exchange, request).await?,
        Stage::EventFilter => guard(instance, exchange).await?,
        Stage::LogSink => String::new(),
    })
}

/// Measures what an exchange costs: the shortest time, since other threads may
/// take the core, and all page faults. The calling thread must not be shared
/// with other tasks meanwhile.
pub(super) async fn measure(plugin: &Arc<Plugin>) -> Option<Cost> {
    let before = page_faults()?;
    let mut shortest = Duration::MAX;
    for _ in 0..MEASURED {
        let begun = Instant::now();
        exchange(plugin).await.ok()?;
        shortest = shortest.min(begun.elapsed());
    }
    let page_faults = u32::try_from(page_faults()? - before).unwrap_or(u32::MAX);
    Some(Cost {
        time: shortest,
        page_faults: f64::from(page_faults) / f64::from(MEASURED),
    })
}

/// Starts an instance for one sample, as an exchange does.
async fn exchange(plugin: &Arc<Plugin>) -> Result<(), CallError> {
    let mut instance = Instance::start(plugin).await?;
    let Some((dialect, body)) = samples().next() else {
        return Ok(());
    };
    let (mut exchange, mut request) = sample(dialect, body);
    match plugin.stages().first() {
        Some(stage) => call(&mut instance, *stage, &mut exchange, &mut request)
            .await
            .map(drop),
        None => Ok(()),
    }
}

/// Minor page faults of this thread so far (proc(5), field 10 of `stat`); none
/// where there is no such file.
fn page_faults() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    // The second field may hold spaces, and ends with the last parenthesis.
    let fields = stat.rsplit_once(')')?.1;
    fields.split_whitespace().nth(7)?.parse().ok()
}

fn kind(error: &CallError) -> &'static str {
    match error {
        CallError::Problem { .. } => "problem",
        CallError::Trap { .. } => "trap",
        CallError::Deadline(_) | CallError::Cpu(_) => "deadline",
        CallError::Limit(_) => "limit",
        _ => "other",
    }
}

/// Encodes a request and decodes a sample of an answer, where that is in a
/// dialect that the host can write.
async fn provide(
    instance: &mut Instance,
    exchange: &mut Exchange,
    request: &mut Request,
) -> Result<String, CallError> {
    let action = instance.encode(exchange, request).await?;
    let mut said = format!("{action:?}");
    let Action::Send(upstream) = action else {
        return Ok(said);
    };
    let answered_in = upstream.dialect.as_deref().and_then(dialect::by_name);
    let (Some(dialect), Some(mut framer)) = (answered_in, Framer::new(upstream.framing, MAX_FRAME))
    else {
        return Ok(said);
    };
    let mut frames = Vec::new();
    if framer.push(&answer(dialect), &mut frames).is_err() {
        return Ok(said);
    }
    framer.finish(&mut frames);
    let mut headers = HeaderMap::new();
    let stream = HeaderValue::from_static("text/event-stream");
    headers.insert(http::header::CONTENT_TYPE, stream);
    let head = ResponseHead {
        status: StatusCode::OK,
        headers: Arc::new(headers),
        streamed: true,
    };
    let decoder = instance.decoder(exchange, &head).await?;
    let frames: Vec<_> = frames.into_iter().map(|framed| framed.frame).collect();
    for frames in parted(&frames) {
        let events = instance.decode(exchange, decoder, frames).await?;
        said.push_str(&format!("{events:?}"));
    }
    let events = instance.decode_end(exchange, decoder).await?;
    said.push_str(&format!("{events:?}"));
    Ok(said)
}

async fn guard(instance: &mut Instance, exchange: &mut Exchange) -> Result<String, CallError> {
    let session = instance.session(exchange).await?;
    let mut said = String::new();
    for events in parted(&events()) {
        let step = instance.guard(exchange, session, events).await?;
        said.push_str(&format!("{step:?}"));
    }
    let step = instance.guard_end(exchange, session).await?;
    said.push_str(&format!("{step:?}"));
    Ok(said)
}

/// A stream as it comes: its beginning alone, and then much at once.
fn parted<T>(pieces: &[T]) -> [&[T]; 2] {
    let (first, rest) = pieces.split_at(pieces.len().min(1));
    [first, rest]
}

/// A stream in a dialect, as a provider that speaks it would send it.
fn answer(dialect: &dyn Dialect) -> Vec<u8> {
    let mut renderer = dialect.stream_renderer(Settings {
        exchange: "sample".to_owned(),
        model: "sample".to_owned(),
        created: 0,
        usage_in_stream: true,
        same_dialect: false,
    });
    let mut written = Vec::new();
    renderer.events(&events(), &mut written);
    renderer.finish(&mut written);
    written
}

fn events() -> Vec<ModelEvent> {
    let fragment = |part, text: &str| Fragment {
        choice: 0,
        part,
        text: text.to_owned(),
    };
    let call = ToolCall {
        choice: 0,
        part: 1,
        id: "call_1".to_owned(),
        name: "sample".to_owned(),
    };
    let start = ModelEvent::Start(Start {
        id: Some("sample".to_owned()),
        model: Some("sample".to_owned()),
        created: Some(0),
    });
    let texts = (0..PIECES).map(|_| ModelEvent::Text(fragment(0, "This is a sample. ")));
    let end = [
        ModelEvent::ToolCall(call),
        ModelEvent::ToolArguments(fragment(1, "{\"text\":\"a sample\"}")),
        ModelEvent::Usage(Usage {
            input_tokens: Some(8),
            output_tokens: Some(8),
            cache_read_tokens: None,
            cache_write_tokens: None,
            reasoning_tokens: None,
        }),
        ModelEvent::Finish(Finish {
            choice: 0,
            reason: FinishReason::ToolCalls,
            stop_sequence: None,
        }),
    ];
    [start].into_iter().chain(texts).chain(end).collect()
}

/// Pieces of text in the sample of an answer.
const PIECES: usize = 64;

/// The text of the longest sample, in bytes: what prompts with documents in them
/// have. A heap that has grown for it need not grow in an exchange, which takes
/// the kernel longer than all that the plugin does.
const LONG: usize = 128 << 10;

/// A request with a long text.
static LONG_SAMPLE: LazyLock<String> = LazyLock::new(|| {
    let text = "This is a sample of a long text. ";
    let text = text.repeat(LONG / text.len());
    format!(
        r#"{{"model":"sample","max_tokens":64,"messages":[{{"role":"user","content":"{text}"}}]}}"#
    )
});

/// Requests in every dialect: a short one, and one with tools and a history.
/// And a long one.
fn samples() -> impl Iterator<Item = (&'static dyn Dialect, &'static str)> {
    const SAMPLES: [(&str, &str); 4] = [
        (
            "openai.chat",
            r#"{"model":"sample","max_tokens":64,"messages":[{"role":"system","content":"This is a sample."},{"role":"user","content":"Say something."}]}"#,
        ),
        (
            "anthropic.messages",
            r#"{"model":"sample","max_tokens":64,"system":"This is a sample.","messages":[{"role":"user","content":"Say something."}]}"#,
        ),
        (
            "openai.chat",
            r#"{"model":"sample","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"system","content":"This is a sample, with a text of some length, so that what grows with length has grown."},{"role":"user","content":[{"type":"text","text":"Call the tool."}]},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"sample","arguments":"{\"text\":\"a\"}"}}]},{"role":"tool","tool_call_id":"call_1","content":"done"},{"role":"user","content":"Once more."}],"tools":[{"type":"function","function":{"name":"sample","description":"Takes a text.","parameters":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}}}]}"#,
        ),
        (
            "anthropic.messages",
            r#"{"model":"sample","max_tokens":64,"stream":true,"system":[{"type":"text","text":"This is a sample."}],"messages":[{"role":"user","content":[{"type":"text","text":"Call the tool."}]},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"sample","input":{"text":"a"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"done"},{"type":"text","text":"Once more."}]}],"tools":[{"name":"sample","description":"Takes a text.","input_schema":{"type":"object","properties":{"text":{"type":"string"}}}}]}"#,
        ),
    ];
    let long = std::iter::once(("openai.chat", LONG_SAMPLE.as_str()));
    SAMPLES
        .into_iter()
        .chain(long)
        .filter_map(|(name, body)| Some((dialect::by_name(name)?, body)))
}

fn sample(dialect: &'static dyn Dialect, body: &'static str) -> (Exchange, Request) {
    let body = Json::new(bytes::Bytes::from_static(body.as_bytes()));
    let facts = Facts {
        id: "sample".to_owned(),
        route: "sample".to_owned(),
        principal: None,
        dialect: Some(dialect),
        streaming: body.value().is_some_and(|value| dialect.stream(value)),
        requested_model: Some("sample".to_owned()),
    };
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(http::header::CONTENT_TYPE, json);
    let target = Target {
        method: Method::POST,
        path: dialect.path().to_owned(),
        query: None,
    };
    let exchange = Exchange {
        facts: Arc::new(facts),
        notes: Notes::default(),
    };
    let request = Request {
        target: Arc::new(target),
        headers: Arc::new(headers),
        body,
        dialect: Some(dialect),
        dropped: Vec::new(),
    };
    (exchange, request)
}
