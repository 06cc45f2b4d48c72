//! A recipient who is suppressed on one channel of a plan is sent to over the other one.

use super::*;
use crate::message::life::Life;
use crate::suppression::{Cause, Source};

const PUSH_ONLY: Scope = Scope::Channel(Channel::Push);
const SMS_ONLY: Scope = Scope::Channel(Channel::Sms);
const SUPPRESSED: (Status, Option<Reason>) = (Status::Rejected, Some(Reason::Suppressed));

async fn suppress(store: &Store, number: u64, scope: Scope) -> MessageId {
    let added = store.suppress(vec![suppression(number, scope)]).await;
    added.unwrap().remove(0).id().unwrap()
}

async fn unsuppress(store: &Store, id: MessageId) {
    let cause = Cause {
        source: Source::Api,
        by: "crm".into(),
        keyword: "".into(),
        text: "".into(),
        inbound: None,
    };
    let ended = store.unsuppress(None, id, cause).await;
    assert!(ended.unwrap().is_some());
}

async fn life(store: &Store, id: MessageId) -> Life {
    store.get(id).await.unwrap().life
}

async fn ends(store: &Store, id: MessageId) -> (Status, Option<Reason>) {
    let life = life(store, id).await;
    (life.status, life.reason)
}

fn told(life: &Life) -> Vec<EventKind> {
    life.log.iter().filter_map(|change| change.event).collect()
}

fn waiting(store: &Store) -> [u64; 3] {
    [APNS, FCM, SMS].map(|route| depth(store, route))
}

async fn begin(store: &Store, number: u64, on: FallbackOn) -> (Draft, MessageId) {
    let mut draft = both(number);
    for step in &mut draft.message.steps.as_mut().unwrap().steps {
        step.on = on;
    }
    let id = accept_one(store, draft.clone()).await;
    (draft, id)
}

