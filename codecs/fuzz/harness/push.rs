//! Any octets as what push services answer, and as what customers lay over a message.

use std::collections::BTreeMap;

use codecs::apns::{self, ApnsId, DeviceToken, GoAway, PushType};
use codecs::fcm::{self, Target, TargetError};
use codecs::jwt::{Algorithm, Jws, SigningKey, VerifyingKey};
use codecs::push::Content;
use codecs::verdict::{Class, Reason, TEXT_OCTETS_MAX};
use serde_json::{Map, Value};

/// The status in front, and the rest.
fn status(data: &[u8]) -> Option<(u16, &[u8])> {
    let (&status, rest) = data.split_first_chunk()?;
    Some((u16::from_be_bytes(status), rest))
}

fn bounded(text: &str) {
    assert!(text.len() <= TEXT_OCTETS_MAX && !text.contains(char::is_control));
}

fn reason(reason: &Reason) {
    bounded(reason.text());
    assert!(!reason.label().is_empty());
}

/// A status and a body of APNs': only 200 is an acceptance, and what is kept is bounded.
pub(crate) fn apns(data: &[u8]) {
    let Some((status, body)) = status(data) else {
        return;
    };
    let answer = apns::Answer::read(status, body.get(..36), body);
    assert_eq!(answer.class == Class::Accepted, status == 200);
    reason(&answer.reason);
    bounded(&answer.text);
    let goaway = GoAway::read(body);
    reason(&goaway.reason);
    let told = [
        Class::ConnectionFatal,
        Class::ConnectionThrottled,
        Class::PermanentConfig,
    ];
    assert!(told.contains(&goaway.class));
    if let Some(id) = answer.apns_id {
        assert_eq!(ApnsId::parse(id.to_string().as_bytes()), Some(id));
    }
    if let Ok(text) = std::str::from_utf8(body)
        && let Ok(token) = DeviceToken::parse(text)
    {
        let token = token.as_str();
        assert!(token.len() == text.len() && token.len().is_multiple_of(2));
        assert!(
            token
                .bytes()
                .all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'))
        );
    }
}

/// A status and a body of Google's, for a message and for a grant; and any text as a condition.
pub(crate) fn fcm(data: &[u8]) {
    let Some((status, body)) = status(data) else {
        return;
    };
    let answer = fcm::Answer::read(status, body);
    assert_eq!(answer.class == Class::Accepted, answer.name.is_some());
    assert!(answer.name.is_none() || status == 200);
    let start = fcm::Answer::read_start(status, body);
    assert!(start.class == answer.class || (start.class, status) == (Class::Accepted, 200));
    reason(&answer.code);
    reason(&answer.apns_reason);
    bounded(&answer.message);
    assert!(answer.violations.len() <= fcm::VIOLATIONS_MAX);
    for violation in &answer.violations {
        bounded(&violation.field);
        bounded(&violation.description);
    }
    assert!(answer.retry_delay_ms.is_none_or(|ms| ms <= 86_400_000));
    match fcm::read_grant(status, body) {
        Ok(access) => {
            assert_eq!(status, 200);
            assert!((1..=86_400).contains(&access.expires_in_seconds));
            assert!(access.token().bytes().all(|octet| octet.is_ascii_graphic()));
        }
        Err(refusal) => {
            reason(&refusal.error);
            bounded(&refusal.description);
        }
    }
    assert!(fcm::ServiceAccount::parse(body).is_err());
    if let Ok(text) = std::str::from_utf8(body) {
        match Target::Condition(text).check() {
            Err(TargetError::Condition { at, .. }) => assert!(text.is_char_boundary(at)),
            Err(_) => {}
            Ok(()) => assert!(text.contains(" in ") && text.len() <= fcm::CONDITION_OCTETS_MAX),
        }
    }
}

/// Any text as a token or a key: refused, or read; no stranger's key verifies it.
pub(crate) fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(jws) = Jws::parse(text) {
        assert!(text.len() <= codecs::jwt::TOKEN_OCTETS_MAX);
        let stranger = VerifyingKey::p256(&[4; 65]);
        assert!(jws.verify(&stranger).is_err(), "no key, no truth");
    }
    for algorithm in [Algorithm::Es256, Algorithm::Rs256] {
        match SigningKey::from_pem(algorithm, text) {
            Ok(key) => assert_eq!(key.algorithm(), algorithm),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Any object over a message of any push type: refused, or canonical JSON within the limits that
/// keeps to the push type.
pub(crate) fn overlay(data: &[u8]) {
    let [pick, rest @ ..] = data else {
        return;
    };
    let Ok(overlay) = serde_json::from_slice::<Map<String, Value>>(rest) else {
        return;
    };
    let push_type = PushType::ALL[usize::from(*pick) % PushType::ALL.len()];
    let data = BTreeMap::from([("order".to_owned(), "1182".to_owned())]);
    let content = Content {
        title: (pick & 0x40 != 0).then_some("Ready"),
        silent: pick & 0x80 != 0,
        push_type: Some(push_type),
        apns: Some(&overlay),
        fcm: Some(&overlay),
        ..Content::new(&data)
    };
    if let Ok(push) = content.apns() {
        let rules = push.push_type.rules();
        assert!(push.payload.len() <= rules.payload_octets_max);
        assert!(rules.priorities.contains(&push.priority));
        let payload = canonical(&push.payload);
        let aps = payload.get("aps");
        assert!(aps.is_none_or(Value::is_object));
        let shown = ["alert", "badge", "sound"].map(|name| aps.and_then(|aps| aps.get(name)));
        assert!(rules.shows || shown == [None; 3]);
        if push.push_type == PushType::Background {
            assert_eq!(payload["aps"]["content-available"], 1);
        }
    }
    if let Ok(message) = content.fcm(fcm::PAYLOAD_OCTETS_MAX) {
        assert!(message.octets() <= fcm::PAYLOAD_OCTETS_MAX);
        let without = canonical(message.json());
        let request = message.request(Target::Token("device"), false);
        let mut request: Value = serde_json::from_slice(&request).expect("our own JSON");
        let with = request["message"].as_object_mut().expect("an object");
        assert_eq!(with.remove("token"), Some("device".into()));
        assert_eq!(
            Value::Object(with.clone()),
            without,
            "one target, and nothing else"
        );
    }
}

/// JSON that is written as it is read; but fractions, which serde_json reads to the last digit or
/// the one before.
fn canonical(octets: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(octets).expect("our own JSON");
    assert!(has_fraction(&value) || value.to_string().as_bytes() == octets);
    value
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.values().any(has_fraction),
        Value::Array(list) => list.iter().any(has_fraction),
        leaf => leaf.is_f64(),
    }
}
