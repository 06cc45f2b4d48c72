//! Push chaos: every fault that the simulators know, while connections are ended, cut and silenced, limits
//! change and credentials are refused, and the gateway is stopped and killed on the way (push.md §9).
//!
//! What must hold, for each message and each device: one final outcome; what the service accepted and we
//! do not call sent, we call unknown; no second copy unless the first try was unknown and the policy is
//! `retry`, and then the message says so.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sim::push::apns::{self, Apns, ApnsConfig, Key};
use sim::push::fcm::{self, FcmConfig};
use sim::push::{Config, LINK_FAULTS, Report, TokenCounts};
use trunkline_tests::config::OPERATOR_KEY;
use trunkline_tests::powercut::Dice;
use trunkline_tests::push::{Push, android, ios};
use trunkline_tests::{SOON, wait_for};

/// Phases: the first ends with SIGTERM, the second with kill -9, the third with the end.
const PHASES: usize = 3;
/// Messages of one phase.
const PER_PHASE: usize = 667;
/// How long a message may take after the last blow and after the one before it. Chosen: a push that is never answered has three tries.
const SETTLE_WITHIN: Duration = Duration::from_secs(50);
/// Requests that are kept busy on one connection: below the load, so that something always waits.
const STREAMS: u32 = 20;
/// More messages, each time that nothing came of those before for so long; their numbers are beyond those
/// of the phases.
const MORE: usize = 100;
const MORE_MAX: usize = 10;
const MORE_FROM: usize = 1_000_000;
const IDLE: Duration = Duration::from_secs(5);
/// Seconds that a push lives which would wait for minutes.
const SHORT_TTL: u32 = 15;

/// Every event of a message that may be its last.
const ENDS: &str = "message.sent,message.delivered,message.undelivered,message.failed,\
    message.rejected,message.expired,message.unknown";

/// Not asked for: each has the whole route wait. A provider token that is too old although it is the newest
/// waits 20 minutes for the next one (the link's own tests have it), an access token that is refused within
/// its first minute for the rest of that, and a quota without `Retry-After` a minute.
const NOT_HERE: [(&str, &str); 3] = [
    ("ios", "40300000"),
    ("android", "40100000"),
    ("android", "42900000"),
];

/// This push, and no other, waits for a minute or longer, because the service asks for it or its device was
/// not found without being called gone: it expires.
const WAITS: [(&str, &str); 4] = [
    ("ios", "42900001"),
    ("android", "40400001"),
    ("android", "42900002"),
    ("android", "42900003"),
];

/// The connection says nothing more: costs seconds each time, so there is one for each service.
const SILENCE: &str = "b1ac0002";

/// One device of a message.
struct Target {
    platform: &'static str,
    token: String,
}

struct Pushed {
    targets: Vec<Target>,
    holds: bool,
    ttl: Option<u32>,
}

impl Pushed {
    fn line(&self, number: usize) -> Value {
        let device = |target: &Target| match target.platform {
            "ios" => ios(&target.token),
            _ => android(&target.token),
        };
        let devices: Vec<Value> = self.targets.iter().map(device).collect();
        let policy = if self.holds { "hold" } else { "retry" };
        let mut line = json!({
            "to": {"devices": devices},
            "content": {"push": {"title": format!("Ready {number}")}},
            "policy": {"on_ambiguous": policy},
            "idempotency_key": format!("push-{number}"),
        });
        if let Some(ttl) = self.ttl {
            line["ttl"] = ttl.into();
        }
        line
    }
}

/// A token that a fault begins with, for as many of its requests (`None`: for all).
fn token(prefix: &str, times: Option<u32>, number: usize) -> String {
    match times {
        Some(times) => format!("{prefix}0ff{times:x}{number:052x}"),
        None => format!("{prefix}{number:056x}"),
    }
}

/// Whether a fault may be there for ever: the push ends all the same, and takes no other with it.
fn may_last(prefix: &str) -> bool {
    const ENDS: [&str; 18] = [
        "4e5e0001", "4e5e0002", "4e5e0003", "4a1f0000", "b1ac0000", "b1ac0001", "1a7e0000",
        "1a7e0001", "b4000000", "b4000001", "40000000", "40400000", "41000000", "41000001",
        "41000002", "41000003", "41300000", "ba0d0000",
    ];
    ENDS.contains(&prefix)
}

