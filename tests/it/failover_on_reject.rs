//! Failover on reject: what one carrier refuses for itself, the next one is asked; what no carrier
//! can deliver fails at once.

use sim::smsc::{ErrorShare, Smsc};
use trunkline_tests::scene::smsc_config;
use trunkline_tests::{Route, Scene, message};

/// ESME_RX_R_APPN: "try another route" by the class table.
const ELSEWHERE: u32 = 0x66;

#[tokio::test(flavor = "multi_thread")]
async fn the_second_route_takes_what_the_first_refuses() {
    let backup = Smsc::start(smsc_config()).await.unwrap();
    let mut config = smsc_config();
    config.faults.errors = vec![ErrorShare {
        status: ELSEWHERE,
        share: 1.0,
    }];
    let scene = Scene::start("reject", config, |setup| {
        setup.routes.push(Route::new("backup", backup.addr()));
    })
    .await
    .unwrap();

    let id = scene
        .send(&message("+46700000300", &"long ".repeat(60)))
        .await;
    let delivered = scene.status(&id, "delivered").await;
    assert_eq!(delivered["route"], "backup");
    assert_eq!(delivered["attempts"], 2);
    assert_eq!(delivered["duplicate_possible"], false);
    assert_eq!(scene.smsc.report().accepted, 0);
    assert_eq!(backup.report().unique, 2, "both segments");

    // A destination that does not exist is no carrier's fault: 0x0B is permanent.
    scene.smsc.set(sim::smsc::Faults::default());
    let lost = scene.send(&message("+46700000002", "nobody")).await;
    let failed = scene.status(&lost, "failed").await;
    assert_eq!(
        (failed["final"].as_bool(), failed["attempts"].as_u64()),
        (Some(true), Some(1))
    );
    assert_eq!(failed["reason"]["permanent"], true);
    scene.event(&lost, "message.failed").await;
    assert_eq!(backup.report().unique, 2, "nobody else was asked");
}
