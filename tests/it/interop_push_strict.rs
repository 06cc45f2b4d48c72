//! Interop: the gateway's push routes, and a strict APNs and FCM on Node that share no code with it.
//!
//! Each test ends with what the endpoint took by token, and with its list of violations, which is empty:
//! signatures, headers, HPACK, stream limits, payloads.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline_tests::push_strict::Strict;
use trunkline_tests::scene::smsc_config;
use trunkline_tests::{Scene, peers, wait_for};

/// How long all of a test's messages may take to their ends.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Every event that tells of a message's state.
const STATES: &str = "message.accepted,message.sent,message.delivered,message.undelivered,\
    message.failed,message.rejected,message.expired,message.unknown";

/// The endpoint, and a gateway with routes to it.
struct Push {
    scene: Scene,
    strict: Strict,
}

/// `None`: node is not installed, and the test is left out.
async fn start(test: &str, apns_lines: &str) -> Option<Push> {
    let test = format!("interop_push_strict::{test}");
    if !peers::node(&test) {
        return None;
    }
    let strict = Strict::start().await.unwrap();
    let scene = Scene::start("push-strict", smsc_config(), |setup| {
        setup.sections.push_str(&strict.sections(apns_lines));
    });
    let scene = scene.await.unwrap();
    Some(Push { scene, strict })
}

impl Push {
    /// Sends them all; their ids.
    async fn send(&self, messages: &[Value]) -> Vec<String> {
        let answer = self.scene.client.ndjson(messages).await.unwrap();
        let lines = answer.lines();
        let ids = lines.iter().take(messages.len()).map(|line| {
            assert_eq!(line["status"], 202, "{line}");
            line["id"].as_str().unwrap().to_owned()
        });
        let ids: Vec<String> = ids.collect();
        assert_eq!(ids.len(), messages.len(), "{:?}", lines.last());
        ids
    }

    /// Waits for their ends: each has one, and one event that tells of it.
    async fn ends(&self, ids: &[String]) -> Vec<Value> {
        let mut ends = Vec::new();
        for id in ids {
            let what = format!("the end of {id}");
            let end = wait_for(&what, ENDS_WITHIN, async || {
                let message = self.scene.client.message(id).await.ok()?;
                (message["final"] == true).then_some(message)
            });
            ends.push(end.await);
        }
        let finals = wait_for("an event of each end", ENDS_WITHIN, async || {
            let mut finals: BTreeMap<String, usize> = BTreeMap::new();
            for event in self.scene.client.events(STATES).await.ok()? {
                if event["data"]["final"] == true {
                    let id = event["data"]["message_id"].as_str()?.to_owned();
                    *finals.entry(id).or_default() += 1;
                }
            }
            ids.iter()
                .all(|id| finals.contains_key(id))
                .then_some(finals)
        })
        .await;
        for id in ids {
            assert_eq!(finals[id], 1, "final events of {id}");
        }
        ends
    }

    /// What a service says it has seen.
    async fn seen(&mut self, service: &str) -> Value {
        let mut report = self.strict.report().await.unwrap();
        report[service].take()
    }

    /// Stops the gateway, and reads what was seen up to the end. Nobody broke a rule.
    async fn finish(mut self, service: &str) -> Value {
        self.scene.gateway.stop().await.unwrap();
        for service in ["apns", "fcm"] {
            assert_eq!(self.seen(service).await["violations"], json!([]));
        }
        self.seen(service).await
    }
}

/// The nth device token of those that start so.
fn token(prefix: &str, n: usize) -> String {
    format!("{prefix:0<8}{n:056x}")
}

fn to_ios(app: &str, token: &str, push: &Value) -> Value {
    json!({
        "to": {"devices": [{"platform": "ios", "app": app, "token": token}]},
        "content": {"push": push},
    })
}

fn to_android(token: &str, push: &Value) -> Value {
    json!({
        "to": {"devices": [{"platform": "android", "app": "shop-android", "token": token}]},
        "content": {"push": push},
    })
}

fn alert() -> Value {
    json!({"title": "Ready for pickup", "body": "Grüße 📦"})
}

