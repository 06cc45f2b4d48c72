//! The timeline: everything that happened to a message, from its log.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accept::Gateway;
use crate::accept::answer::{self, Body};
use crate::accept::problem::Problem;
use crate::accept::router::Asked;
use crate::accept::view::{self, At};
use crate::delivery_view::DeliveryView;
use crate::event::EventKind;
use crate::event::render::{self, Named};
use crate::message::id::PublicId;
use crate::message::life::{Change, Status, Then, What};
use crate::message::steps::Platform;
use crate::message::{Channel, Ids, Message, Parts};
use crate::names::Names;
use crate::outcome::{FormWords, OutcomeResult, Reason, Retry, Said};
use crate::store::Record;

/// A message's timeline. What policy refuses, at acceptance or just before a submit, is `rejected`, and
/// so is a message without a route; a step that policy refuses alone is `passed_over`.
#[derive(Serialize, ToSchema)]
#[schema(as = Timeline)]
pub(crate) struct TimelineView<'a> {
    #[schema(value_type = String)]
    message_id: PublicId,
    status: &'a str,
    r#final: bool,
    version: u16,
    /// In the order in which it happened.
    data: Vec<EntryView<'a>>,
    /// Where its events stand with the webhook endpoints that want them.
    deliveries: Vec<DeliveryView>,
}

/// One thing that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
pub(crate) struct EntryView<'a> {
    #[schema(value_type = String, format = DateTime)]
    at: At,
    /// `accepted`, `rejected`, `intent`, `attempt`, `moved_on`, `replanned`, `no_route`, `began_later`,
    /// `receipt`, `expired_in_queue`, `withdrawn`, `passed_over`, `no_receipt`, `maybe_sent`, `device_unregistered`,
    /// `app_receipt`.
    r#type: &'static str,
    /// The message's status after it.
    status: &'static str,
    /// The message's version after it.
    version: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventRef>,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    what: Details<'a>,
}

/// The event that it made.
#[derive(Serialize, ToSchema)]
struct EventRef {
    #[schema(value_type = String)]
    id: PublicId,
    r#type: &'static str,
}

/// What belongs to one kind of entry.
#[derive(Default, Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The provider's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<ProviderView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handed_at: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_at: Option<At>,
    /// Whether a receipt decides anything: one of a route that was left does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<bool>,
    /// How the part is written at its next try, where the carrier refused the way it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_form: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<At>,
    /// The step that begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u8>,
    /// Since when a device's token is of no use.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<At>,
    /// What an app told of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_event: Option<&'static str>,
    /// When, by the device's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    told_at: Option<At>,
    /// What it showed for it: `token` or `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct ProviderView<'a> {
    protocol: &'static str,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_error: Option<NetworkErrorView>,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
    #[serde(skip_serializing_if = "Named::is_empty")]
    tlvs: Named<'a>,
}

#[derive(Serialize)]
struct NetworkErrorView {
    r#type: u8,
    code: u16,
}

/// The words that it is told in.
#[derive(Clone, Copy)]
struct Told<'a> {
    names: &'a Names,
    forms: FormWords,
}

/// Answers `GET /v1/messages/{id}/timeline`.
pub(crate) async fn of_message(
    gateway: &Arc<Gateway>,
    asked: &Asked,
) -> Result<Response<Body>, Problem> {
    let record = view::own_record(gateway, asked).await?;
    let told = Told {
        names: &gateway.door.names,
        forms: gateway.routes.form_words,
    };
    let mut timeline = timeline(&record, gateway.store.ids(), told);
    timeline.deliveries = gateway.deliveries(&record);
    answer::json(StatusCode::OK, &timeline)
}

fn timeline<'a>(record: &'a Record, ids: Ids, told: Told<'a>) -> TimelineView<'a> {
    let (message, life) = (&record.message, &record.life);
    let mut data = Vec::with_capacity(life.log.len() + 1);
    let accepted = (life.accepted_seq != 0).then(|| EventRef {
        id: ids.event(message.accepted_at, life.accepted_seq),
        r#type: EventKind::MessageAccepted.name(),
    });
    data.push(EntryView {
        at: At(message.accepted_at),
        r#type: "accepted",
        status: Status::Queued.name(),
        version: 1,
        event: accepted,
        what: Details {
            route: message
                .first_step()
                .and_then(|step| message.legs().find(|leg| leg.step == step))
                .and_then(|leg| leg.routes.first())
                .map(|route| told.names.route(*route)),
            ..Details::default()
        },
    });
    let changes = life.log.iter();
    data.extend(changes.map(|change| entry(message, change, ids, told)));
    TimelineView {
        message_id: ids.message(message.id),
        status: life.status.name(),
        r#final: life.is_final,
        version: life.version,
        data,
        deliveries: Vec::new(),
    }
}

fn entry<'a>(message: &Message, change: &'a Change, ids: Ids, told: Told<'a>) -> EntryView<'a> {
    let (kind, what) = details(message, &change.what, told);
    let made = change.event.filter(|_| change.seq != 0);
    EntryView {
        at: At(change.at),
        r#type: kind,
        status: change.status.name(),
        version: change.version,
        event: made.map(|kind| EventRef {
            id: ids.event(change.at, change.seq),
            r#type: kind.name(),
        }),
        what,
    }
}

