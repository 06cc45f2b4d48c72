//! Retries: when a part that was refused goes out again on its route, and how often. Pure.

use std::time::Duration;

use super::backoff;

/// Pauses of a schedule. Chosen: the default has five.
pub const PAUSES_MAX: usize = 10;
/// Tries that may follow the first one of a one-time code on a route with a schedule: who waits for it
/// is served sooner another way (push.md §1.5: two tries, then over to another channel).
pub const OTP_RETRIES: u8 = 1;

/// How a route tries again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retries {
    /// After 1 s, doubled for each try made, up to 60 s; as often as the outcome says.
    #[default]
    Backoff,
    /// By a schedule of its own.
    Schedule(Schedule),
}

/// Pauses before each further try, of which a random share is waited (full jitter): pushes that were
/// refused together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What is always waited, in milliseconds; the share of the pause comes on top.
    least_ms: u32,
    /// No try begins later than this after the first one on the route, in milliseconds.
    within_ms: u32,
    pauses_ms: [u32; PAUSES_MAX],
    count: u8,
}

fn ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

impl Schedule {
    /// With these pauses, of which the first [`PAUSES_MAX`] count, each at most 49 days. `least` is
    /// waited before any try; none begins later than `within` after the first.
    #[must_use]
    pub fn new(pauses: &[Duration], least: Duration, within: Option<Duration>) -> Self {
        let mut pauses_ms = [0; PAUSES_MAX];
        for (place, pause) in pauses_ms.iter_mut().zip(pauses) {
            *place = ms(*pause);
        }
        Self {
            least_ms: ms(least),
            within_ms: within.map_or(u32::MAX, ms),
            pauses_ms,
            count: u8::try_from(pauses.len().min(PAUSES_MAX)).unwrap_or(0),
        }
    }

    /// How many tries may follow the first.
    #[must_use]
    pub fn tries(&self) -> u8 {
        self.count
    }

    /// Milliseconds between the answer to try `made` + 1 and the next try; `jitter` is any number.
    /// After the last pause it stays at that.
    #[must_use]
    pub fn pause_ms(&self, made: u8, jitter: u64) -> u64 {
        let at = made.min(self.count.saturating_sub(1));
        let pause = self.pauses_ms.get(usize::from(at)).copied().unwrap_or(0);
        u64::from(self.least_ms) + jitter % (u64::from(pause) + 1)
    }

    /// Whether a try so many milliseconds after the first one on the route is too late.
    #[must_use]
    pub fn is_over(&self, after_ms: u64) -> bool {
        self.within_ms != u32::MAX && after_ms > u64::from(self.within_ms)
    }
}

impl Retries {
    /// Milliseconds before the next try, `made` tries after the first; `jitter` is any number.
    #[must_use]
    pub fn pause_ms(&self, made: u8, jitter: u64) -> u64 {
        match self {
            // Between half of it and all of it.
            Self::Backoff => {
                let pause = backoff(made.saturating_add(1)).as_millis() / 2;
                let half = u64::try_from(pause).unwrap_or(u64::MAX).max(1);
                half.saturating_add(jitter % half)
            }
            Self::Schedule(schedule) => schedule.pause_ms(made, jitter),
        }
    }

    /// How many tries may follow the first where the outcome leaves it to the route.
    #[must_use]
    pub fn tries(&self) -> u8 {
        match self {
            Self::Backoff => 3,
            Self::Schedule(schedule) => schedule.tries(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_a_schedule_the_pause_is_doubled_and_jittered_by_half() {
        let pauses = |made| {
            let pause = |jitter| Retries::Backoff.pause_ms(made, jitter);
            (pause(0), pause(499), pause(29_999))
        };
        assert_eq!(pauses(0), (500, 999, 999));
        assert_eq!(pauses(9), (30_000, 30_499, 59_999));
    }

    #[test]
    fn a_schedule_is_walked_through_and_its_last_pause_stays() {
        let pauses = [SECOND, 5 * SECOND, 30 * SECOND];
        let schedule = Schedule::new(&pauses, 10 * SECOND, Some(3_600 * SECOND));
        assert_eq!(schedule.tries(), 3);
        let longest = [0, 1, 2, 3, 200].map(|made| {
            let pause = Duration::from_millis((0..31_000).fold(0, |longest: u64, jitter| {
                longest.max(schedule.pause_ms(made, jitter))
            }));
            pause.as_secs()
        });
        assert_eq!(longest, [11, 15, 40, 40, 40]);
        assert_eq!(schedule.pause_ms(2, 0), 10_000, "never less");
        assert!(!schedule.is_over(3_600_000) && schedule.is_over(3_600_001));
        assert!(!Schedule::new(&pauses, SECOND, None).is_over(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_pause_is_from_the_least_to_the_whole_of_it(
            pauses in proptest::collection::vec(0u64..100_000, 0..20),
            least in 0u64..10_000,
            made in any::<u8>(),
            jitter in any::<u64>(),
        ) {
            let times: Vec<_> = pauses.iter().copied().map(Duration::from_millis).collect();
            let schedule = Schedule::new(&times, Duration::from_millis(least), None);
            prop_assert_eq!(usize::from(schedule.tries()), pauses.len().min(PAUSES_MAX));
            let at = usize::from(made).min(usize::from(schedule.tries()).saturating_sub(1));
            let whole = pauses.get(at).copied().unwrap_or(0);
            let pause = schedule.pause_ms(made, jitter);
            prop_assert!((least..=least + whole).contains(&pause));
        }
    }
}
