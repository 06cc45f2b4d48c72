//! Handsets: what they write is put together, stored before it is acknowledged, and told once; STOP
//! suppresses. Over two binds, out of order, and through a kill -9.

use std::process::Stdio;

use serde_json::Value;
use sim::smsc::{FromHandset, Handsets, SmscConfig};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use trunkline_tests::gateway::binary;
use trunkline_tests::scene::{received, smsc_config};
use trunkline_tests::{Route, SOON, Scene, wait_for};

const HANDSET: &str = "46701234567";
const NUMBER: &str = "71234";

async fn scene(name: &str) -> Scene {
    let scene = Scene::start(name, smsc_config(), |setup| {
        setup.routes[0] = setup.routes[0].clone().binds(2, 20);
        setup.sections = format!("[inbound.numbers.{NUMBER:?}]\nendpoint = \"crm\"\n");
    })
    .await
    .unwrap();
    two_binds(&scene).await;
    scene
}

async fn two_binds(scene: &Scene) {
    wait_for("two binds", SOON, async || {
        (scene.smsc.report().binds_now == 2).then_some(())
    })
    .await;
}

fn text(text: &str) -> FromHandset {
    FromHandset::text(HANDSET, NUMBER, text)
}

/// Hands a message over and sees it acknowledged.
async fn hand(scene: &Scene, bind: usize, message: FromHandset) {
    assert_eq!(scene.smsc.hand(bind, message).await, Some(0), "ESME_ROK");
}

/// The `inbound.received` that the receiver has, in the order of the log: events of several messages are
/// posted side by side.
fn inbound(scene: &Scene) -> Vec<Value> {
    let mut events = received(&scene.receiver);
    events.retain(|event| event["type"] == "inbound.received");
    events.sort_by_key(|event| event["id"].as_str().map(str::to_owned));
    events
}

