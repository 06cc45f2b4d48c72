//! Tables, tokens, requests and answers of APNs.

use proptest::prelude::*;

use super::*;
use crate::verdict::{Class, Reason};

const ID: ApnsId = ApnsId([
    0x01, 0x93, 0x4A, 0xBC, 0xDE, 0xF0, 0x70, 0x00, 0x8A, 0xBC, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC,
]);

fn request(push_type: PushType) -> Request<'static> {
    Request {
        token: DeviceToken::parse(
            "00FC13ADFF785122B4AD28809A3420982341241421348097878E577C991DE8F0",
        )
        .unwrap(),
        topic: "com.acme.shop",
        push_type,
        priority: push_type.priority(None),
        apns_id: ID,
        expiration: Some(Expiration::At(1_795_000_000)),
        collapse_id: Some("order-1182"),
    }
}

/// `name: value` of each header; per-message ones with a star.
fn shown(request: &Request<'_>) -> Vec<String> {
    let shown = request.headers().into_iter().map(|header| {
        let star = if header.per_message { "*" } else { "" };
        let value = String::from_utf8(header.value.to_vec()).unwrap();
        format!("{}{star}: {value}", header.name)
    });
    shown.collect()
}

#[test]
fn a_request_is_what_apple_shows() {
    let request = request(PushType::Alert);
    assert_eq!(request.check(), Ok(()));
    assert_eq!(
        request.path(),
        "/3/device/00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
    );
    assert_eq!(
        shown(&request),
        [
            "apns-topic: com.acme.shop",
            "apns-push-type: alert",
            "apns-priority: 10",
            "apns-id*: 01934abc-def0-7000-8abc-123456789abc",
            "apns-expiration*: 1795000000",
            "apns-collapse-id*: order-1182",
        ]
    );
}

/// Written from Apple's page by hand: name, topic's suffix, default priority, all priorities,
/// octets, the only authentication.
const PUSH_TYPES: &str = "\
alert||10|1 5 10|4096|
background||5|5|4096|
voip|.voip|10|10|5120|
complication|.complication|10|5 10|4096|
fileprovider|.pushkit.fileprovider|10|5 10|4096|
location|.location-query|10|5 10|4096|Token
mdm||10|5 10|4096|Certificate
liveactivity|.push-type.liveactivity|5|5 10|4096|
pushtotalk|.voip-ptt|10|10|4096|
widgets|.push-type.widgets|10|5 10|4096|
controls|.push-type.controls|10|5 10|4096|";

#[test]
fn each_push_type_has_its_topic_priority_size_and_authentication() {
    assert_eq!(PUSH_TYPES.lines().count(), PushType::ALL.len());
    for line in PUSH_TYPES.lines() {
        let cells: Vec<&str> = line.split('|').collect();
        let [name, suffix, priority, allowed, octets, only] = cells[..] else {
            panic!("{line}")
        };
        let push_type = PushType::parse(name).unwrap();
        let rules = push_type.rules();
        let request = request(push_type);
        assert_eq!(request.check(), Ok(()), "{name}");
        let headers = shown(&request);
        assert_eq!(headers[0], format!("apns-topic: com.acme.shop{suffix}"));
        assert_eq!(headers[1], format!("apns-push-type: {name}"));
        assert_eq!(headers[2], format!("apns-priority: {priority}"));
        let values: Vec<&str> = rules.priorities.iter().map(|one| one.value()).collect();
        assert_eq!(values.join(" "), allowed, "{name}");
        assert_eq!(rules.payload_octets_max.to_string(), octets, "{name}");
        for auth in [Auth::Token, Auth::Certificate] {
            let fits = only.is_empty() || only == format!("{auth:?}");
            assert_eq!(push_type.allows(auth), fits, "{name}");
        }
    }
    assert_eq!(PushType::parse("Alert"), None);
}

#[test]
fn a_priority_that_is_not_allowed_gives_way_to_the_nearest_below() {
    use Priority::{Conserving, Immediate, Lowest};
    for (push_type, wished, given) in [
        (PushType::Alert, Lowest, Lowest),
        (PushType::Alert, Immediate, Immediate),
        (PushType::LiveActivity, Lowest, Conserving),
        (PushType::Background, Immediate, Conserving),
        (PushType::Voip, Conserving, Immediate),
    ] {
        assert_eq!(push_type.priority(Some(wished)), given, "{push_type:?}");
    }
    let asked = Request {
        priority: Immediate,
        ..request(PushType::Background)
    };
    let error = asked.check().unwrap_err();
    assert_eq!(
        error.to_string(),
        "push type background does not go with priority 10"
    );
}

