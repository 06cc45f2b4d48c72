//! Receipts without an id: given to the only message that can be meant, and never to another.

use super::*;
use crate::message::life::What;
use crate::outcome::{Clues, ReceiptState};
use crate::store::by_number::MESSAGES_MAX;

fn world() -> World {
    let mut world = World {
        without_id: true,
        ..World::new(IdFormat::Auto, Transform::default())
    };
    world.restart();
    world
}

fn handed(mut settle: Settle, at: UnixMs) -> Settle {
    settle.outcome.handed_at = at;
    settle
}

impl World {
    /// An answer as of now.
    async fn taken(&self, id: MessageId, result: OutcomeResult, provider: &str) {
        let settle = settle(id, 0, result, Retry::Never, provider);
        let settle = handed(settle, self.clock.now());
        self.store().settle(vec![settle]).await.unwrap();
    }

    /// A receipt for a number as of now, without an id.
    fn bare(&self, number: u64) -> Receipt {
        let clues = Clues {
            sender: "acme".into(),
            submitted_at: None,
        };
        Receipt {
            operator_at: Some(self.clock.now()),
            clues: Some(Box::new(clues)),
            ..receipt("", Some(number), self.clock.now())
        }
    }

    async fn hand_in(&self, receipt: Receipt) {
        self.store().apply_receipts(vec![receipt]).await.unwrap();
    }

    /// Lets all receipts' time pass, and says how many found their message.
    async fn wait(&self) -> usize {
        self.pass(61);
        let found = self.store().look_again().await;
        self.pass(600);
        found + self.store().look_again().await
    }

    fn whys(&self) -> Vec<OrphanWhy> {
        let orphans = self.store().orphans(ROUTE);
        orphans.iter().map(|orphan| orphan.why).collect()
    }
}

#[tokio::test]
async fn one_without_an_id_finds_the_only_message_to_its_number() {
    for archived in [false, true] {
        for answered in ["named", ""] {
            let mut world = world();
            let id = world.message(1).await;
            let other = world.message(2).await;
            // The receipt comes first.
            world.pass(1);
            world.hand_in(world.bare(1)).await;
            for id in [id, other] {
                let accepted = OutcomeResult::Accepted;
                let settle = settle(id, 0, accepted, Retry::Never, answered);
                let settle = handed(settle, UnixMs(world.clock.now().0 - 500));
                world.store().settle(vec![settle]).await.unwrap();
            }
            if archived {
                world.store().archive_now().await;
            }
            world.restart();
            assert_eq!(world.status(id).await, Status::Sent, "not at once");
            assert_eq!(world.wait().await, 1, "{archived} {answered}");
            assert_eq!(world.status(id).await, Status::Delivered);
            assert_eq!(world.status(other).await, Status::Sent);
            assert_eq!(world.whys(), []);
            let learned = world.store().learned(ROUTE);
            assert_eq!(learned, Learned::default(), "it teaches nothing");
        }
    }
}

#[tokio::test]
async fn one_with_an_id_finds_what_was_answered_without_one_and_nothing_else() {
    for (answered, found) in [("", 1), ("named", 0)] {
        let world = world();
        let id = world.message(1).await;
        world.taken(id, OutcomeResult::Accepted, answered).await;
        let named = Receipt {
            provider_id: b"nobodys"[..].into(),
            ..world.bare(1)
        };
        world.hand_in(named).await;
        assert_eq!(world.wait().await, found, "{answered}");
    }
}

#[tokio::test]
async fn what_is_not_the_only_one_or_is_spoken_against_is_kept_for_the_operator() {
    let world = world();
    let accepted = OutcomeResult::Accepted;
    // Two to one number.
    for _ in 0..2 {
        let id = world.message(1).await;
        world.taken(id, accepted, "x").await;
    }
    world.hand_in(world.bare(1)).await;
    // The other one's answer was lost, and it has left memory.
    let lost = world.message(2).await;
    world.taken(lost, OutcomeResult::Unknown, "").await;
    world.store().archive_now().await;
    world.pass(300);
    let id = world.message(2).await;
    world.taken(id, accepted, "y").await;
    world.hand_in(world.bare(2)).await;
    // Another sender; other times; news of a try; a number that may be another's end.
    let id = world.message(7).await;
    world.taken(id, accepted, "z").await;
    let bare = || world.bare(7);
    let clues = |sender: &str, submitted_at| {
        let sender = sender.into();
        let clues = Clues {
            sender,
            submitted_at,
        };
        Some(Box::new(clues))
    };
    let early = UnixMs(world.clock.now().0 - 200_000);
    let against = [
        Receipt {
            clues: clues("other", None),
            ..bare()
        },
        Receipt {
            clues: clues("", Some(early)),
            ..bare()
        },
        Receipt {
            operator_at: Some(early),
            ..bare()
        },
        Receipt {
            state: ReceiptState::Enroute,
            ..bare()
        },
        Receipt {
            recipient: Phone::from_digits(b"700000007"),
            ..bare()
        },
        Receipt {
            recipient: None,
            ..bare()
        },
    ];
    for receipt in against {
        world.hand_in(receipt).await;
    }
    assert_eq!(world.wait().await, 0);
    assert_eq!(world.status(id).await, Status::Sent);
    let mut whys = world.whys();
    whys.sort_by_key(|why| why.name());
    assert_eq!(whys[..5], [OrphanWhy::Ambiguous; 5]);
    assert_eq!(whys[5..], [OrphanWhy::NoMessage; 3]);
}

#[tokio::test]
async fn so_many_to_one_number_are_given_up_at_once() {
    let world = world();
    for _ in 0..MESSAGES_MAX + 2 {
        world.hand_in(world.bare(1)).await;
    }
    assert_eq!(world.whys(), [OrphanWhy::Ambiguous; 2]);
}

