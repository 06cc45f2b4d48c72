//! More links than there are places in the channels that they share.

use sim::smsc::{Receipts, Send};

use super::*;

const LINKS: u16 = 8;
const MESSAGES: u64 = 5;

/// A carrier that receipts everything.
async fn receipting() -> Smsc {
    let receipts = Receipts {
        send: Send::Always,
        ..Receipts::default()
    };
    let faults = Faults {
        receipts,
        ..Faults::default()
    };
    let config = SmscConfig {
        faults,
        ..SmscConfig::default()
    };
    Smsc::start(config).await.unwrap()
}

#[tokio::test]
async fn links_that_wait_for_the_same_place_all_get_one() {
    let smsc = receipting().await;
    let (events, mut seen) = mpsc::channel(1);
    let (receipts, mut stored) = mpsc::channel(1);
    let (inbound, _handsets) = mpsc::channel(1);
    let (stopper, stop) = Stopper::new();
    let (mut tasks, mut to_links) = (Vec::new(), Vec::new());
    for link in 0..LINKS {
        let (attempts, to_send) = mpsc::channel(64);
        let ends = Ends {
            link: LinkIx(link),
            host: 0,
            seat: Seat::Main,
            calls: None,
            attempts: to_send,
            events: events.clone(),
            receipts: receipts.clone(),
            inbound: inbound.clone(),
        };
        // An account each, so that they bind at once.
        let config = Arc::new(config(smsc.addr()));
        tasks.push(tokio::spawn(run(
            config,
            ends,
            Clock::system(),
            stop.clone(),
        )));
        to_links.push(attempts);
    }
    for _ in 0..LINKS {
        let event = timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
        assert!(matches!(event, LinkEvent::Up { .. }), "{event:?}");
    }
    for attempts in &to_links {
        attempts.send(super::attempts(MESSAGES)).await.unwrap();
    }
    let all = u64::from(LINKS) * MESSAGES;
    let every_submit = async {
        while smsc.report().submits < all {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, every_submit).await.unwrap();
    // Only now somebody listens.
    let (mut answered, mut receipted) = (0, 0);
    let listen = async {
        while answered < all || receipted < all {
            tokio::select! {
                event = seen.recv() => match event.unwrap() {
                    LinkEvent::Answers { answers, .. } => answered += answers.len() as u64,
                    other => panic!("{other:?}"),
                },
                batch = stored.recv() => {
                    let batch = batch.unwrap();
                    receipted += batch.receipts.len() as u64;
                    batch.stored.send(()).unwrap();
                }
            }
        }
    };
    let over = timeout(PATIENCE, listen).await.is_ok();
    assert!(over, "{answered} answers and {receipted} receipts of {all}");
    stopper.stop();
    drop(seen);
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
}
