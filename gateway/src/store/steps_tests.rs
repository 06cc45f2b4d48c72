//! A message on several routes at once, and on from one step to the next, through memory and archive.

use smallvec::{SmallVec, smallvec};

use crate::clock::{Clock, UnixMs};
use crate::event::EventKind;
use crate::event::render::route_of;
use crate::message::life::{Change, Status, What};
use crate::message::steps::{Device, FallbackOn, Leg, Platform, PushTarget, Step, Steps};
use crate::message::{
    Channel, Class, FailoverOn, MessageId, Parts, RouteIx, TenantIx, Text, Texts,
};
use crate::outcome::{Next, OutcomeResult, Reason, Retry, Settle};
use crate::store::suppressions::tests::new as suppression;
use crate::store::tests::{TempDir, accept_one, accepted, config, draft, settle};
use crate::store::{Draft, Entry, Query, RouteFacts, Store};
use crate::suppression::Scope;

pub(super) const APNS: RouteIx = RouteIx(0);
pub(super) const FCM: RouteIx = RouteIx(1);
const SMS: RouteIx = RouteIx(2);
const PUSH: &str = r#"{"title":"Ready"}"#;

fn open(dir: &TempDir) -> Store {
    let mut config = config(dir);
    let sms = RouteFacts {
        name: "c".to_owned(),
        ..config.routes[0].clone()
    };
    config.routes.push(sms);
    Store::open(config, Clock::system()).unwrap().0
}

/// Devices of both platforms, then an SMS.
pub(super) fn both(number: u64) -> Draft {
    let mut draft = draft(number, 1);
    let step = |channel| Step {
        channel,
        on: FallbackOn::DEFAULT,
        failover_on: FailoverOn::ALL,
    };
    let leg = |step, first, route| Leg {
        step,
        first,
        count: 1,
        routes: smallvec![route],
    };
    let device = |platform| Device {
        platform,
        app: "shop".into(),
        token: "ab".into(),
        registered_at: UnixMs::ZERO,
    };
    draft.message.routes = SmallVec::new();
    draft.message.steps = Some(Box::new(Steps {
        steps: smallvec![step(Channel::Push), step(Channel::Sms)],
        legs: vec![leg(0, 0, APNS), leg(0, 1, FCM), leg(1, 2, SMS)],
        push: Some(PushTarget::Devices(vec![
            device(Platform::Ios),
            device(Platform::Android),
        ])),
        app_receipts: false,
    }));
    let texts = ["ACME", "hello", "ref", "", "", "", "", "", "", PUSH];
    draft.message.texts = Texts::pack(texts).unwrap();
    draft
}

async fn ready(store: &Store, route: RouteIx) -> Vec<Entry> {
    let whose = (Class::Transactional, TenantIx(0));
    store.load_ready(route, whose, 0, 2_000).await.unwrap()
}

async fn ids(store: &Store, route: RouteIx) -> Vec<MessageId> {
    let ready = ready(store, route).await;
    ready.iter().map(|entry| entry.message.id).collect()
}

pub(super) fn on(route: RouteIx, settle: Settle) -> Settle {
    Settle { route, ..settle }
}

fn refused(id: MessageId, part: u8) -> Settle {
    settle(id, part, OutcomeResult::Refused, Retry::Never, "")
}

/// One link may have a part from now on.
async fn claim(store: &Store, id: MessageId, part: u8) {
    let route = if part == 0 { APNS } else { FCM };
    let over = store.claim(route, vec![(id, Parts::one(part))]).await;
    assert_eq!(over, Ok(Vec::new()));
}

fn depth(store: &Store, route: RouteIx) -> u64 {
    store.depths(route).iter().sum()
}