#[test]
fn expiration_is_absent_once_or_a_time_that_is_never_taken_for_once() {
    let with = |push_type, expiration| {
        let request = Request {
            expiration,
            ..request(push_type)
        };
        let found = shown(&request)
            .into_iter()
            .find(|header| header.starts_with("apns-exp"));
        found.map(|header| header.rsplit(' ').next().unwrap().to_owned())
    };
    let alert = |expiration| with(PushType::Alert, expiration);
    assert_eq!(alert(None), None);
    assert_eq!(alert(Some(Expiration::Once)).as_deref(), Some("0"));
    assert_eq!(alert(Some(Expiration::At(7))).as_deref(), Some("7"));
    assert_eq!(alert(Some(Expiration::At(0))).as_deref(), Some("1"));
    let talk = with(PushType::PushToTalk, Some(Expiration::At(7)));
    assert_eq!(talk.as_deref(), Some("0"));
}

#[test]
fn a_collapse_id_is_measured_in_octets() {
    let check = |id: &str| {
        let mut request = request(PushType::Alert);
        request.collapse_id = Some(id);
        request.check()
    };
    assert_eq!(check(&"a".repeat(64)), Ok(()));
    assert_eq!(check(&"ä".repeat(32)), Ok(()));
    assert_eq!(
        check(&"ä".repeat(33)),
        Err(RequestError::CollapseIdLength(66))
    );
    assert_eq!(check(""), Err(RequestError::CollapseIdLength(0)));
    for id in ["a\r\nb", "a\0", " a", "a "] {
        assert_eq!(check(id), Err(RequestError::CollapseIdCharacter), "{id:?}");
    }
}

#[test]
fn a_topic_cannot_smuggle_anything() {
    let check = |topic: &str| {
        let mut request = request(PushType::Voip);
        request.topic = topic;
        request.check()
    };
    assert_eq!(check("com.apple.mgmt.External.0f-1"), Ok(()));
    let long = "a".repeat(TOPIC_OCTETS_MAX - ".voip".len());
    assert_eq!(check(&long), Ok(()));
    for topic in ["", "a b", "a\r\nb", "ä", &format!("{long}a")] {
        assert_eq!(check(topic), Err(RequestError::Topic), "{topic:?}");
    }
}

#[test]
fn device_tokens_are_hexadecimal_of_any_length_up_to_100_octets() {
    let parse = |text: &str| DeviceToken::parse(text).map(|token| token.as_str().to_owned());
    assert_eq!(parse("AbCd"), Ok("abcd".to_owned()));
    for octets in [1, 32, 80, 100] {
        assert!(parse(&"0f".repeat(octets)).is_ok(), "{octets}");
    }
    assert_eq!(parse(""), Err(TokenError::Empty));
    assert_eq!(parse("abc"), Err(TokenError::HalfOctet(3)));
    assert_eq!(parse(&"0f".repeat(101)), Err(TokenError::TooLong(202)));
    for (text, at) in [
        ("<abcd>", 0),
        ("ab cd ef", 2),
        ("abcdé", 4),
        ("ab/../..", 2),
    ] {
        assert_eq!(parse(text), Err(TokenError::Digit(at)), "{text}");
    }
    let lower = "00fc";
    let token = DeviceToken::parse(lower).unwrap();
    assert!(
        matches!(token.0, Cow::Borrowed(_)),
        "no copy of what is in lower case"
    );
    assert_eq!(format!("{token:?}"), "DeviceToken(4 digits)");
    assert!(is_id("ABC1234567") && !is_id("ABC123456") && !is_id("ABC123456\n"));
}

#[test]
fn reads_what_apns_answers() {
    let upper = b"01934ABC-DEF0-7000-8ABC-123456789ABC";
    let ok = Answer::read(200, Some(upper), b"");
    assert_eq!((ok.class, ok.apns_id), (Class::Accepted, Some(ID)));
    // The text of Apple's example.
    let gone = Answer::read(
        410,
        Some(upper),
        br#"{"reason":"Unregistered","timestamp":1795000000123}"#,
    );
    assert_eq!(gone.class, Class::PermanentToken);
    assert_eq!(gone.reason, Reason::Known("Unregistered"));
    assert_eq!(gone.timestamp_ms, Some(1_795_000_000_123));
    let spaced = Answer::read(400, None, b"{ \"reason\" : \"BadDeviceToken\" }\n");
    assert_eq!(
        (spaced.class, spaced.reason.label()),
        (Class::SuspectToken, "BadDeviceToken")
    );
}

