//! JSON batches: item by item, atomic, replayed whole.

use super::*;

#[tokio::test]
async fn a_batch_answers_item_by_item() {
    let rig = Rig::new();
    let body = r#"{"defaults":{"from":"ACME","class":"promotional"},"messages":[
        {"to":"+46701234567","text":"a","client_ref":"a1"},
        {"to":"0701234567","text":"b"},
        {"to":"+46701234568","text":"c","idempotency_key":"c"},
        {"to":"+46701234568","text":"c","idempotency_key":"c"},
        {"to":"+46701234568","text":"d","idempotency_key":"c"}]}"#;
    let answer = rig.post("/v1/batches", &[JSON], body).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(
        (&json["accepted"], &json["rejected"]),
        (&3.into(), &2.into())
    );
    let results = json["results"].as_array().unwrap();
    let statuses: Vec<_> = results
        .iter()
        .map(|r| r["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [202, 422, 202, 202, 422]);
    assert_eq!(results[0]["client_ref"], "a1");
    assert_eq!(results[1]["error"]["code"], "invalid_recipient");
    assert_eq!(results[1]["error"]["errors"][0]["pointer"], "/to");
    assert_eq!(
        (&results[3]["replayed"], &results[3]["id"]),
        (&true.into(), &results[2]["id"])
    );
    assert_eq!(results[4]["error"]["code"], "idempotency_key_reused");
    let batch = json["id"].as_str().unwrap();
    let list = rig
        .get(&format!("/v1/messages?batch_id={batch}"))
        .await
        .json();
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert_eq!(list["data"][0]["class"], "promotional");
}

#[tokio::test]
async fn a_batch_with_a_header_key_is_replayed_whole() {
    let rig = Rig::new();
    let body = r#"{"messages":[{"to":"bad"},{"to":"+46701234567","from":"ACME","text":"a"},
        {"to":"+46701234568","from":"ACME","text":"b"}]}"#;
    let headers = [JSON, ("idempotency-key", "batch-1")];
    let first = rig.post("/v1/batches", &headers, body).await;
    let again = rig.post("/v1/batches", &headers, body).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.bytes, again.bytes);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let longer = body.replace(
        "{\"to\":\"bad\"}",
        "{\"to\":\"+46701234569\",\"from\":\"ACME\",\"text\":\"z\"}",
    );
    rig.post("/v1/batches", &headers, longer)
        .await
        .is(422, "idempotency_key_reused");
    let list = rig.get("/v1/messages").await.json();
    assert_eq!(
        list["data"].as_array().unwrap().len(),
        2,
        "nothing of the other batch is stored"
    );
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_nothing() {
    let rig = Rig::new();
    let good = r#"{"to":"+46701234567","from":"ACME","text":"a"}"#;
    let mixed = format!(r#"{{"messages":[{good},{{"to":"x","from":"ACME","text":"a"}}]}}"#);
    let refused = rig.post("/v1/batches?atomic=true", &[JSON], mixed).await;
    refused.is(422, "invalid_recipient");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/messages/1/to");
    assert_eq!(
        rig.get("/v1/messages").await.json()["data"],
        serde_json::json!([])
    );
    let all = format!(r#"{{"messages":[{good},{good}]}}"#);
    let stored = rig.post("/v1/batches?atomic=true", &[JSON], all).await;
    assert_eq!(stored.json()["accepted"], 2);
    let keyed = |key: &str, text: &str| {
        format!(
            r#"{{"to":"+46701234567","from":"ACME","text":"{text}","idempotency_key":"{key}"}}"#
        )
    };
    let two = |a: String, b: String| format!(r#"{{"messages":[{a},{b}]}}"#);
    let path = "/v1/batches?atomic=true";
    let first = rig
        .post(path, &[JSON], two(keyed("a", "1"), keyed("b", "1")))
        .await;
    assert_eq!(first.json()["accepted"], 2);
    let reused = rig
        .post(path, &[JSON], two(keyed("c", "1"), keyed("b", "2")))
        .await;
    reused.is(422, "idempotency_key_reused");
    assert_eq!(
        reused.json()["errors"][0]["pointer"],
        "/messages/1/idempotency_key"
    );
    let twice = rig
        .post(path, &[JSON], two(keyed("d", "1"), keyed("d", "2")))
        .await;
    twice.is(422, "idempotency_key_reused");
    let count = rig.get("/v1/messages").await.json()["data"]
        .as_array()
        .map(Vec::len);
    assert_eq!(count, Some(4), "of a refused batch nothing was stored");
}

#[tokio::test]
async fn a_header_key_makes_a_batch_one_thing() {
    let rig = Rig::new();
    let item = |text: &str| format!(r#"{{"to":"+46701234567","from":"ACME","text":"{text}"}}"#);
    let body = |last: &str| {
        format!(
            r#"{{"messages":[{},{},{}]}}"#,
            item("1"),
            item("2"),
            item(last)
        )
    };
    let with = [JSON, ("idempotency-key", "k")];
    for path in ["/v1/batches", "/v1/batches?atomic=true"] {
        let first = rig.post(path, &with, body("3")).await;
        let again = rig.post(path, &with, body("3")).await;
        assert_eq!(first.json(), again.json());
        assert_eq!(again.headers["idempotent-replayed"], "true");
        rig.post(path, &with, body("4"))
            .await
            .is(422, "idempotency_key_reused");
    }
    let count = rig.get("/v1/messages").await.json()["data"]
        .as_array()
        .map(Vec::len);
    assert_eq!(count, Some(3));
}

#[tokio::test]
async fn envelopes_are_checked() {
    let rig = Rig::with(|config| config.batch_items = 2);
    let post = async |path: &str, body: &str| rig.post(path, &[JSON], body.to_owned()).await;
    post("/v1/batches", "{\"messages\":[]}")
        .await
        .is(422, "invalid_request");
    post("/v1/batches", "{\"messages\":[{},{},{}]}")
        .await
        .is(413, "batch_too_large");
    post("/v1/batches", "{\"messages\":")
        .await
        .is(400, "malformed_json");
    post("/v1/batches", "[]").await.is(422, "invalid_request");
    let told = post("/v1/batches", "{\"items\":[],\"messages\":{}}")
        .await
        .json();
    assert_eq!(told["errors"][0]["pointer"], "/items");
    assert_eq!(told["errors"][1]["pointer"], "/messages");
    let told = post("/v1/batches", r#"{"messages":[],"messages":[{}]}"#).await;
    assert_eq!(told.json()["errors"][0]["pointer"], "/messages");
    assert_eq!(told.json()["errors"][0]["code"], "duplicate_key");
    let told = post("/v1/batches", r#"{"defaults":{"nope":1},"messages":[{}]}"#).await;
    assert_eq!(told.json()["errors"][0]["pointer"], "/defaults/nope");
    post("/v1/batches?atomic=maybe", "{\"messages\":[{}]}")
        .await
        .is(422, "invalid_request");
    let half = r#"{"messages":[{"to":"+46701234567",
        "text":"\ud83d"}]}"#;
    let told = post("/v1/batches", half).await.json();
    let detail = told["results"][0]["error"]["detail"].as_str().unwrap();
    assert!(
        detail.ends_with("at line 2 column 23 of the item"),
        "{detail}"
    );
    let big = format!(
        "{{\"messages\":[{{\"text\":\"{}\"}}]}}",
        "x".repeat(ITEM_MAX)
    );
    let told = post("/v1/batches", &big).await.json();
    assert_eq!(told["results"][0]["status"], 413);
}
