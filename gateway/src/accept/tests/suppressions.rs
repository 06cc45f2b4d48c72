//! Suppressions by the API: what they keep back, who sees them, who changed them and why.

use super::*;

const OPERATOR: [(&str, &str); 3] = [
    JSON,
    ("authorization", "Bearer operator-secret"),
    ("trunkline-tenant", "acme"),
];
const PATH: &str = "/v1/suppressions";

impl Rig {
    async fn suppress(&self, body: &str) -> Answer {
        self.post(PATH, &OPERATOR, body.to_owned()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(request("DELETE", path, &OPERATOR[1..], "")).await
    }
}

#[tokio::test]
async fn who_is_suppressed_is_not_sent_to_until_it_is_deleted() {
    let rig = Rig::new();
    let body =
        r#"{"phone":"+46701234567","scope":{"kind":"sender","value":"acme"},"text":"by letter"}"#;
    let added = rig.suppress(body).await;
    assert_eq!(added.status, 201, "{:?}", added.bytes);
    let json = added.json();
    let id = json["id"].as_str().unwrap();
    assert_eq!(added.headers["location"], format!("{PATH}/{id}"));
    assert_eq!(
        json["scope"],
        serde_json::json!({"kind": "sender", "value": "acme"})
    );
    let audit = (&json["source"], &json["by"], &json["text"]);
    assert_eq!(
        audit,
        (&"api".into(), &"operator".into(), &"by letter".into())
    );
    let again = rig.suppress(body).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json["id"]));

    let refused = rig.post("/v1/messages", &[JSON], HELLO).await;
    assert_eq!(refused.status, 202, "a policy refusal is an outcome");
    let refused = refused.json();
    assert_eq!(
        (&refused["status"], &refused["final"]),
        (&"rejected".into(), &true.into())
    );
    let reason = &refused["reason"];
    assert_eq!(
        (&reason["code"], &reason["permanent"]),
        (&"suppressed".into(), &true.into())
    );
    let strict = [JSON, ("prefer", "handling=strict")];
    rig.post("/v1/messages", &strict, HELLO)
        .await
        .is(422, "suppressed");
    let other = HELLO.replace("ACME", "71234");
    let other = rig.post("/v1/messages", &[JSON], other).await;
    assert_eq!(other.json()["status"], "queued", "another sender's");
    let headers = [JSON, HIVE, ("idempotency-key", "k")];
    let other = rig.post("/v1/messages", &headers, HELLO).await;
    assert_eq!(other.json()["status"], "queued", "another tenant's");
    let ignore = HELLO.replace(
        "\"class\"",
        "\"policy\":{\"suppressions\":\"ignore\"},\"class\"",
    );
    let refused = rig.post("/v1/messages", &[JSON], ignore.clone()).await;
    refused.is(403, "override_not_allowed");
    let sent = rig.post("/v1/messages", &OPERATOR, ignore).await;
    assert_eq!(sent.json()["status"], "queued");

    let path = format!("{PATH}/{id}");
    let deleted = rig.delete(&format!("{path}?text=their+wish")).await;
    assert_eq!((deleted.status, deleted.bytes.len()), (204, 0));
    rig.delete(&path).await.is(404, "not_found");
    let goes = rig.post("/v1/messages", &[JSON], HELLO).await;
    assert_eq!(goes.json()["status"], "queued");
    told(&rig).await;
}

/// The events of one that was added and deleted.
async fn told(rig: &Rig) {
    let types = "recipient.opted_out,recipient.opted_in,suppression.*";
    let events = rig.get(&format!("/v1/events?types={types}")).await.json();
    let events = events["data"].as_array().unwrap().clone();
    let told: Vec<&str> = events
        .iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect();
    let expected = [
        "recipient.opted_out",
        "suppression.created",
        "recipient.opted_in",
        "suppression.deleted",
    ];
    assert_eq!(told, expected);
    let last = &events[3]["data"];
    assert_eq!(
        (&last["text"], &last["by"]),
        (&"their wish".into(), &"operator".into())
    );
}

