//! Responses that are made while they are sent: a few kilobytes at a time, no faster than the client reads.
//! It knows no URL path.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc;

/// Pieces that are made ahead of the client.
const AHEAD: usize = 1;

/// The client has gone, or was too slow.
#[derive(Debug)]
pub(super) struct Gone;

/// Where the maker of a response puts its pieces.
#[derive(Debug)]
pub(super) struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Pieces {
    /// Sends a piece when the client has taken those before, and lets other clients have their turn.
    pub(super) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(piece.into())).await.map_err(|_| Gone)?;
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Breaks the connection off, so that the client does not take the response for a whole one.
    pub(super) async fn fail(&self, error: io::Error) -> Result<(), Gone> {
        self.0.send(Err(error)).await.map_err(|_| Gone)
    }

    /// Waits until the client is gone.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }
}

/// A response that `make` makes.
pub(super) fn streamed<F, W>(make: F) -> Body
where
    F: FnOnce(Pieces) -> W,
    W: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(make(Pieces(sender)));
    Body::new(Receiver(receiver))
}

struct Receiver(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Receiver {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = ready!(self.0.poll_recv(context));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}
