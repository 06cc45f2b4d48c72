//! FCM's answers: status and body to what they mean.

use serde_json::Value;
use smallvec::SmallVec;

use super::code::{by_status, find};
use super::message::duration_ms;
use crate::apns;
use crate::verdict::{Class, Reason, kept};

/// Most octets of a body that is read. Chosen: Google's errors have up to 2,000, its error pages
/// less; what is longer is judged by its status.
pub const ANSWER_OCTETS_MAX: usize = 16 * 1024;

/// Most entries of `details`, and most violations, that are looked at. Chosen: two come together.
pub const VIOLATIONS_MAX: usize = 8;

/// Most that a service may have us wait, in milliseconds: a day. Chosen: no message lives on more
/// than one such wait.
const RETRY_DELAY_MS_MAX: u64 = 86_400_000;

/// A field that was refused: `google.rpc.BadRequest.FieldViolation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its path, as in `message.data[0].value`. Untrusted text.
    pub field: Box<str>,
    /// What is wrong with it. Untrusted text.
    pub description: Box<str>,
}

/// An answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub class: Class,
    /// The message's name at Google: `projects/{project}/messages/{id}`. Untrusted text.
    pub name: Option<Box<str>>,
    /// The most telling code: `FcmError.errorCode`, else `error.status`; none where the body has neither.
    pub code: Reason,
    /// `error.message`, or the start of a body that is no error of Google's: a front end's page, or what broke
    /// off. Untrusted text.
    pub message: Box<str>,
    /// The refused fields, at most [`VIOLATIONS_MAX`].
    pub violations: SmallVec<[Violation; 1]>,
    /// `RetryInfo.retryDelay` in milliseconds, at most a day. The header `Retry-After` is the
    /// connector's, since it may be a date.
    pub retry_delay_ms: Option<u64>,
    /// Why APNs refused it, for a device that FCM serves through APNs.
    pub apns_reason: Reason,
}

/// What the entries of `error.details` say.
#[derive(Default)]
struct Details<'a> {
    code: Option<&'a str>,
    violations: SmallVec<[Violation; 1]>,
    retry_delay_ms: Option<u64>,
    quota: Option<Class>,
    apns: Option<(u16, &'a str)>,
}

impl Answer {
    /// Reads an answer that broke off: its status and the start of its body, if any came.
    ///
    /// 200 is enough (push.md §1.7), and Google's name for the message is lost with the rest: its answers are
    /// JSON objects, so that what begins otherwise is a proxy's page, and says nothing.
    #[must_use]
    pub fn read_start(status: u16, start: &[u8]) -> Self {
        let answer = Self::read(status, start);
        let first = start.trim_ascii_start().first();
        if status == 200 && matches!(first, None | Some(b'{')) {
            return Self {
                class: Class::Accepted,
                message: Box::default(),
                ..answer
            };
        }
        answer
    }

    /// Reads an answer that came as a whole: its status and its body.
    #[must_use]
    pub fn read(status: u16, body: &[u8]) -> Self {
        let json = if body.len() <= ANSWER_OCTETS_MAX {
            serde_json::from_slice::<Value>(body).ok()
        } else {
            None
        };
        let nothing = Self {
            status,
            class: by_status(status),
            name: None,
            code: Reason::None,
            message: Box::default(),
            violations: SmallVec::new(),
            retry_delay_ms: None,
            apns_reason: Reason::None,
        };
        let name = json.as_ref().and_then(|json| json.get("name")?.as_str());
        match (status, name) {
            // Google's name for it is the proof; a page of a proxy has none.
            (200, Some(name)) => {
                return Self {
                    class: Class::Accepted,
                    name: Some(kept(name.as_bytes()).into()),
                    ..nothing
                };
            }
            (200, None) => {
                let message = kept(body).into();
                return Self { message, ..nothing };
            }
            _ => {}
        }
        // Some front ends wrap the object into an array.
        let error = json.as_ref().and_then(|json| {
            let error = json.get("error").or_else(|| json.get(0)?.get("error"));
            error.filter(|error| error.is_object())
        });
        let Some(error) = error else {
            let message = kept(body).into();
            return Self { message, ..nothing };
        };
        refusal(nothing, error)
    }
}

