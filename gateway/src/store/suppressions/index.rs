//! The index: who is suppressed, in memory, for whoever is about to accept or submit.
//!
//! A table for each tenant, in shards, each with its own lock: the writer alone changes it, and holds
//! one shard for one entry at a time. All scopes of a number stand under the number's hash, so that a
//! message costs one probe and no allocation. An entry is two words: number, scope and a flag in the
//! first one, the suppression's id in the second.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::message::{Class, MessageId, Phone, TenantIx};
use crate::suppression::{Channel, Key, Scope, Source};

/// Shards of a tenant's table: growing one of a million entries holds readers of a sixteenth of the
/// numbers up for a few milliseconds.
const SHARDS: usize = 16;
/// Octets that an entry is counted as: 16 and a control octet in a table that is just over 7/16 full,
/// as one that has just grown is (hashbrown doubles at 7/8).
const ENTRY_BYTES: u64 = 40;
/// What one that runs out takes beside that: its time, by id.
const UNTIL_BYTES: u64 = 48;
/// What a sender that a scope names takes beside its text.
const SENDER_BYTES: u64 = 64;
/// Bits of an entry's first word below the number's 50 (15 digits): scope and flag.
const PHONE_SHIFT: u32 = 14;
/// Scope numbers: all, a channel, a class from here on, a sender from there on.
const ALL: u64 = 0;
const SMS: u64 = 1;
const PUSH: u64 = 2;
const CLASS_FIRST: u64 = 16;
const SENDER_FIRST: u64 = 32;
/// Different senders that a tenant's scopes may name: those that fit the 13 bits.
pub(crate) const SENDERS_MAX: u64 = (1 << 13) - SENDER_FIRST;
/// A recipient's own word is taken beyond `limits.suppressions`, by this share of it: no list that
/// was imported may keep a STOP from being heard (chosen: a quarter).
const KEYWORD_SHARE: u64 = 4;

/// One suppression.
#[derive(Clone, Copy)]
struct Entry {
    /// Number, scope and whether it runs out.
    word: u64,
    id: MessageId,
}

impl Entry {
    fn is_of(self, phone: Phone) -> bool {
        self.word >> PHONE_SHIFT == phone.number()
    }

    fn scope(self) -> u64 {
        self.word >> 1 & ((1 << (PHONE_SHIFT - 1)) - 1)
    }

    fn runs_out(self) -> bool {
        self.word & 1 == 1
    }
}

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// `limits.suppressions` is used up.
    Memory,
    /// The tenant's scopes name too many different senders.
    Senders,
}

/// One tenant's.
struct Table {
    shards: [RwLock<HashTable<Entry>>; SHARDS],
    /// Numbers of the senders that scopes name, by what [`sender_key`] makes of them.
    senders: RwLock<FxHashMap<Box<[u8]>, u64>>,
    /// When those that run out do.
    until: RwLock<FxHashMap<MessageId, UnixMs>>,
    count: AtomicU64,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::new(HashTable::new())),
            senders: RwLock::default(),
            until: RwLock::default(),
            count: AtomicU64::new(0),
        }
    }
}

/// Everybody who is suppressed.
pub(crate) struct Index {
    tables: Vec<Table>,
    /// Makes hashes differ from process to process: numbers are chosen by others.
    seed: u64,
    limit: u64,
    bytes: AtomicU64,
}

impl Index {
    /// An empty one for so many tenants, with room for `limit` octets.
    pub(crate) fn new(tenants: usize, limit: u64, seed: u64) -> Self {
        Self {
            tables: std::iter::repeat_with(Table::default)
                .take(tenants)
                .collect(),
            seed,
            limit,
            bytes: AtomicU64::new(0),
        }
    }

    /// The suppression that keeps a message from being sent, if any does. One probe, no allocation.
    pub(crate) fn hit(
        &self,
        tenant: TenantIx,
        to: Phone,
        from: &str,
        (channel, class): (Channel, Class),
        now: UnixMs,
    ) -> Option<MessageId> {
        let table = self.table(tenant)?;
        if table.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let hash = self.hash(to);
        let shard = table.shards[shard_of(hash)].read();
        let mut sender = None;
        for entry in shard.iter_hash(hash).filter(|entry| entry.is_of(to)) {
            let covers = match entry.scope() {
                ALL => true,
                SMS => channel == Channel::Sms,
                PUSH => channel == Channel::Push,
                // The senders of a scope are those of SMS.
                SENDER_FIRST.. if channel != Channel::Sms => false,
                scope if scope < SENDER_FIRST => scope == class_code(class),
                scope => *sender.get_or_insert_with(|| table.sender(from)) == Some(scope),
            };
            if covers && table.is_on(entry, now) {
                return Some(entry.id);
            }
        }
        None
    }

