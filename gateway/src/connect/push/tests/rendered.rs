//! What is kept of a message from one of its devices to the next.

use super::*;

#[test]
fn a_later_try_lives_no_longer_at_the_service_than_the_message_has_left() {
    let service = Service {
        authority: "fcm.googleapis.com".parse().unwrap(),
        ids: Ids::new(7),
        auto_collapse: true,
        receipt_keys: Default::default(),
        kind: Kind::Fcm {
            path: "/v1/projects/shop/messages:send".to_owned(),
        },
    };
    let mut message = Message::clone(&message(1, &["a", "b"], UnixMs::ZERO));
    let start = UnixMs(1_800_000_000_000);
    message.expires_at = start.plus(Duration::from_secs(600));
    let message = Arc::new(message);
    let mut made = Made::default();
    let mut ttl = |part, seconds| {
        let attempt = Attempt {
            token: 1,
            message: message.clone(),
            part,
            form: Form::default(),
        };
        let now = start.plus(Duration::from_secs(seconds));
        let (_, body) = service.request(&attempt, &mut made, None, now).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["message"]["android"]["ttl"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(ttl(0, 0).as_deref(), Some("600s"));
    assert_eq!(ttl(1, 0).as_deref(), Some("600s"));
    assert_eq!(
        ttl(0, 540).as_deref(),
        Some("60s"),
        "a one-time code is not to come later"
    );
}

#[test]
fn what_a_route_does_not_serve_any_more_may_go_another_way() {
    let service = Service {
        authority: "api.push.apple.com".parse().unwrap(),
        ids: Ids::new(7),
        auto_collapse: true,
        receipt_keys: Default::default(),
        kind: Kind::Apns { apps: [].into() },
    };
    let attempt = Attempt {
        token: 1,
        message: message(1, &[&token("", 1)], UnixMs::ZERO),
        part: 0,
        form: Form::default(),
    };
    let made = service.request(&attempt, &mut Made::default(), None, UnixMs(1));
    let outcome = made.unwrap_err();
    assert_eq!(
        (outcome.result, outcome.retry, outcome.reason),
        (
            OutcomeResult::Refused,
            Retry::Elsewhere,
            Some(Reason::AppMismatch)
        )
    );
}