/// Every fault of a platform, with how often it happens to its token.
fn faults(platform: &str, phase: usize) -> Vec<(&'static str, Option<u32>)> {
    let own: Vec<&'static str> = match platform {
        "ios" => apns::REFUSALS.iter().map(|row| row.prefix).collect(),
        _ => fcm::REFUSALS.iter().map(|row| row.prefix).collect(),
    };
    let links = LINK_FAULTS.iter().map(|row| row.prefix);
    let all = links.chain(own).filter(|prefix| {
        let here = !NOT_HERE.contains(&(platform, prefix));
        here && (*prefix != SILENCE || phase == 1)
    });
    let times = |prefix: &'static str| {
        let lasts = may_last(prefix) && phase == 1 || WAITS.contains(&(platform, prefix));
        (prefix, (!lasts).then_some(1))
    };
    all.map(times).collect()
}

/// A phase's messages, in a random order: each fault once for each service, and more without one;
/// every tenth for a device of each.
fn plan(phase: usize, dice: &mut Dice) -> Vec<Pushed> {
    let of = |platform| {
        let faults = faults(platform, phase).into_iter();
        faults.map(move |fault| (platform, fault))
    };
    let mut asked: Vec<_> = of("ios").chain(of("android")).collect();
    while asked.len() < PER_PHASE {
        let platform = if asked.len() % 4 == 0 {
            "android"
        } else {
            "ios"
        };
        asked.push((platform, ("aaaaaaaa", None)));
    }
    for at in (1..asked.len()).rev() {
        let other = dice.below(at as u64 + 1);
        asked.swap(at, usize::try_from(other).unwrap());
    }
    let first = phase * PER_PHASE;
    let pushed = asked
        .into_iter()
        .zip(first..)
        .map(|((platform, fault), n)| {
            let (prefix, times) = fault;
            let mut targets = vec![Target {
                platform,
                token: token(prefix, times, n),
            }];
            if n % 10 == 0 {
                let platform = if platform == "ios" { "android" } else { "ios" };
                let token = token("bbbbbbbb", None, n);
                targets.push(Target { platform, token });
            }
            let ttl = WAITS.contains(&(platform, prefix)).then_some(SHORT_TTL);
            Pushed {
                targets,
                holds: n % 2 == 0,
                ttl,
            }
        });
    pushed.collect()
}

/// What is done to the services while pushes are under way.
#[derive(Clone, Copy, Debug)]
enum Blow {
    GoAway,
    GoAwayWithoutReason,
    Kill,
    OneStream,
    ManyStreams,
    KeyRefused,
}

const BLOWS: [Blow; 6] = [
    Blow::GoAway,
    Blow::GoAwayWithoutReason,
    Blow::Kill,
    Blow::OneStream,
    Blow::ManyStreams,
    Blow::KeyRefused,
];

struct Chaos {
    push: Push,
    dice: Dice,
    key: Key,
    ids: Vec<String>,
    pushed: Vec<Pushed>,
}

fn refused(apns: &Apns) -> u64 {
    let report = apns.report();
    report
        .reasons
        .get("InvalidProviderToken")
        .copied()
        .unwrap_or_default()
}

impl Chaos {
    async fn start(name: &str, connections: u16) -> Self {
        let seed = 7 + u64::from(connections);
        eprintln!("seed {seed}, {connections} connections");
        let common = |streams| Config {
            streams,
            latency_ms: 10,
            jitter_ms: 20,
            seed,
            ..Config::default()
        };
        let fcm = FcmConfig::default();
        let services = (
            ApnsConfig {
                common: common(STREAMS),
                shrink_on_reject: true,
                ..ApnsConfig::default()
            },
            FcmConfig {
                common: Config {
                    control: fcm.common.control,
                    ..common(STREAMS)
                },
                ..fcm
            },
        );
        // No guard, so that nothing depends on the shares of the faults.
        let lines = format!(
            "connections = {connections}\nrequest_timeout = \"1s\"\n\
             pool = {{ min = {connections}, ping_busy = \"1s\" }}\n\
             guard = {{ invalid_token_ratio = \"100%\" }}\n\
             retry = {{ schedule = [\"1s\", \"1s\", \"1s\"] }}"
        );
        let push = Push::start(name, services, &*lines).await.unwrap();
        let credentials = push.apns.credentials();
        let public = apns::public_key(&credentials.p8).unwrap();
        Self {
            key: Key::new(credentials.key_id, credentials.team_id, public),
            push,
            dice: Dice(seed),
            ids: Vec::new(),
            pushed: Vec::new(),
        }
    }

    /// Has messages accepted.
    async fn offer(&mut self, pushed: Vec<Pushed>) {
        let lines: Vec<Value> = pushed
            .iter()
            .zip(self.pushed.len()..)
            .map(|(pushed, number)| pushed.line(number))
            .collect();
        let answer = self.push.scene.client.ndjson(&lines).await.unwrap();
        let mut results: Vec<Value> = answer.lines();
        results.retain(|result| result["index"].is_u64());
        results.sort_by_key(|result| result["index"].as_u64());
        assert_eq!(results.len(), lines.len());
        for result in results {
            assert_eq!(result["status"], 202, "{result}");
            self.ids.push(result["id"].as_str().unwrap().to_owned());
        }
        self.pushed.extend(pushed);
    }

