//! Events as JSON: contract.md §3, from a message and its life as of the event.

use std::io;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::{Event, EventKind};
use crate::message::id::PublicId;
use crate::message::life::{Change, Life, Status, What};
use crate::message::{Channel, EndpointIx, Ids, Message, TenantIx, Text};
use crate::names::Names;
use crate::outcome::{Reason, ReceiptState, ReceiptTlv};

mod inbound;
mod push;
mod route;
pub mod suppressed;

pub use inbound::inbound_event;
use push::{Evidence, Fallback, evidence, fallback};
pub use push::{Pushed, TokenHash, device_event};
pub use route::route_of;

/// The version of the event format (contract.md §3).
pub const API_VERSION: &str = "2026-11-01";

/// What rendering needs beside the message: how ids and numbers look to users.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Ids as users see them.
    pub ids: Ids,
    /// Names behind the numbers.
    pub names: &'a Names,
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    id: PublicId,
    r#type: &'a str,
    timestamp: Shown,
    api_version: &'a str,
    tenant: Option<&'a str>,
    data: D,
}

/// Anything shown as its `Display` text.
struct Shown(crate::clock::UnixMs);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct MessageData<'a> {
    message_id: PublicId,
    version: u16,
    status: &'a str,
    r#final: bool,
    late: bool,
    channel: &'a str,
    step: u8,
    attempt: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<ToText>,
    #[serde(skip_serializing_if = "str::is_empty")]
    from_used: &'a str,
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sms: Option<Sms<'a>>,
    /// What became of each device, where its step is push.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    push: Option<Pushed<'a>>,
    /// Which steps, and why, where one gave way to another.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
    /// What it rests on, where an app told it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView<'a>>,
    /// What the carrier says beside good news, where the route names TLVs.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Provider<'a>>,
    timing: Timing,
    duplicate_possible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<PublicId>,
    #[serde(skip_serializing_if = "str::is_empty")]
    client_ref: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Tags::is_empty")]
    tags: Tags<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

pub(super) struct ToText(crate::message::Phone);

impl Serialize for ToText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A message's SMS figures.
#[derive(Serialize)]
pub struct Sms<'a> {
    encoding: &'a str,
    segments: u8,
    segments_delivered: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<&'static str>>,
}

impl<'a> Sms<'a> {
    /// Of a message as of a life.
    #[must_use]
    pub fn of(message: &Message, life: &Life) -> Self {
        Self {
            encoding: message.encoding.name(),
            segments: message.sms_segments(),
            segments_delivered: message.segments_delivered(life),
            parts: life.parts_told(),
        }
    }
}

/// Tags, stored as one text with a space between each.
pub struct Tags<'a>(pub &'a str);

impl Tags<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.split(' ').filter(|tag| !tag.is_empty()))
    }
}

#[derive(Serialize)]
struct Timing {
    accepted_at: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_at: Option<Shown>,
}

/// A reason as users see it: `{code, category, permanent, stage, provider}`.
#[derive(Serialize)]
pub struct ReasonView<'a> {
    code: &'static str,
    category: &'static str,
    permanent: bool,
    stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Provider<'a>>,
}

/// The provider's own words.
#[derive(Default, Serialize)]
pub struct Provider<'a> {
    protocol: &'static str,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_error: Option<NetworkError>,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
    #[serde(skip_serializing_if = "Named::is_empty")]
    tlvs: Named<'a>,
}

/// A receipt's TLVs as one object, by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a>(pub &'a [ReceiptTlv]);

impl Named<'_> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|tlv| (&tlv.name, &tlv.value)))
    }
}

#[derive(Serialize)]
struct NetworkError {
    r#type: u8,
    code: u16,
}

/// The reason of a life's end (or of its last failed attempt), with the words of whoever gave it.
#[must_use]
pub fn reason<'a>(message: &Message, life: &'a Life) -> Option<ReasonView<'a>> {
    let reason = life.reason?;
    let source = life.log.iter().rev().find_map(|change| match &change.what {
        What::Answered {
            reason: Some(own),
            code,
            text,
            part,
            ..
        } if *own == reason => {
            let said = (*code, text.as_deref().unwrap_or_default());
            Some(("carrier", Provider::answered(message, *part, said)))
        }
        What::Receipt {
            counts: true,
            reason: Some(own),
            state,
            err,
            network_error,
            raw,
            tlvs,
            stat,
            ..
        } if *own == reason => Some((
            "carrier",
            Some(Provider {
                protocol: "smpp",
                http: None,
                status: Some(word(*state, stat).to_owned()),
                code: err,
                network_error: network_error.map(|(network, code)| NetworkError {
                    r#type: network,
                    code,
                }),
                text: raw,
                tlvs: Named(tlvs),
            }),
        )),
        What::MovedOn { .. }
        | What::ExpiredInQueue
        | What::NoRoute { .. }
        | What::Withdrawn { .. } => Some(("queue", None)),
        What::PassedOver { .. } => Some((passed_over_at(message, change), None)),
        What::NoReceipt => Some(("carrier", None)),
        What::Rejected { .. } if change.version > 1 => Some(("queue", None)),
        What::Rejected { .. } => Some(("accept", None)),
        _ => None,
    });
    let (stage, provider) = source.unwrap_or_else(|| (stage_of(reason), None));
    Some(ReasonView {
        code: reason.code(),
        category: reason.category(),
        permanent: reason.permanent(),
        stage,
        provider,
    })
}

