//! Throttle: the whole route pauses when its peer says "too fast". Pure; time is an argument.
//!
//! ```text
//!  clean ──throttled──► paused 1 s ──► resumed ──throttled soon──► paused 2 s … 60 s
//!    ▲                                    │  └──throttled later──► paused as long as last time
//!    └────────────── 30 s ────────────────┘
//! ```

use std::time::{Duration, Instant};

/// How long a route pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The first pause; each further one is twice as long. smpp.md §3.4: 1 s.
    pub first: Duration,
    /// The longest pause, without its jitter. smpp.md §3.4: 60 s.
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        }
    }
}

/// After so long without being throttled the next pause is the first one again. smpp.md §3.4.
const CLEAN: Duration = Duration::from_secs(30);
/// A pause after which all went well for so many times its length was long enough: the next one is
/// not longer. Chosen: the rate creeps up to the peer's limit again in less than [`CLEAN`], and
/// a route at its limit would else pause for a minute at a time.
const LONG_ENOUGH: u32 = 4;
/// A pause is lengthened by up to 1 in so many, so that routes to one peer do not return together.
/// Chosen.
const JITTER: u32 = 4;
/// Doublings that matter: beyond, every pause is the longest one.
const STEPS_MAX: u32 = 16;
/// Throttled attempts are counted over so long, for whoever asks.
const SHOWN_SECONDS: usize = 60;

/// A route's throttle state.
#[derive(Clone, Debug)]
pub struct Throttle {
    pauses: Pauses,
    pause: Option<Pause>,
    steps: u32,
    seen: Seen,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    began: Instant,
    until: Instant,
}

impl Throttle {
    /// Never throttled.
    #[must_use]
    pub fn new(pauses: Pauses) -> Self {
        Self {
            pauses,
            pause: None,
            steps: 0,
            seen: Seen::default(),
        }
    }

    /// The peer throttles what was sent at `sent`. Says whether a pause begins: what was sent
    /// before the last one began tells nothing new, whenever its answer comes.
    pub fn throttled(&mut self, now: Instant, sent: Instant, random: u64) -> bool {
        self.seen.add(now);
        self.steps = match self.pause {
            Some(pause) if now < pause.until || sent < pause.began => return false,
            Some(pause) => {
                let clean = now.saturating_duration_since(pause.until);
                let enough = (pause.until - pause.began).saturating_mul(LONG_ENOUGH);
                match self.steps {
                    _ if clean >= CLEAN => 0,
                    steps if clean >= enough => steps,
                    steps => (steps + 1).min(STEPS_MAX),
                }
            }
            None => 0,
        };
        let whole = self.pauses.first.saturating_mul(1 << self.steps);
        let pause = whole.min(self.pauses.longest);
        let jitter_ms = u128::from(random) % (pause.as_millis() / u128::from(JITTER)).max(1);
        let jitter = Duration::from_millis(u64::try_from(jitter_ms).unwrap_or(0));
        self.pause = Some(Pause {
            began: now,
            until: now + pause + jitter,
        });
        true
    }

    /// The peer throttles what is not to pause the route.
    pub fn saw(&mut self, now: Instant) {
        self.seen.add(now);
    }

    /// Until when nothing is sent, if that is not past.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let until = self.pause.map(|pause| pause.until);
        until.filter(|until| now < *until)
    }

    /// Attempts that the peer throttled in the last minute.
    #[must_use]
    pub fn last_minute(&mut self, now: Instant) -> u64 {
        self.seen.sum(now)
    }
}

/// Counts of the last seconds, a ring of one for each.
#[derive(Clone, Debug)]
struct Seen {
    start: Option<Instant>,
    /// The second that was counted last.
    second: u64,
    counts: [u64; SHOWN_SECONDS],
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            start: None,
            second: 0,
            counts: [0; SHOWN_SECONDS],
        }
    }
}

impl Seen {
    /// Empties the places of the seconds that have passed; the current one's.
    fn turn(&mut self, now: Instant) -> usize {
        let start = *self.start.get_or_insert(now);
        let second = now.saturating_duration_since(start).as_secs();
        let passed = second.saturating_sub(self.second).min(60);
        for back in 0..passed {
            self.counts[place(second - back)] = 0;
        }
        self.second = self.second.max(second);
        place(self.second)
    }

    fn add(&mut self, now: Instant) {
        let place = self.turn(now);
        self.counts[place] += 1;
    }

    fn sum(&mut self, now: Instant) -> u64 {
        self.turn(now);
        self.counts.iter().sum()
    }
}

fn place(second: u64) -> usize {
    usize::try_from(second % 60).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pause(throttle: &mut Throttle, at: Instant) -> Duration {
        assert!(throttle.throttled(at, at, 0));
        throttle.until(at).unwrap() - at
    }

    #[test]
    fn a_storm_of_throttles_is_one_pause() {
        let start = Instant::now();
        let mut throttle = Throttle::new(Pauses::default());
        assert_eq!(pause(&mut throttle, start), SECOND);
        for _ in 0..100 {
            assert!(!throttle.throttled(start, start, 0));
        }
        assert_eq!(throttle.until(start + SECOND), None);
        // Its answer was under way for longer than the pause.
        let late = start + 3 * SECOND;
        assert!(!throttle.throttled(late, start - SECOND, 0));
        assert_eq!(throttle.until(late), None);
        assert_eq!(throttle.last_minute(late), 102);
        assert_eq!(throttle.last_minute(start + 62 * SECOND), 1);
        assert_eq!(throttle.last_minute(start + 300 * SECOND), 0);
    }

    #[test]
    fn pauses_double_to_the_longest_and_begin_anew_after_thirty_clean_seconds() {
        let mut now = Instant::now();
        let mut throttle = Throttle::new(Pauses::default());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert_eq!(pause(&mut throttle, now), seconds * SECOND);
            now += seconds * SECOND;
        }
        now += CLEAN;
        assert_eq!(pause(&mut throttle, now), SECOND);
    }

    #[test]
    fn a_pause_that_was_long_enough_is_not_followed_by_a_longer_one() {
        let mut now = Instant::now();
        let mut throttle = Throttle::new(Pauses::default());
        for _ in 0..20 {
            assert_eq!(pause(&mut throttle, now), SECOND);
            now += 6 * SECOND;
        }
        // At once after it, it is.
        assert_eq!(pause(&mut throttle, now), SECOND);
        assert_eq!(pause(&mut throttle, now + SECOND), 2 * SECOND);
    }

    #[test]
    fn jitter_only_lengthens_and_by_less_than_a_quarter() {
        let now = Instant::now();
        for random in 0..1_000 {
            let mut throttle = Throttle::new(Pauses::default());
            throttle.throttled(now, now, random * 7_919);
            let pause = throttle.until(now).unwrap() - now;
            assert!((SECOND..SECOND * 5 / 4).contains(&pause), "{pause:?}");
        }
    }
}
