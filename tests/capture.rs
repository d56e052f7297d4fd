//! An upstream that keeps what it gets, to the byte, and answers what it is
//! told. It reads HTTP/1.1 by hand, so that nothing is normalised on the way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    /// The request line and the header fields, each a line.
    pub head: String,
    pub body: Vec<u8>,
    /// Which of the upstream's connections it came on, from 0.
    pub connection: usize,
    /// Whether the peer closed before its answer was all written.
    pub cancelled: bool,
}

impl Captured {
    /// The value of a header field; none if it was not sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// What to answer: pieces that are written one after another, with a pause
/// before each.
#[derive(Debug, Clone)]
pub struct Answer {
    pub pieces: Vec<(Duration, Vec<u8>)>,
}

impl Answer {
    /// A whole answer with a length.
    pub fn whole(status: &str, content_type: &str, body: &str) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self {
            pieces: vec![(Duration::ZERO, [head.as_bytes(), body.as_bytes()].concat())],
        }
    }

    /// A stream of server-sent events, chunked, an event a piece.
    pub fn stream(events: &[&str], pause: Duration) -> Self {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut pieces = vec![(Duration::ZERO, head.as_bytes().to_vec())];
        pieces.extend(events.iter().map(|event| {
            (
                pause,
                format!("{:x}\r\n{event}\r\n", event.len()).into_bytes(),
            )
        }));
        pieces.push((Duration::ZERO, b"0\r\n\r\n".to_vec()));
        Self { pieces }
    }

    /// The same without its end: the connection closes after `count` events.
    pub fn cut_after(mut self, count: usize) -> Self {
        self.pieces.truncate(count + 1);
        self
    }
}

/// A running upstream.
pub struct Capture {
    pub url: String,
    requests: Arc<Mutex<Vec<Captured>>>,
}

/// What to answer to a request.
type Answering = Arc<dyn Fn(&Captured) -> Answer + Send + Sync>;

impl Capture {
    pub async fn start(answer: Answer) -> Self {
        Self::answering(move |_| answer.clone()).await
    }

    /// Answers as each request asks for.
    pub async fn answering(answer: impl Fn(&Captured) -> Answer + Send + Sync + 'static) -> Self {
        let answer: Answering = Arc::new(answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    break;
                };
                let answer = answer.clone();
                let answering = move |captured: &mut Captured| {
                    captured.connection = connection;
                    answer(captured)
                };
                tokio::spawn(serve(stream, answering, kept.clone()));
            }
        });
        Self { url, requests }
    }

    pub fn requests(&self) -> Vec<Captured> {
        self.requests.lock().expect("the requests").clone()
    }

    /// The only request.
    pub fn single(&self) -> Captured {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "one request is expected");
        requests.into_iter().next().unwrap_or_default()
    }
}

async fn serve(
    mut stream: TcpStream,
    answering: impl Fn(&mut Captured) -> Answer,
    kept: Arc<Mutex<Vec<Captured>>>,
) {
    let mut buffer = Vec::new();
    while let Some(mut captured) = read(&mut stream, &mut buffer).await {
        let answer = answering(&mut captured);
        let index = {
            let mut kept = kept.lock().expect("the requests");
            kept.push(captured);
            kept.len() - 1
        };
        if write(&mut stream, &answer).await.is_err() {
            kept.lock().expect("the requests")[index].cancelled = true;
            return;
        }
        if !answer
            .pieces
            .last()
            .is_some_and(|(_, p)| p == b"0\r\n\r\n" || answer.pieces.len() == 1)
        {
            return;
        }
    }
}

/// Writes the answer, and notices a peer that closes meanwhile.
async fn write(stream: &mut TcpStream, answer: &Answer) -> std::io::Result<()> {
    for (pause, piece) in &answer.pieces {
        let mut byte = [0];
        tokio::select! {
            () = tokio::time::sleep(*pause) => {}
            read = stream.read(&mut byte) => {
                read?;
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
        }
        stream.write_all(piece).await?;
    }
    Ok(())
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Captured> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut captured = Captured {
                head,
                ..Captured::default()
            };
            let length: usize = captured
                .header("content-length")
                .map_or(0, |v| v.parse().unwrap_or(0));
            while buffer.len() < end + 4 + length {
                fill(stream, buffer).await?;
            }
            captured.body = buffer[end + 4..end + 4 + length].to_vec();
            buffer.drain(..end + 4 + length);
            return Some(captured);
        }
        fill(stream, buffer).await?;
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 << 10];
    match stream.read(&mut chunk).await {
        Ok(read) if read > 0 => {
            buffer.extend_from_slice(&chunk[..read]);
            Some(())
        }
        _ => None,
    }
}
