//! Targets, messages, answers and grants of FCM.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::jwt::{Algorithm, KeyError};
use crate::testdata::rows;
use crate::verdict::{Class, Reason};

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

#[test]
fn a_request_is_the_message_with_its_target() {
    let message = Message::new(&map(json!({"notification": {"title": "ä"}}))).unwrap();
    assert_eq!(
        text(&message.request(Target::Token("a:b"), false)),
        r#"{"message":{"notification":{"title":"ä"},"token":"a:b"}}"#
    );
    let condition = Target::Condition("'a' in topics");
    assert_eq!(
        text(&Message::new(&Map::new()).unwrap().request(condition, true)),
        r#"{"message":{"condition":"'a' in topics"},"validate_only":true}"#
    );
    for (target, member) in [(Target::Fid("x"), "fid"), (Target::Topic("x"), "topic")] {
        let body: Value = serde_json::from_slice(&message.request(target, false)).unwrap();
        assert_eq!(body["message"][member], "x");
    }
    assert_eq!(
        path("shop-1").as_deref(),
        Some("/v1/projects/shop-1/messages:send")
    );
    assert!(path("acme.com:shop").is_some());
    for project in ["", "a/b", "a b", "a?b", &"a".repeat(101)] {
        assert_eq!(path(project), None, "{project}");
    }
}

#[test]
fn targets_are_checked_to_the_character() {
    let ok: [Target<'_>; 5] = [
        Target::Token("fGx:APA91b_-"),
        Target::Topic("news-1_%.~"),
        Target::Condition("'a' in topics"),
        Target::Condition(" ( 'a' in topics&&('b' in topics || !('c'  in  topics)) )"),
        Target::Condition("!'a' in topics"),
    ];
    for target in ok {
        assert_eq!(target.check(), Ok(()), "{target:?}");
    }
    let long = "a".repeat(4_097);
    for (target, error) in [
        (Target::Token(""), TargetError::TokenLength(0)),
        (Target::Token(&long), TargetError::TokenLength(4_097)),
        (Target::Token("ab c"), TargetError::TokenCharacter(2)),
        (Target::Fid("ab\n"), TargetError::TokenCharacter(2)),
        (Target::Topic("/topics/news"), TargetError::TopicPrefix),
        (Target::Topic("a b"), TargetError::TopicCharacter(1)),
        (Target::Topic(&long[..257]), TargetError::TopicLength(257)),
        (Target::Condition(""), TargetError::ConditionLength(0)),
    ] {
        assert_eq!(target.check(), Err(error), "{target:?}");
    }
    assert_eq!(format!("{:?}", Target::Token("secret")), "Token(6 octets)");
}

#[test]
fn a_condition_that_is_none_is_refused_where_it_goes_wrong() {
    let topic = "no `'topic' in topics`";
    for (condition, at, expected) in [
        ("   ", 3, topic),
        ("'a' in topics &&", 16, topic),
        ("'a' in topics & 'b' in topics", 14, "no `&&`, `||` or `)`"),
        ("'a' in topics 'b' in topics", 14, "no `&&`, `||` or `)`"),
        ("('a' in topics", 14, "no `)`"),
        ("'a' in topics)", 13, "no `(` for the `)`"),
        ("()", 1, topic),
        ("'a' in topicsx", 0, topic),
        ("'a'in topics", 0, topic),
        ("'a b' in topics", 0, topic),
        ("a in topics", 0, topic),
        ("'a' \tin topics", 0, topic),
        ("'a' in\u{a0}topics", 0, topic),
        ("'a' in topics\n", 0, topic),
    ] {
        let error = TargetError::Condition { at, expected };
        assert_eq!(
            Target::Condition(condition).check(),
            Err(error),
            "{condition}"
        );
    }
    let topics = |count| vec!["'a' in topics"; count].join(" || ");
    assert_eq!(Target::Condition(&topics(5)).check(), Ok(()));
    assert_eq!(
        Target::Condition(&topics(6)).check(),
        Err(TargetError::ConditionTopics)
    );
    let deep = format!("{}'a' in topics{}", "(".repeat(1_000), ")".repeat(1_000));
    assert_eq!(Target::Condition(&deep).check(), Ok(()));
}

