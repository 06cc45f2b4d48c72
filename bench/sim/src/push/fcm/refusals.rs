//! What a token's, topic's or condition's first eight characters make FCM answer.
//!
//! Forms of the bodies: REST reference, `ErrorCode`; googleapis, `google/rpc/error_details.proto`;
//! answers that others saw. Written down here once more: a table shared with the codec would hide
//! its mistakes.

use serde_json::{Value, json};

/// What is special about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// A refused field, as `BadRequest` has it.
    Field(&'static str),
    /// `Retry-After` in seconds.
    RetryAfter(u32),
    /// `Retry-After` as a date, so many seconds from now.
    RetryAfterDate(u64),
    /// `RetryInfo` in the body.
    RetryInfo(&'static str),
    /// `QuotaFailure`: whose quota it is.
    Quota(&'static str),
    /// What APNs said of it, status and reason.
    Apns(u16, &'static str),
    /// This text in place of JSON.
    Body(&'static str),
}

/// A prefix and the refusal that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What the target starts with.
    pub prefix: &'static str,
    /// The HTTP status.
    pub http: u16,
    /// `error.status`.
    pub status: &'static str,
    /// `errorCode` of FCM's own detail; empty: there is none.
    pub code: &'static str,
    /// `error.message`.
    pub message: &'static str,
    /// What is special about it.
    pub extra: Extra,
}

const fn row(
    prefix: &'static str,
    http: u16,
    [status, code, message]: [&'static str; 3],
    extra: Extra,
) -> Row {
    Row {
        prefix,
        http,
        status,
        code,
        message,
        extra,
    }
}

/// A front end's page.
const PAGE: &str = "<!DOCTYPE html><html lang=en><title>Error 502 (Server Error)!!1</title></html>";

const INVALID: &str = "Request contains an invalid argument.";
const NO_TOKEN: &str = "The registration token is not a valid FCM registration token";
const NOT_FOUND: &str = "Requested entity was not found.";
const QUOTA: &str = "Quota exceeded.";
const UNAVAILABLE: &str = "The service is currently unavailable.";

const ARGUMENT: &str = "INVALID_ARGUMENT";
const EXHAUSTED: &str = "RESOURCE_EXHAUSTED";

/// Every refusal that a target can ask for. A prefix is the status (`b4` for what is about the
/// token), a running number, and zeros.
pub const REFUSALS: &[Row] = &[
    row("b4000000", 400, [ARGUMENT, ARGUMENT, NO_TOKEN], Extra::None),
    row(
        "b4000001",
        400,
        [ARGUMENT, ARGUMENT, INVALID],
        Extra::Field("message.token"),
    ),
    row("40000000", 400, [ARGUMENT, ARGUMENT, INVALID], Extra::None),
    row(
        "40000001",
        400,
        [ARGUMENT, "", INVALID],
        Extra::Field("message.data[0].value"),
    ),
    row(
        "40000002",
        400,
        [ARGUMENT, ARGUMENT, INVALID],
        Extra::Apns(410, "Unregistered"),
    ),
    row("40000003", 400, ["BRAND_NEW", "NEWER", "new"], Extra::None),
    row(
        "40100000",
        401,
        [
            "UNAUTHENTICATED",
            "",
            "Request had invalid authentication credentials.",
        ],
        Extra::None,
    ),
    row(
        "40100001",
        401,
        [
            "UNAUTHENTICATED",
            "THIRD_PARTY_AUTH_ERROR",
            "Auth error from APNS or Web Push Service",
        ],
        Extra::None,
    ),
    row(
        "40300000",
        403,
        [
            "PERMISSION_DENIED",
            "SENDER_ID_MISMATCH",
            "SenderId mismatch",
        ],
        Extra::None,
    ),
    row(
        "40300001",
        403,
        ["PERMISSION_DENIED", "", "Permission denied"],
        Extra::None,
    ),
    row(
        "40400000",
        404,
        ["NOT_FOUND", "UNREGISTERED", NOT_FOUND],
        Extra::None,
    ),
    row("40400001", 404, ["NOT_FOUND", "", NOT_FOUND], Extra::None),
    row(
        "42900000",
        429,
        [EXHAUSTED, "QUOTA_EXCEEDED", QUOTA],
        Extra::None,
    ),
    row(
        "42900001",
        429,
        [EXHAUSTED, "QUOTA_EXCEEDED", QUOTA],
        Extra::RetryAfter(2),
    ),
    row(
        "42900002",
        429,
        [EXHAUSTED, "QUOTA_EXCEEDED", QUOTA],
        Extra::Quota("device:1"),
    ),
    row(
        "42900003",
        429,
        [EXHAUSTED, "QUOTA_EXCEEDED", QUOTA],
        Extra::Quota("topic:1"),
    ),
    row(
        "42900004",
        429,
        [EXHAUSTED, "", QUOTA],
        Extra::RetryInfo("2s"),
    ),
    row(
        "50000000",
        500,
        ["INTERNAL", "INTERNAL", "Internal error encountered."],
        Extra::None,
    ),
    row("50200000", 502, ["", "", ""], Extra::Body(PAGE)),
    row(
        "50300000",
        503,
        ["UNAVAILABLE", "UNAVAILABLE", UNAVAILABLE],
        Extra::None,
    ),
    row(
        "50300001",
        503,
        ["UNAVAILABLE", "UNAVAILABLE", UNAVAILABLE],
        Extra::RetryAfter(1),
    ),
    row(
        "50300002",
        503,
        ["UNAVAILABLE", "UNAVAILABLE", UNAVAILABLE],
        Extra::RetryAfterDate(3),
    ),
    row(
        "50400000",
        504,
        ["DEADLINE_EXCEEDED", "", "Deadline exceeded"],
        Extra::None,
    ),
    row("ba0d0000", 400, ["", "", ""], Extra::Body("{\"error\":")),
    row("ba0d0001", 503, ["", "", ""], Extra::Body("")),
];

impl Row {
    /// The name that counts and reports use: the most telling code.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self {
                code: "",
                status: "",
                ..
            } => "no JSON",
            Self {
                code: "", status, ..
            } => status,
            Self { code, .. } => code,
        }
    }

    /// The body.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut details = Vec::new();
        if !self.code.is_empty() {
            let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
            details.push(json!({ "@type": kind, "errorCode": self.code }));
        }
        match self.extra {
            Extra::Body(text) => return text.as_bytes().to_vec(),
            Extra::Field(field) => details.push(violation(field, self.message)),
            Extra::RetryInfo(delay) => {
                let kind = "type.googleapis.com/google.rpc.RetryInfo";
                details.push(json!({ "@type": kind, "retryDelay": delay }));
            }
            Extra::Quota(subject) => {
                let kind = "type.googleapis.com/google.rpc.QuotaFailure";
                let violation = json!({ "subject": subject, "description": "exceeded" });
                details.push(json!({ "@type": kind, "violations": [violation] }));
            }
            Extra::Apns(status, reason) => {
                let kind = "type.googleapis.com/google.firebase.fcm.v1.ApnsError";
                details.push(json!({ "@type": kind, "statusCode": status, "reason": reason }));
            }
            Extra::None | Extra::RetryAfter(_) | Extra::RetryAfterDate(_) => {}
        }
        error(self.http, self.status, self.message, details)
    }
}

