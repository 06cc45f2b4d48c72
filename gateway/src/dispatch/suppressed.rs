//! Who is suppressed while a message waits is not sent to: no part of it that is not out yet goes.

use std::sync::Arc;
use std::time::Duration;

use smallvec::smallvec;
use tokio::sync::mpsc;

use super::view::RouteStates;
use super::{Config, Dispatcher};
use crate::clock::{Clock, UnixMs};
use crate::event::{EventKind, EventKinds};
use crate::link::{Carries, LinkEvent, LinkHandle, LinkIx};
use crate::message::life::Status;
use crate::message::steps::{Device, FallbackOn, Leg, Platform, PushTarget, Step, Steps};
use crate::message::{Channel, FailoverOn, MessageId, OnAmbiguous, Parts, RouteIx};
use crate::outcome::{Answer, Attempt, OutcomeResult, Reason, Retry};
use crate::stop::Stopper;
use crate::store::tests::{TempDir, accepted, config, draft};
use crate::store::{Accepted, Draft, EventQuery, NewSuppression, Store, Suppressed};
use crate::suppression::{Cause, Key, Scope, Source};

const ROUTE: RouteIx = RouteIx(0);
/// Another route, which nobody dispatches.
const OTHER: RouteIx = RouteIx(1);
const LINK: LinkIx = LinkIx(0);
/// Far above what any step takes.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("in time")
}

async fn accept(store: &Store, draft: Draft) -> MessageId {
    match store.accept(vec![draft]).await.unwrap().remove(0) {
        Accepted::Stored(message) => message.id,
        other => panic!("{other:?}"),
    }
}

/// Suppresses the recipient of a draft.
async fn suppress(store: &Store, of: &Draft) -> MessageId {
    suppress_on(store, of, Scope::All).await
}

async fn suppress_on(store: &Store, of: &Draft, scope: Scope) -> MessageId {
    let new = NewSuppression {
        key: Key {
            tenant: of.message.tenant,
            phone: of.message.to,
            scope,
        },
        cause: Cause {
            source: Source::Api,
            by: "crm".into(),
            keyword: "".into(),
            text: "".into(),
            inbound: None,
        },
        expires_at: None,
    };
    match store.suppress(vec![new]).await.unwrap().remove(0) {
        Suppressed::Added(id) => id,
        other => panic!("{other:?}"),
    }
}

/// A dispatcher with one link, which the test plays.
struct Scene {
    states: Arc<RouteStates>,
    attempts: mpsc::Receiver<Vec<Attempt>>,
    events: mpsc::Sender<LinkEvent>,
    stopper: Stopper,
    running: tokio::task::JoinHandle<()>,
}

impl Scene {
    fn new(store: &Store) -> Self {
        Self::of(store, Channel::Sms)
    }

    fn of(store: &Store, channel: Channel) -> Self {
        let lines = vec![vec![String::new()], Vec::new()];
        let states = Arc::new(RouteStates::new(lines, UnixMs(1)));
        let (to_link, attempts) = mpsc::channel(16);
        let (events, heard) = mpsc::channel(16);
        let (stopper, stop) = Stopper::new();
        let config = Config {
            route: ROUTE,
            name: "a".to_owned(),
            limits: Default::default(),
            lanes: [50, 30, 15, 5],
            channel,
        };
        let links = vec![LinkHandle {
            link: LINK,
            attempts: to_link,
        }];
        let dispatcher = Dispatcher::new(
            config,
            store.clone(),
            Clock::system(),
            links,
            states.clone(),
        );
        Self {
            states,
            attempts,
            events,
            stopper,
            running: tokio::spawn(dispatcher.run(heard, stop)),
        }
    }

    async fn up(&self, window: usize) {
        let up = LinkEvent::Up {
            link: LINK,
            window,
            peer: String::new(),
            carries: Carries::Both,
            pulse: Arc::default(),
        };
        self.events.send(up).await.unwrap();
    }

    async fn take(&mut self) -> Vec<Attempt> {
        soon(self.attempts.recv()).await.unwrap()
    }

    async fn answer(&self, attempt: &Attempt) {
        self.answers(vec![taken(attempt)]).await;
    }

