//! Push answers: what a service says of a push is what its sender reads, in the message and in its events.

use serde_json::{Value, json};
use sim::push::apns::ApnsConfig;
use sim::push::fcm::FcmConfig;
use trunkline_tests::push::{Push, android, ios};

async fn start(name: &str, lines: &str) -> Push {
    let services = (ApnsConfig::default(), FcmConfig::default());
    Push::start(name, services, lines).await.unwrap()
}

fn to(devices: &[Value], policy: &str) -> Value {
    json!({
        "to": {"devices": devices}, "content": {"push": {"title": "Ready"}},
        "policy": {"on_ambiguous": policy},
    })
}

/// push.md §1.7. The simulator's: 200 and then RST_STREAM, or no end of the answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_200_began_to_accept_is_sent_once_by_both_services() {
    let push = start("push-200", "request_timeout = \"1s\"").await;
    let mut sent = Vec::new();
    for (number, prefix) in ["4e5e0003", "4a1f0000"].into_iter().enumerate() {
        for policy in ["retry", "hold"] {
            let token = format!("{prefix}{number:056x}");
            for device in [ios(&token), android(&token)] {
                sent.push((push.scene.send(&to(&[device], policy)).await, token.clone()));
            }
        }
    }
    for (id, _) in &sent {
        let message = push.scene.status(id, "sent").await;
        let state = (&message["attempts"], &message["duplicate_possible"]);
        assert_eq!(state, (&json!(1), &json!(false)), "{message}");
    }
    for (_, token) in &sent {
        // One under each policy.
        assert_eq!(push.fcm.token(token).accepted, 2, "{token}");
        assert_eq!(push.apns.token(token).accepted, 2, "{token}");
    }
}
