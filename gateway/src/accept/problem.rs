//! Problems: every error as `application/problem+json` (RFC 9457; contract.md §2 "Errors").
//!
//! Clients branch on `code`. Errors of fields are collected, each with its JSON pointer; when all of
//! them have the same cause, that cause is the problem's code, else it is `invalid_request`.

use std::borrow::Cow;

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accept::Scope;
use crate::accept::ingress::RateHeaders;
use crate::store::Refused;

/// Field errors shown at most (chosen: enough to mend a request, bounded for one that is all wrong).
pub(crate) const ERRORS_MAX: usize = 32;

/// Characters of a name that the client made up, as errors repeat it (chosen: every name of the
/// contract fits; 100,000 bad lines stay small).
const NAME_MAX: usize = 64;

/// A client's name for something, cut to what errors repeat of it.
pub(crate) fn shown(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(NAME_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

/// Where the problem types are explained.
const TYPE_BASE: &str = "https://trunkline.dev/problems/";
/// IANA "HTTP Problem Types" registry (draft-ietf-httpapi-ratelimit-headers).
const TYPE_QUOTA: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// The same registry.
const TYPE_REDUCED: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// Stable codes. The variants stand in the order of [`Code::TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    MalformedJson,
    IdempotencyKeyMissing,
    InvalidCursor,
    Unauthenticated,
    InsufficientScope,
    TenantMismatch,
    SenderNotAllowed,
    OverrideNotAllowed,
    NotFound,
    NotAvailableHere,
    MethodNotAllowed,
    NotAcceptable,
    InvalidState,
    AlreadyFinal,
    RequestTimeout,
    UnsupportedMediaType,
    BodyTooLarge,
    BatchTooLarge,
    InvalidRequest,
    NotAvailable,
    IdempotencyKeyReused,
    InvalidRecipient,
    PlanRequired,
    ContentMissing,
    PayloadTooLarge,
    TooManySegments,
    ExpiresBeforeSend,
    ChannelNotEnabled,
    NoRoute,
    Suppressed,
    QuotaExceeded,
    Internal,
    Overloaded,
    StoreUnavailable,
    ShuttingDown,
}

impl Code {
    /// Code, HTTP status, title.
    pub(crate) const TABLE: [(Self, &'static str, u16, &'static str); 35] = [
        (
            Self::MalformedJson,
            "malformed_json",
            400,
            "Body is not JSON",
        ),
        (
            Self::IdempotencyKeyMissing,
            "idempotency_key_missing",
            400,
            "Idempotency-Key is required",
        ),
        (
            Self::InvalidCursor,
            "invalid_cursor",
            400,
            "Cursor is not valid",
        ),
        (
            Self::Unauthenticated,
            "unauthenticated",
            401,
            "Credential is missing or not valid",
        ),
        (
            Self::InsufficientScope,
            "insufficient_scope",
            403,
            "Key lacks a scope",
        ),
        (
            Self::TenantMismatch,
            "tenant_mismatch",
            403,
            "Key is not of this tenant",
        ),
        (
            Self::SenderNotAllowed,
            "sender_not_allowed",
            403,
            "Sender is not allowed",
        ),
        (
            Self::OverrideNotAllowed,
            "override_not_allowed",
            403,
            "Key may not ignore policy",
        ),
        (Self::NotFound, "not_found", 404, "Not found"),
        (
            Self::NotAvailableHere,
            "not_available",
            404,
            "Endpoint is not in this version",
        ),
        (
            Self::MethodNotAllowed,
            "method_not_allowed",
            405,
            "Method is not allowed here",
        ),
        (
            Self::NotAcceptable,
            "not_acceptable",
            406,
            "No acceptable media type",
        ),
        (
            Self::InvalidState,
            "invalid_state",
            409,
            "Not in this state",
        ),
        (Self::AlreadyFinal, "already_final", 409, "It is final"),
        (
            Self::RequestTimeout,
            "request_timeout",
            408,
            "Body did not arrive in time",
        ),
        (
            Self::UnsupportedMediaType,
            "unsupported_media_type",
            415,
            "Media type is not supported",
        ),
        (
            Self::BodyTooLarge,
            "body_too_large",
            413,
            "Body is too large",
        ),
        (
            Self::BatchTooLarge,
            "batch_too_large",
            413,
            "Batch is too large",
        ),
        (
            Self::InvalidRequest,
            "invalid_request",
            422,
            "Request is not valid",
        ),
        (
            Self::NotAvailable,
            "not_available",
            422,
            "Field is not in this version",
        ),
        (
            Self::IdempotencyKeyReused,
            "idempotency_key_reused",
            422,
            "Idempotency key was used with another request",
        ),
        (
            Self::InvalidRecipient,
            "invalid_recipient",
            422,
            "Recipient is not valid",
        ),
        (
            Self::PlanRequired,
            "plan_required",
            422,
            "Several channels are possible",
        ),
        (
            Self::ContentMissing,
            "content_missing_for_channel",
            422,
            "Channel has no content",
        ),
        (
            Self::PayloadTooLarge,
            "payload_too_large",
            422,
            "Push is too large for its service",
        ),
        (
            Self::TooManySegments,
            "too_many_segments",
            422,
            "Text takes too many segments",
        ),
        (
            Self::ExpiresBeforeSend,
            "expires_before_send",
            422,
            "Expires before it can be sent",
        ),
        (
            Self::ChannelNotEnabled,
            "channel_not_enabled",
            422,
            "Channel is not enabled",
        ),
        (Self::NoRoute, "no_route", 422, "No route for this message"),
        (
            Self::Suppressed,
            "suppressed",
            422,
            "Recipient is suppressed",
        ),
        (
            Self::QuotaExceeded,
            "quota_exceeded",
            429,
            "Ingress rate exceeded",
        ),
        (Self::Internal, "internal", 500, "Internal error"),
        (
            Self::Overloaded,
            "overloaded",
            503,
            "Backlog is at its limit",
        ),
        (
            Self::StoreUnavailable,
            "store_unavailable",
            503,
            "Store takes no messages now",
        ),
        (
            Self::ShuttingDown,
            "shutting_down",
            503,
            "Gateway is shutting down",
        ),
    ];

    fn row(self) -> (&'static str, u16, &'static str) {
        // A test holds the table to the declaration order.
        let (_, code, status, title) = Self::TABLE[self as usize];
        (code, status, title)
    }

    /// The contract's word.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// Its HTTP status.
    pub(crate) fn status(self) -> u16 {
        self.row().1
    }

    fn retryable(self) -> bool {
        matches!(self.status(), 408 | 429 | 500..)
    }

    fn type_uri(self) -> Cow<'static, str> {
        match self.status() {
            429 => TYPE_QUOTA.into(),
            503 => TYPE_REDUCED.into(),
            _ => format!("{TYPE_BASE}{}", self.name()).into(),
        }
    }
}

