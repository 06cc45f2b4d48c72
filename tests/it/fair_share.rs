//! Fair share: one tenant's backlog, most of it on disk, does not keep another tenant's messages of the
//! same class waiting; and `/v1/routes` tells how deep the queue is, also over a restart.

use serde_json::{Value, json};
use trunkline_tests::config::OTHER_KEY;
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Client, SOON, Scene, wait_for};

/// What the first tenant queues, and the second one after it.
const MANY: usize = 50_000;
const FEW: usize = 100;
/// Messages of one batch.
const BATCH: usize = 500;
/// `limits.memory`: a backlog takes an eighth of it, some 10,000 messages.
const MEMORY: &str = "64MB";
/// The route's window: twice as many are claimed ahead of a tenant that comes.
const WINDOW: u16 = 10;
/// The route's rate, so that the backlog stays one.
const RATE: u16 = 400;
/// Segments of one tenant's turn.
const TURN: usize = 20;

async fn offer(client: &Client, class: &str, from: usize, until: usize) {
    for first in (from..until).step_by(BATCH) {
        let messages: Vec<Value> = (first..until.min(first + BATCH))
            .map(
                |n| json!({"to": number(n), "from": "ACME", "text": "one of many", "class": class}),
            )
            .collect();
        let count = messages.len();
        let answer = client
            .post("/v1/batches", &json!({"messages": messages}))
            .await;
        assert_eq!(answer.unwrap().json()["accepted"], count, "at {first}");
    }
}

async fn scene(name: &str) -> Scene {
    let mut config = smsc_config();
    config.last_max = MANY;
    Scene::start(name, config, |setup| {
        let rate = format!("rate = \"{RATE}/s, burst 1\"");
        setup.routes[0] = setup.routes[0].clone().binds(1, WINDOW).with(&rate);
        setup.limits = format!("memory = {MEMORY:?}");
        setup.sections = r#"[[auth.keys]]
name = "other"
tenant = "other"
scopes = ["messages:write"]
secret = { env = "TEST_OTHER_KEY" }
[tenants.other]
senders = ["*"]
"#
        .to_owned();
    })
    .await
    .unwrap()
}

/// What `/v1/routes/main` says waits: messages of a class, and since when.
async fn queue(scene: &Scene, class: &str) -> (u64, Option<String>) {
    let route = scene.client.json("/v1/routes/main").await.unwrap();
    let depth = route["queue"]["depth"][class].as_u64().unwrap();
    let oldest = route["queue"]["oldest"].as_str().map(str::to_owned);
    (depth, oldest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_little_to_send_does_not_wait_for_one_with_much() {
    shares_fairly("fair-share-retry", "transactional").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_under_hold() {
    shares_fairly("fair-share-hold", "promotional").await;
}

async fn shares_fairly(name: &str, class: &str) {
    let mut scene = scene(name).await;
    offer(&scene.client, class, 0, MANY).await;
    // What is out is queued until it is settled; and time passes between the looks, and until an answer is
    // on disk.
    let most = MANY as u64 - scene.smsc.report().accepted + u64::from(RATE);
    let (depth, oldest) = queue(&scene, class).await;
    let least = MANY as u64 - scene.smsc.report().accepted;
    assert!((least..=most).contains(&depth), "{least}, {depth}, {most}");
    assert!(oldest.is_some());

    offer(&scene.client.with_key(OTHER_KEY), class, MANY, MANY + FEW).await;
    let before = scene.smsc.messages().len();
    let few: Vec<String> = (MANY..MANY + FEW)
        .map(|n| number(n)[1..].to_owned())
        .collect();
    let order = wait_for("the few at the carrier", SOON, async || {
        let seen = scene.smsc.messages().into_iter().map(|m| m.dest.2);
        let seen: Vec<String> = seen.collect();
        let all = few.iter().all(|to| seen.contains(to));
        all.then_some(seen)
    })
    .await;
    let place = |to: &String| order.iter().position(|seen| seen == to).unwrap();
    let places: Vec<usize> = few.iter().map(place).collect();
    let (last, window) = (places.iter().max().unwrap(), usize::from(WINDOW));
    eprintln!("{before} before, the last of {FEW} as number {last}");
    // From when all are accepted half of what goes out is theirs, but for what was claimed ahead, a turn,
    // and what the carrier had not read yet when it was asked.
    let fair = before + 2 * FEW + 2 * window + TURN + window;
    assert!(*last <= fair, "{last}, {fair} would be fair");
    assert!(places.is_sorted(), "a tenant's order holds");
    let many: Vec<&String> = order.iter().filter(|to| !few.contains(*to)).collect();
    assert!(
        many.iter()
            .enumerate()
            .all(|(n, to)| **to == number(n)[1..]),
        "so does the other's"
    );

    scene.restart(false).await.unwrap();
    let left = (MANY + FEW) as u64 - scene.smsc.report().accepted;
    wait_for("the depth to be told", SOON, async || {
        let depth = queue(&scene, class).await.0;
        let now = (MANY + FEW) as u64 - scene.smsc.report().accepted;
        (depth <= left && depth >= now).then_some(())
    })
    .await;
    // It is set a moment after the start, and then again and again.
    let gauge = format!("trunkline_route_queue_messages{{route=\"main\",class=\"{class}\"}}");
    wait_for(&gauge, SOON, async || {
        let metrics = scene.gateway.admin_client().get("/metrics").await.ok()?;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        text.contains(&gauge).then_some(())
    })
    .await;
}
