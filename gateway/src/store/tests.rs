//! The store against real SQLite in a temporary directory.

use std::time::Duration;

use smallvec::smallvec;

use super::*;
use crate::clock::Clock;
use crate::event::EventKind;
pub(crate) use crate::files::temp::TempDir;
use crate::message::{Encoding, FailoverOn, OnAmbiguous, Parts, Priority, Texts};
use crate::outcome::{Next, Outcome, OutcomeResult, Receipt, ReceiptState, Retry, Settle, Whose};

pub(crate) fn config(dir: &TempDir) -> Config {
    let day = Duration::from_secs(86_400);
    let route = |name: &str| RouteFacts {
        name: name.to_owned(),
        receipts: true,
        receipt_timeout: day,
        response_timeout: Duration::from_secs(30),
        ladder: Ladder::default(),
        parts: PartRule::All,
        charset: Charset::default(),
        retries: Default::default(),
    };
    Config {
        path: dir.0.clone(),
        retention_messages: 30 * day,
        retention_content: 7 * day,
        retention_events: 30 * day,
        retention_idempotency: day,
        memory: 256 << 20,
        queued: 1_000_000,
        suppressions: 1 << 20,
        disk_reserve: 0,
        routes: vec![route("a"), route("b")],
        tenants: vec!["acme".to_owned()],
        endpoints: vec!["crm".to_owned()],
        inbound: rules::Config::default(),
    }
}

pub(crate) fn draft(number: u64, segments: u8) -> Draft {
    let to = format!("+4670{number:07}");
    let texts = ["ACME", "hello", "ref", "", "", "", "", "", "", ""];
    Draft {
        message: Message {
            id: MessageId(0),
            tenant: TenantIx(0),
            to: Phone::parse(&to).unwrap(),
            class: Class::Transactional,
            priority: Priority::Normal,
            on_ambiguous: OnAmbiguous::Retry,
            failover_on: FailoverOn::ALL,
            encoding: Encoding::Gsm7,
            segments,
            concat_ref: 0,
            sms: None,
            policy: crate::message::Policy::default(),
            callback: None,
            batch: None,
            accepted_at: UnixMs::ZERO,
            expires_at: UnixMs(u64::MAX / 2),
            routes: smallvec![RouteIx(0), RouteIx(1)],
            steps: None,
            texts: Texts::pack(texts).unwrap(),
        },
        key: None,
    }
}

pub(crate) fn accepted(id: MessageId, part: u8, provider: &str) -> Settle {
    settle(id, part, OutcomeResult::Accepted, Retry::Never, provider)
}

pub(crate) fn settle(
    id: MessageId,
    part: u8,
    result: OutcomeResult,
    retry: Retry,
    provider: &str,
) -> Settle {
    let refused = result != OutcomeResult::Accepted;
    Settle {
        id,
        route: RouteIx(0),
        part,
        outcome: Outcome {
            result,
            whose: Whose::Peer,
            code: u32::from(refused) * 0x45,
            reason: refused.then_some(Reason::ProviderError),
            retry,
            provider_id: provider.as_bytes().into(),
            text: None,
            unregistered: UnixMs::ZERO,
            handed_at: UnixMs(1),
            answered_at: UnixMs(2),
        },
        last: true,
        late: false,
    }
}

pub(crate) fn delivered(provider: &str) -> Receipt {
    Receipt {
        route: RouteIx(0),
        provider_id: provider.as_bytes().into(),
        text_id: Box::default(),
        recipient: None,
        state: ReceiptState::Delivered,
        reason: None,
        err: "000".into(),
        network_error: None,
        operator_at: None,
        raw: "".into(),
        tlvs: Box::default(),
        stat: "".into(),
        pdu: crate::outcome::RawOctets::default(),
        clues: None,
        received_at: UnixMs(3),
    }
}

