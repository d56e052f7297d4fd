//! Recorded traffic of providers, through the adapters and out in both
//! dialects, cut in every way the network may cut it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use palisade::answer::{Content, DecodedBy, Flow, Guards, Origin, Piece, Source, of_events};
use palisade::dialect::{self, Dialect};
use palisade::exchange::Pinned;
use palisade::failure::Failure;
use palisade::generation::Provider;
use palisade::message::{Exchange, Facts, Notes};
use palisade::plugin::{Framing, Instance};
use palisade::upstream::{Incoming, Received};
use palisade_tests::{Palisade, corpus};
use serde_json::Value;

use crate::said::{finishes, objects, said};

/// A recorded answer.
struct Recording {
    name: String,
    provider: String,
    status: u16,
    streamed: bool,
    body: Vec<u8>,
}

fn recordings(directory: &Path) -> Vec<Recording> {
    let mut found = Vec::new();
    for repository in std::fs::read_dir(directory.join("recordings"))
        .unwrap()
        .flatten()
    {
        for provider in ["openai", "anthropic", "cerebras"] {
            let Ok(files) = std::fs::read_dir(repository.path().join(provider)) else {
                continue;
            };
            for file in files.flatten() {
                let text = std::fs::read_to_string(file.path()).unwrap();
                let recorded: Value = serde_json::from_str(&text).unwrap();
                if !["chat.completions", "messages"]
                    .contains(&recorded["endpoint"].as_str().unwrap())
                {
                    continue;
                }
                let response = &recorded["response"];
                let body = match (&response["body_text"], &response["body"]) {
                    (Value::String(text), _) => text.clone().into_bytes(),
                    (_, body) => body.to_string().into_bytes(),
                };
                found.push(Recording {
                    name: file.path().display().to_string(),
                    provider: provider.to_owned(),
                    status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
                    streamed: recorded["stream"].as_bool().unwrap(),
                    body,
                });
            }
        }
    }
    assert!(
        found.len() > 100,
        "the corpus holds {} recordings",
        found.len()
    );
    found
}

/// Everything the client would read.
struct Read {
    text: String,
    error: Option<Failure>,
}

/// Sends pieces of an upstream's body through an adapter, and writes the answer
/// in a dialect.
async fn through(
    route: &Pinned,
    client: &'static dyn Dialect,
    recording: &Recording,
    pieces: Vec<Bytes>,
) -> Read {
    let Provider::Adapter(adapter) = &route.provider else {
        panic!("the route has an adapter");
    };
    let instance = Instance::start(&adapter.plugin).await.unwrap();
    let by = DecodedBy::Adapter(Box::new(instance));
    decoded(by, false, (route, client), recording, pieces).await
}

/// The same without the adapter, for an answer that is in the client's dialect.
async fn untranslated(
    route: &Pinned,
    client: &'static dyn Dialect,
    recording: &Recording,
    pieces: Vec<Bytes>,
) -> Option<Read> {
    let by = DecodedBy::Host(client.reader()?);
    Some(decoded(by, true, (route, client), recording, pieces).await)
}

