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
