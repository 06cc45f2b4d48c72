//! Checking: a request's values against contract.md §1, all errors at once; a [`Message`] when good.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::request::Request;
use crate::accept::shape::{below, is_told};
use crate::accept::{Door, PlanError, PlanRequest, Planned, Scope, Why};
use crate::clock::UnixMs;
use crate::message::{
    Channel, Class, FailoverOn, Message, MessageId, OnAmbiguous, Phone, Policy, Priority, TenantIx,
    Texts, TextsTooLong,
};
use crate::names::Names;

mod callback;
mod content;
mod labels;
mod push;
mod recipient;
mod steps;
#[cfg(test)]
pub(crate) mod tests;
mod tlvs;

pub(crate) use callback::is_event_type;
pub(crate) use content::Content;
pub(crate) use labels::{CLIENT_REF_OCTETS_MAX, is_tag};
pub(crate) use push::{Payload, Payloads};
pub(crate) use steps::PushApp;

/// Characters of `from` (contract.md §1).
const FROM_MAX: usize = 64;
/// Octets of source_addr without its NUL (SMPP v3.4 §4.4.1).
const SMS_FROM_MAX: usize = 20;
/// Seconds of `ttl` (contract.md §1; 28 days).
const TTL: std::ops::RangeInclusive<i64> = 10..=2_419_200;
/// Default of `failover.max_routes` (contract.md §1).
const ROUTES_DEFAULT: usize = 3;
const TEXTS_TOO_LONG: &str = "the texts are longer than 64 KiB together";

/// Where a request comes from: what it does not say itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) tenant: TenantIx,
    pub(crate) batch: Option<MessageId>,
    /// The W3C traceparent header, valid or empty.
    pub(crate) traceparent: &'a str,
    /// Whether the key has the scope `policy:override`.
    pub(crate) overrides: bool,
    /// Whether the key has the scope `messages:raw`.
    pub(crate) raw: bool,
    /// Now: a `ttl` counts from here.
    pub(crate) now: UnixMs,
}

/// A checked request, and why it became what it is.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) message: Message,
    /// Of its SMS.
    pub(crate) why: Why,
    /// Of its push.
    pub(crate) push: PushWhy,
}

/// Why a push became what it is; empty where there is none.
#[derive(Debug, Default)]
pub(crate) struct PushWhy {
    pub(crate) payloads: Payloads,
    pub(crate) apps: Vec<PushApp>,
}

/// Collects what is wrong.
struct Check<'a> {
    door: &'a Door,
    origin: Origin<'a>,
    /// Errors; the first `shapes` of them are of shapes.
    errors: Vec<FieldError>,
    shapes: usize,
}

/// Checks an expanded (and, in a batch, merged) request and plans it. `errors` are those of its shape;
/// `sugar` says that its text came as `text`.
///
/// # Errors
/// The problem that all its errors make.
pub(crate) fn message(
    door: &Door,
    request: &Request<'_>,
    sugar: bool,
    errors: Vec<FieldError>,
    origin: Origin<'_>,
) -> Result<Message, Problem> {
    planned(door, request, sugar, errors, origin).map(|checked| checked.message)
}

/// As [`message`]; also why it became what it is.
///
/// # Errors
/// As [`message`].
pub(crate) fn planned(
    door: &Door,
    request: &Request<'_>,
    sugar: bool,
    errors: Vec<FieldError>,
    origin: Origin<'_>,
) -> Result<Checked, Problem> {
    let mut check = Check {
        door,
        origin,
        shapes: errors.len(),
        errors,
    };
    let wanted = check.wanted(request);
    let to = check.phone(request, wanted.sms);
    let audience = check.audience(request, wanted.push).filter(|_| wanted.push);
    let from = check.from(request, wanted.sms);
    let class = check.class(request);
    let content = check.content(request, sugar, wanted.sms);
    let app_receipts = wanted != steps::Wanted::NONE && check.receipts(request, audience.as_ref());
    let (push, payloads) = check.push(request, sugar, audience.as_ref(), app_receipts);
    let asked = check.steps(request, class, wanted);
    let priority = check.priority(request, class);
    let on_ambiguous = check.on_ambiguous(request, class);
    let expires_at = check.lifetime(request, class);
    let policy = check.policy(request);
    let tags = check.tags(request);
    let metadata = check.metadata(request.metadata.as_ref());
    let tracking = check.tracking(request.tracking.as_ref());
    check.client_ref(request);
    let (callback, callback_types) = check.callback(request);
    if !check.errors.is_empty() {
        return Err(Problem::of(check.errors));
    }
    let sms = asked.iter().find(|one| one.step.channel == Channel::Sms);
    let (planned, body) = match (sms, to) {
        (Some(sms), Some(to)) => {
            sms_of(door, &content, (origin.tenant, class, to), sms.max_routes)?
        }
        _ => (Planned::default(), Cow::Borrowed("")),
    };
    let url = request.callback.as_ref().and_then(|c| c.url.as_deref());
    let texts = [
        from,
        &body,
        request.client_ref.as_deref().unwrap_or_default(),
        &tags,
        &metadata,
        &tracking,
        origin.traceparent,
        url.unwrap_or_default(),
        &callback_types,
        &push,
    ];
    // The rest is the store's to give.
    let mut message = Message {
        tenant: origin.tenant,
        to: to.unwrap_or_default(),
        class,
        priority,
        on_ambiguous,
        failover_on: sms.map_or_else(FailoverOn::default, |sms| sms.step.failover_on),
        encoding: planned.encoding,
        segments: planned.segments,
        sms: planned.sms,
        callback,
        batch: origin.batch,
        policy,
        expires_at,
        routes: planned.routes,
        texts: Texts::pack(texts).map_err(too_long)?,
        ..Message::default()
    };
    // One SMS, as nearly all messages are, follows from its own fields.
    let apps = audience.map_or_else(Vec::new, |audience| {
        steps::lay_out(door, &mut message, &asked, (audience, app_receipts))
    });
    let (why, push) = (planned.why, PushWhy { payloads, apps });
    Ok(Checked { message, why, push })
}

