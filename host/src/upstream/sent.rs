//! The body of a request to an upstream: bytes that are all there, in one piece
//! or several, or a client's own as it comes, within its bounds.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming as ClientBody, SizeHint};
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// A body on its way to an upstream.
#[derive(Debug)]
pub enum Sent {
    /// The pieces that have not been taken, none of them empty.
    Whole(Pieces),
    Relayed(Box<Relayed>),
}

/// The first piece, of which most bodies have no more, and the others.
#[derive(Debug, Clone)]
pub struct Pieces {
    first: Option<Bytes>,
    others: std::vec::IntoIter<Bytes>,
}

/// A client's body that is passed on unread, piece by piece: no piece is taken
/// before the one before it has been.
#[derive(Debug)]
pub struct Relayed {
    body: ClientBody,
    /// How many bytes may still come.
    left: usize,
    limit: usize,
    /// When all of it must have come.
    deadline: Pin<Box<Sleep>>,
    count: Arc<AtomicU64>,
    /// Dropped at its end, which whoever waits for an answer is told by.
    _sending: oneshot::Sender<()>,
    under_way: Arc<()>,
}

/// Why a client's body could not be passed on to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    #[error("the body is larger than {0} bytes (max-request-body)")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    Late,
    #[error("the body could not be read: {0}")]
    Broken(String),
}

/// What is known of a body that is passed on, from outside.
#[derive(Debug)]
pub struct Relaying {
    /// How many bytes have been passed on.
    pub count: Arc<AtomicU64>,
    /// Ready when all has been passed on, or nothing more will be.
    pub over: oneshot::Receiver<()>,
}

impl Sent {
    /// A client's body of at most `limit` bytes, which comes within `time`.
    pub fn relayed(body: ClientBody, limit: usize, time: Duration) -> (Self, Relaying) {
        let count = Arc::new(AtomicU64::new(0));
        let (sending, over) = oneshot::channel();
        let relayed = Relayed {
            body,
            left: limit,
            limit,
            deadline: Box::pin(tokio::time::sleep(time)),
            count: count.clone(),
            _sending: sending,
            under_way: Arc::new(()),
        };
        (Self::Relayed(Box::new(relayed)), Relaying { count, over })
    }

    /// Upgrades as long as more of a client's body may come.
    pub(super) fn under_way(&self) -> Weak<()> {
        match self {
            Self::Whole(_) => Weak::new(),
            Self::Relayed(relayed) => Arc::downgrade(&relayed.under_way),
        }
    }

    /// The same body again; none if it cannot be had twice.
    pub(super) fn copy(&self) -> Option<Self> {
        match self {
            Self::Whole(pieces) => Some(Self::Whole(pieces.clone())),
            Self::Relayed(_) => None,
        }
    }
}

impl From<Bytes> for Sent {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Pieces {
            first: Some(bytes).filter(|bytes| !bytes.is_empty()),
            others: Vec::new().into_iter(),
        })
    }
}

impl From<Vec<Bytes>> for Sent {
    fn from(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        let mut others = pieces.into_iter();
        Self::Whole(Pieces {
            first: others.next(),
            others,
        })
    }
}

impl Pieces {
    fn take(&mut self) -> Option<Bytes> {
        std::mem::replace(&mut self.first, self.others.next())
    }

    fn length(&self) -> usize {
        let pieces = self.first.iter().chain(self.others.as_slice());
        pieces.map(Bytes::len).sum()
    }
}

impl Relayed {
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Unsent>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(Unsent::Broken(error.to_string()))));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            };
            // Trailers belong to one connection.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Some(left) = self.left.checked_sub(data.len()) else {
                return Poll::Ready(Some(Err(Unsent::TooLarge(self.limit))));
            };
            self.left = left;
            self.count.fetch_add(data.len() as u64, Ordering::Relaxed);
            return Poll::Ready(Some(Ok(data)));
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Unsent::Late))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Unsent;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unsent>>> {
        match self.get_mut() {
            Self::Whole(pieces) => Poll::Ready(pieces.take().map(|piece| Ok(Frame::data(piece)))),
            Self::Relayed(relayed) => {
                let data = std::task::ready!(relayed.poll_data(context));
                Poll::Ready(data.map(|data| data.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(pieces) => pieces.first.is_none(),
            Self::Relayed(relayed) => relayed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => SizeHint::with_exact(pieces.length() as u64),
            Self::Relayed(relayed) => relayed.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn pieces_are_sent_in_their_order_and_none_of_them_empty() {
        let cases: [&[&'static str]; 5] = [&[], &[""], &["a"], &["", "a", "", "bc"], &["a", "bc"]];
        for pieces in cases {
            let bytes = |piece: &&'static str| Bytes::from_static(piece.as_bytes());
            let whole = pieces.concat();
            let mut sent = Sent::from(pieces.iter().map(bytes).collect::<Vec<_>>());
            let mut again = sent.copy().unwrap();
            for sent in [&mut sent, &mut again] {
                let mut left = whole.len() as u64;
                while !sent.is_end_stream() {
                    assert_eq!(sent.size_hint().exact(), Some(left), "{pieces:?}");
                    let frame = sent.frame().await.unwrap().unwrap();
                    let data = frame.into_data().unwrap();
                    assert!(!data.is_empty(), "{pieces:?}");
                    assert!(whole.as_bytes()[whole.len() - left as usize..].starts_with(&data));
                    left -= data.len() as u64;
                }
                assert_eq!(left, 0, "{pieces:?}");
                assert!(sent.frame().await.is_none());
            }
        }
    }
}
