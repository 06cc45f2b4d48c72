//! What ends in the store while it waits in a dispatcher's queue is neither sent nor held for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::view::RouteStates;
use super::{Config, Dispatcher};
use crate::clock::{Clock, UnixMs};
use crate::link::{Carries, LinkEvent, LinkHandle, LinkIx};
use crate::message::life::Status;
use crate::message::{MessageId, OnAmbiguous, Parts, RouteIx};
use crate::outcome::Answer;
use crate::stop::Stopper;
use crate::store::tests::{TempDir, accepted, config, draft};
use crate::store::{Accepted, Store};

const ROUTE: RouteIx = RouteIx(0);
/// Far above what any step takes.
const SOON: Duration = Duration::from_secs(20);

async fn accept_held(store: &Store, number: u64) -> MessageId {
    let mut held = draft(number, 1);
    held.message.on_ambiguous = OnAmbiguous::Hold;
    match store.accept(vec![held]).await.unwrap().remove(0) {
        Accepted::Stored(message) => message.id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_that_has_ended_is_neither_sent_nor_held() {
    let dir = TempDir::new();
    let clock = Clock::system();
    let (store, _) = Store::open(config(&dir), clock.clone()).unwrap();
    let ended = accept_held(&store, 1).await;
    let waits = accept_held(&store, 2).await;
    let states = Arc::new(RouteStates::new(
        vec![vec![String::new()], Vec::new()],
        UnixMs(1),
    ));
    let (to_link, mut attempts) = mpsc::channel(16);
    let (from_link, heard) = mpsc::channel(16);
    let (stopper, stop) = Stopper::new();
    let link = LinkIx(0);
    let links = vec![LinkHandle {
        link,
        attempts: to_link,
    }];
    let config = Config {
        route: ROUTE,
        name: "a".to_owned(),
        limits: Default::default(),
        lanes: [50, 30, 15, 5],
        channel: crate::message::Channel::Sms,
    };
    let dispatcher = Dispatcher::new(config, store.clone(), clock, links, states.clone());
    let running = tokio::spawn(dispatcher.run(heard, stop));
    let loaded = async {
        while states.state(ROUTE).unwrap().oldest.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, loaded).await.unwrap();
    assert_eq!(store.expire_queued(vec![(ended, Parts::one(0))]).await, 1);
    let up = LinkEvent::Up {
        link,
        window: 10,
        peer: String::new(),
        carries: Carries::Both,
        pulse: Arc::default(),
    };
    from_link.send(up).await.unwrap();
    let batch = tokio::time::timeout(SOON, attempts.recv())
        .await
        .unwrap()
        .unwrap();
    let out: Vec<MessageId> = batch.iter().map(|attempt| attempt.message.id).collect();
    assert_eq!(out, [waits], "the other one has ended");
    let answers = vec![Answer {
        token: batch[0].token,
        outcome: accepted(waits, 0, "p").outcome,
    }];
    let answered = LinkEvent::Answers {
        link,
        answers,
        congestion: None,
    };
    from_link.send(answered).await.unwrap();
    stopper.stop();
    // It ends only when nothing is out and nothing is held.
    tokio::time::timeout(SOON, running).await.unwrap().unwrap();
    assert!(attempts.try_recv().is_err());
    let life = store.get(ended).await.unwrap().life;
    assert_eq!((life.status, life.log.len()), (Status::Expired, 1));
    assert_eq!(store.get(waits).await.unwrap().life.status, Status::Sent);
    store.close();
}
