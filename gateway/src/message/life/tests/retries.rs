//! Lives on routes with a schedule of their own: how often, when, and where to when that is over.

use super::*;
use crate::outcome::retries::Schedule;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// On two routes that wait up to 1 s, then up to 10 s.
fn scheduled(within: Option<Duration>) -> Case {
    let mut case = Case::new(1, OnAmbiguous::Retry);
    case.retries = Retries::Schedule(Schedule::new(
        &[SECOND, 10 * SECOND],
        Duration::ZERO,
        within,
    ));
    case
}

impl Case {
    /// The only part comes back.
    fn back(&mut self, result: OutcomeResult, retry: Retry) -> Then {
        let mut settle = self.settled(0, result, retry);
        settle.outcome.handed_at = UnixMs(self.now);
        self.settle(Settle {
            last: true,
            ..settle
        })
    }

    fn later(&mut self, seconds: u32) -> Then {
        self.back(OutcomeResult::Refused, Retry::Scheduled { seconds })
    }

    /// How long it then waits, in milliseconds.
    fn wait(&self, then: Then) -> u64 {
        match then {
            Then::Again { due } => due.0 - self.now,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_schedule_says_how_often_and_how_long_and_then_comes_the_next_route() {
    let mut case = scheduled(None);
    let first = case.later(0);
    assert!(case.wait(first) <= 1_000);
    // The jitter of these tests is 7.
    assert_eq!(case.wait(first), 7);
    let second = case.later(0);
    assert!(case.wait(second) <= 10_000);
    assert!(matches!(case.later(0), Then::NextRoute { .. }));
    let again = case.later(0);
    assert_eq!(case.wait(again), 7, "from the start on the next route");
    let asked = case.later(30);
    assert!((30_000..37_500).contains(&case.wait(asked)), "{asked:?}");
    assert_eq!(case.later(0), Then::Rest);
    assert_eq!(case.life.status, Status::Failed);
}

#[test]
fn a_one_time_code_is_tried_twice_on_a_route() {
    let mut case = scheduled(None);
    case.message.class = Class::Otp;
    assert!(matches!(case.later(0), Then::Again { .. }));
    assert!(matches!(case.later(0), Then::NextRoute { .. }));
    // Also when nobody answers.
    for again in [true, false] {
        let then = case.back(OutcomeResult::Unknown, Retry::Never);
        assert_eq!(matches!(then, Then::Again { .. }), again, "{then:?}");
    }
    assert_eq!(case.life.status, Status::Unknown);
}

#[test]
fn what_would_come_too_late_goes_another_way_at_once() {
    let mut case = scheduled(None);
    case.message.expires_at = UnixMs(case.now + 60_000);
    assert!(matches!(case.later(90), Then::NextRoute { .. }));
    let then = case.back(
        OutcomeResult::Refused,
        Retry::After {
            seconds: 90,
            tries: 60,
        },
    );
    assert_eq!(then, Then::Rest);
    assert_eq!(case.life.status, Status::Failed, "and not waited for");
}

#[test]
fn a_service_that_wants_an_end_of_it_is_left_alone_then() {
    let mut case = scheduled(Some(100 * SECOND));
    let asked = Retry::After {
        seconds: 60,
        tries: 60,
    };
    assert!(matches!(
        case.back(OutcomeResult::Refused, asked),
        Then::Again { .. }
    ));
    case.now += 60_000;
    assert!(matches!(
        case.back(OutcomeResult::Refused, asked),
        Then::NextRoute { .. }
    ));
    // The next route's time begins with its own first try.
    assert!(matches!(
        case.back(OutcomeResult::Refused, asked),
        Then::Again { .. }
    ));
}

#[test]
fn another_token_is_not_waited_for_as_long_as_a_fault() {
    let mut case = scheduled(None);
    case.retries = Retries::Schedule(Schedule::new(&[SECOND], 900 * SECOND, None));
    let access = Retry::After {
        seconds: 1,
        tries: 3,
    };
    let then = case.back(OutcomeResult::Refused, access);
    assert!(case.wait(then) < 1_250);
    let then = case.later(1);
    assert!(matches!(then, Then::NextRoute { .. }), "one pause, one try");
    let then = case.later(1);
    assert!(case.wait(then) >= 900_000);
}
