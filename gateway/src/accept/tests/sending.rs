//! One message: accepted and read back, replayed by its key, held to its tenant's rate.

use super::*;

#[tokio::test]
async fn a_message_is_accepted_and_read_back() {
    let rig = Rig::new();
    let accepted = rig.post("/v1/messages", &[JSON], HELLO).await;
    assert_eq!(accepted.status, 202);
    let json = accepted.json();
    let id = json["id"].as_str().unwrap();
    assert_eq!(accepted.headers["location"], format!("/v1/messages/{id}"));
    assert_eq!(json["status"], "queued");
    assert_eq!(
        (&json["final"], &json["version"]),
        (&Value::from(false), &Value::from(1))
    );
    assert_eq!(json["sms"]["segments"], 1);
    assert_eq!(json["tags"], serde_json::json!(["a", "b"]));
    assert!(json.get("content").is_none(), "content needs its scope");

    let read = rig
        .get_as("Bearer crm-secret", &format!("/v1/messages/{id}"))
        .await;
    assert_eq!(
        (read.status, &read.headers["etag"]),
        (200, &"\"1\"".parse().unwrap())
    );
    assert!(read.json().get("content").is_none());
    let full = rig.get(&format!("/v1/messages/{id}")).await;
    assert_eq!(full.json()["content"]["text"], "hello");
    let other = rig
        .get_as("Bearer umbrella-secret", &format!("/v1/messages/{id}"))
        .await;
    other.is(404, "not_found");
    let timeline = rig.get(&format!("/v1/messages/{id}/timeline")).await.json();
    assert_eq!(timeline["data"][0]["type"], "accepted");
    assert_eq!(timeline["data"][0]["event"]["type"], "message.accepted");
}

#[tokio::test]
async fn a_replay_is_the_same_to_the_octet() {
    let rig = Rig::new();
    let first = rig
        .post("/v1/messages", &[JSON, ("idempotency-key", "k1")], HELLO)
        .await;
    let spaced = HELLO.replace(',', " , ");
    let again = rig
        .post(
            "/v1/messages",
            &[JSON, ("idempotency-key", "\"k1\"")],
            spaced,
        )
        .await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.bytes, again.bytes);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(first.headers["location"], again.headers["location"]);
    let other = HELLO.replace("hello", "other");
    let reused = rig
        .post("/v1/messages", &[JSON, ("idempotency-key", "k1")], other)
        .await;
    reused.is(422, "idempotency_key_reused");
    let list = rig.get("/v1/messages").await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn keys_that_come_at_the_same_time_store_one() {
    let rig = Rig::new();
    let headers = [JSON, ("idempotency-key", "same")];
    let (a, b) = tokio::join!(
        rig.post("/v1/messages", &headers, HELLO),
        rig.post("/v1/messages", &headers, HELLO)
    );
    assert_eq!((a.status, b.status), (202, 202));
    assert_eq!(a.bytes, b.bytes);
    let replayed = |answer: &Answer| answer.headers.contains_key("idempotent-replayed");
    assert!(replayed(&a) != replayed(&b), "one of them is the replay");
}

#[tokio::test]
async fn a_tenant_may_require_keys() {
    let rig = Rig::new();
    let missing = rig.post("/v1/messages", &[JSON, HIVE], HELLO).await;
    missing.is(400, "idempotency_key_missing");
    let keyed = rig
        .post(
            "/v1/messages",
            &[JSON, HIVE, ("idempotency-key", "k")],
            HELLO,
        )
        .await;
    assert_eq!(keyed.status, 202);
    let limit = keyed.headers["ratelimit"].to_str().unwrap();
    assert!(limit.starts_with("\"msg\";r=19;t="), "{limit}");
    let policy = "\"msg\";q=10;w=1;trunkline-unit=\"messages\";trunkline-burst=20";
    assert_eq!(keyed.headers["ratelimit-policy"], policy);
}

#[tokio::test]
async fn over_its_rate_a_tenant_gets_429() {
    let rig = Rig::with(|config| {
        let rate = config.tenants[1].1.ingress.as_mut().unwrap();
        rate.per = Duration::from_secs(3600);
    });
    for n in 0..20 {
        let key = format!("k{n}");
        let sent = rig
            .post(
                "/v1/messages",
                &[JSON, HIVE, ("idempotency-key", &key)],
                HELLO,
            )
            .await;
        assert_eq!(sent.status, 202);
    }
    let over = rig
        .post(
            "/v1/messages",
            &[JSON, HIVE, ("idempotency-key", "k")],
            HELLO,
        )
        .await;
    over.is(429, "quota_exceeded");
    let after: u64 = over.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((300..=360).contains(&after), "{after}");
    assert!(
        over.headers["ratelimit"]
            .to_str()
            .unwrap()
            .starts_with("\"msg\";r=0;t=")
    );
    assert!(over.json()["retryable"].as_bool().unwrap());
}

#[tokio::test]
async fn no_route_is_an_outcome_and_with_strict_an_error() {
    let rig = Rig::new();
    let body = r#"{"to":"+9991234567","from":"ACME","text":"x"}"#;
    let accepted = rig.post("/v1/messages", &[JSON], body).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.json()["status"], "rejected");
    assert_eq!(accepted.json()["final"], true);
    assert_eq!(accepted.json()["reason"]["code"], "no_route");
    let strict = [JSON, ("prefer", "respond-async, handling=strict")];
    rig.post("/v1/messages", &strict, body)
        .await
        .is(422, "no_route");
}
