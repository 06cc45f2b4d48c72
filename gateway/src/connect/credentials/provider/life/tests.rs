//! The rules of a key's tokens, in virtual time: one at a time, then thousands of random turns.

use proptest::prelude::*;

use super::*;
use crate::connect::credentials::Bearer;

const START: UnixMs = UnixMs(1_800_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

/// A life, its clocks, and when which key's tokens were made by the steady clock.
struct World {
    life: Life,
    now: Now,
    serial: u64,
    made: Vec<(Fingerprint, Instant)>,
}

impl World {
    fn new() -> Self {
        Self {
            life: Life::new([1; 32]),
            now: Now {
                wall: START,
                steady: tokio::time::Instant::now().into_std(),
            },
            serial: 0,
            made: Vec::new(),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.wall = self.now.wall.plus(time);
        self.now.steady += time;
    }

    /// What the task does at each turn. True if it made a token.
    fn turn(&mut self) -> bool {
        if self.life.next(self.now) != Next::Mint {
            return false;
        }
        self.make(self.now.wall, Some(self.now.steady));
        self.made.push((self.life.key(), self.now.steady));
        true
    }

    fn make(&mut self, issued_at: UnixMs, minted: Option<Instant>) {
        self.serial += 1;
        let bearer = Bearer {
            authorization: Bearer::authorization("bearer", "x").unwrap(),
            serial: self.serial,
            generation: 1,
            issued_at,
            expires_at: issued_at.plus(EXPIRES_AT),
        };
        self.life.made(Arc::new(bearer), issued_at, minted, 0.5);
    }

    fn at(&self) -> UnixMs {
        match self.life.next(self.now) {
            Next::At(at) => at,
            Next::Mint => self.now.wall,
        }
    }
}

#[test]
fn a_token_is_replaced_at_fifty_minutes_and_a_little() {
    let mut world = World::new();
    assert!(world.turn());
    assert_eq!(world.at(), START.plus(REFRESH_AT));
    world.pass(REFRESH_AT.saturating_sub(SECOND));
    assert!(!world.turn());
    world.pass(SECOND);
    assert!(world.turn());
    for jitter in [0.0, 1.0] {
        let mut life = Life::new([1; 32]);
        let bearer = world.life.bearer().unwrap().clone();
        life.made(bearer, START, None, jitter);
        let Next::At(at) = life.next(Now {
            wall: START,
            ..world.now
        }) else {
            panic!("just made");
        };
        let age = at.since(START);
        assert!((MINUTE * 47..=MINUTE * 53).contains(&age), "{age:?}");
    }
}

#[test]
fn a_token_called_expired_is_replaced_early_and_not_before_twenty_minutes() {
    let mut world = World::new();
    world.turn();
    world.pass(MINUTE);
    assert!(world.life.expired(1), "news");
    assert!(!world.life.expired(1), "no news");
    assert_eq!(world.at(), START.plus(BETWEEN_MIN));
    world.pass(MINUTE * 19);
    assert!(world.turn());
    assert!(!world.life.expired(1), "of an old token it says nothing");
    assert_eq!(world.at(), world.now.wall.plus(REFRESH_AT));
}

#[test]
fn too_many_tokens_keep_the_one_there_is_until_its_last_minute() {
    let mut world = World::new();
    world.turn();
    world.pass(MINUTE * 30);
    world.life.too_many(world.now);
    world.life.expired(1);
    assert_eq!(world.at(), START.plus(MINUTE * 50));
    world.pass(MINUTE * 15);
    world.life.too_many(world.now);
    assert_eq!(world.at(), START.plus(MINUTE * 59));
    world.pass(MINUTE * 14);
    assert!(world.turn());
}

/// A token of the future is taken by nobody: what the wrong clock had put off does not keep it.
#[test]
fn a_clock_set_back_after_too_many_tokens_has_another_made_when_twenty_minutes_are_over() {
    let mut world = World::new();
    world.turn();
    world.pass(MINUTE * 30);
    world.life.too_many(world.now);
    world.now.wall = UnixMs(START.0 - 24 * 3_600_000);
    assert_eq!(world.at(), world.now.wall, "the token is 30 minutes old");
    assert!(world.turn());
}

#[test]
fn a_kept_token_is_used_up_before_another_is_made() {
    let mut world = World::new();
    let issued = UnixMs(START.0 - 49 * 60_000);
    world.make(issued, None);
    assert!(!world.turn());
    world.pass(MINUTE);
    assert!(world.turn());
}

#[test]
fn another_key_has_its_first_token_at_once_and_the_old_one_keeps_its_own() {
    let mut world = World::new();
    world.turn();
    world.life.turn_to([2; 32]);
    assert!(world.life.bearer().is_none());
    assert!(world.turn());
    world.life.turn_to([1; 32]);
    assert!(!world.turn(), "the first key's token is still good");
    assert_eq!(world.life.bearer().unwrap().serial, 1);
}

#[test]
fn a_file_that_holds_ever_new_keys_does_not_make_ever_new_tokens() {
    let mut world = World::new();
    let mut made = 0;
    for key in 0..100u8 {
        world.life.turn_to([key; 32]);
        made += usize::from(world.turn());
        world.pass(SECOND);
    }
    assert_eq!(made, KEYS_MAX);
    world.pass(BETWEEN_MIN);
    assert!(world.turn());
}

#[test]
fn a_clock_set_back_replaces_a_token_of_the_future_after_twenty_real_minutes() {
    let mut world = World::new();
    world.turn();
    world.now.wall = UnixMs(START.0 - 7_200_000);
    assert!(!world.turn());
    world.pass(BETWEEN_MIN.saturating_sub(SECOND));
    assert!(!world.turn());
    world.pass(SECOND);
    assert!(world.turn());
}

#[test]
fn a_machine_that_slept_replaces_its_token_when_it_wakes() {
    let mut world = World::new();
    world.turn();
    // The steady clock stands still meanwhile.
    world.now.wall = START.plus(MINUTE * 120);
    assert!(world.turn());
}

/// What may happen to a key.
#[derive(Clone, Debug)]
enum Turn {
    Pass(u64),
    /// So many are refused at once, with a token of this many before the latest.
    Refused(u64, u64),
    TooMany,
    Restart,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let one = prop_oneof![
        4 => (1u64..1_800).prop_map(Turn::Pass),
        4 => (1u64..1_000, 0u64..3).prop_map(|(askers, old)| Turn::Refused(askers, old)),
        1 => Just(Turn::TooMany),
        1 => Just(Turn::Restart),
    ];
    prop::collection::vec(one, 1..200)
}

proptest! {
    #[test]
    fn never_two_tokens_within_twenty_minutes_and_never_an_expired_one_shown(turns in turns()) {
        let mut world = World::new();
        world.turn();
        for turn in turns {
            match turn {
                // The task turns every second here, so that nothing is late by more.
                Turn::Pass(seconds) => for _ in 0..seconds {
                    world.pass(SECOND);
                    world.turn();
                },
                Turn::Refused(askers, old) => for _ in 0..askers {
                    world.life.expired(world.serial.saturating_sub(old));
                    world.turn();
                },
                Turn::TooMany => world.life.too_many(world.now),
                Turn::Restart => {
                    let kept = world.life.bearer().unwrap().issued_at;
                    world.life = Life::new([1; 32]);
                    world.make(kept, None);
                    world.turn();
                }
            }
            let bearer = world.life.bearer().unwrap();
            prop_assert!(world.now.wall < bearer.expires_at);
        }
        for pair in world.made.windows(2) {
            prop_assert!(pair[1].1 - pair[0].1 >= BETWEEN_MIN);
        }
    }
}
