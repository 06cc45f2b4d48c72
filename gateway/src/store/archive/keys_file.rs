//! Key files: idempotency keys and carrier ids, time-cut, behind Bloom filters.
//!
//! A file's entries stand in segments, each with its filter: filling one touches a part of the table
//! that stays small, and a key that is not there, the normal case, costs no read. A filter has ten
//! bits a key and seven probes: 0.8 % of misses are looked up in vain (Bloom 1970: 0.6185^10).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use rusqlite::{Connection, params};

use crate::message::MessageId;
use crate::store::archive::file::{Kind, Pool, int, uint};

/// The schema of a key file. `extra` is a fingerprint or a part.
pub(crate) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS entries (
   seg INTEGER NOT NULL, key BLOB NOT NULL, id INTEGER NOT NULL, extra BLOB NOT NULL,
   PRIMARY KEY (seg, key, id, extra)) STRICT, WITHOUT ROWID;
   CREATE TABLE IF NOT EXISTS filters (
   seg INTEGER PRIMARY KEY, capacity INTEGER NOT NULL, count INTEGER NOT NULL,
   bits BLOB NOT NULL) STRICT;";

/// Whether the tables have the columns that are read: SQLite takes a schema with a changed letter for
/// sound.
///
/// # Errors
/// They have not.
pub(crate) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    let tables = [
        ("filters", "SELECT seg, capacity, count, bits FROM filters"),
        ("entries", "SELECT seg, key, id, extra FROM entries"),
    ];
    for (table, select) in tables {
        // Without the table, the process ended between creating the file and its first commit.
        if connection.table_exists(None, table)? {
            connection.prepare(select)?;
        }
    }
    Ok(())
}

const BITS_PER_KEY: usize = 10;
const PROBES: u32 = 7;
/// Keys in a file's first segment: 20 KB of filter for a gateway that sees few.
const SEGMENT_MIN: usize = 16_384;
/// Keys in a segment at most: each next one has twice the room, up to 640 KB of filter.
const SEGMENT_MAX: usize = 524_288;
/// Octets of filters in memory, of one kind of file: some 27 million keys. Of older segments than
/// fit, every key has to be looked up.
const FILTERS_MAX: usize = 32 << 20;

/// A Bloom filter over one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    capacity: usize,
    count: usize,
    /// Empty: not in memory, so any key may be there.
    bits: Vec<u64>,
}

impl Filter {
    fn new(capacity: usize) -> Self {
        let bits = vec![0; (capacity * BITS_PER_KEY).div_ceil(64)];
        Self {
            capacity,
            count: 0,
            bits,
        }
    }

    fn places(&self, key: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let mut hash = xxhash_rust::xxh3::xxh3_64(key);
        let step = hash.rotate_left(32) | 1;
        let bits = u128::try_from(self.bits.len() * 64).unwrap_or(0);
        (0..PROBES).map(move |_| {
            hash = hash.wrapping_add(step);
            // The high half of a product spreads a hash over a range without a division.
            usize::try_from((u128::from(hash) * bits) >> 64).unwrap_or(0)
        })
    }

    fn add(&mut self, key: &[u8]) {
        self.count += 1;
        for place in self.places(key) {
            self.bits[place / 64] |= 1 << (place % 64);
        }
    }

    /// Whether the key may be in the segment.
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        self.bits.is_empty()
            || self
                .places(key)
                .all(|place| self.bits[place / 64] >> (place % 64) & 1 == 1)
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.bits
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    fn read(capacity: usize, count: usize, bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let bits = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        Self {
            capacity,
            count,
            bits,
        }
    }
}

/// One key on its way into a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyEntry<const K: usize, const X: usize> {
    pub(crate) key: [u8; K],
    pub(crate) id: MessageId,
    pub(crate) extra: [u8; X],
}

type Segments = Vec<Arc<Filter>>;

/// All key files of one kind.
pub(crate) struct KeyFiles {
    kind: Kind,
    spans: RwLock<BTreeMap<u64, Segments>>,
}

