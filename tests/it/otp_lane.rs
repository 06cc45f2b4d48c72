//! Otp lane: on a route that is slower than its backlog, an otp overtakes all that waits.

use serde_json::json;
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{SOON, Scene, wait_for};

/// Promotional messages that wait.
const BACKLOG: usize = 600;
/// Otps, sent one after the other while they drain.
const OTPS: usize = 10;
/// Promotional messages that may still pass an otp after its 202: those that the dispatcher had taken
/// when the otp came, at most one window, here all that the rate lets through at once.
const TAKEN_MAX: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn an_otp_overtakes_the_promotional_backlog() {
    let scene = Scene::start("otp-lane", smsc_config(), |setup| {
        setup.routes[0] = setup.routes[0].clone().with("rate = \"100/s, burst 1\"");
    })
    .await
    .unwrap();
    let backlog: Vec<_> = (0..BACKLOG)
        .map(|n| json!({"to": number(n), "from": "ACME", "text": "sale", "class": "promotional"}))
        .collect();
    let answer = scene.client.ndjson(&backlog).await.unwrap();
    assert_eq!(
        answer.lines().last().unwrap()["summary"]["accepted"],
        BACKLOG
    );

    let mut submitted_at_202 = Vec::new();
    for n in 0..OTPS {
        let to = number(BACKLOG + n);
        let otp = json!({"to": to, "from": "ACME", "text": "your code", "class": "otp"});
        scene.send(&otp).await;
        submitted_at_202.push(scene.smsc.messages().len());
        wait_for("the otp at the carrier", SOON, async || {
            let seen = scene.smsc.messages();
            seen.iter().any(|seen| seen.dest.2 == to[1..]).then_some(())
        })
        .await;
    }
    let all = (BACKLOG + OTPS) as u64;
    wait_for("the backlog drained", SOON, async || {
        (scene.smsc.report().unique == all).then_some(())
    })
    .await;

    let order: Vec<String> = scene
        .smsc
        .messages()
        .into_iter()
        .map(|m| m.dest.2)
        .collect();
    for (n, before) in submitted_at_202.into_iter().enumerate() {
        let to = number(BACKLOG + n).split_off(1);
        let place = order.iter().position(|seen| *seen == to).unwrap();
        assert!(
            place <= before + TAKEN_MAX,
            "otp {n}: {before} were submitted when it was accepted, and it came as number {place}"
        );
        assert!(
            place + 1 < order.len() - OTPS,
            "otp {n} had nothing left to overtake"
        );
    }
    let expected: Vec<String> = (0..BACKLOG).map(|n| number(n).split_off(1)).collect();
    let otps: Vec<String> = (0..OTPS)
        .map(|n| number(BACKLOG + n).split_off(1))
        .collect();
    let promotional: Vec<String> = order.into_iter().filter(|to| !otps.contains(to)).collect();
    assert!(promotional == expected, "the others keep their order");
    assert_eq!(scene.smsc.report().duplicates, 0);
}
