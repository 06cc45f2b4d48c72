//! What becomes of requests: answers, halves of them, resets, deadlines, cuts.

use http::header::{HeaderName, HeaderValue};

use super::*;

const APNS_ID: HeaderName = HeaderName::from_static("apns-id");
/// RFC 9113 §7.
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

#[tokio::test(start_paused = true)]
async fn an_answer_brings_its_status_body_and_the_headers_asked_for() {
    let mut rig = Rig::start(
        10,
        Config {
            headers: vec![APNS_ID],
            ..Config::default()
        },
    )
    .await;
    rig.send([7]);
    let frames = rig.frames().await;
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].payload, 7_u64.to_be_bytes());
    assert_eq!(frames[1].flags, peer::END_STREAM);
    advance(Duration::from_millis(40)).await;
    let headers = [("apns-id", "a-b"), ("server", "x")];
    rig.peer.head_with(1, 400, &headers, false).await;
    rig.peer.data(1, b"{\"reason\":", false).await;
    rig.settle().await;
    assert!(rig.take().is_empty(), "half of it is no answer yet");
    rig.peer.data(1, b"\"BadTopic\"}", true).await;
    rig.settle().await;
    let [(7, Fate::Answered(answered))] = &rig.take()[..] else {
        panic!("not answered");
    };
    assert_eq!(answered.status, 400);
    assert_eq!(answered.body, "{\"reason\":\"BadTopic\"}");
    assert_eq!(
        answered.header(&APNS_ID),
        Some(&HeaderValue::from_static("a-b"))
    );
    assert_eq!(answered.headers.len(), 1);
    assert!(answered.complete);
    assert_eq!(answered.latency, Duration::from_millis(40));
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_unsent_and_any_other_reset_is_unknown() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.send([1, 2]);
    rig.settle().await;
    rig.peer.reset(1, REFUSED_STREAM).await;
    rig.peer.reset(3, INTERNAL_ERROR).await;
    rig.settle().await;
    let expected = [
        unsent(1, Unsent::Refused),
        unknown(2, Unknown::Reset(INTERNAL_ERROR)),
    ];
    assert_eq!(rig.take(), expected);
    assert_eq!(rig.connection.room(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_status_and_then_a_reset_or_a_cut_is_an_answer() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.send([1, 2, 3, 4]);
    rig.settle().await;
    // In one read, and in two.
    rig.peer.head(1, 200, false).await;
    rig.peer.reset(1, REFUSED_STREAM).await;
    rig.peer.head(3, 200, false).await;
    rig.peer.head(5, 400, false).await;
    rig.peer.data(5, b"{\"rea", false).await;
    rig.settle().await;
    rig.peer.reset(3, CANCEL).await;
    rig.settle().await;
    rig.peer.cut();
    rig.settle().await;
    let mut fates = rig.take();
    fates.sort_by_key(|(token, _)| *token);
    let tokens: Vec<u64> = fates.iter().map(|(token, _)| *token).collect();
    assert_eq!(tokens, [1, 2, 3, 4]);
    assert_eq!(status(&fates[0].1), (200, false));
    assert_eq!(status(&fates[1].1), (200, false));
    assert_eq!(status(&fates[2].1), (400, false));
    assert!(matches!(&fates[2].1, Fate::Answered(answered) if answered.body == "{\"rea"));
    assert_eq!(fates[3], unknown(4, Unknown::Broken));
    assert!(rig.closed.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_body_beyond_its_limit_is_cut_off_and_the_stream_cancelled() {
    let mut rig = Rig::start(
        10,
        Config {
            body_octets_max: 8,
            ..Config::default()
        },
    )
    .await;
    rig.send([1]);
    rig.frames().await;
    rig.peer.head(1, 500, false).await;
    rig.peer.data(1, b"<html>", false).await;
    rig.peer.data(1, b"<body>", false).await;
    let frames = rig.frames().await;
    let [(1, Fate::Answered(answered))] = &rig.take()[..] else {
        panic!("not answered");
    };
    assert_eq!(
        (&answered.body[..], answered.complete),
        (&b"<html><b"[..], false)
    );
    assert_eq!(frames[0].kind, peer::RST_STREAM);
    // What is still on its way does no harm.
    rig.peer.data(1, b"</body>", true).await;
    rig.send([2]);
    assert_eq!(rig.opened().await, [3]);
}

#[tokio::test(start_paused = true)]
async fn late_answers_after_the_deadline_free_their_slots_and_do_no_harm() {
    let mut rig = Rig::start(1_000, Config::default()).await;
    rig.send(0..1_000);
    assert_eq!(rig.opened().await.len(), 1_000);
    for _ in 0..3 {
        // PINGs are answered meanwhile.
        rig.passes(Duration::from_millis(3_333)).await;
        rig.frames().await;
    }
    assert!(rig.take().is_empty());
    rig.passes(Duration::from_millis(1)).await;
    let fates = rig.take();
    assert_eq!(fates.len(), 1_000);
    assert_eq!(fates[0], unknown(0, Unknown::Deadline));
    assert_eq!(rig.connection.room(), 1_000);
    let resets = rig.frames().await;
    assert_eq!(resets.len(), 1_000);
    let cancel =
        |frame: &Frame| frame.kind == peer::RST_STREAM && frame.payload == CANCEL.to_be_bytes();
    assert!(resets.iter().all(cancel));
    for stream in (1..2_001).step_by(2) {
        rig.peer.head(stream, 400, false).await;
        rig.peer.data(stream, b"{}", true).await;
    }
    rig.settle().await;
    rig.send([5_000]);
    assert_eq!(rig.opened().await, [2_001]);
    rig.peer.head(2_001, 200, true).await;
    rig.settle().await;
    let fates = rig.take();
    assert_eq!(fates.len(), 1, "a token is answered once");
    assert_eq!(status(&fates[0].1), (200, true));
    assert!(rig.closed.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_status_without_its_end_is_an_answer_at_the_deadline() {
    let mut rig = Rig::start(10, Config::default()).await;
    rig.send([1]);
    rig.frames().await;
    rig.peer.head(1, 200, false).await;
    rig.passes(Duration::from_secs(10)).await;
    let fates = rig.take();
    assert_eq!(status(&fates[0].1), (200, false));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_written_says_so_and_harms_no_other() {
    let mut rig = Rig::start(10, Config::default()).await;
    let (mut bad, body) = request(1);
    bad.headers_mut()
        .insert("connection", HeaderValue::from_static("close"));
    rig.connection.send(1, bad, body);
    rig.send([2]);
    rig.frames().await;
    let fates = rig.take();
    assert!(
        matches!(&fates[..], [(1, Fate::Unsent(Unsent::Invalid(_)))]),
        "{fates:?}"
    );
    rig.peer.head(3, 200, true).await;
    rig.settle().await;
    assert_eq!(rig.take().len(), 1);
}