/// What becomes of one message of the property. Times in seconds after what came before.
#[derive(Clone, Debug)]
struct Course {
    number: u64,
    sent: u64,
    answered: u64,
    answer: u8,
    received: u64,
    /// Bad news first.
    first: Option<(ReceiptState, u64)>,
    again: Option<u64>,
    dated: bool,
    /// The receipts name an id.
    named: bool,
}

fn course() -> impl Strategy<Value = Course> {
    let state = prop_oneof![
        Just(ReceiptState::Expired),
        Just(ReceiptState::Unknown),
        Just(ReceiptState::Undeliverable)
    ];
    // Mostly taken, with or without an id.
    let answer = prop_oneof![6 => Just(1u8), 2 => Just(0u8), 1 => 2u8..5];
    let times = (0u64..400, 0u64..40, 0u64..200);
    let first = proptest::option::of((state, 1u64..600));
    let again = proptest::option::of(1u64..400);
    let rest = (first, again, any::<bool>(), any::<bool>());
    (1u64..3, times, answer, rest).prop_map(|(number, (sent, answered, received), answer, rest)| {
        let (first, again, dated, named) = rest;
        Course {
            number,
            sent,
            answered,
            answer,
            received,
            first: first.filter(|_| sent % 3 == 0),
            again,
            dated,
            named: named && answer == 1 && number == 2,
        }
    })
}

/// What happens at some second, in this order; of a receipt, whether it is good news, and its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send,
    Answer(bool),
    Receive(bool, u64),
}

fn events(all: &[Course]) -> Vec<(u64, usize, Event)> {
    let (mut events, mut now) = (Vec::new(), 0);
    for (index, one) in all.iter().enumerate() {
        now += one.sent;
        events.push((now, index, Event::Send));
        let answered = now + one.answered;
        // 2: lost; 3: lost, and a copy is taken; 4: refused, and nothing comes.
        if one.answer == 3 {
            events.push((answered, index, Event::Answer(false)));
        }
        events.push((
            answered + u64::from(one.answer == 3),
            index,
            Event::Answer(true),
        ));
        if one.answer == 4 {
            continue;
        }
        // It may come before the answer.
        let mut at = now + 1 + one.received;
        if let Some((_, later)) = one.first {
            events.push((at, index, Event::Receive(false, at)));
            at += later;
        }
        events.push((at, index, Event::Receive(true, at)));
        if let Some(later) = one.again {
            events.push((at + later, index, Event::Receive(true, at)));
            if one.answer == 3 {
                let other = at + later;
                events.push((other + 7, index, Event::Receive(true, other)));
            }
        }
    }
    events.sort();
    events
}

async fn live(all: &[Course], archives: u64) -> usize {
    let mut world = world();
    let mut ids = vec![MessageId::default(); all.len()];
    let start = world.clock.now().0;
    for (step, (second, index, event)) in events(all).into_iter().enumerate() {
        while world.clock.now().0 < start + second * 1_000 {
            let left = start + second * 1_000 - world.clock.now().0;
            world
                .clock
                .set(UnixMs(world.clock.now().0 + left.min(10_000)));
            world.store().look_again().await;
        }
        match step as u64 % 7 {
            n if n == archives => world.store().archive_now().await,
            n if n == archives + 1 => world.restart(),
            _ => {}
        }
        let (one, id) = (&all[index], ids[index]);
        match event {
            Event::Send => ids[index] = world.message(one.number).await,
            Event::Answer(last) => {
                let name = format!("id-{index}");
                let (result, name) = match one.answer {
                    0 => (OutcomeResult::Accepted, ""),
                    2 => (OutcomeResult::Unknown, ""),
                    3 if !last => (OutcomeResult::Unknown, ""),
                    4 => (OutcomeResult::Refused, ""),
                    _ => (OutcomeResult::Accepted, &*name),
                };
                let retry = match last {
                    true => Retry::Never,
                    false => Retry::Here { tries: 3 },
                };
                let at = UnixMs(start + (second - one.answered.min(second)) * 1_000);
                let settle = handed(settle(id, 0, result, retry, name), at);
                world.store().settle(vec![settle]).await.unwrap();
            }
            Event::Receive(delivered, at) => {
                let at = UnixMs(start + at * 1_000 / 60_000 * 60_000);
                let mut bare = world.bare(one.number);
                if let Some((state, _)) = one.first.filter(|_| !delivered) {
                    bare.state = state;
                }
                bare.operator_at = one.dated.then_some(at);
                bare.err = index.to_string().into();
                if one.named {
                    bare.provider_id = format!("id-{index}").as_bytes().into();
                }
                world.hand_in(bare).await;
            }
        }
    }
    world.wait().await;
    let mut found = 0;
    for (index, id) in ids.iter().enumerate() {
        let record = world.store().get(*id).await.unwrap();
        for change in &record.life.log {
            if let What::Receipt { err, .. } = &change.what {
                let own = index.to_string();
                assert_eq!(
                    **err, *own,
                    "message {err}'s was given to {index}: {all:#?}"
                );
                found += usize::from(!all[index].named);
            }
        }
    }
    world.store().close();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn none_without_an_id_is_given_to_another_message(
        all in proptest::collection::vec(course(), 2..9),
        archives in 0u64..8,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(live(&all, archives));
    }
}

#[tokio::test]
async fn the_property_is_of_receipts_that_are_matched() {
    let one = |number| Course {
        number,
        sent: 700,
        answered: 1,
        answer: 1,
        received: 30,
        first: None,
        again: None,
        dated: true,
        named: false,
    };
    let all: Vec<Course> = [1, 2, 3, 1, 2, 3].map(one).into();
    assert_eq!(live(&all, 2).await, 6);
}