/// Fills in what an error object says.
fn refusal(nothing: Answer, error: &Value) -> Answer {
    let text = |member: &str| error.get(member).and_then(Value::as_str);
    let details = details(error);
    let message = text("message").unwrap_or_default();
    let code = details.code.filter(|&code| code != "UNSPECIFIED_ERROR");
    let row = code.and_then(find).or_else(|| find(text("status")?));
    let mut class = row.map_or(nothing.class, |row| row.class);
    if row.is_some_and(|row| row.code == "INVALID_ARGUMENT") && is_about_token(&details, message) {
        class = Class::SuspectToken;
    }
    if class == Class::Throttle {
        class = details.quota.unwrap_or(class);
    }
    let apns_reason = details.apns.map_or(Reason::None, |(status, reason)| {
        let read = apns::classify(status, Some(reason));
        if matches!(read, Class::PermanentToken | Class::SuspectToken) && class.is_of_one() {
            class = read;
        }
        let known = apns::REASONS.iter().find(|row| row.reason == reason);
        known.map_or_else(
            || Reason::other(reason.as_bytes()),
            |row| Reason::Known(row.reason),
        )
    });
    Answer {
        class,
        code: match (row, code.or_else(|| text("status"))) {
            (Some(row), _) => Reason::Known(row.code),
            (None, Some(code)) => Reason::other(code.as_bytes()),
            (None, None) => Reason::None,
        },
        message: kept(message.as_bytes()).into(),
        violations: details.violations,
        retry_delay_ms: details.retry_delay_ms,
        apns_reason,
        ..nothing
    }
}

impl Class {
    /// A refusal of this message or this device: what APNs says of it may be told apart.
    fn is_of_one(self) -> bool {
        matches!(
            self,
            Self::PermanentMessage | Self::PermanentToken | Self::SuspectToken
        )
    }
}

/// Google says INVALID_ARGUMENT of messages and of tokens. Of a token it is if the field is named
/// (seen: pushiko's collection of answers), or the sentence names it (FCM's page "Error codes").
fn is_about_token(details: &Details<'_>, message: &str) -> bool {
    let named = ["message.token", "message.fid"];
    let mut violations = details.violations.iter();
    match violations.next() {
        None => message.contains("registration token"),
        Some(first) => {
            let is_token = |violation: &Violation| named.contains(&&*violation.field);
            is_token(first) && violations.all(is_token)
        }
    }
}

/// What `error.details` says, by the types of its entries: googleapis,
/// `google/rpc/error_details.proto`, and FCM's own two.
fn details(error: &Value) -> Details<'_> {
    let mut found = Details::default();
    let entries = error.get("details").and_then(Value::as_array);
    for entry in entries.into_iter().flatten().take(VIOLATIONS_MAX) {
        let text = |member: &str| entry.get(member).and_then(Value::as_str);
        let kind = text("@type").unwrap_or_default();
        let violations = |member: &str| {
            let list = entry.get(member).and_then(Value::as_array);
            list.into_iter().flatten().take(VIOLATIONS_MAX)
        };
        match kind.strip_prefix("type.googleapis.com/").unwrap_or(kind) {
            "google.firebase.fcm.v1.FcmError" => {
                found.code = found.code.or_else(|| text("errorCode"));
            }
            "google.firebase.fcm.v1.ApnsError" => {
                let status = entry.get("statusCode").and_then(Value::as_u64).unwrap_or(0);
                let status = u16::try_from(status).unwrap_or(0);
                found.apns = text("reason").map(|reason| (status, reason));
            }
            "google.rpc.BadRequest" => {
                for violation in violations("fieldViolations") {
                    let text = |member: &str| {
                        let text = violation.get(member).and_then(Value::as_str);
                        kept(text.unwrap_or_default().as_bytes()).into()
                    };
                    if found.violations.len() < VIOLATIONS_MAX {
                        found.violations.push(Violation {
                            field: text("field"),
                            description: text("description"),
                        });
                    }
                }
            }
            "google.rpc.RetryInfo" => {
                let delay = text("retryDelay").and_then(duration_ms);
                found.retry_delay_ms = delay.map(|ms| ms.min(RETRY_DELAY_MS_MAX));
            }
            "google.rpc.QuotaFailure" => {
                found.quota = violations("violations").find_map(quota);
            }
            _ => {}
        }
    }
    found
}

/// Whose quota it is. The forms are not documented; three quotas are ("Throttling and quotas"): of
/// the project, of a device, of a topic.
fn quota(violation: &Value) -> Option<Class> {
    let says = |member: &str, word: &str| {
        let text = violation.get(member).and_then(Value::as_str);
        text.is_some_and(|text| text.to_ascii_lowercase().contains(word))
    };
    let about = |word: &str| says("subject", word) || says("description", word);
    if about("device") {
        Some(Class::ThrottleDevice)
    } else if about("topic") {
        Some(Class::ThrottleTopic)
    } else {
        None
    }
}
