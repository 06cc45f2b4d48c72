//! Accept as a whole: requests through the router, on a real store in a temporary directory.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use serde_json::Value;

use super::answer::Body;
use super::check::tests::{config, planner};
use super::*;
use crate::clock::UnixMs;
use crate::route_view::{QueueView, RateView, ReceiptsView, RouteState, ThrottleView};
use crate::stop::Stopper;
use crate::store::{self, Ladder, RouteFacts};

mod document;
mod preview;
mod push;
mod receipts;
mod resume;
mod socket;
mod suppressions;
mod suppressions_room;

/// A gateway on a store that goes with its test.
pub(crate) struct Rig {
    gateway: Arc<Gateway>,
    stopper: Stopper,
    dir: PathBuf,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stopper.stop();
        self.gateway.store.close();
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::made(change, |_| {})
    }

    fn made(
        change: impl FnOnce(&mut Config),
        change_store: impl FnOnce(&mut store::Config),
    ) -> Self {
        let dir = std::env::temp_dir().join(format!("trunkline-accept-{:016x}", answer::random()));
        std::fs::create_dir_all(&dir).unwrap();
        let day = Duration::from_secs(86_400);
        let owned = |names: [&str; 2]| names.map(String::from).to_vec();
        let route = |name: &str| RouteFacts {
            name: name.to_owned(),
            receipts: true,
            receipt_timeout: day,
            response_timeout: Duration::from_secs(30),
            ladder: Ladder::default(),
            parts: crate::outcome::PartRule::All,
            charset: codecs::text::Charset::default(),
            retries: Default::default(),
        };
        let clock = Clock::system();
        let mut facts = store::Config {
            path: dir.clone(),
            retention_messages: 30 * day,
            retention_content: 7 * day,
            retention_events: 30 * day,
            retention_idempotency: day,
            memory: 256 << 20,
            queued: 1_000_000,
            suppressions: 1 << 20,
            disk_reserve: 0,
            routes: ["carrier-a", "carrier-b", "apns", "fcm"].map(route).into(),
            tenants: owned(["acme", "umbrella"]),
            endpoints: owned(["crm", "hive"]),
            inbound: crate::inbound::rules::Config::default(),
        };
        change_store(&mut facts);
        let (store, _) = Store::open(facts, clock.clone()).unwrap();
        let (stopper, stop) = Stopper::new();
        let mut config = config();
        change(&mut config);
        let routes = || {
            vec![RouteView {
                name: "carrier-a".to_owned(),
                r#type: "smpp",
                state: RouteState::Down,
                links: Vec::new(),
                window: 40,
                window_effective: 20,
                in_flight: 0,
                rate: Some(RateView {
                    configured: None,
                    effective: 12.5,
                    limited_by: Some("throttled"),
                }),
                throttle: ThrottleView {
                    paused_until: Some(UnixMs(1_000)),
                    last_minute: 3,
                    destinations_waiting: 1,
                    messages_behind: 2,
                },
                queue: QueueView::default(),
                hold_reason: Some(crate::outcome::HoldReason::RouteDown),
                receipts: Some(ReceiptsView::default()),
                last_refusal: None,
            }]
        };
        let orphans = |name: &str| (name == "carrier-a").then(Vec::new);
        let routes = RoutesView::new(routes, orphans).with_resume(|name| name == "carrier-a");
        let gateway = Gateway::new(&config, store, planner(), routes, clock, stop)
            .with_receipt_keys(ReceiptKeys::of(&[7; 32]));
        Self {
            gateway: Arc::new(gateway),
            stopper,
            dir,
        }
    }

    /// Every problem that any test is answered has to be one that the document lists.
    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let asked = (request.method().clone(), request.uri().path().to_owned());
        let answer = Answer::read(router::answer(self.gateway.clone(), request).await).await;
        if let Some(entry) = router::find(&asked.0, &asked.1).ok().map(|found| found.0) {
            let listed = openapi::problems(entry);
            let media = answer.headers.get("content-type");
            let code = media.is_some_and(|media| media == "application/problem+json");
            let code = code.then(|| answer.json()["code"].as_str().map(str::to_owned));
            if let Some(Some(code)) = code {
                let known = listed
                    .iter()
                    .any(|one| (one.name(), one.status()) == (&*code, answer.status));
                assert!(known, "{asked:?} answers {code}, which is not documented");
            }
        }
        answer
    }

    async fn gateway_status(&self, request: Request<Full<Bytes>>) -> u16 {
        let answer = router::answer(self.gateway.clone(), request).await;
        answer.status().as_u16()
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.send(request("POST", path, headers, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_as("Bearer operator-secret", path).await
    }

    async fn get_as(&self, key: &str, path: &str) -> Answer {
        self.send(request("GET", path, &[("authorization", key)], ""))
            .await
    }
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(path);
    if !headers.iter().any(|header| header.0 == "authorization") {
        builder = builder.header("authorization", "Bearer crm-secret");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body.into())).unwrap()
}

