//! Small pieces that are written together go to the system as one.
//!
//! An event of a stream is three pieces: its length, itself, and a line's end.
//! The system takes longer to look at three than it takes to copy them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that are copied.
const SMALL: usize = 512;

/// See the module.
pub(super) struct Joined<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for Joined<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Joined<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut joined = [0; SMALL];
        let mut length = 0;
        for piece in pieces {
            let Some(room) = joined.get_mut(length..length + piece.len()) else {
                return Pin::new(&mut self.0).poll_write_vectored(context, pieces);
            };
            room.copy_from_slice(piece);
            length += piece.len();
        }
        Pin::new(&mut self.0).poll_write(context, &joined[..length])
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Takes whatever it is given, and counts how often one piece or several
    /// are.
    #[derive(Default)]
    struct Sink {
        taken: Vec<u8>,
        one: usize,
        several: usize,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.one += 1;
            self.taken.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.several += 1;
            let before = self.taken.len();
            for piece in pieces {
                self.taken.extend_from_slice(piece);
            }
            Poll::Ready(Ok(self.taken.len() - before))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn pieces_are_joined_as_long_as_they_are_small() {
        let sizes: [(&[usize], bool); 6] = [
            (&[], true),
            (&[3, 300, 2], true),
            (&[SMALL], true),
            (&[0, SMALL - 2, 2, 0], true),
            (&[1, SMALL], false),
            (&[5, 100_000, 2], false),
        ];
        for (sizes, joined) in sizes {
            let pieces = (0_u8..).zip(sizes).map(|(byte, size)| vec![byte; *size]);
            let pieces: Vec<_> = pieces.collect();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut stream = Joined(Sink::default());
            let written = stream.write_vectored(&slices).await.unwrap();
            let Sink {
                taken,
                one,
                several,
            } = stream.0;
            assert_eq!((written, taken), (pieces.concat().len(), pieces.concat()));
            assert_eq!(
                (one, several),
                (joined.into(), (!joined).into()),
                "{sizes:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_read_is_read_as_it_comes() {
        let mut text = String::new();
        Joined(&b"word"[..])
            .read_to_string(&mut text)
            .await
            .unwrap();
        assert_eq!(text, "word");
    }
}
