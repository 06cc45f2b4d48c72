//! The archive's own promises: retention, what an operator sees, keys and ids after archiving.

use std::time::Duration;

use rusqlite::Connection;

use crate::clock::{Clock, UnixMs};
use crate::message::life::Status;
use crate::message::{MessageId, RouteIx, TenantIx, Text};
use crate::store::tests::{TempDir, accepted, config, delivered, draft};
use crate::store::{Accepted, Draft, IdempotencyKey, Query, Store};

const DAY_MS: u64 = 86_400_000;
/// 2026-11-21T08:02:05.117Z.
const START: u64 = 1_795_248_125_117;

async fn stored(store: &Store, draft: Draft) -> MessageId {
    match store.accept(vec![draft]).await.unwrap().remove(0) {
        Accepted::Stored(message) => message.id,
        other => panic!("{other:?}"),
    }
}

fn files(dir: &TempDir, prefix: &str) -> Vec<String> {
    let names = super::file::names(&dir.0).unwrap();
    let fits = |name: &String| name.starts_with(prefix) && name.ends_with(".db");
    names.into_iter().filter(fits).collect()
}

#[tokio::test]
async fn days_go_when_their_retention_is_over_and_pending_never() {
    let dir = TempDir::new();
    let clock = Clock::manual(UnixMs(START));
    let mut config = config(&dir);
    config.retention_messages = Duration::from_hours(48);
    config.retention_content = Duration::from_hours(24);
    let (store, _) = Store::open(config.clone(), clock.clone()).unwrap();
    let done = stored(&store, draft(1, 1)).await;
    let waiting = stored(&store, draft(2, 1)).await;
    store.settle(vec![accepted(done, 0, "p1")]).await.unwrap();
    store.apply_receipts(vec![delivered("p1")]).await.unwrap();
    store.archive_now().await;
    assert_eq!(files(&dir, "history-"), ["history-2026-11-21.db"]);
    clock.set(UnixMs(START + 2 * DAY_MS));
    stored(&store, draft(3, 1)).await;
    store.archive_now().await;
    store.close();
    drop(store);
    let (store, _) = Store::open(config.clone(), clock.clone()).unwrap();
    assert!(
        files(&dir, "content-").is_empty(),
        "its day ended more than a day ago"
    );
    let record = store.get(done).await.unwrap();
    assert_eq!(
        record.message.text(Text::Body),
        "",
        "the text is gone, the rest is not"
    );
    assert_eq!(record.life.status, Status::Delivered);
    clock.set(UnixMs(START + 30 * DAY_MS));
    stored(&store, draft(4, 1)).await;
    store.archive_now().await;
    store.close();
    drop(store);
    let (store, found) = Store::open(config, clock).unwrap();
    assert!(files(&dir, "history-").is_empty());
    assert!(store.get(done).await.is_none());
    assert_eq!(found.queued, 3);
    assert_eq!(
        store.get(waiting).await.unwrap().life.status,
        Status::Queued
    );
    store.close();
}

#[tokio::test]
async fn an_operator_reads_a_history_file_with_any_sqlite_tool() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::manual(UnixMs(START))).unwrap();
    let id = stored(&store, draft(7, 1)).await;
    store.settle(vec![accepted(id, 0, "p1")]).await.unwrap();
    store.apply_receipts(vec![delivered("p1")]).await.unwrap();
    store.archive_now().await;
    let shown = store.ids().message(id).to_string();
    let file = Connection::open(dir.0.join("history-2026-11-21.db")).unwrap();
    let row: (String, String, String, String, String) = file
        .query_row(
            "SELECT message_id, status, recipient, accepted_at, route FROM readable",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            },
        )
        .unwrap();
    let expected = (
        shown,
        "delivered",
        "+46700000007",
        "2026-11-21T08:02:05.117Z",
        "a",
    );
    assert_eq!(row.0, expected.0);
    assert_eq!(
        (&*row.1, &*row.2, &*row.3, &*row.4),
        (expected.1, expected.2, expected.3, expected.4)
    );
    store.close();
}

#[tokio::test]
async fn keys_and_carrier_ids_hold_after_archiving_and_a_restart() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let key = IdempotencyKey::new(TenantIx(0), "k", b"{}");
    let with = |key| Draft {
        key: Some(key),
        ..draft(1, 1)
    };
    let id = stored(&store, with(key)).await;
    store
        .settle(vec![accepted(id, 0, "7A3F01C2")])
        .await
        .unwrap();
    store.archive_now().await;
    store.close();
    drop(store);
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let answers = store.accept(vec![with(key)]).await.unwrap();
    assert!(
        matches!(answers[0], Accepted::Replayed(known) if known == id),
        "{answers:?}"
    );
    let other = IdempotencyKey::new(TenantIx(0), "k", b"{1}");
    let answers = store.accept(vec![with(other)]).await.unwrap();
    assert!(
        matches!(answers[0], Accepted::KeyReused(known) if known == id),
        "{answers:?}"
    );
    // The carrier writes its id with zeros and in lower case in the receipt.
    let matched = store
        .apply_receipts(vec![delivered("00007a3f01c2")])
        .await
        .unwrap();
    assert_eq!(matched.matched, 1);
    assert_eq!(store.get(id).await.unwrap().life.status, Status::Delivered);
    store.close();
}

#[tokio::test]
async fn intents_of_archived_messages_are_found_at_the_start() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let id = stored(&store, draft(1, 2)).await;
    let parts = crate::message::Parts::first(2);
    store
        .mark_inflight(RouteIx(0), vec![(id, parts)])
        .await
        .unwrap();
    store.archive_now().await;
    store.close();
    drop(store);
    let (store, found) = Store::open(config(&dir), Clock::system()).unwrap();
    assert_eq!((found.queued, found.unknown), (1, 1));
    store.close();
}

#[tokio::test]
async fn a_list_without_an_index_stops_at_its_budget_and_goes_on_from_there() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let drafts = (0..1_200).map(|number| draft(number, 1)).collect();
    let ids: Vec<MessageId> = (store.accept(drafts).await.unwrap().into_iter())
        .map(|accepted| match accepted {
            Accepted::Stored(message) => message.id,
            other => panic!("{other:?}"),
        })
        .collect();
    store.archive_now().await;
    let query = Query {
        status: Some(Status::Queued),
        limit: 500,
        ..Query::default()
    };
    let shared = store.shared();
    let page = shared.archive.find(&query, 700);
    assert_eq!(page.records.len(), 500);
    let none = Query {
        status: Some(Status::Failed),
        ..query
    };
    let page = shared.archive.find(&none, 700);
    assert!(page.records.is_empty());
    assert_eq!(
        page.next,
        Some(ids[1_200 - 700]),
        "below this id it goes on"
    );
    let rest = Query {
        before: page.next,
        ..none
    };
    assert_eq!(shared.archive.find(&rest, 700).next, None);
    store.close();
}
