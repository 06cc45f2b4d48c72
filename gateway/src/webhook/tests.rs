//! The stage as a whole: in virtual time against endpoints of a test, and over real HTTP.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use codecs::webhook::Signer;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use parking_lot::Mutex;

use super::*;
use crate::clock::UnixMs;
use crate::event::Event;
use crate::message::MessageId;
use crate::stop::Stopper;
use crate::store::Rendered;

mod http;
mod real_store;
mod tls;
mod virtual_time;

const START: UnixMs = UnixMs(1_795_248_000_000);
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";

/// A log in memory.
struct TestLog {
    events: Mutex<Vec<Rendered>>,
    head: watch::Sender<u64>,
    states: Mutex<BTreeMap<u16, EndpointState>>,
    saves: Mutex<usize>,
    notes: Mutex<Vec<(EndpointIx, EventKind)>>,
}

impl TestLog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::default(),
            head: watch::channel(0).0,
            states: Mutex::default(),
            saves: Mutex::default(),
            notes: Mutex::default(),
        })
    }

    /// Adds `count` events of a tenant.
    fn publish(&self, tenant: u16, count: usize) {
        let mut events = self.events.lock();
        for _ in 0..count {
            let seq = events.len() as u64 + 1;
            let event = Event {
                seq,
                at: START.plus(Duration::from_millis(seq)),
                tenant: TenantIx(tenant),
                kind: EventKind::MessageSent,
                version: 1,
                subject: MessageId(seq),
                changes: 1,
            };
            events.push(Rendered {
                event,
                callback: None,
                json: Bytes::from(format!("{{\"n\":{seq}}}")),
            });
        }
        self.head.send_replace(events.len() as u64);
    }

    fn read(&self, query: &EventQuery) -> EventPage {
        let events = self.events.lock();
        let mut page = EventPage {
            read_to: events.len() as u64,
            ..EventPage::default()
        };
        let after = usize::try_from(query.after).unwrap();
        for one in events.iter().skip(after) {
            let tenant = query.tenant.is_none_or(|tenant| tenant == one.event.tenant);
            if tenant && query.kinds.has(one.event.kind) {
                if page.events.len() == query.limit {
                    page.read_to = one.event.seq - 1;
                    break;
                }
                page.events.push(one.clone());
            }
        }
        page
    }

    fn log(self: &Arc<Self>) -> Log {
        let (reader, saver, noter) = (self.clone(), self.clone(), self.clone());
        let states = self.states.lock();
        Log {
            read: Arc::new(move |query| {
                let log = reader.clone();
                Box::pin(async move { log.read(&query) })
            }),
            save: Arc::new(move |endpoint, state| {
                *saver.saves.lock() += 1;
                saver.states.lock().insert(endpoint.0, state);
            }),
            note: Arc::new(move |_, endpoint, kind| noter.notes.lock().push((endpoint, kind))),
            head: self.head.subscribe(),
            states: states
                .iter()
                .map(|(ix, state)| (EndpointIx(*ix), state.clone()))
                .collect(),
            ids: Ids::new(7),
            names: Arc::new(Names {
                tenants: vec!["acme".to_owned()],
                routes: Vec::new(),
                endpoints: ["one", "two", "three"].map(str::to_owned).to_vec(),
            }),
        }
    }

    fn state(&self, endpoint: u16) -> EndpointState {
        self.states
            .lock()
            .get(&endpoint)
            .cloned()
            .unwrap_or_default()
    }
}

fn endpoint(ix: u16, url: &str, batch: Option<Batch>) -> Endpoint {
    Endpoint {
        ix: EndpointIx(ix),
        tenant: TenantIx(0),
        url: url.to_owned(),
        secrets: vec![Secret::parse(SECRET).unwrap()],
        kinds: EventKinds::defaults(),
        batch,
        rate: None,
        headers: Vec::new(),
    }
}

fn batches(max_events: usize) -> Option<Batch> {
    Some(Batch {
        max_events,
        max_wait: Duration::from_millis(100),
        max_bytes: Batch::BYTES_MAX,
    })
}

fn config(endpoints: Vec<Endpoint>) -> Config {
    Config {
        endpoints,
        allow_http: true,
        allow_private: vec!["127.0.0.0/8".parse().unwrap()],
        callback_kinds: EventKinds(0),
        extra_roots: Vec::new(),
    }
}

/// A request as an endpoint saw it.
#[derive(Clone, Debug)]
struct Seen {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The numbers of its events.
    fn events(&self) -> Vec<u64> {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        let number = |event: &serde_json::Value| event["n"].as_u64().unwrap();
        match json["data"]["events"].as_array() {
            Some(events) => events.iter().map(number).collect(),
            None => vec![number(&json)],
        }
    }
}