#[tokio::test]
async fn a_message_waits_on_each_of_its_routes_and_leaves_them_one_by_one() {
    let dir = TempDir::new();
    let mut store = open(&dir);
    let id = accept_one(&store, both(1)).await;
    let fallen = accept_one(&store, both(2)).await;
    let depths = |store: &Store| [APNS, FCM, SMS].map(|route| depth(store, route));
    // In memory, in the archive, and after a start.
    for round in 0..3 {
        assert_eq!(depths(&store), [2, 2, 0], "round {round}");
        assert_eq!(store.figures().queued, 4, "round {round}");
        assert_eq!(ids(&store, APNS).await, [id, fallen]);
        let entries = ready(&store, FCM).await;
        assert_eq!(entries[0].parts, Parts::one(1));
        assert_eq!(entries[0].message.text(Text::Push), PUSH);
        assert!(ids(&store, SMS).await.is_empty());
        match round {
            0 => store.archive_now().await,
            1 => {
                store.close();
                drop(store);
                store = open(&dir);
            }
            _ => {}
        }
    }
    let taken = on(FCM, accepted(id, 1, "projects/x/messages/1"));
    let other = on(FCM, refused(fallen, 1));
    let next = store.settle(vec![taken, other]).await.unwrap();
    assert_eq!(next, [Next::Done, Next::Done]);
    assert_eq!(depths(&store), [2, 0, 0]);
    // One leg of it has ended when it goes to the archive again.
    store.archive_now().await;
    assert_eq!(depths(&store), [2, 0, 0]);
    assert!(ids(&store, FCM).await.is_empty());
    assert_eq!(ids(&store, APNS).await, [id, fallen]);
    let gone = [refused(id, 0), refused(fallen, 0)].map(|one| on(APNS, one));
    store.settle(gone.to_vec()).await.unwrap();
    let sent = store.get(id).await.unwrap();
    assert_eq!(sent.life.status, Status::Sent, "one device has it");
    let life = store.get(fallen).await.unwrap().life;
    assert_eq!((life.status, life.step), (Status::Queued, 1));
    assert_eq!(depths(&store), [0, 0, 1]);
    store.archive_now().await;
    let entries = ready(&store, SMS).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].parts, Parts::one(2));
    let done = on(SMS, accepted(fallen, 2, "p"));
    store.settle(vec![done]).await.unwrap();
    let life = store.get(fallen).await.unwrap().life;
    assert_eq!(life.status, Status::Sent);
    let told: Vec<_> = life.log.iter().filter_map(|change| change.event).collect();
    assert_eq!(
        told,
        [EventKind::MessageFallbackStarted, EventKind::MessageSent]
    );
    assert_eq!((depths(&store), store.figures().queued), ([0, 0, 0], 0));
    store.close();
}

/// One dispatcher finds that the time of its leg is over, while the other one's part is out: were the
/// message expired then, an answer that says "accepted" would change nothing any more.
#[tokio::test]
async fn what_is_out_on_one_route_is_not_expired_by_the_other() {
    let dir = TempDir::new();
    let store = open(&dir);
    let id = accept_one(&store, both(1)).await;
    let waits = accept_one(&store, both(2)).await;
    let both = [id, waits].map(|id| (id, Parts::one(1)));
    claim(&store, id, 0).await;
    assert_eq!(store.expire_queued(both.to_vec()).await, 2);
    let status = async |id| store.get(id).await.unwrap().life.status;
    assert_eq!(status(waits).await, Status::Expired);
    assert_eq!(status(id).await, Status::Queued);
    assert_eq!([APNS, FCM].map(|route| depth(&store, route)), [1, 0]);
    let taken = on(APNS, accepted(id, 0, "p"));
    store.settle(vec![taken]).await.unwrap();
    assert_eq!(status(id).await, Status::Sent, "one device has it");
    store.close();
}

