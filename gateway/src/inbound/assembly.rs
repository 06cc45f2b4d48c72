//! Assembly: which parts make one message (smpp.md §2.4). Pure; the store's writer owns the only one.
//!
//! ```text
//!            the first part
//!                 │
//!                 ▼      same place, other octets; too old; no room
//!   ┌──────────► open ────────────────────────────────────────────► given up: delivered incomplete
//!   │ a new part   │ all places taken
//!   └──────────────┤
//!                  ▼
//!                 done: octets gone, digests kept until it is too old, so that a part that the
//!                       carrier sends again is known for what it is
//! ```

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Concat, InboundPart, Piece, Width};
use crate::clock::UnixMs;
use crate::message::{MessageId, RouteIx, TenantIx};

/// Open sets of one sender on one route; beyond it the oldest is given up. Chosen: a handset sends one
/// message after the other.
pub const SOURCE_SETS_MAX: usize = 16;
/// Open sets in all. Chosen: ten minutes of 16 broken long messages a second.
pub const SETS_MAX: usize = 10_000;
/// Octets of all open sets. Chosen: [`SETS_MAX`] sets of six short parts each.
pub const SETS_BYTES_MAX: usize = 8 << 20;
/// Finished sets that are remembered; beyond it the oldest is forgotten. About 100 octets each.
pub const DONE_MAX: usize = 20_000;

/// What makes parts belong together: route account, who, to whom, reference and its width, total.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    route: RouteIx,
    from: Box<str>,
    to: Box<str>,
    width: Width,
    reference: u16,
    total: u8,
}

impl Key {
    fn new(route: RouteIx, from: &str, to: &str, concat: Concat) -> Self {
        Self {
            route,
            from: from.into(),
            to: to.into(),
            width: concat.width,
            reference: concat.reference,
            total: concat.total,
        }
    }

    fn source(&self) -> u64 {
        xxh3_64_with_seed(self.from.as_bytes(), u64::from(self.route.0))
    }
}

/// The parts of one message that came so far; or, when it is done, what they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The id its message gets.
    pub id: MessageId,
    key: Key,
    /// When its first part was read.
    pub opened_at: UnixMs,
    /// What came, in the order of places. Empty once it is done.
    pieces: Vec<Piece>,
    /// A digest of each part, by place.
    digests: Vec<(u8, u64)>,
    /// What its newest part may answer.
    in_reply_to: Option<(TenantIx, MessageId)>,
}

impl Set {
    fn is_open(&self) -> bool {
        !self.pieces.is_empty()
    }

    fn digest_at(&self, sequence: u8) -> Option<u64> {
        let found = self.digests.iter().find(|(place, _)| *place == sequence);
        found.map(|(_, digest)| *digest)
    }

    fn is_complete(&self) -> bool {
        self.digests.len() == usize::from(self.key.total)
    }

    fn bytes(&self) -> usize {
        self.pieces.iter().map(Piece::memory_bytes).sum()
    }

    /// As a message's parts.
    #[must_use]
    pub fn gathered(self) -> Gathered {
        Gathered {
            id: self.id,
            route: self.key.route,
            concat: Some(Concat {
                width: self.key.width,
                reference: self.key.reference,
                total: self.key.total,
                sequence: 0,
            }),
            from: self.key.from,
            to: self.key.to,
            pieces: self.pieces,
            in_reply_to: self.in_reply_to,
        }
    }
}

/// The parts of a message that is to be delivered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// Its id.
    pub id: MessageId,
    /// Where it came.
    pub route: RouteIx,
    /// Who wrote.
    pub from: Box<str>,
    /// To which number.
    pub to: Box<str>,
    /// Its concatenation, if it has one; `sequence` is 0.
    pub concat: Option<Concat>,
    /// In the order of places.
    pub pieces: Vec<Piece>,
    /// What it may answer, and whose that is.
    pub in_reply_to: Option<(TenantIx, MessageId)>,
}

impl Gathered {
    /// A message that came in one part.
    #[must_use]
    pub fn single(id: MessageId, part: InboundPart) -> Self {
        let (route, from, to) = (part.route, part.from.clone(), part.to.clone());
        let in_reply_to = part.in_reply_to;
        Self {
            id,
            route,
            from,
            to,
            concat: None,
            pieces: vec![Piece::of(part)],
            in_reply_to,
        }
    }
}

/// What a part is, before anything is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It needs no others.
    Single,
    /// It is known already: acknowledged and dropped.
    Duplicate,
    /// It joins this set.
    Joins(MessageId),
    /// It begins a set. The set that stood in its place is to be delivered first, if it was open.
    Begins(Option<MessageId>),
}

/// The sets. Bounded by [`SOURCE_SETS_MAX`], [`SETS_MAX`], [`SETS_BYTES_MAX`] and [`DONE_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Sets {
    sets: FxHashMap<Key, Set>,
    /// By id, which is by age.
    open: BTreeMap<MessageId, Key>,
    done: BTreeMap<MessageId, Key>,
    by_source: FxHashMap<u64, Vec<MessageId>>,
    bytes: usize,
}

fn digest(part: &InboundPart) -> u64 {
    xxh3_64_with_seed(&part.octets, u64::from(part.data_coding))
}

