//! Otp lane: on a route that is slower than its backlog, an otp overtakes all that waits.

use serde_json::json;
use sim::smsc::{Smsc, SmscConfig};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Nobody, Route, SOON, Scene, wait_for};

/// Promotional messages that wait.
const BACKLOG: usize = 600;
/// Otps, sent one after the other while they drain; fewer when a busy machine takes long for each.
const OTPS: usize = 10;
/// The route's window.
const WINDOW: u16 = 10;
/// Promotional messages that may still come between an otp's 202 and the otp: a window that is out and
/// not yet read by the carrier, and one that goes out while the dispatcher hears of the otp, 0.1 s.
const TAKEN_MAX: usize = 2 * WINDOW as usize;

#[tokio::test(flavor = "multi_thread")]
async fn an_otp_overtakes_the_promotional_backlog() {
    let nobody = Nobody::new().unwrap();
    let scene = Scene::start("otp-lane", smsc_config(), |setup| {
        let route = Route::new("main", nobody.addr).binds(1, WINDOW);
        setup.routes[0] = route.with("rate = \"100/s, burst 1\"");
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

    // The carrier comes up when all of it waits.
    let config = SmscConfig {
        listen: nobody.addr,
        ..smsc_config()
    };
    let carrier = Smsc::start(config).await.unwrap();
    let why = json!({"reason": "the carrier is up"});
    let resumed = scene.client.post("/v1/routes/main/resume", &why).await;
    assert_eq!(resumed.unwrap().status, 200);
    wait_for("the first of the backlog", SOON, async || {
        (carrier.report().unique > 0).then_some(())
    })
    .await;
    let mut submitted_at_202 = Vec::new();
    for n in 0..OTPS {
        if carrier.messages().len() > BACKLOG * 3 / 4 {
            break;
        }
        let to = number(BACKLOG + n);
        let otp = json!({"to": to, "from": "ACME", "text": "your code", "class": "otp"});
        scene.send(&otp).await;
        submitted_at_202.push(carrier.messages().len());
        wait_for("the otp at the carrier", SOON, async || {
            let seen = carrier.messages();
            seen.iter().any(|seen| seen.dest.2 == to[1..]).then_some(())
        })
        .await;
    }
    let otps = submitted_at_202.len();
    assert!(otps > 0, "the backlog was gone before the first otp");
    let all = (BACKLOG + otps) as u64;
    wait_for("the backlog drained", SOON, async || {
        (carrier.report().unique == all).then_some(())
    })
    .await;

    let order: Vec<String> = carrier.messages().into_iter().map(|m| m.dest.2).collect();
    for (n, before) in submitted_at_202.into_iter().enumerate() {
        let to = number(BACKLOG + n).split_off(1);
        let place = order.iter().position(|seen| *seen == to).unwrap();
        assert!(
            place <= before + TAKEN_MAX,
            "otp {n}: {before} were submitted when it was accepted, and it came as number {place}"
        );
        assert!(
            place + 1 < order.len() - otps,
            "otp {n} had nothing left to overtake"
        );
    }
    let expected: Vec<String> = (0..BACKLOG).map(|n| number(n).split_off(1)).collect();
    let otps: Vec<String> = (0..otps)
        .map(|n| number(BACKLOG + n).split_off(1))
        .collect();
    let promotional: Vec<String> = order.into_iter().filter(|to| !otps.contains(to)).collect();
    assert!(promotional == expected, "the others keep their order");
    assert_eq!(carrier.report().duplicates, 0);
}
