//! Refused: what a carrier says when it refuses a submit is told wherever somebody looks.

use serde_json::{Value, json};
use sim::smsc::{Faults, SmscConfig};
use trunkline_tests::scene::smsc_config;
use trunkline_tests::{SOON, Scene, message, wait_for};

/// What the carrier says, with octets that are no text and an escape sequence for a terminal.
const SAID: &str = "Sender \"ACME\" is not registered\x1b[2J";
/// The same as it is shown.
const SHOWN: &str = "Sender \"ACME\" is not registered\\x1b[2J";

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_and_its_words_are_in_the_message_its_event_its_timeline_and_its_route() {
    let smsc = SmscConfig {
        faults: Faults {
            info: Some(SAID.to_owned()),
            ..Faults::default()
        },
        ..smsc_config()
    };
    let scene = Scene::start("refused", smsc, |_| {}).await.unwrap();
    let before = scene.client.json("/v1/routes/main").await.unwrap();
    assert_eq!(before["last_refusal"], Value::Null);
    let delivered = scene.send(&message("+46701234567", "hello")).await;
    scene.status(&delivered, "delivered").await;
    // The simulator refuses what ends in 0002 with ESME_RINVDSTADR.
    let id = scene.send(&message("+46701230002", "hello")).await;
    let failed = scene.status(&id, "failed").await;
    let provider = json!({"protocol": "smpp", "status": "0x0000000B", "text": SHOWN});
    assert_eq!(failed["reason"]["code"], "invalid_address");
    assert_eq!(failed["reason"]["provider"], provider);
    let told = scene.event(&id, "message.failed").await;
    assert_eq!(told["data"]["reason"]["provider"], provider);
    let timeline = scene
        .client
        .json(&format!("/v1/messages/{id}/timeline"))
        .await
        .unwrap();
    let entries = timeline["data"].as_array().unwrap();
    let attempt = entries.iter().find(|entry| entry["type"] == "attempt");
    assert_eq!(attempt.unwrap()["provider"]["text"], SHOWN);

    let refusal = wait_for("the route's last refusal", SOON, async || {
        let route = scene.client.json("/v1/routes/main").await.ok()?;
        let refusal = route.get("last_refusal").cloned()?;
        refusal.is_object().then_some(refusal)
    })
    .await;
    assert_eq!(refusal["code"], "0x0000000B");
    assert_eq!(refusal["reason"], "invalid_address");
    assert_eq!(refusal["text"], SHOWN);
    assert!(refusal["at"].is_string());

    let answer = scene.gateway.admin_client().get("/metrics").await.unwrap();
    let metrics = String::from_utf8_lossy(&answer.body);
    for (status, count) in [("delivered", 1), ("failed", 1)] {
        let line =
            format!("trunkline_messages_final_total{{route=\"main\",status=\"{status}\"}} {count}");
        assert!(metrics.lines().any(|known| known == line), "{line}");
    }
}