    /// The suppression under a key, and when it runs out. One that has run out is none.
    pub(crate) fn find(&self, key: &Key, now: UnixMs) -> Option<(MessageId, Option<UnixMs>)> {
        let table = self.table(key.tenant)?;
        let scope = table.code(&key.scope)?;
        let hash = self.hash(key.phone);
        let shard = table.shards[shard_of(hash)].read();
        let entry = shard.find(hash, |e| e.is_of(key.phone) && e.scope() == scope)?;
        table.is_on(entry, now).then(|| {
            let until = entry.runs_out().then(|| table.until(entry.id));
            (entry.id, until.flatten())
        })
    }

    /// Whether there is room for one more under a key.
    pub(crate) fn room(&self, key: &Key, source: Source) -> Result<(), Full> {
        let extra = match source {
            Source::Keyword => self.limit / KEYWORD_SHARE,
            Source::Api | Source::Import => 0,
        };
        if self.bytes() + ENTRY_BYTES + UNTIL_BYTES > self.limit.saturating_add(extra) {
            return Err(Full::Memory);
        }
        let known = |table: &Table| table.code(&key.scope).is_some();
        match self.table(key.tenant) {
            Some(table) if !known(table) && table.sender_count() >= SENDERS_MAX => {
                Err(Full::Senders)
            }
            Some(_) => Ok(()),
            None => Err(Full::Memory),
        }
    }

    /// Adds one, in place of one that stands under the same key.
    pub(crate) fn insert(&self, key: &Key, id: MessageId, until: Option<UnixMs>) {
        let Some(table) = self.table(key.tenant) else {
            return;
        };
        let Some(scope) = self.code_or_new(table, &key.scope) else {
            return;
        };
        if let Some(until) = until {
            table.until.write().insert(id, until);
            self.bytes.fetch_add(UNTIL_BYTES, Ordering::AcqRel);
        }
        let hash = self.hash(key.phone);
        let word = key.phone.number() << PHONE_SHIFT | scope << 1 | u64::from(until.is_some());
        let entry = Entry { word, id };
        let before = {
            // One hold: nobody sees the number free in between.
            let mut shard = table.shards[shard_of(hash)].write();
            match shard.find_mut(hash, |e| e.is_of(key.phone) && e.scope() == scope) {
                Some(place) => Some(std::mem::replace(place, entry)),
                None => {
                    let seed = self.seed;
                    shard.insert_unique(hash, entry, |e| mix(e.word >> PHONE_SHIFT, seed));
                    None
                }
            }
        };
        table.count.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(ENTRY_BYTES, Ordering::AcqRel);
        if let Some(before) = before.filter(|before| before.id != id) {
            self.forget(table, before);
        } else if before.is_some() {
            // The same one again, by a replay.
            table.count.fetch_sub(1, Ordering::AcqRel);
            self.bytes.fetch_sub(ENTRY_BYTES, Ordering::AcqRel);
        }
    }

    /// Takes out what stands under a key.
    pub(crate) fn remove(&self, key: &Key) {
        let Some(table) = self.table(key.tenant) else {
            return;
        };
        let Some(scope) = table.code(&key.scope) else {
            return;
        };
        let hash = self.hash(key.phone);
        let same = |e: &Entry| e.is_of(key.phone) && e.scope() == scope;
        let entry = {
            let mut shard = table.shards[shard_of(hash)].write();
            let Ok(found) = shard.find_entry(hash, same) else {
                return;
            };
            found.remove().0
        };
        self.forget(table, entry);
    }

    fn forget(&self, table: &Table, entry: Entry) {
        table.count.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(ENTRY_BYTES, Ordering::AcqRel);
        if entry.runs_out() && table.until.write().remove(&entry.id).is_some() {
            self.bytes.fetch_sub(UNTIL_BYTES, Ordering::AcqRel);
        }
    }

