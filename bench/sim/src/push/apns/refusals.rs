//! What a device token's first eight digits make APNs answer.
//!
//! Statuses and reasons are Apple's, "Handling notification responses from APNs", written down here
//! once more: a table shared with the codec would hide its mistakes.

/// What is special about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Nothing: a status and a reason.
    None,
    /// A timestamp of now, so much ahead in milliseconds (behind, when negative).
    Timestamp(i64),
    /// From here on this connection answers 500 to everything (pushy#529).
    SickConnection,
    /// This text in place of JSON.
    Body(&'static str),
    /// A JSON reason that is longer than anybody needs: so many octets.
    Long(usize),
}

/// A prefix and the refusal that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What the token starts with.
    pub prefix: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The reason.
    pub reason: &'static str,
    /// What is special about it.
    pub extra: Extra,
}

const fn row(prefix: &'static str, status: u16, reason: &'static str, extra: Extra) -> Row {
    Row {
        prefix,
        status,
        reason,
        extra,
    }
}

/// Milliseconds of ten years: a token that was gone long before anybody registered it.
const LONG_AGO_MS: i64 = -10 * 365 * 86_400_000;

/// A proxy's page.
const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";

/// Every refusal that a token can ask for. A prefix is the status (`b4` for what is about the
/// token), a running number, and zeros.
pub const REFUSALS: &[Row] = &[
    row("b4000000", 400, "BadDeviceToken", Extra::None),
    row("b4000001", 400, "DeviceTokenNotForTopic", Extra::None),
    row("40000000", 400, "BadCollapseId", Extra::None),
    row("40000001", 400, "BadExpirationDate", Extra::None),
    row("40000002", 400, "BadMessageId", Extra::None),
    row("40000003", 400, "BadPriority", Extra::None),
    row("40000004", 400, "BadTopic", Extra::None),
    row("40000005", 400, "DuplicateHeaders", Extra::None),
    row("40000006", 400, "IdleTimeout", Extra::None),
    row("40000007", 400, "InvalidPushType", Extra::None),
    row("40000008", 400, "MissingDeviceToken", Extra::None),
    row("40000009", 400, "MissingTopic", Extra::None),
    row("4000000a", 400, "PayloadEmpty", Extra::None),
    row("4000000b", 400, "TopicDisallowed", Extra::None),
    row("40300000", 403, "ExpiredProviderToken", Extra::None),
    row("40300001", 403, "InvalidProviderToken", Extra::None),
    row("40300002", 403, "MissingProviderToken", Extra::None),
    row("40300003", 403, "UnrelatedKeyIdInToken", Extra::None),
    row("40300004", 403, "BadEnvironmentKeyIdInToken", Extra::None),
    row("40300005", 403, "BadCertificate", Extra::None),
    row("40300006", 403, "BadCertificateEnvironment", Extra::None),
    row("40300007", 403, "Forbidden", Extra::None),
    row("40400000", 404, "BadPath", Extra::None),
    row("40500000", 405, "MethodNotAllowed", Extra::None),
    row("41000000", 410, "Unregistered", Extra::Timestamp(0)),
    row("41000001", 410, "ExpiredToken", Extra::Timestamp(0)),
    row(
        "41000002",
        410,
        "Unregistered",
        Extra::Timestamp(LONG_AGO_MS),
    ),
    row("41000003", 410, "Unregistered", Extra::None),
    row("41300000", 413, "PayloadTooLarge", Extra::None),
    row("42900000", 429, "TooManyRequests", Extra::None),
    row("42900001", 429, "TooManyProviderTokenUpdates", Extra::None),
    row("50000000", 500, "InternalServerError", Extra::None),
    row(
        "50000001",
        500,
        "InternalServerError",
        Extra::SickConnection,
    ),
    row("50300000", 503, "ServiceUnavailable", Extra::None),
    row("50300001", 503, "Shutdown", Extra::None),
    row("50200000", 502, "a proxy's page", Extra::Body(PAGE)),
    row("50400000", 504, "an empty body", Extra::Body("")),
    row("ba0d0000", 400, "no JSON", Extra::Body("{\"reason\":")),
    row("ba0d0001", 400, "SomethingNew", Extra::None),
    row("ba0d0002", 400, "an empty body", Extra::Body("")),
    row("ba0d0003", 500, "a long body", Extra::Long(100_000)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::{LINK_FAULTS, PREFIX_CHARS};

    #[test]
    fn every_reason_that_has_a_status_has_a_prefix_and_the_codec_agrees() {
        for known in codecs::apns::REASONS.iter().filter(|row| row.status != 0) {
            let row = REFUSALS.iter().find(|row| row.reason == known.reason);
            assert_eq!(row.map(|row| row.status), Some(known.status), "{known:?}");
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
        assert!(all.iter().all(|prefix| prefix.len() == PREFIX_CHARS
            && prefix.bytes().all(|digit| digit.is_ascii_hexdigit())));
    }
}