pub(crate) async fn accept_one(store: &Store, draft: Draft) -> MessageId {
    match store.accept(vec![draft]).await.unwrap().remove(0) {
        Accepted::Stored(message) => message.id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_life_survives_a_restart_with_its_events() {
    let dir = TempDir::new();
    let (store, found) = Store::open(config(&dir), Clock::system()).unwrap();
    assert_eq!((found.queued, found.batches), (0, 0));
    let id = accept_one(&store, draft(1, 1)).await;
    let feed = store.take_feed(RouteIx(0));
    assert_eq!(feed.entries.len(), 1);
    assert_eq!(
        store.settle(vec![accepted(id, 0, "7A3F")]).await,
        Ok(vec![Next::Done])
    );
    // In the other base, and with another bind's zeros: still this message's.
    let matched = store
        .apply_receipts(vec![delivered("00007a3f")])
        .await
        .unwrap();
    assert_eq!(matched.matched, 1);
    let again = store.apply_receipts(vec![delivered("7A3F")]).await.unwrap();
    assert_eq!((again.matched, again.repeated), (0, 1));
    store.close();
    drop(store);

    let (store, found) = Store::open(config(&dir), Clock::system()).unwrap();
    assert_eq!((found.queued, found.batches > 0), (0, true));
    let record = store.get(id).await.unwrap();
    assert_eq!(
        (record.life.status, record.life.version),
        (Status::Delivered, 3)
    );
    let query = EventQuery {
        after: 0,
        tenant: None,
        kinds: EventKinds::ALL,
        message: None,
        limit: 10,
    };
    let kinds: Vec<EventKind> = store
        .events_after(query)
        .await
        .events
        .iter()
        .map(|event| event.event.kind)
        .collect();
    let expected = [
        EventKind::MessageAccepted,
        EventKind::MessageSent,
        EventKind::MessageDelivered,
    ];
    assert_eq!(kinds, expected);
    store.close();
}

#[tokio::test]
async fn a_receipt_before_its_answer_waits_for_it_also_over_a_restart() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let id = accept_one(&store, draft(1, 1)).await;
    let early = Receipt {
        received_at: store.clock().now(),
        ..delivered("99")
    };
    let matched = store.apply_receipts(vec![early]).await.unwrap();
    assert_eq!(matched.parked, 1);
    store.close();
    drop(store);
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    store.settle(vec![accepted(id, 0, "99")]).await.unwrap();
    assert_eq!(store.get(id).await.unwrap().life.status, Status::Delivered);
    store.close();
}

#[tokio::test]
async fn a_key_holds_within_a_commit_and_over_a_restart() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let key = IdempotencyKey::new(TenantIx(0), "k", b"{}");
    let other = IdempotencyKey::new(TenantIx(0), "k", b"{1}");
    let with = |key| Draft {
        key: Some(key),
        ..draft(1, 1)
    };
    let answers = store
        .accept(vec![with(key), with(key), with(other)])
        .await
        .unwrap();
    let Accepted::Stored(first) = &answers[0] else {
        panic!("{answers:?}")
    };
    assert!(matches!(answers[1], Accepted::Replayed(id) if id == first.id));
    assert!(matches!(answers[2], Accepted::KeyReused(id) if id == first.id));
    store.close();
    drop(store);
    let (store, found) = Store::open(config(&dir), Clock::system()).unwrap();
    assert_eq!(found.queued, 1);
    let answers = store.accept(vec![with(key)]).await.unwrap();
    assert!(matches!(answers[0], Accepted::Replayed(id) if id == first.id));
    store.close();
}

#[tokio::test]
async fn three_parts_accepted_throttled_and_unknown_come_out_right_over_a_restart() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let id = accept_one(&store, draft(1, 3)).await;
    let reference = store.get(id).await.unwrap().message.concat_ref;
    let accepted = Settle {
        last: false,
        ..accepted(id, 0, "p0")
    };
    let unknown = settle(id, 2, OutcomeResult::Unknown, Retry::Here { tries: 3 }, "");
    let unknown = Settle {
        last: false,
        ..unknown
    };
    assert_eq!(
        store.settle(vec![accepted, unknown]).await,
        Ok(vec![Next::Wait, Next::Wait]),
        "part 1 was throttled and still waits in the dispatcher"
    );
    store.close();
    drop(store);
    let (store, found) = Store::open(config(&dir), Clock::system()).unwrap();
    assert_eq!(found.queued, 1);
    let ready = store
        .load_ready(RouteIx(0), (Class::Transactional, TenantIx(0)), 0, 10)
        .await
        .unwrap_or_default();
    assert_eq!(
        ready[0].parts.iter().collect::<Vec<_>>(),
        [1, 2],
        "only what was not accepted"
    );
    assert_eq!(ready[0].message.concat_ref, reference);
    let one = Settle {
        last: false,
        ..tests::accepted(id, 1, "p1")
    };
    let two = tests::accepted(id, 2, "p2");
    assert_eq!(
        store.settle(vec![one, two]).await,
        Ok(vec![Next::Wait, Next::Done])
    );
    for part in ["p0", "p1", "p2"] {
        assert_eq!(
            store
                .apply_receipts(vec![delivered(part)])
                .await
                .unwrap()
                .matched,
            1
        );
    }
    assert_eq!(store.get(id).await.unwrap().life.status, Status::Delivered);
    store.close();
}

