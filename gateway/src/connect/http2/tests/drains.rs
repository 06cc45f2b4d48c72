//! Ends that are announced: GOAWAY, the caller's fence, age and count.

use super::*;

const REASON: &[u8] = b"{\"reason\":\"Shutdown\"}";

fn goaway(last_stream: u32) -> Replace {
    Replace::GoAway(GoAway {
        last_stream,
        code: 0,
        debug_data: REASON.to_vec(),
    })
}

#[tokio::test(start_paused = true)]
async fn goaway_gives_back_what_is_above_it_and_awaits_what_is_not() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.send(1..=4);
    rig.frames().await;
    rig.send([5]);
    rig.peer.goaway(3, 0, REASON).await;
    rig.settle().await;
    let mut fates = rig.take();
    fates.sort_by_key(|(token, _)| *token);
    let expected = [
        unsent(3, Unsent::GoAway),
        unsent(4, Unsent::GoAway),
        unsent(5, Unsent::Draining),
    ];
    assert_eq!(fates, expected);
    // The replacement can be opened while two are still out.
    assert_eq!(rig.replace, [goaway(3)]);
    assert_eq!((rig.connection.limit(), rig.connection.in_flight()), (0, 2));
    rig.send([6]);
    assert!(rig.opened().await.is_empty());
    assert_eq!(rig.take(), [unsent(6, Unsent::Draining)]);
    rig.peer.head(1, 200, true).await;
    rig.settle().await;
    assert!(rig.closed.is_none());
    rig.peer.cut();
    rig.settle().await;
    let fates = rig.take();
    assert_eq!(status(&fates[0].1), (200, true));
    assert_eq!(fates[1..], [unknown(2, Unknown::Broken)]);
    assert_eq!(rig.closed.as_deref(), Some("GOAWAY NO_ERROR"));
}

#[tokio::test(start_paused = true)]
async fn a_second_goaway_lowers_the_first() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.send(1..=2);
    rig.frames().await;
    rig.peer.goaway(0x7FFF_FFFF, 0, REASON).await;
    rig.settle().await;
    assert!(rig.take().is_empty());
    rig.peer.goaway(1, 0, REASON).await;
    rig.settle().await;
    assert_eq!(rig.take(), [unsent(2, Unsent::GoAway)]);
    assert_eq!(rig.replace.last(), Some(&goaway(1)));
    rig.peer.head(1, 200, true).await;
    rig.frames().await;
    assert_eq!(status(&rig.take()[0].1), (200, true));
    rig.settle().await;
    assert!(rig.closed.is_some(), "nothing is out any more");
}

#[tokio::test(start_paused = true)]
async fn a_fence_awaits_what_is_out_and_then_says_goodbye() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.send([1]);
    rig.frames().await;
    rig.send([2]);
    rig.connection.fence("two InternalServerErrors");
    rig.settle().await;
    assert_eq!(rig.take(), [unsent(2, Unsent::Draining)]);
    assert_eq!(
        rig.replace,
        [Replace::Fenced("two InternalServerErrors".to_owned())]
    );
    assert_eq!((rig.limits, rig.connection.limit()), (1, 0));
    rig.peer.head(1, 200, true).await;
    let frames = rig.frames().await;
    assert_eq!(status(&rig.take()[0].1), (200, true));
    assert_eq!(rig.closed.as_deref(), Some("two InternalServerErrors"));
    assert_eq!(frames.last().map(|frame| frame.kind), Some(peer::GOAWAY));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_that_nobody_takes_ends_by_itself() {
    let (ours, theirs) = duplex(256);
    let mut rig = Rig::over(ours, theirs, 10, Config::default()).await;
    rig.send([1, 2, 3]);
    rig.settle().await;
    rig.connection.fence("enough");
    rig.passes(Duration::from_secs(10)).await;
    rig.passes(Duration::from_secs(1)).await;
    assert_eq!(rig.take().len(), 3);
    assert!(rig.closed.is_some());
}

#[tokio::test(start_paused = true)]
async fn age_asks_for_a_replacement_once_and_goes_on() {
    let mut rig = Rig::start(
        10,
        Config {
            max_age: Duration::from_secs(3600),
            ..Config::default()
        },
    )
    .await;
    for _ in 0..65 {
        rig.passes(Duration::from_secs(60)).await;
        rig.frames().await;
        if rig.connection.heard_at() > rig.connection.clock.instant() {
            panic!("time runs backwards");
        }
    }
    rig.passes(Duration::from_secs(60)).await;
    rig.frames().await;
    assert_eq!(rig.replace, [Replace::Age]);
    assert_eq!(rig.connection.limit(), 10);
    rig.send([1]);
    assert_eq!(rig.opened().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_stream_ids_drains() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.connection.requests = REQUESTS_MAX - 1;
    rig.send([1, 2]);
    assert_eq!(
        rig.opened().await,
        [1, 3],
        "what was handed over before goes"
    );
    assert_eq!(rig.connection.limit(), 0);
    assert_eq!(rig.replace, [Replace::Requests]);
}

#[tokio::test(start_paused = true)]
async fn so_many_requests_ask_for_a_replacement_once() {
    let mut rig = Rig::start(
        10,
        Config {
            max_requests: 3,
            ..Config::default()
        },
    )
    .await;
    rig.send([1, 2]);
    rig.frames().await;
    assert!(rig.replace.is_empty());
    rig.send([3]);
    rig.frames().await;
    rig.send([4]);
    assert_eq!(rig.opened().await, [7]);
    assert_eq!(rig.replace, [Replace::Requests]);
}
