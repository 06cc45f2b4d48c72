//! Push: one message to devices of both platforms, on to SMS when nobody takes it, and a kill on the way.

use std::time::Duration;

use serde_json::{Value, json};
use sim::push::apns::ApnsConfig;
use sim::push::fcm::FcmConfig;
use trunkline_tests::push::{Push, android, ios, push_then_sms};
use trunkline_tests::{SOON, wait_for};

async fn start(name: &str, apns: ApnsConfig) -> Push {
    let services = (apns, FcmConfig::default());
    Push::start(name, services, "").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_both_platforms_get_one_message_and_no_sms_follows() {
    let push = start("push-both", ApnsConfig::default()).await;
    let (phone, tablet) = (format!("{:064x}", 1), "android-token-1");
    let body = push_then_sms(vec![ios(&phone), android(tablet)]);
    let id = push.scene.send(&body).await;
    let sent = push.scene.status(&id, "sent").await;
    assert_eq!(
        (&sent["final"], &sent["channel"]),
        (&json!(true), &json!("push"))
    );
    assert_eq!(sent["receipt"], "none");
    let results: Vec<&Value> = sent["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| &device["result"])
        .collect();
    assert_eq!(results, ["sent", "sent"], "{sent}");
    push.scene.event(&id, "message.sent").await;
    assert_eq!(push.apns.token(&phone).accepted, 1);
    assert_eq!(push.fcm.token(tablet).accepted, 1);
    assert_eq!(push.scene.smsc.report().submits, 0);
    let route: Value = push.scene.client.json("/v1/routes/apns").await.unwrap();
    assert_eq!(
        (&route["type"], &route["state"]),
        (&json!("apns"), &json!("up"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_services_refuse_goes_out_as_sms_on_one_timeline() {
    let push = start("push-sms", ApnsConfig::default()).await;
    // Gone, by the simulators' tables.
    let gone = format!("41000000{:056x}", 1);
    let body = push_then_sms(vec![ios(&gone)]);
    let id = push.scene.send(&body).await;
    let delivered = push.scene.status(&id, "delivered").await;
    assert_eq!(
        (&delivered["channel"], &delivered["step"]),
        (&json!("sms"), &json!(1))
    );
    assert_eq!(delivered["devices"][0]["result"], "rejected");
    let reason = &delivered["devices"][0]["reason"];
    assert_eq!(reason["code"], "device_unregistered");
    assert_eq!(reason["provider"]["protocol"], "apns");
    assert_eq!(reason["provider"]["http"], 410);
    for kind in [
        "device.unregistered",
        "message.fallback_started",
        "message.delivered",
    ] {
        push.scene.event(&id, kind).await;
    }
    let smsc = push.scene.smsc.report();
    assert_eq!((smsc.submits, push.apns.token(&gone).requests), (1, 1));
    // In the service's own words, where a carrier's would be SMPP's.
    wait_for("the route's own words", SOON, async || {
        let route: Value = push.scene.client.json("/v1/routes/apns").await.unwrap();
        let shown = route["links"][0]["state"] == "connected"
            && route["last_refusal"]["code"] == "410"
            && route.get("receipts").is_none();
        shown.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_the_way_no_push_is_lost_and_a_second_copy_is_told_of() {
    let apns = ApnsConfig {
        common: sim::push::Config {
            latency_ms: 20,
            ..sim::push::Config::default()
        },
        ..ApnsConfig::default()
    };
    let mut push = start("push-kill", apns).await;
    let tokens: Vec<String> = (0..400).map(|number| format!("{number:064x}")).collect();
    let mut ids = Vec::new();
    for token in &tokens {
        let body = json!({
            "to": {"devices": [ios(token)]},
            "content": {"push": {"title": "Ready"}},
            "policy": {"on_ambiguous": "retry"},
        });
        ids.push(push.scene.send(&body).await);
    }
    push.apns
        .until(SOON, |report| report.accepted > 20)
        .await
        .unwrap();
    push.scene.restart(true).await.unwrap();
    for (id, token) in ids.iter().zip(&tokens) {
        let sent = push.scene.status(id, "sent").await;
        let accepted = push.apns.token(token).accepted;
        assert!(accepted >= 1, "{sent}");
        assert!(
            accepted == 1 || sent["duplicate_possible"] == true,
            "{sent}"
        );
    }
    let report = push.apns.report();
    assert_eq!(report.stream_limit_violations, 0);
    tokio::time::timeout(Duration::from_secs(20), push.scene.gateway.stop())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_has_more_to_send_than_one_connection_takes_opens_others() {
    let apns = ApnsConfig {
        common: sim::push::Config {
            latency_ms: 50,
            streams: 10,
            ..sim::push::Config::default()
        },
        ..ApnsConfig::default()
    };
    let push = start("push-grows", apns).await;
    // 200 a second on one connection: enough for ten seconds.
    let messages: Vec<Value> = (0..2_000)
        .map(|number| {
            json!({
                "to": {"devices": [ios(&format!("{number:064x}"))]},
                "content": {"push": {"title": "Ready"}},
            })
        })
        .collect();
    for some in messages.chunks(500) {
        let batch = json!({ "messages": some });
        let answer = push.scene.client.post("/v1/batches", &batch).await;
        assert_eq!(answer.unwrap().status, 200);
    }
    let grown = push.apns.until(SOON, |report| report.connections_open >= 3);
    let report = grown.await.expect("more connections in time");
    assert_eq!(
        (report.tokens_doubled, report.stream_limit_violations),
        (0, 0)
    );
}