/// A member, what is wrong there, and a message that has it.
const REFUSED: &str = r#"
token NotHere {"token": "x"}
message NotHere {"message": {}}
validate_only NotHere {"validate_only": false}
validateOnly NotHere {"validateOnly": true}
data NotAnObject {"data": []}
data.a NotAString {"data": {"a": 1}}
data.from ReservedKey {"data": {"from": ""}}
data.google.x ReservedKey {"data": {"google.x": ""}}
android.data.gcm ReservedKey {"android": {"data": {"gcm": ""}}}
notification.title NotAString {"notification": {"title": null}}
android.ttl Ttl {"android": {"ttl": "2419201s"}}
android.ttl Ttl {"android": {"ttl": "-1s"}}
android.ttl Ttl {"android": {"ttl": "1h"}}
android.ttl NotAString {"android": {"ttl": 60}}
android.priority Priority {"android": {"priority": "MAX"}}
android.collapse_key NotAString {"android": {"collapse_key": 5}}
fcm_options.analytics_label AnalyticsLabel {"fcm_options": {"analytics_label": "a b"}}
android.fcm_options.analytics_label AnalyticsLabel {"android": {"fcm_options": {"analytics_label": ""}}}
webpush.fcm_options.link Link {"webpush": {"fcm_options": {"link": "http://x"}}}
apns.headers.a NotAString {"apns": {"headers": {"a": 5}}}"#;

#[test]
fn what_google_would_refuse_is_refused_with_its_place() {
    for line in REFUSED.lines().skip(1) {
        let parts: Vec<&str> = line.splitn(3, ' ').collect();
        let message: Value = serde_json::from_str(parts[2]).unwrap();
        let error = Message::new(&map(message)).unwrap_err();
        assert_eq!(
            (&*error.at, format!("{:?}", error.problem).as_str()),
            (parts[0], parts[1])
        );
    }
    let large = json!({"apns": {"payload": {"a": "b".repeat(4_089)}}});
    let error = Message::new(&map(large)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`apns.payload` has 4097 octets, APNs takes 4096"
    );
    // What is not known yet passes.
    let newer = json!({"android": {"ttl": "0.5s", "newer": [1]}, "newest": {"a": null}});
    assert!(Message::new(&map(newer)).is_ok());
    let error = Message::new(&map(json!({"data": {"a\n": 1}}))).unwrap_err();
    assert_eq!(error.to_string(), "`data.a\u{FFFD}` must be a string");
}

#[test]
fn the_payload_is_counted_by_keys_and_values_in_octets() {
    let count = |message| Message::new(&map(message)).unwrap().octets();
    assert_eq!(count(json!({})), 0);
    assert_eq!(count(json!({"data": {"ab": "ä"}})), 4);
    assert_eq!(
        count(json!({"data": {"a": "1"}, "android": {"data": {"a": "234"}}})),
        4
    );
    assert_eq!(
        count(json!({"notification": {"title": "12", "body": "3"}})),
        5 + 2 + 4 + 1
    );
    assert_eq!(
        count(json!({"apns": {"payload": {"aps": {}}}, "android": {"ttl": "1s"}})),
        0
    );
    assert_eq!(Message::octets_max(Target::Token("x")), 4_096);
    assert_eq!(Message::octets_max(Target::Topic("x")), 2_048);
}

#[test]
fn reads_what_google_answers() {
    let mut seen = 0;
    for row in rows(include_str!("../../testdata/fcm_answers.tsv")) {
        let [status, class, label, body] = row[..] else {
            panic!("{row:?}")
        };
        let status = status.parse().unwrap();
        let error: Value = serde_json::from_str(body).unwrap();
        for body in [body, &format!("[{body}]")] {
            let answer = Answer::read(status, body.as_bytes());
            assert_eq!(
                (answer.class.name(), answer.code.label()),
                (class, label),
                "{body}"
            );
            assert_eq!(&*answer.message, error["error"]["message"]);
            assert_eq!(answer.name, None);
        }
        seen += 1;
    }
    assert_eq!(seen, 22);
}

