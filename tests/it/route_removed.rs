//! Route removed: what waited for it goes out over the routes that the config has now, once.

use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Gateway, Nobody, Route, Scene, message};

const COUNT: usize = 20;

/// A gateway that was stopped with messages for a carrier that was down.
async fn stopped(name: &str, text: &str) -> (Scene, Vec<String>) {
    let down = Nobody::new().unwrap();
    let nobody = down.addr;
    let scene = Scene::start(name, smsc_config(), |setup| {
        setup.routes = vec![Route::new("a", nobody)];
    });
    let mut scene = scene.await.unwrap();
    let mut ids = Vec::new();
    for n in 0..COUNT {
        ids.push(scene.send(&message(&number(n), text)).await);
    }
    scene.gateway.stop().await.unwrap();
    (scene, ids)
}

async fn start(scene: &mut Scene, routes: Vec<Route>) {
    scene.setup.routes = routes;
    scene.directory.configure(&scene.setup).unwrap();
    scene.gateway = Gateway::start(&scene.directory).await.unwrap();
    scene.client = scene.gateway.client();
    let said = scene.directory.log();
    let told = said.lines().any(|line| {
        line.contains("gone from the config") && line.contains(&format!("count={COUNT}"))
    });
    assert!(told, "the start says how many: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_it_goes_out_over_another_one_once() {
    let (mut scene, ids) = stopped("removed", "over a").await;
    let b = Route::new("b", scene.smsc.addr());
    start(&mut scene, vec![b]).await;
    for id in &ids {
        assert_eq!(scene.status(id, "delivered").await["route"], "b");
        scene.event(id, "message.delivered").await;
    }
    scene.restart(true).await.unwrap();
    let report = scene.smsc.report();
    let seen = scene.smsc.messages().len();
    assert_eq!((report.unique, seen), (COUNT as u64, COUNT));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_another_one_it_fails_and_says_so() {
    let (mut scene, ids) = stopped("no-route", "over a").await;
    start(&mut scene, Vec::new()).await;
    for id in &ids {
        let failed = scene.status(id, "failed").await;
        assert_eq!(failed["reason"]["code"], "no_route");
        let event = scene.event(id, "message.failed").await;
        assert_eq!(event["data"]["reason"]["code"], "no_route");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_one_cannot_carry_is_not_sent_over_it() {
    // Planned in septets; Latin-1 has no euro.
    let (mut scene, ids) = stopped("cannot-carry", "5 €").await;
    let addr = scene.smsc.addr();
    let b = Route::new("b", addr).with("charset = { default = \"latin1\" }");
    start(&mut scene, vec![b]).await;
    for id in &ids {
        let failed = scene.status(id, "failed").await;
        assert_eq!(failed["reason"]["code"], "no_route");
    }
    // What is accepted now is written for it.
    let id = scene.send(&message(&number(COUNT), "6 €")).await;
    scene.status(&id, "delivered").await;
    assert_eq!(scene.smsc.report().unique, 1);
}
