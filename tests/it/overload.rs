//! Overload: a route of 200/s is offered as much as the machine can, up to 5,000/s. What is too much is refused in the contract's
//! words, bulk before codes; memory stays bounded, the carrier's contract is kept, and everything that
//! was accepted is delivered once. The issue's 5,000/s for 60 s, scaled to CI by a small `limits.queued`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sim::receiver::Report;
use trunkline_tests::config::OTHER_KEY;
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Client, SOON, Scene};

/// The route's contract in segments per second, its burst, its binds and their window.
const RATE: u32 = 200;
const BURST: u32 = 20;
const BINDS: u16 = 2;
const WINDOW: u16 = 50;
/// What the carrier counts as a violation: the rate, a burst, and what a carrier that was not scheduled
/// finds waiting in its sockets, never more than the windows.
const CONTRACT: u32 = RATE + BURST + BINDS as u32 * WINDOW as u32;
/// `limits.queued`. Promotional is refused from 80 % of it, transactional from 95 %.
const QUEUED: u32 = 1_200;
/// How long it is offered at least, and at most: until every refusal has been seen, and codes during it.
/// A machine that takes longer cannot offer a third more than the route's rate.
const OFFERED_FOR: Duration = Duration::from_secs(8);
const OFFERED_MAX: Duration = Duration::from_secs(40);
/// What one bulk tenant offers in each beat of 20 ms: 5,000/s in all.
const BEAT: Duration = Duration::from_millis(20);
const BATCH: usize = 50;
/// Beats between two otps, and between two singles of the bulk tenants.
const OTP_EVERY: usize = 5;
/// Rate of the second tenant, per second.
const INGRESS: u32 = 100;
/// Most memory beyond that of an idle gateway. Chosen: far above the queue's, some 3 MB, and far below
/// that of 40,000 messages kept by mistake with their requests.
const GROWTH_MAX: u64 = 60 << 20;

/// What was answered, by status; the numbers that were accepted.
#[derive(Default)]
struct Answers {
    by_code: BTreeMap<(u16, String), usize>,
    accepted: usize,
    otps: usize,
    offered: usize,
}

impl Answers {
    fn refused(&self, status: u16, code: &str) -> bool {
        self.by_code.contains_key(&(status, code.to_owned()))
    }

    /// Every refusal came, and codes were taken while bulk was refused.
    fn complete(&self) -> bool {
        self.refused(503, "overloaded") && self.refused(429, "quota_exceeded") && self.otps > 0
    }

    fn count(&mut self, status: u16, code: &Value) {
        let code = code.as_str().unwrap_or_default().to_owned();
        *self.by_code.entry((status, code)).or_default() += 1;
    }

    /// One message, alone: a refusal says in its headers when to come again.
    async fn single(&mut self, client: &Client, message: &Value) -> u16 {
        self.offered += 1;
        let answer = client.post("/v1/messages", message).await.unwrap();
        if answer.status == 202 {
            self.accepted += 1;
            return 202;
        }
        let json = answer.json();
        self.count(answer.status, &json["code"]);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let seconds = answer.header("retry-after").parse::<u32>();
        assert!(seconds.is_ok_and(|seconds| seconds > 0), "{answer:?}");
        assert_eq!(json["retryable"], true, "{json}");
        answer.status
    }

    /// A batch: its items are refused one by one, or all of it when the tenant is over its rate.
    async fn batch(&mut self, client: &Client, messages: Vec<Value>) {
        self.offered += messages.len();
        let batch = json!({"messages": messages});
        let answer = client.post("/v1/batches", &batch).await.unwrap();
        let json = answer.json();
        let Some(results) = json["results"].as_array() else {
            self.count(answer.status, &json["code"]);
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
            return;
        };
        for result in results {
            if result["status"] == 202 {
                self.accepted += 1;
            } else {
                let status = result["status"].as_u64().unwrap_or_default();
                self.count(u16::try_from(status).unwrap(), &result["error"]["code"]);
            }
        }
    }
}

fn sms(n: usize, class: &str) -> Value {
    json!({"to": number(n), "from": "ACME", "text": "overload", "class": class})
}

