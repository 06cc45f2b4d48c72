//! Suppressions: who asked not to be sent to is not, from the answer on, whatever happens to the process.

use hyper::Method;
use serde_json::{Value, json};
use sim::push::apns::ApnsConfig;
use sim::push::fcm::FcmConfig;
use sim::smsc::{Smsc, SmscConfig};
use trunkline_tests::config::OTHER_KEY;
use trunkline_tests::push::{Push, ios, push_then_sms};
use trunkline_tests::scene::smsc_config;
use trunkline_tests::{Answer, Client, Nobody, Route, SOON, Scene, message, wait_for};

const PATH: &str = "/v1/suppressions";

/// A second tenant beside `acme`.
const OTHER: &str = r#"
[[auth.keys]]
name = "other"
tenant = "other"
scopes = ["messages:write", "messages:read", "suppressions:read", "suppressions:write"]
secret = { env = "TEST_OTHER_KEY" }
[tenants.other]
senders = ["*"]
"#;

async fn suppress(client: &Client, phone: &str) -> Answer {
    let added = client.post(PATH, &json!({"phone": phone})).await.unwrap();
    assert_eq!(added.status, 201, "{:?}", added.body);
    added
}

async fn rejected(scene: &Scene, phone: &str) -> Value {
    let answer = scene
        .client
        .post("/v1/messages", &message(phone, "no"))
        .await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 202);
    let json = answer.json();
    assert_eq!(json["status"], "rejected", "{json}");
    assert_eq!(json["reason"]["code"], "suppressed");
    json
}

#[tokio::test(flavor = "multi_thread")]
async fn what_got_a_201_holds_after_a_kill_and_for_its_tenant_only() {
    let mut scene = Scene::start("suppressed", smsc_config(), |setup| {
        setup.sections = OTHER.to_owned();
    })
    .await
    .unwrap();
    let phone = "+46700000701";
    suppress(&scene.client, phone).await;
    scene.restart(true).await.unwrap();
    let refused = rejected(&scene, phone).await;
    scene
        .event(refused["id"].as_str().unwrap(), "message.rejected")
        .await;

    let other = scene.client.with_key(OTHER_KEY);
    let sent = other
        .post("/v1/messages", &message(phone, "yes"))
        .await
        .unwrap()
        .id();
    wait_for("the other tenant's message", SOON, async || {
        let message = other.message(&sent).await.ok()?;
        (message["status"] == "delivered").then_some(())
    })
    .await;
    assert_eq!(scene.smsc.messages().len(), 1, "only the other tenant's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_its_recipient_is_suppressed_is_never_submitted() {
    let down = Nobody::new().unwrap();
    let nobody = down.addr;
    let scene = Scene::start("suppressed-late", smsc_config(), |setup| {
        setup.routes = vec![Route::new("main", nobody)];
    })
    .await
    .unwrap();
    let (kept, sent) = ("+46700000702", "+46700000703");
    let waiting = scene.send(&message(kept, "too late")).await;
    let other = scene.send(&message(sent, "fine")).await;
    suppress(&scene.client, kept).await;
    let config = SmscConfig {
        listen: nobody,
        ..smsc_config()
    };
    let carrier = Smsc::start(config).await.unwrap();
    let ended = scene.status(&waiting, "rejected").await;
    assert_eq!(ended["reason"]["code"], "suppressed");
    scene.status(&other, "delivered").await;
    scene.event(&waiting, "message.rejected").await;
    let seen: Vec<_> = carrier
        .messages()
        .into_iter()
        .map(|seen| seen.dest.2)
        .collect();
    assert_eq!(seen, [sent.trim_start_matches('+')]);
    let log = scene.client.events("message.rejected").await.unwrap();
    assert_eq!(log.len(), 1, "told once: {log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_of_one_channel_does_not_silence_the_other() {
    let services = (ApnsConfig::default(), FcmConfig::default());
    let push = Push::start("suppressed-channel", services, "")
        .await
        .unwrap();
    let send = async |phone: &str, token: &str| {
        let mut body = push_then_sms(vec![ios(token)]);
        body["to"]["phone"] = phone.into();
        push.scene.send(&body).await
    };
    let suppress = async |phone: &str, channel: &str| {
        let scope = json!({"kind": "channel", "value": channel});
        let body = json!({"phone": phone, "scope": scope});
        let added = push.scene.client.post(PATH, &body).await.unwrap();
        assert_eq!(added.status, 201, "{:?}", added.body);
    };
    // The second one's push is refused: gone, by the simulator's tables.
    let (no_push, no_sms) = ("+46700000704", "+46700000705");
    let (phone, gone) = (format!("{:064x}", 4), format!("41000000{:056x}", 5));
    suppress(no_push, "push").await;
    suppress(no_sms, "sms").await;
    let texted = send(no_push, &phone).await;
    let pushed = send(no_sms, &phone).await;
    let nobody = send(no_sms, &gone).await;
    let delivered = push.scene.status(&texted, "delivered").await;
    assert_eq!(
        (&delivered["channel"], &delivered["step"]),
        (&json!("sms"), &json!(1))
    );
    assert_eq!(delivered["devices"][0]["reason"]["code"], "suppressed");
    push.scene.event(&texted, "message.fallback_started").await;
    let sent = push.scene.status(&pushed, "sent").await;
    assert_eq!(sent["channel"], "push");
    let rejected = push.scene.status(&nobody, "rejected").await;
    assert_eq!(rejected["reason"]["code"], "suppressed");
    push.scene.event(&nobody, "message.rejected").await;
    assert_eq!(push.apns.token(&phone).requests, 1, "the second one's");
    assert_eq!(push.apns.token(&gone).requests, 1);
    let submitted = push.scene.smsc.messages();
    let submitted: Vec<_> = submitted.iter().map(|one| one.dest.2.as_str()).collect();
    assert_eq!(submitted, [no_push.trim_start_matches('+')]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_in_and_comes_out_and_holds_after_a_kill() {
    let mut scene = Scene::plain("suppressed-file").await.unwrap();
    let mut file = String::from("phone,text\r\n");
    for number in 0..3_000 {
        file.push_str(&format!("+4670{number:07},=old\r\n"));
    }
    let import = async |client: &Client, file: Vec<u8>| {
        let headers = [("content-type", "text/csv")];
        let path = format!("{PATH}/import");
        let answer = client.request(Method::POST, &path, &headers, file).await;
        answer.unwrap().json()
    };
    let first = import(&scene.client, file.into_bytes()).await;
    let expected = json!({"accepted": 3_000, "already_there": 0, "rejected": 0, "errors": []});
    assert_eq!(first, expected);
    scene.restart(true).await.unwrap();
    rejected(&scene, "+46700002999").await;
    let headers = [("accept", "text/csv")];
    let export = scene.client.request(Method::GET, PATH, &headers, "").await;
    let export = export.unwrap().body;
    let lines = export.split(|octet| *octet == b'\n').count();
    assert_eq!(lines, 3_000 + 2, "a header, the lines, and their last end");
    let again = import(&scene.client, export.to_vec()).await;
    let expected = json!({"accepted": 0, "already_there": 3_000, "rejected": 0, "errors": []});
    assert_eq!(again, expected);
    assert_eq!(scene.smsc.messages().len(), 0);
}
