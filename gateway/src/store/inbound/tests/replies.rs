//! Confirmations in the store: accepted with what they answer, once, through crashes and the archive.

use super::*;
use crate::message::life::Status;
use crate::message::{MessageId, Phone, Text};
use crate::store::tests::draft;

const HANDSET: &str = "+46701234567";

/// Says that every wish is confirmed.
fn confirm(store: &Store) {
    store.confirm_with(|asked| {
        let mut message = draft(1, 1).message;
        (message.tenant, message.to) = (asked.tenant, asked.to);
        message.policy.ignores_suppressions = true;
        let texts = [
            asked.from,
            asked.intent.name(),
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
        ];
        message.texts = crate::message::Texts::pack(texts).ok()?;
        Some(message)
    });
}

fn from(handset: &str, to: &str, text: &str) -> InboundPart {
    InboundPart {
        from: handset.into(),
        to: to.into(),
        ..part(None, text)
    }
}

impl World {
    async fn say(&self, handset: &str, text: &str) {
        self.receive(vec![from(handset, "71234", text)]).await;
    }

    /// The messages that were accepted or rejected by themselves, in order.
    async fn replies(&self) -> Vec<MessageId> {
        let kinds = [EventKind::MessageAccepted, EventKind::MessageRejected];
        let events = self.events().await.into_iter().map(|told| told.event);
        let wanted = events.filter(|event| kinds.contains(&event.kind));
        wanted.map(|event| event.subject).collect()
    }

    /// What every `inbound.received` names as its reply.
    async fn named(&self) -> Vec<Value> {
        let all = self.told().await.into_iter();
        let wanted = all.filter(|told| told["type"] == "inbound.received");
        wanted
            .map(|told| told["data"]["auto_reply"].clone())
            .collect()
    }
}

#[tokio::test]
async fn stop_is_confirmed_in_its_own_commit_from_the_number_it_was_written_to() {
    let mut world = World::new();
    confirm(&world.store());
    world.say(HANDSET, "STOP").await;
    let told = world.told().await;
    let kinds: Vec<&str> = told
        .iter()
        .filter_map(|told| told["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "recipient.opted_out",
            "suppression.created",
            "message.accepted",
            "inbound.received",
        ]
    );
    assert_eq!(told[3]["data"]["auto_reply"], told[2]["data"]["message_id"]);
    let id = world.replies().await[0];
    let check = async |world: &World| {
        let record = world.store().get(id).await.expect("the reply");
        assert_eq!(record.message.text(Text::From), "71234");
        assert_eq!(record.message.text(Text::Body), "opt_out");
        assert_eq!(Some(record.message.to), Phone::parse(HANDSET));
        assert_eq!(record.life.status, Status::Queued);
        // What it confirms holds for every other message.
        let mut other = draft(1, 1);
        other.message.to = record.message.to;
        other.message.texts = record.message.texts.clone();
        assert!(
            world
                .store()
                .is_suppressed(&other.message, crate::message::Channel::Sms)
        );
        assert!(
            !world
                .store()
                .is_suppressed(&record.message, crate::message::Channel::Sms)
        );
    };
    check(&world).await;
    world.reopen();
    check(&world).await;
    world.store().archive_now().await;
    world.reopen();
    check(&world).await;
    assert_eq!(world.told().await, told);
}

#[tokio::test]
async fn stop_in_parts_is_obeyed_and_confirmed_when_it_is_whole() {
    let world = World::new();
    confirm(&world.store());
    world.receive(vec![part(Some((5, 2, 2)), "op!")]).await;
    assert_eq!(world.told().await, [] as [Value; 0]);
    world.receive(vec![part(Some((5, 2, 1)), "St")]).await;
    let told = world.told().await;
    let kinds: Vec<&str> = told
        .iter()
        .filter_map(|told| told["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "recipient.opted_out",
            "suppression.created",
            "message.accepted",
            "inbound.received",
        ]
    );
    assert_eq!(told[3]["data"]["auto_reply"], told[2]["data"]["message_id"]);
    let again = vec![part(Some((5, 2, 1)), "St"), part(Some((5, 2, 2)), "op!")];
    world.receive(again).await;
    assert_eq!(world.told().await, told, "known already");
}