#[test]
fn an_acceptance_is_google_s_name_for_the_message_and_nothing_else() {
    let ok = Answer::read(
        200,
        b"{\n  \"name\": \"projects/shop/messages/0:1500415314455276%31bd1c9631bd1c96\"\n}\n",
    );
    assert_eq!(ok.class, Class::Accepted);
    assert_eq!(
        ok.name.as_deref(),
        Some("projects/shop/messages/0:1500415314455276%31bd1c9631bd1c96")
    );
    for body in [
        &b""[..],
        b"{}",
        b"<html>Welcome to the hotel</html>",
        b"{\"name\":5}",
        b"{\"name\":\"proj",
    ] {
        assert_eq!(
            Answer::read(200, body).class,
            Class::Unclear,
            "{}",
            text(body)
        );
    }
    let refused = Answer::read(500, b"{\"name\":\"projects/shop/messages/1\"}");
    assert_eq!((refused.class, refused.name), (Class::RetryLater, None));
}

#[test]
fn of_an_acceptance_that_broke_off_the_status_is_enough_unless_a_page_came() {
    for start in ["", " \n", "{", "{\n  \"name\": \"projects/shop/mess"] {
        let answer = Answer::read_start(200, start.as_bytes());
        assert_eq!(
            (answer.class, answer.name),
            (Class::Accepted, None),
            "{start}"
        );
        assert_eq!((answer.code, &*answer.message), (Reason::None, ""));
        assert_eq!(
            Answer::read_start(503, start.as_bytes()).class,
            Class::RetryLater
        );
    }
    for start in ["<html>Welcome to the ho", "Welcome", "[{"] {
        let answer = Answer::read_start(200, start.as_bytes());
        assert_eq!(answer.class, Class::Unclear, "{start}");
    }
    let whole = Answer::read_start(200, br#"{"name":"projects/shop/messages/1"}"#);
    assert_eq!(whole.name.as_deref(), Some("projects/shop/messages/1"));
}

#[test]
fn answers_that_are_not_google_s_go_by_their_status() {
    let html = b"<!DOCTYPE html>\n<title>Error 502 (Server Error)!!1</title>";
    for (status, class) in [
        (302, Class::RetryLater),
        (400, Class::PermanentMessage),
        (401, Class::AuthRefresh),
        (403, Class::PermanentConfig),
        (404, Class::NotFound),
        (408, Class::RetryLater),
        (429, Class::Throttle),
        (502, Class::RetryLater),
        (204, Class::Unclear),
    ] {
        for body in [
            &html[..],
            b"",
            b"{\"error\":\"text\"}",
            b"[[[[",
            b"{\"error\":{\"details\":5}}",
        ] {
            assert_eq!(Answer::read(status, body).class, class, "{status}");
        }
    }
    let page = Answer::read(502, html);
    assert_eq!(page.code, Reason::None, "a page is no code");
    assert!(page.message.starts_with("<!DOCTYPE html>\u{FFFD}<title>"));
}

#[test]
fn retry_delays_are_read_and_bounded() {
    let read = |delay: &str| {
        let details =
            json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]);
        let body = json!({"error": {"status": "UNAVAILABLE", "details": details}}).to_string();
        Answer::read(503, body.as_bytes()).retry_delay_ms
    };
    assert_eq!(read("30s"), Some(30_000));
    assert_eq!(read("1.0000001s"), Some(1_001));
    assert_eq!(read("99999999999s"), Some(86_400_000));
    for wrong in [
        "",
        "s",
        "1",
        "-1s",
        "1.s",
        "1e3s",
        "1.0000000001s",
        "99999999999999999999s",
    ] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn codes_are_unique_and_none_accepts() {
    for row in CODES {
        assert_eq!(
            CODES.iter().filter(|other| other.code == row.code).count(),
            1
        );
        assert_ne!(row.class, Class::Accepted);
    }
    assert_eq!(CODES.len(), 17);
}