#[tokio::test]
async fn a_reject_goes_to_the_next_route_and_then_fails() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let id = accept_one(&store, draft(1, 1)).await;
    let refused = settle(id, 0, OutcomeResult::Refused, Retry::Elsewhere, "");
    assert_eq!(
        store.settle(vec![refused.clone()]).await,
        Ok(vec![Next::Done])
    );
    assert_eq!(store.take_feed(RouteIx(1)).entries.len(), 1);
    let refused = Settle {
        route: RouteIx(1),
        ..refused
    };
    assert_eq!(store.settle(vec![refused]).await, Ok(vec![Next::Done]));
    let record = store.get(id).await.unwrap();
    assert_eq!(
        (record.life.status, record.life.attempts),
        (Status::Failed, 2)
    );
    store.close();
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    assert!(matches!(
        Store::open(config(&dir), Clock::system()),
        Err(OpenError::Locked { .. })
    ));
    store.close();
}

#[tokio::test]
async fn a_queued_message_outlives_the_longest_answer() {
    let dir = TempDir::new();
    let clock = Clock::manual(UnixMs(1_795_248_125_117));
    let mut config = config(&dir);
    config.routes[1].response_timeout = Duration::from_mins(10);
    let (store, _) = Store::open(config, clock.clone()).unwrap();
    let mut short = draft(1, 1);
    short.message.expires_at = clock.now().plus(Duration::from_secs(1));
    let id = accept_one(&store, short).await;
    clock.set(clock.now().plus(Duration::from_mins(10)));
    assert_eq!(store.expire().await, 0, "its answer may be outstanding");
    assert_eq!(store.get(id).await.unwrap().life.status, Status::Queued);
    // Also when it was archived under a config that waits less long.
    clock.set(clock.now().plus(Duration::from_secs(32)));
    assert_eq!(store.expire().await, 1);
    assert_eq!(store.get(id).await.unwrap().life.status, Status::Expired);
    store.close();
}

#[tokio::test]
async fn a_dispatcher_is_told_what_has_ended_or_is_gone() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let ended = accept_one(&store, draft(1, 1)).await;
    let waits = accept_one(&store, draft(2, 1)).await;
    let mut last = draft(3, 1);
    last.message.routes = smallvec![RouteIx(0)];
    let last = accept_one(&store, last).await;
    let gone = MessageId(1);
    assert_eq!(store.expire_queued(vec![(ended, Parts::one(0))]).await, 1);
    let parts = Parts::default();
    let asked = [gone, ended, waits].map(|id| (id, parts)).to_vec();
    let mut over = store.mark_inflight(RouteIx(0), asked).await.unwrap();
    over.sort();
    assert_eq!(over, [gone, ended]);
    let changes = store.get(ended).await.unwrap().life.log.len();
    assert_eq!(changes, 1, "an ended message has no intents");
    let moved = store
        .move_on(RouteIx(0), vec![gone, ended, waits, last])
        .await;
    let expected = vec![(gone, true), (ended, true), (waits, true), (last, false)];
    assert_eq!(moved, Ok(expected));
    // Where it has gone, it is not to be sent from here.
    let asked = vec![(waits, parts)];
    assert_eq!(
        store.mark_inflight(RouteIx(0), asked).await,
        Ok(vec![waits])
    );
    store.close();
}

