//! Suppressions over archiving, kills and restarts; their events; what is refused.

use std::sync::atomic::Ordering;

use super::*;
use crate::clock::Clock;
use crate::event::EventKinds;
use crate::store::tests::{TempDir, config};
use crate::store::{EventQuery, OpenError};
use crate::suppression::Channel;

/// 2026-11-21T08:02:05Z.
const START: u64 = 1_795_248_125_000;
const ACME: TenantIx = TenantIx(0);

fn phone(number: u64) -> Phone {
    Phone::parse(&format!("+{}", 46_700_000_000 + number)).unwrap()
}

pub(crate) fn cause(source: Source, text: &str) -> Cause {
    Cause {
        source,
        by: "crm".into(),
        keyword: "".into(),
        text: text.into(),
        inbound: None,
    }
}

pub(crate) fn new(number: u64, scope: Scope) -> NewSuppression {
    NewSuppression {
        key: Key {
            tenant: ACME,
            phone: phone(number),
            scope,
        },
        cause: cause(Source::Api, "asked by letter"),
        expires_at: None,
    }
}

async fn add(store: &Store, new: NewSuppression) -> Suppressed {
    store.suppress(vec![new]).await.unwrap().remove(0)
}

fn hit(store: &Store, number: u64, from: &str) -> Option<MessageId> {
    store.suppressed(ACME, phone(number), from, Class::Otp)
}

async fn events(store: &Store) -> Vec<(String, serde_json::Value)> {
    let mut query = EventQuery {
        after: 0,
        tenant: None,
        kinds: EventKinds::ALL,
        message: None,
        limit: 1_000,
    };
    let mut all = Vec::new();
    let head = *store.head().borrow();
    while query.after < head {
        let page = store.events_after(query).await;
        assert!(page.read_to > query.after, "the log goes on");
        query.after = page.read_to;
        for event in page.events {
            let json: serde_json::Value = serde_json::from_slice(&event.json).unwrap();
            all.push((json["type"].as_str().unwrap().to_owned(), json));
        }
    }
    all
}

fn open(dir: &TempDir, clock: &Clock) -> Store {
    Store::open(config(dir), clock.clone()).unwrap().0
}

#[tokio::test]
async fn what_is_suppressed_stays_so_over_restarts_and_archiving() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let mut store = open(&dir, &clock);
    let scopes = [
        (1, Scope::All),
        (2, Scope::Sender("ACME".into())),
        (3, Scope::Channel(Channel::Sms)),
        (4, Scope::Class(Class::Promotional)),
    ];
    let mut ids = Vec::new();
    for (number, scope) in scopes {
        let Suppressed::Added(id) = add(&store, new(number, scope)).await else {
            panic!("it is new");
        };
        ids.push(id);
    }
    let ended = store.unsuppress(Some(ACME), ids[2], cause(Source::Api, "their wish"));
    assert_eq!(ended.await.unwrap().unwrap().id, ids[2]);
    let shown = events(&store).await;
    // As journaled, as archived, and as archived with a later end that is journaled.
    for round in 0..3 {
        assert_eq!(hit(&store, 1, "any"), Some(ids[0]), "round {round}");
        assert_eq!(hit(&store, 2, "acme"), Some(ids[1]));
        assert_eq!(hit(&store, 2, "other"), None);
        assert_eq!(hit(&store, 3, "any"), None, "it was ended");
        assert_eq!(hit(&store, 4, "any"), None, "another class");
        let to = (ACME, phone(4), "any", Class::Promotional);
        assert_eq!(store.suppressed(to.0, to.1, to.2, to.3), Some(ids[3]));
        assert_eq!(
            store.suppressed(TenantIx(1), phone(1), "x", Class::Otp),
            None
        );
        let all = SuppressionQuery {
            limit: 10,
            ..SuppressionQuery::default()
        };
        let page = store.suppressions(all).await.unwrap();
        let listed: Vec<MessageId> = page.suppressions.iter().map(|one| one.id).collect();
        assert_eq!((listed, page.next), (vec![ids[3], ids[1], ids[0]], None));
        let record = store.suppression(ids[2]).await.unwrap();
        assert_eq!(&*record.ended.unwrap().cause.text, "their wish");
        assert_eq!(events(&store).await, shown, "events read the same");
        if round == 1 {
            store.archive_now().await;
        }
        store.close();
        drop(store);
        store = open(&dir, &clock);
    }
    let ended = store.unsuppress(None, ids[0], cause(Source::Api, ""));
    assert_eq!(ended.await.unwrap().unwrap().id, ids[0]);
    assert_eq!(hit(&store, 1, "any"), None);
    let last = events(&store).await.pop().unwrap();
    assert_eq!(
        (&*last.0, &last.1["data"]["phone"]),
        ("suppression.deleted", &"+46700000001".into())
    );
    store.close();
    drop(store);
    let store = open(&dir, &clock);
    assert_eq!(
        (hit(&store, 1, "any"), hit(&store, 2, "ACME")),
        (None, Some(ids[1]))
    );
    assert!(crate::store::check(&dir.0).is_err(), "it is in use");
    store.close();
    drop(store);
    assert!(crate::store::check(&dir.0).unwrap().is_sound());
}