/// What is wrong with one field, parameter or header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// JSON pointer (RFC 6901) into the body; for an item of a batch, into the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// Name of the query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// Name of the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) header: Option<&'static str>,
    /// A stable word.
    #[schema(value_type = String, example = "out_of_range")]
    pub(crate) code: &'static str,
    /// What was expected.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    pub(crate) detail: Cow<'static, str>,
    /// The problem that this is when it stands alone.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) cause: Cause,
    /// The scope that the key lacks, when that is the mistake.
    #[serde(skip)]
    #[schema(ignore)]
    lacks: Option<Scope>,
}

/// The code of a problem that has only one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause(pub(crate) Code);

impl Default for Cause {
    fn default() -> Self {
        Self(Code::InvalidRequest)
    }
}

impl FieldError {
    /// An error at a JSON pointer.
    pub(crate) fn at(
        pointer: impl Into<String>,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            header: None,
            code,
            detail: detail.into(),
            cause: Cause::default(),
            lacks: None,
        }
    }

    /// An error of a query parameter.
    pub(crate) fn parameter(
        name: &str,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            pointer: None,
            parameter: Some(shown(name).into_owned()),
            ..Self::at("", code, detail)
        }
    }

    /// An error of a header.
    pub(crate) fn header(
        name: &'static str,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            pointer: None,
            header: Some(name),
            ..Self::at("", code, detail)
        }
    }

    /// With the code that the problem has when this is its only cause, which is a scope that the key
    /// lacks.
    pub(crate) fn lacking(self, code: Code, scope: Scope) -> Self {
        Self {
            lacks: Some(scope),
            ..self.alone(code)
        }
    }

    /// With the code that the problem has when this is its only cause.
    pub(crate) fn alone(mut self, code: Code) -> Self {
        self.cause = Cause(code);
        self
    }
}