    /// Takes out what has run out. Not needed for being right, only for room.
    pub(crate) fn sweep(&self, now: UnixMs) {
        for table in &self.tables {
            let over = |at: &UnixMs| *at <= now;
            if !table.until.read().values().any(over) {
                continue;
            }
            for shard in &table.shards {
                let mut out: Vec<Entry> = Vec::new();
                shard.write().retain(|entry| {
                    let on = table.is_on(entry, now);
                    if !on {
                        out.push(*entry);
                    }
                    on
                });
                out.into_iter().for_each(|entry| self.forget(table, entry));
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        let count = |table: &Table| table.count.load(Ordering::Acquire);
        self.tables.iter().map(count).sum()
    }

    /// Octets, as counted.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn table(&self, tenant: TenantIx) -> Option<&Table> {
        self.tables.get(usize::from(tenant.0))
    }

    fn hash(&self, phone: Phone) -> u64 {
        mix(phone.number(), self.seed)
    }

    fn code_or_new(&self, table: &Table, scope: &Scope) -> Option<u64> {
        let known = table.code(scope);
        let Scope::Sender(sender) = scope else {
            return known;
        };
        if known.is_some() {
            return known;
        }
        let next = table.sender_count();
        if next >= SENDERS_MAX {
            return None;
        }
        let key: Box<[u8]> = sender_key(sender).as_slice().into();
        let bytes = u64::try_from(key.len()).unwrap_or(0) + SENDER_BYTES;
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        table.senders.write().insert(key, SENDER_FIRST + next);
        Some(SENDER_FIRST + next)
    }
}

impl Table {
    fn code(&self, scope: &Scope) -> Option<u64> {
        match scope {
            Scope::All => Some(ALL),
            Scope::Channel(Channel::Sms) => Some(SMS),
            Scope::Channel(Channel::Push) => Some(PUSH),
            Scope::Class(class) => Some(class_code(*class)),
            Scope::Sender(sender) => self.sender(sender),
        }
    }

    fn sender(&self, sender: &str) -> Option<u64> {
        self.senders
            .read()
            .get(sender_key(sender).as_slice())
            .copied()
    }

    fn sender_count(&self) -> u64 {
        u64::try_from(self.senders.read().len()).unwrap_or(u64::MAX)
    }

    fn until(&self, id: MessageId) -> Option<UnixMs> {
        self.until.read().get(&id).copied()
    }

