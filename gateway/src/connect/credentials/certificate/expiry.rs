//! How long a certificate still lasts, and whom to wake for it. Pure.

use std::time::Duration;

use crate::clock::UnixMs;

const DAY: Duration = Duration::from_secs(86_400);

/// Days left at which the alarm is given, each worse than the one before. Chosen: Apple writes a
/// month ahead, and a new certificate takes a person with access to the account.
const LEVELS: [(u32, &str); 3] = [
    (0, "certificate_expired"),
    (7, "certificate_expires_in_7_days"),
    (30, "certificate_expires_in_30_days"),
];

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    /// Days left; less than 0: so many days ago.
    pub(super) days: f64,
    /// The alarm to give, now: once a day for as long as it holds, and at once when it gets worse.
    pub(super) alarm: Option<&'static str>,
}

/// When the last alarm was given, and which.
#[derive(Debug, Default)]
pub(super) struct Expiry(Option<(&'static str, UnixMs)>);

impl Expiry {
    /// Looks at a certificate that ends at `not_after`.
    pub(super) fn look(&mut self, not_after: UnixMs, now: UnixMs) -> Look {
        let left = not_after.since(now).as_secs_f64() - now.since(not_after).as_secs_f64();
        let days = left / DAY.as_secs_f64();
        let level = LEVELS.iter().find(|(level, _)| days <= f64::from(*level));
        let Some((_, name)) = level else {
            self.0 = None;
            return Look { days, alarm: None };
        };
        let told = |(told, at): (&str, UnixMs)| told == *name && at <= now && now.since(at) < DAY;
        let alarm = (!self.0.is_some_and(told)).then_some(*name);
        if alarm.is_some() {
            self.0 = Some((name, now));
        }
        Look { days, alarm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_given_once_a_day_and_at_once_when_it_gets_worse() {
        let end = UnixMs(1_800_000_000_000);
        let mut expiry = Expiry::default();
        let mut given = Vec::new();
        // From 40 days before the end to 2 days after it, looked at every hour.
        for hour in 0..42 * 24_u64 {
            let now = UnixMs(end.0 - 40 * 86_400_000 + hour * 3_600_000);
            let look = expiry.look(end, now);
            if let Some(alarm) = look.alarm {
                given.push((look.days, alarm));
            }
        }
        let count = |name: &str| given.iter().filter(|(_, alarm)| *alarm == name).count();
        assert_eq!(count("certificate_expires_in_30_days"), 23);
        assert_eq!(count("certificate_expires_in_7_days"), 7);
        assert_eq!(count("certificate_expired"), 2);
        let first = |name: &str| given.iter().find(|(_, alarm)| *alarm == name).unwrap().0;
        assert!((first("certificate_expires_in_30_days") - 30.0).abs() < 0.01);
        assert!((first("certificate_expires_in_7_days") - 7.0).abs() < 0.01);
        assert!(first("certificate_expired").abs() < 0.01);
    }

    #[test]
    fn a_certificate_of_a_year_is_no_news_and_a_renewed_one_ends_the_alarm() {
        let now = UnixMs(1_800_000_000_000);
        let mut expiry = Expiry::default();
        assert!(expiry.look(now.plus(DAY * 3), now).alarm.is_some());
        let look = expiry.look(now.plus(DAY * 365), now);
        assert_eq!(
            look,
            Look {
                days: 365.0,
                alarm: None
            }
        );
        assert!(
            expiry.look(now.plus(DAY * 3), now).alarm.is_some(),
            "the old file came back"
        );
    }
}
