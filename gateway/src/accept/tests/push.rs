//! Push and plans over HTTP: what is answered, shown and previewed.

use super::*;

const DEVICES: &str = r#"[{"platform":"ios","app":"shop","token":"AB01"},
    {"platform":"android","app":"shop","token":"a:1"},{"platform":"ios","app":"news","token":"ab02"}]"#;

fn message(more: &str) -> String {
    format!(
        r#"{{"to":{{"phone":"+46701234567","devices":{DEVICES}}},"from":"ACME",
            "content":{{"text":"hi","push":{{"title":"T"}}}}{more}}}"#
    )
}

const PLAN: &str = r#","plan":{"steps":[{"channel":"push"},{"channel":"sms"}]}"#;

#[tokio::test]
async fn a_push_with_a_fallback_is_accepted_and_shown() {
    let rig = Rig::new();
    let answer = rig.post("/v1/messages", &[JSON], message(PLAN)).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let json = answer.json();
    assert_eq!(
        (&json["channel"], &json["status"]),
        (&"push".into(), &"queued".into())
    );
    assert_eq!(json["devices"].as_array().unwrap().len(), 3);
    assert_eq!(json["receipt"], "none");
    let text = json.to_string().to_lowercase();
    assert!(
        !text.contains("ab01") && !text.contains("ab02"),
        "no tokens: {text}"
    );
    let path = format!("/v1/messages/{}", json["id"].as_str().unwrap());
    let operator = [("authorization", "Bearer operator-secret")];
    let shown = rig.send(request("GET", &path, &operator, "")).await.json();
    let content = serde_json::json!({"text": "hi", "push": {"body": "hi", "title": "T"}});
    assert_eq!(shown["content"], content);
    assert_eq!(shown["to"], "+46701234567");
}

#[tokio::test]
async fn a_push_without_a_route_is_an_outcome_or_with_strict_an_error() {
    let rig = Rig::new();
    let lost = r#"{"to":{"devices":[{"platform":"ios","app":"nobodys","token":"ab"}]},"text":"x"}"#;
    let answer = rig.post("/v1/messages", &[JSON], lost).await;
    let json = answer.json();
    assert_eq!((answer.status, &json["status"]), (202, &"rejected".into()));
    assert_eq!(json["reason"]["code"], "no_route");
    let strict = [JSON, ("prefer", "handling=strict")];
    let answer = rig.post("/v1/messages", &strict, lost).await;
    answer.is(422, "no_route");
    let unclear = rig.post("/v1/messages", &[JSON], message("")).await;
    unclear.is(422, "plan_required");
}

#[tokio::test]
async fn a_batch_takes_pushes_with_defaults_under_them() {
    let rig = Rig::new();
    let body = r#"{"defaults":{"content":{"push":{"title":"T","data":{"a":"1"},
            "apns":{"aps":{"sound":"s"}}}}},"messages":[
        {"to":{"devices":[{"platform":"ios","app":"shop","token":"ab"}]},
         "content":{"push":{"body":"B","data":{"b":"2"},"apns":{"aps":{"sound":null,"badge":1}}}}},
        {"to":{"devices":[{"platform":"ios","app":"shop","token":"xy"}]}}]}"#;
    let answer = rig.post("/v1/batches", &[JSON], body).await;
    let json = answer.json();
    assert_eq!(
        (&json["accepted"], &json["rejected"]),
        (&1.into(), &1.into()),
        "{json}"
    );
    let error = &json["results"][1]["error"];
    assert_eq!(error["code"], "invalid_recipient");
    assert_eq!(error["errors"][0]["pointer"], "/to/devices/0/token");
    let path = format!(
        "/v1/messages/{}",
        json["results"][0]["id"].as_str().unwrap()
    );
    let operator = [("authorization", "Bearer operator-secret")];
    let shown = rig.send(request("GET", &path, &operator, "")).await.json();
    let push = serde_json::json!({"apns": {"aps": {"badge": 1, "sound": null}}, "body": "B",
        "data": {"a": "1", "b": "2"}, "title": "T"});
    assert_eq!(shown["content"]["push"], push);
}

#[tokio::test]
async fn a_preview_tells_octets_and_routes_for_each_app() {
    let rig = Rig::new();
    let answer = rig
        .post("/v1/messages/preview", &[JSON], message(PLAN))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let json = answer.json();
    assert_eq!(json["policy"]["verdict"], "accepted");
    let first = |name: &str| serde_json::json!([{"name": name, "why": "listed_first"}]);
    let apns = r#"{"aps":{"alert":{"body":"hi","title":"T"}}}"#.len();
    let expected = serde_json::json!({
        "channel": "push",
        "payloads": [
            {"platform": "ios", "octets": apns, "limit": 4096},
            // Keys and values of `notification`.
            {"platform": "android", "octets": "bodyhititleT".len(), "limit": 4096},
        ],
        "apps": [
            {"platform": "ios", "app": "shop", "targets": 1, "rule": 1, "routes": first("apns")},
            {"platform": "android", "app": "shop", "targets": 1, "rule": 1, "routes": first("fcm")},
            {"platform": "ios", "app": "news", "targets": 1, "routes": []},
        ],
    });
    assert_eq!(json["steps"][0], expected);
    assert_eq!(json["steps"][1]["channel"], "sms");
    assert_eq!(json["steps"][1]["routes"][0]["name"], "carrier-a");
    let large = message(PLAN).replace(
        r#""title":"T""#,
        &format!(r#""title":"{}""#, "é".repeat(257)),
    );
    let answer = rig.post("/v1/messages/preview", &[JSON], large).await;
    answer.is(422, "invalid_request");
}
