//! Throttled order: a route that backs off, on several binds, loses nothing, doubles nothing, and
//! brings each recipient's messages in the order in which they were accepted.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sim::smsc::{ErrorShare, Faults, RefusedDest, Smsc};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{SOON, Scene, wait_for};

/// ESME_RSYSERR: once more on this route.
const AGAIN: u32 = 0x08;
/// ESME_RMSGQFUL.
const QUEUE_FULL: u32 = 0x14;
/// ESME_RTHROTTLED.
const THROTTLED: u32 = 0x58;

/// `each` messages to each of so many recipients, by turns; the text tells which one it is.
fn batch(recipients: usize, each: usize) -> Value {
    let message = |n: usize| {
        let text = format!("{:04}", n / recipients);
        json!({"to": number(n % recipients), "from": "ACME", "text": text})
    };
    let messages: Vec<Value> = (0..recipients * each).map(message).collect();
    json!({"messages": messages})
}

/// What the carrier took, by recipient, in the order it came.
fn taken(smsc: &Smsc) -> BTreeMap<String, Vec<String>> {
    let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for seen in smsc.messages().into_iter().filter(|seen| seen.status == 0) {
        let text = String::from_utf8_lossy(&seen.short_message).into_owned();
        taken.entry(seen.dest.2).or_default().push(text);
    }
    taken
}

fn in_order(smsc: &Smsc, recipients: usize, each: usize) {
    let taken = taken(smsc);
    assert_eq!(taken.len(), recipients);
    let wanted: Vec<String> = (0..each).map(|n| format!("{n:04}")).collect();
    for (to, texts) in taken {
        assert_eq!(texts, wanted, "{to}");
    }
}

/// The config promises ten times what the carrier takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_finds_what_its_carrier_takes() {
    let mut config = smsc_config();
    config.faults.per_second = Some(40);
    let scene = Scene::start("throttled-order", config, |setup| {
        let route = setup.routes[0].clone().binds(2, 10);
        setup.routes[0] = route.with("rate = \"400/s\"");
    })
    .await
    .unwrap();
    scene
        .client
        .post("/v1/batches", &batch(60, 5))
        .await
        .unwrap();
    let limited = wait_for("the route to be limited", SOON, async || {
        let route = scene.client.json("/v1/routes/main").await.ok()?;
        // A first refusal that comes alone, more than a second after the last acceptance, does not tell
        // yet how much the carrier takes: then the next one does.
        let limited = route["rate"]["limited_by"] == "throttled"
            && route["rate"]["effective"].as_f64()? < 100.0
            && route["window_effective"].as_u64()? < route["window"].as_u64()?;
        limited.then_some(route)
    })
    .await;
    assert_eq!(limited["rate"]["configured"], 400.0);
    assert!(limited["throttle"]["last_minute"].as_u64().unwrap() > 0);
    let all = |report: &sim::receiver::Report| report.messages_delivered == 300;
    scene.receiver.wait_until(all, SOON).await.unwrap();
    let report = scene.smsc.report();
    assert_eq!((report.unique, report.duplicates), (300, 0));
    // The first burst, at most two windows, and now and then one; on a busy machine a carrier's second
    // has now and then what waited in its sockets, a window at most. A route that finds no rate has each
    // of the messages refused several times.
    assert!(report.throttled < 150, "{report:?}");
    in_order(&scene.smsc, 60, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_carrier_refuses_the_order_holds() {
    let mut config = smsc_config();
    let share = |status, share| ErrorShare { status, share };
    config.faults.errors = vec![share(THROTTLED, 0.05), share(AGAIN, 0.05)];
    config.faults.jitter_ms = 20;
    let scene = Scene::start("refused-order", config, |setup| {
        let route = setup.routes[0].clone().binds(3, 10);
        setup.routes[0] = route.with("throttle = { pause = \"100ms\", pause_max = \"200ms\" }");
    })
    .await
    .unwrap();
    scene
        .client
        .post("/v1/batches", &batch(20, 6))
        .await
        .unwrap();
    let all = |report: &sim::receiver::Report| report.messages_delivered == 120;
    scene.receiver.wait_until(all, SOON * 2).await.unwrap();
    let report = scene.smsc.report();
    assert!(report.throttled > 0 && report.rejected > 0, "{report:?}");
    assert_eq!((report.unique, report.duplicates), (120, 0));
    in_order(&scene.smsc, 20, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_whose_queue_is_full_waits_alone() {
    let mut config = smsc_config();
    let to = number(0).trim_start_matches('+').to_owned();
    config.faults.refused = vec![RefusedDest {
        to: to.clone(),
        status: QUEUE_FULL,
    }];
    let scene = Scene::start("queue-full", config, |_| {}).await.unwrap();
    scene
        .client
        .post("/v1/batches", &batch(20, 3))
        .await
        .unwrap();
    let others = |report: &sim::receiver::Report| report.messages_delivered == 57;
    scene.receiver.wait_until(others, SOON).await.unwrap();
    let waits = wait_for("the recipient to wait", SOON, async || {
        let route = scene.client.json("/v1/routes/main").await.ok()?;
        // The others' last answers may still be on their way into the store, and hold the route for as
        // long as that takes.
        let ready = route["throttle"]["destinations_waiting"] == 1
            && route["throttle"]["messages_behind"] == 2
            && route["hold_reason"] == "backoff";
        ready.then_some(route)
    })
    .await;
    assert_eq!(waits["queue"]["depth"]["transactional"], 3);
    // The first one waits for its next try. Of those behind it nobody knows here that they are: what holds
    // the route is not said of them.
    let queued = scene.client.json("/v1/messages?status=queued").await;
    let queued = queued.unwrap()["data"].take();
    let mut told = Vec::new();
    for message in queued.as_array().unwrap().iter().rev() {
        let id = message["id"].as_str().unwrap();
        let message = scene.client.message(id).await.unwrap();
        told.push(message["waits_for"].clone());
    }
    assert_eq!(told.len(), 3, "{queued}");
    let own = &told[0][0];
    assert_eq!(
        (&own["route"], &own["hold_reason"]),
        (&json!("main"), &json!("backoff"))
    );
    assert!(own["due"].is_string(), "{own}");
    assert_eq!(told[1..], [Value::Null, Value::Null]);
    // It was asked twice, and not for each of its messages.
    let asked = scene.smsc.messages();
    let asked = asked.iter().filter(|seen| seen.dest.2 == to).count();
    assert_eq!(asked, 2);
    assert!(!taken(&scene.smsc).contains_key(&to));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_tells_of_congestion_is_given_less() {
    let mut config = smsc_config();
    config.faults.congestion = Some(95);
    let scene = Scene::start("congestion", config, |setup| {
        setup.routes[0] = setup.routes[0].clone().with("rate = \"100/s, burst 5\"");
    })
    .await
    .unwrap();
    scene
        .client
        .post("/v1/batches", &batch(200, 1))
        .await
        .unwrap();
    let slower = async || {
        let route = scene.client.json("/v1/routes/main").await.ok()?;
        let slower = route["rate"]["limited_by"] == "congestion"
            && route["rate"]["effective"].as_f64()? < 90.0;
        slower.then_some(())
    };
    wait_for("a lower rate", SOON, slower).await;
    scene.smsc.set(Faults::default());
    let all = |report: &sim::receiver::Report| report.messages_delivered == 200;
    scene.receiver.wait_until(all, SOON).await.unwrap();
    assert_eq!(scene.smsc.report().throttled, 0);
}
