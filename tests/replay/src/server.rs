//! The server: listens, takes each request through journal, checks and
//! transcripts, and plays the answer.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, sleep, timeout};

use crate::check::{self, Asked};
use crate::connection::{Connection, Fate};
use crate::control::{self, Controls};
use crate::journal::{Entry, Journal, Recorded};
use crate::limits;
use crate::play::{Chunks, Play};
use crate::played::{Played, Score};
use crate::provider::Provider;
use crate::refusal::Refusal;
use crate::transcripts::{Form, Scenario, Transcript, Transcripts};

/// A running upstream. It stops, and breaks what is under way, when it is
/// dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    transcripts: Transcripts,
    controls: Controls,
    journal: Journal,
}

impl Server {
    /// Reads the transcripts below `folder` and listens on 127.0.0.1, on a
    /// port that the system chooses. Needs a tokio runtime with time and I/O.
    pub async fn start(folder: impl AsRef<Path>) -> io::Result<Server> {
        Server::start_on(folder, 0).await
    }

    /// The same on a port of one's own; 0 lets the system choose.
    pub async fn start_on(folder: impl AsRef<Path>, port: u16) -> io::Result<Server> {
        let transcripts = Transcripts::load(folder.as_ref()).map_err(io::Error::other)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let controls = Controls::default();
        let shared = Arc::new(Shared {
            transcripts,
            controls,
            journal: Journal::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Server {
            address,
            shared,
            accepting,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end. A provider's base
    /// URL is this and its name: `…/openai`, below which its paths begin with
    /// `/v1/`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that are kept, in the order in which they came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.journal.since(0)
    }

    /// Changes how scenarios are played, until it is cleared.
    pub fn control(&self) -> Controls {
        self.shared.controls.clone()
    }

    /// What it plays.
    pub fn transcripts(&self) -> &Transcripts {
        &self.shared.transcripts
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts connections until it is aborted, which ends them too.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed, so this only waits.
        let place = places.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    serve(stream, shared).await;
                    drop(place);
                });
            }
            // Out of descriptors, or the peer was gone before it was accepted.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Chunks are sent when they are played, not when a packet is full. Without
    // it they are only slower.
    let _ = stream.set_nodelay(true);
    let fate = Fate::default();
    let io = TokioIo::new(Connection::new(stream, fate.clone()));
    let service = service_fn(move |request| {
        let (shared, fate) = (shared.clone(), fate.clone());
        async move { Ok::<_, Infallible>(shared.answer(request, fate).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // A connection that breaks is what some scenarios are for.
    let _ = http
        .timer(TokioTimer::new())
        .serve_connection(io, service)
        .await;
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>, fate: Fate) -> Response<Played> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let Some((provider, below)) = Provider::route(&path) else {
            return self.control(&head, body, fate).await;
        };
        let body = match read(body, limits::REQUEST_BODY).await {
            Ok(body) => body,
            Err(too_large) => {
                let entry = self.journal.open(&head, Bytes::new());
                let refusal = Refusal::too_large(provider);
                return if too_large {
                    refuse(provider, refusal, fate, entry)
                } else {
                    gone(entry)
                };
            }
        };
        let entry = self.journal.open(&head, body.clone());
        match self.judge(provider, below, &head, &body) {
            Err(refusal) => refuse(provider, refusal, fate, entry),
            Ok((name, scenario, form)) => {
                entry.scenario(format!("{}/{name}", provider.name()));
                let play = self.controls.apply(provider, &name, scenario.play(form));
                match self.transcripts.answer((provider, &name), form, &play) {
                    Some(transcript) => {
                        perform((provider, form), play, transcript, fate, entry).await
                    }
                    None => refuse(provider, Refusal::no_model(provider, &name), fate, entry),
                }
            }
        }
    }

    /// Judges a request and finds its scenario: for a chat the one that its
    /// `model` names ([`scenario_of`]), for other paths the one that is named like
    /// `get-models`.
    fn judge(
        &self,
        provider: Provider,
        below: &str,
        head: &Parts,
        body: &[u8],
    ) -> Result<(String, &Scenario, Form), Refusal> {
        provider.credential(&head.headers)?;
        let gzip = accepts_gzip(head);
        if head.method != "POST" || below != provider.chat_path() {
            let method = head.method.as_str();
            let name = format!(
                "{}-{}",
                method.to_ascii_lowercase(),
                below.replace('/', "-")
            );
            let scenario = self.transcripts.scenario(provider, &name);
            let scenario =
                scenario.ok_or_else(|| Refusal::no_path(provider, method, head.uri.path()))?;
            return Ok((
                name,
                scenario,
                Form {
                    streaming: false,
                    usage: false,
                    gzip,
                },
            ));
        }
        let asked = check::body(provider, &head.headers, body, &self.transcripts)?;
        let Asked {
            model,
            streaming,
            usage,
            json,
        } = asked;
        let name = scenario_of(&model);
        let scenario = self.transcripts.scenario(provider, name);
        let scenario = scenario.ok_or_else(|| Refusal::no_model(provider, &model))?;
        for pointer in &scenario.require {
            if json.pointer(pointer).is_none_or(serde_json::Value::is_null) {
                let message = format!("scenario {name:?} needs {pointer} in the request");
                return Err(Refusal::invalid(provider, pointer, message));
            }
        }
        Ok((
            name.to_owned(),
            scenario,
            Form {
                streaming,
                usage,
                gzip,
            },
        ))
    }

    /// Answers on a path that is no provider's. Control requests are not kept;
    /// they would push out what they ask for.
    async fn control(&self, head: &Parts, body: Incoming, fate: Fate) -> Response<Played> {
        let untracked = Journal::default().open(head, Bytes::new());
        let Ok(body) = read(body, limits::CONTROL_BODY).await else {
            return gone(untracked);
        };
        let asked = (
            &head.method,
            head.uri.path(),
            head.uri.query().unwrap_or_default(),
        );
        let answer = control::answer(asked, &body, &self.controls, &self.journal);
        let (status, json) =
            answer.unwrap_or_else(|| (404, serde_json::json!({"error": "no such path"})));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        whole(status, Bytes::from(json.to_string()), fate, untracked)
    }
}

/// The scenario that a model names: all of it, or what follows its last `+`.
/// Before that may stand a real model, for gateways that treat models
/// differently: `claude-sonnet-4-5+chat`.
fn scenario_of(model: &str) -> &str {
    model.rsplit_once('+').map_or(model, |(_, name)| name)
}

/// Plays a transcript.
async fn perform(
    (provider, form): (Provider, Form),
    play: Play,
    transcript: Transcript,
    fate: Fate,
    entry: Entry,
) -> Response<Played> {
    if play.hang == Some(true) {
        sleep(limits::DELAY).await;
        return gone(entry);
    }
    sleep(play.head_delay.unwrap_or_default()).await;
    let status = StatusCode::from_u16(play.status.unwrap_or(200)).unwrap_or(StatusCode::OK);
    let streamed = form.streaming && status.is_success();
    let natural = if streamed {
        Chunks::Events
    } else {
        Chunks::Whole
    };
    let score = Score {
        chunks: play.chunks.unwrap_or(natural),
        delay: play.chunk_delay.unwrap_or_default(),
        abort: play.abort,
        sized: !streamed,
    };
    entry.status(status.as_u16());
    let number = entry.number();
    let mut response = Response::new(Played::new(&transcript.bytes, &score, fate, entry));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    provider.decorate(headers, number);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(transcript.content_type),
    );
    if transcript.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    for (name, value) in &play.headers {
        // Both were tried when the settings were read.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Answers with the provider's error body.
fn refuse(provider: Provider, refusal: Refusal, fate: Fate, entry: Entry) -> Response<Played> {
    let number = entry.number();
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = refusal.body(provider, number).to_string();
    entry.refused(refusal.message);
    let mut response = whole(status, Bytes::from(body), fate, entry);
    provider.decorate(response.headers_mut(), number);
    response
}

fn whole(status: StatusCode, json: Bytes, fate: Fate, entry: Entry) -> Response<Played> {
    let score = Score {
        chunks: Chunks::Whole,
        delay: Duration::ZERO,
        abort: None,
        sized: true,
    };
    entry.status(status.as_u16());
    let mut response = Response::new(Played::new(&json, &score, fate, entry));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What nobody will read: the request broke off, or its answer never came.
fn gone(entry: Entry) -> Response<Played> {
    whole(
        StatusCode::REQUEST_TIMEOUT,
        Bytes::new(),
        Fate::default(),
        entry,
    )
}

/// Reads a body; the error tells whether it was too large. Otherwise it broke
/// off, or did not end in time.
async fn read(body: Incoming, limit: usize) -> Result<Bytes, bool> {
    let whole = Limited::new(body, limit).collect();
    match timeout(limits::DELAY, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) => Err(error.is::<LengthLimitError>()),
        Err(_) => Err(false),
    }
}

fn accepts_gzip(head: &Parts) -> bool {
    let values = head.headers.get_all(ACCEPT_ENCODING).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("gzip"))
}
