//! What the SMSC saw: counters, and a table of message keys that shows loss and duplication.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Duplicates whose keys are listed; the rest are only counted. Chosen: enough to look into.
pub const DUPLICATE_KEYS_MAX: usize = 1_000;

/// What the SMSC saw since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "names that say it; units are messages unless said otherwise"
)]
pub struct Report {
    pub connections: u64,
    /// Accepted binds, ever.
    pub binds: u64,
    /// Binds at this moment.
    pub binds_now: u64,
    pub binds_refused: u64,
    /// Connections that a fault cut.
    pub disconnects: u64,
    /// submit_sm and data_sm that came and parsed.
    pub submits: u64,
    /// Of these, those that the SMSC took responsibility for, answered or not.
    pub accepted: u64,
    /// Accepted messages, by key (destination, text, part), counted once.
    pub unique: u64,
    /// Accepted messages whose key had been accepted before.
    pub duplicates: u64,
    /// Accepted messages not in the table because it is full.
    pub untracked: u64,
    /// Accepted but never answered.
    pub silent: u64,
    /// Answered with ESME_RTHROTTLED, whatever the reason.
    pub throttled: u64,
    /// Answered with another error.
    pub rejected: u64,
    /// Submits beyond `per_second` in their second.
    pub contract_violations: u64,
    /// Most submits in any one second.
    pub max_per_second: u64,
    pub receipts_sent: u64,
    pub receipts_acked: u64,
    /// Sent, and not acknowledged with status 0 (yet).
    pub receipts_unacked: u64,
    /// Not sent: no bind to send on, or too many waiting.
    pub receipts_dropped: u64,
    /// Parts of handsets' messages that were sent, again ones included.
    pub inbound_sent: u64,
    /// Of these, those that were acknowledged with status 0.
    pub inbound_acked: u64,
    /// Deviations from the protocol that the ESMEs showed.
    pub odd: u64,
    /// Accepted messages by part number; 0 = not part of a longer message.
    pub parts: BTreeMap<u8, u64>,
    /// Keys that came more than once, hexadecimal; at most 1,000.
    pub duplicate_keys: Vec<String>,
}

/// One message as it came, for tests to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Key: the same for the same destination, text and part.
    pub key: u64,
    /// Name of the bind it came on.
    pub system_id: String,
    /// Sender's TON, NPI and address.
    pub source: (u8, u8, String),
    /// Recipient's TON, NPI and address.
    pub dest: (u8, u8, String),
    /// service_type.
    pub service_type: String,
    /// esm_class.
    pub esm_class: u8,
    /// data_coding.
    pub data_coding: u8,
    /// registered_delivery.
    pub registered_delivery: u8,
    /// validity_period.
    pub validity_period: String,
    /// short_message or message_payload, raw, with its UDH.
    pub short_message: Vec<u8>,
    /// TLVs, raw.
    pub tlvs: Vec<u8>,
    /// Status it was answered with.
    pub status: u32,
    /// Id it was given; empty if refused.
    pub message_id: String,
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// Counters that a connection gathers and adds up once per turn.
        #[derive(Debug, Default)]
        pub(super) struct Tally { $(pub(super) $name: u64),* }

        #[derive(Debug, Default)]
        struct Totals { $($name: AtomicU64),* }

        impl Totals {
            fn add(&self, tally: &mut Tally) {
                $(if tally.$name != 0 {
                    self.$name.fetch_add(tally.$name, Ordering::Relaxed);
                })*
                *tally = Tally::default();
            }

            fn fill(&self, report: &mut Report) {
                $(report.$name = self.$name.load(Ordering::Relaxed);)*
            }
        }
    };
}

counters!(
    connections,
    binds,
    binds_refused,
    disconnects,
    submits,
    accepted,
    silent,
    throttled,
    rejected,
    contract_violations,
    receipts_sent,
    receipts_acked,
    receipts_dropped,
    inbound_sent,
    inbound_acked,
    odd
);

/// Keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        self.0 = fold(self.0, octets);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// How often each key was accepted.
#[derive(Debug, Default)]
struct Keys {
    seen: HashMap<u64, (), BuildHasherDefault<Identity>>,
    duplicates: u64,
    untracked: u64,
    duplicate_keys: Vec<u64>,
    parts: BTreeMap<u8, u64>,
    part_0: u64,
}

/// All counts of one SMSC.
#[derive(Debug)]
pub(super) struct Counts {
    totals: Totals,
    keys: Mutex<Keys>,
    keys_max: usize,
    last: Mutex<VecDeque<Seen>>,
    last_max: usize,
    /// Second since the start in the upper half, submits in it in the lower.
    second: AtomicU64,
    max_per_second: AtomicU64,
    pub(super) binds_now: AtomicU64,
}

