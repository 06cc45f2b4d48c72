//! Receipts against the real store: which message they find, what is learned, and what is kept.

use proptest::prelude::*;

use super::tests::{TempDir, accept_one, accepted, config, delivered, draft, settle};
use super::*;
use crate::clock::Clock;
use crate::message::Parts;
use crate::message::life::Status;
use crate::outcome::{OutcomeResult, ProviderId, RawOctets, ReceiptTlv, Retry, Settle};

const ROUTE: RouteIx = RouteIx(0);
const START: UnixMs = UnixMs(1_795_248_000_000);

/// A store whose first route has this format, and its clock.
struct World {
    dir: TempDir,
    clock: Clock,
    format: IdFormat,
    transform: Transform,
    without_id: bool,
    store: Option<Store>,
}

impl World {
    fn new(format: IdFormat, transform: Transform) -> Self {
        let mut world = Self {
            dir: TempDir::new(),
            clock: Clock::manual(START),
            format,
            transform,
            without_id: false,
            store: None,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let mut config = config(&self.dir);
        config.routes[0].ladder = Ladder {
            format: self.format,
            transform: self.transform.clone(),
            without_id: self.without_id,
        };
        self.store = Some(Store::open(config, self.clock.clone()).unwrap().0);
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn restart(&mut self) {
        self.store().close();
        self.store = None;
        self.open();
    }

    /// A message to `number`.
    async fn message(&self, number: u64) -> MessageId {
        match self.store().accept(vec![draft(number, 1)]).await.unwrap()[0].clone() {
            Accepted::Stored(message) => message.id,
            other => panic!("{other:?}"),
        }
    }

    async fn answer(&self, id: MessageId, provider: &str) {
        let settle = accepted(id, 0, provider);
        self.store().settle(vec![settle]).await.unwrap();
    }

    async fn receipt(&self, provider: &str, number: Option<u64>) -> Matched {
        let receipt = receipt(provider, number, self.clock.now());
        self.store().apply_receipts(vec![receipt]).await.unwrap()
    }

    async fn status(&self, id: MessageId) -> Status {
        self.store().get(id).await.unwrap().life.status
    }

    fn pass(&self, seconds: u64) {
        self.clock.set(UnixMs(self.clock.now().0 + seconds * 1_000));
    }
}

fn receipt(provider: &str, number: Option<u64>, at: UnixMs) -> Receipt {
    Receipt {
        recipient: number.and_then(|number| Phone::parse(&format!("+4670{number:07}"))),
        received_at: at,
        ..delivered(provider)
    }
}

#[tokio::test]
async fn a_rule_is_learned_kept_over_restarts_and_given_up_without_losing_a_receipt() {
    let mut world = World::new(IdFormat::Auto, Transform::default());
    for number in 0..20u64 {
        let id = world.message(number).await;
        world.answer(id, &format!("{:X}", 0xA0B0 + number)).await;
        let matched = world
            .receipt(&(0xA0B0 + number).to_string(), Some(number))
            .await;
        assert_eq!(matched.matched, 1, "{number}");
    }
    world.restart();
    let learned = world.store().learned(ROUTE);
    assert_eq!(learned.pinned.map(|(rule, _)| rule), Some(IdRule::HexToDec));
    assert_eq!(learned.hits[Rung::DecimalToHex as usize], 20);
    // Now it is believed without a recipient.
    let id = world.message(30).await;
    world.answer(id, "10").await;
    assert_eq!(world.receipt("16", None).await.matched, 1);
    // An id that is the same is an early receipt of another message's, until that is impossible.
    let mut late = Vec::new();
    for number in 40..43u64 {
        let id = world.message(number).await;
        let provider = number.to_string();
        world.answer(id, &provider).await;
        assert_eq!(world.receipt(&provider, Some(number)).await.parked, 1);
        late.push(id);
    }
    world.restart();
    assert_eq!(world.store().look_again().await, 0, "too early");
    world.pass(61);
    assert_eq!(world.store().look_again().await, 3);
    for id in late {
        assert_eq!(world.status(id).await, Status::Delivered);
    }
    let learned = world.store().learned(ROUTE);
    assert_eq!(
        (learned.pinned, learned.unpinned, learned.missed),
        (None, 1, 3)
    );
    world.store().archive_now().await;
    world.restart();
    assert_eq!(
        world.store().learned(ROUTE),
        learned,
        "also from the snapshot"
    );
}

#[tokio::test]
async fn a_receipt_without_a_message_is_kept_for_the_operator() {
    let mut world = World::new(IdFormat::Auto, Transform::default());
    let nobody = Receipt {
        pdu: RawOctets::new(&b"\0\0\0\x10 as it came"[..].into()),
        ..receipt("nobody", Some(1), world.clock.now())
    };
    let matched = world.store().apply_receipts(vec![nobody]).await.unwrap();
    assert_eq!(matched.parked, 1);
    let one = world.message(7).await;
    let other = world.message(7).await;
    for id in [one, other] {
        world.answer(id, "double").await;
    }
    assert_eq!(
        world.receipt("double", Some(7)).await.parked,
        1,
        "whose it is cannot be told"
    );
    world.pass(61);
    assert_eq!(world.store().look_again().await, 0);
    assert_eq!(world.store().orphan_count(ROUTE), 0, "they wait on");
    world.pass(600);
    assert_eq!(world.store().look_again().await, 0);
    world.restart();
    let orphans = world.store().orphans(ROUTE);
    let Stray::Read(oldest) = &orphans[1].receipt else {
        panic!("{orphans:?}")
    };
    assert_eq!(oldest.pdu.octets(), b"\0\0\0\x10 as it came");
    let why: Vec<_> = orphans
        .iter()
        .map(|orphan| match &orphan.receipt {
            Stray::Read(receipt) => (&*receipt.provider_id, orphan.why),
            Stray::Unreadable(receipt) => (&*receipt.provider_id, orphan.why),
        })
        .collect();
    assert_eq!(
        why,
        [
            (&b"double"[..], OrphanWhy::Ambiguous),
            (&b"nobody"[..], OrphanWhy::NoMessage)
        ]
    );
    assert_eq!(world.store().figures().parked, 0);
    world.store().archive_now().await;
    world.restart();
    assert_eq!(
        world.store().orphans(ROUTE),
        orphans,
        "also from the snapshot"
    );
    assert_eq!(world.status(one).await, Status::Sent);
}

#[tokio::test]
async fn a_receipt_that_cannot_be_read_is_kept_for_the_operator_also_after_a_restart() {
    let mut world = World::new(IdFormat::Auto, Transform::default());
    let unreadable = |number: u64| Unreadable {
        route: ROUTE,
        provider_id: ProviderId::default(),
        recipient: None,
        text: number.to_string().into(),
        pdu: b"\0\0\0\x10"[..].into(),
        received_at: world.clock.now(),
    };
    let all = (0..1_003).map(unreadable).collect();
    let kept: Vec<_> = (3..1_003).rev().map(unreadable).collect();
    world.store().keep_unreadable(all).await.unwrap();
    world.restart();
    let orphans = world.store().orphans(ROUTE);
    world.store().archive_now().await;
    world.restart();
    assert_eq!(
        world.store().orphans(ROUTE),
        orphans,
        "also from the snapshot"
    );
    let found: Vec<_> = orphans
        .into_iter()
        .map(|orphan| match orphan.receipt {
            Stray::Unreadable(receipt) if orphan.why == OrphanWhy::Unreadable => receipt,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(found == kept, "the newest thousand, the newest first");
    world.store().close();
    let closed = world.store().keep_unreadable(vec![kept[0].clone()]).await;
    assert_eq!(closed, Err(Refused::Closed));
}

#[tokio::test]
async fn an_archived_message_is_found_by_every_rung_when_its_recipient_agrees() {
    let mut world = World::new(IdFormat::Auto, Transform::default());
    let mut ids = Vec::new();
    for (number, provider) in [
        (1, "2050949570"),
        (2, "AbC-9"),
        (3, "00042"),
        (4, "twice"),
        (5, "TWICE"),
    ] {
        let id = world.message(number).await;
        world.answer(id, provider).await;
        ids.push(id);
    }
    world.store().archive_now().await;
    world.restart();
    // No answer is to come for what was sent before.
    world.pass(61);
    for (number, provider) in [
        (1, "7a3f01c2"),
        (2, "ABC-9"),
        (3, "42"),
        (4, "TwIcE"),
        (5, "TWICE"),
    ] {
        let matched = world.receipt(provider, Some(number)).await;
        assert_eq!(matched.matched, 1, "{provider}");
    }
    for id in ids {
        assert_eq!(world.status(id).await, Status::Delivered);
    }
}

#[tokio::test]
async fn a_transform_finds_early_and_late_receipts_also_after_a_restart() {
    let transform = Transform {
        strip_prefix: b"SMSC1:"[..].into(),
        ..Transform::default()
    };
    let mut world = World::new(IdFormat::Same, transform);
    let late = world.message(1).await;
    world.answer(late, "abc-1").await;
    assert_eq!(world.receipt("smsc1:ABC-1", None).await.matched, 1);
    let early = world.message(2).await;
    assert_eq!(world.receipt("SMSC1:77", None).await.parked, 1);
    world.restart();
    world.answer(early, "77").await;
    for id in [late, early] {
        assert_eq!(world.status(id).await, Status::Delivered);
    }
    assert_eq!(world.store().figures().parked, 0);
    let archived = world.message(3).await;
    world.answer(archived, "SMSC1:x9").await;
    world.store().archive_now().await;
    assert_eq!(world.receipt("x9", None).await.matched, 1);
}

#[tokio::test]
async fn ids_that_differ_in_case_only_are_two_messages() {
    let world = World::new(IdFormat::Auto, Transform::default());
    let upper = world.message(1).await;
    world.answer(upper, "aB3x").await;
    let lower = world.message(2).await;
    world.answer(lower, "Ab3x").await;
    assert_eq!(world.receipt("Ab3x", None).await.matched, 1);
    assert_eq!(world.status(upper).await, Status::Sent);
    assert_eq!(world.status(lower).await, Status::Delivered);
    assert_eq!(world.receipt("aB3x", None).await.matched, 1);
    assert_eq!(world.status(upper).await, Status::Delivered);
}

/// Marks a message's part as about to be handed over: its answer is to come.
async fn hand_over(world: &World, id: MessageId) {
    let mut parts = Parts::default();
    parts.add(0);
    let gone = world.store().claim(ROUTE, vec![(id, parts)]).await.unwrap();
    assert_eq!(gone, []);
}

#[tokio::test]
async fn before_a_rule_is_known_an_early_receipt_is_not_given_to_another_message_in_the_other_base()
{
    // Hex "10" is decimal "16": the receipt comes before the answer of the message that it is of.
    for (known, late) in [("10", "16"), ("16", "10"), ("22", "16")] {
        let world = World::new(IdFormat::Auto, Transform::default());
        let other = world.message(7).await;
        world.answer(other, known).await;
        let own = world.message(7).await;
        hand_over(&world, own).await;
        assert_eq!(world.receipt("16", Some(7)).await.parked, 1);
        world.answer(own, late).await;
        // By now both may be meant.
        assert_eq!(world.status(other).await, Status::Sent, "{known}");
    }
}

#[tokio::test]
async fn a_doubted_receipt_is_matched_as_soon_as_no_answer_can_be_its_own() {
    let world = World::new(IdFormat::Auto, Transform::default());
    let own = world.message(7).await;
    world.answer(own, "10").await;
    let other = world.message(7).await;
    hand_over(&world, other).await;
    // Of another number's answer it is not.
    let elsewhere = world.message(8).await;
    hand_over(&world, elsewhere).await;
    assert_eq!(world.receipt("16", Some(7)).await.parked, 1);
    world.answer(other, "11").await;
    assert_eq!(world.status(own).await, Status::Delivered);
    assert_eq!(world.status(other).await, Status::Sent);
    assert_eq!(world.store().figures().parked, 0);
}

#[tokio::test]
async fn receipts_before_the_answers_of_all_parts_are_matched_with_the_last_of_them() {
    let world = World::new(IdFormat::Auto, Transform::default());
    let draft = draft(7, 3);
    let Accepted::Stored(message) = world.store().accept(vec![draft]).await.unwrap()[0].clone()
    else {
        panic!("accepted")
    };
    let parts = vec![(message.id, Parts::first(3))];
    world.store().claim(ROUTE, parts).await.unwrap();
    for id in ["10", "11", "12"] {
        assert_eq!(world.receipt(id, Some(7)).await.parked, 1);
    }
    let answers = [(0, "10"), (1, "11"), (2, "12")];
    let answers = answers.map(|(part, id)| Settle {
        last: part == 2,
        ..accepted(message.id, part, id)
    });
    world.store().settle(answers.to_vec()).await.unwrap();
    assert_eq!(world.status(message.id).await, Status::Delivered);
}

#[tokio::test]
async fn a_messages_own_lost_copy_casts_no_doubt_on_its_other_parts() {
    let mut world = World::new(IdFormat::Auto, Transform::default());
    let Accepted::Stored(message) =
        world.store().accept(vec![draft(7, 2)]).await.unwrap()[0].clone()
    else {
        panic!("accepted")
    };
    let id = message.id;
    let claim = || vec![(id, Parts::first(2))];
    world.store().claim(ROUTE, claim()).await.unwrap();
    world.restart();
    assert_eq!(world.store().flag_claimed().await, Ok(1));
    world.store().claim(ROUTE, claim()).await.unwrap();
    let answer = |part, provider| Settle {
        last: part == 1,
        ..accepted(id, part, provider)
    };
    world.store().settle(vec![answer(0, "10")]).await.unwrap();
    assert_eq!(world.receipt("10", Some(7)).await.matched, 1);
    assert_eq!(world.receipt("11", Some(7)).await.parked, 1);
    world.store().settle(vec![answer(1, "11")]).await.unwrap();
    assert_eq!(world.status(id).await, Status::Delivered);
}

#[tokio::test]
async fn beside_a_lost_answer_a_doubted_receipt_is_kept_for_the_operator() {
    let world = World::new(IdFormat::Auto, Transform::default());
    let other = world.message(7).await;
    world.answer(other, "10").await;
    let lost = world.message(7).await;
    let unknown = settle(
        lost,
        0,
        OutcomeResult::Unknown,
        Retry::Here { tries: 1 },
        "",
    );
    world.store().settle(vec![unknown]).await.unwrap();
    assert_eq!(world.receipt("16", Some(7)).await.parked, 1);
    world.pass(61);
    assert_eq!(world.store().look_again().await, 0);
    world.pass(600);
    assert_eq!(world.store().look_again().await, 0);
    assert_eq!(world.store().orphans(ROUTE)[0].why, OrphanWhy::Ambiguous);
    assert_eq!(world.status(other).await, Status::Sent);
}

#[tokio::test]
async fn a_doubted_receipt_waits_a_minute_where_memory_cannot_tell() {
    let world = World::new(IdFormat::Auto, Transform::default());
    let own = world.message(7).await;
    world.answer(own, "10").await;
    world.pass(1);
    world.store().archive_now().await;
    assert_eq!(world.receipt("16", Some(7)).await.parked, 1);
    world.pass(61);
    assert_eq!(world.store().look_again().await, 1);
    assert_eq!(world.status(own).await, Status::Delivered);
}

#[tokio::test]
async fn an_archived_message_of_the_other_base_is_not_overlooked() {
    let world = World::new(IdFormat::Auto, Transform::default());
    let archived = world.message(7).await;
    world.answer(archived, "16").await;
    world.pass(1);
    world.store().archive_now().await;
    world.pass(120);
    let young = world.message(7).await;
    world.answer(young, "10").await;
    assert_eq!(world.receipt("16", Some(7)).await.parked, 1);
    for id in [archived, young] {
        assert_eq!(world.status(id).await, Status::Sent);
    }
}

#[tokio::test]
async fn a_tlvs_id_that_nobody_has_leaves_the_word_to_the_texts() {
    let mut world = World::new(IdFormat::Auto, Transform::default());
    let both = |world: &World, tlv: &str, text: &str, number| Receipt {
        text_id: text.as_bytes().into(),
        ..receipt(tlv, Some(number), world.clock.now())
    };
    let one = world.message(1).await;
    world.answer(one, "ab-1").await;
    let archived = world.message(2).await;
    world.answer(archived, "ab-2").await;
    world.pass(1);
    world.store().archive_now().await;
    world.restart();
    let receipts = vec![
        both(&world, "9901", "ab-1", 1),
        both(&world, "9902", "AB-2", 2),
        both(&world, "9903", "ab-1", 3),
    ];
    let matched = world.store().apply_receipts(receipts).await.unwrap();
    assert_eq!((matched.matched, matched.parked), (2, 1));
    for id in [one, archived] {
        assert_eq!(world.status(id).await, Status::Delivered);
    }
    // Digits wait until an answer with the TLV's id must be there.
    let digits = world.message(4).await;
    world.answer(digits, "5001").await;
    let receipt = both(&world, "x-1", "5001", 4);
    let matched = world.store().apply_receipts(vec![receipt]).await.unwrap();
    assert_eq!(matched.parked, 1);
    world.restart();
    world.pass(61);
    assert_eq!(world.store().look_again().await, 1);
    assert_eq!(world.status(digits).await, Status::Delivered);
}

/// How a carrier writes one number in its answers and in its receipts.
fn written(format: IdFormat, number: u64, style: u8) -> (String, String) {
    let padded = |id: String| match style {
        0 => id,
        1 => id.to_uppercase(),
        _ => format!("{id:0>12}"),
    };
    match format {
        IdFormat::Auto | IdFormat::Same => (number.to_string(), padded(number.to_string())),
        IdFormat::HexToDec => (format!("{number:x}"), padded(number.to_string())),
        IdFormat::DecToHex => (number.to_string(), padded(format!("{number:x}"))),
    }
}

/// One message of the property: its carrier's number, the early ones, how its receipt is written.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    early: bool,
    doubled: bool,
    style: u8,
}

/// Small numbers, so that one's hex is another's decimal all the time.
fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let one = (1u64..400, any::<bool>(), any::<bool>(), 0u8..3);
    let one = one.prop_map(|(number, early, doubled, style)| Sent {
        number,
        early,
        doubled,
        style,
    });
    proptest::collection::vec(one, 1..60).prop_map(|mut all| {
        let mut seen = std::collections::HashSet::new();
        all.retain(|sent| seen.insert(sent.number));
        all
    })
}

/// Sends all, answers them, and hands in their receipts: `true` to one number, else to one each.
async fn run(carrier: IdFormat, configured: IdFormat, all: &[Sent], one_number: bool) {
    let world = World::new(configured, Transform::default());
    if configured == IdFormat::Auto && one_number {
        // What is certain for the route is learned first.
        for number in 1_000..1_020u64 {
            let id = world.message(number).await;
            let (answer, receipt) = written(carrier, 0xAB_0000 + number, 0);
            world.answer(id, &answer).await;
            assert_eq!(world.receipt(&receipt, Some(number)).await.matched, 1);
        }
        assert!(world.store().learned(ROUTE).pinned.is_some());
    }
    let mut ids = Vec::new();
    let to = |index: usize| if one_number { 5 } else { index as u64 };
    for index in 0..all.len() {
        ids.push(world.message(to(index)).await);
    }
    let whose = |index: usize| {
        let (_, provider) = written(carrier, all[index].number, all[index].style);
        let mut receipt = receipt(&provider, Some(to(index)), world.clock.now());
        receipt.err = index.to_string().into();
        receipt
    };
    for early in [true, false] {
        for (index, sent) in all.iter().enumerate() {
            let (answer, _) = written(carrier, sent.number, 0);
            let mut receipts = vec![whose(index); 1 + usize::from(sent.doubled)];
            if sent.early && early {
                world.store().apply_receipts(receipts).await.unwrap();
            } else if !sent.early && early {
                world.answer(ids[index], &answer).await;
            } else if sent.early {
                world.answer(ids[index], &answer).await;
                if sent.doubled {
                    world
                        .store()
                        .apply_receipts(receipts.split_off(1))
                        .await
                        .unwrap();
                }
            } else {
                world.store().apply_receipts(receipts).await.unwrap();
            }
        }
    }
    world.pass(61);
    world.store().look_again().await;
    for (index, id) in ids.iter().enumerate() {
        let record = world.store().get(*id).await.unwrap();
        let own = index.to_string();
        for change in &record.life.log {
            if let crate::message::life::What::Receipt { err, .. } = &change.what {
                assert_eq!(
                    **err, *own,
                    "a receipt of message {err} was given to {index}"
                );
            }
        }
        assert_eq!(
            record.life.status,
            Status::Delivered,
            "{index}: {:?}",
            all[index]
        );
    }
    world.store().close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_receipt_finds_its_message_and_never_another(all in sent(), one_number: bool, auto: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for carrier in [IdFormat::Same, IdFormat::HexToDec, IdFormat::DecToHex] {
            let configured = if auto { IdFormat::Auto } else { carrier };
            runtime.block_on(run(carrier, configured, &all, one_number));
        }
    }
}

#[tokio::test]
async fn an_answer_after_its_message_was_unknown_lets_the_receipt_find_it() {
    for archived in [false, true] {
        let world = World::new(IdFormat::default(), Transform::default());
        let store = world.store.clone().unwrap();
        let mut held = draft(1, 1);
        held.message.on_ambiguous = crate::message::OnAmbiguous::Hold;
        let id = accept_one(&store, held).await;
        let status = async || store.get(id).await.unwrap().life.status;
        let unknown = settle(id, 0, OutcomeResult::Unknown, Retry::Never, "");
        store.settle(vec![unknown]).await.unwrap();
        assert_eq!(status().await, Status::Unknown);
        if archived {
            store.archive_now().await;
        }
        let late = Settle {
            last: false,
            late: true,
            ..settle(id, 0, OutcomeResult::Accepted, Retry::Never, "late7")
        };
        store.settle(vec![late]).await.unwrap();
        let receipts = vec![delivered("late7")];
        store.apply_receipts(receipts).await.unwrap();
        assert_eq!(status().await, Status::Delivered, "archived: {archived}");
    }
}

#[tokio::test]
async fn what_the_route_names_of_good_news_is_in_the_event() {
    let world = World::new(IdFormat::default(), Transform::default());
    let query = |id| EventQuery {
        after: 0,
        tenant: None,
        kinds: EventKinds::ALL,
        message: Some(id),
        limit: 10,
    };
    for (number, named) in [(1, true), (2, false)] {
        let id = world.message(number).await;
        let provider = format!("id-{number}");
        world.answer(id, &provider).await;
        let mut receipt = delivered(&provider);
        if named {
            receipt.tlvs = [ReceiptTlv {
                name: "mcc".into(),
                value: "525".into(),
            }]
            .into();
        }
        let store = world.store();
        store.apply_receipts(vec![receipt]).await.unwrap();
        let page = store.events_after(query(id)).await;
        let last = page.events.last().unwrap();
        assert_eq!(last.event.kind, crate::event::EventKind::MessageDelivered);
        let event: serde_json::Value = serde_json::from_slice(&last.json).unwrap();
        let provider = &event["data"]["provider"];
        assert_eq!(provider["tlvs"]["mcc"] == "525", named, "{event}");
        assert_eq!(provider.is_null(), !named, "{event}");
        assert!(event["data"]["reason"].is_null() && event["data"]["sms"]["parts"].is_null());
    }
}

mod by_number;
mod parts;
