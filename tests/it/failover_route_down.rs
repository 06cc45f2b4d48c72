//! Failover, route down: a carrier that nobody answers at does not hold messages up.

use sim::smsc::Smsc;
use trunkline_tests::scene::smsc_config;
use trunkline_tests::{Nobody, Route, SOON, Scene, message, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn the_second_route_takes_over_while_the_first_is_down() {
    let down = Nobody::new().unwrap();
    let nobody = down.addr;
    let scene = Scene::start("down", smsc_config(), |setup| {
        setup.routes.insert(0, Route::new("first", nobody));
    })
    .await
    .unwrap();
    let id = scene.send(&message("+46700000400", "over there")).await;
    let delivered = scene.status(&id, "delivered").await;
    assert_eq!(delivered["route"], "main");
    let route = scene.client.json("/v1/routes/first").await.unwrap();
    assert_eq!(route["state"], "down");

    // Back again: the first route gets what comes from now on.
    let config = sim::smsc::SmscConfig {
        listen: nobody,
        ..smsc_config()
    };
    let first = Smsc::start(config).await.unwrap();
    wait_for("the first route to be up", SOON, async || {
        let route = scene.client.json("/v1/routes/first").await.ok()?;
        (route["state"] == "up").then_some(())
    })
    .await;
    let id = scene.send(&message("+46700000401", "back again")).await;
    assert_eq!(scene.status(&id, "delivered").await["route"], "first");
    assert_eq!(first.report().unique, 1);
}
