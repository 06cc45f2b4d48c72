//! Push services that cannot take a push now: further tries by the route's schedule and budget, and another
//! way for what cannot wait.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trunkline_tests::push::{Lines, Push, android, ios, push_then_sms};
use trunkline_tests::{SOON, wait_for};

/// With these lines of the route to Apple.
async fn start(name: &str, apns: &str) -> Push {
    let lines = Lines {
        apns,
        ..Lines::default()
    };
    start_with(name, lines).await
}

async fn start_with(name: &str, lines: Lines<'_>) -> Push {
    Push::start(name, Default::default(), lines).await.unwrap()
}

/// A token whose first `times` requests are answered 503 without a Retry-After.
fn busy(times: u32, number: u32) -> String {
    format!("503000000ff{times}{number:052x}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_fault_is_tried_again_by_the_routes_schedule() {
    let retry = r#"retry = { schedule = ["200ms", "300ms"] }"#;
    let push = start("push-schedule", retry).await;
    let passing = busy(2, 1);
    let body = json!({"to": {"devices": [ios(&passing)]}, "content": {"push": {"title": "Ready"}}});
    let id = push.scene.send(&body).await;
    let sent = push.scene.status(&id, "sent").await;
    assert_eq!(sent["attempts"], 3, "{sent}");
    let seen = push.apns.token(&passing);
    assert_eq!((seen.requests, seen.accepted), (3, 1));
    // One pause more than the schedule has.
    let lasting = busy(3, 2);
    let body = json!({"to": {"devices": [ios(&lasting)]}, "content": {"push": {"title": "Ready"}}});
    let id = push.scene.send(&body).await;
    let failed = push.scene.status(&id, "failed").await;
    assert_eq!(failed["reason"]["code"], "provider_error", "{failed}");
    assert_eq!(push.apns.token(&lasting).requests, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_time_code_goes_as_sms_after_two_tries() {
    let retry = r#"retry = { schedule = ["200ms", "200ms", "200ms", "200ms"] }"#;
    let push = start("push-otp", retry).await;
    let token = busy(4, 1);
    let mut body = push_then_sms(vec![ios(&token)]);
    body["class"] = json!("otp");
    let id = push.scene.send(&body).await;
    push.scene.status(&id, "delivered").await;
    assert_eq!(push.apns.token(&token).requests, 2);
    assert_eq!(push.scene.smsc.report().submits, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_refuses_everything_sees_no_more_than_the_budget_and_later_gets_all() {
    const MESSAGES: u32 = 40;
    const REFUSALS: u32 = 4;
    let retry =
        r#"retry = { schedule = ["200ms", "200ms", "200ms", "200ms", "200ms"], budget = "10%" }"#;
    let push = start("push-budget", retry).await;
    // Each of its devices has had too much: TooManyRequests holds up none but its own.
    let often = |number: u32| format!("429000000ff{REFUSALS}{number:052x}");
    let tokens: Vec<String> = (0..MESSAGES).map(often).collect();
    let start = Instant::now();
    let mut ids = Vec::new();
    for token in &tokens {
        let body =
            json!({"to": {"devices": [ios(token)]}, "content": {"push": {"title": "Ready"}}});
        ids.push(push.scene.send(&body).await);
    }
    // Until the first is taken nothing but what is new, its share and the floor buys a try.
    let within = Duration::from_secs(60);
    let report = push
        .apns
        .until(within, |report| report.accepted > 0)
        .await
        .unwrap();
    let most = f64::from(MESSAGES) * 1.1 + 10.0 * (start.elapsed().as_secs_f64() + 1.0) + 1.0;
    let seen = f64::from(u32::try_from(report.rejected).unwrap());
    assert!(seen <= most, "{seen} refused of at most {most}");
    for (id, token) in ids.iter().zip(&tokens) {
        push.scene.status(id, "sent").await;
        let seen = push.apns.token(token);
        assert_eq!((seen.requests, seen.accepted), (REFUSALS + 1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_google_calls_exceeded_stops_all_routes_of_its_project() {
    let push = start_with(
        "push-quota",
        Lines {
            fcm_two: Some(""),
            ..Lines::default()
        },
    )
    .await;
    let courier = |token: &str| {
        let mut device = android(token);
        device["app"] = json!("courier-android");
        to(device)
    };
    // 429 without a word of whose quota: one device's may be its own, and waits alone.
    let alone = push.scene.send(&to(android("42900000-alone"))).await;
    refused(&push, &alone).await;
    let other = push.scene.send(&to(android("android-token"))).await;
    push.scene.status(&other, "sent").await;
    // Three different ones, and a minute, as there is no Retry-After.
    for number in 0..3 {
        let id = push
            .scene
            .send(&to(android(&format!("42900000-{number}"))))
            .await;
        refused(&push, &id).await;
    }
    let second = push.scene.send(&courier("courier-token")).await;
    let third = push.scene.send(&to(android("android-token-3"))).await;
    let held = wait_for("the other route to wait", SOON, async || {
        let route: Value = push.scene.client.json("/v1/routes/fcm-two").await.ok()?;
        (route["hold_reason"] == "quota").then_some(route)
    });
    let held = held.await;
    assert_eq!(held["rate"]["configured"], 10_000.0, "{held}");
    assert_eq!(held["rate"]["limited_by"], "ramp", "{held}");
    push.scene.status(&second, "queued").await;
    // The one that was told is not down either.
    let told = wait_for("its own route to wait", SOON, async || {
        let route = push.route("fcm").await.ok()?;
        (route["hold_reason"] == "quota").then_some(route)
    });
    let told = told.await;
    assert_eq!(told["state"], "up", "{told}");
    let throttle = &told["throttle"];
    assert!(throttle["paused_until"].is_string(), "{told}");
    assert!(throttle["last_minute"].as_u64() >= Some(3), "{told}");
    push.scene.status(&third, "queued").await;
    assert_eq!(push.fcm.report().accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_whose_service_is_too_busy_waits_and_says_so_and_goes_on_by_itself() {
    let push = start("push-busy", r#"retry = { schedule = ["200ms"] }"#).await;
    let apns = |token: &str| to(ios(token));
    let mut number = 0;
    let held = wait_for("the route to wait", SOON, async || {
        // Few, as each is in the way of what comes when the service is well.
        if number < 4 {
            number += 1;
            push.scene.send(&apns(&busy(2, number))).await;
        }
        let route = push.route("apns").await.ok()?;
        (route["hold_reason"] == "throttled").then_some(route)
    });
    let held = held.await;
    assert_eq!(held["state"], "up", "{held}");
    let well = push.scene.send(&apns("a11ce0")).await;
    push.scene.status(&well, "sent").await;
}

/// 404 without UNREGISTERED: a wrong project, or a device of which Google says no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_not_found_stops_its_route_and_one_device_does_not() {
    let lines = Lines {
        fcm_two: Some(""),
        ..Lines::default()
    };
    let push = start_with("push-not-found", lines).await;
    let one = push.scene.send(&to(android("40400001-one"))).await;
    refused(&push, &one).await;
    let well = push.scene.send(&to(android("android-token"))).await;
    push.scene.status(&well, "sent").await;
    // They go on until the well one is no longer lately: behind one sick connection they would come, too.
    let mut waiting = Vec::new();
    let route = wait_for("the route to be stopped", SOON, async || {
        let token = format!("40400001-{}", waiting.len());
        waiting.push(push.scene.send(&to(android(&token))).await);
        let route: Value = push.scene.client.json("/v1/routes/fcm").await.ok()?;
        (route["links"][0]["state"] == "stopped").then_some(route)
    });
    let why = route.await["links"][0].to_string();
    assert!(why.contains("project"), "{why}");
    waiting.push(push.scene.send(&to(android("android-token-2"))).await);
    for id in waiting.iter().chain([&one]) {
        let message = push.scene.client.message(id).await.unwrap();
        assert_eq!(message["final"], false, "{message}");
    }
    assert_eq!(push.fcm.report().accepted, 1);
    // Another route of the same project has its own word with the service.
    let other: Value = push.scene.client.json("/v1/routes/fcm-two").await.unwrap();
    assert_eq!(other["state"], "up", "{other}");
}

fn to(device: Value) -> Value {
    json!({"to": {"devices": [device]}, "content": {"push": {"title": "Ready"}}})
}

/// Waits until a first try has been answered.
async fn refused(push: &Push, id: &str) {
    wait_for("the refusal to be known", SOON, async || {
        let message = push.scene.client.message(id).await.ok()?;
        (message["attempts"] == 1).then_some(())
    })
    .await;
}
