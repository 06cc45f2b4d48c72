//! The OAuth grant: a signed assertion for an access token. RFC 7523 §2.1, RFC 6749 §5.

use serde_json::Value;

use super::answer::ANSWER_OCTETS_MAX;
use crate::verdict::{Reason, kept};

/// Longest life of an access token that is believed, in seconds. Chosen: Google gives an hour, and
/// twelve where an organisation asks for it.
const LIFE_SECONDS_MAX: u64 = 86_400;

/// Most octets of an access token. Chosen: Google's have up to 2,048 (its page on OAuth).
const ACCESS_TOKEN_OCTETS_MAX: usize = 4_096;

/// The errors of a token endpoint, and what each means.
const ERRORS: &[(&str, GrantClass)] = &[
    // RFC 6749 §5.2.
    ("invalid_grant", GrantClass::Credentials),
    ("invalid_client", GrantClass::Credentials),
    ("unauthorized_client", GrantClass::Credentials),
    ("invalid_scope", GrantClass::Config),
    ("invalid_request", GrantClass::Bug),
    ("unsupported_grant_type", GrantClass::Bug),
    // Google: "Using OAuth 2.0 for Server to Server Applications", JWT error codes.
    ("deleted_client", GrantClass::Credentials),
    ("disabled_client", GrantClass::Credentials),
    ("admin_policy_enforced", GrantClass::Config),
    ("org_internal", GrantClass::Config),
    ("access_denied", GrantClass::Config),
    ("internal_failure", GrantClass::RetryLater),
    ("server_error", GrantClass::RetryLater),
    ("temporarily_unavailable", GrantClass::RetryLater),
];

/// An access token. Its text is in no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    token: Box<str>,
    /// Seconds that it lives from now; 1 to a day.
    pub expires_in_seconds: u64,
}

impl Access {
    /// The token, for `authorization: Bearer …`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("expires_in_seconds", &self.expires_in_seconds)
            .finish_non_exhaustive()
    }
}

/// What a refused grant means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantClass {
    /// The key or the account is not known any more: no grant will pass.
    Credentials,
    /// Our clock and Google's differ by too much, or the assertion lived too long.
    Clock,
    /// Scope, audience or a policy of the organisation forbids it.
    Config,
    /// Our request was wrong.
    Bug,
    /// A passing fault: later.
    RetryLater,
}

impl GrantClass {
    /// A name for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Clock => "clock",
            Self::Config => "config",
            Self::Bug => "bug",
            Self::RetryLater => "retry_later",
        }
    }
}

/// A refused grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub class: GrantClass,
    /// `error`, or what came instead.
    pub error: Reason,
    /// `error_description`; empty if there is none. Untrusted text.
    pub description: Box<str>,
}

/// The body of the request, as `application/x-www-form-urlencoded`. A token's characters stand for
/// themselves there (RFC 7515 §3.1: base64url and `.`).
#[must_use]
pub fn grant_form(assertion: &str) -> String {
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    [grant, assertion].concat()
}

/// Reads the token endpoint's answer: its status and its body.
///
/// # Errors
/// [`Refusal`] for everything that gives no token that can be used.
pub fn read_grant(status: u16, body: &[u8]) -> Result<Access, Refusal> {
    let json = if body.len() <= ANSWER_OCTETS_MAX {
        serde_json::from_slice::<Value>(body).ok()
    } else {
        None
    };
    if let Some(json) = &json
        && status == 200
    {
        return access(json).ok_or_else(|| Refusal {
            status,
            class: GrantClass::RetryLater,
            // Not the body: it may hold a token.
            error: Reason::Known("no_usable_token"),
            description: Box::default(),
        });
    }
    let text = |member: &str| json.as_ref().and_then(|json| json.get(member)?.as_str());
    let error = text("error");
    let description = text("error_description").unwrap_or_default();
    let row = ERRORS.iter().find(|(name, _)| Some(*name) == error);
    let class = match (status, row) {
        // A front end's fault, whatever it writes.
        (500..=599 | 429, _) => GrantClass::RetryLater,
        (_, Some(("invalid_grant", _))) if is_about_time(description) => GrantClass::Clock,
        (_, Some((_, class))) => *class,
        (400..=499, None) if error.is_some() => GrantClass::Credentials,
        _ => GrantClass::RetryLater,
    };
    Err(Refusal {
        status,
        class,
        error: match (row, error) {
            (Some((name, _)), _) => Reason::Known(name),
            (None, Some(error)) => Reason::other(error.as_bytes()),
            (None, None) if status == 200 => Reason::Known("no_usable_token"),
            (None, None) => Reason::other(body),
        },
        description: kept(description.as_bytes()).into(),
    })
}

/// "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.
/// Check your iat and exp values …": Google's sentence on clocks.
fn is_about_time(description: &str) -> bool {
    description.contains("timeframe") || description.contains("iat and exp")
}

fn access(json: &Value) -> Option<Access> {
    let token = json.get("access_token")?.as_str()?;
    let fits = (1..=ACCESS_TOKEN_OCTETS_MAX).contains(&token.len())
        && token.bytes().all(|octet| octet.is_ascii_graphic());
    // RFC 6749 §7.1: a token of a type that one does not know must not be used.
    let bearer = match json.get("token_type") {
        None => true,
        Some(kind) => kind.as_str()?.eq_ignore_ascii_case("bearer"),
    };
    let seconds = json.get("expires_in")?.as_u64()?;
    (fits && bearer && seconds > 0).then(|| Access {
        token: token.into(),
        expires_in_seconds: seconds.min(LIFE_SECONDS_MAX),
    })
}