    fn is_on(&self, entry: &Entry, now: UnixMs) -> bool {
        !entry.runs_out() || self.until(entry.id).is_some_and(|until| until > now)
    }
}

/// What senders are compared by: without a leading plus, in lower case. `+46769440001` and
/// `46769440001` are one number, and handsets show `ACME` and `Acme` as one conversation.
fn sender_key(sender: &str) -> SmallVec<[u8; 24]> {
    let sender = sender.strip_prefix('+').unwrap_or(sender);
    sender.bytes().map(|b| b.to_ascii_lowercase()).collect()
}

fn class_code(class: Class) -> u64 {
    CLASS_FIRST + class as u64
}

/// The 64-bit finalizer of MurmurHash3 (Appleby), over a number and a secret.
fn mix(number: u64, seed: u64) -> u64 {
    let mut hash = number ^ seed;
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

/// The shard of a hash: bits that a table of less than 2^40 entries does not use.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 48).unwrap_or(0) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000);
    const ROOM: u64 = 1 << 20;

    fn phone(number: u64) -> Phone {
        Phone::parse(&format!("+{}", 46_700_000_000 + number)).unwrap()
    }

    fn key(tenant: u16, number: u64, scope: Scope) -> Key {
        Key {
            tenant: TenantIx(tenant),
            phone: phone(number),
            scope,
        }
    }

    fn hit(index: &Index, tenant: u16, number: u64, from: &str, class: Class) -> Option<u64> {
        let over = (Channel::Sms, class);
        let hit = index.hit(TenantIx(tenant), phone(number), from, over, NOW);
        hit.map(|id| id.0)
    }

    #[test]
    fn a_scope_covers_what_it_says_and_no_more() {
        let index = Index::new(2, ROOM, 7);
        let add = |number, scope, id| index.insert(&key(0, number, scope), MessageId(id), None);
        add(1, Scope::All, 11);
        add(2, Scope::Sender("+4676944".into()), 12);
        add(3, Scope::Class(Class::Promotional), 13);
        add(4, Scope::Channel(Channel::Sms), 14);
        add(5, Scope::Sender("ACME".into()), 15);
        let otp = Class::Otp;
        assert_eq!(hit(&index, 0, 1, "any", otp), Some(11));
        assert_eq!(hit(&index, 1, 1, "any", otp), None, "another tenant's");
        assert_eq!(hit(&index, 0, 6, "any", otp), None);
        assert_eq!(hit(&index, 0, 2, "4676944", otp), Some(12));
        assert_eq!(hit(&index, 0, 2, "ACME", otp), None);
        assert_eq!(hit(&index, 0, 3, "x", Class::Promotional), Some(13));
        assert_eq!(hit(&index, 0, 3, "x", otp), None);
        assert_eq!(hit(&index, 0, 4, "x", otp), Some(14));
        assert_eq!(hit(&index, 0, 5, "Acme", otp), Some(15));
        assert_eq!(index.len(), 5);
    }

    #[test]
    fn several_scopes_of_a_number_stand_side_by_side_and_go_one_by_one() {
        let index = Index::new(1, ROOM, 7);
        let all = key(0, 1, Scope::All);
        let sender = key(0, 1, Scope::Sender("A".into()));
        index.insert(&all, MessageId(1), None);
        index.insert(&sender, MessageId(2), None);
        index.insert(&all, MessageId(3), None);
        assert_eq!(
            (index.len(), index.find(&all, NOW)),
            (2, Some((MessageId(3), None)))
        );
        index.remove(&all);
        assert_eq!(hit(&index, 0, 1, "B", Class::Otp), None);
        assert_eq!(hit(&index, 0, 1, "A", Class::Otp), Some(2));
        index.remove(&sender);
        index.remove(&sender);
        let senders = SENDER_BYTES + 1;
        assert_eq!((index.len(), index.bytes()), (0, senders));
    }

    #[test]
    fn one_that_has_run_out_covers_nothing_and_is_swept_away() {
        let index = Index::new(1, ROOM, 7);
        for (number, until) in [(1, 1_000), (2, 1_001)] {
            let key = key(0, number, Scope::All);
            index.insert(&key, MessageId(number), Some(UnixMs(until)));
        }
        assert_eq!(hit(&index, 0, 1, "x", Class::Otp), None);
        assert_eq!(hit(&index, 0, 2, "x", Class::Otp), Some(2));
        assert_eq!(index.find(&key(0, 1, Scope::All), NOW), None);
        index.sweep(NOW);
        assert_eq!((index.len(), index.bytes()), (1, ENTRY_BYTES + UNTIL_BYTES));
        index.sweep(UnixMs(1_001));
        assert_eq!((index.len(), index.bytes()), (0, 0));
    }

    #[test]
    fn at_the_limit_only_a_recipients_own_word_is_taken() {
        let index = Index::new(1, 100 * ENTRY_BYTES, 7);
        let mut number = 0;
        while index
            .room(&key(0, number, Scope::All), Source::Import)
            .is_ok()
        {
            index.insert(&key(0, number, Scope::All), MessageId(number), None);
            number += 1;
        }
        assert!((90..=100).contains(&number), "{number}");
        let next = key(0, number, Scope::All);
        assert_eq!(index.room(&next, Source::Api), Err(Full::Memory));
        assert_eq!(index.room(&next, Source::Keyword), Ok(()));
    }

    #[test]
    fn a_tenants_scopes_name_a_bounded_number_of_senders() {
        let index = Index::new(1, 1 << 30, 7);
        let sender = |number: u64| key(0, 1, Scope::Sender(format!("s{number}").into()));
        for number in 0..SENDERS_MAX {
            assert_eq!(index.room(&sender(number), Source::Api), Ok(()));
            index.insert(&sender(number), MessageId(number), None);
        }
        let more = sender(SENDERS_MAX);
        assert_eq!(index.room(&more, Source::Api), Err(Full::Senders));
        index.insert(&more, MessageId(SENDERS_MAX), None);
        assert_eq!((index.len(), index.find(&more, NOW)), (SENDERS_MAX, None));
        assert_eq!(index.room(&sender(3), Source::Api), Ok(()), "known already");
    }
}