async fn decoded(
    by: DecodedBy,
    same_dialect: bool,
    (route, client): (&Pinned, &'static dyn Dialect),
    recording: &Recording,
    pieces: Vec<Bytes>,
) -> Read {
    let facts = Facts {
        id: "x".into(),
        route: "r".into(),
        principal: None,
        dialect: Some(client),
        streaming: recording.streamed,
        requested_model: Some("m".into()),
    };
    let mut exchange = Exchange {
        facts: Arc::new(facts),
        notes: Notes::default(),
    };
    let content_type = if recording.streamed {
        "text/event-stream"
    } else {
        "application/json"
    };
    let head = http::Response::builder()
        .status(recording.status)
        .header("content-type", content_type);
    let body = Received::of(stream::iter(pieces.into_iter().map(Ok)));
    let incoming = Incoming::new("upstream".into(), head.body(body).unwrap());
    let source = Source::upstream(incoming, by, Framing::Sse, &mut exchange, route)
        .await
        .unwrap();
    let flow = Flow::new(source, Guards::default(), exchange, route.clone());
    let origin = Origin {
        same_dialect,
        usage_in_stream: true,
        created: 1,
        dropped: Vec::new(),
        bodiless: false,
    };
    match of_events(flow, client, origin, None).await {
        Err(failure) => Read {
            text: String::new(),
            error: Some(failure),
        },
        Ok(ready) => read(ready.content).await,
    }
}

async fn read(content: Content) -> Read {
    let mut pieces = match content {
        Content::Whole(bytes, _) => {
            return Read {
                text: String::from_utf8(bytes.to_vec()).unwrap(),
                error: None,
            };
        }
        Content::Stream(pieces, _) => pieces,
    };
    let mut text = Vec::new();
    let error = loop {
        match pieces.next().await {
            Piece::Bytes(bytes) => text.extend_from_slice(&bytes),
            Piece::End(bytes) => {
                text.extend_from_slice(&bytes);
                break None;
            }
            Piece::Broken(bytes, failure) => {
                text.extend_from_slice(&bytes);
                break Some(failure);
            }
        }
    };
    Read {
        text: String::from_utf8(text).expect("UTF-8"),
        error,
    }
}

/// Cuts a body: whole, at every byte if it is short, or at arbitrary points.
fn cuts(body: &[u8], seed: &mut u64) -> Vec<Vec<Bytes>> {
    let mut ways = vec![vec![Bytes::copy_from_slice(body)]];
    if body.len() <= 6000 {
        ways.push(body.chunks(1).map(Bytes::copy_from_slice).collect());
    }
    for _ in 0..2 {
        let mut pieces = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            *seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let length = (usize::try_from(*seed >> 33).unwrap() % 900 + 1).min(rest.len());
            pieces.push(Bytes::copy_from_slice(&rest[..length]));
            rest = &rest[length..];
        }
        ways.push(pieces);
    }
    ways
}