async fn wait_inbound(scene: &Scene, count: usize) -> Vec<Value> {
    let what = format!("{count} messages from handsets at the receiver");
    wait_for(&what, SOON, async || {
        let all = inbound(scene);
        (all.len() >= count).then_some(all)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_message_is_acknowledged_and_told_to_its_numbers_endpoint() {
    let scene = scene("mo-single").await;
    hand(&scene, 0, text("Where is my parcel?")).await;
    let told = wait_inbound(&scene, 1).await;
    let data = &told[0]["data"];
    assert_eq!(told[0]["tenant"], "acme");
    assert_eq!(data["from"], format!("+{HANDSET}"));
    assert_eq!(
        (&data["to"], &data["text"]),
        (&NUMBER.into(), &"Where is my parcel?".into())
    );
    assert_eq!(
        (&data["route"], &data["parts"]),
        (&"main".into(), &1.into())
    );
    let page = scene
        .client
        .json("/v1/events?types=inbound.*")
        .await
        .unwrap();
    assert_eq!(
        page["data"][0]["id"], told[0]["id"],
        "the log tells the same"
    );
    assert_eq!(page["data"][0]["data"]["text"], data["text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_keyword_chooses_the_endpoint_and_is_told() {
    let scene = Scene::start("mo-keyword", smsc_config(), |setup| {
        setup.sections = format!(
            "[inbound]\nkeyword_endpoints = {{ BOOK = \"crm\" }}\n\
             [inbound.numbers.{NUMBER:?}]\ntenant = \"acme\"\n"
        );
    })
    .await
    .unwrap();
    one_bind(&scene).await;
    hand(&scene, 0, text("book, a table for two")).await;
    let data = &wait_inbound(&scene, 1).await[0]["data"];
    assert_eq!(data["keyword"], "BOOK");
    assert_eq!(data["intent"], Value::Null);
    assert_eq!(data["text"], "book, a table for two");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_simulators_handsets_write_by_themselves_comes_whole() {
    let long = "Привет ".repeat(20);
    let smsc = SmscConfig {
        handsets: Some(Handsets {
            to: NUMBER.to_owned(),
            text: long.clone(),
            per_second: 50.0,
            count: 3,
            ..Handsets::default()
        }),
        ..smsc_config()
    };
    let scene = Scene::start("mo-sim", smsc, |setup| {
        setup.routes[0] = setup.routes[0].clone().binds(2, 20);
        setup.sections = format!("[inbound.numbers.{NUMBER:?}]\nendpoint = \"crm\"\n");
    })
    .await
    .unwrap();
    let told = wait_inbound(&scene, 3).await;
    for told in &told {
        let data = &told["data"];
        assert_eq!(
            (&data["text"], &data["parts"]),
            (&long.as_str().into(), &3.into())
        );
    }
    wait_for("every acknowledgement", SOON, async || {
        let report = scene.smsc.report();
        (report.inbound_acked == 9).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_in_any_order_over_two_binds_with_repeats_make_one_message() {
    let scene = scene("mo-parts").await;
    for (bind, place) in [(0, 3), (1, 1), (0, 1), (1, 3)] {
        let words = ["one ", "two ", "three"][usize::from(place) - 1];
        hand(&scene, bind, text(words).part(7, 3, place)).await;
    }
    hand(&scene, 1, text("two ").part(7, 3, 2)).await;
    hand(&scene, 0, text("two ").part(7, 3, 2)).await;
    // A later one shows that nothing else is on its way.
    hand(&scene, 0, text("and that was it")).await;
    let told = wait_inbound(&scene, 2).await;
    let texts: Vec<&str> = told
        .iter()
        .filter_map(|e| e["data"]["text"].as_str())
        .collect();
    assert_eq!(texts, ["one two three", "and that was it"]);
    assert_eq!(told[0]["data"]["parts"], 3);
    assert_eq!(told[0]["data"]["incomplete"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_two_parts_loses_neither() {
    let mut scene = scene("mo-kill").await;
    hand(&scene, 0, text("before and ").part(9, 2, 1)).await;
    scene.restart(true).await.unwrap();
    two_binds(&scene).await;
    hand(&scene, 1, text("after").part(9, 2, 2)).await;
    let told = wait_inbound(&scene, 1).await;
    assert_eq!(told[0]["data"]["text"], "before and after");
    scene.restart(true).await.unwrap();
    two_binds(&scene).await;
    hand(&scene, 0, text("last")).await;
    let page = scene
        .client
        .json("/v1/events?types=inbound.*")
        .await
        .unwrap();
    let all = page["data"].as_array().unwrap();
    let texts: Vec<&str> = all
        .iter()
        .filter_map(|e| e["data"]["text"].as_str())
        .collect();
    assert_eq!(texts, ["before and after", "last"], "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_stay_away_are_told_as_missing_when_their_time_is_over() {
    let scene = Scene::start("mo-late", smsc_config(), |setup| {
        setup.sections = format!(
            "[inbound]\nreassembly_timeout = \"1s\"\n[inbound.numbers.{NUMBER:?}]\ntenant = \"acme\"\n"
        );
    })
    .await
    .unwrap();
    wait_for("a bind", SOON, async || {
        (scene.smsc.report().binds_now == 1).then_some(())
    })
    .await;
    hand(&scene, 0, text("only this").part(9, 3, 2)).await;
    let data = &wait_inbound(&scene, 1).await[0]["data"];
    assert_eq!(
        (&data["text"], &data["incomplete"]),
        (&"only this".into(), &true.into())
    );
    assert_eq!(data["missing"], serde_json::json!([1, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_told_with_its_suppression_and_start_takes_it_back() {
    let scene = scene("mo-stop").await;
    hand(&scene, 0, text(" Stop! ")).await;
    let told = wait_inbound(&scene, 1).await;
    let data = &told[0]["data"];
    assert_eq!(
        (&data["keyword"], &data["intent"]),
        (&"STOP".into(), &"opt_out".into())
    );
    let events = async |kind: &str| {
        wait_for(kind, SOON, async || {
            let mut all = received(&scene.receiver).into_iter();
            all.find(|event| event["type"] == kind)
        })
        .await
    };
    let out = events("recipient.opted_out").await;
    assert_eq!(out["data"]["phone"], format!("+{HANDSET}"));
    assert_eq!(out["data"]["source"], "keyword");
    assert_eq!(
        out["data"]["scope"],
        serde_json::json!({"kind": "sender", "value": NUMBER})
    );
    assert_eq!(out["data"]["inbound_id"], data["inbound_id"]);
    hand(&scene, 0, text("start")).await;
    let back = events("recipient.opted_in").await;
    assert_eq!(back["data"]["phone"], format!("+{HANDSET}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_coding_0_is_read_in_the_routes_alphabet() {
    let scene = Scene::start("mo-latin1", smsc_config(), |setup| {
        let route = setup.routes[0].clone();
        setup.routes[0] = route.with("charset = { default = \"latin1\" }");
        setup.sections = format!("[inbound.numbers.{NUMBER:?}]\ntenant = \"acme\"\n");
    })
    .await
    .unwrap();
    wait_for("a bind", SOON, async || {
        (scene.smsc.report().binds_now == 1).then_some(())
    })
    .await;
    let mut message = text("");
    message.octets = vec![b'@', 0xE5];
    hand(&scene, 0, message).await;
    let data = &wait_inbound(&scene, 1).await[0]["data"];
    assert_eq!(
        (&data["text"], &data["encoding"]),
        (&"@å".into(), &"latin1".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn data_coding_1_and_the_order_of_octets_are_the_routes_both_ways() {
    let scene = Scene::start("mo-charset", smsc_config(), |setup| {
        let route = setup.routes[0].clone();
        setup.routes[0] =
            route.with("charset = { default = \"latin1\", ia5 = \"default\", ucs2 = \"le\" }");
        setup.sections = format!("[inbound.numbers.{NUMBER:?}]\ntenant = \"acme\"\n");
    })
    .await
    .unwrap();
    one_bind(&scene).await;
    for (data_coding, octets) in [
        (1, &[0xE5][..]),
        (8, &[0x16, 0x04]),
        // A byte order mark wins; the last octet is one too many.
        (8, &[0xFE, 0xFF, 0x04, 0x16, 0]),
    ] {
        let mut message = text("");
        (message.data_coding, message.octets) = (data_coding, octets.to_vec());
        hand(&scene, 0, message).await;
    }
    // A user data header that is none; a receipt that is none.
    for (esm_class, words) in [(0x40, "hi"), (0x04, "hey")] {
        let mut message = text(words);
        message.esm_class = esm_class;
        hand(&scene, 0, message).await;
    }
    let told = wait_inbound(&scene, 5).await;
    let mut texts: Vec<&str> = told
        .iter()
        .filter_map(|told| told["data"]["text"].as_str())
        .collect();
    // Events of several messages have no order.
    texts.sort_unstable();
    assert_eq!(texts, ["hey", "hi", "å", "Ж", "Ж"]);
    let metrics = scene.gateway.admin_client().get("/metrics").await.unwrap();
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for quirk in [
        "odd_ucs2",
        "byte_order_mark",
        "bad_udh",
        "message_as_receipt",
    ] {
        let counted = format!("trunkline_smpp_quirks_total{{route=\"main\",quirk=\"{quirk}\"}} 1");
        assert!(metrics.contains(&counted), "{counted}");
    }
    let to = format!("+{HANDSET}");
    let message = serde_json::json!({"to": to, "from": NUMBER, "text": "Ж"});
    let id = scene.send(&message).await;
    scene.status(&id, "delivered").await;
    let seen = scene.smsc.messages();
    assert_eq!(seen[0].short_message, [0x16, 0x04]);
}

const CONFIRMED: &str = "You get no more messages.";

/// As [`scene`], and STOP is confirmed.
async fn confirming(name: &str) -> Scene {
    let scene = Scene::start(name, smsc_config(), |setup| {
        setup.sections = format!(
            "[inbound.numbers.{NUMBER:?}]\nendpoint = \"crm\"\n\
             [inbound.replies]\nopt_out = {CONFIRMED:?}\n"
        );
    })
    .await
    .unwrap();
    one_bind(&scene).await;
    scene
}

async fn one_bind(scene: &Scene) {
    wait_for("a bind", SOON, async || {
        (scene.smsc.report().binds_now == 1).then_some(())
    })
    .await;
}

/// The senders and texts that the carrier took for the handset.
fn at_carrier(scene: &Scene) -> Vec<(String, String)> {
    let all = scene.smsc.messages().into_iter();
    let here = all.filter(|seen| seen.dest.2 == HANDSET);
    here.map(|seen| {
        let text = String::from_utf8_lossy(&seen.short_message).into_owned();
        (seen.source.2, text)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_confirmed_once_over_a_kill_and_the_next_message_is_rejected() {
    let mut scene = confirming("mo-confirm").await;
    hand(&scene, 0, text("STOP")).await;
    let told = wait_inbound(&scene, 1).await;
    let reply = told[0]["data"]["auto_reply"].as_str().unwrap().to_owned();
    scene.status(&reply, "delivered").await;
    let confirmation = (NUMBER.to_owned(), CONFIRMED.to_owned());
    assert_eq!(at_carrier(&scene), std::slice::from_ref(&confirmation));
    let message = |from: &str, text: &str| {
        let to = format!("+{HANDSET}");
        serde_json::json!({"to": to, "from": from, "text": text})
    };
    let id = scene.send(&message(NUMBER, "an offer")).await;
    let rejected = scene.status(&id, "rejected").await;
    assert_eq!(rejected["reason"]["code"], "suppressed", "{rejected}");
    scene.restart(true).await.unwrap();
    one_bind(&scene).await;
    hand(&scene, 0, text("stop")).await;
    // What comes after it shows that nothing is on its way.
    let id = scene.send(&message("OTHER", "last")).await;
    scene.status(&id, "delivered").await;
    let last = ("OTHER".to_owned(), "last".to_owned());
    assert_eq!(at_carrier(&scene), [confirmation, last]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_answers_every_submit_with_a_stop_gets_one_reply() {
    let scene = confirming("mo-echo").await;
    let accepted = async || {
        let page = scene.client.json("/v1/events?types=message.accepted").await;
        page.unwrap()["data"].as_array().unwrap().len()
    };
    hand(&scene, 0, text("STOP")).await;
    let mut echoed = 0;
    // What a STOP causes is accepted when it is acknowledged. Without the guard this never ends.
    while echoed < accepted().await && echoed < 5 {
        wait_for("the next submit at the carrier", SOON, async || {
            (at_carrier(&scene).len() > echoed).then_some(())
        })
        .await;
        hand(&scene, 0, text("STOP")).await;
        echoed += 1;
    }
    assert_eq!(echoed, 1);
    let told = wait_inbound(&scene, 2).await;
    let replies: Vec<bool> = told
        .iter()
        .map(|told| told["data"]["auto_reply"].is_string())
        .collect();
    assert_eq!(replies, [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_lines_handsets_write_is_told_as_often_as_asked_for() {
    let options =
        "--listen 127.0.0.1:0 --mo-to 71234 --mo-from 46700000001 --mo-rate 50 --mo-count 2";
    let mut carrier = Command::new(binary().unwrap())
        .args(["--json", "sim", "smsc", "--mo-text", "Am I next?"])
        .args(options.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(carrier.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap();
    let listening: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    let addr = listening["listening"].as_str().unwrap().parse().unwrap();
    let scene = Scene::start("mo-verb", smsc_config(), |setup| {
        setup.routes = vec![Route::new("main", addr)];
        setup.sections = format!("[inbound.numbers.{NUMBER:?}]\nendpoint = \"crm\"\n");
    })
    .await
    .unwrap();
    for told in wait_inbound(&scene, 2).await {
        let data = &told["data"];
        assert_eq!(
            (&data["text"], &data["from"], &data["to"]),
            (&"Am I next?".into(), &"+46700000001".into(), &NUMBER.into())
        );
    }
    let pid = carrier.id().unwrap().to_string();
    let kill = ["-c", "kill -TERM \"$0\"", &pid];
    let sent = Command::new("sh").args(kill).status().await.unwrap();
    assert!(sent.success());
    let report = tokio::time::timeout(SOON, lines.next_line()).await.unwrap();
    let report: Value = serde_json::from_str(&report.unwrap().unwrap()).unwrap();
    // The last acknowledgement may still have been on its way.
    let acked = report["inbound_acked"].as_u64().unwrap();
    assert!((1..=2).contains(&acked), "{report}");
    let status = tokio::time::timeout(SOON, carrier.wait()).await.unwrap();
    assert!(status.unwrap().success());
    assert_eq!(inbound(&scene).len(), 2);
}
