//! The wire between h2 and TLS: gathers what h2 writes, and sees the frames that pass.
//!
//! h2 flushes after each body of some size, and each flush would be a TLS record and a system call of its
//! own. Here a flush does nothing: what was gathered leaves when the connection's turn ends, many frames in
//! records of 16 KiB. While the gate is shut nothing is read, so that the stream limit cannot fall between
//! our look at it and h2's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// Octets that are gathered before they are written. Chosen: four full TLS records (RFC 8446 §5.1: 2^14).
pub(super) const GATHER_OCTETS: usize = 64 * 1024;
/// Room that is kept when nothing is gathered: an idle connection holds little.
const GATHER_OCTETS_KEPT: usize = 32 * 1024;

/// A connected stream: TLS in the field, a pipe in tests.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Both ends' view of the stream.
pub(super) struct Wire {
    io: Box<dyn Io>,
    /// Bounded: what is handed over in a turn after [`GATHER_OCTETS`], and h2's own frames.
    gathered: BytesMut,
    unflushed: bool,
    /// The peer takes nothing at the moment.
    blocked: bool,
    /// Nothing more is written: what was gathered has not left.
    mute: bool,
    /// Nothing more comes.
    deaf: bool,
    /// How the stream ended.
    end: Option<String>,
    /// Reading waits for the next turn.
    gate_shut: bool,
    /// The stream has nothing to read, and will wake us when it has.
    armed: bool,
    /// h2 wanted to read what may be there while the gate was shut.
    missed: bool,
    /// Octets have come since this was taken.
    heard: bool,
    /// Writes that the stream took; what coalescing is measured by.
    writes: u64,
    came: Frames,
    /// What h2 has written.
    encoded: Frames,
    /// What of it the stream took.
    left: Frames,
    read: Waker,
    write: Waker,
}

impl Wire {
    pub(super) fn new(io: Box<dyn Io>, read: Waker, write: Waker) -> Self {
        Self {
            io,
            gathered: BytesMut::new(),
            unflushed: false,
            blocked: false,
            mute: false,
            deaf: false,
            end: None,
            gate_shut: false,
            armed: false,
            missed: false,
            heard: false,
            writes: 0,
            came: Frames::default(),
            encoded: Frames::sent(),
            left: Frames::sent(),
            read,
            write,
        }
    }

    /// What has come.
    pub(super) fn came(&mut self) -> &mut Frames {
        &mut self.came
    }

    /// The highest stream that the peer may know of, now or later.
    pub(super) fn opened(&self) -> u32 {
        match self.mute {
            true => self.left.opened,
            false => self.encoded.opened,
        }
    }

    /// Whether all of this request was written.
    pub(super) fn is_ended(&self, stream: u32) -> bool {
        !self.encoded.unended.contains(&stream)
    }

    /// Whether bodies wait for the peer's window.
    pub(super) fn has_unended(&self) -> bool {
        !self.encoded.unended.is_empty()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn is_full(&self) -> bool {
        self.gathered.len() >= GATHER_OCTETS
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    /// Whether octets have come since the last time.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    pub(super) fn shut_gate(&mut self) {
        self.gate_shut = true;
    }

    /// Says whether something may be there to be read that nobody will wake us for.
    pub(super) fn open_gate(&mut self) -> bool {
        self.gate_shut = false;
        std::mem::take(&mut self.missed) && !self.armed
    }

    /// How the stream ended, if it did.
    pub(super) fn end(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// What has not left never will.
    pub(super) fn kill(&mut self) {
        self.deaf = true;
        self.silence();
    }

    fn silence(&mut self) {
        self.mute = true;
        self.blocked = false;
        self.gathered = BytesMut::new();
    }

    fn ended(&mut self, why: String) {
        self.end.get_or_insert(why);
        self.kill();
    }

    /// Writes what was gathered, as far as the peer takes it. After an error answers may still be there to
    /// be read: a peer that closes says so first.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let done = self.try_drain();
        if let Err(error) = &done {
            self.end.get_or_insert_with(|| error.to_string());
            self.silence();
        }
        done
    }

    fn try_drain(&mut self) -> io::Result<()> {
        self.blocked = false;
        let mut context = Context::from_waker(&self.write);
        while !self.gathered.is_empty() {
            match Pin::new(&mut self.io).poll_write(&mut context, &self.gathered)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(octets) => {
                    let taken = self.gathered.get(..octets).unwrap_or_default();
                    self.left.pass(taken);
                    self.gathered.advance(octets);
                    self.unflushed = true;
                    self.writes += 1;
                }
                Poll::Pending => {
                    self.blocked = true;
                    return Ok(());
                }
            }
        }
        if self.gathered.capacity() > GATHER_OCTETS_KEPT {
            self.gathered = BytesMut::new();
        }
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(&mut context)? {
                Poll::Ready(()) => self.unflushed = false,
                Poll::Pending => self.blocked = true,
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        if self.gate_shut {
            self.missed = true;
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let mut context = Context::from_waker(&self.read);
        let polled = Pin::new(&mut self.io).poll_read(&mut context, buffer);
        self.armed = polled.is_pending();
        match &polled {
            Poll::Ready(Ok(())) => {
                let new = buffer.filled().get(before..).unwrap_or_default();
                if new.is_empty() {
                    // The peer has closed, and answers nothing more: what is still here stays here.
                    self.ended("the peer closed the connection".to_owned());
                }
                self.heard |= !new.is_empty();
                self.came.pass(new);
            }
            Poll::Ready(Err(error)) => self.ended(error.to_string()),
            Poll::Pending => {}
        }
        polled
    }

    fn write(&mut self, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.mute {
            // An error would end h2's reading as well.
            return Poll::Ready(Ok(octets.len()));
        }
        // With the gate shut our own requests are written, whose number the caller bounds; else what the
        // peer makes h2 say, which must not grow while the peer takes nothing.
        if self.is_full() && !self.gate_shut {
            if self.drain().is_err() {
                return Poll::Ready(Ok(octets.len()));
            }
            if self.is_full() {
                return Poll::Pending;
            }
        }
        self.encoded.pass(octets);
        self.gathered.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }
}

/// h2's end of the wire. Its task is woken by the wire's own wakers.
#[derive(Clone)]
pub(super) struct Pipe(pub(super) Arc<Mutex<Wire>>);

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().read(buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().write(octets)
    }

    /// The turn's end does it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock();
        wire.drain()?;
        if wire.mute {
            return Poll::Ready(Ok(()));
        }
        if wire.blocked {
            return Poll::Pending;
        }
        let Wire { io, write, .. } = &mut *wire;
        Pin::new(io).poll_shutdown(&mut Context::from_waker(write))
    }
}
