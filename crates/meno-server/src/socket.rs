//! A TCP or TLS stream that detects clients that stop reading.

use crate::connections::{Connection, Connections, Phase};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// If a client reads nothing of its answer for this long, the connection is closed.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// After the last answer on a connection, the server reads and discards what the client still sends, for at most this
/// time and this many bytes. Closing at once would make the operating system discard the answer too.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

/// A stream that fails when its client stalls, and that gives the client time to read the answer before it closes.
pub(crate) struct Socket<S> {
    stream: S,
    connection: Arc<Connection>,
    all: Arc<Connections>,
    stalled: Option<Pin<Box<Sleep>>>,
    linger: Option<Pin<Box<Sleep>>>,
    discarded: usize,
    ended: bool,
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S, connection: Arc<Connection>, all: Arc<Connections>) -> Socket<S> {
        Socket { stream, connection, all, stalled: None, linger: None, discarded: 0, ended: false }
    }

    /// Passes on the result of a write, or returns an error if writes have been blocked for [`WRITE_TIME`].
    fn check_stall<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            if self.stalled.take().is_some() {
                self.connection.set_stalled(false);
            }
            return poll;
        }
        if self.stalled.is_none() {
            self.connection.set_stalled(true);
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIME)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// Reads and discards input until the client closes its side or a limit is reached.
    fn discard_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER_TIME)));
        let mut bytes = [0; 16 << 10];
        while !self.ended && self.discarded < LINGER_BYTES && linger.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.discarded += buffer.filled().len(),
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
        self.check_stall(poll, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.check_stall(poll, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(poll, Poll::Ready(Ok(()))) && self.connection.phase() == Phase::Flushing {
            self.connection.enter(Phase::Idle);
        }
        self.check_stall(poll, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.check_stall(poll, cx))?;
        }
        if !self.all.stopping() {
            self.connection.enter(Phase::Idle);
            ready!(self.discard_input(cx));
        }
        Poll::Ready(Ok(()))
    }
}
