//! A dispatcher against carriers that throttle, refuse, lose and go away: what is sent, in which
//! order, and what is written down meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use smallvec::smallvec;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::limit::pace::{Configured, Tuning};
use super::limit::throttle::Pauses;
use super::view::RouteStates;
use super::{Config, Dispatcher, TICK, limit};
use crate::clock::{Clock, UnixMs};
use crate::link::{Carries, LinkEvent, LinkHandle, LinkIx, Then};
use crate::message::life::Status;
use crate::message::{Message, MessageId, OnAmbiguous, Parts, Phone, RouteIx};
use crate::outcome::{Answer, Attempt, HoldReason, Outcome, OutcomeResult, Reason, Retry, Whose};
use crate::stop::Stopper;
use crate::store::tests::{TempDir, config, draft};
use crate::store::{Accepted, Draft, Store};

const ROUTE: RouteIx = RouteIx(0);
/// Far above what any step takes.
const SOON: Duration = Duration::from_secs(30);
/// Turns of the carrier before a test gives up.
const TURNS_MAX: usize = 20_000;

/// A dispatcher with links that a test plays.
struct Scene {
    store: Store,
    clock: Clock,
    states: Arc<RouteStates>,
    links: Vec<mpsc::Receiver<Vec<Attempt>>>,
    heard: mpsc::Sender<LinkEvent>,
    stopper: Stopper,
    running: JoinHandle<()>,
    dir: TempDir,
}

impl Scene {
    fn new(links: u16) -> Self {
        let dir = TempDir::new();
        let clock = Clock::manual(UnixMs(1_000_000_000));
        let (store, _) = Store::open(config(&dir), clock.clone()).unwrap();
        let hosts = vec![vec![String::new(); usize::from(links)], Vec::new()];
        let states = Arc::new(RouteStates::new(hosts, UnixMs(1)));
        let (heard, events) = mpsc::channel(1_024);
        let (stopper, stop) = Stopper::new();
        let mut handles = Vec::new();
        let mut attempts = Vec::new();
        for link in (0..links).map(LinkIx) {
            let (to_link, from_dispatcher) = mpsc::channel(1_024);
            handles.push(LinkHandle {
                link,
                attempts: to_link,
            });
            attempts.push(from_dispatcher);
        }
        let limits = limit::Config {
            rate: Some(Configured {
                per_second: 10_000.0,
                burst: 10_000,
            }),
            // The carriers here throttle at random: it is not the rate that is looked at.
            tuning: Tuning {
                decrease: 0.99,
                recovery: 1.0,
            },
            pauses: Pauses {
                first: Duration::from_millis(5),
                longest: Duration::from_millis(20),
            },
            retry_share: None,
        };
        let config = Config {
            route: ROUTE,
            name: "a".to_owned(),
            limits,
            lanes: [50, 30, 15, 5],
            channel: crate::message::Channel::Sms,
        };
        let dispatcher = Dispatcher::new(
            config,
            store.clone(),
            clock.clone(),
            handles,
            states.clone(),
        );
        Self {
            store,
            clock,
            states,
            links: attempts,
            heard,
            stopper,
            running: tokio::spawn(dispatcher.run(events, stop)),
            dir,
        }
    }

    async fn accept(&self, drafts: Vec<Draft>) -> Vec<MessageId> {
        let accepted = self.store.accept(drafts).await.unwrap();
        let id = |accepted| match accepted {
            Accepted::Stored(message) => message.id,
            other => panic!("{other:?}"),
        };
        accepted.into_iter().map(id).collect()
    }

    async fn up(&self, window: usize) {
        for link in 0..self.links.len() {
            let link = LinkIx(u16::try_from(link).unwrap());
            let peer = String::new();
            let carries = Carries::Both;
            let up = LinkEvent::Up {
                link,
                window,
                peer,
                carries,
                pulse: Arc::default(),
            };
            self.heard.send(up).await.unwrap();
        }
    }

    /// What has been handed over since, or within a moment.
    async fn taken(&mut self) -> Vec<(LinkIx, Attempt)> {
        let mut all = Vec::new();
        for (index, link) in self.links.iter_mut().enumerate() {
            let index = LinkIx(u16::try_from(index).unwrap());
            while let Ok(batch) = link.try_recv() {
                all.extend(batch.into_iter().map(|attempt| (index, attempt)));
            }
        }
        all
    }

    async fn answer(&self, link: LinkIx, attempt: &Attempt, verdict: Verdict) {
        let answers = vec![Answer {
            token: attempt.token,
            outcome: verdict.outcome(attempt, self.clock.now()),
        }];
        let answered = LinkEvent::Answers {
            link,
            answers,
            congestion: None,
        };
        self.heard.send(answered).await.unwrap();
    }

    async fn stop(self) -> (Store, TempDir) {
        self.stopper.stop();
        tokio::time::timeout(SOON, self.running)
            .await
            .expect("it ends when nothing is out")
            .unwrap();
        (self.store, self.dir)
    }

