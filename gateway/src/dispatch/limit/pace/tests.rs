//! Paces against simulated carriers, in virtual time.

use proptest::prelude::*;

use super::*;
use crate::dispatch::limit::throttle::{Pauses, Throttle};

const SECOND: Duration = Duration::from_secs(1);
/// How often a dispatcher looks at the time.
const TICK: Duration = Duration::from_millis(250);

fn configured(per_second: f64) -> Option<Configured> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small"
    )]
    let burst = per_second as u32;
    Some(Configured { per_second, burst })
}

/// A route that always has something to send, and a carrier that takes `limit` in each second of its
/// own clock.
struct Run {
    pace: Pace,
    throttle: Throttle,
    start: Instant,
    now: Instant,
    second: (u64, u32),
    accepted: u64,
    throttled: u64,
}

impl Run {
    fn new(rate: Option<Configured>) -> Self {
        let start = Instant::now();
        Self {
            pace: Pace::new(rate, Tuning::default()),
            throttle: Throttle::new(Pauses::default()),
            start,
            now: start,
            second: (0, 0),
            accepted: 0,
            throttled: 0,
        }
    }

    /// Runs for so long; at most `window` submits every 5 ms.
    fn run(&mut self, seconds: u32, limit: u32, window: u32) {
        let end = self.now + SECOND * seconds;
        let mut tick = self.now;
        while self.now < end {
            if self.now >= tick {
                let paused = self.throttle.until(self.now).is_some();
                self.pace.step(self.now, paused);
                tick += TICK;
            }
            for _ in 0..window {
                let paused = self.throttle.until(self.now).is_some();
                if paused || self.pace.take(self.now, 1) != When::Now {
                    break;
                }
                self.answer(limit);
            }
            self.now += Duration::from_millis(5);
        }
    }

    fn answer(&mut self, limit: u32) {
        let second = (self.now - self.start).as_secs();
        if self.second.0 != second {
            self.second = (second, 0);
        }
        if self.second.1 < limit {
            self.second.1 += 1;
            self.accepted += 1;
            self.pace.accepted(self.now, 1);
        } else {
            self.throttled += 1;
            if self.throttle.throttled(self.now, self.now, 0) {
                self.pace.throttled(self.now);
            }
        }
    }
}

#[test]
fn a_throttle_leaves_seven_tenths_and_two_percent_a_second_come_back() {
    let mut now = Instant::now();
    let mut pace = Pace::new(configured(100.0), Tuning::default());
    pace.step(now, false);
    assert_eq!((pace.effective(), pace.limited_by()), (Some(100.0), None));
    // It sent at full speed for a second.
    for _ in 0..100 {
        pace.accepted(now, 1);
        now += Duration::from_millis(10);
    }
    pace.throttled(now);
    let throttled = pace.effective().unwrap();
    assert!((65.0..=70.0).contains(&throttled), "{throttled}");
    assert_eq!(pace.limited_by(), Some(LimitedBy::Throttled));
    pace.step(now + SECOND, true);
    assert_eq!(pace.effective(), Some(throttled), "paused");
    now += 2 * SECOND;
    pace.step(now, false);
    let risen = pace.effective().unwrap();
    assert!((risen - throttled - 2.0).abs() < 1e-9, "{risen}");
    for _ in 0..120 {
        now += SECOND;
        pace.step(now, false);
    }
    assert_eq!((pace.effective(), pace.limited_by()), (Some(100.0), None));
}

#[test]
fn a_route_whose_config_is_far_off_finds_the_carriers_limit() {
    for (rate, limit) in [
        (configured(400.0), 50),
        (configured(55.0), 50),
        (configured(2_000.0), 1_500),
        (None, 50),
        (None, 1_000),
    ] {
        let mut run = Run::new(rate);
        run.run(60, limit, 20);
        let (accepted, throttled) = (run.accepted, run.throttled);
        run.run(300, limit, 20);
        let share = (run.accepted - accepted) as f64 / f64::from(limit) / 300.0;
        let refused = (run.throttled - throttled) as f64 / (run.accepted - accepted) as f64;
        assert!(share > 0.8, "{rate:?} at {limit}: {share}");
        assert!(refused < 0.01, "{rate:?} at {limit}: {refused}");
    }
}

#[test]
fn a_carrier_that_recovers_gets_the_configured_rate_again() {
    let mut run = Run::new(configured(100.0));
    run.run(120, 20, 20);
    assert!(run.pace.effective().unwrap() < 30.0);
    run.run(180, 1_000, 20);
    assert_eq!(run.pace.effective(), Some(100.0));
    // Without one, none.
    let mut run = Run::new(None);
    run.run(30, 20, 20);
    assert!(run.pace.effective().is_some());
    run.run(180, 100_000, 20);
    assert_eq!(run.pace.effective(), None);
}

#[test]
fn a_carrier_that_takes_nothing_for_an_hour_is_asked_now_and_then() {
    let mut run = Run::new(configured(400.0));
    run.run(3_600, 0, 20);
    assert!(run.throttled < 3_600 / 30, "{}", run.throttled);
    assert!(run.pace.effective().unwrap() > 0.0);
}

#[test]
fn near_congestion_the_rate_falls_by_a_tenth_a_second_and_stands_at_the_optimum() {
    let mut now = Instant::now();
    let mut pace = Pace::new(configured(100.0), Tuning::default());
    let mut at = |pace: &mut Pace, state: u8, seconds: u32| {
        for _ in 0..seconds * 4 {
            pace.congested(now, state);
            pace.accepted(now, 100);
            pace.step(now, false);
            now += TICK;
        }
        pace.effective().unwrap()
    };
    assert_eq!(at(&mut pace, 50, 10), 100.0);
    let near = at(&mut pace, 95, 10);
    assert!((33.0..38.0).contains(&near), "0.9^10 of 100: {near}");
    assert_eq!(pace.limited_by(), Some(LimitedBy::Congestion));
    assert_eq!(at(&mut pace, 85, 10), near);
    let over = at(&mut pace, 79, 10);
    assert!((over - near - 20.0).abs() < 1.0, "{over}");
    let no_state = at(&mut pace, 255, 100);
    assert_eq!(no_state, 100.0);
    // A carrier that stops telling does not hold the rate down for ever.
    at(&mut pace, 99, 5);
    for _ in 0..400 {
        now += TICK;
        pace.step(now, false);
    }
    assert_eq!(pace.effective(), Some(100.0));
}

proptest! {
    #[test]
    fn never_above_the_configured_rate_and_never_at_nothing(
        per_second in 1.0f64..5_000.0,
        events in prop::collection::vec((0u8..5, 0u64..5_000, 0u8..=120), 1..200),
    ) {
        let mut now = Instant::now();
        let mut pace = Pace::new(configured(per_second), Tuning::default());
        for (event, ms, number) in events {
            now += Duration::from_millis(ms);
            match event {
                0 => pace.throttled(now),
                1 => pace.congested(now, number),
                2 => pace.accepted(now, u32::from(number)),
                3 => pace.step(now, number % 2 == 0),
                _ => if pace.take(now, 3) == When::Now { pace.give_back(1) },
            }
            let effective = pace.effective().unwrap();
            let floor = (per_second * FLOOR).min(FLOOR_PER_SECOND) * 0.999;
            prop_assert!((floor..=per_second).contains(&effective), "{effective}");
            prop_assert!(pace.limited_by().is_some() || effective == per_second);
        }
    }
}
