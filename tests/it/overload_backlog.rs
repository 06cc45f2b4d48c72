//! Overload: beyond `limits.queued` accepts answer 503 with Retry-After, low classes first, and
//! everything that was accepted is delivered once the carrier is back.

use serde_json::json;
use sim::smsc::{Smsc, SmscConfig};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Nobody, SOON, Scene, message};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_refuses_and_keeps_what_it_took() {
    let scene = Scene::start("overload", smsc_config(), |setup| {
        setup.limits = "queued = 200".into();
        setup.routes[0] = setup.routes[0].clone().with("rate = \"1/h, burst 1\"");
    })
    .await
    .unwrap();
    let (mut accepted, mut refused) = (Vec::new(), None);
    for n in 0..1_000 {
        let mut body = message(&number(n), "backlog");
        body["class"] = "promotional".into();
        let answer = scene.client.post("/v1/messages", &body).await.unwrap();
        if answer.status != 202 {
            refused = Some(answer);
            break;
        }
        accepted.push(answer.id());
    }
    let refused = refused.expect("no refusal within 1,000 messages at a limit of 200");
    assert!(accepted.len() <= 202, "{} accepted", accepted.len());
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("overloaded"))
    );
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(
        refused.header("retry-after").parse::<u32>().is_ok(),
        "{:?}",
        refused.headers
    );
    assert_eq!(refused.json()["retryable"], true);
    assert!(!accepted.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_the_carrier_is_delivered_in_order() {
    let nobody = Nobody::new().unwrap();
    let addr = nobody.addr;
    let mut scene = Scene::start("backlog", smsc_config(), |setup| {
        setup.routes[0].hosts = vec![addr];
        setup.endpoints[0] = setup.endpoints[0]
            .clone()
            .with("batch = { max_events = 500, max_wait_ms = 100 }");
    })
    .await
    .unwrap();
    let lines: Vec<_> = (0..3_000).map(|n| message(&number(n), "waits")).collect();
    let answer = scene.client.ndjson(&lines).await.unwrap();
    assert_eq!(answer.lines().last().unwrap()["summary"]["accepted"], 3_000);
    scene.restart(true).await.unwrap();
    let smsc = Smsc::start(SmscConfig {
        listen: addr,
        ..smsc_config()
    })
    .await
    .unwrap();
    let all = |report: &sim::receiver::Report| report.messages_delivered == 3_000;
    scene.receiver.wait_until(all, SOON).await.unwrap();
    let report = smsc.report();
    assert_eq!((report.unique, report.duplicates), (3_000, 0));
    let order: Vec<String> = smsc
        .messages()
        .into_iter()
        .map(|seen| seen.dest.2)
        .collect();
    let expected: Vec<String> = (0..3_000).map(|n| number(n).split_off(1)).collect();
    assert!(
        order == expected,
        "one bind, one lane: the accept order holds"
    );
}
