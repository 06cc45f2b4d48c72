//! SIGTERM drains: what is out is waited for, the carrier is unbound, and nothing is sent twice.

use serde_json::json;
use sim::receiver::Report;
use sim::smsc::Faults;
use trunkline_tests::scene::{number, received, smsc_config};
use trunkline_tests::{Gateway, SOON, Scene, message, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_waited_for() {
    let mut config = smsc_config();
    config.faults = Faults {
        // The signal has to be there before the first answer, and the next message with it.
        delay_ms: 5_000,
        ..Faults::default()
    };
    let mut scene = Scene::start("drain", config, |setup| {
        setup.routes[0] = setup.routes[0].clone().binds(1, 20);
    })
    .await
    .unwrap();
    let messages: Vec<_> = (0..50).map(|n| message(&number(n), "drain")).collect();
    scene
        .client
        .post("/v1/batches", &json!({"messages": messages}))
        .await
        .unwrap();
    wait_for("a full window", SOON, async || {
        (scene.smsc.report().accepted == 20).then_some(())
    })
    .await;
    scene.gateway.stop().await.unwrap();
    let at_stop = scene.smsc.report();
    assert_eq!(
        (at_stop.accepted, at_stop.binds_now),
        (20, 0),
        "what is out, and no more"
    );

    scene.smsc.set(Faults::default());
    scene.gateway = Gateway::start(&scene.directory).await.unwrap();
    let all = |report: &Report| report.by_type.get("message.sent") == Some(&50);
    scene.receiver.wait_until(all, SOON).await.unwrap();
    let report = scene.smsc.report();
    assert_eq!(
        (report.unique, report.duplicates),
        (50, 0),
        "the answers were on disk"
    );
    assert_eq!(scene.receiver.report().type_repeats, 0);
    let flagged = |event: &serde_json::Value| event["data"]["duplicate_possible"] != false;
    let flagged = received(&scene.receiver)
        .iter()
        .filter(|e| flagged(e))
        .count();
    assert_eq!(flagged, 0, "a stop leaves no doubt");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_and_health_are_told() {
    let scene = Scene::plain("health").await.unwrap();
    let admin = scene.gateway.admin_client();
    assert_eq!(admin.get("/livez").await.unwrap().status, 200);
    assert_eq!(admin.get("/readyz").await.unwrap().status, 200);
    let id = scene.send(&message(&number(1), "count me")).await;
    scene.status(&id, "delivered").await;
    let metrics = admin.get("/metrics").await.unwrap();
    let text = String::from_utf8_lossy(&metrics.body);
    assert_eq!(metrics.status, 200);
    assert!(text.contains("trunkline_"), "{text}");
    let openapi = scene.client.json("/openapi.json").await.unwrap();
    assert!(openapi["paths"]["/v1/messages"].is_object());
}
