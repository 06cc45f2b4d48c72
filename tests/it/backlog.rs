//! Backlog: 300,000 messages with the carrier down, by far more than stay in memory. What waits costs
//! disk and hardly any memory; when the carrier comes up, all of it goes out, once and in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sim::smsc::{Receipts, Send, Smsc, SmscConfig};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Client, Directory, Gateway, Nobody, Route, SOON, Setup, wait_while_moving};

/// Messages at the first look at the memory, and at the second.
const FIRST: usize = 100_000;
const ALL: usize = 300_000;
/// Messages of one batch.
const BATCH: usize = 500;
/// `limits.memory`: with it the memory is at its plateau before the first look; with the default, four
/// times as much may be young.
const MEMORY: &str = "64MB";
/// Memory that a message may cost beyond the first look, in octets: the figure. Seen: 6 to 9.
const OCTETS_EACH: u64 = 30;
/// By how much two looks at the same memory may differ: what the allocator keeps is not what is used. Seen:
/// from 1.9 MB less to 6.4 MB more. A message that stayed in memory would take hundreds of octets.
const NOISE_OCTETS: u64 = 4 << 20;
/// How long nothing may be given back before it is over. Seen: 2 s.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(4);

/// Hands over messages `from..until`.
async fn offer(client: &Client, from: usize, until: usize) {
    for first in (from..until).step_by(BATCH) {
        let messages: Vec<Value> = (first..first + BATCH)
            .map(|n| json!({"to": number(n), "from": "ACME", "text": "waits for its carrier"}))
            .collect();
        let batch = json!({"messages": messages});
        let answer = client.post("/v1/batches", &batch).await.unwrap();
        assert_eq!(answer.json()["accepted"], BATCH, "at message {first}");
    }
}

/// A gauge of the admin listener; `None` before it was first set.
async fn gauge(admin: &Client, name: &str) -> Option<f64> {
    let text = admin.get("/metrics").await.ok()?.body;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.split(' ').nth(1)?.parse().ok()
}

/// The gateway's memory when the archiver has nothing left to do and nothing more is given back: the
/// allocator does so some time after it was freed.
async fn settled_rss(gateway: &Gateway) -> u64 {
    let admin = gateway.admin_client();
    let (mut least, mut since) = (u64::MAX, Instant::now());
    wait_while_moving("the archiver", SOON, async || {
        let rss = gateway.rss_bytes().unwrap();
        let idle = gauge(&admin, "trunkline_store_archive_lag_seconds").await == Some(0.0);
        let archived = gauge(&admin, "trunkline_store_archived_messages_total").await;
        if rss < least || !idle {
            (least, since) = (rss, Instant::now());
        }
        match since.elapsed() >= GIVEN_BACK_WITHIN {
            true => Ok(least),
            false => Err((least, archived)),
        }
    })
    .await
}

fn carrier(listen: SocketAddr) -> SmscConfig {
    let mut config = SmscConfig {
        listen,
        last_max: ALL,
        ..smsc_config()
    };
    // Receipts are another scenario's; here they would only make it longer.
    config.faults.receipts = Receipts {
        send: Send::Off,
        ..Receipts::default()
    };
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_thousand_wait_on_disk_and_drain_in_order() {
    let nobody = Nobody::new().unwrap();
    let addr = nobody.addr;
    let directory = Directory::new("backlog-large").unwrap();
    directory
        .configure(&Setup {
            routes: vec![Route::new("main", addr).binds(1, 1_000)],
            limits: format!("memory = {MEMORY:?}"),
            ..Setup::default()
        })
        .unwrap();
    let gateway = Gateway::start(&directory).await.unwrap();
    let client = gateway.client();

    let start = Instant::now();
    offer(&client, 0, FIRST).await;
    eprintln!("{FIRST} accepted after {:?}", start.elapsed());
    let first = settled_rss(&gateway).await;
    eprintln!("settled at {first} octets after {:?}", start.elapsed());
    offer(&client, FIRST, ALL).await;
    eprintln!("{ALL} accepted after {:?}", start.elapsed());
    let all = settled_rss(&gateway).await;
    eprintln!("settled at {all} octets after {:?}", start.elapsed());
    let grown = all.saturating_sub(first);
    let limit = (ALL - FIRST) as u64 * OCTETS_EACH + NOISE_OCTETS;

    let smsc = Smsc::start(carrier(addr)).await.unwrap();
    let admin = gateway.admin_client();
    // The next try to bind may be a minute away by now: it is asked for.
    let why = json!({"reason": "the carrier is up"});
    let resumed = client.post("/v1/routes/main/resume", &why).await;
    assert_eq!(resumed.unwrap().status, 200);
    wait_while_moving("the backlog", SOON, async || {
        let queued = gauge(&admin, "trunkline_queue_messages").await;
        let sent = smsc.report().unique;
        match sent == ALL as u64 && queued == Some(0.0) {
            true => Ok(()),
            false => Err((sent, queued)),
        }
    })
    .await;
    eprintln!("drained after {:?}", start.elapsed());
    let report = smsc.report();
    assert_eq!((report.duplicates, report.accepted), (0, ALL as u64));
    for (n, seen) in smsc.messages().iter().enumerate() {
        assert_eq!(
            seen.dest.2,
            number(n)[1..],
            "one bind, one lane: accept order"
        );
    }
    assert!(
        grown < limit,
        "{first} octets at {FIRST} messages, {all} at {ALL}: grown by {grown}, {limit} may"
    );
}