impl Counts {
    pub(super) fn new(keys_max: usize, last_max: usize) -> Self {
        Self {
            totals: Totals::default(),
            keys: Mutex::default(),
            keys_max,
            last: Mutex::default(),
            last_max,
            second: AtomicU64::new(0),
            max_per_second: AtomicU64::new(0),
            binds_now: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, tally: &mut Tally) {
        self.totals.add(tally);
    }

    /// Enters accepted messages (key, part number) and empties the list.
    pub(super) fn accept(&self, batch: &mut Vec<(u64, u8)>) {
        if batch.is_empty() {
            return;
        }
        let mut keys = lock(&self.keys);
        for (key, part) in batch.drain(..) {
            if part == 0 {
                keys.part_0 += 1;
            } else {
                *keys.parts.entry(part).or_default() += 1;
            }
            if keys.seen.len() >= self.keys_max && !keys.seen.contains_key(&key) {
                keys.untracked += 1;
            } else if keys.seen.insert(key, ()).is_some() {
                keys.duplicates += 1;
                if keys.duplicate_keys.len() < DUPLICATE_KEYS_MAX {
                    keys.duplicate_keys.push(key);
                }
            }
        }
    }

    /// Counts `count` submits in a second; returns how many of them exceed `allowed`.
    pub(super) fn in_second(&self, second: u64, count: u64, allowed: Option<u32>) -> u64 {
        let update = |old: u64| {
            let before = if old >> 32 == second & 0xFFFF_FFFF {
                old & 0xFFFF_FFFF
            } else {
                0
            };
            Some((second << 32) | (before + count))
        };
        let old = match self
            .second
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
        {
            Ok(old) | Err(old) => old,
        };
        let before = if old >> 32 == second & 0xFFFF_FFFF {
            old & 0xFFFF_FFFF
        } else {
            0
        };
        self.max_per_second
            .fetch_max(before + count, Ordering::Relaxed);
        let allowed = allowed.map_or(u64::MAX, u64::from);
        (before + count).saturating_sub(allowed.max(before))
    }

    pub(super) fn keeps_last(&self) -> bool {
        self.last_max > 0
    }

    pub(super) fn keep(&self, seen: Seen) {
        let mut last = lock(&self.last);
        if last.len() >= self.last_max {
            last.pop_front();
        }
        last.push_back(seen);
    }

    pub(super) fn last(&self) -> Vec<Seen> {
        lock(&self.last).iter().cloned().collect()
    }

    pub(super) fn report(&self) -> Report {
        let mut report = Report::default();
        self.totals.fill(&mut report);
        let keys = lock(&self.keys);
        report.unique = u64::try_from(keys.seen.len()).unwrap_or(u64::MAX);
        report.duplicates = keys.duplicates;
        report.untracked = keys.untracked;
        report.parts.clone_from(&keys.parts);
        if keys.part_0 > 0 {
            report.parts.insert(0, keys.part_0);
        }
        report.duplicate_keys = keys
            .duplicate_keys
            .iter()
            .map(|key| format!("{key:016x}"))
            .collect();
        drop(keys);
        report.max_per_second = self.max_per_second.load(Ordering::Relaxed);
        report.binds_now = self.binds_now.load(Ordering::Relaxed);
        report.receipts_unacked = report.receipts_sent.saturating_sub(report.receipts_acked);
        report
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Mixes octets into a hash, eight at a time (multiply and fold, as wyhash does).
#[inline]
pub(super) fn fold(mut hash: u64, octets: &[u8]) -> u64 {
    const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| {
        let wide = u128::from(hash ^ word) * u128::from(PRIME | 1);
        let [low, high] = [wide & u128::from(u64::MAX), wide >> 64];
        u64::try_from(low ^ high).unwrap_or_default()
    };
    hash = mix(
        hash ^ PRIME,
        u64::try_from(octets.len()).unwrap_or_default(),
    );
    for chunk in octets.chunks(8) {
        let mut word = [0; 8];
        for (slot, octet) in word.iter_mut().zip(chunk) {
            *slot = *octet;
        }
        hash = mix(hash, u64::from_le_bytes(word)).rotate_left(23) ^ PRIME;
    }
    mix(hash, PRIME.rotate_left(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_submits_beyond_the_contract_exceed() {
        let counts = Counts::new(10, 0);
        assert_eq!(counts.in_second(1, 80, Some(100)), 0);
        assert_eq!(counts.in_second(1, 30, Some(100)), 10);
        assert_eq!(counts.in_second(1, 5, Some(100)), 5);
        assert_eq!(counts.in_second(2, 5, Some(100)), 0);
        assert_eq!(counts.report().max_per_second, 115);
    }

    #[test]
    fn a_key_twice_is_a_duplicate_and_a_full_table_says_so() {
        let counts = Counts::new(2, 0);
        counts.accept(&mut vec![(1, 0), (2, 1), (1, 0), (3, 2)]);
        let report = counts.report();
        assert_eq!(
            (report.unique, report.duplicates, report.untracked),
            (2, 1, 1)
        );
        assert_eq!(report.duplicate_keys, ["0000000000000001"]);
        assert_eq!(report.parts, BTreeMap::from([(0, 2), (1, 1), (2, 1)]));
    }

    #[test]
    fn near_texts_have_far_keys() {
        let keys: std::collections::HashSet<u64> = (0..100_000_u32)
            .map(|n| fold(0, format!("message {n}").as_bytes()))
            .collect();
        assert_eq!(keys.len(), 100_000);
    }
}
