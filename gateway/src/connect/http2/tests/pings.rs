//! Silence: PING when idle, PING when answers do not come, and the fence when nobody answers it.

use super::*;

async fn pings(rig: &mut Rig) -> usize {
    let frames = rig.frames().await;
    let pings = frames.iter().filter(|frame| frame.kind == peer::PING);
    pings.count()
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_asked_and_its_round_trip_shown() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.frames().await;
    rig.passes(Duration::from_secs(44)).await;
    assert_eq!(pings(&mut rig).await, 0);
    rig.passes(Duration::from_secs(1)).await;
    assert_eq!(rig.connection.round_trip(), None);
    advance(Duration::from_millis(30)).await;
    assert_eq!(pings(&mut rig).await, 1);
    assert_eq!(rig.connection.round_trip(), Some(Duration::from_millis(30)));
    rig.passes(Duration::from_secs(20)).await;
    assert!(rig.replace.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_with_requests_out_is_asked_after_five_seconds_and_fenced_after_ten() {
    let mut rig = Rig::start(
        10,
        Config {
            request_timeout: Duration::from_secs(60),
            ..Config::default()
        },
    )
    .await;
    rig.peer.pongs = false;
    rig.frames().await;
    rig.passes(Duration::from_secs(30)).await;
    rig.send([1]);
    rig.frames().await;
    rig.passes(Duration::from_millis(4_999)).await;
    assert_eq!(
        pings(&mut rig).await,
        0,
        "its silence counts from the request"
    );
    rig.passes(Duration::from_millis(1)).await;
    assert_eq!(pings(&mut rig).await, 1);
    rig.passes(Duration::from_secs(5)).await;
    let why = "the peer does not answer PING".to_owned();
    assert_eq!(rig.replace, [Replace::Fenced(why.clone())]);
    rig.send([2]);
    rig.settle().await;
    assert_eq!(rig.take(), [unsent(2, Unsent::Draining)]);
    rig.passes(Duration::from_secs(2)).await;
    assert_eq!(rig.take(), [unknown(1, Unknown::Fenced)]);
    rig.passes(Duration::from_secs(1)).await;
    assert_eq!(rig.closed, Some(why));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_fenced_also_where_requests_time_out_before_it_is_asked() {
    let config = Config {
        request_timeout: Duration::from_secs(2),
        ..Config::default()
    };
    let mut rig = Rig::start(10, config).await;
    (rig.peer.pongs, rig.peer.takes) = (false, false);
    rig.frames().await;
    for second in 0..10 {
        assert!(rig.replace.is_empty(), "{second}");
        rig.send([second]);
        rig.frames().await;
        rig.passes(Duration::from_secs(1)).await;
    }
    let why = "the peer does not answer PING".to_owned();
    assert_eq!(rig.replace, [Replace::Fenced(why)]);
}

#[tokio::test(start_paused = true)]
async fn a_sick_peer_that_answers_after_all_is_heard_and_stays_fenced() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.peer.pongs = false;
    rig.send([1]);
    rig.frames().await;
    rig.passes(Duration::from_secs(5)).await;
    rig.send([2]);
    rig.frames().await;
    rig.passes(Duration::from_millis(4_900)).await;
    rig.peer.head(1, 200, true).await;
    rig.settle().await;
    assert_eq!(status(&rig.take()[0].1), (200, true));
    rig.passes(Duration::from_millis(100)).await;
    assert_eq!(rig.connection.limit(), 0);
    rig.peer.head(3, 200, true).await;
    rig.settle().await;
    assert_eq!(status(&rig.take()[0].1), (200, true));
    assert_eq!(rig.connection.limit(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_but_no_requests_is_not_fenced() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.send([1]);
    rig.frames().await;
    for _ in 0..10 {
        rig.passes(Duration::from_secs(1)).await;
        rig.frames().await;
    }
    assert_eq!(rig.take(), [unknown(1, Unknown::Deadline)]);
    assert!(rig.replace.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_idles_for_days_is_asked_all_the_time_and_stays() {
    let config = Config {
        max_age: Duration::from_secs(30 * 24 * 3600),
        ..Config::default()
    };
    let mut rig = Rig::start(10, config).await;
    rig.frames().await;
    let mut asked = 0;
    for _ in 0..3 * 24 * 80 {
        rig.passes(Duration::from_secs(45)).await;
        asked += pings(&mut rig).await;
    }
    assert_eq!(asked, 3 * 24 * 80, "every 45 s");
    rig.send([1]);
    rig.frames().await;
    rig.peer.head(1, 200, true).await;
    rig.settle().await;
    assert_eq!(status(&rig.take()[0].1), (200, true));
    assert!(rig.replace.is_empty() && rig.closed.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_whose_peer_is_gone_without_a_word_is_found_and_closed() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.peer.pongs = false;
    rig.frames().await;
    rig.passes(Duration::from_secs(45)).await;
    assert_eq!(pings(&mut rig).await, 1);
    rig.passes(Duration::from_secs(5)).await;
    let why = "the peer does not answer PING".to_owned();
    assert_eq!(rig.replace, [Replace::Fenced(why.clone())]);
    rig.passes(Duration::from_secs(1)).await;
    assert_eq!(rig.closed, Some(why));
}