/// A refused field.
pub(super) fn violation(field: &str, description: &str) -> Value {
    let violation = json!({ "field": field, "description": description });
    let kind = "type.googleapis.com/google.rpc.BadRequest";
    json!({ "@type": kind, "fieldViolations": [violation] })
}

/// An error's body, with Google's line breaks.
pub(super) fn error(http: u16, status: &str, message: &str, details: Vec<Value>) -> Vec<u8> {
    let mut error = json!({ "code": http, "message": message, "status": status });
    if !details.is_empty() {
        error["details"] = details.into();
    }
    serde_json::to_vec_pretty(&json!({ "error": error })).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::{LINK_FAULTS, PREFIX_CHARS};

    #[test]
    fn every_code_of_fcm_itself_has_a_prefix_and_the_codec_reads_it() {
        for known in codecs::fcm::CODES.iter().take(9) {
            let row = REFUSALS.iter().find(|row| row.reason() == known.code);
            let row = row.unwrap_or_else(|| panic!("{known:?}"));
            assert_eq!(row.http, known.status, "{known:?}");
            let read = codecs::fcm::Answer::read(row.http, &row.body());
            assert_eq!(read.code.text(), known.code);
        }
    }

    #[test]
    fn prefixes_are_unique_also_beside_those_of_the_link() {
        let links = LINK_FAULTS.iter().map(|row| row.prefix);
        let mut all: Vec<&str> = REFUSALS.iter().map(|row| row.prefix).chain(links).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|prefix| prefix.len() == PREFIX_CHARS));
    }
}