fn details<'a>(message: &Message, what: &'a What, told: Told<'a>) -> (&'static str, Details<'a>) {
    let none = Details::default();
    match what {
        What::Rejected { reason } => ("rejected", because(Some(*reason))),
        What::Intent { route, parts } => (
            "intent",
            Details {
                route: Some(told.names.route(*route)),
                parts: Some(listed(*parts)),
                ..none
            },
        ),
        What::Answered { .. } => ("attempt", attempt(message, what, told)),
        What::MovedOn { reason, then, .. } => ("moved_on", decided(because(Some(*reason)), *then)),
        What::Receipt { .. } => ("receipt", receipt(what)),
        What::ExpiredInQueue => ("expired_in_queue", because(Some(Reason::ExpiredInQueue))),
        What::NoReceipt => ("no_receipt", because(Some(Reason::NoReceipt))),
        What::Replanned { .. } => ("replanned", none),
        What::NoRoute { then, .. } => ("no_route", decided(because(Some(Reason::NoRoute)), *then)),
        What::BeganLater { step } => {
            let details = because(Some(Reason::NoRoute));
            (
                "began_later",
                Details {
                    step: Some(*step),
                    ..details
                },
            )
        }
        What::Unregistered { part, since } => (
            "device_unregistered",
            Details {
                part: Some(*part),
                since: Some(At(*since)),
                ..none
            },
        ),
        What::App { receipt, .. } => (
            "app_receipt",
            Details {
                part: Some(receipt.part),
                app_event: Some(receipt.event.name()),
                told_at: receipt.told_at.map(At),
                by: Some(if receipt.by_token { "token" } else { "key" }),
                ..none
            },
        ),
        What::Withdrawn { parts, reason } => ("withdrawn", kept_back(*parts, *reason)),
        What::PassedOver {
            parts,
            reason,
            then,
        } => ("passed_over", decided(kept_back(*parts, *reason), *then)),
        What::MaybeSent { parts } => (
            "maybe_sent",
            Details {
                parts: Some(listed(*parts)),
                ..none
            },
        ),
    }
}

fn listed(parts: Parts) -> Vec<u8> {
    parts.iter().collect()
}

fn because(reason: Option<Reason>) -> Details<'static> {
    Details {
        reason: reason.map(Reason::code),
        ..Details::default()
    }
}

fn kept_back(parts: Parts, reason: Reason) -> Details<'static> {
    Details {
        parts: Some(listed(parts)),
        ..because(Some(reason))
    }
}

fn decided(details: Details<'_>, then: Then) -> Details<'_> {
    let (word, due) = match then {
        Then::Wait => ("wait_for_other_parts", None),
        Then::Kept => ("kept_for_its_id", None),
        Then::Back => ("back_to_the_queue", None),
        Then::Rest => ("rest", None),
        Then::Again { due } => ("again", Some(At(due))),
        Then::NextRoute { .. } => ("next_route", None),
        Then::NextStep { .. } => ("next_step", None),
    };
    let step = match then {
        Then::NextStep { step, .. } => Some(step),
        _ => details.step,
    };
    Details {
        then: Some(word),
        due,
        step,
        ..details
    }
}

fn attempt<'a>(message: &Message, what: &'a What, told: Told<'a>) -> Details<'a> {
    let What::Answered {
        route,
        part,
        result,
        code,
        reason,
        provider_id,
        handed_at,
        then,
        retry,
        text,
    } = what
    else {
        return Details::default();
    };
    let protocol = protocol(message, *part);
    let is_push = protocol != "smpp";
    let said = text.as_deref().unwrap_or_default();
    let said = match is_push {
        true => Said::read(said),
        false => Said {
            code: "",
            text: said,
        },
    };
    let details = Details {
        route: Some(told.names.route(*route)),
        part: Some(*part),
        result: Some(match result {
            OutcomeResult::Accepted => "accepted",
            OutcomeResult::Refused => "refused",
            OutcomeResult::Unknown => "unknown",
            OutcomeResult::NotSent => "not_sent",
        }),
        provider: Some(ProviderView {
            protocol,
            http: (is_push && *code != 0).then_some(*code),
            message_id: (!provider_id.is_empty())
                .then(|| String::from_utf8_lossy(provider_id).into_owned()),
            status: (!is_push
                && *result != OutcomeResult::NotSent
                && *result != OutcomeResult::Unknown)
                .then(|| format!("0x{code:08X}")),
            code: said.code,
            text: said.text,
            ..ProviderView::default()
        }),
        handed_at: handed_at.known().map(At),
        next_form: match retry {
            Retry::Otherwise { form, .. } => told.forms.word(protocol, *form),
            _ => None,
        },
        ..because(*reason)
    };
    decided(details, *then)
}

/// What a part was sent by.
fn protocol(message: &Message, part: u8) -> &'static str {
    match message.leg_of(part).map(|leg| leg.channel) {
        Some(Channel::Push) => match message.device(part).map(|device| device.platform) {
            Some(Platform::Ios) => "apns",
            _ => "fcm",
        },
        _ => "smpp",
    }
}

fn receipt(what: &What) -> Details<'_> {
    let What::Receipt {
        part,
        counts,
        state,
        reason,
        err,
        network_error,
        operator_at,
        raw,
        tlvs,
        stat,
    } = what
    else {
        return Details::default();
    };
    Details {
        part: Some(*part),
        counts: Some(*counts),
        provider: Some(ProviderView {
            protocol: "smpp",
            status: Some(render::word(*state, stat).to_owned()),
            code: err,
            network_error: network_error.map(|(network, code)| NetworkErrorView {
                r#type: network,
                code,
            }),
            text: raw,
            tlvs: Named(tlvs),
            ..ProviderView::default()
        }),
        operator_at: operator_at.map(At),
        ..because(*reason)
    }
}