#[test]
fn a_grant_gives_a_token_or_says_why_not() {
    assert_eq!(
        grant_form("a.b.c"),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c"
    );
    let ok = br#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#;
    let access = read_grant(200, ok).unwrap();
    assert_eq!(
        (access.token(), access.expires_in_seconds),
        ("ya29.x", 3_599)
    );
    assert!(!format!("{access:?}").contains("ya29"));
    let clock = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";
    for (status, error, description, class) in [
        (400, "invalid_grant", clock, GrantClass::Clock),
        (
            400,
            "invalid_grant",
            "Invalid JWT Signature.",
            GrantClass::Credentials,
        ),
        (
            400,
            "invalid_grant",
            "Invalid grant: account not found",
            GrantClass::Credentials,
        ),
        (
            400,
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
            GrantClass::Config,
        ),
        (400, "invalid_request", "", GrantClass::Bug),
        (401, "brand_new", "", GrantClass::Credentials),
        (500, "invalid_grant", "", GrantClass::RetryLater),
        (429, "rate", "", GrantClass::RetryLater),
    ] {
        let body = json!({"error": error, "error_description": description}).to_string();
        let refusal = read_grant(status, body.as_bytes()).unwrap_err();
        assert_eq!(
            (refusal.class, &*refusal.description),
            (class, description),
            "{error}"
        );
        assert_eq!(refusal.error.text(), error);
    }
    let page = read_grant(502, b"<html>").unwrap_err();
    assert_eq!(
        (page.class, page.error.text()),
        (GrantClass::RetryLater, "<html>")
    );
}

#[test]
fn a_grant_without_a_usable_token_never_shows_what_came() {
    for body in [
        r#"{"access_token":"ya29.x","expires_in":0}"#,
        r#"{"access_token":"ya29.x y","expires_in":9}"#,
        r#"{"access_token":"ya29.x","expires_in":9,"token_type":"mac"}"#,
        r#"{"access_token":"","expires_in":9}"#,
        r#"{"access_token":"ya29.x"}"#,
        r#"{"access_token":"ya29.x"#,
    ] {
        let refusal = read_grant(200, body.as_bytes()).unwrap_err();
        assert_eq!(refusal.class, GrantClass::RetryLater, "{body}");
        assert!(!format!("{refusal:?}").contains("ya29"), "{body}");
    }
}

#[test]
fn a_service_account_is_read_or_told_apart() {
    let key = include_str!("../../testdata/keys/rsa_2048.pem");
    let account = |change: &dyn Fn(&mut Map<String, Value>)| {
        let mut json = map(json!({
            "type": "service_account", "project_id": "shop", "private_key_id": "4f1e",
            "private_key": key, "client_email": "push@shop.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token", "client_id": "1",
        }));
        change(&mut json);
        ServiceAccount::parse(Value::Object(json).to_string().as_bytes())
    };
    let read = account(&|_| {}).unwrap();
    assert_eq!((&*read.project_id, &*read.key_id), ("shop", "4f1e"));
    assert_eq!(read.key.algorithm(), Algorithm::Rs256);
    assert!(!format!("{read:?}").contains("MII"));
    let set = |member: &'static str, value: &'static str| {
        account(&move |json| {
            json.insert(member.to_owned(), value.into());
        })
        .unwrap_err()
    };
    assert_eq!(set("type", "authorized_user"), AccountError::Type);
    assert_eq!(set("project_id", ""), AccountError::Missing("project_id"));
    assert_eq!(
        set("token_uri", "http://evil.example/token"),
        AccountError::TokenUri
    );
    assert_eq!(set("private_key", "x"), AccountError::Key(KeyError::NoPem));
    assert_eq!(
        ServiceAccount::parse(b"[]").unwrap_err(),
        AccountError::Json
    );
    let long = vec![b' '; ACCOUNT_OCTETS_MAX + 1];
    assert_eq!(
        ServiceAccount::parse(&long).unwrap_err(),
        AccountError::TooLong
    );
}

proptest! {
    #[test]
    fn any_answer_is_read_and_bounded(status: u16, body: Vec<u8>) {
        let answer = Answer::read(status, &body);
        prop_assert_ne!(answer.class, Class::Accepted);
        prop_assert!(answer.code.text().len() <= crate::verdict::TEXT_OCTETS_MAX);
        prop_assert!(read_grant(status, &body).is_err());
    }

    #[test]
    fn any_condition_is_walked(condition in "[ab'()!&| intopcs]{0,80}") {
        if let Err(TargetError::Condition { at, .. }) = Target::Condition(&condition).check() {
            prop_assert!(at <= condition.len() && condition.is_char_boundary(at));
        }
    }
}

#[test]
fn a_reason_that_is_ours_is_a_label() {
    let answer = Answer::read(404, br#"{"error":{"status":"NOT_FOUND"}}"#);
    assert_eq!(answer.code, Reason::Known("NOT_FOUND"));
}
