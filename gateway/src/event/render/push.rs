//! What events tell of a push: each device with what became of it, and how one step gave way to another.

use std::fmt;
use std::io;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::{Lookup, Provider, ReasonView, ToText};
use crate::clock::UnixMs;
use crate::event::{Event, EventKind};
use crate::message::id::PublicId;
use crate::message::life::{AppEvent, AppReceipt, Life, PartState, Status, Then, What};
use crate::message::steps::{Device, Platform};
use crate::message::{Channel, Message, Text};
use crate::outcome::{Reason, Said};

/// A push step, as of a life.
#[derive(Serialize)]
pub struct Pushed<'a> {
    /// `none`: nothing follows `sent` by itself, as push services tell no more. Where the message asks its app:
    /// `pending`, `app` once it has told something, `none` when its time was over.
    receipt: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<DeviceView<'a>>,
    /// What became of the one part of a push to a topic or a condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Told<'a>>,
}

#[derive(Serialize)]
struct DeviceView<'a> {
    platform: &'static str,
    app: &'a str,
    token_hash: TokenHash<'a>,
    #[serde(flatten)]
    told: Told<'a>,
    /// What its app told, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    receipts: Vec<AppTold>,
}

/// What an app told of a device.
#[derive(Serialize)]
struct AppTold {
    event: &'static str,
    /// By the gateway's clock.
    received_at: super::Shown,
    /// By the device's.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<super::Shown>,
}

/// What an event of an app's receipt rests on.
#[derive(Serialize)]
pub(super) struct Evidence<'a> {
    /// push.md §5.
    evidence: &'static str,
    app_receipt: AppReceiptView<'a>,
}

#[derive(Serialize)]
struct AppReceiptView<'a> {
    #[serde(flatten)]
    told: AppTold,
    device: DeviceRef<'a>,
}

#[derive(Serialize)]
struct DeviceRef<'a> {
    index: u8,
    platform: &'static str,
    app: &'a str,
    token_hash: TokenHash<'a>,
}

/// What apps told, each with when it came; one that made two changes once.
fn app_told(life: &Life) -> impl Iterator<Item = (AppReceipt, UnixMs)> {
    let mut seen = SmallVec::<[(u8, AppEvent); 4]>::new();
    life.log.iter().filter_map(move |change| match change.what {
        What::App { receipt, .. } => {
            let own = (receipt.part, receipt.event);
            let new = !seen.contains(&own);
            seen.push(own);
            new.then_some((receipt, change.at))
        }
        _ => None,
    })
}

impl AppTold {
    fn of((receipt, at): (AppReceipt, UnixMs)) -> Self {
        Self {
            event: receipt.event.name(),
            received_at: super::Shown(at),
            at: receipt.told_at.map(super::Shown),
        }
    }
}

/// What an event rests on that an app's receipt made; `life` is as of it.
pub(super) fn evidence<'a>(
    kind: EventKind,
    message: &'a Message,
    life: &Life,
) -> Option<Evidence<'a>> {
    if !matches!(kind, EventKind::MessageDelivered | EventKind::MessageRead) {
        return None;
    }
    let told = life.log.iter().rev().find_map(|change| match change.what {
        What::App { receipt, .. } => Some((receipt, change.at)),
        _ => None,
    });
    let device = message.device(told?.0.part)?;
    Some(Evidence {
        evidence: "device_sdk",
        app_receipt: AppReceiptView {
            told: AppTold::of(told?),
            device: DeviceRef {
                index: message.device_place(told?.0.part),
                platform: device.platform.name(),
                app: &device.app,
                token_hash: TokenHash(&device.token),
            },
        },
    })
}

/// What became of one part.
#[derive(Serialize)]
struct Told<'a> {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView<'a>>,
}

/// A token as events show it: by its digest, so that whoever has it recognises it and nobody else learns it.
#[derive(Clone, Copy, Debug)]
pub struct TokenHash<'a>(pub &'a str);

