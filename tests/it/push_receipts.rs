//! Receipts from apps: told with a key, or with the token that came in the push; and lost by no kill.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use sim::push::apns::ApnsConfig;
use sim::push::fcm::FcmConfig;
use trunkline_tests::http::Answer;
use trunkline_tests::push::{Push, android, ios};

const APP: &str = "android-token-1";

fn phone() -> String {
    format!("{:064x}", 1)
}

/// A gateway whose simulated services keep what they saw.
async fn start(name: &str, lines: &str) -> Push {
    let common = || sim::push::Config {
        last_max: 100,
        ..sim::push::Config::default()
    };
    let apns = ApnsConfig {
        common: common(),
        ..ApnsConfig::default()
    };
    let fcm = FcmConfig {
        common: common(),
        ..FcmConfig::default()
    };
    Push::start(name, (apns, fcm), lines).await.unwrap()
}

async fn send(push: &Push) -> String {
    let body = json!({
        "to": {"devices": [ios(&phone()), android(APP)]},
        "content": {"push": {"title": "Ready"}},
        "receipts": "app",
    });
    push.scene.send(&body).await
}

/// Tells what an app tells; with a token instead of the key where there is one.
async fn tell(push: &Push, id: &str, token: Option<&str>, body: &Value) -> Answer {
    let client = &push.scene.client;
    let client = token.map_or_else(|| client.clone(), |token| client.with_key(token));
    let path = format!("/v1/messages/{id}/receipts");
    let headers = [("content-type", "application/json")];
    let told = client.request(Method::POST, &path, &headers, body.to_string());
    told.await.unwrap()
}

/// What the app finds in the push of each platform: the message's id and its token.
fn in_push(push: &Push, id: &str) -> [String; 2] {
    let bodies = |requests: Vec<sim::push::Seen>| {
        requests
            .into_iter()
            .filter_map(|seen| serde_json::from_str::<Value>(&seen.body).ok())
            .collect::<Vec<_>>()
    };
    let own = |data: &&Value| data["trunkline_message_id"] == id;
    let token = |data: &Value| {
        let token = data["trunkline_receipt_token"].as_str();
        token.unwrap().to_owned()
    };
    let apns = bodies(push.apns.requests());
    let apns = apns.iter().find(own).unwrap();
    assert_eq!(apns["aps"]["mutable-content"], 1, "the extension is called");
    let fcm = bodies(push.fcm.requests());
    let fcm = fcm.iter().map(|body| &body["message"]["data"]);
    let fcm = fcm.into_iter().find(|data| own(data)).unwrap();
    [token(apns), token(fcm)]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_tells_with_the_token_of_its_push_and_a_platform_with_its_key() {
    let push = start("push-receipts", "").await;
    let id = send(&push).await;
    let sent = push.scene.status(&id, "sent").await;
    assert_eq!(
        (&sent["final"], &sent["receipt"]),
        (&json!(false), &json!("pending"))
    );
    let told = push.scene.event(&id, "message.sent").await;
    assert_eq!(told["data"]["final"], false);
    let [phone_token, app_token] = in_push(&push, &id);
    assert_ne!(phone_token, app_token, "each device has its own");

    let delivered = json!({"event": "delivered"});
    let answer = tell(&push, &id, Some(&app_token), &delivered).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json()["results"][0]["device"], 1);
    let event = push.scene.event(&id, "message.delivered").await;
    assert_eq!(event["data"]["evidence"], "device_sdk");
    assert_eq!(
        event["data"]["app_receipt"]["device"]["platform"],
        "android"
    );
    let again = tell(&push, &id, Some(&app_token), &delivered).await;
    assert_eq!(again.json()["results"][0]["result"], "repeated");

    let opened = json!({"event": "opened", "device": {"token": phone()}});
    let answer = tell(&push, &id, None, &opened).await;
    assert_eq!(answer.json()["status"], "read", "{}", answer.json());
    let event = push.scene.event(&id, "message.read").await;
    assert_eq!(event["data"]["app_receipt"]["device"]["platform"], "ios");

    // Another message's token, another's device, and what is no token at all.
    let other = send(&push).await;
    push.scene.status(&other, "sent").await;
    for (token, body, status) in [
        (&app_token, json!({"event": "opened"}), 401),
        (&"rct_x".to_owned(), json!({"event": "opened"}), 401),
        (
            &in_push(&push, &other)[0],
            json!({"event": "opened", "device": {"index": 1}}),
            422,
        ),
    ] {
        let answer = tell(&push, &other, Some(token), &body).await;
        assert_eq!(answer.status, status, "{}", answer.json());
    }
    let unscoped = trunkline_tests::config::OPERATOR_KEY;
    let answer = tell(&push, &other, Some(unscoped), &opened).await;
    assert_eq!(answer.status, 403, "{}", answer.json());
    let stands = push.scene.client.message(&other).await.unwrap();
    assert_eq!(stands["status"], "sent", "nothing of that counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_kill_and_the_token_is_still_good() {
    let mut push = start("push-receipts-kill", "").await;
    let mut told = Vec::new();
    for round in 0..8 {
        let id = send(&push).await;
        push.scene.status(&id, "sent").await;
        let token = in_push(&push, &id)[round % 2].clone();
        let answer = tell(&push, &id, Some(&token), &json!({"event": "displayed"})).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        told.push((id, token, round % 2));
    }
    push.scene.restart(true).await.unwrap();
    for (id, token, device) in &told {
        let message = push.scene.client.message(id).await.unwrap();
        assert_eq!(
            (&message["status"], &message["final"]),
            (&json!("read"), &json!(true))
        );
        let receipts = &message["devices"][*device]["receipts"];
        assert_eq!(receipts[0]["event"], "displayed", "{message}");
        let again = tell(&push, id, Some(token), &json!({"event": "displayed"})).await;
        assert_eq!(again.json()["results"][0]["result"], "repeated");
        let opened = tell(&push, id, Some(token), &json!({"event": "opened"})).await;
        assert_eq!(opened.json()["results"][0]["result"], "recorded");
    }
    tokio::time::timeout(Duration::from_secs(20), push.scene.gateway.stop())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_tells_nothing_in_time_leaves_it_sent_for_good() {
    let push = start("push-receipts-timeout", "receipts = { timeout = \"1s\" }").await;
    let id = send(&push).await;
    let last = trunkline_tests::wait_for("sent to be final", trunkline_tests::SOON, async || {
        let message = push.scene.client.message(&id).await.ok()?;
        (message["final"] == true).then_some(message)
    })
    .await;
    assert_eq!(
        (&last["status"], &last["receipt"]),
        (&json!("sent"), &json!("none"))
    );
    assert!(last["reason"].is_null(), "{last}");
    // Told once more, now that it is final.
    trunkline_tests::wait_for(
        "the second message.sent",
        trunkline_tests::SOON,
        async || {
            let events = trunkline_tests::scene::received(&push.scene.receiver);
            let own = |event: &&Value| {
                event["type"] == "message.sent" && event["data"]["message_id"] == *id
            };
            let last = events
                .iter()
                .filter(own)
                .map(|event| event["data"]["final"] == true);
            last.into_iter().any(|is_final| is_final).then_some(())
        },
    )
    .await;
    // Late news are news all the same.
    let token = &in_push(&push, &id)[0];
    let answer = tell(&push, &id, Some(token), &json!({"event": "delivered"})).await;
    assert_eq!(answer.json()["status"], "delivered", "{}", answer.json());
    let event = push.scene.event(&id, "message.delivered").await;
    assert_eq!(event["data"]["late"], true);
}
