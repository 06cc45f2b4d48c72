//! One message per request: `POST /v1/messages`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Response, StatusCode};

use crate::accept::answer::{self, Body, Source};
use crate::accept::check::{self, Origin};
use crate::accept::ingress::{self, RateHeaders, Taken};
use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::request::{Request, merge, parse};
use crate::accept::router::Asked;
use crate::accept::{BODY_MAX, Door, Gateway, Scope, body, idempotency, view};
use crate::message::{Message, TenantIx};
use crate::outcome::Reason;
use crate::store::{Accepted, Draft, Store};

/// Answers `POST /v1/messages`.
pub(crate) async fn send<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    body: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let answered = accept(gateway, asked, body).await;
    if let Err(problem) = &answered {
        gateway.metrics.refused(Source::Single, problem.code);
    }
    answered
}

async fn accept<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    body: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let headers = &asked.parts.headers;
    let tenant = asked.principal.sending_tenant()?;
    let key = idempotency::header_key(headers)?;
    let form = (BODY_MAX, "; NDJSON goes to /v1/batches");
    let held = body::json(gateway, headers, body, form).await?;
    let draft = draft(gateway, asked, tenant, &held.bytes, key)?;
    let rate = take(&gateway.door, tenant, 1)?;
    drop(held);
    let class = draft.message.class;
    let accepted = gateway.store.accept(vec![draft]).await?;
    let accepted = accepted.into_iter().next();
    let (message, replayed) = match accepted {
        Some(Accepted::Stored(message)) => {
            gateway.metrics.accepted(Source::Single, class);
            (message, false)
        }
        Some(Accepted::Replayed(id)) => {
            gateway.metrics.replayed(Source::Single);
            let record = gateway.store.get(id).await;
            let record = record.ok_or_else(|| {
                Problem::new(
                    Code::Internal,
                    "the message of this key is not kept any more",
                )
            })?;
            (record.message, true)
        }
        Some(Accepted::KeyReused(_)) => return Err(key_reused()),
        Some(Accepted::Untouched) | None => {
            return Err(Problem::new(Code::Internal, "the store gave no answer"));
        }
    };
    respond(gateway, &message, replayed, rate.as_ref())
}

fn respond(
    gateway: &Gateway,
    message: &Message,
    replayed: bool,
    rate: Option<&RateHeaders>,
) -> Result<Response<Body>, Problem> {
    let names = &gateway.door.names;
    let mut response = view::accepted(message, gateway.store.ids(), names)?;
    let headers = response.headers_mut();
    let location = format!("/v1/messages/{}", gateway.store.ids().message(message.id));
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(LOCATION, location);
    }
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    if let Some(rate) = rate {
        answer::set_rate(&mut response, rate);
    }
    debug_assert_eq!(response.status(), StatusCode::ACCEPTED);
    Ok(response)
}

fn draft(
    gateway: &Gateway,
    asked: &Asked,
    tenant: TenantIx,
    json: &[u8],
    key: Option<Cow<'_, str>>,
) -> Result<Draft, Problem> {
    let door = &gateway.door;
    let (mut request, mut errors) = parse(json)?;
    without_key(&request, &mut errors);
    let sugar = merge::expand(&mut request, &mut errors);
    let origin = origin(door, asked, tenant);
    let key = key_of(door, tenant, key.as_deref(), &request)?;
    let message = check::message(door, &request, sugar, errors, origin)?;
    let strict = asked.strict().then_some(&gateway.store);
    lawful_or_not_strict(&message, strict)?;
    Ok(Draft { message, key })
}

/// Reports a key in the body, where only items of batches have theirs.
pub(crate) fn without_key(request: &Request<'_>, errors: &mut Vec<FieldError>) {
    if request.idempotency_key.is_some() {
        let detail = "single sends use the Idempotency-Key header";
        errors.push(FieldError::at(
            "/idempotency_key",
            "not_allowed_here",
            detail,
        ));
    }
}

/// Where a single message comes from.
pub(crate) fn origin<'a>(door: &Door, asked: &'a Asked, tenant: TenantIx) -> Origin<'a> {
    Origin {
        tenant,
        batch: None,
        traceparent: check::traceparent(&asked.parts.headers).unwrap_or_default(),
        overrides: asked.principal.scopes.has(Scope::PolicyOverride),
        raw: asked.principal.scopes.has(Scope::MessagesRaw),
        now: door.clock.now(),
    }
}

/// The store's key for a request, which must have one when the tenant says so.
///
/// # Errors
/// `idempotency_key_missing`.
pub(crate) fn key_of(
    door: &Door,
    tenant: TenantIx,
    key: Option<&str>,
    request: &Request<'_>,
) -> Result<Option<crate::store::IdempotencyKey>, Problem> {
    let Some(key) = key else {
        let required = door
            .tenants
            .get(&tenant)
            .is_some_and(|t| t.require_idempotency);
        return if required {
            let detail = "the tenant requires an idempotency key for every message";
            Err(Problem::new(Code::IdempotencyKeyMissing, detail))
        } else {
            Ok(None)
        };
    };
    Ok(Some(idempotency::of_message(tenant, key, request)))
}

/// Why a message would be rejected if it were accepted now; the same look as the store's own when it
/// accepts.
pub(crate) fn refusal(message: &Message, store: &Store) -> Option<Reason> {
    match store.would_reject(message) {
        true => Some(Reason::Suppressed),
        false => message.refused(),
    }
}

/// With `Prefer: handling=strict` a policy refusal is an error instead of an outcome; without it,
/// `strict` is `None`.
///
/// # Errors
/// `no_route`, `suppressed`.
pub(crate) fn lawful_or_not_strict(
    message: &Message,
    strict: Option<&Store>,
) -> Result<(), Problem> {
    let Some(store) = strict else { return Ok(()) };
    match refusal(message, store) {
        None => Ok(()),
        Some(Reason::Suppressed) => {
            let detail = "the recipient is suppressed: GET /v1/suppressions tells by what";
            Err(Problem::new(Code::Suppressed, detail))
        }
        Some(_) => {
            let detail = "no routing rule matches this message";
            Err(Problem::new(Code::NoRoute, detail))
        }
    }
}

/// The problem of a key that was used with another request.
pub(crate) fn key_reused() -> Problem {
    let detail = "the idempotency key was used with another request";
    Problem::new(Code::IdempotencyKeyReused, detail)
}

/// Takes `count` messages from the tenant's ingress rate.
///
/// # Errors
/// `quota_exceeded`, or `batch_too_large` when it is more than the burst.
pub(crate) fn take(
    door: &Door,
    tenant: TenantIx,
    count: u32,
) -> Result<Option<RateHeaders>, Problem> {
    match door.ingress.take(tenant, count, door.clock.instant()) {
        Taken::Yes(headers) => Ok(headers),
        Taken::Wait { after, headers } => {
            let mut problem = ingress::over_rate(after);
            problem.rate = Some(Box::new(headers));
            Err(problem)
        }
        Taken::Never { burst } => Err(Problem::new(
            Code::BatchTooLarge,
            format!("the tenant's ingress_rate allows at most {burst} messages at once"),
        )),
    }
}