#[tokio::test]
async fn the_list_is_narrowed_and_paged_and_a_tenants_own() {
    let rig = Rig::new();
    for number in 0..5 {
        let body = format!(r#"{{"phone":"+4670123456{number}"}}"#);
        assert_eq!(rig.suppress(&body).await.status, 201);
    }
    let class = r#"{"phone":"+46701234560","scope":{"kind":"class","value":"promotional"}}"#;
    assert_eq!(rig.suppress(class).await.status, 201);
    let mut seen = Vec::new();
    let mut path = format!("{PATH}?scope=all&limit=2");
    loop {
        let page = rig.get(&path).await;
        assert_eq!(page.status, 200, "{:?}", page.bytes);
        let json = page.json();
        let phones = json["data"].as_array().unwrap().iter();
        seen.extend(phones.map(|one| one["phone"].as_str().unwrap().to_owned()));
        let Some(cursor) = json["next_cursor"].as_str() else {
            break;
        };
        path = format!("{PATH}?scope=all&limit=2&cursor={cursor}");
        let stray = rig.get(&format!("{PATH}?limit=2&cursor={cursor}")).await;
        stray.is(400, "invalid_cursor");
    }
    let expected: Vec<String> = (0..5).rev().map(|n| format!("+4670123456{n}")).collect();
    assert_eq!(seen, expected, "newest first, each once");
    let one = rig
        .get(&format!("{PATH}?phone=%2B46701234560"))
        .await
        .json();
    assert_eq!(one["data"].as_array().unwrap().len(), 2);
    let headers = [OPERATOR[1], ("trunkline-tenant", "umbrella")];
    let theirs = rig.send(request("GET", PATH, &headers, "")).await.json();
    assert_eq!(theirs["data"], serde_json::json!([]));
    rig.get_as("Bearer crm-secret", PATH)
        .await
        .is(403, "insufficient_scope");
    for wrong in [
        "scope=some",
        "source=letter",
        "phone=46",
        "since=now",
        "who=me",
    ] {
        rig.get(&format!("{PATH}?{wrong}"))
            .await
            .is(422, "invalid_request");
    }
}

#[tokio::test]
async fn a_check_tells_what_would_be_kept_back() {
    let rig = Rig::new();
    let body = r#"{"phone":"+46701234567","scope":{"kind":"class","value":"promotional"}}"#;
    let id = rig.suppress(body).await.json()["id"].clone();
    let check = async |body: &'static str| {
        let answer = rig.post("/v1/suppressions/check", &OPERATOR, body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.bytes);
        answer.json()
    };
    let hit = check(r#"{"phone":"+46701234567","from":"ACME","class":"promotional"}"#).await;
    assert_eq!(
        (&hit["suppressed"], &hit["suppression"]["id"]),
        (&true.into(), &id)
    );
    let free = check(r#"{"phone":"+46701234567"}"#).await;
    assert_eq!(free, serde_json::json!({"suppressed": false}));
}

#[tokio::test]
async fn what_is_wrong_with_a_suppression_is_told() {
    let rig = Rig::new();
    for (body, code) in [
        ("{", "malformed_json"),
        ("[]", "invalid_request"),
        (r#"{"phone":"070"}"#, "invalid_recipient"),
        (r#"{"phone":"+46701234567","scopes":1}"#, "invalid_request"),
        (
            r#"{"phone":"+46701234567","scope":{"kind":"brand"}}"#,
            "invalid_request",
        ),
        (
            r#"{"phone":"+46701234567","scope":{"kind":"sender"}}"#,
            "invalid_request",
        ),
        (
            r#"{"phone":"+46701234567","expires_at":"2020-01-01T00:00:00Z"}"#,
            "invalid_request",
        ),
        (
            r#"{"phone":"+46701234567","expires_at":"soon"}"#,
            "invalid_request",
        ),
    ] {
        let answer = rig.suppress(body).await;
        assert_eq!(answer.code().1, code, "{body}");
    }
    let long = format!(r#"{{"phone":"+46701234567","text":"{}"}}"#, "x".repeat(256));
    rig.suppress(&long).await.is(422, "invalid_request");
    rig.delete(&format!("{PATH}/sup_nothing"))
        .await
        .is(404, "not_found");
    let list = rig.get(PATH).await.json();
    assert_eq!(
        list["data"],
        serde_json::json!([]),
        "nothing of it was stored"
    );
}