/// With another answer to "what if nobody knows".
fn on_ambiguous(mut message: Value, policy: &str) -> Value {
    message["policy"] = json!({"on_ambiguous": policy});
    message
}

/// How often a service has taken what was for this target.
fn taken(service: &Value, target: &str) -> u64 {
    service["accepted"][target].as_u64().unwrap_or(0)
}

/// Nothing is lost, nothing silently doubled: what is called sent was taken, what is called unknown may
/// have been; once unless it is flagged.
fn assert_conserved(service: &Value, ends: &[Value], tokens: &[String]) {
    for (end, token) in ends.iter().zip(tokens) {
        let taken = taken(service, token);
        let told = end["duplicate_possible"] == true && end["on_ambiguous"] == "retry";
        let fits = match end["status"].as_str() {
            Some("sent") => taken == 1 || taken > 1 && told,
            Some("unknown") => taken <= 1 || told,
            _ => taken == 0,
        };
        assert!(fits, "{token} was taken {taken} times: {end}");
    }
}

/// A push of each type, with what its documentation asks for.
fn of_each_type() -> Vec<(&'static str, Value)> {
    let live = json!({"aps": {
        "timestamp": 1_790_000_000, "event": "update", "content-state": {"left": 3},
    }});
    let changed = json!({"aps": {"content-changed": true}});
    vec![
        (
            "alert",
            json!({
                "title": "Ready", "body": "for pickup", "badge": 3, "sound": "ping.caf", "category": "ORDER",
                "thread_id": "order-1182", "deep_link": "shop://o/1182", "data": {"order": "1182"},
                "image_url": "https://cdn.example/1182.png", "collapse_key": "order-1182",
            }),
        ),
        (
            "alert",
            json!({"body": "a", "collapse_key": "x".repeat(64)}),
        ),
        (
            "alert",
            json!({"body": "Grüße", "collapse_key": "ä".repeat(32)}),
        ),
        // 4,096 octets: {"aps":{"alert":{"body":"a"}},"blob":"…"}.
        (
            "alert",
            json!({"body": "a", "apns": {"blob": "x".repeat(4_096 - 40)}}),
        ),
        ("background", json!({"silent": true, "data": {"sync": "1"}})),
        ("voip", json!({"apns": {"call": "x".repeat(4_900)}})),
        ("complication", json!({"data": {"steps": "9000"}})),
        (
            "fileprovider",
            json!({"apns": {"container-identifier": "NSFileProviderRootContainerItemIdentifier", "domain": "d"}}),
        ),
        ("location", json!({})),
        ("liveactivity", json!({"apns": live})),
        ("pushtotalk", json!({"data": {"speaker": "7"}})),
        ("widgets", json!({"apns": changed})),
        ("controls", json!({"apns": changed})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_of_every_type_break_no_rule_and_each_is_taken_once() {
    let test = "pushes_of_every_type_break_no_rule_and_each_is_taken_once";
    let Some(push) = start(test, "").await else {
        return;
    };
    let (mut messages, mut tokens) = (Vec::new(), Vec::new());
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, content) in of_each_type() {
        let mut content = content;
        if name != "alert" && name != "background" {
            content["push_type"] = json!(name);
        }
        let by_certificate = if name == "location" {
            None
        } else {
            Some("kiosk-ios")
        };
        let apps = ["shop-ios", "courier-ios"]
            .into_iter()
            .chain(by_certificate);
        for app in apps {
            for priority in ["high", "normal", "low"] {
                for ttl in [600, 2_419_200] {
                    let token = token("", tokens.len());
                    let mut message = to_ios(app, &token, &content);
                    message["priority"] = json!(priority);
                    message["ttl"] = json!(ttl);
                    messages.push(message);
                    tokens.push(token);
                    *expected.entry(name).or_default() += 1;
                }
            }
        }
    }
    let command = json!({"push_type": "mdm", "apns": {"mdm": "5A7F3C1E-magic"}});
    for _ in 0..10 {
        tokens.push(token("", tokens.len()));
        messages.push(to_ios("fleet", tokens.last().unwrap(), &command));
        *expected.entry("mdm").or_default() += 1;
    }
    let ids = push.send(&messages).await;
    let ends = push.ends(&ids).await;
    let certificates = push.strict.certificates.clone();
    let apns = push.finish("apns").await;
    for (end, token) in ends.iter().zip(&tokens) {
        assert_eq!(
            (&end["status"], taken(&apns, token)),
            (&json!("sent"), 1),
            "{end}"
        );
    }
    assert_eq!(apns["types"], json!(expected));
    assert_eq!(apns["answers"], json!({"200": messages.len()}));
    assert_eq!(
        apns["providerTokens"].as_array().unwrap().len(),
        1,
        "one for the process"
    );
    for certificate in &certificates {
        let shown = apns["certificates"].as_array().unwrap();
        assert!(
            shown.contains(&json!(certificate)),
            "ours is not among {shown:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apns_goes_away_again_and_again_and_cuts_and_nothing_is_lost_or_doubled_silently() {
    let test = "apns_goes_away_again_and_again_and_cuts_and_nothing_is_lost_or_doubled_silently";
    storm(test, "apns", |token| to_ios("shop-ios", token, &alert())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fcm_goes_away_again_and_again_and_cuts_and_nothing_is_lost_or_doubled_silently() {
    let test = "fcm_goes_away_again_and_again_and_cuts_and_nothing_is_lost_or_doubled_silently";
    storm(test, "fcm", |token| to_android(token, &alert())).await;
}

async fn storm(test: &str, service: &str, to: impl Fn(&str) -> Value) {
    let Some(mut push) = start(test, "connections = 2").await else {
        return;
    };
    let storm = json!({"latencyMs": 50, "goAway": {
        "after": 40, "lag": 8, "times": 12, "reason": "Shutdown",
    }});
    push.strict.order(service, storm).await.unwrap();
    let tokens: Vec<String> = (0..800).map(|n| token("", n)).collect();
    let messages: Vec<Value> = tokens.iter().map(|token| to(token)).collect();
    let ids = push.send(&messages).await;
    let ends = push.ends(&ids).await;
    let seen = push.seen(service).await;
    // What a GOAWAY leaves out is repeated, what it includes is answered: no doubt about any.
    assert_eq!(seen["goAways"], 12);
    assert!(seen["excluded"].as_u64() > Some(0));
    for (end, token) in ends.iter().zip(&tokens) {
        let is = (&end["status"], taken(&seen, token));
        assert_eq!(is, (&json!("sent"), 1), "{end}");
        assert_ne!(end["duplicate_possible"], true, "{end}");
    }
    let cuts = json!({
        "latencyMs": 200,
        "cut": {"after": 60, "times": 2},
        "goAway": {"after": 30, "lag": 8, "times": 6, "reason": "Shutdown", "thenCutMs": 400},
    });
    push.strict.order(service, cuts).await.unwrap();
    let tokens: Vec<String> = (0..500).map(|n| token("c", n)).collect();
    let policies = ["retry", "hold"].iter().cycle();
    let messages: Vec<Value> = tokens
        .iter()
        .zip(policies)
        .map(|(token, policy)| on_ambiguous(to(token), policy))
        .collect();
    let ids = push.send(&messages).await;
    let ends = push.ends(&ids).await;
    let seen = push.finish(service).await;
    assert_eq!((&seen["cuts"], &seen["goAways"]), (&json!(2), &json!(18)));
    assert_conserved(&seen, &ends, &tokens);
    assert!(seen["muted"].as_u64() > Some(0), "taken and not answered");
    let doubt = |end: &&Value| end["status"] == "unknown" || end["duplicate_possible"] == true;
    let doubts = ends.iter().filter(doubt).count();
    assert!(doubts > 0, "what was out is in doubt");
    // None was given up before its third try; that all three meet a cut takes a machine that is slow.
    let mut may_be_repeated = ends.iter().step_by(2);
    assert!(may_be_repeated.all(|end| end["status"] == "sent" || end["attempts"] == 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_pushes_keep_to_a_window_and_a_table_that_shrink_and_grow() {
    let test = "large_pushes_keep_to_a_window_and_a_table_that_shrink_and_grow";
    let Some(mut push) = start(test, "connections = 1").await else {
        return;
    };
    let large = json!({"body": "x".repeat(2_000), "apns": {"blob": "x".repeat(2_000)}});
    let (mut ids, mut tokens) = (Vec::new(), Vec::new());
    push.strict
        .order("apns", json!({"latencyMs": 3}))
        .await
        .unwrap();
    for settings in [
        json!({"initialWindowSize": 100}),
        json!({"headerTableSize": 0}),
        json!({"initialWindowSize": 65_535, "headerTableSize": 4_096}),
        json!({"initialWindowSize": 0}),
        json!({"initialWindowSize": 1_000_000, "headerTableSize": 64, "maxFrameSize": 1_000_000}),
    ] {
        let batch: Vec<String> = (0..100).map(|n| token("", tokens.len() + n)).collect();
        let messages: Vec<Value> = batch
            .iter()
            .map(|token| to_ios("shop-ios", token, &large))
            .collect();
        ids.extend(push.send(&messages).await);
        tokens.extend(batch);
        let order = json!({"settings": settings});
        push.strict.order("apns", order).await.unwrap();
        wait_for("the settings' acknowledgement", ENDS_WITHIN, async || {
            let apns = push.seen("apns").await;
            (apns["acknowledged"] == true).then_some(())
        })
        .await;
    }
    let ends = push.ends(&ids).await;
    let apns = push.finish("apns").await;
    assert_eq!(apns["sessions"], 3, "each route has its first connection");
    for (end, token) in ends.iter().zip(&tokens) {
        let is = (&end["status"], taken(&apns, token));
        assert_eq!(is, (&json!("sent"), 1), "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_token_outlives_kills_and_stops() {
    let test = "a_provider_token_outlives_kills_and_stops";
    let Some(mut push) = start(test, "").await else {
        return;
    };
    for (n, kill) in [true, false, true, true].into_iter().enumerate() {
        let ids = push
            .send(&[to_ios("shop-ios", &token("", n), &alert())])
            .await;
        push.ends(&ids).await;
        push.scene.restart(kill).await.unwrap();
    }
    let ids = push
        .send(&[to_ios("courier-ios", &token("a", 0), &alert())])
        .await;
    push.ends(&ids).await;
    // Node dates its answers: our clock is compared with them.
    let metrics = push.scene.gateway.admin_client().get("/metrics").await;
    let metrics = metrics.unwrap().body;
    assert!(
        String::from_utf8_lossy(&metrics).contains("trunkline_push_clock_skew_seconds{"),
        "the skew is measured"
    );
    let apns = push.finish("apns").await;
    let tokens = apns["providerTokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 1, "one for all starts");
    assert_eq!(apns["answers"], json!({"200": 5}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_falls_to_one_and_rises_again_is_never_overrun() {
    let test = "a_window_that_falls_to_one_and_rises_again_is_never_overrun";
    let Some(mut push) = start(test, "connections = 1").await else {
        return;
    };
    let (mut ids, mut tokens) = (Vec::new(), Vec::new());
    let latency = json!({"latencyMs": 3});
    push.strict.order("apns", latency).await.unwrap();
    for limit in [1_000, 1, 1_000, 1, 30, 1, 1_000] {
        let batch: Vec<String> = (0..150).map(|n| token("", tokens.len() + n)).collect();
        let messages: Vec<Value> = batch
            .iter()
            .map(|token| to_ios("shop-ios", token, &alert()))
            .collect();
        ids.extend(push.send(&messages).await);
        tokens.extend(batch);
        // In the midst of what was just handed over.
        let order = json!({"limit": limit});
        push.strict.order("apns", order).await.unwrap();
        wait_for("the limit's acknowledgement", ENDS_WITHIN, async || {
            let apns = push.seen("apns").await;
            (apns["acknowledged"] == true).then_some(())
        })
        .await;
    }
    let ends = push.ends(&ids).await;
    let apns = push.finish("apns").await;
    assert_eq!(
        apns["sessions"], 3,
        "each route has its first connection still"
    );
    assert_eq!(apns["lowered"], 9, "three times on each connection");
    assert!(apns["openMax"].as_u64() > Some(10), "{}", apns["openMax"]);
    eprintln!(
        "openMax {} refusedByLibrary {}",
        apns["openMax"], apns["refusedByLibrary"]
    );
    for (end, token) in ends.iter().zip(&tokens) {
        assert_eq!(
            (&end["status"], taken(&apns, token)),
            (&json!("sent"), 1),
            "{end}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_reset_and_unanswered_pushes_are_told_apart() {
    let test = "refused_reset_and_unanswered_pushes_are_told_apart";
    // Chosen: Node answers what it answers sooner, on the busiest machine.
    let Some(push) = start(test, "request_timeout = \"6s\"").await else {
        return;
    };
    // What starts so, the policy, the end, how often it was taken, and whether a second copy is told of.
    let cases = [
        ("5e700000", "hold", "unknown", 0, false),
        ("5e700001", "hold", "sent", 1, false),
        ("5e700002", "hold", "sent", 1, false),
        ("5e700003", "hold", "failed", 0, false),
        ("5e700004", "hold", "unknown", 1, false),
        ("5e700004", "retry", "sent", 2, true),
        ("5e700005", "hold", "sent", 1, false),
        ("5e700006", "hold", "sent", 1, false),
        ("", "hold", "sent", 1, false),
    ];
    let (mut messages, mut tokens) = (Vec::new(), Vec::new());
    for n in 0..10 {
        for (at, (prefix, policy, ..)) in cases.iter().enumerate() {
            let token = token(prefix, n * 100 + at);
            messages.push(on_ambiguous(to_ios("shop-ios", &token, &alert()), policy));
            tokens.push(token);
        }
    }
    let ids = push.send(&messages).await;
    let ends = push.ends(&ids).await;
    let apns = push.finish("apns").await;
    for ((end, token), case) in ends.iter().zip(&tokens).zip(cases.iter().cycle()) {
        let (_, _, status, times, doubled) = *case;
        let is = (&end["status"], taken(&apns, token));
        assert_eq!(is, (&json!(status), times), "{case:?}: {end}");
        assert_eq!(
            end["duplicate_possible"] == true,
            doubled,
            "{case:?}: {end}"
        );
    }
    assert_eq!(
        (&apns["refused"], &apns["unanswered"]),
        (&json!(10), &json!(10))
    );
    assert_eq!(
        apns["cancelled"], 10,
        "the unanswered, and no other: {apns}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_older_than_the_registration_has_nobody_delete_the_token() {
    let test = "a_410_older_than_the_registration_has_nobody_delete_the_token";
    let Some(push) = start(test, "").await else {
        return;
    };
    // It was given up now, or two hours ago; and registered in 2020, or as the message comes.
    let mut messages = ["5e700003", "5e700007"].map(|prefix| {
        let mut message = to_ios("shop-ios", &token(prefix, 1), &alert());
        message["to"]["devices"][0]["registered_at"] = json!("2020-01-01T00:00:00Z");
        message
    });
    let plain = to_ios("shop-ios", &token("", 1), &alert());
    let id = push.scene.send(&plain).await;
    let now = push.scene.client.message(&id).await.unwrap();
    messages[1]["to"]["devices"][0]["registered_at"] = now["accepted_at"].clone();
    let ids = push.send(&messages).await;
    let ends = push.ends(&ids).await;
    for (end, code, gone) in [
        (&ends[0], "device_unregistered", true),
        (&ends[1], "provider_error", false),
    ] {
        let reason = &end["reason"];
        assert_eq!(end["status"], "failed", "{end}");
        assert_eq!(
            (&reason["code"], &reason["permanent"]),
            (&json!(code), &json!(gone)),
            "{end}"
        );
    }
    let events = push.scene.client.events("device.unregistered").await;
    let events = events.unwrap();
    let told = events.iter().map(|event| &event["data"]["message_id"]);
    assert_eq!(told.collect::<Vec<_>>(), [&json!(ids[0])]);
    let apns = push.finish("apns").await;
    // The other one was tried once more.
    assert_eq!(apns["answers"], json!({"200": 1, "410 Unregistered": 3}));
}

#[tokio::test(flavor = "multi_thread")]
async fn fcm_takes_every_target_and_its_refusals_have_their_meaning() {
    let test = "fcm_takes_every_target_and_its_refusals_have_their_meaning";
    let Some(mut push) = start(test, "").await else {
        return;
    };
    let rich = json!({
        "title": "Ready", "body": "Grüße 📦", "image_url": "https://cdn.example/1.png", "badge": 2,
        "sound": "default", "deep_link": "shop://o/1", "data": {"order": "1"}, "collapse_key": "order-1",
        "fcm": {"android": {"notification": {"channel_id": "orders"}}, "fcm_options": {"analytics_label": "o-1"}},
    });
    let contents = [
        alert(),
        rich,
        json!({"silent": true, "data": {"sync": "1"}}),
    ];
    let mut messages = Vec::new();
    let mut targets = Vec::new();
    for n in 0..300 {
        let target = format!("device-{n}:APA91b_-x");
        let mut message = to_android(&target, &contents[n % contents.len()]);
        message["priority"] = json!(["high", "normal", "low"][n / 3 % 3]);
        messages.push(message);
        targets.push(target);
    }
    let condition = "'news' in topics && ('se' in topics || !('no' in topics))";
    for (kind, target) in [("topic", "news"), ("condition", condition)] {
        messages.push(json!({
            "to": {kind: target, "app": "shop-android"}, "content": {"push": alert()},
        }));
        targets.push(target.to_owned());
    }
    let ids = push.send(&messages).await;
    let ends = push.ends(&ids).await;
    let fcm = push.seen("fcm").await;
    for (end, target) in ends.iter().zip(&targets) {
        assert_eq!(
            (&end["status"], taken(&fcm, target)),
            (&json!("sent"), 1),
            "{end}"
        );
    }
    assert_eq!(
        fcm["kinds"],
        json!({"token": 300, "topic": 1, "condition": 1})
    );

    let refused = ["gone-1", "sender-1", "quota-1"].map(|target| to_android(target, &alert()));
    let ids = push.send(&refused).await;
    let ends = push.ends(&ids).await;
    let is = |at: usize| {
        (
            &ends[at]["status"],
            &ends[at]["devices"][0]["reason"]["code"],
        )
    };
    assert_eq!(is(0), (&json!("failed"), &json!("device_unregistered")));
    assert_eq!(is(1), (&json!("failed"), &json!("app_mismatch")));
    assert_eq!(ends[2]["status"], "sent", "{}", ends[2]);
    let events = push
        .scene
        .client
        .events("device.unregistered")
        .await
        .unwrap();
    let of: Vec<&Value> = events
        .iter()
        .map(|event| &event["data"]["message_id"])
        .collect();
    assert_eq!(of, [&json!(ids[0])], "of what is gone, and of nothing else");
    let fcm = push.finish("fcm").await;
    assert_eq!((taken(&fcm, "quota-1"), &fcm["grants"]), (1, &json!(1)));
    // That Retry-After was kept to is a rule of the endpoint.
    assert!(fcm["waits"]["quota-1"].is_u64(), "{fcm}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_access_token_is_renewed_once_and_nothing_is_lost() {
    let test = "a_withdrawn_access_token_is_renewed_once_and_nothing_is_lost";
    let Some(push) = start(test, "").await else {
        return;
    };
    let targets: Vec<String> = (0..60)
        .map(|n| match n {
            20 => "auth-1".to_owned(),
            _ => format!("device-{n}"),
        })
        .collect();
    let messages: Vec<Value> = targets
        .iter()
        .map(|target| to_android(target, &alert()))
        .collect();
    let ids = push.send(&messages).await;
    // Up to a minute: a token that is refused when it is younger is not asked for again at once.
    let ends = push.ends(&ids).await;
    let fcm = push.finish("fcm").await;
    for (end, target) in ends.iter().zip(&targets) {
        assert_eq!(
            (&end["status"], taken(&fcm, target)),
            (&json!("sent"), 1),
            "{end}"
        );
    }
    assert_eq!(fcm["grants"], 2, "{fcm}");
}
