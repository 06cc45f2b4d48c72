//! Links against Apple's side as the simulator plays it: over TLS, and with its own HTTP/2.

use std::collections::HashMap;

use codecs::apns::GoAway;
use proptest::prelude::*;
use sim::push::apns::{Apns, ApnsConfig};
use smallvec::smallvec;

use super::guard::Rule;
use super::service::Kind;
use super::*;
use crate::connect::credentials::{KeyName, Provider, Source};
use crate::connect::http2::{Addresses, client_tls};
use crate::link::Refuses;
use crate::message::steps::{Device, FallbackOn, Leg, Platform, PushTarget, Step, Steps};
use crate::message::{Channel, FailoverOn, Ids, Message, MessageId, RouteIx, Texts};
use crate::outcome::{Form, Outcome, OutcomeResult, Reason, Retry};
use crate::stop::Stopper;
use crate::store::tests::TempDir;

mod answered;
mod doubted;
mod ended;
mod pains;
mod rendered;

/// Far above what any step takes.
const SOON: Duration = Duration::from_secs(30);

/// A message for devices with these tokens.
fn message(id: u64, tokens: &[&str], registered_at: UnixMs) -> Arc<Message> {
    let device = |token: &&str| Device {
        platform: Platform::Ios,
        app: "shop".into(),
        token: (*token).into(),
        registered_at,
    };
    let push = r#"{"title":"Ready"}"#;
    Arc::new(Message {
        id: MessageId(id),
        expires_at: UnixMs(4_000_000_000_000),
        steps: Some(Box::new(Steps {
            steps: smallvec![Step {
                channel: Channel::Push,
                on: FallbackOn::DEFAULT,
                failover_on: FailoverOn::ALL,
            }],
            legs: vec![Leg {
                step: 0,
                first: 0,
                count: u8::try_from(tokens.len()).unwrap(),
                routes: smallvec![RouteIx(0)],
            }],
            push: Some(PushTarget::Devices(tokens.iter().map(device).collect())),
            app_receipts: false,
        })),
        texts: Texts::pack(["", "", "", "", "", "", "", "", "", push]).unwrap(),
        ..Message::default()
    })
}

/// A token that no fault begins with, or one that begins with `prefix`.
fn token(prefix: &str, number: u64) -> String {
    let prefix = if prefix.is_empty() {
        "aaaaaaaa"
    } else {
        prefix
    };
    format!("{prefix}{number:056x}")
}

/// The simulator's CA as a file, and tokens of a key that it knows.
fn known_by(apns: &Apns, dir: &TempDir, clock: &Clock) -> (std::path::PathBuf, Provider) {
    let (ca, key) = (dir.0.join("ca.pem"), dir.0.join("key.p8"));
    std::fs::write(&ca, apns.ca().unwrap()).unwrap();
    std::fs::write(&key, &apns.credentials().p8).unwrap();
    let name = KeyName {
        team_id: apns.credentials().team_id.into(),
        key_id: apns.credentials().key_id.into(),
    };
    let opened = Provider::open(name, Source::File(key), &dir.0, clock);
    (ca, opened.unwrap().0)
}

/// Apple's, with one app.
fn service(authority: http::uri::Authority) -> Service {
    Service {
        authority,
        ids: Ids::new(7),
        auto_collapse: true,
        receipt_keys: Default::default(),
        kind: Kind::Apns {
            apps: [("shop".to_owned(), "com.acme.shop".to_owned())].into(),
        },
    }
}

/// What one link of a route has.
fn config(
    service: Service,
    who: Who,
    target: watch::Receiver<Arc<Target>>,
    http2: http2::Config,
    resumed: watch::Receiver<u64>,
) -> Config {
    Config {
        name: "apns".to_owned(),
        http2: Arc::new(http2::Config {
            headers: service.headers(),
            ..http2
        }),
        service,
        who,
        target,
        pool: Pool::new(1, 1),
        guard: Mutex::new(Guards::new(Rule {
            ratio: 1.0,
            window: SOON,
            min_answers: 10,
        })),
        doubts: Mutex::default(),
        drain: SOON,
        resumed,
    }
}

/// A link, and the dispatcher's end of it.
struct Rig {
    apns: Apns,
    attempts: mpsc::Sender<Vec<Attempt>>,
    events: mpsc::Receiver<LinkEvent>,
    stopper: Stopper,
    resume: watch::Sender<u64>,
    retarget: watch::Sender<Arc<Target>>,
    window: usize,
    out: usize,
    tokens: u64,
    goaways: Vec<String>,
    down: Option<Then>,
    ups: usize,
    _dir: TempDir,
}

impl Rig {
    async fn start(apns: ApnsConfig, http2: http2::Config) -> Self {
        Self::aimed(apns, http2, |_| {}).await
    }