    /// Octets of all files of the journal: they grow with each commit.
    fn written(&self) -> u64 {
        fn under(dir: &std::path::Path) -> u64 {
            let entries = std::fs::read_dir(dir).unwrap();
            let size = |entry: std::io::Result<std::fs::DirEntry>| {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => under(&path),
                    // The second place of the last batch's number is written by time, in place.
                    false => std::fs::metadata(path).map_or(0, |file| file.len()),
                }
            };
            entries.map(size).sum()
        }
        under(&self.dir.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Taken,
    Throttled,
    QueueFull,
    Again,
    Lost,
    NotSent,
}

impl Verdict {
    fn outcome(self, attempt: &Attempt, now: UnixMs) -> Outcome {
        let again = Retry::Here { tries: u8::MAX };
        let (result, reason, retry) = match self {
            Self::Taken => (OutcomeResult::Accepted, None, Retry::Never),
            Self::Throttled => (
                OutcomeResult::Refused,
                Some(Reason::Throttled),
                Retry::Throttle,
            ),
            Self::QueueFull => (OutcomeResult::Refused, Some(Reason::QueueFull), Retry::Full),
            Self::Again => (OutcomeResult::Refused, Some(Reason::ProviderError), again),
            Self::Lost => (OutcomeResult::Unknown, Some(Reason::ProviderTimeout), again),
            Self::NotSent => (OutcomeResult::NotSent, Some(Reason::RouteDown), again),
        };
        Outcome {
            result,
            whose: Whose::Peer,
            code: 0,
            reason,
            retry,
            provider_id: attempt.token.to_string().into_bytes().into(),
            text: None,
            unregistered: UnixMs::ZERO,
            handed_at: now,
            answered_at: now,
        }
    }
}

fn to(number: u64, change: impl FnOnce(&mut Message)) -> Draft {
    let mut draft = draft(number, 1);
    draft.message.routes = smallvec![ROUTE];
    change(&mut draft.message);
    draft
}

/// xorshift64: repeatable draws.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Pain 12 of peers.md: a throttled message that is delayed alone arrives after the ones behind it.
#[tokio::test]
async fn messages_to_one_destination_arrive_in_their_order_through_anything() {
    let mut scene = Scene::new(2);
    let mut random = Random(0x5EED_1234_9876);
    let mut drafts = Vec::new();
    for n in 0..60 {
        drafts.push(to(n % 4, |message| {
            message.segments = u8::try_from(1 + n % 7 / 6).unwrap();
            if n % 5 == 4 {
                message.on_ambiguous = OnAmbiguous::Hold;
            }
        }));
    }
    let ids = scene.accept(drafts).await;
    scene.up(8).await;
    let mut pool: Vec<(LinkIx, Attempt)> = Vec::new();
    let mut arrived: BTreeMap<Phone, Vec<MessageId>> = BTreeMap::new();
    let mut parts: BTreeMap<MessageId, Parts> = BTreeMap::new();
    let mut tried = BTreeSet::new();
    let mut seen = [0; 6];
    let all = ids.len();
    for _ in 0..TURNS_MAX {
        scene.clock.set(UnixMs(scene.clock.now().0 + 500));
        pool.extend(scene.taken().await);
        if parts.values().filter(|parts| parts.is_empty()).count() == all {
            break;
        }
        // Several are out before one is answered, in any order.
        if pool.is_empty() || (pool.len() < 3 && random.below(4) > 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if pool.is_empty() {
                continue;
            }
        }
        let (link, attempt) = pool.swap_remove(random.below(pool.len()));
        let id = attempt.message.id;
        let mut verdict = match random.below(12) {
            0..=1 => Verdict::Throttled,
            2..=3 => Verdict::QueueFull,
            4 => Verdict::Again,
            5 => Verdict::Lost,
            6 => Verdict::NotSent,
            _ => Verdict::Taken,
        };
        let hold = attempt.message.on_ambiguous == OnAmbiguous::Hold;
        // Lost too often, it would be given up, which is another test's; so the first few that may be
        // lost are, however the draws fall.
        let may_be_lost = !hold && !tried.contains(&id);
        if may_be_lost && seen[Verdict::Lost as usize] < 3 {
            verdict = Verdict::Lost;
        } else if verdict == Verdict::Lost && !may_be_lost {
            verdict = Verdict::Throttled;
        }
        tried.insert(id);
        seen[verdict as usize] += 1;
        if verdict == Verdict::Taken {
            let waiting = parts
                .entry(id)
                .or_insert_with(|| Parts::first(attempt.message.segments));
            waiting.remove(attempt.part);
            arrived.entry(attempt.message.to).or_default().push(id);
        }
        scene.answer(link, &attempt, verdict).await;
    }
    assert!(seen.iter().all(|times| *times > 2), "{seen:?}");
    let done = parts.values().filter(|parts| parts.is_empty()).count();
    assert_eq!(done, all, "all arrive; {seen:?}");
    for (to, ids) in &arrived {
        assert!(ids.is_sorted(), "{to:?}: {ids:?}");
    }
    let (store, _dir) = scene.stop().await;
    for id in ids {
        assert_eq!(store.get(id).await.unwrap().life.status, Status::Sent);
    }
    store.close();
}

/// smpp.md §3.4: only the destination whose queue is full waits, and what comes after it with it.
#[tokio::test]
async fn one_full_destination_waits_while_others_go() {
    let mut scene = Scene::new(1);
    let full = to(1, |_| {}).message.to;
    let mut drafts = vec![to(1, |_| {}), to(1, |_| {})];
    drafts.extend((2..40).map(|n| to(n, |_| {})));
    let ids = scene.accept(drafts).await;
    scene.up(4).await;
    let mut asked = Vec::new();
    let mut others = 0;
    let mut room = false;
    let start = scene.clock.now();
    for _ in 0..TURNS_MAX {
        let taken = scene.taken().await;
        let quiet = taken.is_empty();
        for (link, attempt) in taken {
            let verdict = if attempt.message.to != full {
                others += 1;
                Verdict::Taken
            } else {
                asked.push((attempt.message.id, scene.clock.now().since(start).as_secs()));
                if room {
                    Verdict::Taken
                } else {
                    Verdict::QueueFull
                }
            };
            scene.answer(link, &attempt, verdict).await;
        }
        let view = scene.states.state(ROUTE).unwrap().pace;
        if quiet && others == 38 && view.destinations_waiting == 1 {
            // Nothing else is left, and all is answered: the time passes.
            assert_eq!(view.behind, 1, "the second message waits for the first one");
            scene.clock.set(UnixMs(scene.clock.now().0 + 10_000));
            room = asked.len() >= 4;
        }
        if asked.iter().filter(|(id, _)| *id == ids[1]).count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(if others == 38 { 100 } else { 1 })).await;
    }
    let of: Vec<MessageId> = asked.iter().map(|(id, _)| *id).collect();
    assert_eq!(others, 38);
    assert_eq!(of, [ids[0], ids[0], ids[0], ids[0], ids[0], ids[1]]);
    let times: Vec<u64> = asked.iter().map(|(_, at)| *at).collect();
    // The first try, one after the route's pause, then 1, 2 and 4 minutes and up to a quarter more.
    assert_eq!(times[1], 0);
    for (pair, minutes) in times[1..5].windows(2).zip([1, 2, 4]) {
        let waited = pair[1] - pair[0];
        assert!(
            (minutes * 60..=minutes * 75 + 60).contains(&waited),
            "{times:?}"
        );
    }
    let (store, _dir) = scene.stop().await;
    let life = store.get(ids[0]).await.unwrap().life;
    assert_eq!(
        (life.status, life.legs[0].tries),
        (Status::Sent, 3),
        "one note a wait"
    );
    store.close();
}