impl KeyFiles {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            spans: RwLock::default(),
        }
    }

    /// Reads the filters of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn load(&self, span: u64, pool: &Pool) -> rusqlite::Result<()> {
        let filters = pool.try_read(&self.kind.name(span), |connection| {
            connection
                .prepare_cached("SELECT capacity, count, bits FROM filters ORDER BY seg")?
                .query_map([], |row| {
                    let number = |at| Ok::<_, rusqlite::Error>(uint(row.get(at)?));
                    let (capacity, count) = (number(0)?, number(1)?);
                    let size = |number| usize::try_from(number).unwrap_or(0);
                    let bits = row.get_ref(2)?.as_blob()?;
                    Ok(Arc::new(Filter::read(size(capacity), size(count), bits)))
                })?
                .collect::<rusqlite::Result<Segments>>()
        })?;
        self.put(span, filters);
        Ok(())
    }

    /// Takes a file's filters into memory, and those of the oldest out when there are too many.
    pub(crate) fn put(&self, span: u64, filters: Segments) {
        let mut spans = self.spans.write();
        spans.insert(span, filters);
        let mut room = FILTERS_MAX;
        for filter in spans.values_mut().rev().flat_map(|s| s.iter_mut().rev()) {
            let bytes = filter.bits.len() * 8;
            if bytes > room {
                let (capacity, count) = (filter.capacity, filter.count);
                *filter = Arc::new(Filter::read(capacity, count, &[]));
            }
            room = room.saturating_sub(bytes);
        }
    }

    /// Writes sorted entries, within the caller's transaction. Gives the filters to be [`put`] when
    /// the transaction is durable.
    ///
    /// [`put`]: KeyFiles::put
    pub(crate) fn write<const K: usize, const X: usize>(
        &self,
        connection: &Connection,
        span: u64,
        entries: &[KeyEntry<K, X>],
    ) -> rusqlite::Result<Segments> {
        let known = self.spans.read().get(&span).cloned();
        let mut filters = known.unwrap_or_default();
        let mut rest = entries;
        while !rest.is_empty() {
            let last = filters.last().map(|last| (last.capacity, last.count));
            let room = last.map_or(0, |(capacity, count)| capacity.saturating_sub(count));
            let unusable = filters.last().is_none_or(|last| last.bits.is_empty());
            if room == 0 || unusable {
                let capacity = last.map_or(SEGMENT_MIN, |(c, _)| (c * 2).min(SEGMENT_MAX));
                filters.push(Arc::new(Filter::new(capacity)));
                continue;
            }
            let (here, after) = rest.split_at(room.min(rest.len()));
            rest = after;
            let seg = filters.len() - 1;
            let filter = Arc::make_mut(&mut filters[seg]);
            let seg = int(u64::try_from(seg).unwrap_or(0));
            let mut insert = connection
                .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4)")?;
            for entry in here {
                filter.add(&entry.key);
                insert.execute(params![seg, entry.key, int(entry.id.0), entry.extra])?;
            }
            let size = |number: usize| int(u64::try_from(number).unwrap_or(0));
            connection
                .prepare_cached("INSERT OR REPLACE INTO filters VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![
                    seg,
                    size(filter.capacity),
                    size(filter.count),
                    filter.to_bytes()
                ])?;
        }
        Ok(filters)
    }

    /// Whether any of the keys may be in a file.
    pub(crate) fn may_hold<K: AsRef<[u8]>>(&self, mut keys: impl Iterator<Item = K>) -> bool {
        let spans = self.spans.read();
        if spans.is_empty() {
            return false;
        }
        let holds = |key: &[u8]| spans.values().flatten().any(|filter| filter.may_hold(key));
        keys.any(|key| holds(key.as_ref()))
    }

    /// The entries under a key, in the newest file first: message and extra.
    pub(crate) fn find<const X: usize>(
        &self,
        pool: &Pool,
        key: &[u8],
    ) -> Vec<(MessageId, [u8; X])> {
        let mut places: Vec<(u64, Vec<usize>)> = Vec::new();
        {
            let spans = self.spans.read();
            for (span, filters) in spans.iter().rev() {
                let holding = |(_, filter): &(usize, &Arc<Filter>)| filter.may_hold(key);
                let segments: Vec<usize> = filters
                    .iter()
                    .enumerate()
                    .filter(holding)
                    .map(|(seg, _)| seg)
                    .collect();
                if !segments.is_empty() {
                    places.push((*span, segments));
                }
            }
        }
        let mut found = Vec::new();
        for (span, segments) in places {
            let here = pool.read(&self.kind.name(span), |connection| {
                let mut here = Vec::new();
                let mut select = connection
                    .prepare_cached("SELECT id, extra FROM entries WHERE seg = ?1 AND key = ?2")?;
                for seg in segments {
                    let seg = int(u64::try_from(seg).unwrap_or(0));
                    let rows = select.query_map(params![seg, key], |row| {
                        let extra = row.get_ref(1)?.as_blob()?.try_into().unwrap_or([0; X]);
                        Ok((MessageId(uint(row.get(0)?)), extra))
                    })?;
                    for row in rows {
                        here.push(row?);
                    }
                }
                Ok(here)
            });
            found.extend(here);
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found
    }

    /// The files' spans.
    pub(crate) fn spans(&self) -> Vec<u64> {
        self.spans.read().keys().copied().collect()
    }

    /// Forgets a file.
    pub(crate) fn remove(&self, span: u64) {
        self.spans.write().remove(&span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_what_was_added_and_little_else() {
        let mut filter = Filter::new(SEGMENT_MIN);
        let key = |number: usize| number.to_be_bytes();
        (0..SEGMENT_MIN).for_each(|number| filter.add(&key(number)));
        assert!((0..SEGMENT_MIN).all(|number| filter.may_hold(&key(number))));
        let wrong = (SEGMENT_MIN..2 * SEGMENT_MIN)
            .filter(|number| filter.may_hold(&key(*number)))
            .count();
        assert!(wrong * 100 < SEGMENT_MIN * 2, "{wrong}");
        let again = Filter::read(filter.capacity, filter.count, &filter.to_bytes());
        assert_eq!(again, filter);
        assert!(Filter::read(1, 1, &[]).may_hold(b"any"));
    }
}