    /// With `aim` on where the link connects to.
    async fn aimed(apns: ApnsConfig, http2: http2::Config, aim: impl FnOnce(&mut Target)) -> Self {
        let clock = Clock::system();
        Self::named(apns, http2, &clock, |provider, _| {
            (Who::Provider(provider), aim)
        })
        .await
    }

    /// By this clock, and as `who` says from a provider and a directory; with where to.
    async fn named<A: FnOnce(&mut Target)>(
        apns: ApnsConfig,
        http2: http2::Config,
        clock: &Clock,
        who: impl FnOnce(Provider, &TempDir) -> (Who, A),
    ) -> Self {
        let apns = Apns::start(apns).await.unwrap();
        let (dir, clock) = (TempDir::new(), clock.clone());
        let (ca, provider) = known_by(&apns, &dir, &clock);
        let (who, aim) = who(provider, &dir);
        let mut target = Target {
            host: format!("localhost:{}", apns.addr().port()),
            server_name: None,
            tls: client_tls(Some(&ca), None).unwrap(),
            generation: 1,
            connect_timeout: SOON,
            tcp_user_timeout: SOON,
            addresses: Addresses::default(),
        };
        aim(&mut target);
        let service = service(target.host.parse().unwrap());
        let (resume, resumed) = watch::channel(0);
        let (retarget, target) = watch::channel(Arc::new(target));
        let config = config(service, who, target, http2, resumed);
        let (stopper, stop) = Stopper::new();
        let (attempts, waiting) = mpsc::channel(1_024);
        let (told, events) = mpsc::channel(1_024);
        let ends = Ends {
            link: LinkIx(0),
            attempts: waiting,
            events: told,
        };
        tokio::spawn(run(Arc::new(config), ends, clock, stop));
        Self {
            apns,
            attempts,
            events,
            stopper,
            resume,
            retarget,
            window: 0,
            out: 0,
            tokens: 0,
            goaways: Vec::new(),
            down: None,
            ups: 0,
            _dir: dir,
        }
    }

    async fn event(&mut self) -> Vec<(u64, Outcome)> {
        let event = tokio::time::timeout(SOON, self.events.recv()).await;
        match event.expect("in time").expect("the link lives") {
            LinkEvent::Up { window, .. } => {
                self.window = window;
                self.down = None;
                self.ups += 1;
            }
            LinkEvent::Window { window, goaway, .. } => {
                self.window = window;
                self.goaways.extend(goaway);
            }
            LinkEvent::Down { then, .. } => {
                self.window = 0;
                self.down = Some(then);
            }
            LinkEvent::Answers { answers, .. } => {
                self.out -= answers.len();
                let both = |answer: crate::outcome::Answer| (answer.token, answer.outcome);
                return answers.into_iter().map(both).collect();
            }
            _ => {}
        }
        Vec::new()
    }

    /// Hands these parts over as the window allows, what comes back as not sent again; their outcomes by
    /// place. Each is answered once.
    async fn send_all(&mut self, parts: &[(Arc<Message>, u8)]) -> Vec<Outcome> {
        let mut waiting: Vec<usize> = (0..parts.len()).rev().collect();
        let mut places = HashMap::new();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; parts.len()];
        while outcomes.iter().any(Option::is_none) {
            let room = self.window.saturating_sub(self.out);
            let batch: Vec<Attempt> = (0..room)
                .map_while(|_| waiting.pop())
                .map(|place| {
                    self.tokens += 1;
                    places.insert(self.tokens, place);
                    let (message, part) = &parts[place];
                    Attempt {
                        token: self.tokens,
                        message: message.clone(),
                        part: *part,
                        form: Form::default(),
                    }
                })
                .collect();
            if !batch.is_empty() {
                self.out += batch.len();
                self.attempts.send(batch).await.unwrap();
            }
            for (token, outcome) in self.event().await {
                let place = places.remove(&token).expect("answered once");
                match outcome.result {
                    OutcomeResult::NotSent => waiting.push(place),
                    _ => assert!(outcomes[place].replace(outcome).is_none()),
                }
            }
        }
        outcomes.into_iter().map(Option::unwrap).collect()
    }

    async fn send(&mut self, token: &str) -> Outcome {
        let message = message(1, &[token], UnixMs::ZERO);
        self.send_all(&[(message, 0)]).await.remove(0)
    }

    fn accepted(&self, token: &str) -> u32 {
        self.apns.token(token).accepted
    }
}

