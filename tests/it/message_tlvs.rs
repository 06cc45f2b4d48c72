//! A message's own TLVs: checked against the routes at acceptance, kept over a kill -9, and in every
//! submit, where they win over the route's.

use serde_json::{Value, json};
use sim::smsc::ErrorShare;
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{SOON, Scene, wait_for};

/// ESME_RTHROTTLED, SMPP v3.4 §5.1.3.
const THROTTLED: u32 = 0x58;

const DICTIONARY: &str = r#"
[routes.main.tlvs.pe]
tag = 0x1400
type = "cstring"
direction = "out"
value = "1101"
[routes.main.tlvs.kind]
tag = 0x1401
type = "u16"
direction = "both"
"#;

fn long(tlv: Value) -> Value {
    json!({
        "to": number(1), "from": "ACME",
        "content": {"text": "two parts ".repeat(20), "sms": {"tlv": tlv}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_messages_tlvs_survive_a_kill_and_are_in_every_submit() {
    let mut config = smsc_config();
    let usual = config.faults.clone();
    config.faults.errors = vec![ErrorShare {
        status: THROTTLED,
        share: 1.0,
    }];
    let mut scene = Scene::start("message-tlvs", config, |setup| {
        setup.sections = DICTIONARY.to_owned();
    })
    .await
    .unwrap();
    let tlvs = json!({"pe": "2202", "kind": 258, "0x1402": "00ff"});
    let id = scene.send(&long(tlvs)).await;
    wait_for("a first try", SOON, async || {
        (!scene.smsc.messages().is_empty()).then_some(())
    })
    .await;
    scene.restart(true).await.unwrap();
    scene.smsc.set(usual);
    scene.status(&id, "delivered").await;
    let seen = scene.smsc.messages();
    let accepted = seen.iter().filter(|seen| seen.status == 0).count();
    assert_eq!(accepted, 2, "both parts");
    let own = [
        &[0x14, 0x02, 0, 2, 0, 0xFF][..],
        &[0x14, 0x01, 0, 2, 1, 2],
        b"\x14\x00\x00\x052202\0",
    ]
    .concat();
    for part in seen {
        assert_eq!(part.tlvs, own);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tlv_that_the_route_does_not_know_is_refused_at_once() {
    let scene = Scene::start("message-tlvs-unknown", smsc_config(), |setup| {
        setup.sections = DICTIONARY.to_owned();
    })
    .await
    .unwrap();
    for (tlv, name, code) in [
        (json!({"te": "1"}), "te", "unknown_tlv"),
        (json!({"kind": "1"}), "kind", "invalid_value"),
        (json!({"pe": "1", "0x1400": "00"}), "pe", "duplicate_key"),
    ] {
        let answer = scene.client.post("/v1/messages", &long(tlv)).await.unwrap();
        assert_eq!(answer.status, 422);
        let error = &answer.json()["errors"][0];
        assert_eq!(error["pointer"], format!("/content/sms/tlv/{name}"));
        assert_eq!(error["code"], code);
        if code != "duplicate_key" {
            assert!(error["detail"].as_str().unwrap().contains("route main"));
        }
    }
    assert!(scene.smsc.messages().is_empty());
}
