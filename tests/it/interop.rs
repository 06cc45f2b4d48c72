//! Interop: the official webhook verifiers. The carriers are in `interop_carriers.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use trunkline_tests::config::SECRET;
use trunkline_tests::peers;
use trunkline_tests::scene::{receiver, smsc_config};
use trunkline_tests::{Endpoint, SOON, Scene, message};

/// Posts of both forms, and the same ones with a changed body, in the verifiers' form.
async fn posts() -> (Vec<Value>, Vec<Value>) {
    let second = receiver().await.unwrap();
    let scene = Scene::start("verify", smsc_config(), |setup| {
        let batch = "batch = { max_events = 10, max_wait_ms = 100 }";
        setup
            .endpoints
            .push(Endpoint::new("batched", second.addr()).with(batch));
    })
    .await
    .unwrap();
    for n in 0..5 {
        scene
            .send(&message(&format!("+4670000060{n}"), "Grüße, мир"))
            .await;
    }
    for receiver in [&scene.receiver, &second] {
        let all = |report: &sim::receiver::Report| report.messages_delivered == 5;
        receiver.wait_until(all, SOON).await.unwrap();
    }
    let kept = scene.receiver.kept().into_iter().chain(second.kept());
    let (mut whole, mut changed) = (Vec::new(), Vec::new());
    for post in kept {
        let header = |name: &str| post.headers[name].to_str().unwrap().to_owned();
        let headers = json!({
            "webhook-id": header("webhook-id"),
            "webhook-timestamp": header("webhook-timestamp"),
            "webhook-signature": header("webhook-signature"),
        });
        let request = |body: &[u8]| json!({"secret": SECRET, "headers": headers, "body": STANDARD.encode(body)});
        whole.push(request(&post.body));
        let mut body = post.body.to_vec();
        body.insert(1, b' ');
        changed.push(request(&body));
    }
    (whole, changed)
}

async fn verified_by(program: &str, script: &str) {
    let (whole, changed) = posts().await;
    let verdicts = peers::verify(program, script, &whole).await.unwrap();
    assert!(
        verdicts.iter().all(|verdict| verdict["ok"] == true),
        "{verdicts:?}"
    );
    let types: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| verdict["type"].as_str())
        .collect();
    for kind in ["message.sent", "message.delivered", "batch"] {
        assert!(types.contains(&kind), "{types:?}");
    }
    let verdicts = peers::verify(program, script, &changed).await.unwrap();
    assert!(
        verdicts.iter().all(|verdict| verdict["ok"] == false),
        "{verdicts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_hold_for_npm_standardwebhooks() {
    if peers::npm("posts_hold_for_npm_standardwebhooks", "standardwebhooks") {
        verified_by("node", "verify.js").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_hold_for_pypi_standardwebhooks() {
    if peers::pypi("posts_hold_for_pypi_standardwebhooks", "standardwebhooks") {
        verified_by("python", "verify.py").await;
    }
}
