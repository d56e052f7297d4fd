//! The upstream of every subject: answers at once, in OpenAI's or Anthropic's
//! shape by the path's end, as a stream of 52 events if the body asks for one.
//!
//! It is quick rather than clever: the answers are made once, and a request is
//! only searched for `"stream":true`. Each event of a stream is a write of its
//! own, as a model's are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use memchr::memmem::Finder;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::workload::EVENTS;

/// The words of the answers, one a delta.
const WORD: &str = " palisade";

/// The answers in one dialect.
struct Answers {
    whole: Bytes,
    events: Arc<[Bytes]>,
}

static CHAT: LazyLock<Answers> = LazyLock::new(chat);
static MESSAGES: LazyLock<Answers> = LazyLock::new(messages);

/// Serves until the process ends, with a pause before each event of a stream
/// if `interval` is not zero. Says where it listens on standard output.
pub async fn serve(listen: SocketAddr, interval: Duration) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| answer(request, interval));
        tokio::spawn(async move {
            let mut server = hyper::server::conn::http1::Builder::new();
            // A client that leaves is nothing to tell of.
            let _ = server
                .max_buf_size(256 << 10)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    interval: Duration,
) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path();
    let answers = if path.ends_with("/messages") {
        &*MESSAGES
    } else {
        &*CHAT
    };
    let streamed = asks_for_stream(request.into_body()).await;
    let (content_type, body) = if streamed {
        let pause = (!interval.is_zero()).then(|| Box::pin(tokio::time::sleep(interval)));
        let stream = Stream {
            events: answers.events.clone(),
            next: 0,
            yields: false,
            interval,
            pause,
        };
        ("text/event-stream", Answer::Streamed(stream))
    } else {
        (
            "application/json",
            Answer::Whole(Some(answers.whole.clone())),
        )
    };
    let mut response = Response::new(body);
    let content_type = http::HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    Ok(response)
}

async fn asks_for_stream(mut body: Incoming) -> bool {
    static TIGHT: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"stream\":true"));
    static SPACED: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"stream\": true"));
    let found = |bytes: &[u8]| TIGHT.find(bytes).or_else(|| SPACED.find(bytes)).is_some();
    // Most bodies come in one piece, which need not be copied.
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(data) if first.is_empty() => first = data,
            Ok(data) => rest.extend_from_slice(&data),
            Err(_) => {}
        }
    }
    if rest.is_empty() {
        return found(&first);
    }
    found(&[&first[..], &rest].concat())
}

/// The body of an answer.
enum Answer {
    Whole(Option<Bytes>),
    Streamed(Stream),
}

struct Stream {
    events: Arc<[Bytes]>,
    next: usize,
    /// Whether to wait for the next turn, so that the event before is written.
    yields: bool,
    interval: Duration,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(stream) => stream
                .poll_next(context)
                .map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            pause
                .as_mut()
                .reset(tokio::time::Instant::now() + self.interval);
        } else if std::mem::replace(&mut self.yields, true) {
            self.yields = false;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let event = self.events.get(self.next).cloned();
        self.next += 1;
        Poll::Ready(event)
    }
}

fn chat() -> Answers {
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 48, "total_tokens": 148});
    let base = json!({"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_bench"});
    let with = |object: &str, choice: Option<Value>| {
        let mut body = base.clone();
        body["object"] = object.into();
        body["choices"] = choice.into_iter().collect();
        body
    };
    let message = json!({"role": "assistant", "content": WORD.repeat(48), "refusal": null});
    let mut whole = with(
        "chat.completion",
        Some(json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"})),
    );
    whole["usage"] = usage.clone();

    let chunk = |delta: Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason});
        with("chat.completion.chunk", Some(choice))
    };
    let mut chunks = vec![chunk(
        json!({"role": "assistant", "content": ""}),
        Value::Null,
    )];
    chunks.extend((0..EVENTS - 4).map(|_| chunk(json!({"content": WORD}), Value::Null)));
    chunks.push(chunk(json!({}), "stop".into()));
    let mut last = with("chat.completion.chunk", None);
    last["usage"] = usage;
    chunks.push(last);
    let events = chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n").into());
    Answers {
        whole: whole.to_string().into(),
        events: events
            .chain([Bytes::from_static(b"data: [DONE]\n\n")])
            .collect(),
    }
}

fn messages() -> Answers {
    let usage = json!({"input_tokens": 100, "output_tokens": 48});
    let message = |content: Value, reason: Value| {
        json!({"id": "msg_bench", "type": "message", "role": "assistant",
            "model": "claude-sonnet-5", "content": content, "stop_reason": reason,
            "stop_sequence": null, "usage": usage})
    };
    let whole = message(
        json!([{"type": "text", "text": WORD.repeat(48)}]),
        "end_turn".into(),
    );
    let delta = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": WORD}});
    let mut events = vec![
        json!({"type": "message_start", "message": message(json!([]), Value::Null)}),
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "text", "text": ""}}),
    ];
    events.extend(std::iter::repeat_n(delta, EVENTS - 5));
    events.push(json!({"type": "content_block_stop", "index": 0}));
    events.push(json!({"type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": usage}));
    events.push(json!({"type": "message_stop"}));
    let written = |event: &Value| {
        let name = event["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n").into()
    };
    Answers {
        whole: whole.to_string().into(),
        events: events.iter().map(written).collect(),
    }
}
