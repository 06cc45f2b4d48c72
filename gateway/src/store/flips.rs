//! Single octets flipped anywhere in what a kill leaves: a start either has every acknowledged message
//! or refuses and says where, and the offline check agrees with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::tests::{TempDir, accepted, config, delivered, draft};
use super::*;
use crate::clock::Clock;

/// Octets flipped, each in a copy of its own: about 10 ms a piece.
const FLIPS: u64 = 400;

/// Far above what any step takes.
const SOON: Duration = Duration::from_secs(20);

/// A directory as a kill leaves it, with three journal files, and how its messages stand.
async fn killed() -> (TempDir, BTreeMap<MessageId, Status>) {
    let (dir, copy) = (TempDir::new(), TempDir::new());
    let mut known = BTreeMap::new();
    for process in 0..3_u64 {
        let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
        for number in 0..5 {
            let number = process * 5 + number;
            let Accepted::Stored(message) = store
                .accept(vec![draft(number, 1)])
                .await
                .unwrap()
                .remove(0)
            else {
                panic!("a new message is stored");
            };
            let (id, provider) = (message.id, format!("p{number}"));
            let mut status = Status::Queued;
            if number % 3 > 0 {
                store
                    .settle(vec![accepted(id, 0, &provider)])
                    .await
                    .unwrap();
                status = Status::Sent;
            }
            if number % 3 > 1 {
                let receipts = vec![delivered(&provider)];
                store.apply_receipts(receipts).await.unwrap();
                status = Status::Delivered;
            }
            known.insert(id, status);
        }
        if process < 2 {
            store.close();
            continue;
        }
        // The second place is at most a second behind: here it is not.
        let last = store.shared().acknowledged.load(Ordering::Acquire);
        let kept = async {
            while store.shared().state.acknowledged().unwrap() < last {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, kept).await.unwrap();
        copy_of(&dir.0, &copy.0);
        store.close();
    }
    (copy, known)
}

/// Numbers below a limit, the same in each run (SplitMix64).
fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |limit| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from(mixed >> 32).unwrap() % limit
    }
}

fn copy_of(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_flipped_octet_loses_nothing_in_silence() {
    let (dir, known) = killed().await;
    let mut files: Vec<String> = fs::read_dir(&dir.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("journal-") || name.starts_with("state.db"))
        .collect();
    files.sort();
    assert!(files.contains(&"state.db-wal".to_owned()), "{files:?}");
    let mut below = dice(7);
    let (mut refused, mut recovered) = (0, 0);
    for _ in 0..FLIPS {
        let copy = TempDir::new();
        copy_of(&dir.0, &copy.0);
        let name = &files[below(files.len())];
        let path = copy.0.join(name);
        let mut octets = fs::read(&path).unwrap();
        if octets.is_empty() {
            continue;
        }
        let at = below(octets.len());
        octets[at] ^= 1 << below(8);
        fs::write(&path, octets).unwrap();
        let place = format!("{name}, octet {at}");
        let checked = check(&copy.0).unwrap();
        match Store::open(config(&copy), Clock::system()) {
            Ok((store, _)) => {
                for (id, status) in &known {
                    let record = store.get(*id).await;
                    let now = record.map(|record| record.life.status);
                    assert_eq!(now, Some(*status), "{place}: {id:?}");
                }
                assert!(checked.is_sound(), "{place}: {checked:?}");
                store.close();
                recovered += 1;
            }
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains(".db"), "{place}: {said}");
                assert!(
                    !checked.is_sound(),
                    "{place}: {said}, but the check finds nothing"
                );
                let out = copy.0.join("out");
                let exported = export(&copy.0, &out).unwrap();
                assert!(!exported.damaged.is_empty(), "{place}: {exported:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && recovered > 0, "{refused} {recovered}");
}

#[tokio::test]
async fn a_lost_file_is_named_before_anything_is_made_in_its_place() {
    let (dir, _) = killed().await;
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    store.archive_now().await;
    store.accept(vec![draft(99, 1)]).await.unwrap();
    store.close();
    drop(store);
    for name in ["state.db", "pending.db"] {
        let copy = TempDir::new();
        copy_of(&dir.0, &copy.0);
        for suffix in ["", "-wal"] {
            drop(fs::remove_file(copy.0.join(format!("{name}{suffix}"))));
        }
        let error = Store::open(config(&copy), Clock::system()).err();
        let said = error.map(|error| error.to_string()).unwrap_or_default();
        let path = copy.0.join(name);
        let told = format!("{}: it is gone", path.display());
        assert!(said.starts_with(&told), "{said}");
        assert!(said.contains("trunkline store export"), "{said}");
        assert!(!path.exists(), "{name} is not made anew");
        let report = check(&copy.0).unwrap();
        assert!(report.damaged.iter().any(|d| d.path == path), "{report:?}");
        let exported = export(&copy.0, &copy.0.join("out")).unwrap();
        assert!(exported.damaged.iter().any(|d| d.path == path));
        assert!(exported.messages > 0, "{exported:?}");
    }
}

#[tokio::test]
async fn a_key_file_with_another_schema_is_told_by_the_check_as_by_the_start() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let id = match store.accept(vec![draft(1, 1)]).await.unwrap().remove(0) {
        Accepted::Stored(message) => message.id,
        other => panic!("{other:?}"),
    };
    store.settle(vec![accepted(id, 0, "p1")]).await.unwrap();
    store.archive_now().await;
    store.close();
    drop(store);
    assert!(check(&dir.0).unwrap().is_sound());
    let names = fs::read_dir(&dir.0).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    let path = paths
        .filter(|path| path.extension().is_some_and(|end| end == "db"))
        .find(|path| path.to_string_lossy().contains("carriers-"))
        .unwrap();
    rusqlite::Connection::open(&path)
        .and_then(|keys| keys.execute_batch("ALTER TABLE filters RENAME capacity TO gapacity"))
        .unwrap();
    let report = check(&dir.0).unwrap();
    assert!(report.damaged.iter().any(|d| d.path == path), "{report:?}");
    let refused = Store::open(config(&dir), Clock::system()).err().unwrap();
    assert!(refused.to_string().contains("carriers-"), "{refused}");
}

#[tokio::test]
async fn a_pending_record_that_was_changed_is_not_sent() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    store.accept(vec![draft(1, 1), draft(2, 1)]).await.unwrap();
    store.archive_now().await;
    store.close();
    drop(store);
    let path = dir.0.join("pending.db");
    let pending = rusqlite::Connection::open(&path).unwrap();
    let last = "SELECT id, record FROM messages ORDER BY id DESC LIMIT 1";
    let (id, mut record): (i64, Vec<u8>) = pending
        .query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    record[3] ^= 1;
    let change = "UPDATE messages SET record = ?2 WHERE id = ?1";
    pending
        .execute(change, rusqlite::params![id, record])
        .unwrap();
    drop(pending);
    let report = check(&dir.0).unwrap();
    let told = format!("message {id}");
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert!(report.damaged[0].what.contains(&told), "{report:?}");
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let mut failed = store.failed();
    let ready = store
        .load_ready(RouteIx(0), (Class::Transactional, TenantIx(0)), 0, 10)
        .await;
    assert!(ready.is_none_or(|ready| ready.is_empty()));
    // The process ends, and says why.
    let why = tokio::time::timeout(SOON, failed.wait_for(Option::is_some));
    let why = why.await.unwrap().unwrap().clone().unwrap_or_default();
    assert!(why.contains("pending.db") && why.contains(&told), "{why}");
    store.close();
}

#[tokio::test]
async fn an_emptied_file_does_not_cost_its_log() {
    let (dir, _) = killed().await;
    let names = fs::read_dir(&dir.0).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let filled = |name: &String| fs::metadata(dir.0.join(name)).unwrap().len() > 0;
    let logs = names.filter(|name| name.ends_with("-wal") && filled(name));
    let logs: Vec<String> = logs.collect();
    assert!(logs.len() > 3, "{logs:?}");
    for log in logs {
        let copy = TempDir::new();
        copy_of(&dir.0, &copy.0);
        let name = log.trim_end_matches("-wal");
        fs::write(copy.0.join(name), "").unwrap();
        let length = fs::metadata(copy.0.join(&log)).unwrap().len();
        for turn in 0..2 {
            let report = check(&copy.0).unwrap();
            let told = |damage: &Damage| damage.path == copy.0.join(name);
            assert!(report.damaged.iter().any(told), "{name} {turn}: {report:?}");
            let error = Store::open(config(&copy), Clock::system()).err();
            let said = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(name), "{name} {turn}: {said}");
            let now = fs::metadata(copy.0.join(&log)).map(|log| log.len());
            assert_eq!(
                now.ok(),
                Some(length),
                "{name} {turn}: its log is as it was"
            );
        }
    }
}