#[tokio::test]
async fn one_key_has_one_suppression_and_the_longer_one_stays() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let store = open(&dir, &clock);
    let until = |at: u64| NewSuppression {
        expires_at: Some(UnixMs(START + at)),
        ..new(1, Scope::All)
    };
    let first = add(&store, until(1_000)).await;
    assert!(matches!(first, Suppressed::Added(_)));
    assert_eq!(
        add(&store, until(500)).await,
        Suppressed::There(first.id().unwrap())
    );
    let longer = add(&store, until(2_000)).await;
    assert!(matches!(longer, Suppressed::Added(id) if Some(id) > first.id()));
    let record = store.suppression(first.id().unwrap()).await.unwrap();
    assert!(record.ended.is_some(), "it has made way");
    clock.set(UnixMs(START + 1_500));
    assert_eq!(hit(&store, 1, "x"), longer.id());
    store.archive_now().await;
    clock.set(UnixMs(START + 2_000));
    assert_eq!(hit(&store, 1, "x"), None, "it has run out");
    let all = SuppressionQuery {
        limit: 10,
        ..SuppressionQuery::default()
    };
    assert_eq!(
        store.suppressions(all).await,
        Some(SuppressionPage::default())
    );
    let for_ever = add(&store, new(1, Scope::All)).await;
    assert!(matches!(for_ever, Suppressed::Added(_)));
    assert_eq!(
        add(&store, until(9_000)).await,
        Suppressed::There(for_ever.id().unwrap())
    );
    store.close();
    drop(store);
    let store = open(&dir, &clock);
    clock.set(UnixMs(START + 90_000));
    assert_eq!(hit(&store, 1, "x"), for_ever.id());
    store.close();
}

#[tokio::test]
async fn events_tell_who_and_why_and_an_import_is_no_news_of_a_recipient() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let store = open(&dir, &clock);
    let word = NewSuppression {
        cause: Cause {
            source: Source::Keyword,
            by: "".into(),
            keyword: "STOP".into(),
            text: "Stop!".into(),
            inbound: Some(MessageId(START << 20)),
        },
        ..new(1, Scope::Sender("71234".into()))
    };
    let id = add(&store, word).await.id().unwrap();
    let import = NewSuppression {
        cause: cause(Source::Import, ""),
        ..new(2, Scope::All)
    };
    add(&store, import).await;
    let told = events(&store).await;
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| &**kind).collect();
    let expected = [
        "recipient.opted_out",
        "suppression.created",
        "suppression.created",
    ];
    assert_eq!(kinds, expected);
    let expected = serde_json::json!({
        "phone": "+46700000001", "scope": {"kind": "sender", "value": "71234"},
        "source": "keyword", "keyword": "STOP",
        "inbound_id": store.ids().inbound(MessageId(START << 20)).to_string(),
        "suppression_id": store.ids().suppression(id).to_string(),
    });
    assert_eq!(told[0].1["data"], expected, "as contract.md §3 has it");
    assert_eq!(told[1].1["data"]["text"], "Stop!");
    assert_eq!(
        told[2].1["data"]["scope"],
        serde_json::json!({"kind": "all"})
    );
    store.close();
}

#[tokio::test]
async fn at_the_limit_an_api_is_refused_and_a_stop_is_not() {
    let dir = TempDir::new();
    let mut config = config(&dir);
    config.suppressions = 1_000;
    let (store, _) = Store::open(config, Clock::system()).unwrap();
    let mut number = 0;
    while let Suppressed::Added(_) = add(&store, new(number, Scope::All)).await {
        number += 1;
    }
    assert!(number > 10, "{number}");
    assert_eq!(hit(&store, number, "x"), None, "nothing pretended");
    let full = add(&store, new(number, Scope::All)).await;
    assert_eq!(full, Suppressed::Full(Full::Memory));
    let word = NewSuppression {
        cause: cause(Source::Keyword, "STOP"),
        ..new(number, Scope::All)
    };
    let stop = add(&store, word).await;
    assert!(matches!(stop, Suppressed::Added(_)));
    assert_eq!(hit(&store, number, "x"), stop.id());
    store.close();
}

