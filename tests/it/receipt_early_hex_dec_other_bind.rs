//! Receipts the hard way: before the response, doubled, on another bind, with the id in the other
//! base; they find their message all the same.

use serde_json::json;
use sim::smsc::{Faults, IdForm, ReceiptId, Receipts, SmscConfig};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{SOON, Scene, message};

async fn delivered_all_the_same(name: &str, ids: IdForm, receipts: Receipts, format: &str) {
    let faults = Faults {
        receipts,
        ..Faults::default()
    };
    let config = SmscConfig {
        ids,
        faults,
        ..smsc_config()
    };
    let scene = Scene::start(name, config, |setup| {
        let route = setup.routes[0].clone().binds(3, 20);
        setup.routes[0] = route.with(&format!("receipts = {{ id_format = \"{format}\" }}"));
    })
    .await
    .unwrap();
    let messages: Vec<_> = (0..60).map(|n| message(&number(n), "hello")).collect();
    let answer = scene
        .client
        .post("/v1/batches", &json!({"messages": messages}))
        .await
        .unwrap();
    assert_eq!(answer.json()["accepted"], 60);
    let all = |report: &sim::receiver::Report| report.messages_delivered == 60;
    let report = scene.receiver.wait_until(all, SOON).await.unwrap();
    assert_eq!(report.type_repeats, 0, "a doubled receipt changes nothing");
    assert_eq!(scene.smsc.report().duplicates, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_response() {
    let receipts = Receipts {
        before_response: true,
        ..Receipts::default()
    };
    delivered_all_the_same("early", IdForm::Decimal, receipts, "auto").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_response_doubled_on_another_bind_in_decimal() {
    let receipts = Receipts {
        before_response: true,
        doubled: true,
        other_bind: true,
        id: ReceiptId::OtherBase,
        ..Receipts::default()
    };
    delivered_all_the_same("hexdec", IdForm::Hex, receipts, "hex-to-dec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_hex_by_itself_found_out() {
    let receipts = Receipts {
        other_bind: true,
        id: ReceiptId::OtherBase,
        ..Receipts::default()
    };
    delivered_all_the_same("auto", IdForm::Decimal, receipts, "auto").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_another_case_with_tlvs_only() {
    let receipts = Receipts {
        without_text: true,
        id: ReceiptId::UpperCase,
        ..Receipts::default()
    };
    delivered_all_the_same("tlvs", IdForm::Hex, receipts, "auto").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn negative_receipts_end_a_message_each_in_its_own_word() {
    let scene = Scene::plain("negative").await.unwrap();
    for (to, status) in [
        ("+46700000001", "undelivered"),
        ("+46700000003", "expired"),
        ("+46700000004", "undelivered"),
        ("+46700000005", "undelivered"),
    ] {
        let id = scene.send(&message(to, "bad luck")).await;
        let ended = scene.status(&id, status).await;
        assert_eq!(ended["final"], true, "{to}");
        scene.event(&id, &format!("message.{status}")).await;
    }
}
