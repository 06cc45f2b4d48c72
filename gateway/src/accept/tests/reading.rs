//! Lists, events and routes as they are read.

use super::*;

#[tokio::test]
async fn lists_page_with_cursors() {
    let rig = Rig::new();
    for _ in 0..5 {
        assert_eq!(rig.post("/v1/messages", &[JSON], HELLO).await.status, 202);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/messages?limit=2&class=otp".to_owned();
    loop {
        let page = rig.get(&path).await;
        let json = page.json();
        seen.extend(
            json["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| m["id"].clone()),
        );
        if json["has_more"] == false {
            assert!(!page.headers.contains_key("link"));
            break;
        }
        let link = page.headers["link"].to_str().unwrap();
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
        assert!(link.ends_with("; rel=\"next\""));
    }
    assert_eq!(seen.len(), 5);
    assert!(
        seen.is_sorted_by(|a, b| a.as_str() > b.as_str()),
        "newest first"
    );
    let first = rig.get("/v1/messages?limit=2&class=otp").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    rig.get(&format!("/v1/messages?cursor={cursor}"))
        .await
        .is(400, "invalid_cursor");
    rig.get("/v1/messages?stauts=sent")
        .await
        .is(422, "invalid_request");
    let by_ref = rig
        .get("/v1/messages?client_ref=r1&to=%2B46701234567&tag=b")
        .await
        .json();
    assert_eq!(by_ref["data"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn events_are_read_and_waited_for() {
    let rig = Rig::new();
    rig.post("/v1/messages", &[JSON], HELLO).await;
    let page = rig.get("/v1/events?types=message.accepted").await.json();
    let events = page["data"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "message.accepted");
    assert_eq!(events[0]["tenant"], "acme");
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/v1/events?types=message.accepted&wait=30&after={cursor}");
    let (waited, _) = tokio::join!(rig.get(&path), rig.post("/v1/messages", &[JSON], HELLO));
    assert_eq!(waited.json()["data"].as_array().unwrap().len(), 1);
    let none = rig
        .get(&format!("/v1/events?after={cursor}&types=message.sent"))
        .await
        .json();
    assert_eq!(none["data"], serde_json::json!([]));
    for beyond in ["abc", "1000", "18446744073709551615"] {
        let path = format!("/v1/events?wait=30&after={beyond}");
        let refused = rig.get(&path).await;
        refused.is(400, "invalid_cursor");
        assert_eq!(refused.json()["errors"][0]["parameter"], "after");
    }
    rig.get("/v1/events?wait=31")
        .await
        .is(422, "invalid_request");
    rig.get("/v1/events?types=message.gone")
        .await
        .is(422, "invalid_request");
    rig.get_as("Bearer crm-secret", "/v1/events")
        .await
        .is(403, "insufficient_scope");
}

#[tokio::test]
async fn a_stop_ends_a_long_poll() {
    let rig = Rig::new();
    let (answer, ()) = tokio::join!(rig.get("/v1/events?wait=30"), async {
        tokio::task::yield_now().await;
        rig.stopper.stop();
    });
    assert_eq!(answer.json()["data"], serde_json::json!([]));
}

#[tokio::test]
async fn routes_are_shown() {
    let rig = Rig::new();
    let routes = rig.get("/v1/routes").await.json();
    assert_eq!(routes["data"][0]["name"], "carrier-a");
    let one = rig.get("/v1/routes/carrier-a").await.json();
    assert_eq!(one["hold_reason"], "route_down");
    assert_eq!(one["state"], "down");
    assert_eq!(
        one["throttle"],
        serde_json::json!({"paused_until": "1970-01-01T00:00:01.000Z", "last_minute": 3,
            "destinations_waiting": 1, "messages_behind": 2})
    );
    let rate = serde_json::json!({"effective": 12.5, "limited_by": "throttled"});
    assert_eq!(
        (&one["rate"], &one["window_effective"]),
        (&rate, &20.into())
    );
    rig.get("/v1/routes/nobody").await.is(404, "not_found");
    let orphans = rig.get("/v1/routes/carrier-a/orphans").await;
    assert_eq!(orphans.json()["data"].as_array().map(Vec::len), Some(0));
    rig.get("/v1/routes/nobody/orphans")
        .await
        .is(404, "not_found");
}
