//! Ids: how they are made, how they rise, and how users see them.
//!
//! A message id (also a batch's, and that of a handset's message) is 64 bits: 44 bits of Unix milliseconds, 8 bits of shard, 12 bits of sequence. Users
//! see a ULID (26 characters of Crockford base32: 48 bits of milliseconds, then 80 bits) in which the
//! 80 bits are shard, sequence and the store's own random node number, so that two gateways never
//! make the same id. An event id is a ULID of milliseconds, the log's sequence number and node bits.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;

/// Sequence bits: 4,096 ids a millisecond and shard; more borrow from the next millisecond.
const SEQUENCE_BITS: u32 = 12;
/// Shard bits. One shard today; the width is fixed now because ids are kept for long.
const SHARD_BITS: u32 = 8;
/// Bits of node number in a message id's ULID form.
const NODE_BITS: u32 = 60;
/// Crockford base32 (ULID specification): no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A message's (or batch's) id inside the gateway; sorts by time of acceptance.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct MessageId(pub u64);

impl MessageId {
    /// The millisecond the id was made in (never before the one of an earlier id).
    #[must_use]
    pub fn made_at(self) -> UnixMs {
        UnixMs(self.0 >> (SHARD_BITS + SEQUENCE_BITS))
    }

    /// The smallest id of a millisecond, for time-bounded scans.
    #[must_use]
    pub fn first_of(at: UnixMs) -> Self {
        Self(at.0 << (SHARD_BITS + SEQUENCE_BITS))
    }
}

/// Makes ids that rise, also when the clock steps back and over restarts.
#[derive(Debug)]
pub struct IdMaker {
    last: u64,
    shard: u8,
}

impl IdMaker {
    /// Starts after `last`, the largest id ever issued in this store.
    #[must_use]
    pub fn new(shard: u8, last: MessageId) -> Self {
        Self {
            last: last.0,
            shard,
        }
    }

    /// The id that [`IdMaker::next`] would give.
    #[must_use]
    pub fn peek(&self, now: UnixMs) -> MessageId {
        let shard = u64::from(self.shard) << SEQUENCE_BITS;
        let floor = (now.0 << (SHARD_BITS + SEQUENCE_BITS)) | shard;
        let mut next = self.last + 1;
        // A carry out of the sequence would change the shard: go to the next millisecond instead.
        if next & (((1 << SHARD_BITS) - 1) << SEQUENCE_BITS) != shard {
            let millisecond = (self.last >> (SHARD_BITS + SEQUENCE_BITS)) + 1;
            next = (millisecond << (SHARD_BITS + SEQUENCE_BITS)) | shard;
        }
        MessageId(floor.max(next))
    }

    /// The next id: from the wall clock, or one after the last issued, whichever is later.
    pub fn next(&mut self, now: UnixMs) -> MessageId {
        let id = self.peek(now);
        self.last = id.0;
        id
    }

    /// Goes on after `id`, which was read back from disk.
    pub fn raise_to(&mut self, id: MessageId) {
        self.last = self.last.max(id.0);
    }

    /// The last id issued.
    #[must_use]
    pub fn last(&self) -> MessageId {
        MessageId(self.last)
    }
}

/// Turns ids into what users see and back. Holds the store's node number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    node: u64,
}

impl Ids {
    /// For a store whose node number is `node` (its low 60 bits are used).
    #[must_use]
    pub fn new(node: u64) -> Self {
        Self {
            node: node & ((1 << NODE_BITS) - 1),
        }
    }

    /// `msg_…`
    #[must_use]
    pub fn message(self, id: MessageId) -> PublicId {
        PublicId {
            prefix: "msg_",
            ulid: self.ulid(id),
        }
    }

    /// A message's id for a service that wants 16 octets, another one for each of its first 16 parts: a
    /// ULID's, whose first four bits no message's id uses.
    #[must_use]
    pub fn octets(self, id: MessageId, part: u8) -> [u8; 16] {
        (self.ulid(id) | u128::from(part) << 124).to_be_bytes()
    }

    /// `bat_…`
    #[must_use]
    pub fn batch(self, id: MessageId) -> PublicId {
        PublicId {
            prefix: "bat_",
            ulid: self.ulid(id),
        }
    }

    /// `sup_…`
    #[must_use]
    pub fn suppression(self, id: MessageId) -> PublicId {
        PublicId {
            prefix: "sup_",
            ulid: self.ulid(id),
        }
    }

