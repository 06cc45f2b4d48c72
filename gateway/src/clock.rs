//! Time: the one place where the clocks are read.
//!
//! What is written down is UTC milliseconds ([`UnixMs`]); what a timer waits for is
//! [`std::time::Instant`]. The two are never mixed: a stage that has to wait until a [`UnixMs`] asks
//! [`Clock::until`] for the duration.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// The zero of the scale; stands for "not yet" in compact records.
    pub const ZERO: Self = Self(0);

    /// This point moved later; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Year, month, day, hour, minute and second in UTC.
    #[must_use]
    pub fn utc(self) -> [u64; 6] {
        let ms = self.0.min(LAST_MS);
        let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
        let (year, month, day) = civil(days);
        let [hour, minute] = [in_day / 3_600_000, in_day / 60_000 % 60];
        [year, month, day, hour, minute, in_day / 1_000 % 60]
    }

    /// This point, unless it is [`Self::ZERO`].
    #[must_use]
    pub fn known(self) -> Option<Self> {
        (self.0 != 0).then_some(self)
    }
}

/// The last millisecond that RFC 3339 can write: its years have four digits.
const LAST_MS: u64 = 253_402_300_799_999;

/// Writes RFC 3339 in UTC with milliseconds, as every answer and event does: several for each event,
/// so that the general formatter was 2 % of all CPU. Later than the year 9999 shows as its end.
impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour, minute, second] = self.utc();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: std::ops::Range<usize>, mut number: u64| {
            for digit in text[at].iter_mut().rev() {
                *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        };
        put(0..4, year);
        put(5..7, month);
        put(8..10, day);
        put(11..13, hour);
        put(14..16, minute);
        put(17..19, second);
        put(20..23, self.0.min(LAST_MS) % 1_000);
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar (H. Hinnant, "chrono-
/// Compatible Low-Level Date Algorithms", `civil_from_days`): years begin in March, so that the leap
/// day is the last, and 400 of them are 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Where the time comes from: the system, or a hand that a test moves.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `at` until [`Clock::set`] moves it.
    #[must_use]
    pub fn manual(at: UnixMs) -> Self {
        Self(Some(Arc::new(AtomicU64::new(at.0))))
    }

    /// Moves a manual clock; the system's clock is not moved.
    pub fn set(&self, at: UnixMs) {
        if let Some(hand) = &self.0 {
            hand.store(at.0, Ordering::Relaxed);
        }
    }

    /// The wall clock's reading. It may step back: ids and due times guard against that.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        if let Some(hand) = &self.0 {
            return UnixMs(hand.load(Ordering::Relaxed));
        }
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long it is until `at`; zero when it has passed.
    #[must_use]
    pub fn until(&self, at: UnixMs) -> Duration {
        at.since(self.now())
    }

    /// The monotonic clock, for timers only: tokio's, so that a test's virtual time is one for all.
    #[must_use]
    pub fn instant(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn writes_times_as_another_formatter_does(ms in 0..=LAST_MS) {
            let at = UNIX_EPOCH + Duration::from_millis(ms);
            let theirs = humantime::format_rfc3339_millis(at).to_string();
            prop_assert_eq!(UnixMs(ms).to_string(), theirs);
        }
    }

    #[test]
    fn writes_the_edges_of_time() {
        assert_eq!(UnixMs(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            UnixMs(951_782_399_999).to_string(),
            "2000-02-28T23:59:59.999Z"
        );
        assert_eq!(
            UnixMs(951_782_400_000).to_string(),
            "2000-02-29T00:00:00.000Z"
        );
        assert_eq!(UnixMs(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