/// A problem on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) errors: Vec<FieldError>,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u64>,
    /// A header that belongs to the status: `Allow`, `WWW-Authenticate`.
    pub(crate) header: Option<Box<(&'static str, String)>>,
    /// The rate headers, when the tenant has a rate.
    pub(crate) rate: Option<Box<RateHeaders>>,
}

impl Problem {
    /// A problem without field errors.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            header: None,
            rate: None,
        }
    }

    /// The problem that these field errors make; they are not empty.
    pub(crate) fn of(mut errors: Vec<FieldError>) -> Self {
        let first = errors.first().map_or(Code::InvalidRequest, |e| e.cause.0);
        let same = errors.iter().all(|error| error.cause.0 == first);
        let detail = match errors.len() {
            1 => Cow::Borrowed("1 field is not valid"),
            n @ ..=ERRORS_MAX => Cow::Owned(format!("{n} fields are not valid")),
            // How many more is not known: who looks for them stops as well.
            _ => Cow::Owned(format!("more than {ERRORS_MAX} fields are not valid")),
        };
        errors.truncate(ERRORS_MAX);
        let code = if same { first } else { Code::InvalidRequest };
        let lacks = errors.iter().find_map(|error| error.lacks);
        let problem = Self {
            errors,
            ..Self::new(code, detail)
        };
        match lacks.filter(|_| code.status() == 403) {
            Some(scope) => problem.challenged(scope),
            None => problem,
        }
    }

    /// A cursor in the query parameter `name` that cannot be.
    pub(crate) fn cursor(name: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        let error = FieldError::parameter(name, "invalid", detail.clone());
        Self {
            errors: vec![error],
            ..Self::new(Code::InvalidCursor, detail)
        }
    }

    /// With seconds after which to try again.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With the challenge of a key that lacks a scope (RFC 6750 §3.1).
    pub(crate) fn challenged(self, scope: Scope) -> Self {
        let scope = scope.name();
        let challenge =
            format!("Bearer realm=\"trunkline\", error=\"insufficient_scope\", scope=\"{scope}\"");
        self.with_header("www-authenticate", challenge)
    }

    /// With a header.
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some(Box::new((name, value.into())));
        self
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body. `instance` is the request's path.
    pub(crate) fn to_json(&self, instance: &str, request_id: &str) -> Vec<u8> {
        let (code, status, title) = self.code.row();
        let body = ProblemBody {
            r#type: self.code.type_uri(),
            title,
            status,
            code,
            detail: &self.detail,
            instance,
            request_id,
            retryable: self.code.retryable(),
            violated_policies: match status {
                429 => Some(&["msg"]),
                503 => Some(&[]),
                _ => None,
            },
            errors: &self.errors,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The short form inside a batch result.
    pub(crate) fn item(&self) -> ItemError<'_> {
        ItemError {
            code: self.code.name(),
            detail: &self.detail,
            errors: &self.errors,
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        // Seconds (chosen): a backlog drains within one, a disk is freed by retention or an operator,
        // a restart takes a few.
        let (code, after) = match refused {
            Refused::DiskFull => (Code::StoreUnavailable, 5),
            Refused::Overloaded => (Code::Overloaded, 1),
            Refused::Closed => (Code::ShuttingDown, 5),
        };
        Self::new(code, refused.to_string()).retry_after(after)
    }
}

/// RFC 9457 problem details with the contract's extension members.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    #[schema(value_type = String, format = "uri")]
    r#type: Cow<'static, str>,
    title: &'a str,
    status: u16,
    /// Stable: branch on this.
    #[schema(example = "invalid_request")]
    code: &'a str,
    detail: &'a str,
    /// The request's path.
    instance: &'a str,
    /// As in `Trunkline-Request-Id`.
    request_id: &'a str,
    /// Whether the same request can work later.
    retryable: bool,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    violated_policies: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<FieldError>>)]
    errors: &'a [FieldError],
}