    async fn answers(&self, answers: Vec<Answer>) {
        let answered = LinkEvent::Answers {
            link: LINK,
            answers,
            congestion: None,
        };
        self.events.send(answered).await.unwrap();
    }

    /// Waits for a message's end. It ends only when nothing is out and nothing is held.
    async fn until_rejected(&self, store: &Store, id: MessageId) {
        soon(async {
            while rejections(store, id).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn stop(mut self, store: &Store) {
        self.stopper.stop();
        soon(self.running).await.unwrap();
        assert!(self.attempts.try_recv().is_err(), "nothing more went out");
        store.close();
    }
}

fn taken(attempt: &Attempt) -> Answer {
    Answer {
        token: attempt.token,
        outcome: accepted(attempt.message.id, attempt.part, "p").outcome,
    }
}

async fn rejections(store: &Store, id: MessageId) -> Vec<serde_json::Value> {
    let mut kinds = EventKinds(0);
    kinds.add(EventKind::MessageRejected);
    let query = EventQuery {
        after: 0,
        tenant: None,
        kinds,
        message: Some(id),
        limit: 10,
    };
    let page = store.events_after(query).await;
    let json = page
        .events
        .iter()
        .map(|one| serde_json::from_slice(&one.json));
    json.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn what_waited_for_the_route_is_rejected_and_told_once() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let mut held = draft(2, 1);
    held.message.on_ambiguous = OnAmbiguous::Hold;
    let mut exempt = draft(1, 1);
    exempt.message.policy.ignores_suppressions = true;
    let stopped = [
        accept(&store, draft(1, 1)).await,
        accept(&store, held).await,
    ];
    let sent = [
        accept(&store, draft(3, 1)).await,
        accept(&store, exempt.clone()).await,
    ];
    let mut scene = Scene::new(&store);
    soon(async {
        while scene.states.state(ROUTE).unwrap().oldest.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    suppress(&store, &exempt).await;
    suppress(&store, &draft(2, 1)).await;
    scene.up(10).await;
    let mut out = Vec::new();
    while out.len() < 2 {
        for attempt in scene.take().await {
            out.push(attempt.message.id);
            scene.answer(&attempt).await;
        }
    }
    out.sort_unstable();
    assert_eq!(
        out, sent,
        "the one who is not suppressed, and the one that ignores it"
    );
    for id in stopped {
        scene.until_rejected(&store, id).await;
        let life = store.get(id).await.unwrap().life;
        assert_eq!(
            (life.reason, life.is_final),
            (Some(Reason::Suppressed), true)
        );
        let told = rejections(&store, id).await;
        assert_eq!(told.len(), 1);
        let reason = &told[0]["data"]["reason"];
        assert_eq!(
            (&reason["code"], &reason["stage"]),
            (&"suppressed".into(), &"queue".into())
        );
    }
    scene.stop(&store).await;
}

#[tokio::test]
async fn parts_that_are_out_stay_what_they_are_and_the_others_never_go() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let three = draft(1, 3);
    let id = accept(&store, three.clone()).await;
    let mut scene = Scene::new(&store);
    // A window of one: a part goes when the one before it is answered.
    scene.up(1).await;
    let first = scene.take().await.remove(0);
    suppress(&store, &three).await;
    scene.answer(&first).await;
    scene.until_rejected(&store, id).await;
    let life = store.get(id).await.unwrap().life;
    assert_eq!(
        (life.parts_to_send(&life.legs[0]).count(), life.reason),
        (2, Some(Reason::Suppressed))
    );
    assert_eq!(rejections(&store, id).await.len(), 1);
    scene.stop(&store).await;
}

/// The answer that a device has it and the discovery that the other one may not have it come in the same
/// turn: whichever reaches the store first, the message was sent.
#[tokio::test]
async fn a_device_that_has_it_is_told_of_though_the_other_was_suppressed_in_the_same_turn() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let two = devices(2);
    let id = accept(&store, two.clone()).await;
    let mut scene = Scene::new(&store);
    scene.up(10).await;
    let out = scene.take().await;
    assert_eq!(out.len(), 2);
    suppress(&store, &two).await;
    let now = UnixMs(1);
    let back = Answer {
        token: out[1].token,
        outcome: super::not_sent(now),
    };
    scene.answers(vec![taken(&out[0]), back]).await;
    soon(async {
        while !store.get(id).await.unwrap().life.is_final {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let life = store.get(id).await.unwrap().life;
    assert_eq!((life.status, life.reason), (Status::Sent, None));
    assert!(rejections(&store, id).await.is_empty());
    scene.stop(&store).await;
}

/// The same where the first device is to be tried again later: nobody has anything of it any more, and it
/// does not wait until its time is over.
#[tokio::test]
async fn a_device_that_was_refused_for_now_ends_with_the_other_that_was_suppressed_in_the_same_turn()
 {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let two = devices(2);
    let id = accept(&store, two.clone()).await;
    let mut scene = Scene::new(&store);
    scene.up(10).await;
    let out = scene.take().await;
    suppress(&store, &two).await;
    let mut refused = taken(&out[0]);
    refused.outcome.result = OutcomeResult::Refused;
    refused.outcome.reason = Some(Reason::ProviderError);
    refused.outcome.retry = Retry::Here { tries: 3 };
    let back = Answer {
        token: out[1].token,
        outcome: super::not_sent(UnixMs(1)),
    };
    scene.answers(vec![refused, back]).await;
    scene.until_rejected(&store, id).await;
    let life = store.get(id).await.unwrap().life;
    assert_eq!(
        (life.status, life.reason),
        (Status::Rejected, Some(Reason::Suppressed))
    );
    assert_eq!(rejections(&store, id).await.len(), 1);
    scene.stop(&store).await;
}

/// Under hold, with a window of two that grows meanwhile: two come back, and the third waited for them.
#[tokio::test]
async fn devices_that_come_back_under_hold_end_with_the_one_that_waited_for_them() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let mut three = devices(3);
    three.message.on_ambiguous = OnAmbiguous::Hold;
    let id = accept(&store, three.clone()).await;
    let mut scene = Scene::new(&store);
    scene.up(2).await;
    let out = scene.take().await;
    assert_eq!(out.len(), 2);
    suppress(&store, &three).await;
    let wider = LinkEvent::Window {
        link: LINK,
        window: 10,
        goaway: None,
    };
    scene.events.send(wider).await.unwrap();
    let back = |attempt: &Attempt| Answer {
        token: attempt.token,
        outcome: super::not_sent(UnixMs(1)),
    };
    scene.answers(vec![back(&out[0]), back(&out[1])]).await;
    scene.until_rejected(&store, id).await;
    assert_eq!(rejections(&store, id).await.len(), 1);
    scene.stop(&store).await;
}

/// A push to so many devices, over the scene's route.
fn devices(count: u8) -> Draft {
    let mut draft = draft(1, 1);
    let device = |at: u8| Device {
        platform: Platform::Ios,
        app: "shop".into(),
        token: format!("{at:02x}").into(),
        registered_at: UnixMs::ZERO,
    };
    draft.message.steps = Some(Box::new(Steps {
        steps: smallvec![Step {
            channel: Channel::Push,
            on: FallbackOn::DEFAULT,
            failover_on: FailoverOn::ALL,
        }],
        legs: vec![Leg {
            step: 0,
            first: 0,
            count,
            routes: std::mem::take(&mut draft.message.routes),
        }],
        push: Some(PushTarget::Devices((0..count).map(device).collect())),
        app_receipts: false,
    }));
    draft
}

/// A push to so many devices over the scene's route, and then an SMS over another.
fn then_sms(count: u8) -> Draft {
    let mut draft = devices(count);
    let steps = draft.message.steps.as_mut().unwrap();
    steps.legs[0].routes.truncate(1);
    steps.steps.push(Step {
        channel: Channel::Sms,
        ..steps.steps[0]
    });
    steps.legs.push(Leg {
        step: 1,
        first: count,
        count: 1,
        routes: smallvec![OTHER],
    });
    draft
}

/// Waits until a message is with the other route, and tells what waits for it there.
async fn with_other_route(store: &Store) -> Vec<(MessageId, Parts)> {
    soon(store.feed_ready(OTHER)).await;
    let fed = store.take_feed(OTHER).entries.into_iter();
    fed.map(|entry| (entry.message.id, entry.parts)).collect()
}

#[tokio::test]
async fn a_push_that_is_suppressed_while_it_waits_goes_on_to_its_sms() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let draft = then_sms(2);
    let id = accept(&store, draft.clone()).await;
    let scene = Scene::of(&store, Channel::Push);
    soon(async {
        while scene.states.state(ROUTE).unwrap().oldest.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    suppress_on(&store, &draft, Scope::Channel(Channel::Push)).await;
    scene.up(10).await;
    assert_eq!(with_other_route(&store).await, [(id, Parts::one(2))]);
    let life = store.get(id).await.unwrap().life;
    assert_eq!((life.status, life.step), (Status::Queued, 1));
    assert!(rejections(&store, id).await.is_empty());
    // Nothing went out over this route.
    scene.stop(&store).await;
}

/// The answer of a device and the discovery that its sibling may not have the push come in the same turn:
/// whichever reaches the store first, the SMS follows only if nobody has it.
#[tokio::test]
async fn the_sms_follows_a_push_that_was_suppressed_half_way_only_if_no_device_has_it() {
    for (result, retry, follows) in [
        (OutcomeResult::Accepted, Retry::Never, false),
        (OutcomeResult::Refused, Retry::Never, true),
        (OutcomeResult::Refused, Retry::Here { tries: 3 }, true),
    ] {
        let dir = TempDir::new();
        let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
        let draft = then_sms(2);
        let id = accept(&store, draft.clone()).await;
        let mut scene = Scene::of(&store, Channel::Push);
        scene.up(10).await;
        let out = scene.take().await;
        assert_eq!(out.len(), 2);
        suppress_on(&store, &draft, Scope::Channel(Channel::Push)).await;
        let mut first = taken(&out[0]);
        first.outcome.result = result;
        first.outcome.retry = retry;
        let back = Answer {
            token: out[1].token,
            outcome: super::not_sent(UnixMs(1)),
        };
        scene.answers(vec![first, back]).await;
        if follows {
            let fed = with_other_route(&store).await;
            assert_eq!(fed, [(id, Parts::one(2))], "{result:?} {retry:?}");
        } else {
            soon(async {
                while !store.get(id).await.unwrap().life.is_final {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            assert!(store.take_feed(OTHER).entries.is_empty());
        }
        let life = store.get(id).await.unwrap().life;
        let stands = match follows {
            true => (Status::Queued, 1),
            false => (Status::Sent, 0),
        };
        assert_eq!((life.status, life.step), stands, "{result:?} {retry:?}");
        assert!(rejections(&store, id).await.is_empty());
        scene.stop(&store).await;
    }
}

#[tokio::test]
async fn at_acceptance_it_is_rejected_from_its_beginning_and_after_the_end_it_goes() {
    let dir = TempDir::new();
    let (store, _) = Store::open(config(&dir), Clock::system()).unwrap();
    let suppression = suppress(&store, &draft(1, 1)).await;
    let id = accept(&store, draft(1, 1)).await;
    let life = store.get(id).await.unwrap().life;
    assert_eq!(
        (life.status, life.reason),
        (Status::Rejected, Some(Reason::Suppressed))
    );
    let told = rejections(&store, id).await;
    assert_eq!(told[0]["data"]["reason"]["stage"], "accept");
    let cause = Cause {
        source: Source::Api,
        by: "crm".into(),
        keyword: "".into(),
        text: "".into(),
        inbound: None,
    };
    store
        .unsuppress(None, suppression, cause)
        .await
        .unwrap()
        .unwrap();
    let goes = accept(&store, draft(1, 1)).await;
    let mut scene = Scene::new(&store);
    scene.up(10).await;
    let attempt = scene.take().await.remove(0);
    assert_eq!(attempt.message.id, goes);
    scene.answer(&attempt).await;
    scene.stop(&store).await;
}
