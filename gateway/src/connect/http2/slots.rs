//! Requests that are out: a table with the oldest first, bounded by the stream limit.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};

use super::fate::Answered;

/// No slot.
const NONE: usize = usize::MAX;

/// A request on its stream.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) token: u64,
    /// The stream's number.
    pub(super) stream: u32,
    /// When the caller handed it over.
    pub(super) handed: Instant,
    pub(super) awaits: Awaits,
    /// To cancel a body that the peer's window does not take.
    pub(super) body: SendStream<Bytes>,
}

/// What of its answer is awaited. Dropping it cancels the stream.
#[derive(Debug)]
pub(super) enum Awaits {
    Head(ResponseFuture),
    Body {
        answered: Box<Answered>,
        body: BytesMut,
        stream: RecvStream,
    },
}

#[derive(Debug)]
struct Slot {
    out: Option<Out>,
    older: usize,
    /// The next younger request; of a free slot, the next free one.
    younger: usize,
}

/// The requests that are out.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: usize,
    oldest: usize,
    youngest: usize,
    len: usize,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            oldest: NONE,
            youngest: NONE,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts the youngest in; its slot.
    pub(super) fn insert(&mut self, out: Out) -> usize {
        let slot = Slot {
            out: Some(out),
            older: self.youngest,
            younger: NONE,
        };
        let ix = match self.slots.get_mut(self.free) {
            Some(free) => {
                let ix = self.free;
                self.free = free.younger;
                *free = slot;
                ix
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        match self.slots.get_mut(self.youngest) {
            Some(before) => before.younger = ix,
            None => self.oldest = ix,
        }
        self.youngest = ix;
        self.len += 1;
        ix
    }

    pub(super) fn get_mut(&mut self, ix: usize) -> Option<&mut Out> {
        self.slots.get_mut(ix)?.out.as_mut()
    }

    /// The one that has been out longest, and its slot.
    pub(super) fn oldest(&self) -> Option<(usize, &Out)> {
        let out = self.slots.get(self.oldest)?.out.as_ref()?;
        Some((self.oldest, out))
    }

    pub(super) fn remove(&mut self, ix: usize) -> Option<Out> {
        let slot = self.slots.get_mut(ix)?;
        let out = slot.out.take()?;
        let (older, younger) = (slot.older, slot.younger);
        slot.younger = self.free;
        self.free = ix;
        match self.slots.get_mut(older) {
            Some(older) => older.younger = younger,
            None => self.oldest = younger,
        }
        match self.slots.get_mut(younger) {
            Some(younger) => younger.older = older,
            None => self.youngest = older,
        }
        self.len -= 1;
        Some(out)
    }
}