/// Both legs may be claimed long before a link has anything of them: while both routes are down, nobody's
/// answer is awaited.
#[tokio::test]
async fn what_is_claimed_on_two_routes_expires_when_both_have_given_it_up() {
    let dir = TempDir::new();
    let store = open(&dir);
    let refused_first = accept_one(&store, both(1)).await;
    let id = accept_one(&store, both(2)).await;
    for part in 0..2 {
        claim(&store, id, part).await;
    }
    claim(&store, refused_first, 0).await;
    for part in [1, 0] {
        let given_up = vec![(id, Parts::one(part))];
        assert_eq!(store.expire_queued(given_up).await, 1);
    }
    let life = store.get(id).await.unwrap().life;
    assert_eq!(
        (life.status, life.reason, life.is_final),
        (Status::Expired, Some(Reason::ExpiredInQueue), true)
    );
    // And no step begins when time is over: what is refused after it has expired too.
    store
        .expire_queued(vec![(refused_first, Parts::one(1))])
        .await;
    let gone = on(APNS, refused(refused_first, 0));
    store.settle(vec![gone]).await.unwrap();
    let life = store.get(refused_first).await.unwrap().life;
    assert_eq!(
        (life.status, life.reason, life.step),
        (Status::Expired, Some(Reason::ExpiredInQueue), 0)
    );
    store.close();
}

/// As above, for a recipient who is suppressed while one route has a part out.
#[tokio::test]
async fn what_is_out_on_one_route_is_not_rejected_by_the_other() {
    let dir = TempDir::new();
    let mut store = open(&dir);
    let mut made = Vec::new();
    for number in 1..=4 {
        made.push(accept_one(&store, both(number)).await);
    }
    let [taken, refused_later, waits, had] = made[..] else {
        panic!("four were accepted");
    };
    let answer = on(APNS, accepted(had, 0, "p"));
    store.settle(vec![answer]).await.unwrap();
    claim(&store, taken, 0).await;
    claim(&store, refused_later, 0).await;
    let all = (1..=4).map(|number| suppression(number, Scope::All));
    store.suppress(all.collect()).await.unwrap();
    let given_up = made.iter().map(|id| (*id, Parts::one(1))).collect();
    let left = store.reject_suppressed(FCM, given_up).await;
    assert_eq!(left, Ok(Vec::new()), "nothing of them waits for this route");
    assert_eq!(depth(&store, FCM), 0);
    let stands = async |store: &Store, id| {
        let life = store.get(id).await.unwrap().life;
        (life.status, life.reason)
    };
    let suppressed = (Status::Rejected, Some(Reason::Suppressed));
    assert_eq!(stands(&store, waits).await, suppressed);
    assert_eq!(stands(&store, had).await, (Status::Sent, None));
    assert_eq!(stands(&store, taken).await.0, Status::Queued);
    assert_eq!(stands(&store, refused_later).await.0, Status::Queued);
    // It is on disk: a later process knows of it, and awaits the same.
    store.archive_now().await;
    let answers = [accepted(taken, 0, "p"), refused(refused_later, 0)];
    let answers = answers.map(|settle| on(APNS, settle)).to_vec();
    store.settle(answers).await.unwrap();
    store.close();
    drop(store);
    store = open(&dir);
    assert_eq!(stands(&store, taken).await, (Status::Sent, None));
    assert_eq!(stands(&store, refused_later).await, suppressed);
    let life = store.get(refused_later).await.unwrap().life;
    assert_eq!((life.step, life.is_final), (0, true), "the plan has ended");
    assert_eq!(store.figures().queued, 0);
    store.close();
}

/// No receipt names it: as a key it would be memory, and then disk for days, for nothing.
#[tokio::test]
async fn the_id_of_a_push_is_kept_with_its_message_and_leads_to_it_from_nowhere() {
    let dir = TempDir::new();
    let store = open(&dir);
    let [pushed, fallen] = [
        accept_one(&store, both(1)).await,
        accept_one(&store, both(2)).await,
    ];
    let keys = || store.shared().young.read().carrier_count();
    let files = || {
        let names = std::fs::read_dir(&dir.0).unwrap();
        let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.starts_with("carriers-") && name.ends_with(".db"))
            .count()
    };
    let taken = [
        (APNS, 0, "A3C1B6E2-0000"),
        (FCM, 1, "projects/x/messages/1"),
    ];
    let taken = taken.map(|(route, part, id)| on(route, accepted(pushed, part, id)));
    store.settle(taken.to_vec()).await.unwrap();
    assert_eq!(keys(), 0);
    store.archive_now().await;
    assert_eq!(files(), 0);
    let ids: Vec<_> = store.get(pushed).await.unwrap().life.log;
    let told = |change: &Change| matches!(&change.what, What::Answered { provider_id, .. } if !provider_id.is_empty());
    assert_eq!(ids.iter().filter(|change| told(change)).count(), 2);
    // The SMS that follows a push has one.
    let gone = [on(APNS, refused(fallen, 0)), on(FCM, refused(fallen, 1))];
    store.settle(gone.to_vec()).await.unwrap();
    let sent = on(SMS, accepted(fallen, 2, "7A3F01C2"));
    store.settle(vec![sent]).await.unwrap();
    assert_eq!(keys(), 1);
    store.archive_now().await;
    assert_eq!(files(), 1);
    store.close();
}

