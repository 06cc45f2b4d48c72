//! Sessions as carriers have them: pairs, a lost receiver, a dead host, a wrong password, outbind, a
//! bind that has stopped.

use serde_json::Value;
use sim::smsc::{Faults, Receipts, SmscConfig};
use trunkline_tests::config::PASSWORD;
use trunkline_tests::scene::smsc_config;
use trunkline_tests::{Nobody, SOON, Scene, message, wait_for};

/// A carrier that keeps receipts for the next bind that takes them.
fn patient() -> SmscConfig {
    SmscConfig {
        faults: Faults {
            receipts: Receipts {
                resend: true,
                ..Receipts::default()
            },
            ..Faults::default()
        },
        ..smsc_config()
    }
}

/// Waits until the route is as `wanted` says; the route as it then is.
async fn route(scene: &Scene, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, SOON, async || {
        let route = scene.client.json("/v1/routes/main").await.ok()?;
        wanted(&route).then_some(route)
    })
    .await
}

/// Waits until a metric, by its name and labels, has this value: it and the route are told by two.
async fn metric(scene: &Scene, name: &str, wanted: &str) {
    wait_for(&format!("{name} {wanted}"), SOON, async || {
        let answer = scene.gateway.admin_client().get("/metrics").await.ok()?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        (value.trim() == wanted).then_some(())
    })
    .await;
}