/// How an SMS goes out, and its body.
fn sms_of<'r>(
    door: &Door,
    content: &Content<'r>,
    (tenant, class, to): (TenantIx, Class, Phone),
    max_routes: usize,
) -> Result<(Planned, Cow<'r, str>), Problem> {
    let request = PlanRequest {
        tenant,
        class,
        to,
        max_routes,
        content,
    };
    let mut planned = plan(door, request)?;
    let body = content.body(planned.text.take());
    Ok((planned, body))
}

/// Cannot happen: the limits of the texts sum up to less than 64 KiB.
fn too_long(_: TextsTooLong) -> Problem {
    Problem::new(Code::BodyTooLarge, TEXTS_TOO_LONG)
}

fn plan(door: &Door, request: PlanRequest<'_>) -> Result<Planned, Problem> {
    let content = request.content;
    let planned = door.planner.plan(request);
    let planned = planned.and_then(|planned| match planned.segments {
        2.. if content.is_part => Err(PlanError::PartOfParts),
        _ => Ok(planned),
    });
    planned.map_err(|error| Problem::of(vec![plan_error(error, content, &door.names)]))
}

fn plan_error(error: PlanError, content: &Content<'_>, names: &Names) -> FieldError {
    match error {
        PlanError::TooManySegments { needed, max } => FieldError::at(
            if content.data.is_some() {
                "/content/sms/data"
            } else {
                content.at
            },
            "too_many_segments",
            format!("takes {needed} segments, max_segments is {max}"),
        )
        .alone(Code::TooManySegments),
        PlanError::NotRepresentable => FieldError::at(
            "/content/sms/encoding",
            "not_representable",
            "the text has characters that this encoding lacks",
        ),
        PlanError::NotOnRoute => FieldError::at(
            "/content/sms/encoding",
            "not_representable",
            "a candidate route writes data_coding 0 in an alphabet that lacks this text, or flash as \
             UCS-2: leave the encoding to auto",
        ),
        PlanError::PartOfParts => FieldError::at(
            "/content/sms/udh",
            "exclusive",
            "says that the data is one part, but the data takes several segments: send each part as a \
             message, or leave the concatenation to the gateway",
        ),
        PlanError::Tlv(refusal) => tlvs::refused(refusal, &content.tlvs, names),
    }
}

impl<'a> Check<'a> {
    /// Adds an error, unless the field's shape is wrong already.
    fn add(&mut self, error: FieldError) {
        if !is_told(&self.errors[..self.shapes], &error) {
            self.errors.push(error);
        }
    }

    fn wrong(&mut self, at: &str, code: &'static str, detail: impl Into<Cow<'static, str>>) {
        self.add(FieldError::at(at, code, detail));
    }

