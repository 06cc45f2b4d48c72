//! Accept as a whole: requests through the router, on a real store in a temporary directory.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use parking_lot::Mutex;
use serde_json::Value;

use super::answer::Body;
use super::check::tests::{config, planner};
use super::*;
use crate::clock::UnixMs;
use crate::route_view::{Hold, QueueView, RateView, ReceiptsView, RouteState, ThrottleView};
use crate::stop::Stopper;
use crate::store::{self, Ladder, RouteFacts};

mod asking;
mod batches;
mod bodies;
mod document;
mod preview;
mod push;
mod reading;
mod receipts;
mod resume;
mod sending;
mod socket;
mod streams;
mod suppressions;
mod suppressions_room;
mod waits;

/// A gateway on a store that goes with its test.
pub(crate) struct Rig {
    gateway: Arc<Gateway>,
    stopper: Stopper,
    /// How the routes stand, by number.
    holds: Arc<Mutex<[Hold; 4]>>,
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
        let orphans = |name: &str| (name == "carrier-a").then(Vec::new);
        let holds = Arc::<Mutex<[Hold; 4]>>::default();
        let told = holds.clone();
        let routes = RoutesView::new(|| vec![carrier_a()], orphans)
            .with_resume(|name| name == "carrier-a")
            .with_holds(move |route| told.lock()[usize::from(route.0)]);
        let gateway = Gateway::new(&config, store, planner(), routes, clock, stop)
            .with_receipt_keys(ReceiptKeys::of(&[7; 32]));
        Self {
            gateway: Arc::new(gateway),
            stopper,
            holds,
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

/// A route that is down.
fn carrier_a() -> RouteView {
    RouteView {
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
