//! Suppressions: who is not to be sent to, read and changed by the tenant's own staff.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderValue, LINK, LOCATION};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use crate::accept::answer::{self, Body};
use crate::accept::check::{NOT_RFC3339, timestamp};
use crate::accept::list::{Parameters, next_link, purpose, read_cursor, write_cursor};
use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::request::object;
use crate::accept::router::Asked;
use crate::accept::shape::{Fields, Shape, Shaped, with_values};
use crate::accept::view::{At, Shown};
use crate::accept::{Gateway, auth, body};
use crate::clock::UnixMs;
use crate::event::render::suppressed::ScopeView;
use crate::message::id::PublicId;
use crate::message::{Class, Ids, Phone};
use crate::names::Names;
use crate::store::{NewSuppression, Suppressed, SuppressionQuery, SuppressionsFull};
use crate::suppression::{Cause, Key, Scope, Source, Suppression, is_sender};

mod csv;
pub(crate) mod export;
pub(crate) mod import;

/// Characters of `text` (chosen: a sentence or two of why).
const TEXT_MAX: usize = 255;

/// The parameters of `GET /v1/suppressions`.
pub(crate) const KNOWN: [&str; 7] = [
    "phone", "scope", "source", "since", "until", "limit", "cursor",
];
/// The parameters of `DELETE /v1/suppressions/{id}`.
pub(crate) const DELETE_KNOWN: [&str; 1] = ["text"];

/// A suppression.
#[derive(Serialize, ToSchema)]
#[schema(as = Suppression)]
pub(crate) struct SuppressionView<'a> {
    #[schema(value_type = String, example = "sup_01JD9Z6Q8W3M5T7R2K4N6P8V0X")]
    id: PublicId,
    tenant: &'a str,
    #[schema(value_type = String, example = "+46701234567")]
    phone: Shown<Phone>,
    /// `{kind, value}`: what it covers.
    #[schema(value_type = ScopeIn)]
    scope: ScopeView<'a>,
    /// `keyword`, `api` or `import`.
    source: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    keyword: &'a str,
    /// What the recipient wrote, or why it was added.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    inbound_id: Option<PublicId>,
    /// The name of the key that added it.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    by: &'a str,
    #[schema(value_type = String, format = DateTime)]
    created_at: At,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<At>,
}

/// A page of suppressions.
#[derive(Serialize, ToSchema)]
#[schema(as = SuppressionPage)]
pub(crate) struct PageView<'a> {
    data: Vec<SuppressionView<'a>>,
    /// Opaque; lives 24 hours.
    next_cursor: Option<String>,
    has_more: bool,
}

/// Whether a message would be kept back.
#[derive(Serialize, ToSchema)]
#[schema(as = SuppressionVerdict)]
pub(crate) struct VerdictView<'a> {
    suppressed: bool,
    /// What keeps it back; one of them when there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    suppression: Option<SuppressionView<'a>>,
}

/// What a suppression covers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SuppressionScope)]
pub(crate) struct ScopeIn {
    /// `all`, `sender`, `channel` or `class`.
    #[schema(value_type = String, required)]
    kind: Option<String>,
    /// The sender, `sms` or `push`, or the class; absent for `all`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    value: String,
}

/// Somebody not to be sent to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddSuppression)]
pub(crate) struct AddIn {
    /// E.164.
    #[schema(value_type = String, required)]
    phone: Option<String>,
    /// All when absent.
    #[serde(default, deserialize_with = "object")]
    scope: Option<ScopeIn>,
    /// Why: at most 255 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    text: String,
    /// RFC 3339; never when absent.
    expires_at: Option<String>,
}

/// A message that might be sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CheckSuppression)]
pub(crate) struct CheckIn {
    /// E.164.
    #[schema(value_type = String, required)]
    phone: Option<String>,
    /// The sender; without one, only what covers every sender counts.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    from: String,
    /// `transactional` when absent.
    class: Option<String>,
}

