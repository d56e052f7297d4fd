//! Upstreams that send back the key that they were sent, in every way in which
//! an answer can be good, bad, late or broken.

use std::time::Duration;

use palisade_tests::{Answer, Captured};
use serde_json::json;

/// What an upstream sends back: of all that it was sent, the key that it got.
fn key(request: &Captured) -> String {
    let line = request.head.lines().next().unwrap_or_default();
    let in_query = line
        .split_once("key=")
        .map(|(_, rest)| rest.split([' ', '&']).next());
    let in_header = ["authorization", "x-api-key", "x-secret"]
        .iter()
        .find_map(|name| request.header(name));
    in_query
        .flatten()
        .or(in_header)
        .unwrap_or("no key")
        .to_owned()
}

fn raw(head: &str, body: &str) -> Answer {
    Answer {
        pieces: vec![(Duration::ZERO, format!("{head}\r\n\r\n{body}").into_bytes())],
    }
}

/// An error in the shape of either dialect.
fn error(request: &Captured) -> String {
    let message = format!("Incorrect API key provided: {}", key(request));
    let error = json!({ "message": message, "type": "authentication_error", "code": key(request), "param": null });
    json!({ "type": "error", "error": error }).to_string()
}

fn chunk(text: &str) -> String {
    let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] });
    format!("data: {chunk}\n\n")
}

/// A way to answer, with what it is called.
type Way = (&'static str, fn(&Captured) -> Answer);

/// The ways in which an upstream answers.
pub fn ways() -> impl Iterator<Item = Way> {
    wholes().into_iter().chain(streams()).chain(broken())
}

fn wholes() -> Vec<Way> {
    vec![
        ("401", |request| {
            Answer::whole("401 Unauthorized", "application/json", &error(request))
        }),
        ("500, not JSON", |request| {
            Answer::whole("500 Oops", "text/html", &format!("<p>{}", request.head))
        }),
        ("429, header fields", |request| {
            let key = key(request);
            let head = format!(
                "HTTP/1.1 429 Too Many\r\nretry-after: 1\r\nx-request-id: {key}\r\n\
                 x-ratelimit-limit-requests: {key}\r\ncontent-type: application/json\r\n\
                 content-length: 2"
            );
            raw(&head, "{}")
        }),
        ("200, echo", |request| {
            let completion = json!({ "id": key(request), "object": "chat.completion", "created": 1,
                "model": key(request), "choices": [{ "index": 0, "finish_reason": "stop",
                "message": { "role": "assistant", "content": request.head } }] });
            Answer::whole("200 OK", "application/json", &completion.to_string())
        }),
    ]
}

fn streams() -> Vec<Way> {
    vec![
        ("stream, echo in two pieces", |request| {
            let event = chunk(&key(request));
            let (first, second) = event.split_at(event.len() / 2);
            Answer::stream(
                &[first, second, "data: [DONE]\n\n"],
                Duration::from_millis(20),
            )
        }),
        ("stream, error in band", |request| {
            let event = format!("event: error\ndata: {}\n\n", error(request));
            Answer::stream(&[&chunk("hi"), &event], Duration::ZERO)
        }),
        ("stream, cut off", |request| {
            let event = chunk(&key(request));
            Answer::stream(&[&event, &event[..event.len() / 2]], Duration::ZERO).cut_after(2)
        }),
        ("stream, silent", |request| {
            Answer::stream(
                &[&chunk(&key(request)), &chunk("late")],
                Duration::from_secs(1),
            )
        }),
    ]
}

fn broken() -> Vec<Way> {
    vec![
        ("redirect", |request| {
            let head = format!(
                "HTTP/1.1 302 Found\r\nlocation: /elsewhere?key={}\r\ncontent-length: 0",
                key(request)
            );
            raw(&head, "")
        }),
        ("not HTTP", |request| {
            raw(&format!("HELO {}", key(request)), &request.head)
        }),
        ("a bad header", |request| {
            raw(&format!("HTTP/1.1 200 OK\r\n{}\u{1}: x", key(request)), "")
        }),
        ("oversized", |request| {
            let body = error(request).repeat(2000);
            Answer::whole("400 Bad Request", "application/json", &body)
        }),
        ("cut off", |request| {
            let body = error(request);
            let head = "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 9999";
            let mut answer = raw(head, &body);
            answer.pieces.push((Duration::ZERO, Vec::new()));
            answer
        }),
        ("slow", |_| Answer {
            pieces: vec![(Duration::from_secs(1), Vec::new())],
        }),
    ]
}
