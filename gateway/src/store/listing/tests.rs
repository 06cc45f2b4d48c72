//! Lists, while messages come back from the archive between the look at memory and the look at disk.

use super::*;
use crate::clock::Clock;
use crate::message::life::Status;
use crate::message::{Class, RouteIx, TenantIx};
use crate::outcome::{Receipt, ReceiptState};
use crate::store::tests::{TempDir, config, delivered, draft, settle};
use crate::store::{Accepted, Store};

const ROUTE_A: RouteIx = RouteIx(0);
const ROUTE_B: RouteIx = RouteIx(1);

/// Three archived messages, the first one moved on from route a to b, where they all wait.
async fn archived(dir: &TempDir) -> (Store, Vec<MessageId>) {
    let (store, _) = Store::open(config(dir), Clock::system()).unwrap();
    let drafts = (0..3).map(|number| draft(number, 1)).collect();
    let accepted = store.accept(drafts).await.unwrap();
    let ids: Vec<MessageId> = accepted
        .into_iter()
        .map(|accepted| match accepted {
            Accepted::Stored(message) => message.id,
            other => panic!("{other:?}"),
        })
        .collect();
    // Its answer names an id, by which a receipt brings it back from the archive.
    let refused = settle(
        ids[0],
        0,
        crate::outcome::OutcomeResult::Refused,
        crate::outcome::Retry::Elsewhere,
        "p0",
    );
    store.settle(vec![refused]).await.unwrap();
    store.move_on(ROUTE_A, ids.clone()).await.unwrap();
    store.archive_now().await;
    (store, ids)
}

/// A receipt that says nothing final: the message is in memory again and waits as before.
async fn touch(store: &Store) {
    let receipt = Receipt {
        state: ReceiptState::Enroute,
        ..delivered("p0")
    };
    assert_eq!(
        store.apply_receipts(vec![receipt]).await.unwrap().matched,
        1
    );
}

#[tokio::test]
async fn a_queue_misses_nothing_that_comes_back_while_it_is_read() {
    let dir = TempDir::new();
    let (store, mut ids) = archived(&dir).await;
    let place = Place::new(ROUTE_B, Class::Transactional, TenantIx(0));
    let early = ready_young(store.shared(), place, 0, 10);
    assert!(early.0.is_empty(), "all of it is archived");
    touch(&store).await;
    let (entries, _) = ready_with(store.shared(), place, 0, 10, early);
    let mut found: Vec<MessageId> = entries.iter().map(|entry| entry.message.id).collect();
    found.sort();
    ids.sort();
    assert_eq!(found, ids);
    store.close();
}

#[tokio::test]
async fn a_list_shows_each_message_once_as_it_stands_in_memory() {
    let dir = TempDir::new();
    let (store, ids) = archived(&dir).await;
    let query = |status| Query {
        tenant: Some(TenantIx(0)),
        status,
        limit: 10,
        ..Query::default()
    };
    let all = query(None);
    let early = young_matches(store.shared(), &all);
    assert!(early.is_empty(), "all of it is archived");
    touch(&store).await;
    let page = find_with(store.shared(), &all, early);
    let found: Vec<MessageId> = page.records.iter().map(|r| r.message.id).collect();
    assert_eq!(found, ids.iter().rev().copied().collect::<Vec<_>>());
    let known = page.records.last().map(|record| record.life.log.len());
    assert_eq!(known, Some(2), "with the receipt");
    // One that is not what was asked for any more.
    let queued = query(Some(Status::Queued));
    store.apply_receipts(vec![delivered("p0")]).await.unwrap();
    let page = find_with(store.shared(), &queued, Vec::new());
    let found: Vec<MessageId> = page.records.iter().map(|r| r.message.id).collect();
    assert_eq!(found, [ids[2], ids[1]]);
    store.close();
}