fn quick() -> http2::Config {
    http2::Config {
        request_timeout: Duration::from_millis(700),
        ping_busy: Duration::from_millis(200),
        ping_timeout: Duration::from_millis(300),
        ..http2::Config::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_devices_get_theirs_once_within_the_streams_that_are_allowed() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    let tokens: Vec<String> = (0..1_000).map(|number| token("", number)).collect();
    let parts: Vec<(Arc<Message>, u8)> = tokens
        .chunks(4)
        .zip(1..)
        .flat_map(|(four, id)| {
            let refs: Vec<&str> = four.iter().map(String::as_str).collect();
            let message = message(id, &refs, UnixMs::ZERO);
            (0..4).map(move |part| (message.clone(), part))
        })
        .collect();
    let outcomes = rig.send_all(&parts).await;
    let mut ids = std::collections::HashSet::new();
    for outcome in &outcomes {
        assert_eq!(
            (outcome.result, outcome.code),
            (OutcomeResult::Accepted, 200)
        );
        assert!(ids.insert(outcome.provider_id.clone()), "an apns-id each");
    }
    assert!(tokens.iter().all(|token| rig.accepted(token) == 1));
    let report = rig.apns.report();
    assert_eq!(report.stream_limit_violations, 0);
    assert!(rig.window > 1, "SETTINGS are followed");
    rig.stopper.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_fault_it_is_known_whether_the_push_was_taken_or_that_nobody_knows() {
    let mut rig = Rig::start(ApnsConfig::default(), quick()).await;
    rig.send(&token("", 0)).await;
    let mut number = 1;
    for prefix in [
        "4e5e0001", "4e5e0002", "4e5e0003", "4a1f0000", "b1ac0000", "b1ac0001", "b1ac0002",
        "c0700000", "c0700001", "60a00001", "60a00003",
    ] {
        number += 1;
        let token = token(prefix, number);
        let outcome = rig.send(&token).await;
        let taken = rig.accepted(&token);
        match outcome.result {
            OutcomeResult::Accepted => assert_eq!(taken, 1, "{prefix}"),
            OutcomeResult::Unknown => {}
            other => panic!("{prefix}: {other:?}"),
        }
        if rig.apns.token(&token).unanswered > 0 && prefix != "4e5e0003" && prefix != "4a1f0000" {
            assert_eq!(outcome.result, OutcomeResult::Unknown, "{prefix}");
        }
    }
    // Not looked at, and so repeated without a second copy: each fault but once.
    for prefix in ["60a00000", "60a00002", "4e5e0000"] {
        number += 1;
        let token = format!("{prefix}0ff1{number:052x}");
        assert_eq!(rig.send(&token).await.result, OutcomeResult::Accepted);
        assert_eq!(rig.accepted(&token), 1, "{prefix}");
    }
    assert!(
        rig.goaways.iter().any(|why| why == "NO_ERROR Shutdown"),
        "{:?}",
        rig.goaways
    );
    rig.stopper.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goaway_in_the_middle_loses_and_doubles_nothing() {
    let apns = ApnsConfig {
        common: sim::push::Config {
            latency_ms: 5,
            jitter_ms: 5,
            ..sim::push::Config::default()
        },
        ..ApnsConfig::default()
    };
    let mut rig = Rig::start(apns, http2::Config::default()).await;
    for round in 0..5u64 {
        let tokens: Vec<String> = (0..300).map(|n| token("", round * 1_000 + n)).collect();
        let parts: Vec<_> = tokens
            .iter()
            .zip(1..)
            .map(|(token, id)| (message(id, &[token], UnixMs::ZERO), 0))
            .collect();
        rig.apns.go_away(0, (round % 2 == 0).then_some("Shutdown"));
        let outcomes = rig.send_all(&parts).await;
        for (token, outcome) in tokens.iter().zip(outcomes) {
            assert_eq!(outcome.result, OutcomeResult::Accepted);
            assert_eq!(rig.accepted(token), 1);
        }
    }
    rig.stopper.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_say_what_follows_for_the_push_and_its_device() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    let gone = rig.send(&token("41000000", 1)).await;
    assert_eq!(
        (gone.result, gone.retry),
        (OutcomeResult::Refused, Retry::Never)
    );
    assert_eq!(gone.reason, Some(Reason::DeviceUnregistered));
    assert!(gone.unregistered > UnixMs::ZERO);
    assert_eq!(gone.text.as_deref(), Some("Unregistered"));
    // The app has got this token since.
    let token = token("41000002", 2);
    let newer = message(2, &[&token], Clock::system().now());
    let newer = rig.send_all(&[(newer, 0)]).await.remove(0);
    assert_eq!(newer.unregistered, UnixMs::ZERO);
    assert_eq!(newer.retry, Retry::Here { tries: 1 });
    // By a clock that is ahead, which accept lets through.
    let token = self::token("41000002", 3);
    let ahead = Clock::system().now().plus(Duration::from_secs(240));
    let ahead = rig.send_all(&[(message(3, &[&token], ahead), 0)]).await;
    assert_eq!(ahead[0].unregistered, UnixMs::ZERO);
    assert_eq!(ahead[0].retry, Retry::Here { tries: 1 });
    rig.stopper.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_stop_the_route_and_an_operator_has_it_try_again() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    let key_id = rig.apns.credentials().key_id;
    assert_eq!(
        rig.send(&token("", 1)).await.result,
        OutcomeResult::Accepted
    );
    rig.apns.revoke(key_id);
    let parts: Vec<_> = (2..12)
        .map(|n| (message(n, &[&token("", n)], UnixMs::ZERO), 0))
        .collect();
    let sending = rig.send_all(&parts);
    // They wait: none of them is refused.
    assert!(
        tokio::time::timeout(Duration::from_secs(3), sending)
            .await
            .is_err()
    );
    while rig.down != Some(Then::Stopped) {
        rig.event().await;
    }
    assert!((2..12).all(|n| rig.accepted(&token("", n)) == 0));
    let before = rig.apns.report().connections;
    assert!(
        before >= 2,
        "a new connection is tried before the route stops"
    );
    rig.resume.send_modify(|times| *times += 1);
    while rig.ups < 2 {
        rig.event().await;
    }
    assert!(rig.apns.report().connections > before);
    rig.stopper.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_our_token_is_too_old_for_waits_for_the_next_one() {
    let mut rig = Rig::start(ApnsConfig::default(), http2::Config::default()).await;
    assert_eq!(
        rig.send(&token("", 1)).await.result,
        OutcomeResult::Accepted
    );
    // ExpiredProviderToken, though it is the newest that there is.
    let refused = token("40300000", 2);
    rig.out += 1;
    let attempt = Attempt {
        token: 1_000,
        message: message(2, &[&refused], UnixMs::ZERO),
        part: 0,
        form: Form::default(),
    };
    rig.attempts.send(vec![attempt]).await.unwrap();
    let mut outcomes = Vec::new();
    while rig.window > 0 || outcomes.is_empty() {
        outcomes.extend(rig.event().await);
    }
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].1.result, OutcomeResult::NotSent);
    assert_eq!(rig.apns.token(&refused).requests, 1, "once, not in a loop");
    // Until an operator says that the service takes it again.
    rig.resume.send_modify(|times| *times += 1);
    let taken = rig.send(&token("", 3)).await.result;
    assert_eq!(taken, OutcomeResult::Accepted);
    rig.stopper.stop();
}

#[test]
fn the_reason_of_a_goaway_is_one_of_a_bounded_set() {
    let label = |data: &[u8]| GoAway::read(data).reason.label();
    assert_eq!(label(br#"{"reason":"Shutdown"}"#), "Shutdown");
    assert_eq!(label(b"\x1b[31mwhatever"), "unknown_reason");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    /// All faults, in any order, with connections cut and ended from outside: each push is answered once,
    /// and none is said not to have been taken that was.
    #[test]
    fn whatever_happens_no_push_is_lost_and_none_is_doubled_without_a_word(
        faults in prop::collection::vec(0usize..24, 60..160),
        blows in prop::collection::vec(0u8..3, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::start(ApnsConfig::default(), quick()).await;
            let prefixes = [
                "60a00000", "60a00001", "4e5e0000", "4e5e0001", "4e5e0002", "4e5e0003",
                "4a1f0000", "b1ac0000", "b1ac0001", "c0700000", "c0700001", "41000000",
            ];
            let tokens: Vec<String> = faults
                .iter()
                .zip(0u64..)
                // One fault each: a push that is not sent again and again would never end.
                .map(|(fault, n)| match prefixes.get(*fault) {
                    Some(prefix) => format!("{prefix}0ff1{n:052x}"),
                    None => token("", n),
                })
                .collect();
            let parts: Vec<_> = tokens
                .iter()
                .zip(1..)
                .map(|(token, id)| (message(id, &[token], UnixMs::ZERO), 0))
                .collect();
            for (some, blow) in parts.chunks(40).zip(blows.iter().chain(std::iter::repeat(&0))) {
                match blow {
                    1 => rig.apns.kill(),
                    2 => rig.apns.go_away(0, None),
                    _ => {}
                }
                for ((message, _), outcome) in some.iter().zip(rig.send_all(some).await) {
                    let token = &message.device(0).unwrap().token;
                    let taken = rig.accepted(token);
                    match outcome.result {
                        OutcomeResult::Accepted => assert_eq!(taken, 1, "{token}"),
                        OutcomeResult::Unknown => assert!(taken <= 1, "{token}"),
                        _ => assert_eq!(taken, 0, "{token}"),
                    }
                }
            }
            assert_eq!(rig.apns.report().stream_limit_violations, 0);
            rig.stopper.stop();
        });
    }
}
