//! Three parts: a long message whose parts end accepted, throttled and unknown comes out right, also
//! over a kill -9: under `retry` what was not accepted is sent again, under `hold` nothing is.

use serde_json::{Value, json};
use sim::smsc::{Scripted, ScriptedAnswer, Seen, SmscConfig};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{SOON, Scene, wait_for};

const THROTTLED: u32 = 0x58;
/// `response_timeout` where an answer is lost. Chosen: the other parts' answers are never so late, on the
/// busiest machine.
const LOST_AFTER: &str = "5s";

/// Part 1 is accepted, part 2 throttled once, part 3 accepted and once not answered.
fn carrier() -> SmscConfig {
    let mut config = smsc_config();
    let scripted = |part, answers| Scripted { part, answers };
    config.faults.script = vec![
        scripted(2, vec![ScriptedAnswer::Refused(THROTTLED)]),
        scripted(3, vec![ScriptedAnswer::Silent]),
    ];
    // What a killed gateway had not stored yet, and so not acknowledged, comes again, as from a carrier.
    config.faults.receipts.resend = true;
    config
}

async fn scene(name: &str, response_timeout: &str) -> Scene {
    let line = format!("response_timeout = {response_timeout:?}");
    let change = |setup: &mut trunkline_tests::Setup| {
        setup.routes[0] = setup.routes[0].clone().with(&line);
    };
    Scene::start(name, carrier(), change).await.unwrap()
}

fn long(on_ambiguous: &str) -> Value {
    json!({
        "to": number(1), "from": "ACME", "text": "three parts ".repeat(30),
        "policy": {"on_ambiguous": on_ambiguous},
    })
}

/// Number and reference of a part, from its UDH with an 8-bit reference (3GPP TS 23.040 §9.2.3.24.1).
fn part(seen: &Seen) -> (u8, u8) {
    match seen.short_message.as_slice() {
        [5, 0, 3, reference, 3, part, ..] => (*part, *reference),
        other => panic!("not one of three parts: {other:?}"),
    }
}

/// How often the carrier saw parts 1, 2 and 3; all of them under one reference.
fn times(scene: &Scene) -> [usize; 3] {
    let parts: Vec<_> = scene.smsc.messages().iter().map(part).collect();
    let references = parts.iter().map(|(_, reference)| *reference);
    assert!(
        references.collect::<std::collections::HashSet<_>>().len() <= 1,
        "part and reference: {parts:?}"
    );
    [1, 2, 3].map(|wanted| parts.iter().filter(|(part, _)| *part == wanted).count())
}

/// Waits until the first part's acceptance is on disk and the other two are with the carrier.
async fn part_3_unanswered(scene: &Scene, id: &str) {
    wait_for("part 1 settled, part 3 out", SOON, async || {
        let path = format!("/v1/messages/{id}/timeline");
        let timeline = scene.client.json(&path).await.ok()?;
        let accepted = |entry: &Value| entry["part"] == 0 && entry["result"] == "accepted";
        let settled = timeline["data"].as_array()?.iter().any(accepted);
        (settled && times(scene) == [1, 1, 1]).then_some(())
    })
    .await;
}

/// Checks that no part of a held message went out twice.
async fn sent_once(scene: &Scene, id: &str, message: &Value) {
    // Another held message behind it: when that is through, a part that waited would have been, too.
    let mut next = trunkline_tests::message(&number(2), "next");
    next["policy"] = json!({"on_ambiguous": "hold"});
    let next = scene.send(&next).await;
    scene.status(&next, "delivered").await;
    let seen = scene.smsc.messages();
    let of_three = seen.iter().filter(|seen| seen.esm_class & 0x40 != 0);
    let parts: Vec<_> = of_three.map(part).map(|(part, _)| part).collect();
    assert_eq!(parts, [1, 2, 3], "{message}");
    scene.event(id, "message.unknown").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_retry_what_was_not_accepted_is_sent_again() {
    let scene = scene("three-parts", LOST_AFTER).await;
    let id = scene.send(&long("retry")).await;
    let message = scene.status(&id, "delivered").await;
    assert_eq!(times(&scene), [1, 2, 2], "{message}");
    scene.event(&id, "message.delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_retry_a_kill_repeats_only_what_was_not_accepted() {
    let mut scene = scene("three-parts-killed", "60s").await;
    let id = scene.send(&long("retry")).await;
    part_3_unanswered(&scene, &id).await;
    scene.restart(true).await.unwrap();
    let message = scene.status(&id, "delivered").await;
    assert_eq!(times(&scene), [1, 2, 2], "{message}");
    scene.event(&id, "message.delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_hold_it_ends_unknown_and_nothing_is_sent_twice() {
    let scene = scene("three-parts-held", LOST_AFTER).await;
    let id = scene.send(&long("hold")).await;
    let message = scene.status(&id, "unknown").await;
    sent_once(&scene, &id, &message).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_hold_a_kill_repeats_nothing() {
    let mut scene = scene("three-parts-held-killed", "60s").await;
    let id = scene.send(&long("hold")).await;
    part_3_unanswered(&scene, &id).await;
    scene.restart(true).await.unwrap();
    let message = scene.status(&id, "unknown").await;
    sent_once(&scene, &id, &message).await;
}
