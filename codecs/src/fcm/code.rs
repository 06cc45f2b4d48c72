//! FCM's error codes and what each means, as data.

use crate::verdict::Class;

/// One code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The HTTP status that it comes with.
    pub status: u16,
    /// The text of `errorCode` or of `status`.
    pub code: &'static str,
    /// What it means; the body may say more: [`super::Answer::read`].
    pub class: Class,
}

const fn row(status: u16, code: &'static str, class: Class) -> Row {
    Row {
        status,
        code,
        class,
    }
}

use Class::{
    AuthRefresh, Bug, NotFound, PermanentConfig, PermanentMessage, PermanentToken, RetryLater,
    SuspectToken, Throttle,
};

/// Codes of FCM (REST reference, `ErrorCode`), then those of all Google APIs (googleapis,
/// `google/rpc/code.proto`, with the HTTP mapping there). What to do with each: push.md §2.
pub const CODES: &[Row] = &[
    // Of FcmError.errorCode.
    row(400, "INVALID_ARGUMENT", PermanentMessage),
    row(404, "UNREGISTERED", PermanentToken),
    row(403, "SENDER_ID_MISMATCH", SuspectToken),
    row(429, "QUOTA_EXCEEDED", Throttle),
    row(503, "UNAVAILABLE", RetryLater),
    row(500, "INTERNAL", RetryLater),
    row(401, "THIRD_PARTY_AUTH_ERROR", PermanentConfig),
    // Of error.status.
    row(401, "UNAUTHENTICATED", AuthRefresh),
    row(403, "PERMISSION_DENIED", PermanentConfig),
    row(429, "RESOURCE_EXHAUSTED", Throttle),
    // Without UNREGISTERED it may be the project as well: no token is given up for it. Google's own client
    // takes it for a token's (firebase-admin-node, `messagingServerToClientCode`).
    row(404, "NOT_FOUND", NotFound),
    row(400, "FAILED_PRECONDITION", PermanentConfig),
    row(400, "OUT_OF_RANGE", PermanentMessage),
    row(501, "UNIMPLEMENTED", Bug),
    row(409, "ABORTED", RetryLater),
    row(499, "CANCELLED", RetryLater),
    row(504, "DEADLINE_EXCEEDED", RetryLater),
];

/// The row of a code.
pub(super) fn find(code: &str) -> Option<&'static Row> {
    CODES.iter().find(|row| row.code == code)
}

/// What a status means without a code that is known: of a front end, or newer than this table.
pub(super) fn by_status(status: u16) -> Class {
    match status {
        401 => AuthRefresh,
        403 => PermanentConfig,
        // Of a front end: another path, or a fault of theirs that lasted a day (firebase-admin-java#506).
        404 => NotFound,
        408 => RetryLater,
        429 => Throttle,
        400..=499 => PermanentMessage,
        300..=399 | 500..=599 => RetryLater,
        // 200 without a message's name, and what HTTP does not have.
        _ => Class::Unclear,
    }
}
