//! Submit then receipt: single, batch and NDJSON, from HTTP to the verified webhook.

use serde_json::{Value, json};
use trunkline_tests::scene::number;
use trunkline_tests::{SOON, Scene, message, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_message_is_delivered_and_told() {
    let scene = Scene::plain("single").await.unwrap();
    let mut body = message("+46701234567", "Your code is 481920");
    body["class"] = "otp".into();
    body["client_ref"] = "order-1".into();
    body["metadata"] = json!({"store": "S042"});
    let answer = scene.client.post("/v1/messages", &body).await.unwrap();
    let id = answer.id();
    assert_eq!(answer.header("location"), format!("/v1/messages/{id}"));

    let delivered = scene.status(&id, "delivered").await;
    assert_eq!(delivered["final"], true);
    assert_eq!(delivered["route"], "main");
    let sent = scene.event(&id, "message.sent").await;
    let told = scene.event(&id, "message.delivered").await;
    assert!(sent["data"]["version"].as_u64() < told["data"]["version"].as_u64());
    assert_eq!(told["data"]["client_ref"], "order-1");
    assert_eq!(told["data"]["metadata"]["store"], "S042");

    let seen = scene.smsc.messages();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].dest.2, "46701234567");
    assert_eq!(seen[0].short_message, b"Your code is 481920");
    assert_eq!(told["data"]["provider_message_id"], seen[0].message_id);
    let receiver = scene.receiver.report();
    assert_eq!(
        (
            receiver.unverified,
            receiver.unparsable,
            receiver.id_mismatches
        ),
        (0, 0, 0)
    );

    let timeline = scene
        .client
        .json(&format!("/v1/messages/{id}/timeline"))
        .await
        .unwrap();
    let types: Vec<&str> = entries(&timeline)
        .filter_map(|entry| entry["type"].as_str())
        .collect();
    assert_eq!(types, ["accepted", "attempt", "receipt"]);
    let found = scene
        .client
        .json("/v1/messages?client_ref=order-1")
        .await
        .unwrap();
    assert_eq!(entries(&found).next().unwrap()["id"], *id);
    let route = scene.client.json("/v1/routes/main").await.unwrap();
    assert_eq!(route["state"], "up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_stands_item_by_item() {
    let scene = Scene::plain("batch").await.unwrap();
    let body = json!({
        "defaults": {"from": "ACME", "class": "transactional"},
        "messages": [
            {"to": "+46700000100", "text": "one", "client_ref": "a"},
            {"to": "not a number", "text": "two"},
            {"to": "+46700000102", "text": "three".repeat(100)},
        ],
    });
    let answer = scene.client.post("/v1/batches", &body).await.unwrap();
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["accepted"], &json["rejected"]),
        (200, &json!(2), &json!(1))
    );
    let results = json["results"].as_array().unwrap();
    assert_eq!(results[0]["status"], 202);
    assert_eq!(results[0]["client_ref"], "a");
    assert_eq!(results[1]["status"], 422);
    let long = results[2]["id"].as_str().unwrap();
    let told = scene.event(long, "message.delivered").await;
    assert_eq!(
        told["data"]["sms"],
        json!({"encoding": "gsm7", "segments": 4, "segments_delivered": 4})
    );
    scene
        .status(results[0]["id"].as_str().unwrap(), "delivered")
        .await;
    let report = scene.smsc.report();
    assert_eq!((report.accepted, report.unique), (5, 5), "1 + 4 segments");
}

#[tokio::test(flavor = "multi_thread")]
async fn ndjson_answers_each_line_and_sums_up() {
    let scene = Scene::start("ndjson", trunkline_tests::scene::smsc_config(), |setup| {
        setup.routes[0] = setup.routes[0].clone().binds(2, 50);
        setup.endpoints[0] = setup.endpoints[0]
            .clone()
            .with("batch = { max_events = 500, max_wait_ms = 100 }");
    })
    .await
    .unwrap();
    let count = 2_000;
    let mut lines = vec![json!({"defaults": {"from": "ACME"}})];
    lines.extend((0..count).map(|n| json!({"to": number(n), "text": format!("line {n}")})));
    let answer = scene.client.ndjson(&lines).await.unwrap();
    assert_eq!(answer.status, 200);
    let mut results = answer.lines();
    let summary = results.pop().unwrap();
    assert_eq!(summary["summary"]["accepted"], count, "{summary}");
    let mut indices: Vec<u64> = results
        .iter()
        .filter_map(|line| line["index"].as_u64())
        .collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..count as u64).collect::<Vec<_>>());
    assert!(
        results.iter().all(|line| line["status"] == 202),
        "{:?}",
        results.first()
    );

    let all = |report: &sim::receiver::Report| report.messages_delivered == count as u64;
    let report = scene.receiver.wait_until(all, SOON).await.unwrap();
    assert_eq!(
        report.events_unique,
        report.by_type["message.sent"] + report.by_type["message.delivered"]
    );
    assert_eq!(report.type_repeats, 0);
    assert!(report.batches > 0);
    assert_eq!(scene.smsc.report().unique, count as u64);
    assert_eq!(scene.smsc.report().duplicates, 0);
    wait_for("an empty queue", SOON, async || {
        let page = scene.client.json("/v1/messages?status=queued").await.ok()?;
        entries(&page).next().is_none().then_some(())
    })
    .await;
}

fn entries(page: &Value) -> impl Iterator<Item = &Value> {
    page["data"].as_array().into_iter().flatten()
}
