//! Retries: what each push service wants of whoever tries again, as schedules.

use std::time::Duration;

use crate::outcome::retries::{Retries, Schedule};

/// No push goes to FCM again sooner. push.md §2, "Retry rules" (Google's "Best practices when sending
/// messages at scale").
pub const FCM_LEAST: Duration = Duration::from_secs(10);
/// … nor later after its first try: there, "bounded, 60 minutes is sensible".
pub const FCM_WITHIN: Duration = Duration::from_secs(3_600);
/// When Apple says that a 5xx may be tried again: "after 15 minutes" (push.md §1.5).
const STRICT_LEAST: Duration = Duration::from_secs(900);
/// What comes on top of it, try by try. Chosen: an hour in the end, for the back-off that Apple wants.
const STRICT: [Duration; 3] = [
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(2_700),
];

/// To Apple, with these pauses.
#[must_use]
pub fn apns(pauses: &[Duration]) -> Retries {
    Retries::Schedule(Schedule::new(pauses, Duration::ZERO, None))
}

/// To Apple, as Apple advises: 15 to 20 minutes, 15 to 30, 15 to 60.
#[must_use]
pub fn apple_strict() -> Retries {
    Retries::Schedule(Schedule::new(&STRICT, STRICT_LEAST, None))
}

/// To Google, with these pauses on top of [`FCM_LEAST`], within [`FCM_WITHIN`].
#[must_use]
pub fn fcm(pauses: &[Duration]) -> Retries {
    Retries::Schedule(Schedule::new(pauses, FCM_LEAST, Some(FCM_WITHIN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_is_left_alone_for_as_long_as_it_asks() {
        let pauses = [Duration::from_secs(1)];
        assert_eq!(apns(&pauses).pause_ms(0, 0), 0, "full jitter");
        assert_eq!(fcm(&pauses).pause_ms(0, 0), 10_000);
        assert_eq!(apple_strict().pause_ms(0, 0), 900_000);
        assert_eq!(apple_strict().pause_ms(0, 300_000), 1_200_000);
        assert_eq!(apple_strict().tries(), 3);
    }
}
