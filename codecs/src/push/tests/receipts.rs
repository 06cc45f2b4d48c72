//! What an app needs for its receipts stands in both payloads, counts, and is nobody else's.

use super::*;
use crate::receipt_token::{self, Key};

fn told<'a>(content: Content<'a>, token: &'a str) -> Content<'a> {
    let receipt = ReceiptKey {
        message_id: "msg_1",
        token,
    };
    Content {
        receipt: Some(receipt),
        ..content
    }
}

#[test]
fn an_app_finds_message_and_token_and_ios_calls_its_extension() {
    let token = Key::new(&[1; 32]).token(1, 0);
    let content = told(text("Ready"), &token);
    let apns: Value = serde_json::from_str(&apns(&content).unwrap()).unwrap();
    assert_eq!(
        apns,
        json!({
            "aps": {"alert": {"title": "Ready"}, "mutable-content": 1},
            "trunkline_message_id": "msg_1", "trunkline_receipt_token": token,
        })
    );
    let fcm: Value = serde_json::from_str(&fcm(&content).unwrap()).unwrap();
    let data = json!({"trunkline_message_id": "msg_1", "trunkline_receipt_token": token});
    assert_eq!(fcm["data"], data);
    // Nothing is shown, so that nothing can be changed before it is.
    let silent = told(
        Content {
            silent: true,
            ..Content::new(no_data())
        },
        &token,
    );
    let silent = super::apns(&silent).unwrap();
    assert!(!silent.contains("mutable-content") && silent.contains(&token));
}

#[test]
fn they_count_and_say_nothing_to_show() {
    let token = "t".repeat(receipt_token::CHARS);
    let plain = text("Ready").fcm(PAYLOAD_OCTETS_MAX).unwrap().octets();
    let with = told(text("Ready"), &token).fcm(PAYLOAD_OCTETS_MAX).unwrap();
    let more = RECEIPT_MESSAGE_ID.len() + RECEIPT_TOKEN.len() + "msg_1".len() + token.len();
    assert_eq!(with.octets(), plain + more);
    let nothing = told(Content::new(no_data()), &token);
    assert_eq!(fcm(&nothing), Err(ContentError::NothingToShow));
    assert_eq!(apns(&nothing), Err(ContentError::NothingToShow));
}

#[test]
fn the_apps_own_keys_are_not_in_their_place() {
    let data = BTreeMap::from([(RECEIPT_TOKEN.to_owned(), "mine".to_owned())]);
    let content = Content {
        title: Some("Ready"),
        ..Content::new(&data)
    };
    assert!(
        content.apns().is_ok(),
        "without receipts it is a key like any"
    );
    let told = told(content, "rct_1");
    let taken = |platform| ContentError::DataKey {
        platform,
        key: RECEIPT_TOKEN.into(),
    };
    assert_eq!(told.apns().unwrap_err(), taken(Platform::Apns));
    assert_eq!(
        told.fcm(PAYLOAD_OCTETS_MAX).unwrap_err(),
        taken(Platform::Fcm)
    );
}