fn states(route: &Value) -> Vec<&str> {
    let links = route["links"].as_array().into_iter().flatten();
    links.filter_map(|link| link["state"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_send_over_one_bind_and_hear_over_the_other() {
    let scene = Scene::start("pairs", patient(), |setup| {
        setup.routes[0] = setup.routes[0]
            .clone()
            .binds(2, 10)
            .with("bind = \"tx+rx\"");
    })
    .await
    .unwrap();
    // A link is shown as bound a moment before its window counts in the sum.
    let up = route(&scene, "both pairs", |route| {
        route["state"] == "up" && route["window"] == 20
    })
    .await;
    assert_eq!(
        states(&up),
        ["bound_tx", "bound_rx", "bound_tx", "bound_rx"]
    );
    assert_eq!(up["receipts"]["reachable"], true);
    for link in up["links"].as_array().into_iter().flatten() {
        assert!(link["keep_alive"]["heard_at"].is_string(), "{link}");
        assert_eq!(link["keep_alive"]["misses"], 0);
    }
    let id = scene.send(&message("+46701234567", "hello")).await;
    scene.status(&id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_host_degrades_and_says_why_and_the_other_one_sends() {
    let dead = Nobody::new().unwrap();
    let gone = dead.addr;
    let scene = Scene::start("dead-host", smsc_config(), |setup| {
        setup.routes[0].hosts.insert(0, gone);
    })
    .await
    .unwrap();
    let seen = route(&scene, "one of two hosts", |route| {
        route["state"] == "degraded"
            && route["links"][0]["last_error"].is_string()
            // Not while it is tried.
            && route["links"][0]["retry_at"].is_string()
            && states(route) == ["waiting", "bound_trx"]
    })
    .await;
    assert_eq!(seen["links"][0]["host"], gone.to_string());
    assert_eq!(seen["links"][0]["keep_alive"], Value::Null);
    let id = scene.send(&message("+46701234567", "hello")).await;
    scene.status(&id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_calls_is_bound_to_for_its_receipts() {
    let scene = Scene::start("outbind", patient(), |setup| {
        setup.routes[0] = setup.routes[0].clone().with(
            "bind = \"transmitter\"\noutbind = { listen = \"127.0.0.1:0\", allow = \
             [\"127.0.0.0/8\"], system_id = \"SMSC\", password = { env = \"TEST_PASSWORD\" } }",
        );
    })
    .await
    .unwrap();
    let before = route(&scene, "a transmitter", |route| route["state"] == "up").await;
    assert_eq!(states(&before), ["bound_tx", "listening"]);
    assert_eq!(before["receipts"]["reachable"], false);
    let id = scene.send(&message("+46701234567", "hello")).await;
    scene.status(&id, "sent").await;

    let at = scene.gateway.listening["outbind"]["main"].as_str().unwrap();
    let at = at.parse().unwrap();
    scene.smsc.outbind(at, "SMSC", "secret").await.unwrap();
    route(&scene, "a receiver", |route| {
        route["receipts"]["reachable"] == true && states(route) == ["bound_tx", "bound_rx"]
    })
    .await;
    let id = scene.send(&message("+46701234568", "hello")).await;
    scene.status(&id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_receiver_degrades_the_route_and_sending_goes_on() {
    let scene = Scene::start("receiver-lost", patient(), |setup| {
        setup.routes[0] = setup.routes[0].clone().with("bind = \"tx+rx\"");
    })
    .await
    .unwrap();
    route(&scene, "the pair", |route| route["state"] == "up").await;
    let faults = Faults {
        // ESME_RSYSERR: the carrier is busy, and tried again in seconds.
        refuse_receivers: Some(0x08),
        ..patient().faults
    };
    scene.smsc.set(faults);
    let lost = route(&scene, "no receiver", |route| {
        route["links"][1]["retry_at"].is_string()
            && route["receipts"]["reachable"] == false
            && route["state"] == "degraded"
    })
    .await;
    assert_eq!(states(&lost), ["bound_tx", "waiting"]);
    assert!(lost["links"][1]["last_error"].is_string());
    let unreachable = "trunkline_smpp_receipts_unreachable{route=\"main\"}";
    metric(&scene, unreachable, "1").await;
    let id = scene.send(&message("+46701234567", "hello")).await;
    scene.status(&id, "sent").await;

    scene.smsc.set(patient().faults);
    scene.status(&id, "delivered").await;
    route(&scene, "the pair again", |route| {
        route["state"] == "up" && route["receipts"]["reachable"] == true
    })
    .await;
    metric(&scene, unreachable, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_password_makes_every_bind_of_the_account_wait() {
    let config = SmscConfig {
        account: Some(("main".into(), "another".into())),
        ..smsc_config()
    };
    let scene = Scene::start("wrong-password", config, |setup| {
        setup.routes[0] = setup.routes[0].clone().binds(3, 10);
    })
    .await
    .unwrap();
    let refused = |link: &Value| {
        let error = link["last_error"].as_str().unwrap_or_default();
        error.contains("RINVPASWD")
    };
    let seen = route(&scene, "a refused bind", |route| {
        let mut links = route["links"].as_array().into_iter().flatten();
        links.any(refused)
    })
    .await;
    assert_eq!(seen["state"], "down");
    assert_eq!(states(&seen), ["waiting"; 3]);
    let links = seen["links"].as_array().unwrap();
    let (told, others): (Vec<&Value>, Vec<&Value>) = links.iter().partition(|link| refused(link));
    assert_eq!((told.len(), others.len()), (1, 2), "{seen}");
    assert!(told[0]["retry_at"].is_string());

    // What is sent meanwhile waits, and no other bind tries the password: accounts get locked.
    let id = scene.send(&message("+46701234567", "hello")).await;
    scene.status(&id, "queued").await;
    scene.kept().await;
    let report = scene.smsc.report();
    assert_eq!((report.binds_refused, report.binds), (1, 0));
    let log = scene.directory.log();
    assert!(!log.contains(PASSWORD), "the password is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_bind_out_is_shown_and_an_operator_ends_the_wait() {
    // No password; no transceiver: one pauses for a minute, the other stops for good.
    for (status, state, said) in [
        (0x0E, "waiting", "RINVPASWD"),
        (0x03, "stopped", "RINVCMDID"),
    ] {
        let refusing = |refuse_binds| Faults {
            refuse_binds,
            ..patient().faults
        };
        let config = SmscConfig {
            faults: refusing(Some(status)),
            ..patient()
        };
        let name = format!("resumed-{status}");
        let scene = Scene::start(&name, config, |_| ()).await.unwrap();
        let out = route(&scene, "a refused bind", |route| {
            route["links"][0]["last_error"].is_string()
        })
        .await;
        assert_eq!((&out["state"], states(&out)), (&"down".into(), vec![state]));
        let error = out["links"][0]["last_error"].as_str().unwrap();
        assert!(error.contains(said), "{error}");
        let id = scene.send(&message("+46701234567", "hello")).await;
        scene.status(&id, "queued").await;

        scene.smsc.set(refusing(None));
        let reason = serde_json::json!({"reason": "put right"});
        let path = "/v1/routes/main/resume";
        let answer = scene.client.post(path, &reason).await.unwrap();
        assert_eq!(
            (answer.status, &answer.json()["name"]),
            (200, &"main".into())
        );
        // Sooner than a minute, or than never.
        scene.status(&id, "delivered").await;
        let log = scene.directory.log();
        let told = log
            .lines()
            .any(|line| line.contains("tried again") && line.contains("put right"));
        assert!(told, "{log}");
    }
}