#[tokio::test]
async fn a_directory_without_its_list_is_not_opened() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let store = open(&dir, &clock);
    add(&store, new(1, Scope::All)).await;
    store.archive_now().await;
    // The snapshot that knows of the file is on disk when the generation is dropped.
    assert!(store.shared().archived_count.load(Ordering::Acquire) > 0);
    store.close();
    drop(store);
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(
            dir.0.join(format!("suppressions.db{suffix}")),
        ));
    }
    let refused = Store::open(config(&dir), clock.clone()).err().unwrap();
    assert!(matches!(refused, OpenError::Lost { .. }), "{refused}");
    let report = crate::store::check(&dir.0).unwrap();
    let named = |damage: &crate::store::Damage| damage.path.ends_with("suppressions.db");
    assert!(report.damaged.iter().any(named), "{report:?}");
}

#[tokio::test]
async fn ended_ones_are_forgotten_after_their_events_and_holding_ones_never() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let store = open(&dir, &clock);
    let kept = add(&store, new(1, Scope::All)).await.id().unwrap();
    let gone = add(&store, new(2, Scope::All)).await.id().unwrap();
    let ended = store.unsuppress(None, gone, cause(Source::Api, ""));
    ended.await.unwrap().unwrap();
    let runs_out = NewSuppression {
        expires_at: Some(UnixMs(START + 1_000)),
        ..new(3, Scope::All)
    };
    let run_out = add(&store, runs_out).await.id().unwrap();
    store.archive_now().await;
    clock.set(UnixMs(START + 400 * 86_400_000));
    // The next archiving looks after retention before it begins.
    for number in 4..6 {
        add(&store, new(number, Scope::All)).await;
        store.archive_now().await;
    }
    assert!(store.suppression(kept).await.is_some());
    assert_eq!(store.suppression(gone).await, None);
    assert_eq!(store.suppression(run_out).await, None);
    assert_eq!(store.suppression_figures().count, 3);
    store.close();
}

#[tokio::test]
async fn an_offline_export_has_each_once_with_its_end() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let store = open(&dir, &clock);
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(add(&store, new(number, Scope::All)).await.id().unwrap());
    }
    let end = async |id, why: &'static str| {
        let ended = store.unsuppress(Some(ACME), id, cause(Source::Api, why));
        ended.await.unwrap().unwrap();
    };
    end(ids[0], "archived").await;
    store.archive_now().await;
    // An end of an archived one, and one that begins, in the journal alone.
    end(ids[1], "journaled").await;
    let sender = Scope::Sender("ACME".into());
    ids.push(add(&store, new(9, sender)).await.id().unwrap());
    store.close();
    let shown = store.ids();
    drop(store);

    let out = dir.0.join("out.ndjson");
    let report = crate::store::export(&dir.0, &out).unwrap();
    assert_eq!((report.suppressions, report.damaged), (5, vec![]));
    let text = std::fs::read_to_string(&out).unwrap();
    let lines = text
        .lines()
        .map(|line| -> serde_json::Value { serde_json::from_str(line).unwrap() });
    let mut lines: Vec<serde_json::Value> = lines.collect();
    lines.sort_by_key(|line| line["suppression_id"].to_string());
    let told: Vec<_> = lines
        .iter()
        .map(|line| (&line["suppression_id"], &line["ended"]["text"]))
        .collect();
    let known: Vec<serde_json::Value> = ids
        .iter()
        .map(|id| shown.suppression(*id).to_string().into())
        .collect();
    let none = serde_json::Value::Null;
    let ends = [
        "archived".into(),
        "journaled".into(),
        none.clone(),
        none.clone(),
        none,
    ];
    assert_eq!(told, known.iter().zip(&ends).collect::<Vec<_>>());
    let last = serde_json::json!({
        "suppression_id": known[4], "tenant": "acme", "phone": "+46700000009", "scope": "sender",
        "value": "ACME", "source": "api", "by": "crm", "keyword": "", "text": "asked by letter",
        "created_at": "2026-11-21T08:02:05.000Z",
    });
    assert_eq!(lines[4], last);
}

#[tokio::test]
async fn a_damaged_row_is_named_and_the_others_are_exported() {
    let (dir, clock) = (TempDir::new(), Clock::manual(UnixMs(START)));
    let store = open(&dir, &clock);
    for number in 0..3 {
        add(&store, new(number, Scope::All)).await;
    }
    store.archive_now().await;
    store.close();
    drop(store);
    let path = dir.0.join("suppressions.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let other = "UPDATE suppressions SET phone = phone + 1000 WHERE phone % 10 = 1";
    assert_eq!(connection.execute(other, []).unwrap(), 1);
    drop(connection);
    let report = crate::store::export(&dir.0, &dir.0.join("out.ndjson")).unwrap();
    assert_eq!(report.suppressions, 2);
    let damage = &report.damaged[..];
    assert!(
        matches!(damage, [one] if one.path == path && one.what.contains("checksum")),
        "{damage:?}"
    );
    assert_eq!(crate::store::check(&dir.0).unwrap().damaged, damage);
}
