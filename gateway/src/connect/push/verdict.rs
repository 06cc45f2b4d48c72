//! Verdict: what an answer's class means for the push, the connection and the route. A table.

use std::time::Duration;

use codecs::verdict::Class;

use super::doubts::Doubt;
use crate::outcome::{OutcomeResult, Reason, Retry, Whose};

/// Tries after "too many": the quota's minute, over and over, up to the message's end.
const THROTTLE_TRIES: u8 = 60;
/// Tries of a push whose token or connection was at fault, not itself.
const ACCESS_TRIES: u8 = 3;
/// The wait after a 429 that names none. push.md R15: FCM's documentation says 60 s.
pub(super) const THROTTLE_SECONDS: u32 = 60;
/// Tries of a push of which nobody says whether its device or its project was not found, and the wait before
/// each. Chosen: Google wants no 404 repeated unchanged (push.md §2), but answers so for a while in a fault of
/// its own (firebase-admin-java#506); and in this time it shows whether the route stops.
const NOT_FOUND: (u32, u8) = (60, 2);
/// … and of a device that Apple calls too busy (push.md §1.5: at least 1 s).
const DEVICE_SECONDS: u32 = 1;
/// The wait before a try with another token or on another connection.
const ACCESS_SECONDS: u32 = 1;
/// How long Apple takes no further provider token (push.md §1.2).
const UPDATES_SECONDS: u32 = 1_200;

/// What follows beside the push's own outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing.
    Nothing,
    /// The connection is of no more use.
    Fence,
    /// The provider token was renewed too often on this connection, which is of no more use.
    TooManyUpdates,
    /// Our token is too old.
    Expired,
    /// It may be the whole route's, or this device's alone.
    Doubt(Doubt),
    /// The service is at fault: a connection that shows it twice in a row is given up.
    Fault,
    /// No push will pass until somebody has put the route right.
    Stop,
    /// The app's topic or sender is wrong: somebody has to look, other apps go on.
    Alarm,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) result: OutcomeResult,
    pub(super) whose: Whose,
    pub(super) reason: Option<Reason>,
    pub(super) retry: Retry,
    pub(super) beside: Beside,
    /// Whether the answer calls the device's token bad.
    pub(super) bad_token: bool,
}

