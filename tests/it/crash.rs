//! Crash: the real binary under load, killed at random moments and started again, many times over.
//!
//! What must hold: nothing that got a 202 is lost, under `hold` nothing is sent twice, under `retry`
//! no more than 2 × window × binds per kill, each of them with `duplicate_possible`, no event is lost,
//! and idempotency keys still hold.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sim::receiver::Report;
use sim::smsc::{Faults, Receipts, Seen, SmscConfig};
use tokio::sync::watch;
use trunkline_tests::config::OPERATOR_KEY;
use trunkline_tests::scene::{number, received};
use trunkline_tests::{Client, SOON, Scene};

/// Kills.
const ROUNDS: usize = 24;
/// Messages that one round offers. With the carrier's delay, more than a round can send.
const PER_ROUND: usize = 300;
/// Lines of one request.
const LINES: usize = 60;
/// Binds of the route, and the window of each.
const BINDS: u16 = 2;
const WINDOW: u16 = 20;
/// How long nothing new may come while the last start brings everything to its end.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// Every kind of event, so that the log's numbers have to be dense.
const ALL_TYPES: &str = "message.accepted,message.sent,message.delivered,message.undelivered,\
    message.failed,message.rejected,message.expired,message.unknown,attempt.failed,\
    endpoint.disabled,delivery.exhausted";

/// Random moments that a seed repeats (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// `TRUNKLINE_SEED`, or one of its own.
fn seed() -> u64 {
    let given = std::env::var("TRUNKLINE_SEED").ok();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    given.map_or_else(
        || u64::from(now().subsec_nanos()),
        |text| text.parse().unwrap(),
    )
}

fn holds(n: usize) -> bool {
    n.is_multiple_of(4)
}

/// Segments of the nth message.
fn parts(n: usize) -> usize {
    if n.is_multiple_of(3) { 2 } else { 1 }
}

fn line(n: usize) -> Value {
    let text = match parts(n) {
        1 => format!("short {n}"),
        _ => format!("long {n} {}", "0123456789".repeat(20)),
    };
    let policy = if holds(n) { "hold" } else { "retry" };
    json!({
        "to": number(n), "from": "ACME", "text": text, "idempotency_key": format!("key-{n}"),
        "policy": {"on_ambiguous": policy},
    })
}

/// What the load knows of its messages: the id of each that was acknowledged.
#[derive(Debug, Default)]
struct Acknowledged(HashMap<usize, String>);

impl Acknowledged {
    /// Offers messages and keeps what is acknowledged; whether the answer came to its end.
    async fn offer(&mut self, client: &Client, numbers: &[usize]) -> bool {
        let lines: Vec<Value> = numbers.iter().map(|n| line(*n)).collect();
        let (results, whole) = client.ndjson_until_it_breaks(&lines).await;
        for result in results {
            let index = result["index"]
                .as_u64()
                .and_then(|index| usize::try_from(index).ok());
            let Some(n) = index.and_then(|index| numbers.get(index)) else {
                continue;
            };
            assert_eq!(result["status"], 202, "message {n}: {result}");
            let id = result["id"].as_str().unwrap().to_owned();
            if let Some(known) = self.0.insert(*n, id.clone()) {
                assert_eq!(known, id, "message {n} got another id");
                assert_eq!(
                    result["replayed"], true,
                    "message {n} was acknowledged before"
                );
            }
        }
        whole
    }
}