#[tokio::test]
async fn the_route_of_a_push_is_told_where_it_has_one_and_that_of_an_sms_is_its_own() {
    let dir = TempDir::new();
    let store = open(&dir);
    let route = async |id| {
        let record = store.get(id).await.unwrap();
        let (route, provider_id) = route_of(&record.message, &record.life);
        (route, String::from_utf8_lossy(provider_id).into_owned())
    };
    let none = String::new;
    let id = accept_one(&store, both(1)).await;
    assert_eq!(route(id).await, (None, none()), "each device has its own");
    let gone = [on(APNS, refused(id, 0)), on(FCM, refused(id, 1))];
    store.settle(gone.to_vec()).await.unwrap();
    assert_eq!(
        route(id).await,
        (Some(SMS), none()),
        "no push service has the SMS"
    );
    let sent = on(SMS, accepted(id, 2, "7A3F01C2"));
    store.settle(vec![sent]).await.unwrap();
    assert_eq!(route(id).await, (Some(SMS), "7A3F01C2".to_owned()));
    let mut one = both(2);
    if let Some(steps) = &mut one.message.steps {
        steps.legs[1].routes.clear();
    }
    let id = accept_one(&store, one).await;
    assert_eq!(route(id).await, (Some(APNS), none()));
    store
        .settle(vec![on(APNS, accepted(id, 0, "m"))])
        .await
        .unwrap();
    assert_eq!(route(id).await, (Some(APNS), none()));
    store.close();
}

#[tokio::test]
async fn a_device_that_is_gone_is_told_of_beside_what_becomes_of_the_message() {
    let dir = TempDir::new();
    let store = open(&dir);
    let id = accept_one(&store, both(1)).await;
    let mut gone = on(APNS, refused(id, 0));
    gone.outcome.unregistered = UnixMs(7);
    store.settle(vec![gone]).await.unwrap();
    store
        .settle(vec![on(FCM, accepted(id, 1, "m"))])
        .await
        .unwrap();
    let record = store.get(id).await.unwrap();
    let told: Vec<_> = record.life.log.iter().filter_map(|c| c.event).collect();
    assert_eq!(
        told,
        [EventKind::DeviceUnregistered, EventKind::MessageSent]
    );
    let query = Query {
        limit: 10,
        to: Some(record.message.to),
        ..Query::default()
    };
    let page = store.find(query).await;
    assert_eq!(page.records.len(), 1);
    store.close();
}

#[tokio::test]
async fn a_step_that_no_route_leads_to_is_told_of_at_acceptance() {
    let dir = TempDir::new();
    let store = open(&dir);
    let mut draft = both(1);
    if let Some(steps) = &mut draft.message.steps {
        steps.legs[0].routes.clear();
        steps.legs[1].routes.clear();
    }
    let id = accept_one(&store, draft).await;
    assert_eq!(ids(&store, SMS).await, [id]);
    let life = store.get(id).await.unwrap().life;
    assert_eq!((life.status, life.step), (Status::Queued, 1));
    let told: Vec<_> = life.log.iter().filter_map(|change| change.event).collect();
    assert_eq!(told, [EventKind::MessageFallbackStarted]);
    store.close();
    drop(store);
    let store = open(&dir);
    assert_eq!(ids(&store, SMS).await, [id]);
    assert_eq!(store.get(id).await.unwrap().life, life);
    store.close();
}

mod depths;
mod suppressed;
