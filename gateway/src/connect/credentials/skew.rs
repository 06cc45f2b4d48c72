//! How far this machine's clock is off, by what a push service's answers say. Pure.
//!
//! A provider token bears the time of this machine: an hour off and Apple refuses every one. The
//! `date` of an answer has whole seconds (RFC 9110 §5.6.7) and was written a little before it is
//! read, so that a second or two mean nothing.

use std::time::Duration;

use crate::clock::UnixMs;

/// Skew from which it is an alarm. push.md §1.2.
pub(super) const ALARM: Duration = Duration::from_secs(30);

/// How often the same alarm is given. Chosen: seen in any log, and drowns none.
const AGAIN: Duration = Duration::from_secs(600);

/// The last measure.
#[derive(Debug, Default)]
pub(super) struct Skew {
    seconds: i64,
    alarmed_at: Option<UnixMs>,
}

/// What a measure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    /// This clock less the service's, in seconds: positive is ahead.
    pub(super) seconds: i64,
    /// Whether to raise the alarm, now.
    pub(super) alarm: bool,
}

impl Skew {
    /// Takes an answer's `date`, `server`, as read at `now`.
    pub(super) fn saw(&mut self, server: UnixMs, now: UnixMs) -> Measure {
        let ms = i128::from(now.0) - i128::from(server.0);
        // Within the second that the answer names there is none.
        let ms = if (0..1_000).contains(&ms) { 0 } else { ms };
        self.seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
        let far = self.seconds.unsigned_abs() > ALARM.as_secs();
        let recent = |at: UnixMs| at <= now && now.since(at) < AGAIN;
        let alarm = far && !self.alarmed_at.is_some_and(recent);
        if alarm {
            self.alarmed_at = Some(now);
        }
        if !far {
            self.alarmed_at = None;
        }
        Measure {
            seconds: self.seconds,
            alarm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_500);

    fn at(seconds: i64) -> UnixMs {
        let ms = i64::try_from(NOW.0).unwrap() / 1_000 * 1_000 + seconds * 1_000;
        UnixMs(u64::try_from(ms).unwrap())
    }

    #[test]
    fn whole_seconds_of_a_date_are_no_skew() {
        assert_eq!(Skew::default().saw(at(0), NOW).seconds, 0);
        assert_eq!(Skew::default().saw(at(-90), NOW).seconds, 90);
        assert_eq!(Skew::default().saw(at(90), NOW).seconds, -89);
    }

    #[test]
    fn more_than_thirty_seconds_alarm_in_both_directions_once_in_ten_minutes() {
        let mut skew = Skew::default();
        assert!(!skew.saw(at(-30), NOW).alarm);
        assert!(skew.saw(at(-31), NOW).alarm);
        assert!(!skew.saw(at(-31), NOW.plus(Duration::from_secs(1))).alarm);
        let later = NOW.plus(AGAIN);
        assert!(skew.saw(at(-31), later).alarm);
        // What was put right and is wrong again alarms again.
        assert!(!skew.saw(later, later).alarm);
        assert!(skew.saw(later.plus(ALARM * 2), later).alarm);
    }
}