async fn routes() -> Vec<(String, Pinned)> {
    let mut manifest = String::new();
    for provider in ["openai", "anthropic", "cerebras"] {
        manifest.push_str(&format!(
            "[plugins.{provider}]\nsource = \"builtin:provider-{provider}\"\nupstream = \"http://127.0.0.1:1\"\n\
             limits = {{ time = \"20s\" }}\n[[routes]]\nname = \"{provider}\"\nprovider = \"{provider}\"\n"
        ));
    }
    let generation = Palisade::start(&manifest).await.live();
    let pinned = |index| Pinned::new(generation.clone(), index).unwrap();
    (0..3)
        .map(|i| (generation.routes[i].name.clone(), pinned(i)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_replay_through_the_adapters() {
    let Some(directory) = corpus() else {
        println!("not run: the corpus is not beside this repository");
        return;
    };
    let routes = routes().await;
    let mut seed = 7;
    let mut replayed = 0;
    for recording in recordings(&directory) {
        let (_, route) = routes
            .iter()
            .find(|(name, _)| *name == recording.provider)
            .unwrap();
        let source = String::from_utf8_lossy(&recording.body).into_owned();
        let source = if recording.streamed {
            first_message(&source)
        } else {
            source
        };
        for client in ["openai.chat", "anthropic.messages"] {
            let client = dialect::by_name(client).unwrap();
            let mut first: Option<String> = None;
            for pieces in cuts(&recording.body, &mut seed) {
                if recording.provider != "anthropic" && recording.status < 400 {
                    let pieces = pieces.clone();
                    if let Some(read) = untranslated(route, client, &recording, pieces).await {
                        let name = &recording.name;
                        assert!(read.error.is_none(), "{name}: {:?}", read.error);
                        // Of what several answers hold, the first is one; comments are gone.
                        let frames = |text: &str| match recording.streamed {
                            true => text
                                .lines()
                                .filter(|l| l.starts_with("data:"))
                                .map(str::to_owned)
                                .collect(),
                            false => vec![text.to_owned()],
                        };
                        let (theirs, ours) = (frames(&source), frames(&read.text));
                        assert!(ours.starts_with(&theirs), "{name}: {}", read.text);
                    }
                }
                let read = through(route, client, &recording, pieces).await;
                replayed += 1;
                if recording.status >= 400 {
                    let error = read.error.expect("an error is told");
                    assert_eq!(
                        error.kind.status().as_u16(),
                        recording.status,
                        "{}",
                        recording.name
                    );
                    assert!(!error.message.is_empty(), "{}", recording.name);
                    continue;
                }
                check(&recording, &source, &read);
                let first = first.get_or_insert_with(|| read.text.clone());
                assert_eq!(
                    *first, read.text,
                    "{} depends on how it was cut",
                    recording.name
                );
            }
            if recording.streamed {
                cut_off(route, client, &recording, &source).await;
            }
        }
    }
    println!("{replayed} replays");
}

/// Some recordings hold several answers in a row; the first is the answer.
fn first_message(text: &str) -> String {
    let mut id = None;
    let mut kept = String::new();
    for event in text.split_inclusive("\n\n") {
        let own = objects(event, true)
            .first()
            .and_then(|o| o["id"].as_str().map(str::to_owned));
        let own = own.filter(|own| !own.is_empty());
        if own.is_some() && id.is_some() && own != id {
            break;
        }
        id = id.or(own);
        kept.push_str(event);
        if event.contains("event: message_stop") {
            break;
        }
    }
    kept
}

fn check(recording: &Recording, source: &str, read: &Read) {
    let name = &recording.name;
    assert!(read.error.is_none(), "{name}: {:?}", read.error);
    let (theirs, ours) = (
        objects(source, recording.streamed),
        objects(&read.text, recording.streamed),
    );
    let choices = finishes(&theirs).len().max(1);
    let finished = finishes(&ours).len();
    assert!(
        finished == choices || finished == 1,
        "{name}: {finished} reasons to finish\n{}",
        read.text
    );
    let (expected, got) = (said(&theirs), said(&ours));
    assert_eq!(got.0, expected.0, "{name}: text");
    let empty = |arguments: &str| {
        if arguments == "{}" {
            String::new()
        } else {
            arguments.to_owned()
        }
    };
    let same = empty(&got.1) == empty(&expected.1)
        || serde_json::from_str::<Value>(&got.1).ok() == serde_json::from_str(&expected.1).ok();
    let parallel = got.1.len() == expected.1.len() || got.1.contains("}{");
    assert!(
        same || parallel,
        "{name}: arguments\n{}\n{}",
        got.1,
        expected.1
    );
    if recording.streamed {
        let ends =
            read.text.matches("[DONE]").count() + read.text.matches("event: message_stop").count();
        assert_eq!(ends, 1, "{name}: one terminator");
    }
}

/// The same stream without its end, at several places.
async fn cut_off(
    route: &Pinned,
    client: &'static dyn Dialect,
    recording: &Recording,
    source: &str,
) {
    let events: Vec<&str> = source.split_inclusive("\n\n").collect();
    let terminal = events.iter().position(|event| {
        let object = objects(event, true);
        !finishes(&object).is_empty()
    });
    let Some(terminal) = terminal else { return };
    for kept in [1, terminal / 2, terminal] {
        let part: String = events[..kept.min(terminal)].concat();
        let read = through(route, client, recording, vec![Bytes::from(part)]).await;
        assert!(
            read.error.is_some(),
            "{} cut after {kept} events ends well:\n{}",
            recording.name,
            read.text
        );
        assert!(
            finishes(&objects(&read.text, true)).is_empty(),
            "{}: {}",
            recording.name,
            read.text
        );
        assert!(
            !read.text.contains("[DONE]") && !read.text.contains("message_stop"),
            "{}",
            read.text
        );
    }
}
