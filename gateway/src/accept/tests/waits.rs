//! What a queued message waits for, as it is read.

use serde_json::json;

use super::*;
use crate::message::{MessageId, Parts};
use crate::outcome::{HoldReason, Next, OutcomeResult, Retry, Settle};
use crate::store::tests::{accepted, settle};

/// The number of carrier-a, and of the routes to APNs and FCM.
const CARRIER_A: usize = 0;
const APNS: usize = 2;
const FCM: usize = 3;

impl Rig {
    async fn accept(&self, body: &str) -> (String, MessageId) {
        let answer = self.post("/v1/messages", &[JSON], body.to_owned()).await;
        let json = answer.json();
        assert_eq!(json["status"], "queued", "{json}");
        let id = json["id"].as_str().unwrap().to_owned();
        let number = self.gateway.store.ids().parse_message(&id).unwrap();
        (id, number)
    }

    async fn message(&self, id: &str) -> Value {
        self.get(&format!("/v1/messages/{id}")).await.json()
    }

    async fn waits(&self, id: &str) -> Value {
        self.message(id).await["waits_for"].take()
    }

    fn hold(&self, route: usize, reason: impl Into<Option<HoldReason>>, in_flight: usize) {
        let reason = reason.into();
        self.holds.lock()[route] = Hold { reason, in_flight };
    }

    async fn settle(&self, settle: Settle) -> Next {
        let next = self.gateway.store.settle(vec![settle]).await.unwrap();
        next.into_iter().next().unwrap()
    }
}

fn on(route: &str, hold_reason: &str) -> Value {
    json!([{"route": route, "hold_reason": hold_reason}])
}

#[tokio::test]
async fn a_queued_message_waits_for_what_holds_its_route() {
    let rig = Rig::new();
    let (id, _) = rig.accept(HELLO).await;
    assert_eq!(rig.waits(&id).await, Value::Null, "it is about to go");
    for (reason, word) in [
        (HoldReason::RouteDown, "route_down"),
        (HoldReason::Rate, "rate"),
        (HoldReason::StoreFull, "store_full"),
    ] {
        // With others of the route out, it is not: nobody has claimed it.
        rig.hold(CARRIER_A, reason, 7);
        assert_eq!(rig.waits(&id).await, on("carrier-a", word));
    }
    rig.hold(CARRIER_A, None, 0);
    assert_eq!(rig.waits(&id).await, Value::Null);
}

#[tokio::test]
async fn a_refused_message_waits_for_its_next_try_whatever_holds_its_route() {
    let rig = Rig::new();
    let (id, number) = rig.accept(HELLO).await;
    // Others' next tries are not its own.
    rig.hold(CARRIER_A, HoldReason::Backoff, 0);
    assert_eq!(rig.waits(&id).await, Value::Null);
    let (tries, seconds) = (5, 60);
    let later = Retry::After { tries, seconds };
    let next = rig.settle(settle(number, 0, OutcomeResult::Refused, later, ""));
    let Next::Retry { due, .. } = next.await else {
        panic!("it is tried again");
    };
    let own = json!([{"route": "carrier-a", "hold_reason": "backoff", "due": due.to_string()}]);
    for reason in [HoldReason::Backoff, HoldReason::RouteDown] {
        rig.hold(CARRIER_A, reason, 0);
        assert_eq!(rig.waits(&id).await, own);
    }
    let timeline = rig.get(&format!("/v1/messages/{id}/timeline")).await.json();
    assert_eq!(timeline["data"][1]["due"], own[0]["due"]);
}

#[tokio::test]
async fn a_message_that_may_be_out_waits_for_nothing_that_is_known() {
    let rig = Rig::new();
    let (id, number) = rig.accept(HELLO).await;
    let route = RouteIx(0);
    let claims = vec![(number, Parts::first(1))];
    rig.gateway.store.claim(route, claims).await.unwrap();
    rig.hold(CARRIER_A, HoldReason::Window, 1);
    assert_eq!(rig.waits(&id).await, Value::Null);
    // Nothing of its route is out: neither is it.
    rig.hold(CARRIER_A, HoldReason::RouteDown, 0);
    assert_eq!(rig.waits(&id).await, on("carrier-a", "route_down"));
}

#[tokio::test]
async fn the_budget_of_further_tries_holds_no_first_one() {
    let rig = Rig::new();
    let (id, _) = rig.accept(HELLO).await;
    rig.hold(CARRIER_A, HoldReason::RetryBudget, 0);
    assert_eq!(rig.waits(&id).await, Value::Null);
}

#[tokio::test]
async fn what_is_not_queued_waits_for_nothing() {
    let rig = Rig::new();
    let (id, number) = rig.accept(HELLO).await;
    rig.hold(CARRIER_A, HoldReason::RouteDown, 0);
    rig.settle(accepted(number, 0, "p1")).await;
    let sent = rig.message(&id).await;
    assert_eq!(
        (&sent["status"], &sent["waits_for"]),
        (&"sent".into(), &Value::Null)
    );
    let (id, number) = rig.accept(HELLO).await;
    let refused = settle(number, 0, OutcomeResult::Refused, Retry::Never, "");
    rig.settle(refused).await;
    let failed = rig.message(&id).await;
    assert_eq!(
        (&failed["final"], &failed["waits_for"]),
        (&true.into(), &Value::Null)
    );
}

#[tokio::test]
async fn each_route_of_a_push_is_told_and_only_where_one_message_is_read() {
    let rig = Rig::new();
    let body = r#"{"to":{"devices":[{"platform":"ios","app":"shop","token":"AB01"},
        {"platform":"android","app":"shop","token":"a:1"}]},"content":{"push":{"title":"T"}}}"#;
    rig.hold(APNS, HoldReason::RouteDown, 0);
    rig.hold(FCM, HoldReason::Quota, 0);
    let accepted = rig.post("/v1/messages", &[JSON], body).await.json();
    assert_eq!(
        accepted["waits_for"],
        Value::Null,
        "a replay has to be the same"
    );
    let id = accepted["id"].as_str().unwrap();
    let both = json!([{"route": "apns", "hold_reason": "route_down"},
        {"route": "fcm", "hold_reason": "quota"}]);
    assert_eq!(rig.waits(id).await, both);
    rig.hold(APNS, None, 0);
    assert_eq!(rig.waits(id).await, on("fcm", "quota"));
    let list = rig.get("/v1/messages").await.json();
    assert_eq!(list["data"][0]["waits_for"], Value::Null);
}
