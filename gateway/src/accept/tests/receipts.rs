//! What apps tell of pushes: with a key, with a push's token, and what is refused.

use codecs::push::{RECEIPT_MESSAGE_ID, RECEIPT_TOKEN};
use codecs::receipt_token::Key;

use super::*;
use crate::message::{MessageId, RouteIx};
use crate::outcome::Settle;
use crate::store::tests::accepted;

const DEVICES: &str = r#"[{"platform":"ios","app":"shop","token":"AB01"},
    {"platform":"android","app":"shop","token":"a:1"}]"#;
/// The routes of its devices, in the order of the rig's.
const ROUTES: [RouteIx; 2] = [RouteIx(2), RouteIx(3)];
const OPERATOR: (&str, &str) = ("authorization", "Bearer operator-secret");

fn push(more: &str) -> String {
    format!(r#"{{"to":{{"devices":{DEVICES}}},"content":{{"push":{{"title":"T"}}}}{more}}}"#)
}

const APP: &str = r#","receipts":"app""#;

/// A push that both services have.
async fn sent(rig: &Rig, more: &str) -> String {
    let answer = rig.post("/v1/messages", &[JSON], push(more)).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let settle = |part: usize| took(number(rig, &id), part);
    rig.gateway
        .store
        .settle(vec![settle(0), settle(1)])
        .await
        .unwrap();
    id
}

fn took(id: MessageId, part: usize) -> Settle {
    Settle {
        route: ROUTES[part],
        last: true,
        ..accepted(id, u8::try_from(part).unwrap(), "m")
    }
}

fn number(rig: &Rig, id: &str) -> MessageId {
    rig.gateway.store.ids().parse_message(id).unwrap()
}

fn token(rig: &Rig, id: &str, device: u8) -> String {
    format!(
        "Bearer {}",
        Key::new(&[7; 32]).token(number(rig, id).0, device)
    )
}

async fn tell(rig: &Rig, id: &str, auth: &str, body: &str) -> Answer {
    let headers = [JSON, ("authorization", auth)];
    rig.post(
        &format!("/v1/messages/{id}/receipts"),
        &headers,
        body.to_owned(),
    )
    .await
}

async fn shown(rig: &Rig, id: &str) -> Value {
    rig.get(&format!("/v1/messages/{id}")).await.json()
}

#[tokio::test]
async fn a_key_tells_of_any_device_and_a_token_of_its_own() {
    let rig = Rig::new();
    let id = sent(&rig, APP).await;
    let before = shown(&rig, &id).await;
    assert_eq!(
        (&before["status"], &before["final"], &before["receipt"]),
        (&"sent".into(), &false.into(), &"pending".into())
    );
    let at = "2026-11-21T08:00:00.000Z";
    let body = format!(r#"{{"event":"delivered","device":{{"index":1}},"at":"{at}"}}"#);
    let answer = tell(&rig, &id, OPERATOR.1, &body).await;
    let expected = serde_json::json!({
        "message_id": id, "status": "delivered", "final": true, "version": 3,
        "results": [{"event": "delivered", "device": 1, "result": "recorded"}],
    });
    assert_eq!((answer.status, answer.json()), (200, expected));
    let own = token(&rig, &id, 0);
    let opened = tell(&rig, &id, &own, r#"{"event":"opened"}"#).await;
    assert_eq!(opened.json()["status"], "read", "{}", opened.json());
    let again = tell(&rig, &id, &own, r#"{"event":"opened"}"#).await;
    assert_eq!(again.json()["results"][0]["result"], "repeated");
    assert_eq!(again.json()["version"], opened.json()["version"]);

    let devices = told_of_both(&rig, &id, at).await;
    events_tell(&rig, &id, &devices[0]["token_hash"]).await;
}

/// What is shown of a message that both devices told of; its devices.
async fn told_of_both(rig: &Rig, id: &str, at: &str) -> Value {
    let after = shown(rig, id).await;
    assert_eq!(
        (&after["status"], &after["receipt"]),
        (&"read".into(), &"app".into())
    );
    assert!(after["read_at"].is_string() && after["delivered_at"].is_string());
    let devices = &after["devices"];
    assert_eq!(
        (&devices[0]["result"], &devices[1]["result"]),
        (&"read".into(), &"delivered".into())
    );
    assert_eq!(devices[1]["receipts"][0]["at"], at);
    assert!(devices[0]["receipts"][0]["received_at"].is_string());
    assert_eq!(devices[0]["receipts"].as_array().unwrap().len(), 1);
    devices.clone()
}

/// What timeline and events tell of it, and never the token.
async fn events_tell(rig: &Rig, id: &str, hash: &Value) {
    let timeline = rig.get(&format!("/v1/messages/{id}/timeline")).await.json();
    let told: Vec<_> = timeline["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["type"] == "app_receipt")
        .map(|entry| {
            (
                entry["app_event"].as_str().unwrap(),
                entry["by"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("delivered", "key"), ("opened", "token")]);
    let path = format!("/v1/events?message_id={id}&types=message.*");
    let page = rig.get(&path).await.json();
    let of = |kind: &str| {
        let events = page["data"].as_array().unwrap();
        events.iter().find(|event| event["type"] == kind).unwrap()["data"].clone()
    };
    let read = of("message.read");
    assert_eq!(
        (&read["evidence"], &read["late"]),
        (&"device_sdk".into(), &false.into())
    );
    assert_eq!(read["app_receipt"]["event"], "opened");
    assert_eq!(read["app_receipt"]["device"]["index"], 0);
    assert_eq!(&read["app_receipt"]["device"]["token_hash"], hash);
    let sent = of("message.sent");
    assert_eq!(
        (&sent["final"], &sent["receipt"]),
        (&false.into(), &"pending".into())
    );
    assert!(sent["evidence"].is_null());
    let all = format!("{page}{timeline}{}", shown(rig, id).await);
    assert!(!all.contains("rct_"));
}

#[tokio::test]
async fn devices_are_named_by_index_token_or_digest_and_lists_are_whole() {
    let rig = Rig::new();
    let id = sent(&rig, APP).await;
    let hash = shown(&rig, &id).await["devices"][1]["token_hash"].to_string();
    let body = format!(
        r#"{{"receipts":[{{"event":"delivered","device":{{"token":"ab01"}}}},
            {{"event":"displayed","device":{{"token":"AB01"}}}},
            {{"event":"opened","device":{{"token_hash":{hash}}}}}]}}"#
    );
    let json = tell(&rig, &id, OPERATOR.1, &body).await.json();
    let devices: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["device"].as_u64().unwrap())
        .collect();
    assert_eq!(devices, [0, 0, 1]);
    assert_eq!(json["status"], "read");
}

#[tokio::test]
async fn what_is_wrong_is_told_where_it_stands() {
    let rig = Rig::new();
    let id = sent(&rig, APP).await;
    for (body, pointer, code) in [
        (r#"{"event":"opened"}"#, "/device", "required"),
        (r#"{"event":"opened","device":{}}"#, "/device", "exclusive"),
        (
            r#"{"event":"opened","device":{"index":0,"token":"ab01"}}"#,
            "/device",
            "exclusive",
        ),
        (
            r#"{"event":"opened","device":{"index":2}}"#,
            "/device",
            "unknown_device",
        ),
        (
            r#"{"event":"opened","device":{"token":"A:1"}}"#,
            "/device",
            "unknown_device",
        ),
        (
            r#"{"event":"seen","device":{"index":0}}"#,
            "/event",
            "not_one_of",
        ),
        (r#"{"device":{"index":0}}"#, "/event", "required"),
        (
            r#"{"event":"opened","device":{"index":0},"at":"now"}"#,
            "/at",
            "not_rfc3339",
        ),
        (r#"{"receipts":[]}"#, "/receipts", "out_of_range"),
        (
            r#"{"event":"opened","receipts":[{"event":"opened","device":{"index":0}}]}"#,
            "/event",
            "exclusive",
        ),
        (
            r#"{"receipts":[{"event":"opened","device":{"index":0}},{"event":"opened","device":{"index":9}}]}"#,
            "/receipts/1/device",
            "unknown_device",
        ),
    ] {
        let answer = tell(&rig, &id, OPERATOR.1, body).await;
        answer.is(422, "invalid_request");
        let error = &answer.json()["errors"][0];
        assert_eq!(
            (&error["pointer"], &error["code"]),
            (&pointer.into(), &code.into()),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_token_is_not_another_devices_and_bodies_are_small() {
    let rig = Rig::new();
    let id = sent(&rig, APP).await;
    let own = token(&rig, &id, 0);
    let other = r#"{"event":"opened","device":{"index":1}}"#;
    let answer = tell(&rig, &id, &own, other).await;
    assert_eq!(answer.json()["errors"][0]["code"], "not_allowed_here");
    let long = format!(r#"{{"event":"opened","at":"{}"}}"#, "x".repeat(4_096));
    tell(&rig, &id, &own, &long).await.is(413, "body_too_large");
    tell(&rig, &id, &own, r#"{"event":"opened","more":1}"#)
        .await
        .is(422, "invalid_request");
}

#[tokio::test]
async fn a_token_that_is_not_its_own_is_refused_alike_whatever_is_wrong() {
    let rig = Rig::new();
    let (id, other) = (sent(&rig, APP).await, sent(&rig, APP).await);
    let good = token(&rig, &id, 0);
    let mut shapes = Vec::new();
    for (id, token) in [
        (&*id, token(&rig, &other, 0)),
        (&id, good.replace("rct_A", "rct_B")),
        (&id, format!("{good}A")),
        (&id, "Bearer rct_".into()),
        (
            &id,
            format!(
                "Bearer {}",
                Key::new(&[8; 32]).token(number(&rig, &id).0, 0)
            ),
        ),
        // Nobody's, so that nothing is learnt from the answer.
        ("msg_00000000000000000000000000", good.clone()),
        ("x", good.clone()),
    ] {
        let answer = tell(&rig, id, &token, r#"{"event":"opened"}"#).await;
        answer.is(401, "unauthenticated");
        assert!(
            answer.headers["www-authenticate"]
                .to_str()
                .unwrap()
                .contains("invalid_token")
        );
        let mut json = answer.json();
        json["instance"].take();
        json["request_id"].take();
        assert!(!json.to_string().contains("rct_"), "{json}");
        shapes.push(json);
    }
    shapes.dedup();
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    // It opens nothing else.
    for path in ["", "/timeline"] {
        let path = format!("/v1/messages/{id}{path}");
        rig.get_as(&good, &path).await.is(401, "unauthenticated");
    }
    let crm = tell(
        &rig,
        &id,
        "Bearer crm-secret",
        r#"{"event":"opened","device":{"index":0}}"#,
    )
    .await;
    crm.is(403, "insufficient_scope");
    let foreign = |config: &mut Config| {
        for key in &mut config.keys {
            key.scopes = key.scopes.with(Scope::ReceiptsWrite);
        }
    };
    let rig = Rig::with(foreign);
    let id = sent(&rig, APP).await;
    let body = r#"{"event":"opened","device":{"index":0}}"#;
    tell(&rig, &id, HIVE.1, body).await.is(404, "not_found");
    assert_eq!(tell(&rig, &id, "Bearer crm-secret", body).await.status, 200);
}

#[tokio::test]
async fn who_did_not_ask_is_not_told_and_what_was_not_sent_cannot_arrive() {
    let rig = Rig::new();
    let body = r#"{"event":"opened","device":{"index":0}}"#;
    let plain = sent(&rig, "").await;
    let said = shown(&rig, &plain).await;
    assert_eq!(
        (&said["final"], &said["receipt"]),
        (&true.into(), &"none".into())
    );
    tell(&rig, &plain, OPERATOR.1, body)
        .await
        .is(409, "invalid_state");
    let own = token(&rig, &plain, 0);
    tell(&rig, &plain, &own, body)
        .await
        .is(409, "invalid_state");
    let sms = rig.post("/v1/messages", &[JSON], HELLO).await.json();
    tell(&rig, sms["id"].as_str().unwrap(), OPERATOR.1, body)
        .await
        .is(409, "invalid_state");
    let queued = rig.post("/v1/messages", &[JSON], push(APP)).await.json();
    let answer = tell(&rig, queued["id"].as_str().unwrap(), OPERATOR.1, body).await;
    answer.is(409, "invalid_state");
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("not sent")
    );
}

#[tokio::test]
async fn app_receipts_need_a_push_to_devices_and_room_for_their_token() {
    let rig = Rig::new();
    for (body, code) in [
        (push(r#","receipts":"sdk""#), "not_one_of"),
        (r#"{"to":"+46701234567","from":"ACME","text":"hi","receipts":"app"}"#.into(), "not_allowed_here"),
        (r#"{"to":{"topic":"t","app":"shop"},"content":{"push":{"title":"T"}},"receipts":"app"}"#.into(), "not_allowed_here"),
    ] {
        let answer = rig.post("/v1/messages", &[JSON], body).await;
        answer.is(422, "invalid_request");
        let error = &answer.json()["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&"/receipts".into(), &code.into()));
    }
    let octets = async |more: &str| {
        let answer = rig.post("/v1/messages/preview", &[JSON], push(more)).await;
        let json = answer.json();
        let payload = |at: usize| json["steps"][0]["payloads"][at]["octets"].as_u64().unwrap();
        [payload(0), payload(1)]
    };
    let (plain, with) = (octets("").await, octets(APP).await);
    // Each with two pairs of quotes, a colon and a comma.
    let own = RECEIPT_MESSAGE_ID.len() + RECEIPT_TOKEN.len() + 2 * 6 + 30 + 27;
    let extension = r#","mutable-content":1"#.len();
    let keys = RECEIPT_MESSAGE_ID.len() + RECEIPT_TOKEN.len() + 30 + 27;
    assert_eq!(with[0] - plain[0], (own + extension) as u64);
    assert_eq!(with[1] - plain[1], keys as u64);
    assert_eq!(octets(r#","receipts":"none""#).await, plain);
    let taken = push(APP).replace(
        r#""title":"T""#,
        &format!(r#""title":"T","data":{{"{RECEIPT_TOKEN}":"x"}}"#),
    );
    let answer = rig.post("/v1/messages", &[JSON], taken).await;
    let error = &answer.json()["errors"][0];
    assert_eq!(
        error["pointer"],
        "/content/push/data/trunkline_receipt_token"
    );
    assert_eq!(error["code"], "reserved_key");
}
