//! Throttle: the whole route backs off when its carrier says so. Pure; time is an argument.

use std::time::{Duration, Instant};

/// The first pause (smpp.md §3.4: 1 s × 2^n with jitter, cap 60 s).
const FIRST: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(60);
/// After so long without being throttled the next pause is the first one again.
const CLEAN: Duration = Duration::from_secs(30);

/// A route's throttle state.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    until: Option<Instant>,
    steps: u32,
}

impl Throttle {
    /// The carrier throttles. Answers that were on their way when the pause began do not lengthen it.
    pub fn throttled(&mut self, now: Instant, jitter: u64) {
        match self.until {
            Some(until) if now < until => return,
            Some(until) if now.saturating_duration_since(until) > CLEAN => self.steps = 0,
            _ => {}
        }
        let pause = FIRST.saturating_mul(1 << self.steps.min(6)).min(CAP);
        self.steps += 1;
        let jitter_ms = jitter % 250;
        self.until = Some(now + pause + Duration::from_millis(jitter_ms));
    }

    /// Until when nothing is sent, if that is not past.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_throttles_is_one_pause_and_the_next_one_is_longer() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        for _ in 0..100 {
            throttle.throttled(start, 0);
        }
        assert_eq!(throttle.until(start), Some(start + FIRST));
        let later = start + FIRST;
        assert_eq!(throttle.until(later), None);
        throttle.throttled(later, 0);
        assert_eq!(throttle.until(later), Some(later + 2 * FIRST));
        let much_later = later + 2 * FIRST + CLEAN + FIRST;
        throttle.throttled(much_later, 0);
        assert_eq!(throttle.until(much_later), Some(much_later + FIRST));
    }
}
