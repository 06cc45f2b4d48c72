//! Carriers: which parts of a generation's messages were answered under which carrier id.

use rustc_hash::FxHashMap;

use crate::message::MessageId;

/// Further parts under one id in a generation, the newest ones. Chosen: more than two means that the
/// carrier's ids tell nothing.
const DOUBLES_MAX: usize = 16;
/// What one part takes: its entry, in a hash table that is at most 7/8 full.
const ENTRY_BYTES: usize = 32;

/// Parts by the hash of their carrier's id.
#[derive(Debug, Default)]
pub(crate) struct Carriers {
    /// The first part under each id …
    first: FxHashMap<u64, (MessageId, u8)>,
    /// … and the others: ids that differ in case or zeros only, or were given out again.
    doubles: FxHashMap<u64, Vec<(MessageId, u8)>>,
}

impl Carriers {
    /// Adds a part. Returns the octets that it takes.
    pub(crate) fn add(&mut self, key: u64, place: (MessageId, u8)) -> usize {
        let first = *self.first.entry(key).or_insert(place);
        if first == place {
            return ENTRY_BYTES;
        }
        let doubles = self.doubles.entry(key).or_default();
        if doubles.contains(&place) {
            return 0;
        }
        if doubles.len() >= DOUBLES_MAX {
            doubles.remove(0);
        }
        doubles.push(place);
        ENTRY_BYTES
    }

    /// The parts under a key, the newest first.
    pub(crate) fn get(&self, key: u64) -> impl Iterator<Item = (MessageId, u8)> {
        let first = self.first.get(&key).copied();
        // Nearly always empty, and then not even hashed.
        let doubled = first.is_some() && !self.doubles.is_empty();
        let doubles = doubled.then(|| self.doubles.get(&key)).flatten();
        doubles.into_iter().flatten().rev().copied().chain(first)
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, (MessageId, u8))> {
        let first = self.first.iter().map(|(key, place)| (*key, *place));
        let doubles = self.doubles.iter();
        first.chain(doubles.flat_map(|(key, all)| all.iter().map(|place| (*key, *place))))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }
}
