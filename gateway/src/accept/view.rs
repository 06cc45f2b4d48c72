//! Views: messages and routes as the API shows them.

use std::sync::Arc;

use hyper::header::{ETAG, HeaderValue};
use hyper::{Response, StatusCode};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::accept::answer::{self, Body};
use crate::accept::problem::{Code, Problem};
use crate::accept::router::Asked;
use crate::accept::waits::{self, WaitView};
use crate::accept::{Gateway, Scope};
use crate::clock::UnixMs;
use crate::event::render::{self, Lookup, Pushed, ReasonView};
use crate::message::id::PublicId;
use crate::message::life::{Life, Status};
use crate::message::{Channel, Encoding, Ids, Message, MessageId, OnAmbiguous, Priority, Text};
use crate::names::Names;
use crate::route_view::{OrphanListView, RouteView};
use crate::store::Record;

/// A time as RFC 3339.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct At(pub(crate) UnixMs);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Anything by its `Display` text.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A message and where it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(crate) struct MessageView<'a> {
    #[schema(value_type = String, example = "msg_01JD9Z6Q8W3M5T7R2K4N6P8V0X")]
    id: PublicId,
    tenant: &'a str,
    /// `queued`, `sending`, `sent`, `delivered`, `undelivered`, `failed`, `rejected`, `expired`,
    /// `unknown`, `read`.
    status: &'a str,
    /// Whether no further change is expected: do not hard-code final words.
    r#final: bool,
    /// Rises with each change.
    version: u16,
    #[schema(value_type = String, format = DateTime)]
    status_at: At,
    /// `{code, category, permanent, stage, provider}`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    reason: Option<ReasonView<'a>>,
    channel: &'a str,
    step: u8,
    attempts: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    batch_id: Option<PublicId>,
    /// The number, where it goes to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "+46701234567")]
    to: Option<Shown<crate::message::Phone>>,
    /// Of an SMS.
    #[serde(skip_serializing_if = "str::is_empty")]
    from_used: &'a str,
    #[schema(value_type = String)]
    class: &'a str,
    priority: &'a str,
    on_ambiguous: &'a str,
    /// Of the step that it is at. A push whose devices go over several has none: each device tells its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    /// What it waits for while it is queued, a route each: of `GET /v1/messages/{id}` alone. Absent where it
    /// waits for nothing that is known: it is about to go, or may be out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<WaitView<'_>>>)]
    waits_for: Vec<WaitView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sms: Option<SmsView<'a>>,
    /// `receipt`, and what became of each device, where it is pushed.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    push: Option<Pushed<'a>>,
    /// Only with the scope `messages:content`.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<ContentView<'a>>,
    duplicate_possible: bool,
    #[schema(value_type = String, format = DateTime)]
    accepted_at: At,
    #[schema(value_type = String, format = DateTime)]
    expires_at: At,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    sent_at: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    delivered_at: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    read_at: Option<At>,
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    client_ref: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    tracking: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Words::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    tags: Words<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<CallbackView<'a>>,
}

/// How the text is sent.
#[derive(Serialize, ToSchema)]
#[schema(as = SmsState)]
struct SmsView<'a> {
    encoding: &'a str,
    segments: u8,
    segments_delivered: u8,
    /// What became of each part, once one of several has had bad news.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<&'static str>>,
}

/// What the message says.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageContent)]
struct ContentView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// Octets that are no text, as base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    /// What is pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    push: Option<&'a RawValue>,
}

impl<'a> ContentView<'a> {
    fn of(message: &'a Message) -> Self {
        let push = render::raw(message.text(Text::Push));
        let body = Some(message.text(Text::Body)).filter(|text| !text.is_empty() || push.is_none());
        match message.encoding {
            Encoding::Binary => Self {
                text: None,
                data: body,
                push,
            },
            Encoding::Gsm7 | Encoding::Ucs2 | Encoding::Latin1 => Self {
                text: body,
                data: None,
                push,
            },
        }
    }
}

/// Where its events go.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageCallback)]
struct CallbackView<'a> {
    endpoint_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    url: &'a str,
    #[serde(skip_serializing_if = "Words::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    types: Words<'a>,
}

/// Words that are stored as one text, shown as a list.
struct Words<'a>(&'a str);

impl Words<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.split(' ').filter(|word| !word.is_empty()))
    }
}

