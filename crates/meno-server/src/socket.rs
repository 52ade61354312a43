//! The bytes of a connection, with an eye on clients that do not take theirs.

use crate::connections::{Connection, Connections, Phase};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A client that takes none of its answer for so long is given up.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// After an answer that ends the connection, what the client still sends is read and thrown away for so long and for so
/// many bytes: closing at once would make the system drop the answer with it.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

/// A stream that ends when its client stalls, and that lets a client read the answer before it is closed.
pub(crate) struct Socket<S> {
    stream: S,
    connection: Arc<Connection>,
    all: Arc<Connections>,
    stalled: Option<Pin<Box<Sleep>>>,
    linger: Option<Pin<Box<Sleep>>>,
    thrown_away: usize,
    ended: bool,
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S, connection: Arc<Connection>, all: Arc<Connections>) -> Socket<S> {
        Socket { stream, connection, all, stalled: None, linger: None, thrown_away: 0, ended: false }
    }

    /// Passes on what a write came to; an error if writes have waited for too long.
    fn watch<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            if self.stalled.take().is_some() {
                self.connection.stalls(false);
            }
            return poll;
        }
        if self.stalled.is_none() {
            self.connection.stalls(true);
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIME)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// Reads until the client has nothing more to say, for a while.
    fn throw_away(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER_TIME)));
        let mut bytes = [0; 16 << 10];
        while !self.ended && self.thrown_away < LINGER_BYTES && linger.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.thrown_away += buffer.filled().len(),
                _ => self.ended = true,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.ended |= matches!(poll, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(poll, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(poll, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(poll, Poll::Ready(Ok(()))) && self.connection.phase() == Phase::Flushing {
            self.connection.enter(Phase::Idle);
        }
        self.watch(poll, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.watch(poll, cx))?;
        }
        if !self.all.stopping() {
            self.connection.enter(Phase::Idle);
            ready!(self.throw_away(cx));
        }
        Poll::Ready(Ok(()))
    }
}
