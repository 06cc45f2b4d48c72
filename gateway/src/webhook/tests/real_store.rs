//! The stage on the real store, over real HTTP: every event of every message, and over a restart.

use std::path::Path;

use smallvec::smallvec;

use super::http::{Server, status, until};
use super::*;
use crate::files::temp::TempDir;
use crate::message::{
    Class, Encoding, FailoverOn, Message, OnAmbiguous, Phone, Priority, RouteIx, Texts,
};
use crate::outcome::{Outcome, OutcomeResult, Receipt, ReceiptState, Retry, Settle, Whose};
use crate::store::{Accepted, Draft, RouteFacts};

fn open_store(path: &Path) -> Store {
    let day = Duration::from_secs(86_400);
    let config = crate::store::Config {
        path: path.to_owned(),
        retention_messages: 30 * day,
        retention_content: 7 * day,
        retention_events: 30 * day,
        retention_idempotency: day,
        memory: 256 << 20,
        queued: 1_000_000,
        suppressions: 1 << 20,
        disk_reserve: 0,
        routes: vec![RouteFacts {
            name: "a".to_owned(),
            receipts: true,
            receipt_timeout: day,
            response_timeout: Duration::from_secs(30),
            ladder: crate::store::Ladder::default(),
            parts: crate::outcome::PartRule::All,
            charset: codecs::text::Charset::default(),
            retries: Default::default(),
        }],
        tenants: vec!["acme".to_owned()],
        endpoints: vec!["crm".to_owned()],
        inbound: crate::inbound::rules::Config::default(),
    };
    Store::open(config, Clock::system()).unwrap().0
}

fn draft(number: usize) -> Draft {
    let texts = ["ACME", "hello", "ref", "", "", "", "", "", "", ""];
    Draft {
        message: Message {
            id: MessageId(0),
            tenant: TenantIx(0),
            to: Phone::parse(&format!("+4670{number:07}")).unwrap(),
            class: Class::Transactional,
            priority: Priority::Normal,
            on_ambiguous: OnAmbiguous::Retry,
            failover_on: FailoverOn::ALL,
            encoding: Encoding::Gsm7,
            segments: 1,
            concat_ref: 0,
            sms: None,
            policy: crate::message::Policy::default(),
            callback: None,
            batch: None,
            accepted_at: UnixMs::ZERO,
            expires_at: UnixMs(u64::MAX / 2),
            routes: smallvec![RouteIx(0)],
            steps: None,
            texts: Texts::pack(texts).unwrap(),
        },
        key: None,
    }
}

/// Takes messages through their whole lives: each makes a sent and a delivered event.
async fn live(store: &Store, numbers: std::ops::Range<usize>) {
    let accepted = store
        .accept(numbers.clone().map(draft).collect())
        .await
        .unwrap();
    let now = Clock::system().now();
    let provider = |number: usize| format!("m{number:08}").as_bytes().into();
    let settles = accepted
        .iter()
        .zip(numbers.clone())
        .map(|(accepted, number)| {
            let Accepted::Stored(message) = accepted else {
                panic!("test: {accepted:?}");
            };
            Settle {
                id: message.id,
                route: RouteIx(0),
                part: 0,
                outcome: Outcome {
                    result: OutcomeResult::Accepted,
                    whose: Whose::Peer,
                    code: 0,
                    reason: None,
                    retry: Retry::Never,
                    provider_id: provider(number),
                    text: None,
                    unregistered: UnixMs::ZERO,
                    handed_at: now,
                    answered_at: now,
                },
                last: true,
                late: false,
            }
        });
    store.settle(settles.collect()).await.unwrap();
    let receipts = numbers.map(|number| Receipt {
        route: RouteIx(0),
        provider_id: provider(number),
        text_id: Box::default(),
        recipient: None,
        state: ReceiptState::Delivered,
        reason: None,
        err: "000".into(),
        network_error: None,
        operator_at: None,
        raw: "".into(),
        tlvs: Box::default(),
        stat: "".into(),
        pdu: crate::outcome::RawOctets::default(),
        clues: None,
        received_at: now,
    });
    store.apply_receipts(receipts.collect()).await.unwrap();
}

/// The ids and the (message, status) pairs of the events in what was seen.
fn told(seen: &[Seen]) -> (BTreeSet<String>, BTreeSet<(String, String)>, usize) {
    let (mut ids, mut states, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
    for one in seen {
        let body: serde_json::Value = serde_json::from_slice(&one.body).unwrap();
        assert_eq!(body["type"], "batch");
        for event in body["data"]["events"].as_array().unwrap() {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            ids.insert(text(&event["id"]));
            let data = &event["data"];
            states.insert((text(&data["message_id"]), text(&data["status"])));
            count += 1;
        }
    }
    (ids, states, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_also_over_a_restart() {
    const MESSAGES: usize = 3_000;
    let directory = TempDir::new();
    let mut server = Server::start(|_| status(200)).await;
    let config = config(vec![endpoint(0, &server.url(), batches(500))]);
    let clock = Clock::system();

    let store = open_store(&directory.0);
    let (stage, webhooks) = open(&config, &store, &clock).unwrap();
    let (stopper, stop) = Stopper::new();
    let running = tokio::spawn(stage.run(stop));
    live(&store, 0..MESSAGES).await;
    until(&webhooks, |view| {
        view.cursor >= 3 * MESSAGES as u64 && view.in_flight == 0
    })
    .await;
    stopper.stop();
    running.await.unwrap();
    // These happen while nobody posts.
    live(&store, MESSAGES..MESSAGES + 5).await;
    let closing = store.clone();
    tokio::task::spawn_blocking(move || closing.close())
        .await
        .unwrap();
    drop((store, webhooks));
    let (ids, states, count) = told(&server.saw(1).await);
    assert_eq!(
        (ids.len(), states.len(), count),
        (2 * MESSAGES, 2 * MESSAGES, 2 * MESSAGES)
    );

    let store = open_store(&directory.0);
    let (stage, webhooks) = open(&config, &store, &clock).unwrap();
    let (stopper, stop) = Stopper::new();
    let running = tokio::spawn(stage.run(stop));
    live(&store, MESSAGES + 5..MESSAGES + 10).await;
    let all = 3 * (MESSAGES as u64 + 10);
    until(&webhooks, |view| view.cursor >= all && view.in_flight == 0).await;
    stopper.stop();
    running.await.unwrap();
    tokio::task::spawn_blocking(move || store.close())
        .await
        .unwrap();
    let (ids, _, count) = told(&server.saw(1).await);
    assert_eq!(
        (ids.len(), count),
        (2 * (MESSAGES + 10), 2 * (MESSAGES + 10))
    );
}