/// A message as of `life`.
pub(crate) fn message<'a>(
    message: &'a Message,
    life: &'a Life,
    ids: Ids,
    names: &'a Names,
    content: bool,
) -> MessageView<'a> {
    let (route, _) = render::route_of(message, life);
    let pushed = message.has_channel(Channel::Push);
    // A delivered message keeps the answers of its failed attempts, which are not its reason.
    let bad_end = !matches!(life.status, Status::Sent | Status::Delivered | Status::Read);
    MessageView {
        id: ids.message(message.id),
        tenant: names.tenant(message.tenant),
        status: status(life),
        r#final: life.is_final,
        version: life.version,
        status_at: At(status_at(message, life)),
        reason: if bad_end {
            render::reason(message, life)
        } else {
            None
        },
        channel: message.channel(life.step).name(),
        step: life.step,
        attempts: life.attempts,
        batch_id: message.batch.map(|batch| ids.batch(batch)),
        to: message.to.known().map(Shown),
        from_used: message.text(Text::From),
        class: message.class.name(),
        priority: match message.priority {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        },
        on_ambiguous: match message.on_ambiguous {
            OnAmbiguous::Retry => "retry",
            OnAmbiguous::Hold => "hold",
        },
        route: route.map(|route| names.route(route)),
        waits_for: Vec::new(),
        sms: message.has_channel(Channel::Sms).then(|| SmsView {
            encoding: message.encoding.name(),
            segments: message.sms_segments(),
            segments_delivered: message.segments_delivered(life),
            parts: life.parts_told(),
        }),
        push: pushed.then(|| Pushed::of(message, life, Lookup { ids, names })),
        content: content.then(|| ContentView::of(message)),
        duplicate_possible: life.duplicate_possible,
        accepted_at: At(message.accepted_at),
        expires_at: At(message.expires_at),
        sent_at: life.sent_at.known().map(At),
        delivered_at: match life.status {
            Status::Delivered => Some(At(status_at(message, life))),
            Status::Read => turned(life, Status::Delivered).map(At),
            _ => None,
        },
        read_at: match life.status {
            Status::Read => turned(life, Status::Read).map(At),
            _ => None,
        },
        client_ref: message.text(Text::ClientRef),
        tracking: render::raw(message.text(Text::Tracking)),
        tags: Words(message.text(Text::Tags)),
        metadata: render::raw(message.text(Text::Metadata)),
        callback: message.callback.map(|endpoint| CallbackView {
            endpoint_id: names.endpoint(endpoint),
            url: message.text(Text::CallbackUrl),
            types: Words(message.text(Text::CallbackTypes)),
        }),
    }
}

/// `sending` is a view of a queued message with an attempt out (contract.md §4).
fn status(life: &Life) -> &'static str {
    if life.status == Status::Queued && !life.parts_out().is_empty() {
        "sending"
    } else {
        life.status.name()
    }
}

/// When the message came into its status.
fn status_at(message: &Message, life: &Life) -> UnixMs {
    let mut at = message.accepted_at;
    let mut status = Status::Queued;
    for change in &life.log {
        if change.status != status {
            status = change.status;
            at = change.at;
        }
    }
    at
}

/// When the message first came into a status.
fn turned(life: &Life, status: Status) -> Option<UnixMs> {
    let change = life.log.iter().find(|change| change.status == status);
    change.map(|change| change.at)
}

/// The answer to an accepted message: only what was fixed when it was accepted, so that the replay
/// of its key is the same to the octet.
pub(crate) fn accepted(
    accepted: &Message,
    ids: Ids,
    names: &Names,
) -> Result<Response<Body>, Problem> {
    let life = Life::begin(accepted);
    let view = message(accepted, &life, ids, names, false);
    answer::json(StatusCode::ACCEPTED, &view)
}

/// Answers `GET /v1/messages/{id}`.
pub(crate) async fn message_by_id(
    gateway: &Arc<Gateway>,
    asked: &Asked,
) -> Result<Response<Body>, Problem> {
    let record = own_record(gateway, asked).await?;
    let content = asked.principal.scopes.has(Scope::MessagesContent);
    let (ids, names) = (gateway.store.ids(), &gateway.door.names);
    let mut view = message(&record.message, &record.life, ids, names, content);
    let (now, hold) = (gateway.door.clock.now(), |route| gateway.routes.hold(route));
    view.waits_for = waits::of((&record.message, &record.life), now, names, hold);
    let mut response = answer::json(StatusCode::OK, &view)?;
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", record.life.version)) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// The message that the path names, when it is the asker's.
///
/// # Errors
/// `not_found`, the same for one that is another tenant's.
pub(crate) async fn own_record(gateway: &Gateway, asked: &Asked) -> Result<Record, Problem> {
    let missing = || {
        Problem::new(
            Code::NotFound,
            format!("there is no message {}", asked.name),
        )
    };
    let id: MessageId = gateway
        .store
        .ids()
        .parse_message(&asked.name)
        .ok_or_else(missing)?;
    let record = gateway.store.get(id).await.ok_or_else(missing)?;
    match asked.principal.tenant {
        Some(tenant) if tenant != record.message.tenant => Err(missing()),
        _ => Ok(record),
    }
}

/// All routes.
#[derive(Serialize, ToSchema)]
#[schema(as = RouteList)]
pub(crate) struct RouteListView {
    data: Vec<RouteView>,
}

/// Answers `GET /v1/routes`.
pub(crate) fn routes(gateway: &Gateway) -> Result<Response<Body>, Problem> {
    let data = gateway.routes.routes();
    answer::json(StatusCode::OK, &RouteListView { data })
}

/// Answers `GET /v1/routes/{name}/orphans`: they name recipients and hold texts of any tenant.
pub(crate) fn orphans(gateway: &Gateway, asked: &Asked) -> Result<Response<Body>, Problem> {
    if asked.principal.tenant.is_some() {
        let detail = "receipts without a message belong to no tenant: use an operator's key";
        return Err(Problem::new(Code::TenantMismatch, detail));
    }
    let name = &asked.name;
    let data = gateway.routes.orphans(name);
    let data =
        data.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no route {name}")))?;
    answer::json(StatusCode::OK, &OrphanListView { data })
}

/// Answers `GET /v1/routes/{name}`.
pub(crate) fn route(gateway: &Gateway, name: &str) -> Result<Response<Body>, Problem> {
    let routes = gateway.routes.routes();
    let route = routes.iter().find(|route| route.name == name);
    let route =
        route.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no route {name}")))?;
    answer::json(StatusCode::OK, route)
}
