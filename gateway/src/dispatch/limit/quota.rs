//! Quota: what one project may send, over all of its routes. Pure but for [`Shared`]; time is an argument.
//!
//! ```text
//!  level
//!   1   ┤              ╭──────╮
//!       │          ╱          ╲          rises by a whole ramp while at least half of it is used,
//!  0.1  ┤──────╯               ╰────    falls as fast while less is
//! ```
//! Google asks that senders go from nothing to their peak over a minute at least (push.md R15): a tenth of
//! the rate may go at once after a start, all of it after `ramp` of sending. It is what was sent that lets it
//! rise, and not the time alone: a route that has sent one push a second for a day begins there.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::rate::{Rate, When};

/// What may go at once, of the rate. Chosen: little beside what Google sees of others, and enough for what
/// is not a campaign.
const LEVEL_MIN: f64 = 0.1;
/// … and no less than so many a second, or a small quota would crawl. Chosen: nothing to a service.
const FLOOR_PER_SECOND: f64 = 10.0;
/// The level rises where at least so much of it is used. Chosen: so that twice of what is sent is ready.
const USED: f64 = 0.5;
/// The window of Google's quotas, in seconds: "per minute".
const MINUTE: usize = 60;

/// What a project may send.
#[derive(Clone, Debug)]
pub struct Quota {
    per_second: f64,
    burst: u32,
    /// What a second changes the level by; 0.0: it is always 1.
    step: f64,
    level_min: f64,
    level: f64,
    bucket: Rate,
    /// The service refuses the project until then.
    stopped: Option<Instant>,
    start: Option<Instant>,
    /// The running second since the start.
    second: u64,
    /// Taken by second, of the last minute.
    taken: [u32; MINUTE],
}

impl Quota {
    /// So many requests a second, `burst` of them at once, after a ramp.
    #[must_use]
    pub fn new(per_second: f64, burst: u32, ramp: Duration) -> Self {
        let ramped = ramp > Duration::ZERO;
        let level_min = match ramped {
            true => (FLOOR_PER_SECOND / per_second.max(0.001)).clamp(LEVEL_MIN, 1.0),
            false => 1.0,
        };
        let step = match ramped {
            true => (1.0 - level_min) / ramp.as_secs_f64(),
            false => 0.0,
        };
        let mut quota = Self {
            per_second,
            burst,
            step,
            level_min,
            level: level_min,
            bucket: Rate::per_second_of(per_second, burst),
            stopped: None,
            start: None,
            second: 0,
            taken: [0; MINUTE],
        };
        quota.set();
        quota
    }

    /// Takes so many requests, or says when to ask again.
    pub fn take(&mut self, now: Instant, requests: u32) -> When {
        self.turn(now);
        if let Some(until) = self.stopped.filter(|until| *until > now) {
            return When::At(until);
        }
        self.stopped = None;
        let when = self.bucket.take(now, requests);
        if when == When::Now {
            let slot = &mut self.taken[place(self.second)];
            *slot = slot.saturating_add(requests);
        }
        when
    }

    /// Gives back what the service did not count: what was not sent, or refused as too many.
    pub fn give_back(&mut self, requests: u32) {
        self.bucket.give_back(requests);
        let slot = &mut self.taken[place(self.second)];
        *slot = slot.saturating_sub(requests);
    }

    /// The service refuses all of the project until then.
    pub fn stop(&mut self, until: Instant) {
        self.stopped = self.stopped.max(Some(until));
    }

    /// Until when it did last.
    #[must_use]
    pub fn stopped(&self) -> Option<Instant> {
        self.stopped
    }

    /// It does so no longer.
    pub fn go_on(&mut self) {
        self.stopped = None;
    }

    /// Requests a second that may go now.
    #[must_use]
    pub fn rate_now(&self) -> f64 {
        self.per_second * self.level
    }

    /// Whether the ramp makes that less than the quota.
    #[must_use]
    pub fn is_ramping(&self) -> bool {
        self.level < 1.0
    }

    /// What was sent in the last minute, of what may be: 0.0 to about 1.0.
    pub fn used(&mut self, now: Instant) -> f64 {
        self.turn(now);
        let sent: f64 = self.taken.iter().copied().map(f64::from).sum();
        sent / (self.per_second * f64::from(u8::try_from(MINUTE).unwrap_or(u8::MAX)))
    }

    fn turn(&mut self, now: Instant) {
        let start = *self.start.get_or_insert(now);
        let second = now.saturating_duration_since(start).as_secs();
        let passed = second.saturating_sub(self.second);
        if passed == 0 {
            return;
        }
        let used = f64::from(self.taken[place(self.second)]);
        let rises = used >= USED * self.rate_now();
        let first = if rises { self.step } else { -self.step };
        self.level = (self.level + first).clamp(self.level_min, 1.0);
        // Nothing was sent in the others.
        #[expect(clippy::cast_precision_loss, reason = "seconds are below 2^53")]
        let idle = (passed - 1) as f64;
        self.level = (self.level - self.step * idle).max(self.level_min);
        for back in 0..passed.min(MINUTE as u64) {
            self.taken[place(second - back)] = 0;
        }
        self.second = second;
        self.set();
    }

