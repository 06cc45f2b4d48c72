//! The journal's blobs: one per group commit, written and read here and nowhere else.
//!
//! ```text
//!  blob   = format u8 · batch u64 · epoch u64 · time u64 · crc32 u32 · operations
//!  crc32  = over everything before it and after it
//! ```
//! Integers of the head are big-endian; the operations are postcard, one after the other. A blob
//! tells its own batch number and epoch, because SQLite's recovery stops silently at the first bad
//! frame: numbers must be contiguous, and a hole is reported.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::UnixMs;
use crate::event::{Event, EventKinds};
use crate::inbound::{Inbound, InboundPart};
use crate::message::life::Change;
use crate::message::{EndpointIx, Message, MessageId, RouteIx};
use crate::outcome::Receipt;
use crate::store::claim::Claims;
use crate::store::{EndpointState, IdempotencyKey, Learned, Orphan};
use crate::suppression::{Ended, Suppression};

/// The format of the blobs that this version writes; it reads this one only.
const FORMAT: u8 = 1;
/// Octets before the operations.
const HEAD_BYTES: usize = 1 + 8 + 8 + 8 + 4;
const CRC_AT: usize = HEAD_BYTES - 4;

/// One thing that a commit makes durable, as it is read back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Op {
    /// A message was accepted.
    Accept {
        message: Message,
        key: Option<IdempotencyKey>,
        /// Sequence number of its `message.accepted` event.
        seq: u64,
    },
    /// Something happened to a message.
    Change { id: MessageId, change: Change },
    /// A receipt found no message yet; it waits for one.
    Park { receipt: Receipt },
    /// A parked receipt was matched, or given up.
    Unpark { key: u64 },
    /// What an endpoint remembers.
    Endpoint {
        endpoint: EndpointIx,
        state: EndpointState,
    },
    /// An event that belongs to no message.
    Note { event: Event },
    /// Parts may be handed over from now on, under `retry`; or, after all, are not. See `claim.rs`.
    Claim { claims: Claims, claimed: bool },
    /// What a route's receipts have taught.
    Learned { route: RouteIx, learned: Learned },
    /// A receipt without a message was given up.
    Orphan { orphan: Orphan },
    /// A part of a handset's message waits for the others, in the set of this id.
    InboundPart { set: MessageId, part: InboundPart },
    /// A handset's message is whole, or given up: its parts wait no longer.
    Inbound {
        inbound: Inbound,
        /// Sequence number of its first event; the others follow.
        seq: u64,
    },
    /// A suppression began, in place of another one or not; its events are of these kinds, numbered
    /// from `seq` on.
    Suppress {
        suppression: Suppression,
        replaces: Option<MessageId>,
        seq: u64,
        kinds: EventKinds,
    },
    /// A suppression ended; its events as above.
    Unsuppress {
        ended: Ended,
        seq: u64,
        kinds: EventKinds,
    },
}

/// The same, as it is written: borrowed. The variants stand in the order of [`Op`].
#[derive(Serialize)]
pub(crate) enum OpRef<'a> {
    Accept {
        message: &'a Message,
        key: Option<IdempotencyKey>,
        seq: u64,
    },
    Change {
        id: MessageId,
        change: &'a Change,
    },
    Park {
        receipt: &'a Receipt,
    },
    Unpark {
        key: u64,
    },
    Endpoint {
        endpoint: EndpointIx,
        state: &'a EndpointState,
    },
    Note {
        event: Event,
    },
    Claim {
        claims: &'a Claims,
        claimed: bool,
    },
    Learned {
        route: RouteIx,
        learned: &'a Learned,
    },
    Orphan {
        orphan: &'a Orphan,
    },
    InboundPart {
        set: MessageId,
        part: &'a InboundPart,
    },
    Inbound {
        inbound: &'a Inbound,
        seq: u64,
    },
    Suppress {
        suppression: &'a Suppression,
        replaces: Option<MessageId>,
        seq: u64,
        kinds: EventKinds,
    },
    Unsuppress {
        ended: &'a Ended,
        seq: u64,
        kinds: EventKinds,
    },
}