/// The stage at which a step was passed over.
fn passed_over_at(message: &Message, change: &Change) -> &'static str {
    match change.at == message.accepted_at {
        true => "accept",
        false => "queue",
    }
}

/// The carrier's word for a state; ours where it is the same.
#[must_use]
pub fn word(state: ReceiptState, stat: &str) -> &str {
    if stat.is_empty() { state.name() } else { stat }
}

fn stage_of(reason: Reason) -> &'static str {
    match reason {
        Reason::NoRoute => "accept",
        Reason::ExpiredInQueue | Reason::RouteDown => "queue",
        _ => "carrier",
    }
}

/// What the carrier said with the good news: the TLVs that the route names; `None` without any.
#[must_use]
pub fn good_news(life: &Life) -> Option<Provider<'_>> {
    life.log.iter().rev().find_map(|change| match &change.what {
        What::Receipt {
            counts: true,
            state: state @ ReceiptState::Delivered,
            err,
            network_error,
            tlvs,
            stat,
            ..
        } if !tlvs.is_empty() => Some(Provider {
            protocol: "smpp",
            http: None,
            status: Some(word(*state, stat).to_owned()),
            code: err,
            network_error: network_error.map(|(network, code)| NetworkError {
                r#type: network,
                code,
            }),
            text: "",
            tlvs: Named(tlvs),
        }),
        _ => None,
    })
}

/// Writes a message's event. `life` is the life as of the event.
///
/// # Errors
/// Those of `out`; writing into a `Vec` has none.
pub fn message_event(
    out: impl io::Write,
    event: &Event,
    message: &Message,
    life: &Life,
    lookup: Lookup<'_>,
) -> serde_json::Result<()> {
    if event.kind == EventKind::DeviceUnregistered {
        return device_event(out, event, message, life, lookup);
    }
    let before = life.log.get(..life.log.len().saturating_sub(1));
    // What is read was delivered before, and that was its end.
    let late = before.unwrap_or_default().iter().any(|change| {
        change.is_final && !matches!(change.status, Status::Delivered | Status::Read)
    });
    let channel = message.channel(life.step);
    let (route, provider_id) = route_of(message, life);
    let operator_at = life.log.iter().rev().find_map(|change| match &change.what {
        What::Receipt { operator_at, .. } => *operator_at,
        _ => None,
    });
    let data = MessageData {
        message_id: lookup.ids.message(message.id),
        version: life.version,
        status: life.status.name(),
        r#final: life.is_final,
        late,
        channel: channel.name(),
        step: life.step,
        attempt: life.attempts,
        to: message.to.known().map(ToText),
        from_used: message.text(Text::From),
        class: message.class.name(),
        route: route.map(|route| lookup.names.route(route)),
        provider_message_id: (!provider_id.is_empty())
            .then(|| String::from_utf8_lossy(provider_id).into_owned()),
        sms: (channel == Channel::Sms).then(|| Sms::of(message, life)),
        push: (channel == Channel::Push).then(|| Pushed::of(message, life, lookup)),
        fallback: fallback(event.kind, life),
        evidence: match channel {
            Channel::Push => evidence(event.kind, message, life),
            Channel::Sms => None,
        },
        reason: match event.kind {
            EventKind::MessageSent
            | EventKind::MessageDelivered
            | EventKind::MessageRead
            | EventKind::MessageAccepted => None,
            _ => reason(message, life),
        },
        provider: match event.kind {
            EventKind::MessageDelivered => good_news(life),
            _ => None,
        },
        timing: Timing {
            accepted_at: Shown(message.accepted_at),
            sent_at: life.sent_at.known().map(Shown),
            operator_at: operator_at.map(Shown),
        },
        duplicate_possible: life.duplicate_possible,
        batch_id: message.batch.map(|batch| lookup.ids.batch(batch)),
        client_ref: message.text(Text::ClientRef),
        tracking: raw(message.text(Text::Tracking)),
        tags: Tags(message.text(Text::Tags)),
        metadata: raw(message.text(Text::Metadata)),
    };
    write(out, event, lookup, data)
}

#[derive(Serialize)]
struct EndpointData<'a> {
    endpoint_id: &'a str,
}

/// Writes an `endpoint.*` or `delivery.*` event; its subject is the endpoint's number.
///
/// # Errors
/// Those of `out`.
pub fn endpoint_event(
    out: impl io::Write,
    event: &Event,
    lookup: Lookup<'_>,
) -> serde_json::Result<()> {
    let endpoint = EndpointIx(u16::try_from(event.subject.0).unwrap_or(u16::MAX));
    write(
        out,
        event,
        lookup,
        EndpointData {
            endpoint_id: lookup.names.endpoint(endpoint),
        },
    )
}

fn write<D: Serialize>(
    out: impl io::Write,
    event: &Event,
    lookup: Lookup<'_>,
    data: D,
) -> serde_json::Result<()> {
    let envelope = Envelope {
        id: lookup.ids.event(event.at, event.seq),
        r#type: event.kind.name(),
        timestamp: Shown(event.at),
        api_version: API_VERSION,
        // An operator's event is no tenant's.
        tenant: (event.tenant != TenantIx::OPERATOR).then(|| lookup.names.tenant(event.tenant)),
        data,
    };
    serde_json::to_writer(out, &envelope)
}

/// Stored JSON as it is; what was damaged reads as absent.
#[must_use]
pub fn raw(json: &str) -> Option<&RawValue> {
    if json.is_empty() {
        None
    } else {
        serde_json::from_str(json).ok()
    }
}
