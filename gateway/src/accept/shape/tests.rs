//! What is said of JSON of the wrong shape.

use crate::accept::problem::{Code, Problem};
use crate::accept::request::{merge, parse};

fn errors(json: &str) -> Vec<(String, &'static str)> {
    let (_, errors) = parse(json.as_bytes()).unwrap();
    let pairs = errors.into_iter().map(|e| (e.pointer.unwrap(), e.code));
    pairs.collect()
}

#[test]
fn unknown_fields_are_named_at_every_depth() {
    assert_eq!(
        errors(r#"{"expire_at":"x","content":{"sms":{"max_segment":1}},"to":{"fone":"1"}}"#),
        [
            ("/content/sms/max_segment".into(), "unknown_field"),
            ("/expire_at".into(), "unknown_field"),
            ("/to/fone".into(), "unknown_field"),
        ]
    );
}

#[test]
fn fields_of_the_contract_that_are_not_built_say_so() {
    for (json, pointer) in [
        (r#"{"send_at":"2026-11-21T08:00:00Z"}"#, "/send_at"),
        (r#"{"routing":{"prefer":["a"]}}"#, "/routing"),
        (r#"{"from":{"pool":"se"}}"#, "/from"),
        (r#"{"to":{"phone":"+46701234567","ref":"u"}}"#, "/to/ref"),
        (r#"{"to":{"email":"a@b"}}"#, "/to/email"),
        (
            r#"{"content":{"sms":{"regulatory":{}}}}"#,
            "/content/sms/regulatory",
        ),
        (r#"{"plan":{"steps":[{"wait":3}]}}"#, "/plan/steps/0/wait"),
        (
            r#"{"plan":{"steps":[{"revoke":false}]}}"#,
            "/plan/steps/0/revoke",
        ),
        (
            r#"{"policy":{"quiet_hours":"ignore"}}"#,
            "/policy/quiet_hours",
        ),
        (
            r#"{"policy":{"retain_content":"hash"}}"#,
            "/policy/retain_content",
        ),
    ] {
        let (_, errors) = parse(json.as_bytes()).unwrap();
        assert_eq!(errors.len(), 1, "{json}");
        assert_eq!(errors[0].pointer.as_deref(), Some(pointer));
        assert_eq!(Problem::of(errors).code, Code::NotAvailable, "{json}");
    }
}

#[test]
fn a_field_that_is_not_built_may_be_sent_with_its_default() {
    let (plain, _) = parse(br#"{"plan":{"steps":[{"channel":"sms"}]}}"#).unwrap();
    for json in [
        r#"{"plan":{"steps":[{"channel":"sms","until":"delivered"}]}}"#,
        r#"{"plan":{"steps":[{"channel":"sms","revoke":true}]}}"#,
        r#"{"plan":{"steps":[{"channel":"sms","on":["undelivered","rejected","no_route"]}]}}"#,
    ] {
        let (mut request, mut errors) = parse(json.as_bytes()).unwrap();
        merge::expand(&mut request, &mut errors);
        assert_eq!(errors, [], "{json}");
        let text = |request| serde_json::to_string(request).unwrap();
        assert_eq!(text(&request), text(&plain), "the same request: {json}");
    }
    for json in [
        r#"{"policy":{"quiet_hours":"respect","suppressions":"respect","frequency_cap":"respect"}}"#,
        r#"{"policy":{"retain_content":"full","redact_to":false}}"#,
    ] {
        assert_eq!(errors(json), [], "{json}");
    }
    assert_eq!(super::defaults().count(), 5, "each is a table's field");
}

#[test]
fn channels_that_are_not_enabled_say_so() {
    for json in [r#"{"content":{"email":{}}}"#, r#"{"content":{"rcs":{}}}"#] {
        let (_, errors) = parse(json.as_bytes()).unwrap();
        assert_eq!(Problem::of(errors).code, Code::ChannelNotEnabled);
    }
}

#[test]
fn wrong_types_are_named() {
    assert_eq!(
        errors(r#"{"content":{"sms":{"tlv":{"a":"x","b":7,"c":-1,"d":true,"e":null}}}}"#),
        [
            ("/content/sms/tlv/c".into(), "wrong_type"),
            ("/content/sms/tlv/d".into(), "wrong_type"),
        ]
    );
    assert_eq!(
        errors(
            r#"{"ttl":"60","text":5,"tags":["a",1,true],"metadata":{"a/b":1},"to":7,"plan":[]}"#
        ),
        [
            ("/metadata/a~1b".into(), "wrong_type"),
            ("/plan".into(), "wrong_type"),
            ("/tags/1".into(), "wrong_type"),
            ("/tags/2".into(), "wrong_type"),
            ("/text".into(), "wrong_type"),
            ("/to".into(), "wrong_type"),
            ("/ttl".into(), "wrong_type"),
        ]
    );
    assert_eq!(
        errors(r#"{"content":["a"],"plan":{"steps":[["sms"]]},"tracking":[]}"#),
        [
            ("/content".into(), "wrong_type"),
            ("/plan/steps/0".into(), "wrong_type"),
            ("/tracking".into(), "wrong_type"),
        ],
        "a list is no object"
    );
    assert_eq!(errors(r#"{"ttl":1.5}"#), [("/ttl".into(), "wrong_type")]);
}

#[test]
fn what_can_be_read_is_kept_for_the_check() {
    let (request, errors) = parse(br#"{"to":"+46701234567","nope":1,"ttl":5}"#).unwrap();
    assert_eq!(errors.len(), 1);
    assert_eq!(request.ttl, Some(5));
    assert_eq!(request.to.unwrap().phone.unwrap().0, "+46701234567");
}

#[test]
fn null_is_the_same_as_absent() {
    let (request, errors) = parse(br#"{"ttl":null,"text":null,"to":null}"#).unwrap();
    assert!(errors.is_empty() && request.ttl.is_none() && request.to.is_none());
    assert_eq!(errors.len(), 0);
    let (_, errors) = parse(br#"{"send_at":null}"#).unwrap();
    assert_eq!(
        errors,
        [],
        "null of a field that is not built asks for nothing"
    );
}

#[test]
fn what_is_not_json_or_not_an_object_is_a_problem_with_a_position() {
    let problem = parse(b"{\"to\":\n}").unwrap_err();
    assert_eq!(problem.code, Code::MalformedJson);
    assert!(
        problem.detail.contains("line 2 column 1"),
        "{}",
        problem.detail
    );
    assert_eq!(parse(b"").unwrap_err().code, Code::MalformedJson);
    assert_eq!(parse(b"{} x").unwrap_err().code, Code::MalformedJson);
    assert_eq!(
        parse(b"{\"text\":\"\xff\"}").unwrap_err().code,
        Code::MalformedJson
    );
    assert_eq!(
        parse(b"{\"nope\":1,").unwrap_err().code,
        Code::MalformedJson
    );
    assert_eq!(parse(b"[]").unwrap_err().code, Code::InvalidRequest);
    assert_eq!(parse(b"7").unwrap_err().code, Code::InvalidRequest);
}

#[test]
fn a_field_that_comes_twice_is_refused() {
    for (json, pointer) in [
        (r#"{"ttl":5,"ttl":6}"#, "/ttl"),
        (r#"{"send_at":null,"ttl":5,"ttl":6}"#, "/ttl"),
        (r#"{"ttl":5,"t\u0074l":5}"#, "/ttl"),
        (
            r#"{"plan":{"steps":[{"until":"delivered","channel":"push","channel":"sms"}]}}"#,
            "/plan/steps/0/channel",
        ),
        (
            r#"{"policy":{"redact_to":false,"redact_to":true}}"#,
            "/policy/redact_to",
        ),
    ] {
        let found = errors(json);
        assert!(
            found.contains(&(pointer.into(), "duplicate_key")),
            "{json}: {found:?}"
        );
    }
}

#[test]
fn errors_stop_at_their_bound() {
    let mut json = String::from("{");
    for n in 0..10_000 {
        json.push_str(&format!("\"f{n}\":1,"));
    }
    json.push_str("\"z\":1}");
    assert!(errors(&json).len() < 40);
    let long = format!(
        r#"{{"{}":{{"x":1}},"metadata":{{"a":1}}}}"#,
        "k".repeat(60_000)
    );
    assert!(errors(&long).iter().all(|(pointer, _)| pointer.len() < 100));
}