/// Pain 9 of peers.md: the same PDU requeued 5,400 times while a bind is down.
#[tokio::test]
async fn nothing_is_tried_or_written_while_a_route_is_down() {
    let mut scene = Scene::new(1);
    let mut drafts: Vec<Draft> = (0..50).map(|n| to(n % 10, |_| {})).collect();
    for draft in drafts.iter_mut().skip(25) {
        draft.message.on_ambiguous = OnAmbiguous::Hold;
    }
    let ids = scene.accept(drafts).await;
    scene.up(10).await;
    let batch = tokio::time::timeout(SOON, scene.links[0].recv()).await;
    for attempt in batch.unwrap().unwrap() {
        scene.answer(LinkIx(0), &attempt, Verdict::NotSent).await;
    }
    let (link, why) = (LinkIx(0), "gone".to_owned());
    let then = Then::Again(UnixMs(u64::MAX));
    scene
        .heard
        .send(LinkEvent::Down { link, why, then })
        .await
        .unwrap();
    // What was on its way comes back, once.
    let settle = async |scene: &mut Scene| {
        let down = async || scene.states.state(ROUTE).unwrap().hold == Some(HoldReason::RouteDown);
        while !down().await {
            tokio::time::sleep(TICK / 4).await;
        }
        for (link, attempt) in scene.taken().await {
            scene.answer(link, &attempt, Verdict::NotSent).await;
        }
        tokio::time::sleep(2 * TICK).await;
    };
    settle(&mut scene).await;
    let written = scene.written();
    // Three hours pass, with a look at everything every quarter of a second.
    for _ in 0..6 {
        tokio::time::sleep(TICK).await;
        scene.clock.set(UnixMs(scene.clock.now().0 + 1_800_000));
        assert!(scene.taken().await.is_empty());
    }
    assert_eq!(scene.written(), written, "nothing is written");
    scene.up(10).await;
    let mut out = 0;
    for _ in 0..TURNS_MAX {
        for (link, attempt) in scene.taken().await {
            out += 1;
            scene.answer(link, &attempt, Verdict::Taken).await;
        }
        if out == ids.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(out, ids.len(), "each goes out once");
    assert!(scene.written() > written, "the measure measures");
    let (store, _dir) = scene.stop().await;
    store.close();
}