    fn set(&mut self) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast to an integer saturates"
        )]
        let burst = (f64::from(self.burst) * self.level) as u32;
        self.bucket.set(self.rate_now(), burst.max(1));
    }
}

/// A project's quota as all of its routes have it: each takes from it what it hands over.
#[derive(Debug)]
pub struct Shared {
    project: String,
    quota: Mutex<Quota>,
}

impl Shared {
    /// Of a project, by its name in the config.
    #[must_use]
    pub fn new(project: &str, quota: Quota) -> Self {
        Self {
            project: project.to_owned(),
            quota: Mutex::new(quota),
        }
    }

    /// The project.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Does something with the quota; held for less than a microsecond, and never over a wait.
    pub fn with<T>(&self, ask: impl FnOnce(&mut Quota) -> T) -> T {
        ask(&mut self.quota.lock())
    }
}

fn place(second: u64) -> usize {
    usize::try_from(second % MINUTE as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RAMP: Duration = Duration::from_secs(60);

    /// Google's default.
    fn quota() -> Quota {
        Quota::new(10_000.0, 10_000, RAMP)
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// Takes what it gives in a second of which each millisecond wants as much as it can get.
    fn greedy(quota: &mut Quota, start: Instant, second: u64) -> u32 {
        let mut taken = 0;
        for ms in 0..1_000 {
            while quota.take(at(start, second * 1_000 + ms), 10) == When::Now {
                taken += 10;
            }
        }
        taken
    }

    #[test]
    fn a_tenth_goes_at_once_and_all_of_it_after_the_ramp() {
        let (mut quota, start) = (quota(), Instant::now());
        let seconds: Vec<u32> = (0..70).map(|s| greedy(&mut quota, start, s)).collect();
        assert!((1_900..=2_100).contains(&seconds[0]), "{seconds:?}");
        assert!((5_000..=6_200).contains(&seconds[30]), "{seconds:?}");
        assert!(seconds[59] < 10_000, "{seconds:?}");
        assert!((9_900..=10_200).contains(&seconds[65]), "{seconds:?}");
        assert!(seconds.windows(2).skip(1).all(|two| two[1] + 50 >= two[0]));
    }

    #[test]
    fn little_traffic_does_not_open_the_way_for_a_spike_and_idle_time_closes_it() {
        let (mut quota, start) = (quota(), Instant::now());
        for second in 0..600 {
            assert_eq!(quota.take(at(start, second * 1_000), 1), When::Now);
        }
        assert!((quota.rate_now() - 1_000.0).abs() < 1e-6);
        for second in 600..700 {
            greedy(&mut quota, start, second);
        }
        assert!(!quota.is_ramping());
        assert!((0.9..=1.05).contains(&quota.used(at(start, 699_999))));
        quota.used(at(start, 731_000));
        assert!(
            (quota.rate_now() - 5_350.0).abs() < 200.0,
            "half a ramp later"
        );
        quota.used(at(start, 9_000_000));
        assert!((quota.rate_now() - 1_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_project_that_is_refused_waits_as_a_whole_and_begins_again_below() {
        let (mut quota, start) = (Quota::new(100.0, 100, Duration::ZERO), Instant::now());
        assert!(!quota.is_ramping(), "without a ramp");
        assert_eq!(quota.take(start, 1), When::Now);
        let until = at(start, 60_000);
        quota.stop(until);
        quota.stop(at(start, 10_000));
        assert_eq!(quota.take(at(start, 59_999), 1), When::At(until));
        assert_eq!(quota.take(until, 1), When::Now);
    }

    #[test]
    fn a_small_quota_is_not_made_smaller() {
        let mut quota = Quota::new(1.0, 1, RAMP);
        assert!(!quota.is_ramping());
        assert_eq!(quota.take(Instant::now(), 1), When::Now);
        assert!((Quota::new(40.0, 1, RAMP).rate_now() - FLOOR_PER_SECOND).abs() < 1e-6);
    }

    #[test]
    fn what_the_service_does_not_count_is_given_back() {
        let (mut quota, start) = (Quota::new(10.0, 5, Duration::ZERO), Instant::now());
        assert_eq!(quota.take(start, 5), When::Now);
        assert!(matches!(quota.take(start, 1), When::At(_)));
        quota.give_back(2);
        assert!((quota.used(start) - 3.0 / 600.0).abs() < 1e-9);
        assert_eq!(quota.take(start, 2), When::Now);
    }

    proptest! {
        #[test]
        fn never_more_than_the_quota_and_its_burst(
            steps in proptest::collection::vec((0u64..3_000, 0u32..400), 1..200),
            per_second in 1u32..500,
            ramp in 0u64..100,
        ) {
            let rate = f64::from(per_second);
            let mut quota = Quota::new(rate, per_second, Duration::from_secs(ramp));
            let (start, mut ms, mut sent) = (Instant::now(), 0u64, 0u32);
            for (passed, wanted) in steps {
                ms += passed;
                for _ in 0..wanted {
                    match quota.take(at(start, ms), 1) {
                        When::Now => sent += 1,
                        When::At(then) => {
                            prop_assert!(then > at(start, ms));
                            break;
                        }
                    }
                }
                #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
                let most = rate * (ms as f64 / 1_000.0 + 1.1) + 2.0;
                prop_assert!(f64::from(sent) <= most, "{sent} of {most}");
            }
        }
    }
}