impl Sets {
    /// Says what a part is, with sets that hold for `timeout_ms`.
    #[must_use]
    pub fn judge(&self, part: &InboundPart, timeout_ms: u64) -> Verdict {
        let Some(concat) = part.place() else {
            return Verdict::Single;
        };
        let key = Key::new(part.route, &part.from, &part.to, concat);
        let Some(set) = self.sets.get(&key) else {
            return Verdict::Begins(None);
        };
        let before = set.is_open().then_some(set.id);
        if part.received_at.0.saturating_sub(set.opened_at.0) > timeout_ms {
            return Verdict::Begins(before);
        }
        match set.digest_at(concat.sequence) {
            Some(known) if known == digest(part) => Verdict::Duplicate,
            Some(_) => Verdict::Begins(before),
            None if set.is_open() => Verdict::Joins(set.id),
            None => Verdict::Begins(None),
        }
    }

    /// Adds a part to the set of this id, which is begun if it is not there. Tells whether it is
    /// complete now.
    pub fn add(&mut self, id: MessageId, part: InboundPart) -> bool {
        let Some(concat) = part.place() else {
            return false;
        };
        let key = Key::new(part.route, &part.from, &part.to, concat);
        if self.sets.get(&key).is_some_and(|set| set.id != id) {
            self.forget(&key);
        }
        let set = self.sets.entry(key.clone()).or_insert_with(|| Set {
            id,
            key: key.clone(),
            opened_at: part.received_at,
            pieces: Vec::new(),
            digests: Vec::new(),
            in_reply_to: None,
        });
        if self.open.insert(id, key.clone()).is_none() {
            self.by_source.entry(key.source()).or_default().push(id);
        }
        set.digests.push((concat.sequence, digest(&part)));
        set.in_reply_to = part.in_reply_to.or(set.in_reply_to);
        let piece = Piece::of(part);
        self.bytes += piece.memory_bytes();
        let at = set
            .pieces
            .partition_point(|known| known.sequence < piece.sequence);
        set.pieces.insert(at, piece);
        set.is_complete()
    }

    /// An open set.
    #[must_use]
    pub fn get(&self, id: MessageId) -> Option<&Set> {
        self.sets.get(self.open.get(&id)?)
    }

    /// The set is being delivered: gives it, and remembers what its parts were.
    pub fn close(&mut self, id: MessageId) -> Option<Set> {
        let key = self.open.remove(&id)?;
        self.leave_source(&key, id);
        let set = self.sets.get_mut(&key)?;
        let closed = set.clone();
        self.bytes = self.bytes.saturating_sub(closed.bytes());
        set.pieces = Vec::new();
        self.done.insert(id, key);
        while self.done.len() > DONE_MAX {
            self.forget_oldest();
        }
        Some(closed)
    }

    fn leave_source(&mut self, key: &Key, id: MessageId) {
        let source = key.source();
        if let Some(ids) = self.by_source.get_mut(&source) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.by_source.remove(&source);
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((id, key)) = self.done.pop_first()
            && self.sets.get(&key).is_some_and(|set| set.id == id)
        {
            self.sets.remove(&key);
        }
    }

    /// Makes way for another set of the same key.
    fn forget(&mut self, key: &Key) {
        if let Some(set) = self.sets.remove(key) {
            self.bytes = self.bytes.saturating_sub(set.bytes());
            self.done.remove(&set.id);
            if self.open.remove(&set.id).is_some() {
                self.leave_source(key, set.id);
            }
        }
    }

    /// The open set that has to go for the limits' sake, and which limit that is. `id` is the set that
    /// has grown last.
    #[must_use]
    pub fn over(&self, id: MessageId) -> Option<(MessageId, &'static str)> {
        let source = self.open.get(&id).map(Key::source);
        let ids = source.and_then(|source| self.by_source.get(&source));
        if let Some(ids) = ids.filter(|ids| ids.len() > SOURCE_SETS_MAX) {
            return ids.first().map(|oldest| (*oldest, "source"));
        }
        let over = match () {
            () if self.open.len() > SETS_MAX => "sets",
            () if self.bytes > SETS_BYTES_MAX => "bytes",
            () => return None,
        };
        self.open.keys().next().map(|oldest| (*oldest, over))
    }

    /// The oldest open set, when it was begun at or before `before`.
    #[must_use]
    pub fn overdue(&self, before: UnixMs) -> Option<MessageId> {
        let (id, key) = self.open.first_key_value()?;
        let set = self.sets.get(key)?;
        (set.opened_at <= before).then_some(*id)
    }

    /// Forgets the done sets that were begun at or before `before`.
    pub fn forget_done(&mut self, before: UnixMs) {
        while let Some((_, key)) = self.done.first_key_value() {
            let old = self.sets.get(key).is_none_or(|set| set.opened_at <= before);
            if !old {
                return;
            }
            self.forget_oldest();
        }
    }

    /// Open sets.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Octets of the open sets, and what the done ones take, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.sets.len() * (size_of::<Key>() + size_of::<Set>() + 64)
    }

    /// Everything, open and done, by id.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<Set> {
        let mut all: Vec<Set> = self.sets.values().cloned().collect();
        all.sort_unstable_by_key(|set| set.id);
        all
    }

    /// As it was.
    #[must_use]
    pub fn from_snapshot(sets: Vec<Set>) -> Self {
        let mut all = Self::default();
        for set in sets {
            let key = set.key.clone();
            if set.is_open() {
                all.bytes += set.bytes();
                all.open.insert(set.id, key.clone());
                all.by_source.entry(key.source()).or_default().push(set.id);
            } else {
                all.done.insert(set.id, key.clone());
            }
            all.sets.insert(key, set);
        }
        all
    }
}

#[cfg(test)]
mod tests;
