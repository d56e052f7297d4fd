//! One HTTP/1.1 connection of a client, which reads only what it must: the
//! status, how the body is framed, and where it ends.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// How much of a body's end is kept.
const TAIL: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub keeps_connection: bool,
    /// When the first byte of the body came.
    pub first_byte: Instant,
    /// The body's length and its last bytes.
    pub length: usize,
    pub tail: Vec<u8>,
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

impl Answer {
    /// Checks that it is what was asked for, and whole.
    pub fn check(&self, streamed: bool) -> anyhow::Result<()> {
        let tail = String::from_utf8_lossy(&self.tail);
        ensure!(self.status == 200, "status {}: …{tail}", self.status);
        ensure!(
            self.length > 100,
            "only {} bytes came: …{tail}",
            self.length
        );
        ensure!(
            !streamed || tail.contains("[DONE]"),
            "a stream ended with {tail:?}"
        );
        Ok(())
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Self::of(
            TcpStream::connect(address)
                .await
                .context("cannot connect")?,
        )
    }

    /// A connection that has been made.
    pub fn of(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(8 << 10),
        })
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream
            .write_all(request)
            .await
            .context("cannot send")?;
        let (status, keeps_connection, framing) = self.head().await?;
        if self.buffer.is_empty() && framing != Framing::Length(0) {
            self.more().await?;
        }
        let mut answer = Answer {
            status,
            keeps_connection: keeps_connection && framing != Framing::UntilClosed,
            first_byte: Instant::now(),
            length: 0,
            tail: Vec::new(),
        };
        match framing {
            Framing::Length(length) => self.counted(length, &mut answer).await?,
            Framing::Chunked => self.chunked(&mut answer).await?,
            Framing::UntilClosed => while self.take_all(&mut answer).await? {},
        }
        Ok(answer)
    }

    /// Reads once; an error if there is no more.
    async fn more(&mut self) -> anyhow::Result<()> {
        let read = self
            .stream
            .read_buf(&mut self.buffer)
            .await
            .context("cannot read")?;
        ensure!(read > 0, "the connection was closed within an answer");
        Ok(())
    }

    async fn head(&mut self) -> anyhow::Result<(u16, bool, Framing)> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
                let head = parse(&head)?;
                self.buffer.drain(..end + 4);
                return Ok(head);
            }
            ensure!(
                self.buffer.len() < MAX_HEAD,
                "the head of an answer does not end"
            );
            self.more().await?;
        }
    }

    async fn counted(&mut self, mut left: usize, answer: &mut Answer) -> anyhow::Result<()> {
        loop {
            let taken = left.min(self.buffer.len());
            answer.take(&self.buffer[..taken]);
            self.buffer.drain(..taken);
            left -= taken;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// Chunks, each with its length in a line before it; the last is empty.
    async fn chunked(&mut self, answer: &mut Answer) -> anyhow::Result<()> {
        let mut at = 0;
        loop {
            let Some(line) = memchr::memchr(b'\n', &self.buffer[at..]).map(|end| at + end) else {
                at = self.compact(at);
                self.more().await?;
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[at..line])?;
            let digits = text.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).context("a chunk has no length")?;
            // The chunk ends with a line break of its own, also the empty one.
            let end = line + 1 + length + 2;
            if self.buffer.len() < end {
                at = self.compact(at);
                self.more().await?;
                continue;
            }
            answer.take(&self.buffer[line + 1..line + 1 + length]);
            at = end;
            if length == 0 {
                self.compact(at);
                return Ok(());
            }
        }
    }

    /// Forgets what has been read; answers where reading goes on.
    fn compact(&mut self, at: usize) -> usize {
        self.buffer.drain(..at);
        0
    }

    /// Whether there may be more.
    async fn take_all(&mut self, answer: &mut Answer) -> anyhow::Result<bool> {
        answer.take(&self.buffer);
        self.buffer.clear();
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

impl Answer {
    fn take(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.tail
            .extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }
}

/// Reads the head of an answer, which is in lower case.
fn parse(head: &str) -> anyhow::Result<(u16, bool, Framing)> {
    let mut lines = head.split("\r\n");
    let Some(status) = lines.next().and_then(|line| line.split(' ').nth(1)) else {
        bail!("the answer has no status line");
    };
    let (mut keeps, mut framing) = (true, Framing::UntilClosed);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name {
            "connection" => keeps = value != "close",
            "content-length" => framing = Framing::Length(value.parse()?),
            "transfer-encoding" if value.ends_with("chunked") => framing = Framing::Chunked,
            _ => {}
        }
    }
    Ok((status.parse()?, keeps, framing))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                           5;x=y\r\nhello\r\nA\r\n 01234\r\n\r\n\r\n0\r\n\r\n";
    const COUNTED: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!";

    /// Answers of one connection, which come in pieces of a size.
    async fn read(answers: &'static [&'static str], piece: usize) -> Vec<(u16, usize, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for piece in answers.concat().as_bytes().chunks(piece) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        });
        let mut connection = Connection::open(address).await.unwrap();
        let mut read = Vec::new();
        for _ in answers {
            let answer = connection.ask(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            read.push((answer.status, answer.length, answer.tail));
        }
        read
    }

    #[tokio::test]
    async fn answers_are_read_to_their_end_however_they_are_cut() {
        for piece in [1, 2, 7, 1000] {
            let answers = read(&[CHUNKED, COUNTED, CHUNKED], piece).await;
            let chunked = (200, 15, b"hello 01234\r\n\r\n".to_vec());
            assert_eq!(answers[0], chunked, "pieces of {piece}");
            assert_eq!(answers[1], (404, 3, b"no!".to_vec()), "pieces of {piece}");
            assert_eq!(answers[0], answers[2], "pieces of {piece}");
        }
    }
}
