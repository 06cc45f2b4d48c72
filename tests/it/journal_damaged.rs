//! Journal damaged: a flipped octet in the middle, or an end before what was acknowledged, is told
//! and refused; the end of a commit that was never acknowledged is not.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use trunkline_tests::gateway::run;
use trunkline_tests::scene::number;
use trunkline_tests::{Directory, Gateway, Scene, message};

/// A killed gateway's directory with 300 messages in its journal.
async fn journal(name: &str) -> (Scene, PathBuf) {
    let mut scene = Scene::plain(name).await.unwrap();
    for n in 0..300 {
        let id = scene.send(&message(&number(n), "journal")).await;
        if n == 299 {
            scene.status(&id, "delivered").await;
        }
    }
    // The acknowledged batch's number is kept in a second place at most a second late.
    let last = scene.send(&message(&number(300), "last")).await;
    scene.status(&last, "delivered").await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    scene.gateway.kill().await.unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(scene.directory.store())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with("-wal"))
        .filter(|path| path.to_string_lossy().contains("journal-"))
        .collect();
    files.sort();
    let file = files.pop().expect("a journal's write-ahead log");
    (scene, file)
}

async fn refused(directory: &Directory) -> String {
    let started = Gateway::try_start(directory, &[]).await.unwrap();
    let ended = started.expect_err("it started on a damaged journal");
    assert_ne!(ended.code, Some(0));
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
    let store = scene.directory.store().display().to_string();
    let check = run(&["store", "check", &store]).await.unwrap();
    assert!(
        !check.status.success(),
        "store check passes a damaged journal"
    );
    let export = scene
        .directory
        .path()
        .join("export.ndjson")
        .display()
        .to_string();
    let output = run(&["store", "export", &store, "--out", &export])
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        fs::metadata(&export).unwrap().len() > 0,
        "what is readable is exported"
    );
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