struct Answer {
    status: u16,
    headers: hyper::HeaderMap,
    bytes: Bytes,
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        assert!(
            parts.headers["trunkline-request-id"]
                .to_str()
                .unwrap()
                .starts_with("req_")
        );
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn code(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        (
            self.status,
            self.json()["code"].as_str().unwrap().to_owned(),
        )
    }

    fn is(&self, status: u16, code: &str) {
        assert_eq!(self.code(), (status, code.to_owned()), "{:?}", self.bytes);
    }
}

const HELLO: &str = r#"{"to":"+46701234567","from":"ACME","text":"hello","class":"otp","client_ref":"r1","tags":["a","b"],"metadata":{"k":"v"}}"#;
const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const STREAM: (&str, &str) = ("accept", "application/x-ndjson");
const HIVE: (&str, &str) = ("authorization", "Bearer umbrella-secret");

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

fn stream(count: usize) -> String {
    let line = |n: usize| {
        format!(
            "{{\"to\":\"+4670{n:07}\",\"text\":\"n{n}\",\"client_ref\":\"c{n}\",\"idempotency_key\":\"k{n}\"}}\n"
        )
    };
    let lines: String = (0..count).map(line).collect();
    format!("{{\"defaults\":{{\"from\":\"ACME\"}}}}\n{lines}")
}

#[tokio::test]
async fn a_stream_is_answered_line_by_line() {
    let rig = Rig::new();
    let mut body = stream(1200);
    body.push_str("\n{not json}\n");
    body.push_str("{\"to\":\"+46701234567\",\"text\":\"\"}");
    let answer = rig
        .post("/v1/batches", &[NDJSON, STREAM], body.clone())
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let mut lines = answer.lines();
    let summary = lines.pop().unwrap();
    let summary = &summary["summary"];
    assert_eq!(
        (&summary["accepted"], &summary["rejected"]),
        (&1200.into(), &2.into())
    );
    assert_eq!(summary["complete"], true);
    lines.sort_by_key(|line| line["index"].as_u64().unwrap());
    assert_eq!(lines.len(), 1202);
    for (index, line) in lines[..1200].iter().enumerate() {
        assert_eq!(line["index"], index);
        assert_eq!(line["status"], 202);
        assert_eq!(line["client_ref"], format!("c{index}"));
    }
    assert!(
        lines[..1200].is_sorted_by_key(|line| line["id"].as_str().unwrap().to_owned()),
        "ids rise with the lines"
    );
    assert_eq!(lines[1200]["error"]["code"], "malformed_json");
    // The defaults' line, 1,200 messages and a blank line come before it.
    assert_eq!(
        lines[1200]["error"]["detail"],
        "key must be a string at column 2 of the stream's line 1203"
    );
    assert_eq!(lines[1201]["error"]["code"], "content_missing_for_channel");
    let again = rig.post("/v1/batches", &[NDJSON, STREAM], body).await;
    let summary = again.lines().pop().unwrap();
    assert_eq!(
        summary["summary"]["replayed"], 1200,
        "resending all is safe"
    );
}

