//! The wire under a session: writing never keeps reading waiting, nor the other way round.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use codecs::smpp::Session;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::bind::Stream;

/// How long the last octets of a session may take to leave.
const LINGER: Duration = Duration::from_secs(1);

/// Room of the output buffer that is kept when nothing waits: an idle bind holds little. Chosen: a
/// burst above it may allocate again.
const OUT_OCTETS_KEPT: usize = 32 * 1024;

/// What came of polling the wire.
#[derive(Debug)]
pub(super) enum Io {
    /// There is something in the session's read buffer.
    Read,
    /// Octets left, and somebody waits for room.
    Wrote,
    /// The peer has closed its side.
    Eof,
    /// The connection is broken.
    Broken(io::Error),
    /// The session is over.
    Closed,
}

/// A connection and what is on its way out.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    /// Taken from the session; emptied before more is taken, so that the session knows what has
    /// certainly not left.
    out: BytesMut,
    unflushed: bool,
    broken: bool,
    /// Since when the peer takes nothing.
    stalled: Option<Instant>,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            out: BytesMut::new(),
            unflushed: false,
            broken: false,
            stalled: None,
        }
    }

    /// Since when the peer takes nothing of what waits.
    pub(super) fn stalled(&self) -> Option<Instant> {
        self.stalled
    }

    /// Writes what can be written, then reads once. Ready when there is something to act on.
    pub(super) fn poll(
        &mut self,
        session: &mut Session,
        wants_room: bool,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Io> {
        let wrote = match self.write(session, now, context) {
            Ok(wrote) => wrote,
            Err(error) => return self.broke(error),
        };
        if session.is_closed() {
            return Poll::Ready(Io::Closed);
        }
        if session.wants_read() {
            let read = pin!(self.stream.read_buf(session.read_buffer())).poll(context);
            match read {
                Poll::Ready(Ok(0)) => {
                    self.broken = true;
                    return Poll::Ready(Io::Eof);
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Io::Read),
                Poll::Ready(Err(error)) => return self.broke(error),
                Poll::Pending => {}
            }
        }
        if wrote && wants_room {
            return Poll::Ready(Io::Wrote);
        }
        Poll::Pending
    }

    fn broke(&mut self, error: io::Error) -> Poll<Io> {
        self.broken = true;
        Poll::Ready(Io::Broken(error))
    }

    /// Says whether any octet left.
    fn write(
        &mut self,
        session: &mut Session,
        now: Instant,
        context: &mut Context<'_>,
    ) -> io::Result<bool> {
        let mut wrote = false;
        while !self.out.is_empty() || session.poll_transmit(&mut self.out) {
            match Pin::new(&mut self.stream).poll_write(context, &self.out)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(octets) => {
                    self.out.advance(octets);
                    self.stalled = None;
                    self.unflushed = true;
                    wrote = true;
                }
                Poll::Pending => {
                    self.stalled.get_or_insert(now);
                    return Ok(wrote);
                }
            }
        }
        if self.out.is_empty() && self.out.capacity() > OUT_OCTETS_KEPT {
            self.out = BytesMut::new();
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(context)? {
                Poll::Ready(()) => {
                    self.unflushed = false;
                    self.stalled = None;
                }
                Poll::Pending => {
                    self.stalled.get_or_insert(now);
                }
            }
        }
        Ok(wrote)
    }

    /// Writes the rest, if the peer takes it, and says goodbye.
    pub(super) async fn close(mut self) {
        if self.broken {
            return;
        }
        let goodbye = async {
            self.stream.write_all(&self.out).await?;
            self.stream.shutdown().await
        };
        // The session is over whether or not the peer hears the end of it.
        drop(timeout(LINGER, goodbye).await);
    }
}
