//! Patience: how long a connection is kept for a client that does not read what it asked for.
//!
//! Two things hold memory for such a client: octets that the socket does not take (HTTP/1.1, and
//! HTTP/2 with a full socket), and answers for which an HTTP/2 client opens no window while it goes
//! on answering pings. Both end the connection when nothing has moved for [`UNREAD`]. While an
//! NDJSON stream is being read neither does: most clients read results only after they have written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// A client has to take something of an answer within this time (chosen: longer than any pause of a
/// client that means to read on, and what a slow head is given).
pub(super) const UNREAD: Duration = Duration::from_secs(60);

/// A connection without a request is closed after this time (chosen: pools give theirs up after one or
/// two minutes; HTTP/1.1 heads have a shorter time of their own). An HTTP/2 client could hold its place
/// for ever by answering pings.
pub(super) const IDLE: Duration = Duration::from_secs(300);

/// What is known of one connection's client.
pub(crate) struct Patience {
    began: Instant,
    /// Requests that are not answered yet.
    requests: AtomicUsize,
    /// Milliseconds after `began` when the last of them was.
    answered: AtomicU64,
    /// Milliseconds after `began` when octets last went either way.
    moved: AtomicU64,
    /// The same for octets of HTTP/2 answers.
    taken: AtomicU64,
    /// HTTP/2 answers that are not taken whole.
    answers: AtomicUsize,
    /// NDJSON streams being read.
    streams: AtomicUsize,
}

impl Patience {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            requests: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            answers: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
        })
    }

    /// Says that an NDJSON stream is being read for as long as the guard is held.
    pub(crate) fn stream(self: &Arc<Self>) -> Streaming {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Streaming(self.clone())
    }

    /// Says that a request is being answered for as long as the guard is held.
    pub(super) fn request(self: &Arc<Self>) -> Asking {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Asking(self.clone())
    }

    /// Ends when there has been nothing to do for too long.
    pub(super) async fn idle(&self) {
        loop {
            sleep(IDLE / 4).await;
            let busy = self.requests.load(Ordering::Relaxed) > 0
                || self.answers.load(Ordering::Relaxed) > 0
                || self.is_streaming();
            if !busy && self.since(&self.answered) >= IDLE {
                return;
            }
        }
    }

    /// An answer over HTTP/2 begins.
    pub(super) fn answer(self: &Arc<Self>) -> Unread {
        if self.answers.fetch_add(1, Ordering::Relaxed) == 0 {
            self.touch(&self.taken);
        }
        Unread(Arc::new(Answer(self.clone())))
    }

    /// Ends when an HTTP/2 client has taken nothing of its answers for too long.
    pub(super) async fn lost(&self) {
        loop {
            sleep(UNREAD / 4).await;
            let waiting = self.answers.load(Ordering::Relaxed) > 0 && !self.is_streaming();
            if waiting && self.since(&self.taken) >= UNREAD {
                return;
            }
        }
    }

    fn is_streaming(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }

    fn touch(&self, clock: &AtomicU64) {
        let since = self.began.elapsed().as_millis();
        clock.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago `clock` was touched.
    fn since(&self, clock: &AtomicU64) -> Duration {
        let at = Duration::from_millis(clock.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(at)
    }

    /// When the patience with a write that began at `clock` ends.
    fn due(&self, clock: &AtomicU64) -> Instant {
        self.began + Duration::from_millis(clock.load(Ordering::Relaxed)) + UNREAD
    }
}

/// See [`Patience::request`].
pub(super) struct Asking(Arc<Patience>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.touch(&self.0.answered);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See [`Patience::stream`].
pub(crate) struct Streaming(Arc<Patience>);

impl Drop for Streaming {
    fn drop(&mut self) {
        let patience = &self.0;
        // From now on the client is expected to read.
        patience.touch(&patience.moved);
        patience.touch(&patience.taken);
        patience.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An HTTP/2 answer that is not taken whole; its octets hold it until they are sent.
#[derive(Clone)]
pub(crate) struct Unread(Arc<Answer>);

struct Answer(Arc<Patience>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Unread {
    /// The same octets, which tell when they are gone.
    pub(crate) fn hold(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held {
            bytes,
            unread: self.clone(),
        })
    }
}

struct Held {
    bytes: Bytes,
    unread: Unread,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let patience = &self.unread.0.0;
        patience.touch(&patience.taken);
    }
}

/// A socket that fails when it takes nothing for too long.
pub(super) struct Watched<S> {
    inner: S,
    patience: Arc<Patience>,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, patience: Arc<Patience>) -> Self {
        Self {
            inner,
            patience,
            timer: None,
        }
    }

    /// Passes on what a write said, or fails it when it waits for too long.
    fn within<T>(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let patience = &*self.patience;
        if wrote.is_ready() {
            self.timer = None;
            patience.touch(&patience.moved);
            return wrote;
        }
        loop {
            let due = patience.due(&patience.moved);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            ready!(timer.as_mut().poll(context));
            let now = Instant::now();
            // What was read since, or a stream that is being read, gives it more time.
            let more = match patience.due(&patience.moved) {
                _ if patience.is_streaming() => now + UNREAD,
                due if due > now => due,
                _ => {
                    let why = "the client does not read its answer";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
                }
            };
            timer.as_mut().reset(more);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.patience.touch(&self.patience.moved);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.within(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.within(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.within(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.within(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_fails_and_one_that_moves_does_not() {
        let (mut client, server) = duplex(8);
        let mut server = Watched::new(server, Patience::new());
        let reading = tokio::spawn(async move {
            let mut octets = [0; 8];
            for _ in 0..4 {
                sleep(UNREAD - Duration::from_secs(1)).await;
                client.read_exact(&mut octets).await.unwrap();
            }
            client
        });
        let began = Instant::now();
        server.write_all(&[b'x'; 40]).await.unwrap();
        assert!(began.elapsed() > 3 * UNREAD, "slow, and served");
        let client = reading.await.unwrap();
        let began = Instant::now();
        let error = server.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() <= UNREAD);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_being_read_gives_time() {
        let (_client, server) = duplex(1);
        let patience = Patience::new();
        let mut server = Watched::new(server, patience.clone());
        let stream = patience.stream();
        let writing = tokio::spawn(async move { server.write_all(b"xyz").await });
        sleep(10 * UNREAD).await;
        assert!(!writing.is_finished());
        drop(stream);
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
