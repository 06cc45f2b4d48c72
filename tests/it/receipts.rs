//! Receipts as a route's keys say they come: of one part only, with codes that a map explains, and
//! those that never find a message.

use std::time::Duration;

use serde_json::{Value, json};
use sim::smsc::{FromHandset, Receipts, SmscConfig};
use trunkline_tests::config::OPERATOR_KEY;
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Directory, Gateway, SOON, Scene, ahead, message, wait_for};

async fn scene(name: &str, smsc: SmscConfig, line: &str) -> Scene {
    let change = |setup: &mut trunkline_tests::Setup| {
        setup.routes[0] = setup.routes[0].clone().with(line);
    };
    Scene::start(name, smsc, change).await.unwrap()
}

fn receipts_are(change: impl FnOnce(&mut Receipts)) -> SmscConfig {
    let mut config = smsc_config();
    change(&mut config.faults.receipts);
    config
}

/// A carrier that sends a receipt for the last part only, whatever is asked for.
fn last_only() -> SmscConfig {
    receipts_are(|receipts| receipts.last_part_only = true)
}

fn three_parts() -> Value {
    message(&number(1), &"three parts ".repeat(30))
}

/// For which parts receipts were asked, in the parts' order.
fn asked(scene: &Scene) -> Vec<u8> {
    let seen = scene.smsc.messages();
    seen.iter()
        .map(|seen| seen.registered_delivery & 3)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_for_the_last_part_alone_it_stands_for_all() {
    let scene = scene("ask-last", smsc_config(), "receipts = { ask = \"last\" }").await;
    let id = scene.send(&three_parts()).await;
    scene.status(&id, "delivered").await;
    assert_eq!(asked(&scene), [0, 0, 1]);
    assert_eq!(scene.smsc.report().receipts_sent, 1);
    scene.event(&id, "message.delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_the_last_parts_receipt_comes_it_stands_for_all() {
    let scene = scene("parts-last", last_only(), "receipts = { parts = \"last\" }").await;
    let id = scene.send(&three_parts()).await;
    scene.status(&id, "delivered").await;
    assert_eq!(asked(&scene), [1, 1, 1]);
    assert_eq!(scene.smsc.report().receipts_sent, 1);
    scene.event(&id, "message.delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_one_parts_receipt_is_not_taken_for_all() {
    let scene = scene("parts-all", last_only(), "").await;
    let id = scene.send(&three_parts()).await;
    let path = format!("/v1/messages/{id}/timeline");
    wait_for("the last part's receipt", SOON, async || {
        let timeline = scene.client.json(&path).await.ok()?;
        let mut entries = timeline["data"].as_array()?.iter();
        entries.find(|entry| entry["type"] == "receipt").map(|_| ())
    })
    .await;
    assert_eq!(scene.client.message(&id).await.unwrap()["status"], "sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_means_what_the_routes_map_says() {
    let maps = Directory::new("maps").unwrap();
    let own = maps.path().join("own.toml");
    std::fs::write(&own, "[err]\n1 = \"absent_subscriber\"\n").unwrap();
    let lines = [
        (String::new(), "unclassified"),
        (
            "error_map = \"generic-gsm\"".to_owned(),
            "unknown_subscriber",
        ),
        (format!("error_map = {own:?}"), "absent_subscriber"),
    ];
    for (line, reason) in lines {
        // Without the TLV of a GSM cause, which needs no map.
        let scene = scene(
            "error-map",
            receipts_are(|receipts| receipts.without_tlvs = true),
            &line,
        )
        .await;
        // The carrier's receipts for such numbers: UNDELIV err:001.
        let id = scene.send(&message("+46701230001", "hello")).await;
        let message = scene.status(&id, "undelivered").await;
        let told = scene.event(&id, "message.undelivered").await;
        for reasons in [&message["reason"], &told["data"]["reason"]] {
            assert_eq!(reasons["code"], reason, "{line}: {reasons}");
            assert_eq!(reasons["permanent"], reason == "unknown_subscriber");
            let provider = &reasons["provider"];
            assert_eq!(
                (&provider["status"], &provider["code"]),
                (&json!("UNDELIV"), &json!("001")),
                "the raw code stays: {reasons}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_cannot_be_read_is_shown_to_operators_as_it_came() {
    let mut scene = Scene::plain("unreadable").await.unwrap();
    let receipt = FromHandset {
        esm_class: 0x04,
        ..FromHandset::text("46701234567", "ACME", "01,0210021543,0210021500,30,id-9")
    };
    let answer = wait_for("the answer to the receipt", SOON, async || {
        scene.smsc.hand(0, receipt.clone()).await
    });
    assert_eq!(answer.await, 0, "sent again it would read no better");
    scene.gateway.kill().await.unwrap();
    let started = Gateway::try_start(&scene.directory, &[]).await;
    scene.gateway = started.unwrap().unwrap();
    let operator = scene.gateway.client().with_key(OPERATOR_KEY);
    let page = operator.json("/v1/routes/main/orphans").await.unwrap();
    let orphan = &page["data"][0];
    for (field, value) in [
        ("provider_message_id", json!("")),
        ("recipient", json!("46701234567")),
        ("state", Value::Null),
        ("text", json!("01,0210021543,0210021500,30,id-9")),
        ("why", json!("unreadable")),
    ] {
        assert_eq!(orphan[field], value, "{orphan}");
    }
    let pdu = orphan["pdu"].as_str().unwrap_or_default();
    // deliver_sm, and the end of its text.
    assert!(
        pdu.get(8..16) == Some("00000005") && pdu.ends_with("69642d39"),
        "{orphan}"
    );
    let route = operator.json("/v1/routes/main").await.unwrap();
    assert_eq!(route["receipts"]["orphans"], 1, "{route}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_finds_no_message_is_shown_to_operators() {
    let mut scene = Scene::plain("orphan").await.unwrap();
    let receipt = FromHandset {
        esm_class: 0x04,
        ..FromHandset::text(
            "46701234567",
            "ACME",
            "id:nobody-1 sub:001 dlvrd:000 submit date:2611211200 done date:2611211201 \
             stat:UNDELIV err:027 text:hello",
        )
    };
    let answer = wait_for("the answer to the receipt", SOON, async || {
        scene.smsc.hand(0, receipt.clone()).await
    });
    assert_eq!(
        answer.await,
        0,
        "it is on disk: the carrier need not keep it"
    );
    let route = scene.client.json("/v1/routes/main").await.unwrap();
    let counts = |route: &Value| {
        let receipts = &route["receipts"];
        (receipts["parked"].clone(), receipts["orphans"].clone())
    };
    assert_eq!(counts(&route), (json!(1), json!(0)), "it waits: {route}");

    // Ten minutes are what an answer may be late, and then some.
    scene.gateway.kill().await.unwrap();
    let later = ahead::environment(Duration::from_secs(660)).unwrap();
    let environment = [(later[0].0, &*later[0].1), (later[1].0, &*later[1].1)];
    let started = Gateway::try_start(&scene.directory, &environment).await;
    scene.gateway = started.unwrap().unwrap();
    scene.client = scene.gateway.client();
    let operator = scene.client.with_key(OPERATOR_KEY);
    let path = "/v1/routes/main/orphans";
    let orphans = wait_for("the orphan", SOON, async || {
        let page = operator.json(path).await.ok()?;
        (page["data"] != json!([])).then_some(page)
    })
    .await;
    let orphan = &orphans["data"][0];
    assert_eq!(orphans["data"].as_array().map(Vec::len), Some(1));
    for (field, value) in [
        ("provider_message_id", "nobody-1"),
        ("recipient", "46701234567"),
        ("state", "UNDELIV"),
        ("error", "027"),
        ("why", "no_message"),
    ] {
        assert_eq!(orphan[field], value, "{orphan}");
    }
    let text = orphan["text"].as_str().unwrap_or_default();
    assert!(text.contains("stat:UNDELIV err:027"), "{orphan}");
    let tenant = scene.client.get(path).await.unwrap();
    assert_eq!(
        (tenant.status, &tenant.json()["code"]),
        (403, &json!("tenant_mismatch"))
    );

    // It is on disk.
    scene.gateway.kill().await.unwrap();
    let started = Gateway::try_start(&scene.directory, &environment).await;
    scene.gateway = started.unwrap().unwrap();
    let operator = scene.gateway.client().with_key(OPERATOR_KEY);
    assert_eq!(operator.json(path).await.unwrap(), orphans);
    let route = operator.json("/v1/routes/main").await.unwrap();
    assert_eq!(counts(&route).1, json!(1), "{route}");
}