/// A blob being written.
#[derive(Debug, Default)]
pub(crate) struct Blob {
    bytes: Vec<u8>,
}

impl Blob {
    /// Starts a blob in the same memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
    }

    /// Adds an operation.
    pub(crate) fn push(&mut self, op: &OpRef<'_>) {
        // Writing into a Vec has no failure, and no operation holds an unserializable value.
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(op, bytes).expect("invariant: every Op is plain data");
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() <= HEAD_BYTES
    }

    /// A place to come back to with [`Blob::truncate`].
    pub(crate) fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back everything added since `mark`.
    pub(crate) fn truncate(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    /// Fills in the head and gives the octets to be stored.
    pub(crate) fn seal(&mut self, batch: u64, epoch: u64, at: UnixMs) -> &[u8] {
        self.bytes[0] = FORMAT;
        self.bytes[1..9].copy_from_slice(&batch.to_be_bytes());
        self.bytes[9..17].copy_from_slice(&epoch.to_be_bytes());
        self.bytes[17..25].copy_from_slice(&at.0.to_be_bytes());
        let crc = checksum(&self.bytes);
        self.bytes[CRC_AT..HEAD_BYTES].copy_from_slice(&crc.to_be_bytes());
        &self.bytes
    }
}

/// A blob as read: its head, and its operations one by one.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    /// The batch number.
    pub(crate) batch: u64,
    /// The epoch of the process that wrote it.
    pub(crate) epoch: u64,
    /// When it was written.
    pub(crate) at: UnixMs,
    rest: &'a [u8],
}

/// Why a blob cannot be read. Each one means damage, or a newer version's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BlobError {
    /// Shorter than its head.
    #[error("the record is {0} octets long, shorter than its head")]
    Short(usize),
    /// Another format.
    #[error("the record has format {0}; this version reads format {FORMAT}")]
    Format(u8),
    /// The checksum does not fit.
    #[error("the record's checksum does not fit its content")]
    Checksum,
    /// The checksum fits, but an operation does not parse.
    #[error("an operation of the record does not parse")]
    Operation,
}

impl<'a> Reading<'a> {
    /// Reads the head and checks the sum.
    ///
    /// # Errors
    /// [`BlobError`] for everything that is not a whole blob of this format.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, BlobError> {
        if bytes.len() < HEAD_BYTES {
            return Err(BlobError::Short(bytes.len()));
        }
        if bytes[0] != FORMAT {
            return Err(BlobError::Format(bytes[0]));
        }
        let number = |from: usize| {
            bytes[from..from + 8]
                .iter()
                .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let crc = checksum(bytes).to_be_bytes();
        if bytes[CRC_AT..HEAD_BYTES] != crc {
            return Err(BlobError::Checksum);
        }
        Ok(Self {
            batch: number(1),
            epoch: number(9),
            at: UnixMs(number(17)),
            rest: &bytes[HEAD_BYTES..],
        })
    }

    /// The next operation; `None` after the last.
    ///
    /// # Errors
    /// [`BlobError::Operation`].
    pub(crate) fn next(&mut self) -> Result<Option<Op>, BlobError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (op, rest) = postcard::take_from_bytes(self.rest).map_err(|_| BlobError::Operation)?;
        self.rest = rest;
        Ok(Some(op))
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..CRC_AT]);
    crc.update(&bytes[HEAD_BYTES..]);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_reads_back_and_any_flipped_bit_is_seen() {
        let mut blob = Blob::default();
        blob.clear();
        assert!(blob.is_empty());
        blob.push(&OpRef::Unpark { key: 7 });
        blob.push(&OpRef::Unpark { key: u64::MAX });
        let bytes = blob.seal(3, 9, UnixMs(5)).to_vec();
        let mut reading = Reading::new(&bytes).unwrap();
        assert_eq!(
            (reading.batch, reading.epoch, reading.at),
            (3, 9, UnixMs(5))
        );
        assert_eq!(reading.next(), Ok(Some(Op::Unpark { key: 7 })));
        assert_eq!(reading.next(), Ok(Some(Op::Unpark { key: u64::MAX })));
        assert_eq!(reading.next(), Ok(None));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Reading::new(&bad).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Reading::new(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
