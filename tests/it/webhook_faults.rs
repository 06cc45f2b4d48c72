//! Webhook faults: a failed post is tried again, 410 disables, batches are kept small enough, and a
//! slow endpoint never delays another.

use std::time::{Duration, Instant};

use serde_json::json;
use sim::receiver::{Faults, Report};
use trunkline_tests::scene::{number, receiver, smsc_config};
use trunkline_tests::{Endpoint, SOON, Scene, message, wait_for};

fn messages(count: usize) -> serde_json::Value {
    let messages: Vec<_> = (0..count).map(|n| message(&number(n), "hook")).collect();
    json!({"messages": messages})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_post_is_tried_again_with_the_same_id() {
    let scene = Scene::plain("hook-retry").await.unwrap();
    scene.receiver.set(Faults {
        fail_first: 1,
        ..Faults::default()
    });
    let id = scene.send(&message(&number(1), "again")).await;
    scene.event(&id, "message.sent").await;
    scene.event(&id, "message.delivered").await;
    let kept = scene.receiver.kept();
    let failed = kept.iter().find(|kept| kept.status == Some(500)).unwrap();
    let same = |name: &str| failed.headers[name].clone();
    let again: Vec<_> = kept
        .iter()
        .filter(|kept| kept.status == Some(204) && kept.headers["webhook-id"] == same("webhook-id"))
        .collect();
    assert_eq!(again.len(), 1, "tried again once");
    assert_eq!(again[0].headers["trunkline-attempt"], "2");
    assert_eq!(again[0].body, failed.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_kept() {
    let scene = Scene::plain("hook-after").await.unwrap();
    let faults = Faults {
        share_503: 1.0,
        retry_after_s: Some(2),
        ..Faults::default()
    };
    scene.receiver.set(faults);
    scene.send(&message(&number(1), "later")).await;
    let first = wait_for("a refusal", SOON, async || {
        let refused = scene
            .receiver
            .kept()
            .into_iter()
            .find(|kept| kept.status == Some(503));
        refused.map(|kept| (kept.headers["webhook-id"].clone(), kept.at))
    })
    .await;
    let (first, refused) = first;
    scene.receiver.set(Faults::default());
    // Its events are posted side by side: the one that was refused is the one that has to wait.
    let again = wait_for("the refused event", SOON, async || {
        let kept = scene.receiver.kept().into_iter();
        let mut taken = kept.filter(|kept| kept.status == Some(204));
        let taken = taken.find(|kept| kept.headers["webhook-id"] == first);
        taken.map(|kept| kept.at)
    })
    .await;
    let waited = again.duration_since(refused);
    assert!(
        waited >= Duration::from_secs(2),
        "tried again after {waited:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_at_once() {
    let other = receiver().await.unwrap();
    let scene = Scene::start("hook-gone", smsc_config(), |setup| {
        let all = "types = [\"message.*\", \"endpoint.*\"]";
        setup
            .endpoints
            .push(Endpoint::new("other", other.addr()).with(all));
    })
    .await
    .unwrap();
    scene.receiver.set(Faults {
        share_410: 1.0,
        ..Faults::default()
    });
    let first = scene.send(&message(&number(1), "gone")).await;
    scene
        .receiver
        .wait_until(|report| report.answers.contains_key(&410), SOON)
        .await
        .unwrap();
    let disabled = |report: &Report| report.by_type.contains_key("endpoint.disabled");
    other.wait_until(disabled, SOON).await.unwrap();
    scene.status(&first, "delivered").await;
    scene
        .client
        .post("/v1/batches", &messages(20))
        .await
        .unwrap();
    let all = |report: &Report| report.messages_delivered == 21;
    other.wait_until(all, SOON).await.unwrap();
    // The first one's own events may have been under way when it was disabled.
    for kept in scene.receiver.kept() {
        let event: serde_json::Value = serde_json::from_slice(&kept.body).unwrap();
        assert_eq!(
            event["data"]["message_id"], *first,
            "posted there all the same"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_to_what_the_endpoint_asked_for() {
    let scene = Scene::start("hook-batch", smsc_config(), |setup| {
        let batch = "batch = { max_events = 25, max_wait_ms = 200, max_bytes = \"16KiB\" }";
        setup.endpoints[0] = setup.endpoints[0].clone().with(batch);
        setup.routes[0] = setup.routes[0].clone().binds(1, 100);
    })
    .await
    .unwrap();
    scene
        .client
        .post("/v1/batches", &messages(300))
        .await
        .unwrap();
    let all = |report: &Report| report.messages_delivered == 300;
    let report = scene.receiver.wait_until(all, SOON).await.unwrap();
    assert!((2..=25).contains(&report.batch_events_max), "{report:?}");
    assert!(
        scene
            .receiver
            .kept()
            .iter()
            .all(|kept| kept.body.len() <= 16 << 10)
    );
    let one = scene.receiver.kept().pop().unwrap();
    assert!(
        one.headers["webhook-id"]
            .to_str()
            .unwrap()
            .starts_with("evb_")
    );
    assert_eq!((report.type_repeats, report.events_duplicate), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_delays_no_other() {
    let hangs = receiver().await.unwrap();
    hangs.set(Faults {
        share_hang: 1.0,
        ..Faults::default()
    });
    let scene = Scene::start("hook-hangs", smsc_config(), |setup| {
        setup
            .endpoints
            .insert(0, Endpoint::new("hangs", hangs.addr()));
    })
    .await
    .unwrap();
    let began = Instant::now();
    scene
        .client
        .post("/v1/batches", &messages(200))
        .await
        .unwrap();
    let all = |report: &Report| report.messages_delivered == 200;
    scene.receiver.wait_until(all, SOON).await.unwrap();
    // The hanging one is given up only after 15 s: who waited for it would not be here yet.
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
    wait_for("a hanging request", SOON, async || {
        (hangs.report().hung > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_tells_where_deliveries_stand() {
    let scene = Scene::start("hook-timeline", smsc_config(), |setup| {
        let deaf = Endpoint::new("deaf", setup.endpoints[0].addr);
        setup.endpoints.push(deaf.with("types = [\"inbound.*\"]"));
    })
    .await
    .unwrap();
    scene.receiver.set(Faults {
        share_503: 1.0,
        retry_after_s: Some(1),
        ..Faults::default()
    });
    let id = scene.send(&message(&number(1), "where is it?")).await;
    let path = format!("/v1/messages/{id}/timeline");
    let deliveries = async |status: &str| {
        let timeline = scene.client.json(&path).await.ok()?;
        let all = timeline["deliveries"].as_array()?.clone();
        let stands = all.iter().all(|one| one["status"] == status);
        (all.len() == 2 && stands).then_some(all)
    };
    let retrying = wait_for("both retries", SOON, async || deliveries("retrying").await).await;
    for (delivery, kind) in retrying.iter().zip(["message.sent", "message.delivered"]) {
        assert_eq!(
            (&delivery["type"], &delivery["endpoint"]),
            (&json!(kind), &json!("crm"))
        );
        assert!(delivery["attempts"].as_u64() >= Some(1), "{delivery}");
        assert!(
            delivery["next_at"].as_str() >= delivery["first_at"].as_str(),
            "{delivery}"
        );
    }
    scene.receiver.set(Faults::default());
    let settled = wait_for("both to be taken", SOON, async || {
        deliveries("settled").await
    })
    .await;
    assert_eq!(settled[0]["endpoint_exhausted"], 0);
    assert_eq!(settled[0]["event"], retrying[0]["event"]);
    assert!(settled[0].get("next_at").is_none());
}
