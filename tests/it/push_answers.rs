//! Push answers: what a service says of a push is what its sender reads, in the message and in its events.

use serde_json::{Value, json};
use sim::push::apns::ApnsConfig;
use sim::push::fcm::FcmConfig;
use trunkline_tests::push::{Push, android, ios};

async fn start(name: &str, lines: &str) -> Push {
    let services = (ApnsConfig::default(), FcmConfig::default());
    Push::start(name, services, lines).await.unwrap()
}

fn to(devices: &[Value], policy: &str) -> Value {
    json!({
        "to": {"devices": devices}, "content": {"push": {"title": "Ready"}},
        "policy": {"on_ambiguous": policy},
    })
}

/// push.md §1.7. The simulator's: 200 and then RST_STREAM, or no end of the answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_200_began_to_accept_is_sent_once_by_both_services() {
    let push = start("push-200", "request_timeout = \"1s\"").await;
    let mut sent = Vec::new();
    for (number, prefix) in ["4e5e0003", "4a1f0000"].into_iter().enumerate() {
        for policy in ["retry", "hold"] {
            let token = format!("{prefix}{number:056x}");
            for device in [ios(&token), android(&token)] {
                sent.push((push.scene.send(&to(&[device], policy)).await, token.clone()));
            }
        }
    }
    for (id, _) in &sent {
        let message = push.scene.status(id, "sent").await;
        let state = (&message["attempts"], &message["duplicate_possible"]);
        assert_eq!(state, (&json!(1), &json!(false)), "{message}");
    }
    for (_, token) in &sent {
        // One under each policy.
        assert_eq!(push.fcm.token(token).accepted, 2, "{token}");
        assert_eq!(push.apns.token(token).accepted, 2, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_told_as_such_and_in_the_services_words() {
    let push = start("push-words", "").await;
    let token = |prefix: &str| format!("{prefix}{:056x}", 1);
    for (device, code, text) in [
        (
            android(&token("40000001")),
            "INVALID_ARGUMENT",
            "message.data[0].value: ",
        ),
        (ios(&token("40000003")), "BadPriority", ""),
    ] {
        let id = push.scene.send(&to(&[device], "retry")).await;
        let failed = push.scene.status(&id, "failed").await;
        let event = push.scene.event(&id, "message.failed").await;
        let path = format!("/v1/messages/{id}/timeline");
        let timeline = push.scene.client.json(&path).await.unwrap();
        let attempt = &timeline["data"][1]["provider"];
        for reason in [
            &failed["reason"],
            &failed["devices"][0]["reason"],
            &event["data"]["reason"],
        ] {
            assert_eq!(reason["category"], "content", "{reason}");
            assert_eq!(reason["permanent"], true, "{reason}");
            for said in [&reason["provider"], attempt] {
                assert_eq!(said["code"], code, "{said}");
                let words = said["text"].as_str().unwrap_or_default();
                assert!(words.starts_with(text), "{said}");
                assert_eq!(words.is_empty(), text.is_empty(), "{said}");
            }
        }
    }
    // A front end's page is no code.
    let mut page = to(&[android(&token("50200000"))], "retry");
    page["class"] = "otp".into();
    let id = push.scene.send(&page).await;
    let failed = push.scene.status(&id, "failed").await;
    let said = &failed["reason"]["provider"];
    assert_eq!((&said["http"], said.get("code")), (&json!(502), None));
    assert!(
        said["text"]
            .as_str()
            .unwrap()
            .starts_with("<!DOCTYPE html>")
    );
}

/// push.md R12.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_to_delete_a_token_that_is_newer_than_the_services_word() {
    let push = start("push-newer", "").await;
    let before = push
        .scene
        .send(&to(&[ios(&format!("{:064x}", 2))], "retry"))
        .await;
    let mut device = ios(&format!("41000002{:056x}", 1));
    // A time that is past, and after the one that the simulator names.
    device["registered_at"] =
        push.scene.client.message(&before).await.unwrap()["accepted_at"].clone();
    let mut message = to(&[device], "retry");
    message["class"] = "otp".into();
    let id = push.scene.send(&message).await;
    let failed = push.scene.status(&id, "failed").await;
    for reason in [&failed["reason"], &failed["devices"][0]["reason"]] {
        assert_eq!(reason["code"], "provider_error", "{failed}");
        assert_eq!(reason["permanent"], false, "{failed}");
        assert_eq!(reason["provider"]["http"], 410, "{failed}");
    }
    let events = push.scene.client.events("device.unregistered").await;
    assert_eq!(events.unwrap(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_views_name_the_same_route_and_each_device_its_own() {
    let push = start("push-route", "").await;
    let (phone, tablet) = (ios(&format!("{:064x}", 1)), android("android-token-1"));
    for (devices, route) in [
        (vec![phone.clone(), tablet.clone()], None),
        (vec![phone], Some("apns")),
        (vec![tablet], Some("fcm")),
    ] {
        let id = push.scene.send(&to(&devices, "retry")).await;
        let message = push.scene.status(&id, "sent").await;
        let event = push.scene.event(&id, "message.sent").await;
        for told in [&message, &event["data"]] {
            assert_eq!(told.get("route").and_then(Value::as_str), route, "{told}");
            for device in told["devices"].as_array().unwrap() {
                let own = match device["platform"] == "ios" {
                    true => "apns",
                    false => "fcm",
                };
                assert_eq!(device["route"], own, "{told}");
            }
        }
    }
}
