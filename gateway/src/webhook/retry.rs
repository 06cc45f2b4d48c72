//! Retries: when a failed delivery is tried again, and the bounded set of those that wait.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::UnixMs;
use crate::store::DeliveryRetry;

/// The wait before each try: contract.md §3, "Delivery rules" (Standard Webhooks 1.0.0's example).
pub(super) const SCHEDULE: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];

/// Jitter in thousandths, either way: ±20 %, contract.md §3.
const JITTER_THOUSANDTHS: u64 = 200;

/// Most deliveries that wait for another try, for one endpoint. The set is journaled whole at about
/// 25 bytes an entry, so that a full one costs 25 KB a save. When it is full the cursor stops.
pub(super) const RETRIES_MAX: usize = 1_000;

/// How long to wait after `attempts` tries; `None` when that was the last. `dice` is any number:
/// the same one gives the same jitter.
#[must_use]
pub(super) fn wait_after(attempts: u8, dice: u64) -> Option<Duration> {
    let wait = *SCHEDULE.get(usize::from(attempts))?;
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let thousandths = 1_000 - JITTER_THOUSANDTHS + dice % (2 * JITTER_THOUSANDTHS + 1);
    Some(Duration::from_millis(ms * thousandths / 1_000))
}

/// The deliveries of one endpoint that failed and will be tried again.
#[derive(Debug, Default)]
pub(super) struct RetrySet {
    /// By due time, then first event.
    waiting: BTreeMap<(UnixMs, u64), DeliveryRetry>,
    /// By first event: those that are being tried now.
    trying: BTreeMap<u64, DeliveryRetry>,
}

impl RetrySet {
    /// What was remembered.
    #[must_use]
    pub(super) fn restore(retries: &[DeliveryRetry]) -> Self {
        let mut set = Self::default();
        retries.iter().for_each(|entry| set.put(*entry));
        set
    }

    /// How many there are, waiting and being tried.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.trying.len()
    }

    /// How many are being tried now.
    #[must_use]
    pub(super) fn trying(&self) -> usize {
        self.trying.len()
    }

    /// Adds an entry, or puts one back that was being tried.
    pub(super) fn put(&mut self, entry: DeliveryRetry) {
        self.trying.remove(&entry.first);
        self.waiting.insert((entry.due, entry.first), entry);
    }

    /// Takes the entry that is due first, if its time has come. It stays in the set as being tried.
    pub(super) fn take_due(&mut self, now: UnixMs) -> Option<DeliveryRetry> {
        let next = self.waiting.first_entry()?;
        if next.key().0 > now {
            return None;
        }
        let entry = next.remove();
        self.trying.insert(entry.first, entry);
        Some(entry)
    }

    /// Forgets an entry that was being tried: it was delivered or given up.
    pub(super) fn settle(&mut self, first: u64) {
        self.trying.remove(&first);
    }

    /// When the next entry is due.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<UnixMs> {
        self.waiting.keys().next().map(|key| key.0)
    }

    /// All entries in event order, to be remembered. What is being tried counts as not yet tried.
    #[must_use]
    pub(super) fn export(&self) -> Vec<DeliveryRetry> {
        let mut all: Vec<_> = self
            .waiting
            .values()
            .chain(self.trying.values())
            .copied()
            .collect();
        all.sort_unstable_by_key(|entry| entry.first);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: u64, due: u64) -> DeliveryRetry {
        DeliveryRetry {
            first,
            last: first,
            attempts: 1,
            due: UnixMs(due),
            since: UnixMs(0),
        }
    }

    #[test]
    fn waits_follow_the_schedule_within_a_fifth_and_end_after_ten_tries() {
        assert_eq!(wait_after(10, 0), None);
        assert_eq!(wait_after(u8::MAX, 0), None);
        for attempts in 1..10u8 {
            let nominal = SCHEDULE[usize::from(attempts)];
            let low = wait_after(attempts, 0).expect("test: in the schedule");
            let high = wait_after(attempts, 400).expect("test: in the schedule");
            assert_eq!(low, nominal * 8 / 10);
            assert_eq!(high, nominal * 12 / 10);
            assert_eq!(wait_after(attempts, 200), Some(nominal));
        }
        // 75 h 35 min 5 s, as Standard Webhooks adds it up.
        assert_eq!(
            SCHEDULE.iter().sum::<Duration>().as_secs(),
            75 * 3600 + 35 * 60 + 5
        );
    }

    #[test]
    fn what_is_being_tried_stays_in_the_set_until_it_is_settled() {
        let mut set = RetrySet::restore(&[entry(5, 100), entry(1, 200)]);
        assert_eq!(set.take_due(UnixMs(99)), None);
        let taken = set.take_due(UnixMs(150)).expect("test: due");
        assert_eq!(taken.first, 5);
        assert_eq!(set.take_due(UnixMs(150)), None);
        assert_eq!((set.len(), set.trying()), (2, 1));
        assert_eq!(
            set.export().iter().map(|e| e.first).collect::<Vec<_>>(),
            [1, 5]
        );
        set.put(entry(5, 300));
        assert_eq!(
            (set.len(), set.trying(), set.next_due()),
            (2, 0, Some(UnixMs(200)))
        );
        assert_eq!(set.take_due(UnixMs(250)).map(|e| e.first), Some(1));
        set.settle(1);
        assert_eq!(set.export(), [entry(5, 300)]);
    }
}
