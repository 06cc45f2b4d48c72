//! Duplicate key: the same message twice is one message, also in batches and over a kill -9.

use serde_json::json;
use trunkline_tests::{Scene, message};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_also_over_a_kill() {
    let mut scene = Scene::plain("key").await.unwrap();
    let body = message("+46700000200", "once");
    let key = [("idempotency-key", "order-7")];
    let first = scene
        .client
        .post_with("/v1/messages", &key, &body)
        .await
        .unwrap();
    let id = first.id();
    let quoted = [("idempotency-key", "\"order-7\"")];
    let again = scene
        .client
        .post_with("/v1/messages", &quoted, &body)
        .await
        .unwrap();
    assert_eq!(again.id(), id);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.body, again.body);

    let other = message("+46700000200", "another text");
    let reused = scene
        .client
        .post_with("/v1/messages", &key, &other)
        .await
        .unwrap();
    assert_eq!(
        (reused.status, &reused.json()["code"]),
        (422, &json!("idempotency_key_reused"))
    );

    scene.status(&id, "delivered").await;
    scene.restart(true).await.unwrap();
    let after = scene
        .client
        .post_with("/v1/messages", &key, &body)
        .await
        .unwrap();
    assert_eq!(
        (after.id(), after.header("idempotent-replayed")),
        (id.clone(), "true")
    );

    let mut item = body.clone();
    item["idempotency_key"] = "order-7".into();
    let mut fresh = message("+46700000201", "other");
    fresh["idempotency_key"] = "order-8".into();
    let batch = json!({"messages": [item, fresh.clone(), fresh]});
    let batch = scene
        .client
        .post("/v1/batches", &batch)
        .await
        .unwrap()
        .json();
    let results = &batch["results"];
    assert_eq!(
        (&results[0]["id"], &results[0]["replayed"]),
        (&json!(id), &json!(true))
    );
    assert_eq!(results[1]["status"], 202);
    assert_eq!(
        (&results[2]["id"], &results[2]["replayed"]),
        (&results[1]["id"], &json!(true))
    );
    scene
        .status(results[1]["id"].as_str().unwrap(), "delivered")
        .await;
    let report = scene.smsc.report();
    assert_eq!((report.unique, report.duplicates), (2, 0));
}