#[tokio::test]
async fn a_suppressed_first_step_is_passed_over_at_acceptance() {
    let dir = TempDir::new();
    let mut store = open(&dir);
    suppress(&store, 1, PUSH_ONLY).await;
    let (draft, id) = begin(&store, 1, FallbackOn::DEFAULT).await;
    assert!(!store.would_reject(&draft.message));
    // In memory, in the archive, and after a start.
    for round in 0..3 {
        let life = life(&store, id).await;
        assert_eq!(
            (life.status, life.step, life.attempts),
            (Status::Queued, 1, 0),
            "round {round}"
        );
        assert_eq!(told(&life), [EventKind::MessageFallbackStarted]);
        let what = &life.log[0].what;
        assert!(
            matches!(what, What::PassedOver { parts, reason, .. }
                if *parts == Parts(0b11) && *reason == Reason::Suppressed),
            "{what:?}"
        );
        assert_eq!((waiting(&store), store.figures().queued), ([0, 0, 1], 1));
        assert_eq!(ids(&store, SMS).await, [id]);
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
    let done = on(SMS, accepted(id, 2, "p"));
    store.settle(vec![done]).await.unwrap();
    assert_eq!(ends(&store, id).await, (Status::Sent, None));
    store.close();
}

#[tokio::test]
async fn its_dispatcher_gets_what_passed_over_a_step_at_acceptance() {
    let dir = TempDir::new();
    let store = open(&dir);
    suppress(&store, 1, PUSH_ONLY).await;
    let (_, id) = begin(&store, 1, FallbackOn::DEFAULT).await;
    let fed = |route| {
        let entries = store.take_feed(route).entries.into_iter();
        let entries = entries.map(|entry| (entry.message.id, entry.parts));
        entries.collect::<Vec<_>>()
    };
    assert_eq!([fed(APNS), fed(FCM)], [vec![], vec![]]);
    assert_eq!(fed(SMS), [(id, Parts::one(2))]);
    store.close();
}

#[tokio::test]
async fn what_is_suppressed_on_each_step_that_it_may_come_to_is_rejected_at_acceptance() {
    let dir = TempDir::new();
    let store = open(&dir);
    let never = FallbackOn::NO_ROUTE;
    for (number, scopes, on) in [
        (1, vec![Scope::All], FallbackOn::DEFAULT),
        (2, vec![PUSH_ONLY, SMS_ONLY], FallbackOn::DEFAULT),
        (
            3,
            vec![Scope::Class(Class::Transactional)],
            FallbackOn::DEFAULT,
        ),
        (4, vec![PUSH_ONLY], never),
    ] {
        for scope in scopes {
            suppress(&store, number, scope).await;
        }
        let (draft, id) = begin(&store, number, on).await;
        assert!(store.would_reject(&draft.message), "{number}");
        assert_eq!(ends(&store, id).await, SUPPRESSED, "{number}");
        let life = life(&store, id).await;
        assert_eq!((life.step, life.version), (0, 1), "{number}: no step began");
        assert_eq!(told(&life), [EventKind::MessageRejected], "{number}");
    }
    // No route leads to the step that it would go on to.
    suppress(&store, 5, PUSH_ONLY).await;
    let mut draft = both(5);
    draft.message.steps.as_mut().unwrap().legs[2].routes.clear();
    assert!(store.would_reject(&draft.message));
    let id = accept_one(&store, draft).await;
    assert_eq!(ends(&store, id).await, SUPPRESSED);
    // No step begins when time is over.
    let mut draft = both(5);
    draft.message.expires_at = UnixMs(1);
    let id = accept_one(&store, draft).await;
    assert_eq!(ends(&store, id).await, SUPPRESSED);
    assert_eq!((waiting(&store), store.figures().queued), ([0, 0, 0], 0));
    store.close();
}

/// Who has answered STOP to an SMS still gets pushes, and no SMS after one.
#[tokio::test]
async fn a_later_step_that_is_suppressed_keeps_no_step_before_it_back() {
    let dir = TempDir::new();
    let store = open(&dir);
    suppress(&store, 1, SMS_ONLY).await;
    suppress(&store, 2, Scope::Sender("acme".into())).await;
    for number in [1, 2] {
        let (draft, id) = begin(&store, number, FallbackOn::DEFAULT).await;
        assert!(!store.would_reject(&draft.message), "{number}");
        assert_eq!(waiting(&store), [1, 1, 0], "{number}");
        let gone = [on(APNS, refused(id, 0)), on(FCM, refused(id, 1))];
        store.settle(gone.to_vec()).await.unwrap();
        assert_eq!(waiting(&store), [0, 0, 1], "{number}");
        let suppressed = vec![(id, Parts::one(2))];
        let left = store.reject_suppressed(SMS, suppressed).await;
        assert_eq!(left, Ok(Vec::new()), "{number}");
        assert_eq!(ends(&store, id).await, SUPPRESSED, "{number}");
        let ends = [
            EventKind::MessageFallbackStarted,
            EventKind::MessageRejected,
        ];
        assert_eq!(told(&life(&store, id).await), ends, "{number}");
        assert_eq!(waiting(&store), [0, 0, 0], "{number}");
    }
    store.close();
}

#[tokio::test]
async fn what_is_suppressed_while_it_waits_goes_on_and_no_other_route_sends_it() {
    let dir = TempDir::new();
    let store = open(&dir);
    let (_, id) = begin(&store, 1, FallbackOn::DEFAULT).await;
    let (_, last) = begin(&store, 2, FallbackOn::NO_ROUTE).await;
    let (_, all) = begin(&store, 3, FallbackOn::DEFAULT).await;
    let push = suppress(&store, 1, PUSH_ONLY).await;
    suppress(&store, 2, PUSH_ONLY).await;
    suppress(&store, 3, Scope::All).await;
    let found = [id, last, all].map(|id| (id, Parts::one(1)));
    let left = store.reject_suppressed(FCM, found.to_vec()).await;
    assert_eq!(left, Ok(Vec::new()));
    assert_eq!(waiting(&store), [0, 0, 1]);
    for ended in [last, all] {
        assert_eq!(ends(&store, ended).await, SUPPRESSED);
        assert_eq!(life(&store, ended).await.step, 0);
    }
    // The other push route's dispatcher finds out later, whether the suppression still holds or not.
    let late = vec![(id, Parts::one(0))];
    assert_eq!(
        store.reject_suppressed(APNS, late.clone()).await,
        Ok(Vec::new())
    );
    unsuppress(&store, push).await;
    assert_eq!(store.claim(APNS, late.clone()).await, Ok(vec![id]));
    assert_eq!(
        store.reject_suppressed(APNS, late).await,
        Ok(Vec::new()),
        "it does not wait there"
    );
    let fallen = life(&store, id).await;
    assert_eq!((fallen.step, fallen.attempts), (1, 0));
    assert_eq!(told(&fallen), [EventKind::MessageFallbackStarted]);
    let done = on(SMS, accepted(id, 2, "p"));
    store.settle(vec![done]).await.unwrap();
    assert_eq!(ends(&store, id).await, (Status::Sent, None));
    assert_eq!((waiting(&store), store.figures().queued), ([0, 0, 0], 0));
    store.close();
}

/// One device has it, or may have it: it is not sent over another channel for the sake of the other.
#[tokio::test]
async fn what_a_link_has_decides_whether_the_next_step_begins() {
    let dir = TempDir::new();
    let store = open(&dir);
    let mut made = Vec::new();
    for number in 1..=5 {
        made.push(begin(&store, number, FallbackOn::DEFAULT).await.1);
    }
    let [taken, refused_later, had, unknown, all] = made[..] else {
        panic!("five were accepted");
    };
    store
        .settle(vec![on(APNS, accepted(had, 0, "p"))])
        .await
        .unwrap();
    for id in [taken, refused_later, unknown, all] {
        claim(&store, id, 0).await;
    }
    for number in 1..=4 {
        suppress(&store, number, PUSH_ONLY).await;
    }
    suppress(&store, 5, PUSH_ONLY).await;
    let found = made.iter().map(|id| (*id, Parts::one(1))).collect();
    let left = store.reject_suppressed(FCM, found).await;
    assert_eq!(left, Ok(Vec::new()));
    assert_eq!(ends(&store, had).await, (Status::Sent, None));
    for id in [taken, refused_later, unknown, all] {
        let life = life(&store, id).await;
        assert_eq!((life.status, life.step), (Status::Queued, 0));
        assert!(told(&life).is_empty(), "its other device is out");
    }
    // What begins follows from what holds when the last device has answered.
    suppress(&store, 5, SMS_ONLY).await;
    let answers = [
        accepted(taken, 0, "p"),
        refused(refused_later, 0),
        refused(all, 0),
    ];
    let answers = answers.map(|settle| on(APNS, settle)).to_vec();
    store.settle(answers).await.unwrap();
    assert_eq!(ends(&store, taken).await, (Status::Sent, None));
    assert_eq!(ends(&store, all).await, SUPPRESSED);
    assert_eq!(life(&store, all).await.step, 0);
    let fallen = life(&store, refused_later).await;
    assert_eq!((fallen.status, fallen.step), (Status::Queued, 1));
    assert_eq!(told(&fallen), [EventKind::MessageFallbackStarted]);
    assert_eq!(ids(&store, SMS).await, [refused_later]);
    let lost = settle(unknown, 0, OutcomeResult::Unknown, Retry::Never, "");
    store.settle(vec![on(APNS, lost)]).await.unwrap();
    let unknown = life(&store, unknown).await;
    assert_eq!((unknown.status, unknown.step), (Status::Queued, 0));
    store.close();
}
