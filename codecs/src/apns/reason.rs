//! APNs' reasons and what each means, as data.

use crate::verdict::Class;

/// One reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The HTTP status that it comes with; 0 where Apple names none.
    pub status: u16,
    /// The text of `reason`.
    pub reason: &'static str,
    /// What it means.
    pub class: Class,
}

const fn row(status: u16, reason: &'static str, class: Class) -> Row {
    Row {
        status,
        reason,
        class,
    }
}

use Class::{
    AuthRefresh, Bug, ConnectionFatal, ConnectionThrottled, PermanentConfig, PermanentMessage,
    PermanentToken, RetryLater, SuspectToken, ThrottleDevice,
};

/// Every reason with a name: Apple, "Handling notification responses from APNs". Those of
/// broadcasts (status 0): "Sending channel management requests to APNs", as apns2 (npm) 12.2 and
/// APNSwift list them. What to do with each: push.md §1.5.
pub const REASONS: &[Row] = &[
    row(400, "BadCollapseId", PermanentMessage),
    row(400, "BadDeviceToken", SuspectToken),
    row(400, "BadExpirationDate", PermanentMessage),
    row(400, "BadMessageId", PermanentMessage),
    row(400, "BadPriority", PermanentMessage),
    row(400, "BadTopic", PermanentConfig),
    row(400, "DeviceTokenNotForTopic", SuspectToken),
    row(400, "DuplicateHeaders", Bug),
    row(400, "IdleTimeout", ConnectionFatal),
    row(400, "InvalidPushType", PermanentMessage),
    row(400, "MissingDeviceToken", Bug),
    row(400, "MissingTopic", PermanentConfig),
    row(400, "PayloadEmpty", PermanentMessage),
    row(400, "TopicDisallowed", PermanentConfig),
    row(403, "BadCertificate", PermanentConfig),
    row(403, "BadCertificateEnvironment", PermanentConfig),
    row(403, "BadEnvironmentKeyIdInToken", PermanentConfig),
    row(403, "ExpiredProviderToken", AuthRefresh),
    row(403, "Forbidden", PermanentConfig),
    row(403, "InvalidProviderToken", PermanentConfig),
    row(403, "MissingProviderToken", Bug),
    row(403, "UnrelatedKeyIdInToken", ConnectionFatal),
    row(404, "BadPath", Bug),
    row(405, "MethodNotAllowed", Bug),
    row(410, "ExpiredToken", PermanentToken),
    row(410, "Unregistered", PermanentToken),
    row(413, "PayloadTooLarge", PermanentMessage),
    row(429, "TooManyProviderTokenUpdates", ConnectionThrottled),
    row(429, "TooManyRequests", ThrottleDevice),
    row(500, "InternalServerError", RetryLater),
    row(503, "ServiceUnavailable", RetryLater),
    row(503, "Shutdown", ConnectionFatal),
    row(0, "BadChannelId", PermanentMessage),
    row(0, "BadEnvironmentKeyInToken", PermanentConfig),
    row(0, "BadRequestParams", PermanentMessage),
    row(0, "BadRequestPayload", PermanentMessage),
    row(0, "CannotCreateChannelConfig", PermanentConfig),
    row(0, "ChannelNotRegistered", PermanentMessage),
    row(0, "FeatureNotEnabled", PermanentConfig),
    row(0, "MissingChannelId", Bug),
    row(0, "MissingPushType", Bug),
    row(0, "TopicMismatch", PermanentConfig),
];

/// The row of a reason. Names are unique: a name that comes with another status means the same.
pub(super) fn find(reason: &str) -> Option<&'static Row> {
    REASONS.iter().find(|row| row.reason == reason)
}

/// What an answer means that has this status, and this reason if any.
#[must_use]
pub fn classify(status: u16, reason: Option<&str>) -> Class {
    // Only 200 is an acceptance, whatever the body says.
    match reason.and_then(find) {
        Some(row) if status != 200 => row.class,
        _ => by_status(status),
    }
}

/// What a status means without a reason that is known: from a proxy, or newer than this table.
fn by_status(status: u16) -> Class {
    match status {
        200 => Class::Accepted,
        // RFC 9110 §15.5.9: may be repeated.
        408 => RetryLater,
        410 => PermanentToken,
        // RFC 9110 §15.5.20: the wrong connection.
        421 => ConnectionFatal,
        429 => Class::Throttle,
        400..=499 => PermanentMessage,
        // A redirection is a proxy's: APNs did not see the message.
        300..=399 | 500..=599 => RetryLater,
        _ => Class::Unclear,
    }
}
