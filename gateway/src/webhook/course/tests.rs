//! The course in virtual time: schedule, disabling, bounds, and a model of an unreliable endpoint.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::webhook::retry::SCHEDULE;

struct World {
    course: Course,
    now: Now,
}

impl World {
    fn new(state: &EndpointState) -> Self {
        Self {
            course: Course::restore(state, None),
            now: Now {
                instant: Instant::now(),
                unix: UnixMs(1_795_248_000_000),
            },
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now.instant += by;
        self.now.unix = self.now.unix.plus(by);
    }

    fn fresh(&mut self, first: u64, last: u64) -> Sent {
        let sent = Sent {
            first,
            last,
            retry: None,
            began: self.now,
        };
        self.course.sent(&sent);
        sent
    }

    /// Waits for the next retry and starts it.
    fn again(&mut self) -> Sent {
        loop {
            match self.course.next(self.now, Ready::Nothing) {
                Next::Again(entry) => {
                    let sent = Sent {
                        first: entry.first,
                        last: entry.last,
                        retry: Some(entry),
                        began: self.now,
                    };
                    self.course.sent(&sent);
                    return sent;
                }
                Next::Wait { instant, unix } => {
                    let by = instant
                        .map(|at| at - self.now.instant)
                        .into_iter()
                        .chain(unix.map(|at| at.since(self.now.unix)))
                        .min()
                        .expect("test: there is something to wait for");
                    self.pass(by.max(Duration::from_millis(1)));
                }
                Next::Fresh(_) => unreachable!("test: nothing is ready"),
            }
        }
    }

    fn end(&mut self, sent: &Sent, outcome: Outcome) -> Told {
        self.course.ended(sent, &outcome, self.now, 200)
    }
}

#[test]
fn ten_tries_on_schedule_then_given_up_while_others_get_through() {
    let mut world = World::new(&EndpointState::default());
    let mut sent = world.fresh(1, 3);
    for wait in &SCHEDULE[1..] {
        let before = world.now.unix;
        assert_eq!(world.end(&sent, Outcome::Failed(None)), Told::default());
        assert_eq!(world.course.export(3).cursor, 3, "the retry set has it");
        sent = world.again();
        assert_eq!((sent.first, sent.last), (1, 3));
        assert_eq!(world.now.unix.since(before), *wait);
        let well = world.fresh(10 + u64::from(sent.attempt()), 90);
        world.end(&well, Outcome::Taken);
    }
    assert_eq!(sent.attempt(), 10);
    assert!(world.end(&sent, Outcome::Failed(None)).exhausted);
    let state = world.course.export(90);
    assert_eq!(
        (state.exhausted, state.retries.len(), state.cursor),
        (1, 0, 90)
    );
}

#[test]
fn retry_after_moves_the_retry_and_holds_the_endpoint() {
    let mut world = World::new(&EndpointState::default());
    let sent = world.fresh(1, 1);
    world.end(&sent, Outcome::Throttled(Some(Duration::from_secs(600))));
    assert_eq!(
        world.course.export(1).retries[0].due,
        world.now.unix.plus(Duration::from_secs(600))
    );
    let held = world.course.next(world.now, Ready::Take(1));
    assert!(
        matches!(held, Next::Wait { instant: Some(at), .. } if at == world.now.instant + Duration::from_secs(600))
    );
}

#[test]
fn gone_disables_at_once_and_enabling_sends_it_again() {
    let mut world = World::new(&EndpointState::default());
    let (sent, other) = (world.fresh(1, 1), world.fresh(2, 2));
    assert!(world.end(&sent, Outcome::Gone).disabled);
    assert!(!world.end(&other, Outcome::Gone).disabled, "told once");
    let idle = Next::Wait {
        instant: None,
        unix: None,
    };
    assert_eq!(world.course.next(world.now, Ready::Take(5)), idle);
    let state = world.course.export(2);
    let mut world = World::new(&state);
    assert_eq!(
        world.course.next(world.now, Ready::Take(5)),
        idle,
        "over a restart too"
    );
    assert!(world.course.enable());
    assert_eq!(world.again().first, 1);
}

#[test]
fn five_days_of_failures_disable_and_one_success_starts_the_count_anew() {
    let day = Duration::from_secs(24 * 3600);
    let mut world = World::new(&EndpointState::default());
    for (days, well) in [(4, true), (4, false)] {
        for n in 0..days {
            let sent = world.fresh(world.now.unix.0 + n, world.now.unix.0 + n);
            assert!(!world.end(&sent, Outcome::Failed(None)).disabled);
            world.pass(day);
        }
        if well {
            let sent = world.fresh(world.now.unix.0, world.now.unix.0);
            world.end(&sent, Outcome::Taken);
        }
    }
    world.pass(day);
    let sent = world.fresh(world.now.unix.0, world.now.unix.0);
    assert!(world.end(&sent, Outcome::Failed(None)).disabled);
}

#[test]
fn a_full_retry_set_stops_the_cursor() {
    let retries = (1..RETRIES_MAX as u64)
        .map(|first| DeliveryRetry {
            first,
            last: first,
            attempts: 1,
            due: UnixMs(u64::MAX),
            since: UnixMs(0),
        })
        .collect();
    let mut world = World::new(&EndpointState {
        cursor: 5_000,
        retries,
        ..EndpointState::default()
    });
    assert_eq!(world.course.next(world.now, Ready::Take(1)), Next::Fresh(1));
    let sent = world.fresh(5_001, 5_001);
    assert!(matches!(
        world.course.next(world.now, Ready::Take(1)),
        Next::Wait { .. }
    ));
    world.end(&sent, Outcome::Failed(None));
    assert_eq!(world.course.retries(), RETRIES_MAX);
    assert!(matches!(
        world.course.next(world.now, Ready::Take(1)),
        Next::Wait { .. }
    ));
    assert_eq!(world.course.export(5_001).cursor, 5_001);
}

#[test]
fn an_open_circuit_holds_new_deliveries() {
    let mut world = World::new(&EndpointState::default());
    let mut opened = false;
    for n in 1..=5 {
        let sent = world.fresh(n, n);
        opened = world.end(&sent, Outcome::Failed(None)).circuit;
    }
    assert!(opened);
    assert!(matches!(
        world.course.next(world.now, Ready::Take(1)),
        Next::Wait { .. }
    ));
    world.pass(Duration::from_secs(10));
    assert!(matches!(
        world.course.next(world.now, Ready::Take(1)),
        Next::Again(_)
    ));
}

fn outcome(n: u8) -> Outcome {
    match n {
        0..=4 => Outcome::Taken,
        5..=7 => Outcome::Failed(None),
        8 => Outcome::Throttled(Some(Duration::from_secs(30))),
        _ => Outcome::Aborted,
    }
}

proptest! {
    /// An endpoint that fails at random, with restarts from what was last remembered: at the end
    /// every event was taken, given up or aborted, at least once each; what is remembered never
    /// says otherwise.
    #[test]
    fn every_event_is_settled_at_least_once(
        outcomes in proptest::collection::vec(0u8..10, 1..200),
        restarts in proptest::collection::vec(0usize..40, 0..5),
    ) {
        const EVENTS: u64 = 120;
        let mut world = World::new(&EndpointState::default());
        let (mut passed, mut settled) = (0u64, BTreeSet::new());
        let mut out: Vec<Sent> = Vec::new();
        let mut answers = outcomes.iter().copied().chain(std::iter::repeat(0));
        for step in 0..100_000usize {
            if restarts.contains(&step) {
                let state = world.course.export(passed);
                passed = state.cursor;
                world.course = Course::restore(&state, None);
                out.clear();
            }
            let ready = if passed < EVENTS { Ready::Take(3) } else { Ready::Nothing };
            let sent = match world.course.next(world.now, ready) {
                Next::Fresh(count) => {
                    let last = (passed + count as u64).min(EVENTS);
                    let sent = Sent { first: passed + 1, last, retry: None, began: world.now };
                    passed = last;
                    Some(sent)
                }
                Next::Again(entry) => Some(Sent {
                    first: entry.first, last: entry.last, retry: Some(entry), began: world.now,
                }),
                Next::Wait { .. } => None,
            };
            if let Some(sent) = sent {
                world.course.sent(&sent);
                out.push(sent);
            } else if out.is_empty() {
                if passed == EVENTS && world.course.retries() == 0 { break }
                world.pass(Duration::from_secs(60));
            } else {
                let sent = out.swap_remove(step % out.len());
                let answer = outcome(answers.next().unwrap_or(0));
                let told = world.end(&sent, answer.clone());
                if told.exhausted || matches!(answer, Outcome::Taken | Outcome::Aborted) {
                    settled.extend(sent.first..=sent.last);
                }
                let state = world.course.export(passed);
                for seq in 1..=state.cursor {
                    let kept = state.retries.iter().any(|e| (e.first..=e.last).contains(&seq));
                    prop_assert!(kept || settled.contains(&seq), "{seq} is forgotten");
                }
            }
        }
        prop_assert_eq!(settled.len() as u64, EVENTS);
    }
}
