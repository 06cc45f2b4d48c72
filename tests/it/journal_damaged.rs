//! Journal damaged: a flipped octet in the middle, or an end before what was acknowledged, is told
//! and refused; the end of a commit that was never acknowledged is not.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use trunkline_tests::gateway::run;
use trunkline_tests::scene::number;
use trunkline_tests::{Directory, Gateway, Scene, Setup, message};

/// A killed gateway's directory with 300 messages in its journal.
async fn journal(name: &str) -> (Scene, PathBuf) {
    let mut scene = Scene::plain(name).await.unwrap();
    for n in 0..300 {
        let id = scene.send(&message(&number(n), "journal")).await;
        if n == 299 {
            scene.status(&id, "delivered").await;
        }
    }
    scene.kept().await;
    scene.gateway.kill().await.unwrap();
    let file = files(&scene.directory, ".db-wal").pop();
    (scene, file.expect("a journal's write-ahead log"))
}

/// The journal's files with this ending, oldest first.
fn files(directory: &Directory, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory.store())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .filter(|path| path.to_string_lossy().contains("journal-"))
        .collect();
    files.sort();
    files
}

async fn refused(directory: &Directory) -> String {
    let started = Gateway::try_start(directory, &[]).await.unwrap();
    let ended = started.expect_err("it started on a damaged journal");
    assert_eq!(ended.code, Some(1), "3 is for a directory in use");
    for told in ["journal-", "batch", "trunkline store export"] {
        assert!(
            ended.said.contains(told),
            "{told} is not told: {}",
            ended.said
        );
    }
    ended.said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_octet_in_the_middle_is_refused() {
    let (scene, file) = journal("flipped").await;
    let middle = fs::metadata(&file).unwrap().len() / 2;
    let opened = File::options().read(true).write(true).open(&file).unwrap();
    let mut octet = [0];
    opened.read_exact_at(&mut octet, middle).unwrap();
    opened.write_all_at(&[octet[0] ^ 0x40], middle).unwrap();
    refused(&scene.directory).await;
    offline(&scene.directory, &["do not fit their checksums", "-wal"]).await;
}

/// What the offline verbs say of a damaged directory: where, on stderr, and with exit code 1.
async fn offline(directory: &Directory, told: &[&str]) {
    let store = directory.store().display().to_string();
    let export = directory.path().join("export.ndjson");
    let out = export.display().to_string();
    for args in [
        &["store", "check", &store][..],
        &["store", "export", &store, "--out", &out],
    ] {
        let output = run(args).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        for told in told.iter().chain(&["batch", "journal-"]) {
            assert!(said.contains(told), "{args:?} does not tell {told}: {said}");
        }
    }
    let written = fs::metadata(&export).unwrap().len();
    assert!(written > 0, "what is readable is exported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_told_by_its_neighbours() {
    let mut scene = Scene::plain("hole").await.unwrap();
    for n in 0..3 {
        let id = scene.send(&message(&number(n), "journal")).await;
        scene.status(&id, "delivered").await;
        scene.restart(n == 1).await.unwrap();
    }
    scene.gateway.stop().await.unwrap();
    let files = files(&scene.directory, ".db");
    assert!(files.len() > 3, "each start begins a file: {files:?}");
    for suffix in ["", "-wal"] {
        fs::remove_file(format!("{}{suffix}", files[1].display())).unwrap();
    }
    let said = refused(&scene.directory).await;
    let [before, after] = [&files[0], &files[2]].map(|file| file.display().to_string());
    for told in [&*before, &*after, "are missing", "is gone", "later batches"] {
        assert!(said.contains(told), "{told} is not told: {said}");
    }
    offline(&scene.directory, &[&before, &after, "are missing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_written_is_told_once_with_exit_1() {
    let directory = Directory::new("io").unwrap();
    directory.configure(&Setup::default()).unwrap();
    // A file in place of the directory.
    fs::write(directory.store(), "").unwrap();
    let ended = Gateway::try_start(&directory, &[]).await.unwrap();
    let ended = ended.expect_err("a file is no directory");
    let store = directory.store().display().to_string();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains(&store), "{}", ended.said);
    assert!(ended.said.contains("not a directory"), "{}", ended.said);
    // Below a file: what the system says, once.
    let config = Setup::default().toml(&directory.store());
    fs::write(directory.config(), config).unwrap();
    let ended = Gateway::try_start(&directory, &[]).await.unwrap();
    let ended = ended.expect_err("nothing is below a file");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert_eq!(ended.said.matches("os error").count(), 1, "{}", ended.said);
    directory.configure(&Setup::default()).unwrap();
    // A directory in place of a journal's file.
    fs::remove_file(directory.store()).unwrap();
    drop(Gateway::start(&directory).await.unwrap().stop().await);
    let file = directory.store().join("journal-00000000000000000007.db");
    fs::create_dir(&file).unwrap();
    let ended = Gateway::try_start(&directory, &[]).await.unwrap();
    let ended = ended.expect_err("a directory is no file");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let told = ended.said.contains(&file.display().to_string());
    assert!(told, "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_last_record_is_forgiven_for_good() {
    let (mut scene, _) = journal("bad-tail").await;
    let file = files(&scene.directory, ".db").pop().unwrap();
    let last = spoil_last(&file);
    let state = rusqlite::Connection::open(scene.directory.store().join("state.db")).unwrap();
    let acknowledge = "UPDATE meta SET value = ?1 WHERE key = 'acknowledged'";
    state.execute(acknowledge, [last - 1]).unwrap();
    drop(state);
    // Killed before and after the first commit of the file that takes its place.
    scene.gateway = Gateway::start(&scene.directory).await.unwrap();
    assert!(scene.directory.log().contains("a torn commit"));
    scene.restart(true).await.unwrap();
    let id = scene.send(&message(&number(301), "goes on")).await;
    scene.status(&id, "delivered").await;
    scene.restart(true).await.unwrap();
    scene.restart(false).await.unwrap();
    scene.status(&id, "delivered").await;
    scene.gateway.stop().await.unwrap();
    let store = scene.directory.store().display().to_string();
    let check = run(&["store", "check", &store]).await.unwrap();
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}

/// Flips an octet in a journal file's last record, as SQLite itself writes it. Its batch.
fn spoil_last(file: &Path) -> i64 {
    let file = rusqlite::Connection::open(file).unwrap();
    file.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA wal_autocheckpoint = 0;")
        .unwrap();
    let kept = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    file.set_db_config(kept, true).unwrap();
    let last = "SELECT batch, blob FROM journal ORDER BY batch DESC LIMIT 1";
    let (batch, mut blob): (i64, Vec<u8>) = file
        .query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    *blob.last_mut().unwrap() ^= 1;
    let spoil = "UPDATE journal SET blob = ?2 WHERE batch = ?1";
    file.execute(spoil, rusqlite::params![batch, blob]).unwrap();
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_before_the_acknowledged_is_refused() {
    let (scene, file) = journal("short").await;
    let length = fs::metadata(&file).unwrap().len();
    let opened = File::options().write(true).open(&file).unwrap();
    opened.set_len(length / 2).unwrap();
    refused(&scene.directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_after_the_acknowledged_is_discarded() {
    let (mut scene, file) = journal("torn").await;
    let length = fs::metadata(&file).unwrap().len();
    let opened = File::options().write(true).open(&file).unwrap();
    // Half a frame of a commit that never returned.
    opened.write_all_at(&[0xA5; 2_000], length).unwrap();
    scene.gateway = Gateway::start(&scene.directory).await.unwrap();
    scene.client = scene.gateway.client();
    let id = scene.send(&message(&number(301), "goes on")).await;
    scene.status(&id, "delivered").await;
    let store = scene.directory.store().display().to_string();
    scene.gateway.stop().await.unwrap();
    let check = run(&["store", "check", &store]).await.unwrap();
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stdout)
    );
}
