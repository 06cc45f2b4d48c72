//! Budget: how many further tries a route may make beside what it sends for the first time. Pure; time is
//! an argument.
//!
//! ```text
//!  first sends × share ──┐
//!  10 a second ──────────┼─► tokens, at most 10 and the share of the last 10 s ──► one for each further try
//!  those taken, and × share ──┘
//! ```
//! A service that refuses everything sees what is new, a share of it again, and ten a second at most: what
//! waits for its next try does not come down on it (push.md R11). A further try that is taken gives its token
//! back, and its share as what is new does: so a service that is well again gets what waited ever faster,
//! also when nothing new is there. Its first and its last part are Finagle's `RetryBudget`; that one
//! remembers for 10 s and keeps 10 a second, too.

use std::time::{Duration, Instant};

use super::rate::When;

/// Further tries a second on a route that sends nothing new, and as many at once. Chosen: as Finagle has it.
pub const FLOOR_PER_SECOND: f64 = 10.0;
/// What was sent counts for so many seconds. Chosen: as Finagle has it.
const WINDOW_SECONDS: usize = 10;

/// A route's budget.
#[derive(Clone, Debug)]
pub struct Budget {
    share: f64,
    tokens: f64,
    /// The second of each slice is its index plus a multiple of their number.
    sent: [u32; WINDOW_SECONDS],
    start: Option<Instant>,
    /// The second that was counted last.
    second: u64,
    refilled: Option<Instant>,
}

impl Budget {
    /// For each thing sent, `share` further tries: 0.0 to 1.0.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self {
            share,
            tokens: FLOOR_PER_SECOND,
            sent: [0; WINDOW_SECONDS],
            start: None,
            second: 0,
            refilled: None,
        }
    }

    /// Something new was answered, or lost.
    pub fn sent(&mut self, now: Instant) {
        self.feed(now, self.share);
    }

    /// A further try was taken.
    pub fn taken(&mut self, now: Instant) {
        self.feed(now, 1.0 + self.share);
    }

    fn feed(&mut self, now: Instant, tokens: f64) {
        self.refill(now);
        let slice = place(self.second);
        self.sent[slice] = self.sent[slice].saturating_add(1);
        self.tokens = (self.tokens + tokens).min(self.most());
    }

    /// Takes a further try of so many parts, or says when to ask again. With one token there are enough: the
    /// rest is owed.
    pub fn take(&mut self, now: Instant, parts: u8) -> When {
        self.refill(now);
        if self.tokens < 1.0 {
            // A timer does not tell less than a millisecond.
            let wait = ((1.0 - self.tokens) / FLOOR_PER_SECOND).max(0.001);
            return When::At(now + Duration::from_secs_f64(wait));
        }
        self.tokens -= f64::from(parts.max(1));
        When::Now
    }

    /// Further tries that may be made at once.
    pub fn left(&mut self, now: Instant) -> f64 {
        self.refill(now);
        self.tokens.max(0.0)
    }

    /// The most that is saved up.
    fn most(&self) -> f64 {
        let sent: f64 = self.sent.iter().copied().map(f64::from).sum();
        FLOOR_PER_SECOND + self.share * sent
    }

    fn refill(&mut self, now: Instant) {
        let start = *self.start.get_or_insert(now);
        let second = now.saturating_duration_since(start).as_secs();
        let passed = second.saturating_sub(self.second);
        for back in 0..passed.min(WINDOW_SECONDS as u64) {
            self.sent[place(second - back)] = 0;
        }
        self.second = self.second.max(second);
        let before = self.refilled.replace(now).unwrap_or(now);
        let seconds = now.saturating_duration_since(before).as_secs_f64();
        self.tokens = (self.tokens + seconds * FLOOR_PER_SECOND).min(self.most());
    }
}

fn place(second: u64) -> usize {
    usize::try_from(second % WINDOW_SECONDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_quiet_route_still_tries_again_ten_times_a_second() {
        let (mut budget, start) = (Budget::new(0.1), Instant::now());
        let tries = (0..5_000).filter(|ms| budget.take(at(start, *ms), 1) == When::Now);
        let tries = tries.count();
        assert!(
            (58..=60).contains(&tries),
            "{tries}: ten at once, and ten a second"
        );
        while budget.take(at(start, 5_000), 1) == When::Now {}
        let when = budget.take(at(start, 5_000), 1);
        let When::At(next) = when else {
            panic!("{when:?}")
        };
        assert_eq!(budget.take(next + Duration::from_millis(1), 1), When::Now);
    }

    #[test]
    fn what_is_new_buys_its_share_and_nothing_is_saved_up_for_long() {
        let (mut budget, start) = (Budget::new(0.1), Instant::now());
        (0..1_000).for_each(|_| budget.sent(start));
        assert!((budget.left(start) - 110.0).abs() < 1e-6);
        let later = at(start, 10_000);
        assert!((budget.left(later) - FLOOR_PER_SECOND).abs() < 1e-6);
    }

    #[test]
    fn a_service_that_is_well_again_gets_what_waited_ever_faster() {
        let (mut budget, start) = (Budget::new(0.1), Instant::now());
        let mut waiting = 50_000;
        let mut ms = 0;
        while waiting > 0 {
            // A round trip of 50 ms.
            let mut out = 0;
            while waiting > 0 && budget.take(at(start, ms), 1) == When::Now {
                (out, waiting) = (out + 1, waiting - 1);
            }
            ms += 50;
            (0..out).for_each(|_| budget.taken(at(start, ms)));
        }
        assert!(ms < 20_000, "{ms} ms; at ten a second it is over an hour");
    }

    #[test]
    fn a_message_to_many_devices_goes_and_is_paid_for_afterwards() {
        let (mut budget, start) = (Budget::new(0.0), Instant::now());
        assert_eq!(budget.take(start, 30), When::Now);
        assert!(matches!(budget.take(at(start, 2_000), 1), When::At(_)));
        assert_eq!(budget.take(at(start, 2_101), 1), When::Now);
    }

    proptest! {
        #[test]
        fn a_service_that_takes_nothing_sees_no_more_than_the_share_and_the_floor(
            steps in proptest::collection::vec((0u64..400, 0u32..40, 0u32..40, 1u8..32), 1..300),
            percent in 0u8..=100,
        ) {
            let share = f64::from(percent) / 100.0;
            let (mut budget, start) = (Budget::new(share), Instant::now());
            let (mut ms, mut sent, mut again) = (0, 0.0, 0.0);
            for (passed, new, tries, parts) in steps {
                ms += passed;
                for _ in 0..new {
                    budget.sent(at(start, ms));
                    sent += 1.0;
                }
                for _ in 0..tries {
                    match budget.take(at(start, ms), parts) {
                        When::Now => again += f64::from(parts),
                        When::At(then) => prop_assert!(then > at(start, ms)),
                    }
                }
                #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
                let seconds = ms as f64 / 1_000.0;
                let most = share * sent + FLOOR_PER_SECOND * (seconds + 1.0) + 31.0;
                prop_assert!(again <= most + 1e-6, "{again} of {most}");
            }
        }
    }
}