#[tokio::test]
async fn what_waits_for_a_lost_route_goes_on_or_fails() {
    const B: RouteIx = RouteIx(1);
    const C: RouteIx = RouteIx(2);
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let with = |number, routes: &[u16]| {
        let mut draft = draft(number, 1);
        draft.message.routes = routes.iter().copied().map(RouteIx).collect();
        draft
    };
    let own = accept_one(&store, with(1, &[0, 1])).await;
    let archived = accept_one(&store, with(2, &[0])).await;
    store.archive_now().await;
    let none = accept_one(&store, with(3, &[0])).await;
    let later = accept_one(&store, with(4, &[1, 0])).await;
    store.close();
    drop(store);

    let mut config = config(&dir);
    config.routes.remove(0);
    let c = RouteFacts {
        name: "c".to_owned(),
        ..config.routes[0].clone()
    };
    config.routes.push(c);
    let (store, _) = Store::open(config.clone(), Clock::system()).unwrap();
    assert_eq!(store.stranded(), 3);
    let to = store.get(none).await.unwrap().message.to;
    let plan = |message: &Message| match message.to == to {
        true => smallvec![RouteIx(0)],
        false => smallvec![C],
    };
    let done = store.replan(plan).await;
    assert_eq!((done.moved, done.failed), (2, 1));
    assert_eq!((store.stranded(), store.figures().queued), (0, 3));
    for (route, ids) in [(B, vec![own]), (C, vec![archived])] {
        let fed = store.take_feed(route).entries;
        let fed: Vec<MessageId> = fed.iter().map(|entry| entry.message.id).collect();
        assert_eq!(fed, ids);
    }
    // The next route of a refused one is gone as well.
    let refused = Settle {
        route: B,
        ..settle(later, 0, OutcomeResult::Refused, Retry::Elsewhere, "")
    };
    assert_eq!(store.settle(vec![refused]).await, Ok(vec![Next::Done]));
    store.archive_now().await;
    store.close();
    drop(store);

    let (store, found) = Store::open(config, Clock::system()).unwrap();
    assert_eq!((found.queued, store.stranded()), (2, 0));
    for (id, route) in [(own, B), (archived, C)] {
        let record = store.get(id).await.unwrap();
        assert_eq!(record.life.route(&record.message), Some(route));
        let ready = store
            .load_ready(route, (Class::Transactional, TenantIx(0)), 0, 10)
            .await;
        let ready: Vec<MessageId> = ready.unwrap().iter().map(|e| e.message.id).collect();
        assert_eq!(ready, [id]);
    }
    for id in [none, later] {
        let life = store.get(id).await.unwrap().life;
        assert_eq!(
            (life.status, life.reason),
            (Status::Failed, Some(Reason::NoRoute))
        );
    }
    store.close();
}

#[tokio::test]
async fn what_was_claimed_as_accepted_is_flagged_by_the_next_start_and_released_by_a_clean_stop() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    store.set_credit(RouteIx(0), [0, 2, 0, 0]);
    let drafts: Vec<Draft> = (0..4).map(|number| draft(number, 2)).collect();
    let accepted = store.accept(drafts).await.unwrap();
    let id = |accepted: &Accepted| match accepted {
        Accepted::Stored(message) => message.id,
        other => panic!("{other:?}"),
    };
    let ids: Vec<MessageId> = accepted.iter().map(id).collect();
    let feed = store.take_feed(RouteIx(0)).entries;
    let claimed: Vec<bool> = feed.iter().map(|entry| entry.claimed).collect();
    assert_eq!(
        claimed,
        [true, true, false, false],
        "as many as there is credit"
    );
    // Claimed, answered, to be tried again: not out any more.
    let parts = Parts::first(2);
    let claim = vec![(ids[2], parts), (MessageId(1), parts)];
    let over = store.claim(RouteIx(0), claim).await;
    assert_eq!(over, Ok(vec![MessageId(1)]), "nobody knows it");
    let over = store.claim(RouteIx(1), vec![(ids[3], parts)]).await;
    assert_eq!(over, Ok(vec![ids[3]]), "it is not on this route");
    let again = |part, last| Settle {
        last,
        ..settle(
            ids[2],
            part,
            OutcomeResult::Refused,
            Retry::Here { tries: 3 },
            "",
        )
    };
    store
        .settle(vec![again(0, false), again(1, true)])
        .await
        .unwrap();
    store.close();
    drop(store);

    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    assert_eq!(store.flag_claimed().await, Ok(2));
    let over = store.claim(RouteIx(0), vec![(ids[3], parts)]).await;
    assert_eq!(over, Ok(Vec::new()));
    store.release_claims().await.unwrap();
    store.close();
    drop(store);

    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    assert_eq!(store.flag_claimed().await, Ok(0));
    let mut flagged = Vec::new();
    for id in &ids {
        flagged.push(store.get(*id).await.unwrap().life.duplicate_possible);
    }
    assert_eq!(flagged, [true, true, false, false]);
    store.close();
}