    /// Waits while an operator looks after the routes, and tells how they are when that was in vain.
    async fn until<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut(&Push) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + within;
        wait_for(what, 2 * within, async || {
            if let Some(seen) = look(&self.push).await {
                return Some(seen);
            }
            self.push.resume_what_stopped().await.unwrap();
            if Instant::now() > deadline {
                let (apns, fcm) = (self.push.route("apns").await, self.push.route("fcm").await);
                panic!("waited {within:?} for {what}: {apns:#?} {fcm:#?}");
            }
            None
        })
        .await
    }

    /// Waits for what needs pushes under way. Whoever looks late may find that the phase's are all sent:
    /// then there are more.
    async fn under_load(&mut self, what: &str, there: impl Fn(&Push) -> bool) {
        for _ in 0..MORE_MAX {
            let idle = Instant::now() + IDLE;
            let either = async |push: &Push| (there(push) || Instant::now() >= idle).then_some(());
            self.until(what, SOON, either).await;
            if there(&self.push) {
                return;
            }
            let from = MORE_FROM + self.pushed.len();
            let more = (from..from + MORE).map(|n| Pushed {
                targets: vec![Target {
                    platform: if n % 4 == 0 { "android" } else { "ios" },
                    token: token("aaaaaaaa", None, n),
                }],
                holds: n % 2 == 0,
                ttl: None,
            });
            self.offer(more.collect()).await;
        }
        panic!("waited under load for {what}");
    }

    async fn more_requests(&mut self, count: u64) {
        let asked = |push: &Push| push.apns.report().requests;
        let wanted = asked(&self.push) + count;
        self.under_load("more requests", |push| asked(push) >= wanted)
            .await;
    }

    async fn blow(&mut self, blow: Blow) {
        let Push { apns, fcm, .. } = &self.push;
        match blow {
            Blow::GoAway => {
                apns.go_away(0, Some("Shutdown"));
                fcm.go_away(0, Some("session_timed_out"));
            }
            Blow::GoAwayWithoutReason => {
                apns.go_away(0, None);
                fcm.go_away(0, None);
            }
            Blow::Kill => {
                apns.kill();
                fcm.kill();
            }
            Blow::OneStream => {
                apns.set_streams(1);
                fcm.set_streams(1);
            }
            Blow::ManyStreams => {
                apns.set_streams(STREAMS);
                fcm.set_streams(STREAMS);
            }
            Blow::KeyRefused => {
                let before = refused(apns);
                apns.revoke(apns.credentials().key_id);
                let again = |push: &Push| refused(&push.apns) > before;
                self.under_load("the key to be refused", again).await;
                self.push.apns.accept(self.key.clone());
            }
        }
    }

    /// A phase's blows in a random order, some requests apart.
    async fn blows(&mut self) {
        let mut blows = BLOWS;
        for at in (1..blows.len()).rev() {
            let other = self.dice.below(at as u64 + 1);
            blows.swap(at, usize::try_from(other).unwrap());
        }
        for blow in blows {
            let apart = 20 + self.dice.below(40);
            self.more_requests(apart).await;
            self.blow(blow).await;
        }
        self.blow(Blow::ManyStreams).await;
        self.more_requests(20).await;
    }

    /// Every message when it is final.
    async fn ends(&self) -> Vec<Value> {
        let mut ends = Vec::new();
        for id in &self.ids {
            let what = format!("{id} to be final");
            let end = self.until(&what, SETTLE_WITHIN, async |push| {
                let message = push.scene.client.message(id).await.unwrap();
                (message["final"] == true).then_some(message)
            });
            ends.push(end.await);
        }
        ends
    }

    /// How often it is not known what became of each device's push.
    async fn unknowns(&self, id: &str) -> (HashMap<u64, u32>, Value) {
        let path = format!("/v1/messages/{id}/timeline");
        let timeline = self.push.scene.client.json(&path).await.unwrap();
        let mut unknowns = HashMap::new();
        for entry in timeline["data"].as_array().unwrap() {
            let parts = match entry["type"].as_str() {
                Some("attempt") if entry["result"] == "unknown" => vec![entry["part"].clone()],
                Some("maybe_sent") => entry["parts"].as_array().unwrap().clone(),
                _ => Vec::new(),
            };
            for part in parts {
                *unknowns.entry(part.as_u64().unwrap()).or_default() += 1;
            }
        }
        (unknowns, timeline)
    }

    fn counts(&self, target: &Target) -> TokenCounts {
        match target.platform {
            "ios" => self.push.apns.token(&target.token),
            _ => self.push.fcm.token(&target.token),
        }
    }

    /// The invariant, message by message and device by device.
    async fn check(&self, ends: &[Value]) {
        let mut tally: BTreeMap<String, usize> = BTreeMap::new();
        for ((pushed, id), end) in self.pushed.iter().zip(&self.ids).zip(ends) {
            let devices = end["devices"].as_array().unwrap();
            assert_eq!(devices.len(), pushed.targets.len(), "{end}");
            let (unknowns, timeline) = self.unknowns(id).await;
            let mut any_sent = false;
            for target in &pushed.targets {
                let of = |device: &&Value| device["platform"] == target.platform;
                let at = devices.iter().position(|device| of(&device)).unwrap();
                let result = devices[at]["result"].as_str().unwrap();
                let sent = result == "sent";
                any_sent |= sent;
                let unknown = unknowns.get(&(at as u64)).copied().unwrap_or_default();
                let counts = self.counts(target);
                let accepted = counts.accepted;
                let story = format!(
                    "{target} {counts:?}\n{end:#}\n{timeline:#}",
                    target = target.token
                );
                assert!(
                    ["sent", "rejected", "expired", "unknown"].contains(&result),
                    "no outcome: {story}"
                );
                assert!(!sent || accepted > 0, "pretended: {story}");
                assert!(accepted <= u32::from(sent) + unknown, "lost: {story}");
                if accepted > 1 {
                    let told = !pushed.holds && end["duplicate_possible"] == true;
                    assert!(told && unknown > 0, "doubled without a word: {story}");
                }
                let faultless = ["aaaa", "bbbb"].contains(&&target.token[..4]);
                // A short life may be over before anybody has tried.
                let plain = faultless && pushed.ttl.is_none();
                assert!(
                    !plain || sent || unknown > 0,
                    "nothing was wrong with it: {story}"
                );
                *tally
                    .entry(format!("{result}, accepted {accepted}"))
                    .or_default() += 1;
            }
            let sent = end["status"] == "sent";
            assert_eq!(sent, any_sent, "{end:#}");
        }
        eprintln!("{tally:#?}");
        assert!(tally.contains_key("sent, accepted 1"));
        assert!(tally.keys().any(|key| key.starts_with("unknown")));
    }

    /// Each message has one event that says how it ended.
    async fn check_events(&self) {
        let operator = self.push.scene.client.with_key(OPERATOR_KEY);
        let mut last: HashMap<String, usize> = HashMap::new();
        for event in operator.events(ENDS).await.unwrap() {
            if event["data"]["final"] == true {
                let id = event["data"]["message_id"].as_str().unwrap().to_owned();
                *last.entry(id).or_default() += 1;
            }
        }
        for id in &self.ids {
            assert_eq!(last.get(id), Some(&1), "{id}");
        }
        assert_eq!(last.len(), self.ids.len());
    }
}