#[tokio::test]
async fn who_stops_two_numbers_is_answered_by_each() {
    let dir = TempDir::new();
    let mut config = setup(&dir);
    let mut second = config.inbound.numbers[0].clone();
    second.number = "71235".to_owned();
    config.inbound.numbers.push(second);
    let clock = Clock::manual(UnixMs(START));
    let (store, _) = Store::open(config, clock.clone()).unwrap();
    let store = Some(store);
    let world = World { dir, clock, store };
    confirm(&world.store());
    for number in ["71234", "71235", "71234", "71235"] {
        world.receive(vec![from(HANDSET, number, "STOP")]).await;
    }
    assert_eq!(world.replies().await.len(), 2);
}

#[tokio::test]
async fn a_pair_gets_one_reply_to_a_wish_in_ten_minutes_over_a_restart_and_the_archive() {
    let mut world = World::new();
    confirm(&world.store());
    world.say(HANDSET, "STOP").await;
    world.say(HANDSET, "unsubscribe").await;
    assert_eq!(world.replies().await.len(), 1, "the same wish");
    world.reopen();
    confirm(&world.store());
    world.say(HANDSET, "STOP").await;
    assert_eq!(world.replies().await.len(), 1, "the journal knows");
    world.store().archive_now().await;
    world.reopen();
    confirm(&world.store());
    world.clock.set(UnixMs(START + 599_999));
    world.say(HANDSET, "STOP").await;
    assert_eq!(world.replies().await.len(), 1, "the snapshot knows");
    world.say(HANDSET, "HELP").await;
    world.say("+46701234568", "STOP").await;
    assert_eq!(world.replies().await.len(), 3, "another wish, another pair");
    world.clock.set(UnixMs(START + 600_000));
    world.say(HANDSET, "STOP").await;
    assert_eq!(world.replies().await.len(), 4, "its time is over");
    let named = world.named().await;
    let none: Vec<bool> = named.iter().map(Value::is_null).collect();
    assert_eq!(none, [false, true, true, true, false, false, false]);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_archiving_makes_no_second_reply() {
    for step in 1..=6 {
        let mut world = World::new();
        confirm(&world.store());
        world.say(HANDSET, "STOP").await;
        let before = world.told().await;
        world.store().stop_archiver_at(step);
        world.store().archive_now().await;
        world.reopen();
        confirm(&world.store());
        assert_eq!(world.told().await, before, "step {step}");
        world.say(HANDSET, "STOP").await;
        assert_eq!(world.replies().await.len(), 1, "step {step}");
    }
}

#[tokio::test]
async fn machines_and_those_who_ask_for_nothing_get_no_reply() {
    let world = World::new();
    confirm(&world.store());
    for (handset, to, text) in [
        ("72500", "71234", "STOP"),
        ("ACME", "71234", "STOP"),
        ("71234", "71234", "STOP"),
        (HANDSET, "99999", "STOP"),
        (HANDSET, "71234", "Please stop"),
    ] {
        world.receive(vec![from(handset, to, text)]).await;
    }
    world.receive(vec![part(Some((8, 2, 1)), "STOP")]).await;
    world.clock.set(UnixMs(START + 600_000));
    world.receive(Vec::new()).await;
    assert_eq!(world.replies().await, []);
    assert_eq!(world.named().await, vec![Value::Null; 6]);
}

#[tokio::test]
async fn an_own_number_that_looks_like_a_handset_gets_no_reply() {
    let dir = TempDir::new();
    let mut config = setup(&dir);
    config.inbound.numbers.push(Number {
        number: "+46769440001".to_owned(),
        tenant: "acme".to_owned(),
        endpoint: None,
        own_keywords: Vec::new(),
    });
    let clock = Clock::manual(UnixMs(START));
    let (store, _) = Store::open(config, clock.clone()).unwrap();
    let store = Some(store);
    let world = World { dir, clock, store };
    confirm(&world.store());
    world.say("+46769440001", "STOP").await;
    assert_eq!(world.replies().await, []);
    // A carrier that leaves out the plus of the number: the reply is from it as the config has it.
    world
        .receive(vec![from(HANDSET, "46769440001", "STOP")])
        .await;
    let id = world.replies().await[0];
    let reply = world.store().get(id).await.unwrap().message;
    assert_eq!(reply.text(Text::From), "+46769440001");
}

#[tokio::test]
async fn without_a_text_nothing_is_said() {
    let world = World::new();
    world.store().confirm_with(|_| None);
    world.say(HANDSET, "STOP").await;
    assert_eq!(world.replies().await, []);
    assert_eq!(world.named().await, [Value::Null]);
}
