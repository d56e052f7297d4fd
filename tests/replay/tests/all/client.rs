//! An HTTP/1.1 client that shows what came over the wire: chunk by chunk, and
//! how the connection ended. HTTP libraries hide both.

use std::io;
use std::path::PathBuf;

use replay::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server with the project's own transcripts.
pub async fn server() -> Server {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../transcripts");
    Server::start(folder).await.unwrap()
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    /// The chunks, if it was chunked; otherwise all of it.
    pub chunks: Vec<Vec<u8>>,
    /// Whether the body was complete.
    pub complete: bool,
    /// How reading ended, if not with an orderly close.
    pub error: Option<io::ErrorKind>,
}

impl Answer {
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap()
    }
}

/// The header fields that a provider wants, and the path of its chat.
pub fn to(provider: &str) -> (&'static str, &'static str) {
    match provider {
        "openai" => (
            "/openai/v1/chat/completions",
            "authorization: Bearer sk-test",
        ),
        "cerebras" => (
            "/cerebras/v1/chat/completions",
            "authorization: Bearer csk-test",
        ),
        _ => (
            "/anthropic/v1/messages",
            "x-api-key: sk-ant-test\r\nanthropic-version: 2023-06-01",
        ),
    }
}

/// A small request that every provider takes.
pub fn hello(provider: &str, scenario: &str, stream: bool) -> Value {
    let mut body = json!({"model": scenario, "stream": stream,
        "messages": [{"role": "user", "content": "hello"}]});
    if provider == "anthropic" {
        body["max_tokens"] = json!(64);
    }
    body
}

/// Opens a connection and sends a request.
pub async fn send(
    server: &Server,
    method: &str,
    path: &str,
    fields: &str,
    body: &str,
) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let fields = if fields.is_empty() {
        String::new()
    } else {
        format!("{fields}\r\n")
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: replay\r\nconnection: close\r\n{fields}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads an answer to its end, whatever that is.
pub async fn receive(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let error = stream
        .read_to_end(&mut bytes)
        .await
        .err()
        .map(|error| error.kind());
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return Answer {
            status: 0,
            head: String::new(),
            chunks: vec![],
            complete: false,
            error,
        };
    };
    let head = head.to_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = bytes[head.len() + 4..].to_vec();
    let declared = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let (chunks, complete) = match declared {
        Some(length) => {
            let complete = body.len() == length.parse::<usize>().unwrap();
            (vec![body], complete)
        }
        None => unchunk(&body),
    };
    Answer {
        status,
        head,
        chunks,
        complete,
        error,
    }
}

/// Asks and reads the answer.
pub async fn ask(server: &Server, provider: &str, body: &Value) -> Answer {
    let (path, fields) = to(provider);
    receive(send(server, "POST", path, fields, &body.to_string()).await).await
}

/// Takes the chunked coding off (RFC 9112, section 7.1).
fn unchunk(mut body: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut chunks = Vec::new();
    loop {
        let Some(line) = body.windows(2).position(|pair| pair == b"\r\n") else {
            return (chunks, false);
        };
        let size = std::str::from_utf8(&body[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        body = &body[line + 2..];
        if size == 0 {
            return (chunks, true);
        }
        if body.len() < size + 2 {
            return (chunks, false);
        }
        chunks.push(body[..size].to_vec());
        body = &body[size + 2..];
    }
}
