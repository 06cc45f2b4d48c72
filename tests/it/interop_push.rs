//! Interop: our push simulators, and senders that nobody here wrote.

use serde_json::{Value, json};
use sim::push::apns::{Apns, ApnsConfig};
use sim::push::fcm::{Fcm, FcmConfig};
use trunkline_tests::peers;

/// A device token of 64 digits.
fn device(prefix: &str) -> String {
    format!("{prefix:a<64}")
}

/// The lines that a peer makes of these orders.
async fn said(script: &str, orders: &[Value]) -> Vec<Value> {
    peers::verify("node", script, orders).await.unwrap()
}

/// What failed: device or its start, status, reason.
fn failed(line: &Value) -> Vec<(String, u64, String)> {
    let failed = line["failed"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |one: &Value| {
        let device = text(&one["device"]);
        let status = one["status"].as_u64().unwrap_or(0);
        (
            device.trim_end_matches('a').to_owned(),
            status,
            text(&one["reason"]),
        )
    };
    failed.map(row).collect()
}

fn push(devices: &[String]) -> Value {
    json!({"push": {"devices": devices, "topic": "com.example.app", "alert": "hi"}})
}

#[tokio::test]
async fn node_apn_pushes_to_our_apns_and_reads_its_reasons() {
    let name = "interop_push::node_apn_pushes_to_our_apns_and_reads_its_reasons";
    if !peers::npm(name, "@parse/node-apn") {
        return;
    }
    let apns = Apns::start(ApnsConfig::default()).await.unwrap();
    let (key, client) = (apns.credentials(), apns.client());
    let port = apns.addr().port();
    let reasons = [
        ("b4000000", 400, "BadDeviceToken"),
        ("b4000001", 400, "DeviceTokenNotForTopic"),
        ("40000004", 400, "BadTopic"),
        ("40300007", 403, "Forbidden"),
        ("41000000", 410, "Unregistered"),
        ("41300000", 413, "PayloadTooLarge"),
        ("50300000", 503, "ServiceUnavailable"),
    ];
    let refused = reasons.map(|(prefix, ..)| device(prefix));
    let many: Vec<String> = (0..2_000).map(|number| format!("{number:064x}")).collect();
    let orders = [
        json!({"connect": {
            "port": port, "ca": apns.ca(), "key": key.p8, "keyId": key.key_id, "teamId": key.team_id,
        }}),
        push(&[device("")]),
        push(&refused),
        json!({"push": {"devices": [device("")], "alert": "no topic"}}),
        json!({"push": {
            "devices": [device("")], "topic": "com.example.app", "pushType": "background", "priority": 10,
        }}),
        push(&many),
        push(&[device("60a00001")]),
        json!({"connect": {
            "port": port, "ca": apns.ca(), "certificate": client.certificates, "key": client.key,
        }}),
        push(&[device("cc")]),
    ];
    let said = said("apns.js", &orders).await;
    assert_eq!(said[1]["sent"], json!([device("")]), "{}", said[1]);
    let mut expected: Vec<_> = reasons
        .map(|(a, b, c)| (a.to_owned(), b, c.to_owned()))
        .into();
    let mut got = failed(&said[2]);
    expected.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, expected);
    let gone = said[2]["failed"].as_array().unwrap().iter();
    let gone = gone.filter(|one| one["timestamp"].is_u64()).count();
    assert_eq!(gone, 1, "410 alone has a timestamp");
    assert_eq!(failed(&said[3])[0].2, "MissingTopic");
    assert_eq!(failed(&said[4])[0].2, "BadPriority");
    assert_eq!(said[5]["sent"].as_array().unwrap().len(), many.len());
    // GOAWAY that includes the stream: its answer counts.
    assert_eq!(said[6]["sent"], json!([device("60a00001")]), "{}", said[6]);
    assert_eq!(said[8]["sent"], json!([device("cc")]), "{}", said[8]);
    let report = apns.stop().await;
    assert_eq!((report.accepted, report.tokens_doubled), (2_003, 0));
    assert_eq!((report.go_aways, report.stream_limit_violations), (1, 0));
    assert_eq!(report.protocol_violations, 0, "{:?}", report.last_violation);
}

#[tokio::test]
async fn google_auth_library_and_nodes_http2_send_to_our_fcm() {
    let name = "interop_push::google_auth_library_and_nodes_http2_send_to_our_fcm";
    if !peers::npm(name, "google-auth-library") {
        return;
    }
    let fcm = Fcm::start(FcmConfig::default()).await.unwrap();
    let account: Value = serde_json::from_str(&fcm.service_account()).unwrap();
    let mut forged = account.clone();
    forged["client_email"] = json!("somebody@else.example");
    let connect = |account: &Value| {
        let port = fcm.addr().port();
        json!({"connect": {"port": port, "ca": fcm.ca(), "account": account}})
    };
    let to = |target: Value| json!({"message": target});
    let many: Vec<Value> = (0..500)
        .map(|number| to(json!({"token": format!("t{number}")})))
        .collect();
    let orders = [
        connect(&forged),
        connect(&account),
        json!({"send": [
            to(json!({"token": "abc:APA", "notification": {"title": "Grüße"}})),
            to(json!({"topic": "news"})),
            to(json!({"token": "40400000"})),
            to(json!({"token": "42900001"})),
            to(json!({"token": "50200000"})),
            to(json!({"token": "4e5e0000"})),
            to(json!({})),
        ]}),
        json!({"send": many}),
    ];
    let said = said("fcm.js", &orders).await;
    let refused = said[0]["error"].as_str().unwrap();
    assert!(refused.starts_with("invalid_grant"), "{refused}");
    assert_eq!(said[1], json!({"ok": true}));
    let answers = said[2]["answers"].as_array().unwrap();
    let statuses: Vec<u64> = answers
        .iter()
        .map(|answer| answer["status"].as_u64().unwrap_or(0))
        .collect();
    assert_eq!(statuses, [200, 200, 404, 429, 502, 0, 400], "{answers:?}");
    let code = |at: usize| &answers[at]["body"]["error"]["details"][0]["errorCode"];
    assert_eq!(
        (code(2), code(3)),
        (&json!("UNREGISTERED"), &json!("QUOTA_EXCEEDED"))
    );
    assert_eq!(answers[3]["retryAfter"], "2");
    // REFUSED_STREAM.
    assert_eq!(answers[5]["rst"], 7);
    let sent = said[3]["answers"].as_array().unwrap();
    assert!(sent.iter().all(|answer| answer["status"] == 200));
    let report = fcm.stop().await;
    assert_eq!((report.accepted, report.tokens_doubled), (502, 0));
    assert_eq!((report.grants, report.protocol_violations), (1, 0));
}