/// Of a class. `reason` is the service's word, if the tables have it, else empty; `wait` what the service asks us to
/// wait.
#[expect(clippy::too_many_lines, reason = "a table of classes")]
pub(super) fn of(class: Class, reason: &str, wait: Option<Duration>) -> Verdict {
    let seconds = |default: u32| {
        let asked = wait.and_then(|wait| u32::try_from(wait.as_secs()).ok());
        asked.unwrap_or(default)
    };
    let after = |default, tries| Retry::After {
        seconds: seconds(default),
        tries,
    };
    let refused = |reason, retry, beside| Verdict {
        result: OutcomeResult::Refused,
        whose: Whose::Peer,
        reason: Some(reason),
        retry,
        beside,
        bad_token: false,
    };
    let later = |reason, default, beside| {
        let seconds = seconds(default);
        refused(reason, Retry::Scheduled { seconds }, beside)
    };
    match class {
        Class::Accepted => Verdict {
            result: OutcomeResult::Accepted,
            whose: Whose::Peer,
            reason: None,
            retry: Retry::Never,
            beside: Beside::Nothing,
            bad_token: false,
        },
        Class::PermanentToken => Verdict {
            bad_token: true,
            ..refused(Reason::DeviceUnregistered, Retry::Never, Beside::Nothing)
        },
        Class::SuspectToken => Verdict {
            bad_token: true,
            ..refused(suspect(reason), Retry::Never, Beside::Nothing)
        },
        Class::PermanentConfig if of_app(reason) => {
            refused(Reason::AppMismatch, Retry::Elsewhere, Beside::Alarm)
        }
        Class::PermanentConfig => Verdict {
            // The service has not looked at the push: it waits for the route to be put right.
            result: OutcomeResult::NotSent,
            ..refused(Reason::ProviderAuthFailed, Retry::Elsewhere, Beside::Stop)
        },
        Class::PermanentMessage => refused(of_message(reason), Retry::Never, Beside::Nothing),
        Class::Bug => Verdict {
            whose: Whose::Us,
            ..refused(Reason::ProviderError, Retry::Never, Beside::Alarm)
        },
        Class::AuthRefresh => refused(
            Reason::ProviderAuthFailed,
            after(ACCESS_SECONDS, ACCESS_TRIES),
            Beside::Expired,
        ),
        Class::ConnectionFatal => refused(
            Reason::ProviderError,
            after(ACCESS_SECONDS, ACCESS_TRIES),
            Beside::Fence,
        ),
        Class::ConnectionThrottled => refused(
            Reason::Throttled,
            after(UPDATES_SECONDS, ACCESS_TRIES),
            Beside::TooManyUpdates,
        ),
        Class::ThrottleDevice if reason == "TooManyRequests" => {
            later(Reason::Throttled, DEVICE_SECONDS, Beside::Nothing)
        }
        Class::ThrottleDevice | Class::ThrottleTopic => {
            later(Reason::Throttled, THROTTLE_SECONDS, Beside::Nothing)
        }
        Class::Throttle => {
            let pause = Duration::from_secs(seconds(THROTTLE_SECONDS).into());
            let retry = after(THROTTLE_SECONDS, THROTTLE_TRIES);
            let beside = Beside::Doubt(Doubt::TooMany(pause));
            refused(Reason::Throttled, retry, beside)
        }
        // It is too busy, which another connection does not help.
        Class::RetryLater if matches!(reason, "ServiceUnavailable" | "UNAVAILABLE") => {
            later(Reason::ProviderError, 0, Beside::Doubt(Doubt::Busy(wait)))
        }
        Class::NotFound => refused(
            Reason::ProviderError,
            after(NOT_FOUND.0, NOT_FOUND.1),
            Beside::Doubt(Doubt::NotFound),
        ),
        Class::RetryLater => later(Reason::ProviderError, 0, Beside::Fault),
        Class::Unclear => Verdict {
            result: OutcomeResult::Unknown,
            whose: Whose::Network,
            reason: Some(Reason::ProviderTimeout),
            retry: Retry::Here { tries: 1 },
            beside: Beside::Nothing,
            bad_token: false,
        },
    }
}

/// A token that does not fit: to which app or project it is, or what else.
fn suspect(reason: &str) -> Reason {
    match reason {
        "DeviceTokenNotForTopic" | "SENDER_ID_MISMATCH" => Reason::AppMismatch,
        _ => Reason::TokenInvalid,
    }
}

/// What is wrong with the message. contract.md §3 has a malformed one (FCM INVALID_ARGUMENT) under `content`,
/// whose nearest word says that the service does not take the form in which it is written; the service's own
/// words say which field. Where the tables do not have the service's word, nobody knows: a proxy may be at fault.
fn of_message(reason: &str) -> Reason {
    match reason {
        "" => Reason::Unclassified,
        "PayloadTooLarge" => Reason::PayloadTooLarge,
        _ => Reason::EncodingUnsupported,
    }
}

