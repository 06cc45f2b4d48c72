//! Throttled route: ESME_RTHROTTLED slows the route down, loses nothing and doubles nothing; a rate
//! in the config keeps the carrier from having to say it.

use serde_json::json;
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{SOON, Scene};

fn batch(count: usize) -> serde_json::Value {
    let messages: Vec<_> = (0..count)
        .map(|n| json!({"to": number(n), "from": "ACME", "text": "hi"}))
        .collect();
    json!({"messages": messages})
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_slows_and_loses_nothing() {
    let mut config = smsc_config();
    config.faults.per_second = Some(50);
    let scene = Scene::start("throttled", config, |_| {}).await.unwrap();
    let answer = scene.client.post("/v1/batches", &batch(150)).await.unwrap();
    assert_eq!(answer.json()["accepted"], 150);
    let all = |report: &sim::receiver::Report| report.messages_delivered == 150;
    scene.receiver.wait_until(all, SOON).await.unwrap();
    let report = scene.smsc.report();
    assert!(report.throttled > 0, "{report:?}");
    assert_eq!((report.unique, report.duplicates), (150, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_in_the_config_is_kept() {
    let mut config = smsc_config();
    config.faults.per_second = Some(60);
    let scene = Scene::start("rated", config, |setup| {
        setup.routes[0] = setup.routes[0].clone().with("rate = \"50/s, burst 5\"");
    })
    .await
    .unwrap();
    scene.client.post("/v1/batches", &batch(150)).await.unwrap();
    let all = |report: &sim::receiver::Report| report.messages_delivered == 150;
    scene.receiver.wait_until(all, SOON).await.unwrap();
    let report = scene.smsc.report();
    assert_eq!(
        (report.throttled, report.contract_violations),
        (0, 0),
        "{report:?}"
    );
}
