//! What holds a route whose links are up and take nothing for now.

use super::limit::pace::Configured;
use super::*;
use crate::link::{Carries, Refuses, Then};
use crate::message::SmsOptions;
use crate::store::tests::{TempDir, config, draft};

const ROUTE: RouteIx = RouteIx(0);

/// A dispatcher with two links that are up, and one message that waits.
fn up(store: &Store, clock: &Clock) -> Dispatcher {
    let links = (0..2).map(|link| LinkHandle {
        link: LinkIx(link),
        attempts: mpsc::channel(1).0,
    });
    let config = Config {
        route: ROUTE,
        name: "a".to_owned(),
        limits: limit::Config {
            rate: Some(Configured {
                per_second: 0.001,
                burst: 3,
            }),
            ..limit::Config::default()
        },
        lanes: [50, 30, 15, 5],
        channel: Channel::Push,
    };
    let hosts = vec![vec![String::new(); 2]];
    let states = Arc::new(RouteStates::new(hosts, UnixMs(1)));
    let (store, clock) = (store.clone(), clock.clone());
    let mut dispatcher = Dispatcher::new(config, store, clock, links.collect(), states);
    let message = Arc::new(draft(1, 1).message);
    let all = message.all_parts();
    dispatcher.queue.give_back(Entry::fresh(message, all, true));
    for link in 0..2 {
        dispatcher.link_event(LinkEvent::Up {
            link: LinkIx(link),
            window: 10,
            peer: String::new(),
            carries: Carries::Attempts,
            pulse: Arc::default(),
        });
    }
    dispatcher
}

fn takes_nothing(dispatcher: &mut Dispatcher, link: u16) {
    dispatcher.link_event(LinkEvent::Window {
        link: LinkIx(link),
        window: 0,
        goaway: None,
    });
}

fn goes_down(dispatcher: &mut Dispatcher, link: u16) {
    dispatcher.link_event(LinkEvent::Down {
        link: LinkIx(link),
        why: "it is not needed".to_owned(),
        then: Then::Again(UnixMs(1)),
    });
}

#[tokio::test]
async fn a_route_that_its_service_asks_to_wait_says_so_and_is_not_down_while_a_link_is_up() {
    let dir = TempDir::new();
    let clock = Clock::manual(UnixMs(1));
    let (store, _) = Store::open(config(&dir), clock.clone()).unwrap();
    let mut dispatcher = up(&store, &clock);
    let now = clock.instant();
    let held = |dispatcher: &Dispatcher, now| dispatcher.held(now).map(|(hold, _)| hold);
    assert_eq!(held(&dispatcher, now), None);
    takes_nothing(&mut dispatcher, 0);
    takes_nothing(&mut dispatcher, 1);
    assert_eq!(held(&dispatcher, now), Some(HoldReason::Window));
    let until = now + Duration::from_secs(10);
    let words = [
        (Refuses::Busy, HoldReason::Throttled),
        (Refuses::Quota, HoldReason::Quota),
    ];
    for (why, hold) in words {
        dispatcher.link_event(LinkEvent::Refusing { until, why });
        assert_eq!(held(&dispatcher, now), Some(hold));
    }
    assert_eq!(held(&dispatcher, until), Some(HoldReason::Window));
    assert_eq!(dispatcher.limits.waits(now), Some(until));
    dispatcher.link_event(LinkEvent::TakesAgain);
    assert_eq!(dispatcher.limits.waits(now), None);
    assert_eq!(held(&dispatcher, now), Some(HoldReason::Window));
    let why = Refuses::Quota;
    dispatcher.link_event(LinkEvent::Refusing { until, why });
    // The pool gives a connection up that has nothing to do: what waits does not move on for that.
    goes_down(&mut dispatcher, 1);
    assert_eq!(dispatcher.down_since, None);
    assert_eq!(held(&dispatcher, now), Some(HoldReason::Quota));
    goes_down(&mut dispatcher, 0);
    assert!(dispatcher.down_since.is_some());
    assert_eq!(held(&dispatcher, now), Some(HoldReason::RouteDown));
    store.close();
}

/// Its carrier cuts it: what it took from the rate comes back with it.
#[tokio::test]
async fn what_goes_as_one_pdu_and_arrives_as_three_is_given_back_as_three() {
    let dir = TempDir::new();
    let clock = Clock::manual(UnixMs(1));
    let (store, _) = Store::open(config(&dir), clock.clone()).unwrap();
    let mut dispatcher = up(&store, &clock);
    dispatcher.queue.take().unwrap();
    let mut message = draft(2, 1).message;
    message.sms = Some(Box::new(SmsOptions {
        payload_segments: Some(3),
        ..SmsOptions::default()
    }));
    let message = Arc::new(message);
    let entry = Entry::fresh(message.clone(), message.all_parts(), true);
    dispatcher
        .flights
        .begin(&entry, entry.parts, Parts::default());
    let token = dispatcher.flights.token(message.id, 0, LinkIx(0));
    let now = clock.instant();
    assert_eq!(dispatcher.limits.take(now, 3), None);
    assert!(dispatcher.limits.take(now, 1).is_some());
    let outcome = not_sent(clock.now());
    let answers = vec![Answer { token, outcome }];
    dispatcher.link_event(LinkEvent::Answers {
        link: LinkIx(0),
        answers,
        congestion: None,
    });
    assert_eq!(dispatcher.limits.take(now, 3), None);
    store.close();
}
