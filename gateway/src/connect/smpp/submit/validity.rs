//! Validity: what is left of a message's lifetime, in the form that a route's carrier takes.

use std::time::Duration;

use super::super::config::ValidityForm;
use crate::clock::UnixMs;

/// Shortest validity_period: what is left of a lifetime is rounded up to it, because carriers refuse
/// less (chosen). A part whose lifetime is over is not sent at all.
const SHORTEST: Duration = Duration::from_secs(60);
/// Longest relative validity_period: it has two digits of days, and months have no fixed length.
/// SMPP v3.4 §7.1.1.
const LONGEST_RELATIVE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Octets of a time, without the NUL. SMPP v3.4 §7.1.1.
const OCTETS: usize = 16;

/// A validity_period, without the NUL; empty where the carrier's own applies.
pub(super) struct Validity {
    text: [u8; OCTETS],
    used: usize,
}

impl Validity {
    /// What is left at `now` of a lifetime to `expires_at`, cut to `longest`. `None` when it is over.
    pub(super) fn left(
        form: ValidityForm,
        expires_at: UnixMs,
        now: UnixMs,
        longest: Duration,
    ) -> Option<Self> {
        let left = expires_at.since(now);
        if left.is_zero() {
            return None;
        }
        let longest = match form {
            ValidityForm::Relative => longest.min(LONGEST_RELATIVE),
            ValidityForm::Absolute | ValidityForm::Absent => longest,
        };
        let left = left.clamp(SHORTEST, longest.max(SHORTEST));
        let (text, used) = match form {
            ValidityForm::Relative => (relative(left.as_secs()), OCTETS),
            ValidityForm::Absolute => (absolute(now.plus(left)), OCTETS),
            ValidityForm::Absent => ([0; OCTETS], 0),
        };
        Some(Self { text, used })
    }

    pub(super) fn as_octets(&self) -> &[u8] {
        self.text.get(..self.used).unwrap_or_default()
    }
}

/// `000001023000000R`: SMPP v3.4 §7.1.1. It needs no common idea of the time.
fn relative(seconds: u64) -> [u8; OCTETS] {
    let mut text = *b"000000000000000R";
    let fields = [
        0,
        0,
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ];
    put(&mut text, fields);
    text
}

/// `261122081500000+`: SMPP v3.4 §7.1.1, in UTC, so no quarter hours ahead of it. The century is left
/// out, and so are tenths of a second, which end it at most one second early.
fn absolute(at: UnixMs) -> [u8; OCTETS] {
    let mut text = *b"000000000000000+";
    put(&mut text, at.utc());
    text
}

/// Puts the six pairs of digits in front: years (or, relative, none) to seconds.
fn put(text: &mut [u8; OCTETS], fields: [u64; 6]) {
    let (pairs, _) = text.as_chunks_mut::<2>();
    for (pair, field) in pairs.iter_mut().zip(fields) {
        let digit = |number: u64| b'0' + u8::try_from(number % 10).unwrap_or_default();
        *pair = [digit(field / 10), digit(field)];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(form: ValidityForm, ms: u64, hours: u64) -> Option<String> {
        let longest = Duration::from_secs(hours * 3600);
        let now = UnixMs(1_000);
        let validity = Validity::left(form, UnixMs(now.0.saturating_add(ms)), now, longest)?;
        Some(String::from_utf8(validity.as_octets().to_vec()).unwrap())
    }

    #[test]
    fn relative_validity_is_within_its_bounds() {
        let of = |ms, hours| of(ValidityForm::Relative, ms, hours);
        assert_eq!(of(300_000, 72).unwrap(), "000000000500000R");
        assert_eq!(of(1, 72).unwrap(), "000000000100000R");
        assert_eq!(of(90_061_000, 72).unwrap(), "000001010101000R");
        assert_eq!(of(90_061_000, 24).unwrap(), "000001000000000R");
        assert_eq!(of(u64::MAX / 2, 10_000).unwrap(), "000030000000000R");
        assert_eq!(of(0, 72), None);
    }

    #[test]
    fn absolute_validity_is_utc_and_within_the_same_bounds() {
        let of = |ms, hours| of(ValidityForm::Absolute, ms, hours);
        assert_eq!(of(300_000, 72).unwrap(), "700101000501000+");
        assert_eq!(of(1, 72).unwrap(), "700101000101000+", "rounded up");
        assert_eq!(of(u64::MAX / 2, 24).unwrap(), "700102000001000+", "cut");
        // Two digits of days are the relative form's limit, not this one's.
        assert_eq!(of(u64::MAX / 2, 24 * 60).unwrap(), "700302000001000+");
        assert_eq!(of(0, 72), None);
    }

    #[test]
    fn without_a_form_nothing_is_said_but_what_is_over_is_over() {
        assert_eq!(of(ValidityForm::Absent, 300_000, 72).unwrap(), "");
        assert_eq!(of(ValidityForm::Absent, 0, 72), None);
    }

    proptest! {
        /// humantime writes `2026-11-22T08:15:00Z` of the same moment.
        #[test]
        fn an_absolute_time_is_what_another_formatter_writes(seconds in 0_u64..4_102_444_800) {
            let at = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
            let theirs = humantime::format_rfc3339_seconds(at).to_string();
            let digits: String = theirs.chars().skip(2).filter(char::is_ascii_digit).collect();
            let ours = absolute(UnixMs(seconds * 1_000));
            prop_assert_eq!(String::from_utf8(ours.to_vec()).unwrap(), format!("{digits}000+"));
        }
    }
}
