//! Bounds on what callers may take: connections, acts in a time, the length of a request.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use crate::clock;
use crate::core::time::Time;

/// Connections at a time; the next ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// A connection on which nothing comes for so long is closed: idle ones must not keep everybody else out.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Acts that may come at once, and how fast the right to more grows.
const BURST: u32 = 20;
const ONE_MORE: Duration = Duration::from_millis(200);

/// A listener that accepts a bounded number of connections.
pub(super) struct Limited<L> {
    inner: L,
    room: Arc<Semaphore>,
}

impl<L> Limited<L> {
    pub(super) fn new(inner: L) -> Self {
        Self {
            inner,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Counted<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Never closed: the semaphore lives as long as the listener.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        let (io, address) = self.inner.accept().await;
        let counted = Counted {
            io,
            idle: Box::pin(sleep(IDLE_MAX)),
            _permit: permit,
        };
        (counted, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// A connection that gives its place back when it ends, and ends when its caller says nothing for long.
pub(super) struct Counted<I> {
    io: I,
    idle: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<I> Counted<I> {
    /// The connection itself.
    pub(super) fn io(&self) -> &I {
        &self.io
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Ready(read) => {
                self.idle.as_mut().reset(Instant::now() + IDLE_MAX);
                Poll::Ready(read)
            }
            Poll::Pending => self
                .idle
                .as_mut()
                .poll(context)
                .map(|()| Err(ErrorKind::TimedOut.into())),
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// How many acts may still come now; shared by all callers.
#[derive(Clone, Debug)]
pub(super) struct Rate(Arc<Mutex<(u32, Time)>>);

impl Rate {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new((BURST, clock::now()))))
    }

    /// Whether one more may be carried out.
    pub(super) fn admits(&self) -> bool {
        self.admits_at(clock::now())
    }

    fn admits_at(&self, now: Time) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *state;
        let grown = u32::try_from(now.since(since).as_millis() / ONE_MORE.as_millis()).unwrap_or(u32::MAX);
        let left = left.saturating_add(grown).min(BURST);
        let since = if grown > 0 { now } else { since };
        *state = (left.saturating_sub(1), since);
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_caller_who_says_nothing_loses_its_place() {
        let (_silent, ours) = tokio::io::duplex(16);
        let mut counted = Counted {
            io: ours,
            idle: Box::pin(sleep(Duration::from_millis(10))),
            _permit: None,
        };
        let error = counted.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_burst_is_let_through_and_then_only_so_many_in_a_time() {
        let rate = Rate::new();
        let start = rate.0.lock().unwrap().1;
        assert_eq!((0..40).filter(|_| rate.admits_at(start)).count(), 20);
        let later = start.plus(Duration::from_secs(1));
        assert_eq!((0..40).filter(|_| rate.admits_at(later)).count(), 5);
        let much_later = start.plus(Duration::from_secs(3600));
        assert_eq!((0..40).filter(|_| rate.admits_at(much_later)).count(), 20);
    }
}
