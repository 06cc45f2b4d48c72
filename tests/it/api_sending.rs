//! `sending`: what a message shows while a part is out under `hold`, and lists know it.

use serde_json::Value;
use trunkline_tests::{Scene, message};

/// The simulated carrier takes messages to such numbers and never answers.
const SILENT: &str = "+46700000008";

#[tokio::test(flavor = "multi_thread")]
async fn sending_is_listed_as_it_is_shown() {
    let scene = Scene::plain("sending").await.unwrap();
    let mut body = message(SILENT, "held");
    body["policy"] = serde_json::json!({"on_ambiguous": "hold"});
    let id = scene.send(&body).await;
    scene.status(&id, "sending").await;
    let listed = async |status: &str| -> Vec<Value> {
        let path = format!("/v1/messages?status={status}");
        let page = scene.client.json(&path).await.unwrap();
        let ids = page["data"].as_array().unwrap().iter();
        ids.map(|message| message["id"].clone()).collect()
    };
    assert_eq!(listed("sending").await, [Value::from(&*id)]);
    assert_eq!(
        listed("queued").await,
        [] as [Value; 0],
        "it shows no queued"
    );
    let later = scene
        .client
        .get("/v1/messages?status=scheduled")
        .await
        .unwrap();
    assert_eq!(
        (later.status, &later.json()["code"]),
        (422, &"not_available".into())
    );
}
