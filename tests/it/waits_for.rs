//! Waits for: a message that is queued tells what it waits for.

use serde_json::{Value, json};
use sim::smsc::{Smsc, SmscConfig};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Nobody, Route, SOON, Scene, message, wait_for};

/// Waits until a message says that this holds it on its only route.
async fn held(scene: &Scene, id: &str, hold_reason: &str) {
    let wanted = json!([{"route": "main", "hold_reason": hold_reason}]);
    wait_for("what the message waits for", SOON, async || {
        let message = scene.client.message(id).await.ok()?;
        (message["waits_for"] == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_for_its_route_until_that_is_up() {
    let down = Nobody::new().unwrap();
    let listen = down.addr;
    let scene = Scene::start("waits-down", smsc_config(), |setup| {
        setup.routes[0] = Route::new("main", listen);
    })
    .await
    .unwrap();
    let id = scene.send(&message(&number(0), "later")).await;
    held(&scene, &id, "route_down").await;
    let config = SmscConfig {
        listen,
        ..smsc_config()
    };
    let _main = Smsc::start(config).await.unwrap();
    let delivered = scene.status(&id, "delivered").await;
    assert_eq!(delivered["waits_for"], Value::Null, "{delivered}");
}

/// What is about to go is claimed, and could be out: that nothing of the route is tells that it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_for_the_rate_of_its_route() {
    let scene = Scene::start("waits-rate", smsc_config(), |setup| {
        setup.routes[0] = setup.routes[0].clone().with("rate = \"1/s, burst 1\"");
    })
    .await
    .unwrap();
    for n in 0..29 {
        scene.send(&message(&number(n), "before it")).await;
    }
    // Half a minute's worth is before it.
    let last = scene.send(&message(&number(29), "the last")).await;
    held(&scene, &last, "rate").await;
}