/// What is wrong with one app's settings, and not with the route's. That Apple or a browser's service does
/// not take FCM's own credentials is said of the one token that leads there: were it taken for the route's
/// fault, one such token would stop everybody's pushes.
fn of_app(reason: &str) -> bool {
    matches!(
        reason,
        "BadTopic"
            | "MissingTopic"
            | "TopicDisallowed"
            | "TopicMismatch"
            | "THIRD_PARTY_AUTH_ERROR"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_repeated_that_may_have_been_taken_or_never_passes() {
        for row in codecs::apns::REASONS {
            let verdict = of(row.class, row.reason, None);
            let again = matches!(verdict.retry, Retry::Scheduled { .. } | Retry::After { .. })
                || verdict.result == OutcomeResult::NotSent
                || verdict.retry == Retry::Elsewhere;
            let may = row.class.may_repeat() || row.class == Class::PermanentConfig;
            assert_eq!(again, may, "{}", row.reason);
        }
    }

    #[test]
    fn what_no_push_with_this_content_passes_is_told_as_permanent_and_what_nobody_knows_is_not() {
        for row in codecs::apns::REASONS {
            let verdict = of(row.class, row.reason, None);
            if row.class == Class::PermanentMessage {
                let reason = verdict.reason.unwrap();
                assert!(reason.permanent(), "{}", row.reason);
                assert_eq!(reason.category(), "content", "{}", row.reason);
                assert_eq!(verdict.retry, Retry::Never, "{}", row.reason);
            }
        }
        let of = |reason| of(Class::PermanentMessage, reason, None).reason;
        assert_eq!(of("INVALID_ARGUMENT"), Some(Reason::EncodingUnsupported));
        assert_eq!(of("PayloadTooLarge"), Some(Reason::PayloadTooLarge));
        assert_eq!(of(""), Some(Reason::Unclassified));
    }

    #[test]
    fn the_service_says_how_long_to_wait_and_else_its_documentation_does() {
        let asked = of(Class::Throttle, "", Some(Duration::from_secs(7)));
        let pause = |seconds| Beside::Doubt(Doubt::TooMany(Duration::from_secs(seconds)));
        assert_eq!(asked.beside, pause(7));
        let silent = of(Class::Throttle, "", None);
        assert_eq!(silent.beside, pause(60));
        let Retry::After { seconds, .. } = silent.retry else {
            panic!("{silent:?}");
        };
        assert_eq!(seconds, THROTTLE_SECONDS);
        let wait = |class, reason: &str, asked| match of(class, reason, asked).retry {
            Retry::Scheduled { seconds } => seconds,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(Class::RetryLater, "ServiceUnavailable", None), 0);
        let asked = Some(Duration::from_secs(30));
        assert_eq!(wait(Class::RetryLater, "UNAVAILABLE", asked), 30);
        let beside = |reason| of(Class::RetryLater, reason, None).beside;
        let busy = Beside::Doubt(Doubt::Busy(None));
        assert_eq!(beside("ServiceUnavailable"), busy);
        assert_eq!(beside("UNAVAILABLE"), busy);
        assert_eq!(beside("InternalServerError"), Beside::Fault);
        assert_eq!(wait(Class::ThrottleDevice, "TooManyRequests", None), 1);
        assert_eq!(wait(Class::ThrottleDevice, "QUOTA_EXCEEDED", None), 60);
        assert_eq!(wait(Class::ThrottleTopic, "QUOTA_EXCEEDED", asked), 30);
    }

    #[test]
    fn what_was_not_found_is_tried_again_and_no_token_is_given_up_for_it() {
        let verdict = of(Class::NotFound, "NOT_FOUND", None);
        assert_eq!(verdict.beside, Beside::Doubt(Doubt::NotFound));
        assert!(!verdict.bad_token);
        let (seconds, tries) = NOT_FOUND;
        assert_eq!(verdict.retry, Retry::After { seconds, tries });
    }

    #[test]
    fn wrong_credentials_stop_the_route_and_a_wrong_topic_does_not() {
        let credentials = of(Class::PermanentConfig, "InvalidProviderToken", None);
        assert_eq!(credentials.beside, Beside::Stop);
        assert_eq!(credentials.result, OutcomeResult::NotSent, "it waits");
        for one in ["TopicDisallowed", "THIRD_PARTY_AUTH_ERROR"] {
            let topic = of(Class::PermanentConfig, one, None);
            assert_eq!(
                (topic.result, topic.beside, topic.retry),
                (OutcomeResult::Refused, Beside::Alarm, Retry::Elsewhere)
            );
        }
    }
}