impl fmt::Display for TokenHash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        let digest = Sha256::digest(self.0.as_bytes());
        digest.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl Serialize for TokenHash<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'a> Pushed<'a> {
    /// Of a message's push, as of a life.
    #[must_use]
    pub fn of(message: &'a Message, life: &'a Life, lookup: Lookup<'a>) -> Self {
        let legs = message.legs().filter(|leg| leg.channel == Channel::Push);
        let parts = legs.flat_map(|leg| leg.parts().iter().collect::<Vec<_>>());
        let mut pushed = Self {
            receipt: receipt_word(message, life),
            devices: Vec::new(),
            topic: None,
        };
        for part in parts {
            let told = Told::of(message, life, part, lookup);
            match message.device(part) {
                Some(device) => pushed.devices.push(DeviceView {
                    platform: device.platform.name(),
                    app: &device.app,
                    token_hash: TokenHash(&device.token),
                    told,
                    receipts: app_told(life)
                        .filter(|(receipt, _)| receipt.part == part)
                        .map(AppTold::of)
                        .collect(),
                }),
                None => pushed.topic = Some(told),
            }
        }
        pushed
    }
}

fn receipt_word(message: &Message, life: &Life) -> &'static str {
    if !message.has_app_receipts() {
        "none"
    } else if app_told(life).next().is_some() {
        "app"
    } else if life.is_final {
        "none"
    } else {
        "pending"
    }
}

impl<'a> Told<'a> {
    fn of(message: &'a Message, life: &'a Life, part: u8, lookup: Lookup<'a>) -> Self {
        let answer = life.log.iter().rev().find_map(|change| match &change.what {
            What::Answered {
                part: own,
                route,
                reason,
                code,
                text,
                provider_id,
                ..
            } if *own == part => Some((route, reason, code, text, provider_id)),
            _ => None,
        });
        let withdrawn = withdrawn(message, life, part);
        let state = life.parts.get(usize::from(part)).copied();
        let ended = life.status != Status::Queued
            || life.leg_at(part).is_some_and(|leg| {
                life.legs
                    .get(usize::from(leg))
                    .is_some_and(|leg| leg.step != life.step)
            });
        let result = match state.unwrap_or_default() {
            PartState::Accepted => "sent",
            PartState::Receipted(_) => told_of(life, part),
            _ if withdrawn.is_some_and(|why| why.0 == Reason::ExpiredInQueue) => "expired",
            PartState::Refused(crate::outcome::Retry::Never) => "rejected",
            PartState::Unknown | PartState::Out if ended => "unknown",
            PartState::Refused(_) if ended => "rejected",
            _ if life.status == Status::Sent || life.status == Status::Expired => "expired",
            PartState::Waiting | PartState::Claimed if life.status == Status::Rejected => {
                "rejected"
            }
            _ if ended => "unknown",
            PartState::Unknown => "unknown",
            _ => "queued",
        };
        let told = |reason: Reason, provider| ReasonView {
            code: reason.code(),
            category: reason.category(),
            permanent: reason.permanent(),
            stage: match withdrawn {
                Some((_, stage)) => stage,
                None if provider_stage(reason) => "carrier",
                None => "accept",
            },
            provider,
        };
        let has_it = matches!(state, Some(PartState::Accepted | PartState::Receipted(_)));
        let routeless = message
            .leg_of(part)
            .is_some_and(|leg| leg.routes.is_empty());
        let reason = match answer {
            _ if withdrawn.is_some() => withdrawn.map(|why| told(why.0, None)),
            Some((_, Some(reason), code, text, _)) if !has_it => {
                let said = (*code, text.as_deref().unwrap_or_default());
                Some(told(*reason, Provider::answered(message, part, said)))
            }
            None if routeless => Some(told(Reason::NoRoute, None)),
            _ => None,
        };
        Self {
            result,
            route: answer.map(|answer| lookup.names.route(*answer.0)),
            provider_message_id: answer
                .filter(|answer| !answer.4.is_empty())
                .map(|answer| String::from_utf8_lossy(answer.4).into_owned()),
            reason,
        }
    }
}

/// Why a part went out no more, and at which stage that was found.
fn withdrawn(message: &Message, life: &Life, part: u8) -> Option<(Reason, &'static str)> {
    life.log.iter().find_map(|change| match &change.what {
        What::Withdrawn { parts, reason } if parts.has(part) => Some((*reason, "queue")),
        What::PassedOver { parts, reason, .. } if parts.has(part) => {
            Some((*reason, super::passed_over_at(message, change)))
        }
        _ => None,
    })
}

