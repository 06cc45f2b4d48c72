//! Further tries of a dispatcher: when they are due, and what they may cost. And what its quota has left.

use std::time::Instant;

use super::Dispatcher;
use super::flight::Back;
use super::limit::rate::When;
use crate::clock::UnixMs;
use crate::outcome::{HoldReason, Outcome, OutcomeResult, Reason, Retry};
use crate::store::Entry;

impl Dispatcher {
    /// Moves what is due into its lane, as far as the budget reaches: one-time codes first, then what has
    /// been due for longest.
    pub(super) fn wake(&mut self) {
        let (now, wall) = (self.clock.instant(), self.clock.now());
        self.budget_at = None;
        let Some(budget) = &mut self.limits.budget else {
            return self.queue.wake(wall);
        };
        let mut ask_at = None;
        self.queue
            .wake_while(wall, |entry| match budget.take(now, entry.parts.count()) {
                When::Now => true,
                When::At(at) => {
                    ask_at = Some(at);
                    false
                }
            });
        self.budget_at = ask_at;
    }

    /// What has been tried and was due by then goes into its lane at once. On a route with a budget nothing
    /// that has been tried does: it passes [`Self::wake`].
    pub(super) fn ready_until(&self) -> UnixMs {
        match self.limits.budget {
            Some(_) => UnixMs::ZERO,
            None => self.clock.now(),
        }
    }

    /// Why nothing goes out while further tries wait, and until when.
    pub(super) fn waits(&self, now: Instant) -> Option<(HoldReason, Option<Instant>)> {
        if self.budget_at.is_some() {
            return Some((HoldReason::RetryBudget, self.budget_at));
        }
        let due = self.queue.next_due();
        let at = due.map(|due| now + self.clock.until(due));
        Some((HoldReason::Backoff, at))
    }

    /// A part came back: what that does to the quota and the budget.
    pub(super) fn charge(&mut self, outcome: &Outcome, back: &Back) {
        let result = outcome.result;
        if result == OutcomeResult::Refused && outcome.reason == Some(Reason::Throttled) {
            match outcome.retry {
                // Seen as what may have the route pause.
                Retry::Throttle | Retry::Full => self.limits.not_counted(back.units),
                _ => self.limits.throttled(self.clock.instant(), back.units),
            }
        }
        let Some(budget) = &mut self.limits.budget else {
            return;
        };
        let now = self.clock.instant();
        match (result, back.is_retry) {
            // A further try that was not sent has been paid for when it is sent.
            (OutcomeResult::NotSent, _) => {}
            (OutcomeResult::Accepted, true) => budget.taken(now),
            (_, false) => budget.sent(now),
            (_, true) => {}
        }
    }

    /// What waits for the budget and has come to its end meanwhile.
    pub(super) fn overdue(&mut self, now: UnixMs) -> Vec<Entry> {
        match self.limits.budget {
            Some(_) => self
                .queue
                .take_waiting_where(|entry| entry.message.expires_at <= now),
            None => Vec::new(),
        }
    }

    /// Shows what is left of the budget, and what waits for it; and what is used of the quota.
    pub(super) fn show_budget(&mut self) {
        let (now, wall) = (self.clock.instant(), self.clock.now());
        if let Some(budget) = &mut self.limits.budget {
            let due = self.queue.waiting().filter(|entry| entry.due <= wall);
            let waiting = if self.budget_at.is_some() {
                due.count()
            } else {
                0
            };
            self.meters
                .budget(&self.config.name, budget.left(now), waiting);
        }
        if let Some(quota) = &self.limits.quota {
            let used = quota.with(|quota| quota.used(now));
            self.meters.quota(quota.project(), used);
        }
    }
}
