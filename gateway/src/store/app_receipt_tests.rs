//! What apps tell of pushes, through memory, archive and kills.

use std::time::Duration;

use crate::clock::{Clock, UnixMs};
use crate::event::EventKind;
use crate::message::MessageId;
use crate::message::life::app::AppRefusal;
use crate::message::life::{AppEvent, AppReceipt, Status};
use crate::outcome::Settle;
use crate::store::steps_tests::{APNS, FCM, both, on};
use crate::store::tests::{TempDir, accept_one, accepted, config};
use crate::store::{AppAnswer, Refused, RouteFacts, Store};

/// 2026-11-21T08:02:05Z.
const START: u64 = 1_795_248_125_000;
const HOUR: Duration = Duration::from_secs(3_600);

fn open(dir: &TempDir, clock: &Clock) -> Store {
    let mut config = config(dir);
    let sms = RouteFacts {
        name: "c".to_owned(),
        ..config.routes[0].clone()
    };
    config.routes.push(sms);
    for (route, hours) in config.routes.iter_mut().zip([24, 6]) {
        route.receipt_timeout = hours * HOUR;
    }
    Store::open(config, clock.clone()).unwrap().0
}

/// A push to two devices that both services have.
async fn sent(store: &Store) -> MessageId {
    let mut draft = both(1);
    draft.message.steps.as_mut().unwrap().app_receipts = true;
    draft.message.expires_at = UnixMs(u64::MAX / 2);
    let id = accept_one(store, draft).await;
    let taken = |route, part| Settle {
        last: true,
        ..on(route, accepted(id, part, "m"))
    };
    store
        .settle(vec![taken(APNS, 0), taken(FCM, 1)])
        .await
        .unwrap();
    id
}

async fn tell(store: &Store, id: MessageId, part: u8, event: AppEvent) -> AppAnswer {
    let receipt = AppReceipt {
        part,
        event,
        told_at: None,
        by_token: true,
    };
    store.app_receipts(id, vec![receipt]).await.unwrap()
}

async fn stands(store: &Store, id: MessageId) -> (Status, bool) {
    let life = store.get(id).await.unwrap().life;
    (life.status, life.is_final)
}

async fn events(store: &Store, id: MessageId) -> Vec<EventKind> {
    let life = store.get(id).await.unwrap().life;
    life.log.iter().filter_map(|change| change.event).collect()
}

#[tokio::test]
async fn receipts_are_there_after_a_start_and_find_archived_messages() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let mut store = open(&dir, &clock);
    let id = sent(&store).await;
    assert_eq!(stands(&store, id).await, (Status::Sent, false));
    for round in 0..3 {
        match round {
            0 => store.archive_now().await,
            1 => {
                store.close();
                drop(store);
                store = open(&dir, &clock);
            }
            _ => store.archive_now().await,
        }
        let event = AppEvent::ALL[round];
        let AppAnswer::Taken(taken) = tell(&store, id, 1, event).await else {
            panic!("round {round}");
        };
        assert_eq!((taken.new, taken.status), (vec![true], event.status()));
    }
    let AppAnswer::Taken(taken) = tell(&store, id, 1, AppEvent::Opened).await else {
        panic!("repeated");
    };
    assert_eq!(taken.new, [false]);
    let all = [
        EventKind::MessageSent,
        EventKind::MessageDelivered,
        EventKind::MessageRead,
        EventKind::MessageRead,
    ];
    store.archive_now().await;
    assert_eq!(events(&store, id).await, all);
    store.close();
    let closed = store.app_receipts(id, Vec::new()).await;
    assert_eq!(closed, Err(Refused::Closed));
}

#[tokio::test]
async fn the_longest_timeout_of_its_routes_makes_sent_final_and_three_days_later_it_is_too_late() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let store = open(&dir, &clock);
    let (id, other) = (sent(&store).await, sent(&store).await);
    store.archive_now().await;
    clock.set(clock.now().plus(23 * HOUR));
    assert_eq!(store.expire().await, 0);
    assert_eq!(stands(&store, id).await, (Status::Sent, false));
    clock.set(clock.now().plus(HOUR));
    assert_eq!(store.expire().await, 2);
    assert_eq!(stands(&store, id).await, (Status::Sent, true));
    let told_twice = [EventKind::MessageSent, EventKind::MessageSent];
    assert_eq!(events(&store, id).await, told_twice);
    store.archive_now().await;
    clock.set(clock.now().plus(72 * HOUR));
    assert!(matches!(
        tell(&store, id, 0, AppEvent::Opened).await,
        AppAnswer::Taken(_)
    ));
    assert_eq!(stands(&store, id).await, (Status::Read, true));
    clock.set(clock.now().plus(HOUR));
    let late = tell(&store, other, 0, AppEvent::Opened).await;
    assert_eq!(late, AppAnswer::Refused(0, AppRefusal::TooLate));
    assert_eq!(store.expire().await, 0);
    store.close();
}

#[tokio::test]
async fn a_list_is_taken_whole_or_not_at_all() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let store = open(&dir, &clock);
    let id = sent(&store).await;
    let receipt = |part| AppReceipt {
        part,
        event: AppEvent::Opened,
        told_at: None,
        by_token: false,
    };
    let refused = store.app_receipts(id, vec![receipt(0), receipt(7)]).await;
    assert_eq!(refused, Ok(AppAnswer::Refused(1, AppRefusal::NoDevice)));
    assert_eq!(stands(&store, id).await, (Status::Sent, false));
    let taken = store
        .app_receipts(id, vec![receipt(0), receipt(0), receipt(1)])
        .await;
    let Ok(AppAnswer::Taken(taken)) = taken else {
        panic!("{taken:?}");
    };
    assert_eq!(taken.new, [true, false, true]);
    let gone = store
        .app_receipts(MessageId(id.0 + 1), vec![receipt(0)])
        .await;
    assert_eq!(gone, Ok(AppAnswer::Gone));
    store.close();
}
