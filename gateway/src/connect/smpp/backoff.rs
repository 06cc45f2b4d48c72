//! When to bind again: the failure classes of smpp.md §3.2. Pure.

use std::time::Duration;

use codecs::smpp::CommandStatus;
use codecs::smpp::Speaks;
use codecs::smpp::session::CloseReason;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A bind that stood so long starts again from the shortest pause.
pub(super) const STABLE: Duration = seconds(60);
/// Refused credentials before all links of an account stop: carriers lock accounts. smpp.md §3.2.
pub(super) const CREDENTIALS_MAX: u32 = 5;
/// RALYBND answers before the link rests, and other ambiguous refusals before an alarm.
pub(super) const ALARM_AT: u32 = 3;
/// The rest of a link whose carrier says "too many binds". Chosen: longer than the inactivity
/// timers that leave ghost sessions, which carriers document as 1 to 5 minutes.
const GHOST_REST: Duration = seconds(600);

/// Why a bind was not made or did not last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The network between: refused, timed out, ended.
    Net,
    /// The carrier is busy (08, 14, 58, 64).
    Busy,
    /// Ghost session or too many binds (05).
    Ghost,
    /// The carrier does not say why (0D).
    Ambiguous,
    /// Name, password or system_type (0E, 0F, 53).
    Credentials,
    /// The carrier took leave.
    Parted,
    /// The carrier does not know this type of bind (03, 04).
    Unsupported,
    /// Trying again cannot help: not SMPP, our own settings.
    Hopeless,
}

impl Failure {
    /// The class of a refused bind.
    pub(super) fn of_status(status: CommandStatus) -> Self {
        match status.0 {
            0x08 | 0x14 | 0x58 | 0x64 => Self::Busy,
            0x05 => Self::Ghost,
            0x0E | 0x0F | 0x53 => Self::Credentials,
            0x03 | 0x04 => Self::Unsupported,
            _ => Self::Ambiguous,
        }
    }

    /// The class of a session's end.
    pub(super) fn of_close(reason: CloseReason) -> Self {
        match reason {
            CloseReason::BindRefused(status) => Self::of_status(status),
            CloseReason::Framing(error) if error.speaks != Speaks::Unknown => Self::Hopeless,
            CloseReason::PeerUnbound | CloseReason::Unbound => Self::Parted,
            _ => Self::Net,
        }
    }

    /// (first pause, longest pause), doubled in between.
    fn pauses(&self) -> (Duration, Duration) {
        match self {
            Self::Net => (seconds(1), seconds(60)),
            Self::Busy => (seconds(5), seconds(120)),
            Self::Ghost => (seconds(30), seconds(120)),
            Self::Ambiguous => (seconds(10), seconds(300)),
            Self::Credentials => (seconds(60), seconds(900)),
            Self::Parted => (seconds(5), seconds(60)),
            Self::Unsupported | Self::Hopeless => (Duration::MAX, Duration::MAX),
        }
    }
}

/// How long all binds of an account wait after so many refused credentials.
pub(super) fn credentials_pause(refused: u32) -> Duration {
    let (first, longest) = Failure::Credentials.pauses();
    let doubled = 1u32 << refused.saturating_sub(1).min(16);
    first.saturating_mul(doubled).min(longest)
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again after this.
    After(Duration),
    /// The carrier takes one bind less than we have: try again after this, much later.
    Rest(Duration),
    /// Do not try again.
    Stop,
}

/// Counts failures and draws pauses.
#[derive(Debug)]
pub(super) struct Backoff {
    last: Failure,
    in_a_row: u32,
    random: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            last: Failure::Net,
            in_a_row: 0,
            random: seed | 1,
        }
    }

    /// The bind stood for [`STABLE`].
    pub(super) fn stable(&mut self) {
        self.in_a_row = 0;
    }

    /// How often the last failure came in a row.
    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// What follows; refused credentials are the account's to decide ([`super::account`]).
    pub(super) fn next(&mut self, failure: Failure) -> Next {
        if failure != self.last {
            self.in_a_row = 0;
        }
        let (first, longest) = failure.pauses();
        let doubled = 1u32 << self.in_a_row.min(16);
        self.in_a_row = self.in_a_row.saturating_add(1);
        let pause = first.saturating_mul(doubled).min(longest);
        self.last = failure;
        match self.last {
            Failure::Unsupported | Failure::Hopeless => Next::Stop,
            // Full jitter: a carrier that comes back is not met by all binds at once.
            Failure::Net => Next::After(pause.mul_f64(self.draw())),
            Failure::Ghost if self.in_a_row > ALARM_AT => Next::Rest(GHOST_REST),
            _ => Next::After(pause.mul_f64(0.1f64.mul_add(self.draw(), 1.0))),
        }
    }

    /// 0.0..=1.0
    fn draw(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from(u32::try_from(self.random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(failure: Failure, count: usize) -> Vec<Option<u64>> {
        let mut backoff = Backoff::new(7);
        (0..count)
            .map(|_| match backoff.next(failure.clone()) {
                Next::After(pause) | Next::Rest(pause) => Some(pause.as_secs()),
                Next::Stop => None,
            })
            .collect()
    }

    #[test]
    fn pauses_grow_to_their_cap() {
        let within = |got: &[Option<u64>], want: &[u64]| {
            for (got, want) in got.iter().zip(want) {
                let got = got.unwrap();
                assert!(
                    (*want..=want + want / 10).contains(&got),
                    "{got} for {want}"
                );
            }
        };
        within(&pauses(Failure::Busy, 7), &[5, 10, 20, 40, 80, 120, 120]);
        within(&pauses(Failure::Ghost, 4), &[30, 60, 120, 600]);
        within(&pauses(Failure::Ambiguous, 6), &[10, 20, 40, 80, 160, 300]);
        for (at, pause) in pauses(Failure::Net, 20).iter().enumerate() {
            assert!(pause.unwrap() <= (1 << at.min(6)).min(60));
        }
        assert_eq!(pauses(Failure::Hopeless, 1), [None]);
        assert_eq!(pauses(Failure::Unsupported, 1), [None]);
    }

    #[test]
    fn a_stable_bind_starts_again_and_another_class_too() {
        let mut backoff = Backoff::new(1);
        for _ in 0..6 {
            backoff.next(Failure::Busy);
        }
        backoff.stable();
        let near = |next: Next, want: u64| match next {
            Next::After(pause) => pause.as_secs().abs_diff(want) <= want / 10,
            Next::Rest(_) | Next::Stop => false,
        };
        assert!(near(backoff.next(Failure::Busy), 5));
        backoff.next(Failure::Ghost);
        assert!(near(backoff.next(Failure::Busy), 5));
    }

    #[test]
    fn every_status_of_the_page_has_its_class() {
        let of = |status| Failure::of_status(CommandStatus(status));
        for status in [0x08, 0x14, 0x58, 0x64] {
            assert_eq!(of(status), Failure::Busy);
        }
        for status in [0x0E, 0x0F, 0x53] {
            assert_eq!(of(status), Failure::Credentials);
        }
        assert_eq!((of(0x05), of(0x0D)), (Failure::Ghost, Failure::Ambiguous));
        assert_eq!(of(0x03), Failure::Unsupported);
        assert_eq!(of(0x04), Failure::Unsupported);
    }
}