    /// `in_…`: of a handset's message.
    #[must_use]
    pub fn inbound(self, id: MessageId) -> PublicId {
        PublicId {
            prefix: "in_",
            ulid: self.ulid(id),
        }
    }

    /// `evt_…`: from the commit's time and the event's sequence number.
    #[must_use]
    pub fn event(self, at: UnixMs, seq: u64) -> PublicId {
        let low = u128::from(seq & ((1 << 48) - 1)) << 32 | u128::from(self.node & 0xFFFF_FFFF);
        PublicId {
            prefix: "evt_",
            ulid: u128::from(at.0) << 80 | low,
        }
    }

    /// `evb_…`: a webhook batch's id follows from its first event, its last and its endpoint.
    #[must_use]
    pub fn event_batch(self, at: UnixMs, first: u64, last: u64, endpoint: u16) -> PublicId {
        let span = (last - first).min((1 << 16) - 1);
        let low = u128::from(first & ((1 << 48) - 1)) << 32
            | u128::from(span) << 16
            | u128::from(endpoint);
        PublicId {
            prefix: "evb_",
            ulid: u128::from(at.0) << 80 | low,
        }
    }

    /// Reads `msg_…`; `None` when it is not an id that this store can have made.
    #[must_use]
    pub fn parse_message(self, text: &str) -> Option<MessageId> {
        self.parse(text.strip_prefix("msg_")?)
    }

    /// Reads `bat_…`.
    #[must_use]
    pub fn parse_batch(self, text: &str) -> Option<MessageId> {
        self.parse(text.strip_prefix("bat_")?)
    }

    /// Reads `sup_…`.
    #[must_use]
    pub fn parse_suppression(self, text: &str) -> Option<MessageId> {
        self.parse(text.strip_prefix("sup_")?)
    }

    fn parse(self, ulid: &str) -> Option<MessageId> {
        let ulid = read_ulid(ulid)?;
        let node = u64::try_from(ulid & ((1 << NODE_BITS) - 1)).ok()?;
        let id = u64::try_from(ulid >> NODE_BITS & u128::from(u64::MAX)).ok()?;
        // The top 4 bits of the 48-bit time do not fit the 44 bits of an id.
        (node == self.node && ulid >> (NODE_BITS + 64) == 0).then_some(MessageId(id))
    }

    fn ulid(self, id: MessageId) -> u128 {
        u128::from(id.0) << NODE_BITS | u128::from(self.node)
    }
}

/// An id as users see it: a type prefix and a ULID. Displays without allocating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicId {
    prefix: &'static str,
    ulid: u128,
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 26];
        let mut rest = self.ulid;
        for place in text.iter_mut().rev() {
            *place = ALPHABET[usize::try_from(rest & 31).unwrap_or(0)];
            rest >>= 5;
        }
        f.write_str(self.prefix)?;
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Shown as its text, so that ids can be put into JSON as they are.
impl Serialize for PublicId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn read_ulid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    // 26 characters hold 130 bits: the first one carries only three.
    if bytes.len() != 26 || bytes[0] > b'7' {
        return None;
    }
    bytes.iter().try_fold(0u128, |sum, byte| {
        let digit = ALPHABET.iter().position(|known| known == byte)?;
        Some(sum << 5 | u128::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_when_the_clock_steps_back_and_when_a_millisecond_is_full() {
        let mut ids = IdMaker::new(0, MessageId(0));
        let first = ids.next(UnixMs(1_000));
        let second = ids.next(UnixMs(900));
        assert!(second > first);
        let mut last = second;
        for _ in 0..10_000 {
            let next = ids.next(UnixMs(900));
            assert!(next > last);
            assert_eq!(next.0 >> SEQUENCE_BITS & 0xFF, 0, "the shard bits stay");
            last = next;
        }
    }

    #[test]
    fn public_ids_read_back_and_sort_by_time() {
        let ids = Ids::new(u64::MAX);
        let mut maker = IdMaker::new(3, MessageId(0));
        let a = maker.next(UnixMs(1_795_248_000_000));
        let b = maker.next(UnixMs(1_795_248_000_001));
        assert_eq!(ids.parse_message(&ids.message(a).to_string()), Some(a));
        assert!(ids.message(a).to_string() < ids.message(b).to_string());
        assert_eq!(ids.message(a).to_string().len(), 30);
        assert_eq!(
            Ids::new(7).parse_message(&ids.message(a).to_string()),
            None,
            "another store's"
        );
        assert_eq!(
            ids.parse_message("msg_01JD9Z6Q8W3M5T7R2K4N6P8V0U"),
            None,
            "U is no digit"
        );
    }
}