    fn from<'r>(&mut self, request: &'r Request<'_>, wanted: bool) -> &'r str {
        let Some(from) = request.from.as_deref() else {
            if wanted {
                self.wrong("/from", "required", "a sender on the tenant's list");
            }
            return "";
        };
        if from.is_empty() || from.chars().count() > FROM_MAX {
            self.wrong("/from", "out_of_range", "must have 1..64 characters");
        } else if from.len() > SMS_FROM_MAX || !from.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            let detail = "an sms sender has at most 20 ASCII characters";
            self.wrong("/from", "invalid_sender", detail);
        } else if !self.sender_allowed(from) {
            self.add(
                FieldError::at("/from", "sender_not_allowed", "not on the tenant's list")
                    .alone(Code::SenderNotAllowed),
            );
        }
        from
    }

    fn sender_allowed(&self, from: &str) -> bool {
        let tenant = self.door.tenants.get(&self.origin.tenant);
        // The list names pools as well, which are no senders.
        let pool = from.starts_with("pool:");
        !pool && tenant.is_some_and(|t| t.senders.any || t.senders.listed.contains(from))
    }

    fn class(&mut self, request: &Request<'_>) -> Class {
        let Some(word) = request.class.as_deref() else {
            return Class::default();
        };
        Class::from_name(word).unwrap_or_else(|| {
            let detail = "must be otp, transactional, conversational or promotional";
            self.wrong("/class", "not_one_of", detail);
            Class::default()
        })
    }

    fn integer(
        &mut self,
        at: &str,
        value: Option<i64>,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let value = value?;
        if range.contains(&value) {
            return Some(value);
        }
        let detail = format!("must be {}..{}", range.start(), range.end());
        self.wrong(at, "out_of_range", detail);
        None
    }

    fn priority(&mut self, request: &Request<'_>, class: Class) -> Priority {
        match request.priority.as_deref() {
            Some("high") => Priority::High,
            Some("normal") => Priority::Normal,
            Some("low") => Priority::Low,
            Some(_) => {
                self.wrong("/priority", "not_one_of", "must be high, normal or low");
                Priority::Normal
            }
            None => match class {
                Class::Otp => Priority::High,
                Class::Transactional | Class::Conversational => Priority::Normal,
                Class::Promotional => Priority::Low,
            },
        }
    }

    fn on_ambiguous(&mut self, request: &Request<'_>, class: Class) -> OnAmbiguous {
        let word = request
            .policy
            .as_ref()
            .and_then(|p| p.on_ambiguous.as_deref());
        match (word, class) {
            (Some("retry"), _) => OnAmbiguous::Retry,
            (Some("hold"), _) | (None, Class::Promotional) => OnAmbiguous::Hold,
            (None, _) => OnAmbiguous::Retry,
            (Some(_), _) => {
                self.wrong(
                    "/policy/on_ambiguous",
                    "not_one_of",
                    "must be retry or hold",
                );
                OnAmbiguous::Retry
            }
        }
    }

    fn policy(&mut self, request: &Request<'_>) -> Policy {
        let policy = request.policy.as_ref();
        let at = "/policy/suppressions";
        let ignores_suppressions = match policy.and_then(|p| p.suppressions.as_deref()) {
            None | Some("respect") => false,
            Some("ignore") => {
                if !self.origin.overrides {
                    let detail = "ignore needs the scope policy:override";
                    let error = FieldError::at(at, "override_not_allowed", detail);
                    self.add(error.lacking(Code::OverrideNotAllowed, Scope::PolicyOverride));
                }
                true
            }
            Some(_) => {
                self.wrong(at, "not_one_of", "must be respect or ignore");
                false
            }
        };
        Policy {
            ignores_suppressions,
            refused: None,
        }
    }

    fn lifetime(&mut self, request: &Request<'_>, class: Class) -> UnixMs {
        let now = self.origin.now;
        if let Some(text) = request.expires_at.as_deref() {
            return self.expires_at(text);
        }
        let ttl = self.integer("/ttl", request.ttl, TTL);
        let by_class = match class {
            Class::Otp => 300,
            Class::Transactional | Class::Conversational => 86_400,
            Class::Promotional => 14_400,
        };
        let seconds = ttl
            .and_then(|ttl| u64::try_from(ttl).ok())
            .unwrap_or(by_class);
        now.plus(Duration::from_secs(seconds))
    }

    fn expires_at(&mut self, text: &str) -> UnixMs {
        let now = self.origin.now;
        let Some(at) = timestamp(text) else {
            self.wrong("/expires_at", "not_rfc3339", NOT_RFC3339);
            return now;
        };
        let longest = Duration::from_secs(u64::try_from(*TTL.end()).unwrap_or(u64::MAX));
        if at <= now {
            self.add(
                FieldError::at(
                    "/expires_at",
                    "expires_before_send",
                    "must be in the future",
                )
                .alone(Code::ExpiresBeforeSend),
            );
        } else if at.since(now) > longest {
            self.wrong(
                "/expires_at",
                "out_of_range",
                "must be at most 28 days ahead",
            );
        }
        at
    }
}

/// What is expected of a time.
pub(crate) const NOT_RFC3339: &str = "must be RFC 3339 in UTC, as in 2026-11-21T08:00:00.000Z";

/// Reads RFC 3339 in UTC.
pub(crate) fn timestamp(text: &str) -> Option<UnixMs> {
    let at: SystemTime = humantime::parse_rfc3339(text).ok()?;
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(UnixMs)
}

/// A W3C traceparent (version 00) that is well formed; anything else is ignored, as the
/// recommendation asks (Trace Context §3.2), also one that comes twice.
pub(crate) fn traceparent(headers: &hyper::HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let shape = [2, 32, 16, 2];
    let sound = shape.iter().all(|length| {
        parts
            .next()
            .is_some_and(|part| part.len() == *length && hex(part))
    });
    (sound && parts.next().is_none() && text.starts_with("00")).then_some(text)
}
