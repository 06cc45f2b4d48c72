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

    /// This point, unless it is [`Self::ZERO`].
    #[must_use]
    pub fn known(self) -> Option<Self> {
        (self.0 != 0).then_some(self)
    }
}

/// Writes RFC 3339 in UTC with milliseconds, as every answer and event does.
impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UNIX_EPOCH + Duration::from_millis(self.0);
        write!(f, "{}", humantime::format_rfc3339_millis(at))
    }
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

    /// The monotonic clock, for timers only.
    #[must_use]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }
}
