//! Rate: a route's contracted rate in units ([`Message::units`](crate::message::Message::units)). Pure; time is
//! an argument.
//!
//! GCRA (ITU-T I.371, "virtual scheduling"): one instant of state, no refill task. Our own and not
//! the `governor` crate, because dispatch needs three things that it does not offer: a cost of
//! several units that may be larger than the burst, giving back what was not used, and changing
//! the rate while it runs without forgetting what was taken.

use std::time::{Duration, Instant};

/// A wake-up may be late by this much (tokio's timers have a granularity of 1 ms): what accrued
/// meanwhile must not be lost, so no burst is shorter.
const LATENESS: Duration = Duration::from_millis(2);
/// The slowest rate that can be set is one unit in so long. Chosen: a day, as the config's.
const SLOWEST: Duration = Duration::from_secs(24 * 3_600);

/// A route's rate.
#[derive(Clone, Debug)]
pub struct Rate {
    /// What one unit costs: 1 s ÷ units per second.
    interval: Duration,
    /// How far ahead of schedule a burst may run.
    burst: Duration,
    /// When the next unit is due if nothing has been saved up.
    due_next: Option<Instant>,
}

/// The answer, and the only two things a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum When {
    /// Send it; the cost has been taken.
    Now,
    /// Hold it until then; nothing has been taken.
    At(Instant),
}

impl Rate {
    /// `count` units per `per`, `burst` of them at once.
    #[must_use]
    pub fn new(count: u32, per: Duration, burst: u32) -> Self {
        let interval = per / count.max(1);
        Self {
            interval,
            burst: Self::depth(interval, burst),
            due_next: None,
        }
    }

    fn depth(interval: Duration, burst: u32) -> Duration {
        // A burst of one means no unit ahead of its time.
        interval
            .saturating_mul(burst.max(1) - 1)
            .max(LATENESS.min(interval.saturating_mul(1000)))
    }

    /// A rate that need not be whole.
    #[must_use]
    pub fn per_second_of(per_second: f64, burst: u32) -> Self {
        let mut rate = Self::new(1, Duration::from_secs(1), burst);
        rate.set(per_second, burst);
        rate
    }

    /// Changes the rate, in units per second; what was taken stays taken. Slower than one in
    /// [`SLOWEST`] is as slow as that.
    pub fn set(&mut self, per_second: f64, burst: u32) {
        let slowest = 1.0 / SLOWEST.as_secs_f64();
        self.interval = Duration::from_secs_f64(1.0 / per_second.max(slowest));
        self.burst = Self::depth(self.interval, burst);
    }

    /// Takes the cost of `units`, or says when to ask again. A cost beyond the burst is taken
    /// when the burst is whole, and the debt holds up those behind it.
    pub fn take(&mut self, now: Instant, units: u32) -> When {
        let due = self.due_next.map_or(now, |due| due.max(now));
        let needed = self
            .interval
            .saturating_mul(units.max(1) - 1)
            .min(self.burst);
        // The last of these units may be at most `burst` ahead of schedule.
        let ahead = due.saturating_duration_since(now) + needed;
        if ahead > self.burst {
            return When::At(now + (ahead - self.burst));
        }
        self.due_next = Some(due + self.interval.saturating_mul(units));
        When::Now
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, units: u32) {
        let cost = self.interval.saturating_mul(units);
        self.due_next = self.due_next.and_then(|due| due.checked_sub(cost));
    }

    /// Units per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        1.0 / self.interval.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_steadily() {
        let start = Instant::now();
        let mut rate = Rate::new(100, Duration::from_secs(1), 5);
        for _ in 0..5 {
            assert_eq!(rate.take(start, 1), When::Now);
        }
        assert_eq!(
            rate.take(start, 1),
            When::At(start + Duration::from_millis(10))
        );
        assert_eq!(rate.take(start + Duration::from_millis(10), 1), When::Now);
    }

    #[test]
    fn never_more_than_the_rate_and_one_burst_over_any_span() {
        let start = Instant::now();
        let mut rate = Rate::new(500, Duration::from_secs(1), 10);
        let mut sent = 0u32;
        for tick in 0..3_000u64 {
            let now = start + Duration::from_millis(tick);
            let cost = u32::try_from(tick % 3 + 1).unwrap();
            while rate.take(now, cost) == When::Now {
                sent += cost;
            }
        }
        assert!((1_480..=1_515).contains(&sent), "{sent}");
    }

    #[test]
    fn a_cost_beyond_the_burst_goes_when_it_is_whole_and_leaves_a_debt() {
        let start = Instant::now();
        let mut rate = Rate::new(10, Duration::from_secs(1), 2);
        assert_eq!(rate.take(start, 5), When::Now);
        assert!(matches!(
            rate.take(start + Duration::from_millis(350), 1),
            When::At(_)
        ));
        assert_eq!(rate.take(start + Duration::from_millis(400), 1), When::Now);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let start = Instant::now();
        let mut rate = Rate::new(10, Duration::from_secs(1), 3);
        assert_eq!(rate.take(start, 3), When::Now);
        rate.give_back(2);
        assert_eq!(rate.take(start, 2), When::Now);
        assert!(matches!(rate.take(start, 1), When::At(_)));
    }
}
