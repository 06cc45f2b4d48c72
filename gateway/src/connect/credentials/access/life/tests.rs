//! The rules of an account's token, in virtual time.

use proptest::prelude::*;

use super::*;

const START: UnixMs = UnixMs(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

fn bearer(serial: u64, issued_at: UnixMs) -> Arc<Bearer> {
    Arc::new(Bearer {
        authorization: Bearer::authorization("Bearer", "x").unwrap(),
        serial,
        generation: 1,
        issued_at,
        expires_at: issued_at.plus(HOUR),
    })
}

fn at(life: &Life, now: UnixMs) -> Duration {
    match life.next(now) {
        Next::Ask => Duration::ZERO,
        Next::At(at) => at.since(now),
    }
}

fn failure(class: GrantClass, retry_after: Option<u64>) -> Failure {
    Failure {
        class,
        retry_after: retry_after.map(Duration::from_secs),
    }
}

#[test]
fn a_token_is_renewed_at_three_quarters_of_its_life_and_a_little_before() {
    for (jitter, minutes) in [(0.0, 45), (1.0, 42)] {
        let mut life = Life::default();
        assert_eq!(life.next(START), Next::Ask);
        life.granted(bearer(1, START), HOUR, jitter);
        assert_eq!(at(&life, START), Duration::from_secs(minutes * 60));
    }
}

#[test]
fn failures_wait_longer_each_time_and_no_longer_than_five_minutes() {
    let mut life = Life::default();
    let mut waits = Vec::new();
    for _ in 0..12 {
        life.failed(failure(GrantClass::RetryLater, None), START, 1.0);
        waits.push(at(&life, START).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    life.failed(failure(GrantClass::RetryLater, None), START, 0.0);
    assert_eq!(at(&life, START), WAIT_MIN);
    // A token that comes ends the row.
    life.granted(bearer(1, START), HOUR, 0.0);
    life.failed(failure(GrantClass::RetryLater, None), START.plus(HOUR), 1.0);
    assert_eq!(at(&life, START.plus(HOUR)), WAIT);
}

#[test]
fn what_the_endpoint_asks_for_counts_up_to_an_hour() {
    let mut life = Life::default();
    life.failed(failure(GrantClass::RetryLater, Some(90)), START, 0.0);
    assert_eq!(at(&life, START), Duration::from_secs(90));
    life.failed(failure(GrantClass::RetryLater, Some(1_000_000)), START, 0.0);
    assert_eq!(at(&life, START), HOUR);
}

#[test]
fn a_refused_account_is_asked_for_again_in_ten_minutes_and_a_new_key_at_once() {
    let mut life = Life::default();
    life.granted(bearer(1, START), HOUR, 0.0);
    let late = START.plus(HOUR);
    life.failed(failure(GrantClass::Credentials, None), late, 0.5);
    assert_eq!(at(&life, late), WAIT_PERMANENT);
    life.turned();
    assert_eq!(life.next(late), Next::Ask);
    assert_eq!(
        life.bearer.as_ref().unwrap().serial,
        1,
        "the old one serves"
    );
}

#[test]
fn a_token_that_fcm_refuses_is_replaced_once_and_not_within_a_minute() {
    let mut life = Life::default();
    life.granted(bearer(1, START), HOUR, 0.0);
    assert!(life.refused(1));
    assert!(!life.refused(1), "no news");
    assert_eq!(at(&life, START), REFUSED_AGE_MIN);
    let later = START.plus(REFUSED_AGE_MIN);
    life.granted(bearer(2, later), HOUR, 0.0);
    assert!(!life.refused(1), "of an old token it says nothing");
    assert_eq!(at(&life, later), HOUR.mul_f64(REFRESH_AT));
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let mut life = Life::default();
    life.granted(bearer(1, START), HOUR, 0.0);
    life.failed(failure(GrantClass::RetryLater, None), START, 1.0);
    let back = UnixMs(START.0 - 86_400_000);
    assert_eq!(life.next(back), Next::Ask);
}

proptest! {
    /// Whatever is drawn and answered, there is never a loop of questions.
    #[test]
    fn questions_are_half_a_second_apart_at_least(
        answers in prop::collection::vec((0u8..3, 0.0f64..=1.0, prop::option::of(0u64..5)), 1..300),
    ) {
        let (mut life, mut now) = (Life::default(), START);
        for (serial, (answer, jitter, retry_after)) in (1..).zip(answers) {
            let before = now;
            if let Next::At(at) = life.next(now) {
                now = at;
            }
            prop_assert_eq!(life.next(now), Next::Ask);
            prop_assert!(serial == 1 || now.since(before) >= WAIT_MIN);
            match answer {
                0 => life.granted(bearer(serial, now), Duration::from_secs(10), jitter),
                1 => life.failed(failure(GrantClass::RetryLater, retry_after), now, jitter),
                _ => life.failed(failure(GrantClass::Bug, retry_after), now, jitter),
            }
            life.refused(serial);
        }
    }
}
