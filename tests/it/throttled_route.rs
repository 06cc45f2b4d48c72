//! Throttled route: ESME_RTHROTTLED slows the route down, loses nothing and doubles nothing; a rate
//! in the config keeps the carrier from having to say it.

use serde_json::json;
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{SOON, Scene};

/// The route's rate per second, its burst, and its window.
const RATE: u32 = 50;
const BURST: u32 = 5;
const WINDOW: u16 = 10;

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
    // In any second at most a second's worth and a burst are sent. What was sent before and not yet read
    // by a carrier that was not scheduled is never more than a window.
    config.faults.per_second = Some(RATE + BURST + u32::from(WINDOW));
    let scene = Scene::start("rated", config, |setup| {
        let rate = format!("rate = \"{RATE}/s, burst {BURST}\"");
        setup.routes[0] = setup.routes[0].clone().binds(1, WINDOW).with(&rate);
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