#[tokio::test]
async fn a_stream_without_accept_is_answered_once() {
    let rig = Rig::new();
    let answer = rig.post("/v1/batches", &[NDJSON], stream(700)).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let json = answer.json();
    assert_eq!(json["accepted"], 700);
    let results = json["results"].as_array().unwrap();
    let indexes: Vec<_> = results
        .iter()
        .map(|r| r["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes, (0..700).collect::<Vec<u64>>());
    let empty = rig.post("/v1/batches", &[NDJSON], "").await;
    assert_eq!(empty.json()["results"], serde_json::json!([]));
}

#[tokio::test]
async fn a_streams_limits_are_told() {
    let rig = Rig::new();
    let keyed = [NDJSON, ("idempotency-key", "k")];
    rig.post("/v1/batches", &keyed, stream(1))
        .await
        .is(422, "invalid_request");
    let atomic = rig
        .post("/v1/batches?atomic=true", &[NDJSON], stream(1))
        .await;
    atomic.is(422, "invalid_request");
    let held = rig
        .gateway
        .streams
        .clone()
        .acquire_many_owned(2)
        .await
        .unwrap();
    let full = rig.post("/v1/batches", &[NDJSON], stream(1)).await;
    full.is(503, "overloaded");
    assert!(full.headers.contains_key("retry-after"));
    drop(held);
    let long = format!("{{\"text\":\"{}\"}}\n", "x".repeat(ITEM_MAX));
    let answer = rig
        .post("/v1/batches", &[NDJSON, STREAM], long + &stream(1))
        .await;
    let lines = answer.lines();
    assert_eq!(lines[0]["status"], 413);
    let bad = "{\"defaults\":{\"nope\":1}}\n{}\n";
    let lines = rig
        .post("/v1/batches", &[NDJSON, STREAM], bad)
        .await
        .lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["summary"]["complete"], false);
    assert_eq!(
        lines[0]["summary"]["error"]["errors"][0]["pointer"],
        "/defaults/nope"
    );
}

#[tokio::test]
async fn a_streams_defaults_stand_in_its_first_line_that_is_not_blank() {
    let rig = Rig::new();
    let to = r#"{"to":"+46701234567","text":"x"}"#;
    let defaults = r#"{"defaults":{"from":"ACME"}}"#;
    let body = format!("\r\n \n{defaults}\r\n{to}\r\n{defaults}\n\n{to}");
    let mut lines = rig
        .post("/v1/batches", &[NDJSON, STREAM], body)
        .await
        .lines();
    lines[..3].sort_by_key(|line| line["index"].as_u64());
    assert_eq!(
        (&lines[0]["status"], &lines[2]["status"]),
        (&202.into(), &202.into())
    );
    let error = &lines[1]["error"]["errors"][0];
    assert_eq!(
        (&error["pointer"], &error["code"]),
        (&"/defaults".into(), &"not_allowed_here".into())
    );
    let wrong = rig
        .post("/v1/batches", &[NDJSON, STREAM], "{\"defaults\":[]}")
        .await;
    let error = &wrong.lines()[0]["summary"]["error"]["errors"][0];
    assert_eq!(error["pointer"], "/defaults");
}

#[tokio::test]
async fn a_stream_that_is_too_long_keeps_what_it_stored() {
    let rig = Rig::new();
    let mut body = format!("{HELLO}\n{HELLO}");
    body.push_str(&"\n".repeat(100_000));
    body.push_str(HELLO);
    let lines = rig
        .post("/v1/batches", &[NDJSON, STREAM], body)
        .await
        .lines();
    let statuses: Vec<_> = lines[..2]
        .iter()
        .map(|line| line["status"].clone())
        .collect();
    assert_eq!(statuses, [202, 202]);
    let summary = &lines[2]["summary"];
    assert_eq!(
        (&summary["accepted"], &summary["complete"]),
        (&2.into(), &false.into())
    );
    assert_eq!(summary["error"]["code"], "batch_too_large");
}

#[tokio::test]
async fn a_stream_waits_for_its_tenants_rate() {
    let rig = Rig::with(|config| {
        let rate = config.tenants[1].1.ingress.as_mut().unwrap();
        rate.per = Duration::from_millis(20);
    });
    let answer = rig
        .post("/v1/batches", &[NDJSON, STREAM, HIVE], stream(60))
        .await;
    let summary = answer.lines().pop().unwrap();
    assert_eq!(
        summary["summary"]["accepted"], 60,
        "three bursts of 20, and no 429"
    );
}

#[tokio::test]
async fn lists_page_with_cursors() {
    let rig = Rig::new();
    for _ in 0..5 {
        assert_eq!(rig.post("/v1/messages", &[JSON], HELLO).await.status, 202);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/messages?limit=2&class=otp".to_owned();
    loop {
        let page = rig.get(&path).await;
        let json = page.json();
        seen.extend(
            json["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| m["id"].clone()),
        );
        if json["has_more"] == false {
            assert!(!page.headers.contains_key("link"));
            break;
        }
        let link = page.headers["link"].to_str().unwrap();
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
        assert!(link.ends_with("; rel=\"next\""));
    }
    assert_eq!(seen.len(), 5);
    assert!(
        seen.is_sorted_by(|a, b| a.as_str() > b.as_str()),
        "newest first"
    );
    let first = rig.get("/v1/messages?limit=2&class=otp").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    rig.get(&format!("/v1/messages?cursor={cursor}"))
        .await
        .is(400, "invalid_cursor");
    rig.get("/v1/messages?stauts=sent")
        .await
        .is(422, "invalid_request");
    let by_ref = rig
        .get("/v1/messages?client_ref=r1&to=%2B46701234567&tag=b")
        .await
        .json();
    assert_eq!(by_ref["data"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn events_are_read_and_waited_for() {
    let rig = Rig::new();
    rig.post("/v1/messages", &[JSON], HELLO).await;
    let page = rig.get("/v1/events?types=message.accepted").await.json();
    let events = page["data"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "message.accepted");
    assert_eq!(events[0]["tenant"], "acme");
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/v1/events?types=message.accepted&wait=30&after={cursor}");
    let (waited, _) = tokio::join!(rig.get(&path), rig.post("/v1/messages", &[JSON], HELLO));
    assert_eq!(waited.json()["data"].as_array().unwrap().len(), 1);
    let none = rig
        .get(&format!("/v1/events?after={cursor}&types=message.sent"))
        .await
        .json();
    assert_eq!(none["data"], serde_json::json!([]));
    for beyond in ["abc", "1000", "18446744073709551615"] {
        let path = format!("/v1/events?wait=30&after={beyond}");
        let refused = rig.get(&path).await;
        refused.is(400, "invalid_cursor");
        assert_eq!(refused.json()["errors"][0]["parameter"], "after");
    }
    rig.get("/v1/events?wait=31")
        .await
        .is(422, "invalid_request");
    rig.get("/v1/events?types=message.gone")
        .await
        .is(422, "invalid_request");
    rig.get_as("Bearer crm-secret", "/v1/events")
        .await
        .is(403, "insufficient_scope");
}

#[tokio::test]
async fn a_stop_ends_a_long_poll() {
    let rig = Rig::new();
    let (answer, ()) = tokio::join!(rig.get("/v1/events?wait=30"), async {
        tokio::task::yield_now().await;
        rig.stopper.stop();
    });
    assert_eq!(answer.json()["data"], serde_json::json!([]));
}

#[tokio::test]
async fn routes_are_shown() {
    let rig = Rig::new();
    let routes = rig.get("/v1/routes").await.json();
    assert_eq!(routes["data"][0]["name"], "carrier-a");
    let one = rig.get("/v1/routes/carrier-a").await.json();
    assert_eq!(one["hold_reason"], "route_down");
    assert_eq!(one["state"], "down");
    assert_eq!(
        one["throttle"],
        serde_json::json!({"paused_until": "1970-01-01T00:00:01.000Z", "last_minute": 3,
            "destinations_waiting": 1, "messages_behind": 2})
    );
    let rate = serde_json::json!({"effective": 12.5, "limited_by": "throttled"});
    assert_eq!(
        (&one["rate"], &one["window_effective"]),
        (&rate, &20.into())
    );
    rig.get("/v1/routes/nobody").await.is(404, "not_found");
    let orphans = rig.get("/v1/routes/carrier-a/orphans").await;
    assert_eq!(orphans.json()["data"].as_array().map(Vec::len), Some(0));
    rig.get("/v1/routes/nobody/orphans")
        .await
        .is(404, "not_found");
}