/// How far a device is that its app told of.
fn told_of(life: &Life, part: u8) -> &'static str {
    let own = app_told(life).filter(|(receipt, _)| receipt.part == part);
    let furthest = own.map(|(receipt, _)| receipt.event).max();
    furthest.map_or(Status::Sent, AppEvent::status).name()
}

fn provider_stage(reason: Reason) -> bool {
    reason != Reason::NoRoute
}

impl<'a> Provider<'a> {
    /// Who answered for a part, and with what: an SMPP command_status, or an HTTP status and the service's
    /// code and words. `None` when nobody did.
    #[must_use]
    pub fn answered(message: &Message, part: u8, (code, text): (u32, &'a str)) -> Option<Self> {
        if code == 0 {
            return None;
        }
        let leg = message.leg_of(part)?;
        if leg.channel == Channel::Sms {
            return Some(Self {
                protocol: "smpp",
                status: Some(format!("0x{code:08X}")),
                text,
                ..Self::default()
            });
        }
        let said = Said::read(text);
        let apple = |device: &Device| device.platform == Platform::Ios;
        Some(Self {
            protocol: if message.device(part).is_some_and(apple) {
                "apns"
            } else {
                "fcm"
            },
            http: Some(code),
            code: said.code,
            text: said.text,
            ..Self::default()
        })
    }
}

/// How one step gave way to another.
#[derive(Serialize)]
pub(super) struct Fallback {
    from_step: u8,
    to_step: u8,
    trigger: &'static str,
}

/// What `message.fallback_started` says of the steps; `life` is as of it.
pub(super) fn fallback(kind: EventKind, life: &Life) -> Option<Fallback> {
    if kind != EventKind::MessageFallbackStarted {
        return None;
    }
    let last = life.log.last()?;
    let from_step = || {
        let before = life.log.iter().rev().skip(1);
        let mut begun = before.filter_map(|change| step_begun(&change.what));
        begun.next().map_or(0, |begun| begun.0)
    };
    let (to_step, trigger) = step_begun(&last.what)?;
    Some(Fallback {
        from_step: from_step(),
        to_step,
        trigger,
    })
}

fn step_begun(what: &What) -> Option<(u8, &'static str)> {
    match what {
        What::Answered {
            then: Then::NextStep { step, trigger, .. },
            ..
        }
        | What::NoRoute {
            then: Then::NextStep { step, trigger, .. },
            ..
        }
        | What::PassedOver {
            then: Then::NextStep { step, trigger, .. },
            ..
        } => Some((*step, trigger.name())),
        What::BeganLater { step } => Some((*step, Reason::NoRoute.code())),
        _ => None,
    }
}

#[derive(Serialize)]
struct UnregisteredData<'a> {
    message_id: PublicId,
    platform: &'static str,
    app: &'a str,
    token_hash: TokenHash<'a>,
    /// Since when, as the service says, or when it said so.
    invalid_since: super::Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered_at: Option<super::Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<ToText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    client_ref: &'a str,
}

/// Writes a `device.unregistered` event. `life` is the life as of the event, which ends with it.
///
/// # Errors
/// Those of `out`.
pub fn device_event(
    out: impl io::Write,
    event: &Event,
    message: &Message,
    life: &Life,
    lookup: Lookup<'_>,
) -> serde_json::Result<()> {
    let told = life.log.iter().rev().find_map(|change| match change.what {
        What::Unregistered { part, since } => Some((part, since)),
        _ => None,
    });
    let (part, since) = told.unwrap_or_default();
    let device = message.device(part);
    let data = UnregisteredData {
        message_id: lookup.ids.message(message.id),
        platform: device.map_or("", |device| device.platform.name()),
        app: device.map_or("", |device| &device.app),
        token_hash: TokenHash(device.map_or("", |device| &device.token)),
        invalid_since: super::Shown(since),
        registered_at: device
            .and_then(|device| device.registered_at.known())
            .map(super::Shown),
        to: message.to.known().map(ToText),
        reason: Told::of(message, life, part, lookup).reason,
        client_ref: message.text(Text::ClientRef),
    };
    super::write(out, event, lookup, data)
}
