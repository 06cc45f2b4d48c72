//! Previews: what is told of a message that is not sent.

use super::*;

#[tokio::test]
async fn a_preview_tells_what_a_message_would_become_and_stores_nothing() {
    let rig = Rig::new();
    let answer = rig
        .post(
            "/v1/messages/preview",
            &[JSON],
            r#"{"to":"+46701234567","from":"ACME","text":"hej"}"#,
        )
        .await;
    assert_eq!(answer.status, 200);
    let expected = serde_json::json!({"policy": {"verdict": "accepted"}, "steps": [{
        "channel": "sms", "encoding": "gsm7", "chars": 3, "segments": 1, "replaced": [],
        "truncated": false, "rule": 0,
        "routes": [
            {"name": "carrier-a", "why": "listed_first"},
            {"name": "carrier-b", "why": "failover"},
        ],
    }]});
    assert_eq!(answer.json(), expected);
    let list = rig.get("/v1/messages?since=2020-01-01T00:00:00Z").await;
    assert_eq!(list.json()["data"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_preview_shows_the_text_that_would_be_sent_and_each_replacement() {
    let rig = Rig::new();
    let body = r#"{"to":"+99912345678","from":"ACME",
        "content":{"text":"“hej","sms":{"smart_encoding":"safe"}}}"#;
    let answer = rig.post("/v1/messages/preview", &[JSON], body).await;
    let step = &answer.json()["steps"][0];
    assert_eq!(step["text"], "\"hej");
    let replaced = serde_json::json!([{"position": 0, "character": "“", "replacement": "\""}]);
    assert_eq!(step["replaced"], replaced);
    assert_eq!(step["routes"], serde_json::json!([]), "no rule matches");
    let rejected = serde_json::json!({"verdict": "rejected", "reason": "no_route"});
    assert_eq!(answer.json()["policy"], rejected);
    assert!(step.get("rule").is_none());
    let body = r#"{"to":"+46701234567","from":"ACME","content":{"sms":{"data":"AAEC"}}}"#;
    let answer = rig.post("/v1/messages/preview", &[JSON], body).await;
    let step = &answer.json()["steps"][0];
    assert!(step.get("text").is_none() && step.get("chars").is_none());
}

#[tokio::test]
async fn a_preview_refuses_what_a_send_refuses_and_needs_reading_only() {
    let rig = Rig::new();
    let preview = async |body: &str| {
        rig.post("/v1/messages/preview", &[JSON], body.to_owned())
            .await
    };
    preview(r#"{"to":"1","from":"ACME","text":"x"}"#)
        .await
        .is(422, "invalid_recipient");
    preview(r#"{"to":"+46701234567","from":"ACME","text":"x","idempotency_key":"k"}"#)
        .await
        .is(422, "invalid_request");
    preview("{").await.is(400, "malformed_json");
    let entry = router::TABLE
        .iter()
        .find(|entry| entry.path.ends_with("/preview"));
    assert_eq!(entry.unwrap().scope, Some(Scope::MessagesRead));
}
