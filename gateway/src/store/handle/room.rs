//! Room: who is let in while memory is short, and how fast.
//!
//! The archiver empties memory; what comes faster than it writes is slowed down first and refused
//! then, what can wait before what cannot. What a carrier has answered is never refused here.

use std::time::Duration;

use crate::message::Class;
use crate::store::{Draft, Refused, Store};
use crate::suppression::Source;

/// From this share of the memory budget on, accepts are slowed down: live messages take a quarter of
/// it and the generation being archived a sixteenth, so beyond that the archiver has fallen behind.
const SOFT_PERCENT: u64 = 35;
/// The time of one draft when the budget is used up: 2,500 a second, far below what is archived.
const PACE_MAX: Duration = Duration::from_micros(400);
/// Less than a millisecond is not worth a timer (tokio's timers have that step).
const PACE_MIN: Duration = Duration::from_millis(1);
/// No accept waits longer: an HTTP client should rather be refused.
const PACE_DELAY_MAX: Duration = Duration::from_millis(200);
/// What handsets write is taken beyond the budget, to this share of it: no list that is imported and
/// no backlog may keep a STOP from being heard (chosen: a quarter, as of `limits.suppressions`).
const INBOUND_PERCENT: u64 = 125;

impl Store {
    /// Low classes are refused first: each has its share of `limits.queued`.
    pub(super) fn check_room(&self, drafts: &[Draft]) -> Result<(), Refused> {
        if let Some(refused) = self.shared.refusing() {
            return Err(refused);
        }
        let lowest = drafts.iter().map(|draft| draft.message.class).max();
        let share = share(lowest.unwrap_or(Class::Otp));
        let queued = self.shared.young.read().queued;
        if queued >= self.shared.config.queued / 100 * share {
            return Err(Refused::Overloaded);
        }
        self.check_memory(share)
    }

    /// Refuses changes to suppressions while memory is short: a file waits first, staff last. A
    /// recipient's own word does not come this way.
    pub(in crate::store) fn check_suppressing(&self, source: Source) -> Result<(), Refused> {
        if let Some(refused) = self.shared.refusing() {
            return Err(refused);
        }
        self.check_memory(share(match source {
            Source::Import => Class::Promotional,
            Source::Api | Source::Keyword => Class::Otp,
        }))
    }

    /// Refuses what handsets write when memory is more than used up.
    pub(in crate::store) fn check_inbound(&self) -> Result<(), Refused> {
        match self.shared.refusing() {
            Some(refused) => Err(refused),
            None => self.check_memory(INBOUND_PERCENT),
        }
    }

    fn check_memory(&self, share: u64) -> Result<(), Refused> {
        let limit = self.shared.config.memory / 100 * share;
        match self.memory() >= limit {
            true => Err(Refused::Overloaded),
            false => Ok(()),
        }
    }

    /// Octets of `limits.memory` that are in use.
    fn memory(&self) -> u64 {
        u64::try_from(self.shared.young.read().bytes()).unwrap_or(u64::MAX)
    }

    /// Slows bulk accepts down when the archiver falls behind: from the soft limit on each draft (or
    /// line of an imported file) takes its time, all callers together, so that accepts go on at about
    /// the archiver's rate.
    pub(in crate::store) async fn pace(&self, drafts: usize) {
        let memory = self.shared.config.memory;
        let soft = memory / 100 * SOFT_PERCENT;
        let over = self.memory().saturating_sub(soft);
        if over == 0 {
            return;
        }
        // Squared: hardly noticed at first, firm towards the hard limit.
        let percent = over.saturating_mul(100) / (memory - soft).max(1);
        let percent = u32::try_from(percent.min(100)).unwrap_or(100);
        let drafts = u32::try_from(drafts).unwrap_or(u32::MAX);
        let cost = PACE_MAX.saturating_mul(drafts) * percent * percent / 10_000;
        let delay = {
            let now = self.shared.clock.instant();
            let mut next = self.shared.paced_until.lock();
            let start = next.map_or(now, |next| next.max(now));
            *next = Some(start + cost);
            start - now
        };
        if delay >= PACE_MIN {
            metrics::counter!("trunkline_store_accepts_slowed_total").increment(1);
            tokio::time::sleep(delay.min(PACE_DELAY_MAX)).await;
        }
    }
}

/// The share of a limit, in percent, that a class may use.
fn share(class: Class) -> u64 {
    match class {
        Class::Otp => 100,
        Class::Transactional => 95,
        Class::Conversational => 90,
        Class::Promotional => 80,
    }
}
