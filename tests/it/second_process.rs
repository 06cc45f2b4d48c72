//! Second process: a directory has one gateway at a time; the other leaves with exit 3.

use trunkline_tests::{Gateway, Scene, message};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_leaves_with_exit_3() {
    let mut scene = Scene::plain("second").await.unwrap();
    let second = Gateway::try_start(&scene.directory, &[]).await.unwrap();
    let ended = second.expect_err("two gateways on one directory");
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    let store = scene.directory.store().display().to_string();
    assert!(
        ended.said.contains(&store),
        "it names the directory: {}",
        ended.said
    );
    let id = scene.send(&message("+46700001200", "still here")).await;
    scene.status(&id, "delivered").await;
    scene.restart(true).await.unwrap();
    assert_eq!(
        scene.client.message(&id).await.unwrap()["status"],
        "delivered"
    );
}