async fn scene() -> Scene {
    let mut carrier = smsc_config();
    carrier.faults.per_second = Some(CONTRACT);
    Scene::start("overload-rate", carrier, |setup| {
        let rate = format!("rate = \"{RATE}/s, burst {BURST}\"");
        setup.routes[0] = setup.routes[0].clone().binds(BINDS, WINDOW).with(&rate);
        setup.limits = format!("queued = {QUEUED}");
        let batched = "batch = { max_events = 500, max_wait_ms = 100 }";
        setup.endpoints[0] = setup.endpoints[0].clone().with(batched);
        let url = format!("http://{}/hooks/other", setup.endpoints[0].addr);
        setup.sections = format!(
            r#"[[auth.keys]]
name = "other"
tenant = "other"
scopes = ["messages:write"]
secret = {{ env = "TEST_OTHER_KEY" }}
[tenants.other]
senders = ["*"]
ingress_rate = "{INGRESS}/s, burst {BATCH}"
[endpoints.other]
tenant = "other"
url = {url:?}
secret = {{ env = "TEST_SECRET" }}
{batched}
"#
        );
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_too_much_is_refused_and_what_is_accepted_is_delivered() {
    let scene = scene().await;
    let other = scene.client.with_key(OTHER_KEY);
    let idle = scene.gateway.rss_bytes().unwrap();
    let (mut answers, mut most, mut refusing) = (Answers::default(), idle, false);
    let mut numbers = 0..;
    let mut next = || numbers.next().unwrap();
    let start = Instant::now();
    let mut beats = tokio::time::interval(BEAT);
    for beat in 0.. {
        let offered_for = start.elapsed();
        if offered_for >= OFFERED_MAX || offered_for >= OFFERED_FOR && answers.complete() {
            break;
        }
        beats.tick().await;
        let bulk = (0..BATCH).map(|_| sms(next(), "promotional")).collect();
        answers.batch(&scene.client, bulk).await;
        let bulk = (0..BATCH).map(|_| sms(next(), "promotional")).collect();
        answers.batch(&other, bulk).await;
        if beat % OTP_EVERY == 0 {
            let bulk = sms(next(), "promotional");
            refusing |= answers.single(&scene.client, &bulk).await == 503;
            let bulk = sms(next(), "promotional");
            answers.single(&other, &bulk).await;
            // Whatever is refused: a code is not.
            let otp = answers.single(&scene.client, &sms(next(), "otp")).await;
            assert_eq!(otp, 202, "an otp was refused");
            answers.otps += usize::from(refusing);
        }
        most = most.max(scene.gateway.rss_bytes().unwrap());
    }
    eprintln!(
        "{} offered in {:?}, {} accepted, {} otps while bulk was refused; refused {:?}; {} MB idle, {} MB at most",
        answers.offered,
        start.elapsed(),
        answers.accepted,
        answers.otps,
        answers.by_code,
        idle >> 20,
        most >> 20,
    );
    assert!(answers.complete(), "bulk was never refused");
    assert_eq!(answers.by_code.len(), 2, "{:?}", answers.by_code);
    assert!(
        most - idle < GROWTH_MAX,
        "{idle} octets idle, {most} at most"
    );

    let accepted = answers.accepted as u64;
    let all = |report: &Report| report.messages_delivered >= accepted;
    scene.receiver.wait_until(all, SOON).await.unwrap();
    let took = start.elapsed();
    let report = scene.smsc.report();
    eprintln!(
        "all delivered after {took:?}, at most {} in a second",
        report.max_per_second
    );
    assert_eq!((report.unique, report.duplicates), (accepted, 0));
    assert_eq!(report.submits, accepted, "{report:?}");
    assert_eq!((report.contract_violations, report.throttled), (0, 0));
    // Over the whole run the contract holds to the message, however coarse the carrier's seconds are.
    let allowed = took.as_secs_f64() * f64::from(RATE) + f64::from(BURST);
    assert!(accepted as f64 <= allowed, "{accepted} of {allowed}");
}