#[tokio::test]
async fn a_flipped_octet_of_the_archive_is_noticed_where_it_matters() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let drafts = (0..200).map(|number| draft(number, 1)).collect();
    let mut known = BTreeMap::new();
    for (number, accepted_as) in (0..).zip(store.accept(drafts).await.unwrap()) {
        let Accepted::Stored(message) = accepted_as else {
            panic!("a new message is stored");
        };
        let provider = format!("p{number}");
        if number % 2 > 0 {
            let settles = vec![accepted(message.id, 0, &provider)];
            store.settle(settles).await.unwrap();
            let receipts = vec![delivered(&provider)];
            store.apply_receipts(receipts).await.unwrap();
        }
        known.insert(message.id, message.to);
    }
    store.archive_now().await;
    store.close();
    drop(store);
    let names = fs::read_dir(&dir.0).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = names
        .filter(|name| !name.starts_with("journal-") && !name.starts_with("state"))
        .filter(|name| name.ends_with(".db"))
        .collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    let mut below = dice(11);
    for _ in 0..FLIPS / 2 {
        let copy = TempDir::new();
        copy_of(&dir.0, &copy.0);
        let name = &files[below(files.len())];
        let path = copy.0.join(name);
        let mut octets = fs::read(&path).unwrap();
        let at = below(octets.len());
        octets[at] ^= 1 << below(8);
        fs::write(&path, octets).unwrap();
        let place = format!("{name}, octet {at}");
        let checked = check(&copy.0).unwrap();
        export(&copy.0, &copy.0.join("out")).unwrap();
        let Ok((store, _)) = Store::open(config(&copy), Clock::system()) else {
            assert!(
                !checked.is_sound(),
                "{place}: refused, but the check finds nothing"
            );
            continue;
        };
        let query = Query {
            limit: 500,
            ..Query::default()
        };
        store.find(query).await;
        let all = store.load_ready(RouteIx(0), (Class::Transactional, TenantIx(0)), 0, 500);
        let all = all.await.unwrap_or_default();
        for entry in &all {
            let to = known.get(&entry.message.id);
            assert_eq!(to, Some(&entry.message.to), "{place}: sent elsewhere");
        }
        if all.len() < known.len() / 2 {
            assert!(!checked.is_sound(), "{place}: only {} wait", all.len());
        }
        store.close();
    }
}
