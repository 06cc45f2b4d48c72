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
    let preview = rig.post("/v1/messages/preview", &[JSON], HELLO).await;
    let rejected = serde_json::json!({"verdict": "rejected", "reason": "suppressed"});
    assert_eq!(preview.json()["policy"], rejected, "as it was");
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
    let missing =
        r#"Bearer realm="trunkline", error="insufficient_scope", scope="policy:override""#;
    assert_eq!(refused.headers["www-authenticate"], missing);
    let preview = rig
        .post("/v1/messages/preview", &OPERATOR, ignore.clone())
        .await;
    assert_eq!(preview.json()["policy"]["verdict"], "accepted");
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
async fn who_is_suppressed_on_a_channel_is_sent_to_over_the_next_one() {
    let rig = Rig::new();
    let body = r#"{"phone":"+46701234567","scope":{"kind":"channel","value":"push"}}"#;
    assert_eq!(rig.suppress(body).await.status, 201);
    let message = |on: &str| {
        format!(
            r#"{{"to":{{"phone":"+46701234567",
                        "devices":[{{"platform":"ios","app":"shop","token":"ab01"}}]}},
                "from":"ACME","content":{{"text":"hi","push":{{"title":"T"}}}},
                "plan":{{"steps":[{{"channel":"push","on":[{on}]}},{{"channel":"sms"}}]}}}}"#
        )
    };
    let goes_on = message("\"rejected\"");
    let preview = rig
        .post("/v1/messages/preview", &[JSON], goes_on.clone())
        .await;
    assert_eq!(preview.json()["policy"]["verdict"], "accepted");
    let strict = [JSON, ("prefer", "handling=strict")];
    let answer = rig.post("/v1/messages", &strict, goes_on).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let shown = rig.get(&format!("/v1/messages/{id}")).await.json();
    assert_eq!(
        (&shown["status"], &shown["channel"], &shown["step"]),
        (&"queued".into(), &"sms".into(), &1.into()),
        "{shown}"
    );
    let device = &shown["devices"][0];
    assert_eq!(device["result"], "rejected");
    let reason = (&device["reason"]["code"], &device["reason"]["stage"]);
    assert_eq!(reason, (&"suppressed".into(), &"accept".into()));
    let timeline = rig.get(&format!("/v1/messages/{id}/timeline")).await.json();
    let entry = &timeline["data"][1];
    assert_eq!(
        (&entry["type"], &entry["reason"], &entry["step"]),
        (&"passed_over".into(), &"suppressed".into(), &1.into()),
        "{timeline}"
    );
    assert_eq!(entry["event"]["type"], "message.fallback_started");
    let path = "/v1/events?types=message.fallback_started";
    let events = rig.get(path).await.json();
    let event = &events["data"][0];
    let data = &event["data"];
    assert_eq!(
        (&data["from_step"], &data["to_step"], &data["trigger"]),
        (&0.into(), &1.into(), &"rejected".into()),
        "{data}"
    );
    assert_eq!(data["reason"]["code"], "suppressed");

    let stays = message("\"no_route\"");
    rig.post("/v1/messages", &strict, stays.clone())
        .await
        .is(422, "suppressed");
    let answer = rig.post("/v1/messages", &[JSON], stays).await.json();
    assert_eq!(answer["status"], "rejected", "{answer}");
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

const CSV: [(&str, &str); 3] = [("content-type", "text/csv"), OPERATOR[1], OPERATOR[2]];
const AS_CSV: [(&str, &str); 3] = [("accept", "text/csv"), OPERATOR[1], OPERATOR[2]];

impl Rig {
    async fn import(&self, file: impl Into<Bytes>) -> Answer {
        self.post(&format!("{PATH}/import"), &CSV, file).await
    }

    async fn export(&self, query: &str) -> Answer {
        let path = format!("{PATH}{query}");
        self.send(request("GET", &path, &AS_CSV, "")).await
    }
}