impl Shaped for ScopeIn {
    const FIELDS: Fields = &[("kind", Shape::Text), ("value", Shape::Text)];
}

impl Shaped for AddIn {
    const FIELDS: Fields = &[
        ("expires_at", Shape::Text),
        ("phone", Shape::Text),
        ("scope", Shape::Object(ScopeIn::FIELDS)),
        ("text", Shape::Text),
    ];
}

impl Shaped for CheckIn {
    const FIELDS: Fields = &[
        ("class", Shape::Text),
        ("from", Shape::Text),
        ("phone", Shape::Text),
    ];
}

fn view<'a>(one: &'a Suppression, ids: Ids, names: &'a Names) -> SuppressionView<'a> {
    let (key, cause) = (&one.key, &one.cause);
    SuppressionView {
        id: ids.suppression(one.id),
        tenant: names.tenant(key.tenant),
        phone: Shown(key.phone),
        scope: (&key.scope).into(),
        source: cause.source.name(),
        keyword: &cause.keyword,
        text: &cause.text,
        inbound_id: cause.inbound.map(|id| ids.inbound(id)),
        by: &cause.by,
        created_at: At(one.created_at),
        expires_at: one.expires_at.map(At),
    }
}

/// Answers `GET /v1/suppressions`.
pub(crate) async fn list(gateway: &Arc<Gateway>, asked: &Asked) -> Result<Response<Body>, Problem> {
    let mut p = Parameters::read(asked.parts.uri.query(), &KNOWN);
    let mut query = SuppressionQuery {
        tenant: asked.principal.tenant,
        // A plus that was not encoded reads as a space.
        phone: p.parsed("phone", "must be E.164", |text| {
            Phone::parse(text).or_else(|| Phone::from_digits(text.strip_prefix(' ')?.as_bytes()))
        }),
        scope: p.parsed("scope", SCOPE_WORD, |word| {
            let (kind, value) = word.split_once(':').unwrap_or((word, ""));
            Scope::parse(kind, value)
        }),
        source: p.parsed(
            "source",
            "must be keyword, api or import",
            Source::from_name,
        ),
        since: p.parsed("since", NOT_RFC3339, timestamp),
        until: p.parsed("until", NOT_RFC3339, timestamp),
        before: None,
        limit: p.limit(),
    };
    if !p.errors.is_empty() {
        return Err(Problem::of(p.errors));
    }
    if asked.wants_csv() {
        // A file has everything, of one tenant: its lines do not name it.
        for name in ["limit", "cursor"] {
            if p.get(name).is_some() {
                let detail = "text/csv has the whole list";
                p.errors
                    .push(FieldError::parameter(name, "exclusive", detail));
            }
        }
        if !p.errors.is_empty() {
            return Err(Problem::of(p.errors));
        }
        query.tenant = Some(asked.principal.sending_tenant()?);
        return export::export(gateway, query).await;
    }
    let now = gateway.door.clock.now();
    let narrowed = SuppressionQuery {
        limit: 0,
        ..query.clone()
    };
    let made_for = purpose(&narrowed);
    if let Some(cursor) = p.get("cursor") {
        query.before = Some(read_cursor(cursor, made_for, now)?);
    }
    let page = gateway.store.suppressions(query).await;
    let page = page.ok_or_else(unreadable)?;
    let next_cursor = page.next.map(|next| write_cursor(next, made_for, now));
    let (ids, names) = (gateway.store.ids(), &gateway.door.names);
    let view = PageView {
        data: page
            .suppressions
            .iter()
            .map(|one| view(one, ids, names))
            .collect(),
        has_more: next_cursor.is_some(),
        next_cursor,
    };
    let mut response = answer::json(StatusCode::OK, &view)?;
    if let Some(cursor) = &view.next_cursor
        && let Ok(link) = HeaderValue::try_from(next_link(asked, cursor))
    {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// What is expected of `scope` as a parameter.
const SCOPE_WORD: &str = "must be all, sender:VALUE, channel:sms, channel:push or class:VALUE";

/// Answers `POST /v1/suppressions`: 201 when it is on disk, 200 when the same was there.
pub(crate) async fn add<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    body: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let tenant = asked.principal.sending_tenant()?;
    let read = body::read(gateway, &asked.parts.headers, body).await?;
    let (request, shapes): (AddIn, _) = read;
    let mut errors = Vec::new();
    let phone = needed_phone(request.phone.as_deref(), &mut errors);
    let scope = scope(request.scope.as_ref(), &mut errors);
    let expires_at = expires_at(
        request.expires_at.as_deref(),
        gateway.door.clock.now(),
        &mut errors,
    );
    if request.text.chars().count() > TEXT_MAX {
        errors.push(FieldError::at("/text", "out_of_range", TOO_LONG));
    }
    let errors = with_values(shapes, errors);
    if !errors.is_empty() {
        return Err(Problem::of(errors));
    }
    let new = NewSuppression {
        key: Key {
            tenant,
            phone,
            scope,
        },
        cause: cause(gateway, asked, &request.text),
        expires_at,
    };
    let done = gateway.store.suppress(vec![new]).await?;
    let (id, status) = match done.first() {
        Some(Suppressed::Added(id)) => (*id, StatusCode::CREATED),
        Some(Suppressed::There(id)) => (*id, StatusCode::OK),
        Some(Suppressed::Full(full)) => return Err(too_many(*full)),
        None => return Err(Problem::new(Code::Internal, "the store gave no answer")),
    };
    let record = gateway.store.suppression(id).await;
    let record = record
        .ok_or_else(|| Problem::new(Code::Internal, "the suppression is not there any more"))?;
    let (ids, names) = (gateway.store.ids(), &gateway.door.names);
    let mut response = answer::json(status, &view(&record.suppression, ids, names))?;
    let location = format!("/v1/suppressions/{}", ids.suppression(id));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Answers `DELETE /v1/suppressions/{id}`: 204 when its end is on disk.
pub(crate) async fn delete(
    gateway: &Arc<Gateway>,
    asked: &Asked,
) -> Result<Response<Body>, Problem> {
    let mut p = Parameters::read(asked.parts.uri.query(), &DELETE_KNOWN);
    let text = p.parsed("text", TOO_LONG, |text| {
        (text.chars().count() <= TEXT_MAX).then(|| text.to_owned())
    });
    if !p.errors.is_empty() {
        return Err(Problem::of(p.errors));
    }
    let missing = || Problem::new(Code::NotFound, "there is no such suppression");
    let id = gateway.store.ids().parse_suppression(&asked.name);
    let id = id.ok_or_else(missing)?;
    let cause = cause(gateway, asked, &text.unwrap_or_default());
    let tenant = asked.principal.tenant;
    let ended = gateway.store.unsuppress(tenant, id, cause).await?;
    ended.ok_or_else(missing)?;
    let mut response = answer::json_bytes(StatusCode::NO_CONTENT, Bytes::new());
    answer::without_body(&mut response);
    response.headers_mut().remove(hyper::header::CONTENT_TYPE);
    Ok(response)
}

/// Answers `POST /v1/suppressions/check`.
pub(crate) async fn check<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    body: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let tenant = asked.principal.sending_tenant()?;
    let read = body::read(gateway, &asked.parts.headers, body).await?;
    let (request, shapes): (CheckIn, _) = read;
    let mut errors = Vec::new();
    let phone = needed_phone(request.phone.as_deref(), &mut errors);
    if !request.from.is_empty() && !is_sender(&request.from) {
        errors.push(FieldError::at("/from", "invalid_sender", SENDER));
    }
    let class = match request.class.as_deref() {
        None => Some(Class::default()),
        Some(word) => Class::from_name(word),
    };
    if class.is_none() {
        errors.push(FieldError::at("/class", "not_one_of", "must be a class"));
    }
    let errors = with_values(shapes, errors);
    if !errors.is_empty() {
        return Err(Problem::of(errors));
    }
    let class = class.unwrap_or_default();
    let hit = gateway
        .store
        .suppressed(tenant, phone, &request.from, class);
    let record = match hit {
        Some(id) => gateway.store.suppression(id).await,
        None => None,
    };
    let (ids, names) = (gateway.store.ids(), &gateway.door.names);
    let verdict = VerdictView {
        suppressed: hit.is_some(),
        suppression: record
            .as_ref()
            .map(|one| view(&one.suppression, ids, names)),
    };
    answer::json(StatusCode::OK, &verdict)
}

const TOO_LONG: &str = "must have at most 255 characters";
const SENDER: &str = "an sms sender has at most 20 ASCII characters";

fn needed_phone(text: Option<&str>, errors: &mut Vec<FieldError>) -> Phone {
    match text {
        Some(text) => phone(text, errors),
        None => {
            errors.push(FieldError::at("/phone", "required", "a number in E.164"));
            Phone::default()
        }
    }
}

fn phone(text: &str, errors: &mut Vec<FieldError>) -> Phone {
    Phone::parse(text).unwrap_or_else(|| {
        let error = FieldError::at("/phone", "not_e164", "must be + and 7 to 15 digits");
        errors.push(error.alone(Code::InvalidRecipient));
        Phone::default()
    })
}

fn scope(scope: Option<&ScopeIn>, errors: &mut Vec<FieldError>) -> Scope {
    let Some(scope) = scope else {
        return Scope::All;
    };
    let Some(kind) = scope.kind.as_deref() else {
        errors.push(FieldError::at("/scope/kind", "required", SCOPE_KIND));
        return Scope::All;
    };
    scope_of(kind, &scope.value, errors)
}

fn scope_of(kind: &str, value: &str, errors: &mut Vec<FieldError>) -> Scope {
    Scope::parse(kind, value).unwrap_or_else(|| {
        let known = ["all", "sender", "channel", "class"].contains(&kind);
        errors.push(match known {
            true => FieldError::at("/scope/value", "invalid", SCOPE_VALUE),
            false => FieldError::at("/scope/kind", "not_one_of", SCOPE_KIND),
        });
        Scope::All
    })
}

/// What is expected of a scope's kind.
const SCOPE_KIND: &str = "must be all, sender, channel or class";
/// What is expected of a scope's value.
const SCOPE_VALUE: &str =
    "none for all; 1..20 ASCII characters for sender; sms or push for channel; a class for class";

fn expires_at(text: Option<&str>, now: UnixMs, errors: &mut Vec<FieldError>) -> Option<UnixMs> {
    let text = text?;
    let at = timestamp(text);
    if at.is_none() {
        errors.push(FieldError::at("/expires_at", "not_rfc3339", NOT_RFC3339));
    } else if at <= Some(now) {
        let detail = "must be in the future";
        errors.push(FieldError::at("/expires_at", "out_of_range", detail));
    }
    at
}

fn cause(gateway: &Gateway, asked: &Asked, text: &str) -> Cause {
    Cause {
        source: Source::Api,
        by: auth::key_name(&gateway.door, &asked.parts.headers).into(),
        keyword: Box::default(),
        text: text.into(),
        inbound: None,
    }
}

/// The problem of a list that is full.
fn too_many(full: SuppressionsFull) -> Problem {
    // Not before an operator has raised the limit (chosen).
    Problem::new(Code::Overloaded, no_room(full)).retry_after(60)
}

/// What is full.
fn no_room(full: SuppressionsFull) -> &'static str {
    match full {
        SuppressionsFull::Memory => "limits.suppressions is used up",
        SuppressionsFull::Senders => "the tenant's scopes name too many different senders",
    }
}

/// The problem of a list that cannot be read: it must not look empty.
fn unreadable() -> Problem {
    Problem::new(Code::Internal, "the suppressions cannot be read")
}

/// A place among the streams, which bound what files hold in memory.
fn stream(gateway: &Gateway) -> Result<OwnedSemaphorePermit, Problem> {
    gateway.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "limits.ndjson_streams are in use").retry_after(1)
    })
}
