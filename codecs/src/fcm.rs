//! FCM, Google's HTTP v1 API: requests and answers as data, and the OAuth grant that goes before
//! them. The connection and its clock are the connector's; the payload is `push`'s.

mod account;
mod answer;
mod code;
mod message;
mod oauth;
mod target;
#[cfg(test)]
mod tests;

pub use account::{ACCOUNT_OCTETS_MAX, AccountError, ServiceAccount};
pub use answer::{ANSWER_OCTETS_MAX, Answer, VIOLATIONS_MAX, Violation};
pub use code::{CODES, Row};
pub use message::{
    ANALYTICS_LABEL_CHARS_MAX, Message, MessageError, PAYLOAD_OCTETS_MAX, Problem,
    TOPIC_PAYLOAD_OCTETS_MAX, TTL_SECONDS_MAX, check_data_key,
};
pub use oauth::{Access, GrantClass, Refusal, grant_form, read_grant};
pub use target::{
    CONDITION_OCTETS_MAX, CONDITION_TOPICS_MAX, TOKEN_OCTETS_MAX, TOPIC_CHARS_MAX, Target,
    TargetError,
};

/// Host of the send API. "Send a message using FCM HTTP v1 API".
pub const HOST: &str = "fcm.googleapis.com";

/// The narrowest scope that may send. "Authorize HTTP v1 send requests".
pub const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// Seconds that a grant is valid: Google takes no more. "Using OAuth 2.0 for Server to Server
/// Applications", claim `exp`.
pub const GRANT_SECONDS_MAX: u64 = 3_600;

/// Most characters of a project id. Chosen: ids have up to 30, and more with a domain in front.
const PROJECT_CHARS_MAX: usize = 100;

/// `:path` of a send; `None` if `project` is no project id or number.
#[must_use]
pub fn path(project: &str) -> Option<String> {
    // Ids of domains are "example.com:id".
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b':');
    let fits = (1..=PROJECT_CHARS_MAX).contains(&project.len()) && project.bytes().all(allowed);
    fits.then(|| ["/v1/projects/", project, "/messages:send"].concat())
}