/// Accepted, already there, rejected.
fn counts(answer: &Answer) -> [u64; 3] {
    assert_eq!(answer.status, 200, "{:?}", answer.bytes);
    let json = answer.json();
    ["accepted", "already_there", "rejected"].map(|name| json[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_file_is_imported_once_however_often_it_is_sent() {
    let rig = Rig::new();
    let mut file = String::from("phone,scope,value,text\r\n");
    for number in 0..2_500 {
        file.push_str(&format!("+4670{number:07},all,,\"old, list\"\r\n"));
    }
    file.push_str("+46700000000,,,\r\n");
    assert_eq!(counts(&rig.import(file.clone()).await), [2_500, 1, 0]);
    assert_eq!(counts(&rig.import(file).await), [0, 2_501, 0]);
    let one = rig
        .get(&format!("{PATH}?phone=%2B46700002499"))
        .await
        .json();
    let one = &one["data"][0];
    assert_eq!(
        (&one["source"], &one["text"], &one["by"]),
        (&"import".into(), &"old, list".into(), &"operator".into())
    );
    let events = rig.get("/v1/events?types=recipient.opted_out").await.json();
    assert_eq!(events["data"], serde_json::json!([]), "no recipient's word");
    let events = rig
        .get("/v1/events?types=suppression.created&limit=1000")
        .await;
    assert_eq!(events.json()["data"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn what_is_wrong_with_a_line_is_told_and_the_others_are_stored() {
    let rig = Rig::new();
    let file = "text,phone,scope,value,expires_at\n\
        ok,+46701234567,,,\n\
        ,070,,,\n\
        ,+46701234568,brand,,\n\
        ,+46701234569,sender,,\n\
        ,+46701234570,,,2020-01-01T00:00:00Z\n\
        too,few\n\
        \"open,+46701234571,,,\n\
        ,+46701234572,class,promotional,\n";
    let answer = rig.import(file).await;
    assert_eq!(counts(&answer), [2, 0, 6]);
    let errors = answer.json()["errors"].clone();
    let told: Vec<(u64, &str)> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["code"].as_str().unwrap()))
        .collect();
    let expected = [
        (3, "not_e164"),
        (4, "not_one_of"),
        (5, "invalid"),
        (6, "out_of_range"),
        (7, "column_count"),
        (8, "bad_quote"),
    ];
    assert_eq!(told, expected);
    let bad = format!("phone\n{}", "070\n".repeat(500));
    let answer = rig.import(bad).await;
    assert_eq!(counts(&answer), [0, 0, 500]);
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn a_header_that_cannot_be_is_refused_with_all_its_mistakes() {
    let rig = Rig::new();
    for (file, codes) in [
        ("", vec!["required"]),
        (
            "number,Phone,scope,scope\n+46701234567,,,\n",
            vec![
                "unknown_column",
                "unknown_column",
                "duplicate_column",
                "required",
            ],
        ),
        ("\"phone\n+46701234567\n", vec!["bad_quote"]),
    ] {
        let answer = rig.import(file).await;
        answer.is(422, "invalid_request");
        let errors = answer.json()["errors"].clone();
        let told: Vec<&str> = errors
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["code"].as_str().unwrap())
            .collect();
        assert_eq!(told, codes, "{file}");
    }
    let path = format!("{PATH}/import");
    rig.post(&path, &OPERATOR, "phone\n")
        .await
        .is(415, "unsupported_media_type");
    let crm = rig.post(&path, &CSV[..1], "phone\n").await;
    crm.is(403, "insufficient_scope");
    let list = rig.get(PATH).await.json();
    assert_eq!(list["data"], serde_json::json!([]), "nothing was stored");
}

#[tokio::test]
async fn an_export_has_every_page_and_imports_as_it_was() {
    let (rig, other) = (Rig::new(), Rig::new());
    let mut file = String::from("phone,scope,value,text,expires_at\n");
    for number in 0..2_300 {
        file.push_str(&format!("+4670{number:07},,,,\n"));
    }
    let odd = "+46709999991,sender,+46769440001,\"=1+\"\"x\"\"\r\nå\",2999-01-01T00:00:00Z\n\
        +46709999992,class,promotional,'@quoted,\n";
    assert_eq!(
        counts(&rig.import(format!("{file}{odd}")).await),
        [2_302, 0, 0]
    );
    let export = rig.export("").await;
    assert_eq!(export.status, 200);
    assert!(
        export.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/csv")
    );
    let text = std::str::from_utf8(&export.bytes).unwrap();
    assert!(text.starts_with("phone,scope,value,text,expires_at,id,source,created_at\r\n"));
    assert!(text.contains("\r\n+46709999991,sender,'+46769440001,\"'=1+\"\"x\"\"\r\nå\",2999-"));
    assert_eq!(
        counts(&other.import(export.bytes.clone()).await),
        [2_302, 0, 0]
    );
    assert_eq!(
        counts(&rig.import(export.bytes.clone()).await),
        [0, 2_302, 0]
    );
    let told = async |rig: &Rig| {
        let bytes = rig.export("?scope=sender:%2B46769440001").await.bytes;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (before, _) = text.split_once(",sup_").unwrap();
        before.to_owned()
    };
    assert_eq!(told(&rig).await, told(&other).await);
    rig.export("?limit=5").await.is(422, "invalid_request");
    let headers = [AS_CSV[0], AS_CSV[1]];
    let all = rig.send(request("GET", PATH, &headers, "")).await;
    all.is(403, "tenant_mismatch");
}
