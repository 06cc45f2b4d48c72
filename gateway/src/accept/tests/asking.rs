//! What is wrong with a request, its path, its method or its query.

use super::*;

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told() {
    let rig = Rig::new();
    let post = async |headers: &[(&str, &str)], body: &str| {
        rig.post("/v1/messages", headers, body.to_owned()).await
    };
    post(&[JSON], "{\"to\":").await.is(400, "malformed_json");
    post(&[("content-type", "text/plain")], HELLO)
        .await
        .is(415, "unsupported_media_type");
    post(&[NDJSON], HELLO)
        .await
        .is(415, "unsupported_media_type");
    post(&[JSON, ("accept", "text/html")], HELLO)
        .await
        .is(406, "not_acceptable");
    post(&[JSON, ("authorization", "Bearer no")], HELLO)
        .await
        .is(401, "unauthenticated");
    post(&[JSON], &HELLO.replace("ACME", "EVIL"))
        .await
        .is(403, "sender_not_allowed");
    post(&[JSON], &"x".repeat(BODY_MAX + 1))
        .await
        .is(413, "body_too_large");
    let key = HELLO.replace("\"to\"", "\"idempotency_key\":\"k\",\"to\"");
    let told = post(&[JSON], &key).await;
    told.is(422, "invalid_request");
    assert_eq!(told.json()["errors"][0]["pointer"], "/idempotency_key");
    let later = HELLO.replace("\"to\"", "\"send_at\":\"2026-11-21T08:00:00Z\",\"to\"");
    let told = post(&[JSON], &later).await;
    told.is(422, "not_available");
    assert_eq!(told.json()["instance"], "/v1/messages");
    assert_eq!(
        told.json()["request_id"],
        told.headers["trunkline-request-id"].to_str().unwrap()
    );
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_problems() {
    let rig = Rig::new();
    rig.get("/v1/nothing").await.is(404, "not_found");
    let wrong = rig.send(request("PUT", "/v1/messages", &[], "")).await;
    wrong.is(405, "method_not_allowed");
    assert_eq!(wrong.headers["allow"], "POST, GET, HEAD");
    rig.post("/v1/messages/cancel", &[JSON], HELLO)
        .await
        .is(404, "not_available");
    rig.get("/v1/messages/msg_nonsense")
        .await
        .is(404, "not_found");
    rig.get_as("Bearer crm-secret", "/v1/routes")
        .await
        .is(403, "insufficient_scope");
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let rig = Rig::new();
    let get = rig.get("/v1/routes").await;
    let operator = [("authorization", "Bearer operator-secret")];
    let head = rig.send(request("HEAD", "/v1/routes", &operator, "")).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    let length = get.bytes.len().to_string();
    assert_eq!(head.headers["content-length"], length.as_str());
    let missing = request("HEAD", "/v1/messages/msg_none", &operator, "");
    assert_eq!(rig.gateway_status(missing).await, 404);
}

#[tokio::test]
async fn queries_that_nobody_knows_are_refused_everywhere() {
    let rig = Rig::new();
    for path in [
        "/v1/routes?x=1",
        "/v1/messages/msg_x?limit=1",
        "/v1/events?since=1",
    ] {
        let refused = rig.get(path).await;
        refused.is(422, "invalid_request");
        assert_eq!(refused.json()["errors"][0]["code"], "unknown_parameter");
    }
    let refused = rig.post("/v1/messages?atomic=true", &[JSON], HELLO).await;
    assert_eq!(refused.json()["errors"][0]["parameter"], "atomic");
}

#[tokio::test]
async fn a_stopping_store_answers_503() {
    let rig = Rig::new();
    let store = rig.gateway.store.clone();
    tokio::task::spawn_blocking(move || store.close())
        .await
        .unwrap();
    let refused = rig.post("/v1/messages", &[JSON], HELLO).await;
    refused.is(503, "shutting_down");
    assert!(refused.headers.contains_key("retry-after"));
}