/// What the services saw says that there was chaos, and that we kept their rules in it.
fn check_report(report: &Report) {
    assert_eq!(report.stream_limit_violations, 0, "{report:?}");
    assert_eq!(report.protocol_violations, 0, "{report:?}");
    assert!(report.go_aways > 5 && report.cuts > 5, "{report:?}");
    assert!(report.unanswered > 0 && report.dropped > 0, "{report:?}");
}

async fn chaos(name: &str, connections: u16) {
    let start = Instant::now();
    let mut chaos = Chaos::start(name, connections).await;
    for phase in 0..PHASES {
        let pushed = plan(phase, &mut chaos.dice);
        chaos.offer(pushed).await;
        chaos.blows().await;
        if phase + 1 < PHASES {
            let asked = chaos.push.apns.report().requests;
            let after = start.elapsed();
            eprintln!("phase {phase}: {asked} requests at APNs after {after:.1?}");
            chaos.push.scene.restart(phase == 1).await.unwrap();
        }
    }
    eprintln!("all blows after {:.1?}", start.elapsed());
    let ends = chaos.ends().await;
    eprintln!("all final after {:.1?}", start.elapsed());
    chaos.check(&ends).await;
    chaos.check_events().await;
    for report in [chaos.push.apns.report(), chaos.push.fcm.report()] {
        check_report(&report);
    }
    chaos.push.scene.gateway.stop().await.unwrap();
    let log = chaos.push.scene.directory.log();
    assert!(
        !log.contains("cannot be written"),
        "all were fit to be sent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_push_is_without_an_outcome_or_doubled_in_silence_over_one_connection() {
    chaos("push-chaos-1", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_push_is_without_an_outcome_or_doubled_in_silence_over_four_connections() {
    chaos("push-chaos-4", 4).await;
}