#[test]
fn every_reason_of_the_table_is_read_from_an_answer() {
    for row in REASONS {
        let status = if row.status == 0 { 400 } else { row.status };
        let body = format!(r#"{{"reason":"{}"}}"#, row.reason);
        let answer = Answer::read(status, None, body.as_bytes());
        assert_eq!(answer.class, row.class, "{}", row.reason);
        assert_eq!(answer.reason, Reason::Known(row.reason));
        assert_ne!(row.class, Class::Accepted);
        assert!(
            REASONS
                .iter()
                .filter(|other| other.reason == row.reason)
                .count()
                == 1
        );
    }
    assert_eq!(REASONS.len(), 42);
}

#[test]
fn what_is_not_in_the_table_goes_by_status_and_keeps_its_text() {
    for (status, class) in [
        (400, Class::PermanentMessage),
        (403, Class::PermanentMessage),
        (404, Class::PermanentMessage),
        (408, Class::RetryLater),
        (410, Class::PermanentToken),
        (421, Class::ConnectionFatal),
        (429, Class::Throttle),
        (500, Class::RetryLater),
        (502, Class::RetryLater),
        (302, Class::RetryLater),
        (204, Class::Unclear),
        (100, Class::Unclear),
        (999, Class::Unclear),
    ] {
        let answer = Answer::read(status, None, br#"{"reason":"NewerThanThis"}"#);
        assert_eq!(answer.class, class, "{status}");
        assert_eq!(answer.reason, Reason::Other("NewerThanThis".into()));
        assert_eq!(
            Answer::read(status, None, b"").class,
            class,
            "{status} without a body"
        );
    }
    let page = Answer::read(502, Some(b"x"), b"<html>Bad gateway</html>");
    assert_eq!(&*page.text, "<html>Bad gateway</html>");
    assert_eq!((page.apns_id, page.reason.label()), (None, "no_reason"));
    let broken = Answer::read(400, None, b"{\"reason\":\"BadPrio");
    assert_eq!(
        (broken.reason, &*broken.text),
        (Reason::None, "{\"reason\":\"BadPrio")
    );
    let named = Answer::read(400, None, b"{\"reason\":\"NewerThanThis\"}");
    assert_eq!(&*named.text, "");
    // No body makes an acceptance of a refusal, or a refusal of an acceptance.
    let odd = Answer::read(200, None, br#"{"reason":"Unregistered"}"#);
    assert_eq!(odd.class, Class::Accepted);
    assert_eq!(classify(200, Some("Unregistered")), Class::Accepted);
}

#[test]
fn goaway_says_why_and_what_it_means_for_the_next_connection() {
    let read = |data: &[u8]| {
        let goaway = GoAway::read(data);
        (goaway.class, goaway.reason.text().to_owned())
    };
    for (data, class, text) in [
        (
            &b"{\"reason\":\"Shutdown\"}"[..],
            Class::ConnectionFatal,
            "Shutdown",
        ),
        (
            b"{\"reason\":\"BadCertificate\"}",
            Class::PermanentConfig,
            "BadCertificate",
        ),
        (
            b"{\"reason\":\"TooManyProviderTokenUpdates\"}",
            Class::ConnectionThrottled,
            "TooManyProviderTokenUpdates",
        ),
        // What is about one message is not about a connection.
        (
            b"{\"reason\":\"BadDeviceToken\"}",
            Class::ConnectionFatal,
            "BadDeviceToken",
        ),
        // pushy#356.
        (
            b"Maximum active streams violated for this endpoint",
            Class::ConnectionFatal,
            "Maximum active streams violated for this endpoint",
        ),
        (b"", Class::ConnectionFatal, ""),
    ] {
        assert_eq!(read(data), (class, text.to_owned()));
    }
}

proptest! {
    #[test]
    fn an_apns_id_is_read_as_it_was_written(octets: [u8; 16]) {
        let id = ApnsId(octets);
        let text = id.to_string();
        prop_assert_eq!(text.len(), 36);
        prop_assert_eq!(ApnsId::parse(text.as_bytes()), Some(id));
        prop_assert_eq!(ApnsId::parse(text.to_ascii_uppercase().as_bytes()), Some(id));
        prop_assert_eq!(text.to_ascii_lowercase(), text);
    }

    #[test]
    fn any_answer_is_read_and_bounded(status: u16, id: Vec<u8>, body: Vec<u8>) {
        let answer = Answer::read(status, Some(&id), &body);
        prop_assert_eq!(answer.class == Class::Accepted, status == 200);
        prop_assert!(answer.reason.text().len() <= crate::verdict::TEXT_OCTETS_MAX);
        prop_assert!(answer.text.len() <= crate::verdict::TEXT_OCTETS_MAX);
    }
}