/// The error of one item of a batch.
#[derive(Serialize, ToSchema)]
pub(crate) struct ItemError<'a> {
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<FieldError>>)]
    errors: &'a [FieldError],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_declaration_order() {
        for (index, row) in Code::TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
        }
    }

    #[test]
    fn one_cause_names_the_problem_and_two_do_not() {
        let recipient = FieldError::at("/to", "not_e164", "").alone(Code::InvalidRecipient);
        let range = FieldError::at("/ttl", "out_of_range", "");
        assert_eq!(
            Problem::of(vec![recipient.clone()]).code,
            Code::InvalidRecipient
        );
        let both = Problem::of(vec![recipient, range]);
        assert_eq!((both.code, both.errors.len()), (Code::InvalidRequest, 2));
    }

    #[test]
    fn errors_are_bounded() {
        let many = vec![FieldError::at("/x", "unknown_field", ""); 500];
        let problem = Problem::of(many);
        assert_eq!(problem.errors.len(), ERRORS_MAX);
        assert_eq!(problem.detail, "more than 32 fields are not valid");
        let long = FieldError::parameter(&"å".repeat(1000), "unknown_parameter", "");
        assert_eq!(long.parameter.unwrap().chars().count(), NAME_MAX + 1);
    }

    #[test]
    fn a_problem_reads_as_the_contract_shows_it() {
        let problem = Problem::of(vec![FieldError::at(
            "/ttl",
            "out_of_range",
            "must be 10..2419200",
        )]);
        let json: serde_json::Value =
            serde_json::from_slice(&problem.to_json("/v1/messages", "req_1")).unwrap();
        assert_eq!(
            json["type"],
            "https://trunkline.dev/problems/invalid_request"
        );
        assert_eq!(json["status"], 422);
        assert_eq!(json["retryable"], false);
        assert_eq!(json["errors"][0]["pointer"], "/ttl");
        assert!(json.get("violated-policies").is_none());
        assert!(json["errors"][0].get("parameter").is_none());
    }

    #[test]
    fn refusals_of_the_store_say_when_to_come_back() {
        for (refused, code) in [
            (Refused::DiskFull, "store_unavailable"),
            (Refused::Overloaded, "overloaded"),
            (Refused::Closed, "shutting_down"),
        ] {
            let problem = Problem::from(refused);
            assert_eq!(
                (problem.code.name(), problem.status().as_u16()),
                (code, 503)
            );
            assert!(problem.retry_after.is_some());
            let json: serde_json::Value =
                serde_json::from_slice(&problem.to_json("/", "")).unwrap();
            assert_eq!(json["type"], TYPE_REDUCED);
            assert_eq!(json["violated-policies"], serde_json::json!([]));
            assert_eq!(json["retryable"], true);
        }
    }

    #[test]
    fn a_quota_problem_names_the_policy() {
        let problem = Problem::new(Code::QuotaExceeded, "").retry_after(1);
        let json: serde_json::Value = serde_json::from_slice(&problem.to_json("/", "")).unwrap();
        assert_eq!(json["type"], TYPE_QUOTA);
        assert_eq!(json["violated-policies"][0], "msg");
    }
}
