//! What is made of an answer, without any service: whether it was taken, what that means, in which words.

use http::StatusCode;

use super::*;
use crate::connect::http2::Answered;

const TOKEN: &str = "dGVzdA:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx";

fn google() -> Service {
    Service {
        kind: Kind::Fcm {
            path: "/v1/projects/shop/messages:send".to_owned(),
        },
        ..apple()
    }
}

fn apple() -> Service {
    service("localhost:443".parse().unwrap())
}

/// What is made of this answer, whole or broken off, at this second.
fn read(
    service: &Service,
    message: &Arc<Message>,
    (status, body, complete): (u16, &str, bool),
) -> Outcome {
    let attempt = Attempt {
        token: 1,
        message: message.clone(),
        part: 0,
        form: Form::default(),
    };
    let answered = Answered {
        status: StatusCode::from_u16(status).unwrap(),
        headers: smallvec![],
        body: body.to_owned().into(),
        complete,
        at: UnixMs(1_800_000_000_000),
        latency: Duration::ZERO,
    };
    service.read(&attempt, &answered).outcome
}

fn of(service: &Service, status: u16, body: &str) -> Outcome {
    read(
        service,
        &message(1, &[TOKEN], UnixMs::ZERO),
        (status, body, true),
    )
}

/// push.md §1.7, of both services.
#[test]
fn a_200_is_enough_where_the_rest_of_the_answer_did_not_come() {
    let message = message(1, &[TOKEN], UnixMs::ZERO);
    for service in [apple(), google()] {
        for start in ["", "{\n  \"name\": \"proj"] {
            let outcome = read(&service, &message, (200, start, false));
            let expected = (OutcomeResult::Accepted, 200, Retry::Never);
            assert_eq!((outcome.result, outcome.code, outcome.retry), expected);
            assert!(outcome.provider_id.is_empty(), "nobody has told it");
            assert_eq!((outcome.reason, outcome.text), (None, None));
        }
        let refused = read(&service, &message, (503, "", false));
        assert_eq!(refused.result, OutcomeResult::Refused);
    }
    // A hotel's page, and what is whole without Google's name for it, is no acceptance of Google's.
    for answer in [(200, "<html>Welco", false), (200, "", true)] {
        let outcome = read(&google(), &message, answer);
        assert_eq!(outcome.result, OutcomeResult::Unknown);
    }
}

#[test]
fn a_refused_field_is_told_in_googles_words_and_as_permanent() {
    let body = format!(
        r#"{{"error":{{"code":400,"status":"INVALID_ARGUMENT","message":"to {TOKEN}","details":[
           {{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[
           {{"field":"message.android.ttl","description":"Invalid value"}},{{"field":"message.data"}}]}}]}}}}"#
    );
    let outcome = of(&google(), 400, &body);
    assert_eq!(
        outcome.text.as_deref(),
        Some("INVALID_ARGUMENT: message.android.ttl: Invalid value; message.data: to [cut]")
    );
    let reason = outcome.reason.unwrap();
    assert_eq!((reason.category(), reason.permanent()), ("content", true));
    assert_eq!(
        (outcome.result, outcome.retry),
        (OutcomeResult::Refused, Retry::Never)
    );
}

#[test]
fn a_page_is_words_and_no_code() {
    let page = "<!DOCTYPE html>\n<title>Error 502</title> /3/device/";
    let page = format!("{page}{TOKEN}");
    for service in [apple(), google()] {
        let outcome = of(&service, 502, &page);
        let text = outcome.text.unwrap();
        let said = crate::outcome::Said::read(&text);
        assert_eq!(
            (said.code, said.text),
            (
                "",
                "<!DOCTYPE html> <title>Error 502</title> /3/device/[cut]"
            )
        );
        assert_eq!(of(&service, 502, "").text, None);
    }
    let new = of(&apple(), 400, r#"{"reason":"BrandNew"}"#);
    assert_eq!(new.text.as_deref(), Some("BrandNew"));
    assert_eq!(
        new.reason,
        Some(Reason::Unclassified),
        "nobody knows what it means"
    );
    let broken = of(&apple(), 400, r#"{"reason":"BadPrio"#);
    assert_eq!(broken.text.as_deref(), Some(r#"{"reason":"BadPrio"#));
}

/// push.md R12: whoever deletes by the message's reason must not delete what R12 keeps.
#[test]
fn a_token_that_is_newer_than_what_apple_knows_is_not_called_gone_at_the_end_of_its_tries() {
    let body = r#"{"reason":"Unregistered","timestamp":1799000000000}"#;
    let newer = message(1, &[TOKEN], UnixMs(1_799_000_000_001));
    let outcome = read(&apple(), &newer, (410, body, true));
    let reason = outcome.reason.unwrap();
    assert_eq!((reason, reason.permanent()), (Reason::ProviderError, false));
    assert_eq!((outcome.unregistered, outcome.code), (UnixMs::ZERO, 410));
    assert_eq!(outcome.retry, Retry::Here { tries: 1 });
    let older = message(1, &[TOKEN], UnixMs(1_798_000_000_000));
    let outcome = read(&apple(), &older, (410, body, true));
    assert_eq!(outcome.reason, Some(Reason::DeviceUnregistered));
    assert_eq!(outcome.unregistered, UnixMs(1_799_000_000_000));
}