fn config(seed: u64) -> SmscConfig {
    let receipts = Receipts {
        delay_ms: 5,
        jitter_ms: 100,
        resend: true,
        ..Receipts::default()
    };
    SmscConfig {
        seed,
        last_max: 100_000,
        faults: Faults {
            delay_ms: 5,
            jitter_ms: 20,
            receipts,
            ..Faults::default()
        },
        ..SmscConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_loses_nothing() {
    let seed = seed();
    eprintln!("TRUNKLINE_SEED={seed}");
    let mut dice = Dice(seed);
    let mut scene = Scene::start("crash", config(seed), |setup| {
        setup.routes[0] = setup.routes[0].clone().binds(BINDS, WINDOW);
        setup.endpoints[0] = setup.endpoints[0]
            .clone()
            .with("batch = { max_events = 100, max_wait_ms = 50 }");
    })
    .await
    .unwrap();

    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let numbers: Vec<usize> = (round * PER_ROUND..(round + 1) * PER_ROUND).collect();
        let client = scene.client.clone();
        let (tell, mut taken) = watch::channel(false);
        let load = async {
            for numbers in numbers.chunks(LINES) {
                if !acknowledged.offer(&client, numbers).await {
                    break;
                }
                tell.send_replace(true);
            }
            // Whatever is left of the round, there is work in flight.
            std::future::pending::<()>().await;
        };
        let moment = Duration::from_millis(20 + dice.below(600));
        let kill = async {
            tokio::time::sleep(moment).await;
            // However slow the machine is: three of four kills find a load.
            if round % 4 != 0 {
                let taken = tokio::time::timeout(SOON, taken.wait_for(|taken| *taken)).await;
                taken.expect("a request is answered").unwrap();
            }
        };
        tokio::select! {
            () = load => {}
            () = kill => {}
        }
        scene.restart(true).await.unwrap();
    }

    let all: Vec<usize> = (0..ROUNDS * PER_ROUND).collect();
    let before = acknowledged.0.len();
    eprintln!(
        "{before} of {} acknowledged before the last start",
        all.len()
    );
    assert!(before > all.len() / 10, "the kills came before the load");
    for numbers in all.chunks(1_000) {
        assert!(
            acknowledged.offer(&scene.client, numbers).await,
            "resending broke"
        );
    }
    assert_eq!(acknowledged.0.len(), all.len());
    let ids: HashSet<&String> = acknowledged.0.values().collect();
    assert_eq!(ids.len(), all.len(), "two messages share an id");

    let count = all.len() as u64;
    let ended = |report: &Report| report.messages_final >= count;
    let ended = scene.receiver.wait_until(ended, DRAIN_WITHIN).await;
    let unknown = check_events(&scene, &acknowledged).await;
    let doubled = check_carrier(&scene.smsc.messages(), &acknowledged, &unknown);
    check_flags(&scene, &acknowledged, &doubled).await;
    ended.unwrap();
}

/// What there is to know of a message that came out wrong.
async fn story(scene: &Scene, n: usize, id: &str) -> String {
    let timeline = scene
        .client
        .json(&format!("/v1/messages/{id}/timeline"))
        .await;
    let to = number(n);
    let seen = scene.smsc.messages().into_iter();
    let seen: Vec<_> = seen
        .filter(|seen| seen.dest.2 == to.trim_start_matches('+'))
        .map(|seen| (seen.message_id, seen.status))
        .collect();
    let report = scene.smsc.report();
    format!("message {n}, {id}: carrier saw {seen:?}\n{timeline:#?}\n{report:?}")
}

/// Checks that no event is lost, in the log and at the receiver; the messages that ended unknown.
async fn check_events(scene: &Scene, acknowledged: &Acknowledged) -> HashSet<usize> {
    let operator = scene.client.with_key(OPERATOR_KEY);
    let log = operator.events(ALL_TYPES).await.unwrap();
    let numbers: Vec<u64> = log
        .iter()
        .map(|event| sequence(event["id"].as_str().unwrap()))
        .collect();
    let dense: Vec<u64> = (1..=log.len() as u64).collect();
    assert_eq!(numbers, dense, "the log's numbers are dense");

    let kinds = |events: &[Value]| {
        let mut kinds: HashMap<String, HashSet<String>> = HashMap::new();
        for event in events {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let id = text(&event["data"]["message_id"]);
            kinds.entry(id).or_default().insert(text(&event["type"]));
        }
        kinds
    };
    let (logged, told) = (kinds(&log), kinds(&received(&scene.receiver)));
    let mut unknown = HashSet::new();
    for (n, id) in &acknowledged.0 {
        let (logged, told) = (&logged[id], &told[id]);
        let missing: Vec<_> = logged
            .difference(told)
            .filter(|kind| *kind != "message.accepted")
            .collect();
        assert!(
            missing.is_empty(),
            "message {n}, {id}: {missing:?} did not reach the receiver"
        );
        if logged.contains("message.delivered") {
            assert!(logged.contains("message.sent"), "message {n}: {logged:?}");
        } else {
            let known = logged.contains("message.unknown") && holds(*n);
            assert!(known, "{}", story(scene, *n, id).await);
            unknown.insert(*n);
        }
    }
    unknown
}

/// Checks what the carrier saw: everything, and no more copies than are allowed.
/// Gives the messages of which it saw a part twice.
fn check_carrier(
    seen: &[Seen],
    acknowledged: &Acknowledged,
    unknown: &HashSet<usize>,
) -> HashSet<usize> {
    let mut copies: HashMap<&str, HashMap<&[u8], usize>> = HashMap::new();
    for seen in seen {
        // Of a long message's header the reference may differ, the part must not.
        let text = match seen.short_message.as_slice() {
            text if seen.esm_class & 0x40 != 0 => &text[5..],
            text => text,
        };
        *copies
            .entry(&seen.dest.2)
            .or_default()
            .entry(text)
            .or_default() += 1;
    }
    let (mut extra, mut twice, none) = (0, HashSet::new(), HashMap::new());
    for n in acknowledged.0.keys() {
        let to = number(*n);
        let copies = copies.get(to.trim_start_matches('+')).unwrap_or(&none);
        if !unknown.contains(n) {
            assert_eq!(
                copies.len(),
                parts(*n),
                "message {n}: the carrier saw {copies:?}"
            );
        }
        let doubled: usize = copies.values().map(|count| count - 1).sum();
        assert!(
            !holds(*n) || doubled == 0,
            "message {n} is held, and was sent twice"
        );
        extra += doubled;
        if doubled > 0 {
            twice.insert(*n);
        }
    }
    let allowed = 2 * usize::from(WINDOW) * usize::from(BINDS) * ROUNDS;
    eprintln!(
        "{extra} parts were sent twice, {allowed} may; {} unknown",
        unknown.len()
    );
    assert!(extra <= allowed);
    twice
}

/// Checks that whatever was sent twice says so, in its last event and when asked, and that hardly
/// anything else does: one lane, so at most what was out or unsettled, and what was claimed ahead.
async fn check_flags(scene: &Scene, acknowledged: &Acknowledged, doubled: &HashSet<usize>) {
    let mut told: HashMap<String, bool> = HashMap::new();
    for event in received(&scene.receiver) {
        let last = event["data"]["final"] == true;
        if let (true, Some(id)) = (last, event["data"]["message_id"].as_str()) {
            let flag = event["data"]["duplicate_possible"].as_bool();
            told.insert(id.to_owned(), flag.unwrap_or_default());
        }
    }
    for n in doubled {
        let id = &acknowledged.0[n];
        let message = scene.client.message(id).await.unwrap();
        let asked = &message["duplicate_possible"];
        if *asked != true || told.get(id) != Some(&true) {
            panic!("doubled without a word: {}", story(scene, *n, id).await);
        }
    }
    let flagged = told.values().filter(|flag| **flag).count();
    let allowed = 4 * usize::from(WINDOW) * usize::from(BINDS) * ROUNDS;
    let needless = flagged - doubled.len();
    eprintln!("{flagged} messages are flagged, {needless} of them were not doubled");
    assert!(needless <= allowed, "{allowed} may be");
}

/// The log's number in an event's id: a ULID of 48 bits of time, 48 of number, 32 of node.
fn sequence(id: &str) -> u64 {
    let digits = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let ulid = id.strip_prefix("evt_").unwrap();
    let ulid = ulid.bytes().fold(0_u128, |ulid, letter| {
        let digit = digits.iter().position(|digit| *digit == letter).unwrap();
        (ulid << 5) | digit as u128
    });
    u64::try_from((ulid >> 32) & ((1 << 48) - 1)).unwrap()
}
