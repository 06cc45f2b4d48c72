//! Receipts: what an app tells of a push, with a key or with the push's own token.
//!
//! A token (`Authorization: Bearer rct_…`) is in the push itself and speaks for its device of its message
//! alone. How long it is good for follows from the message: as long as that waits for its app, and for 72
//! hours after it is final. What one may write is bounded by the message: each receipt counts once.

use std::sync::Arc;

use bytes::Bytes;
use codecs::receipt_token;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Response, StatusCode};
use metrics::counter;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accept::answer::{self, Body};
use crate::accept::check::{NOT_RFC3339, timestamp};
use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::request::{object, objects_if};
use crate::accept::router::Asked;
use crate::accept::shape::{Fields, Shape, Shaped, below, push_token, with_values};
use crate::accept::{Gateway, auth, body, view};
use crate::clock::UnixMs;
use crate::event::render::TokenHash;
use crate::message::Message;
use crate::message::id::PublicId;
use crate::message::life::app::AppRefusal;
use crate::message::life::{AppEvent, AppReceipt};
use crate::message::steps::DEVICES_MAX;
use crate::metrics as names;
use crate::store::{AppAnswer, AppTaken, Record};

/// Octets of a body (chosen: a list for every device and event fits).
const BODY_MAX: usize = 4 * 1024;
/// Receipts of one request: each event of each device.
const RECEIPTS_MAX: usize = AppEvent::ALL.len() * DEVICES_MAX;

/// What an app tells: one receipt, or several in `receipts`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AppReceipts)]
pub(crate) struct ReceiptsIn {
    /// `delivered`, `displayed` or `opened`.
    #[schema(example = "opened")]
    event: Option<String>,
    /// Which device; absent with a receipt token, which is of one, and of a message to one alone.
    #[serde(default, deserialize_with = "object")]
    device: Option<DeviceRef>,
    /// When, by the device's clock: RFC 3339 in UTC. Shown as it is told.
    #[schema(format = DateTime)]
    at: Option<String>,
    /// At most 30, instead of the three above: taken together or not at all.
    #[serde(default, deserialize_with = "objects_if")]
    #[schema(max_items = 30)]
    receipts: Option<Vec<ReceiptIn>>,
}

/// One of several.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AppReceipt)]
pub(crate) struct ReceiptIn {
    /// `delivered`, `displayed` or `opened`.
    #[schema(value_type = String, required)]
    event: Option<String>,
    /// As above.
    #[serde(default, deserialize_with = "object")]
    device: Option<DeviceRef>,
    /// As above.
    #[schema(format = DateTime)]
    at: Option<String>,
}

/// A device of the message, in one of three ways.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AppReceiptDevice)]
pub(crate) struct DeviceRef {
    /// Its place in the message's `devices`, from 0.
    #[schema(minimum = 0)]
    index: Option<i64>,
    /// Its token.
    token: Option<String>,
    /// Its token's digest, as events show it.
    #[schema(example = "sha256:1b7e…")]
    token_hash: Option<String>,
}

impl Shaped for ReceiptsIn {
    const FIELDS: Fields = &[
        ("at", Shape::Text),
        ("device", Shape::Object(DeviceRef::FIELDS)),
        ("event", Shape::Text),
        ("receipts", Shape::List(&Shape::Object(ReceiptIn::FIELDS))),
    ];
}

impl Shaped for ReceiptIn {
    const FIELDS: Fields = &[
        ("at", Shape::Text),
        ("device", Shape::Object(DeviceRef::FIELDS)),
        ("event", Shape::Text),
    ];
}

impl Shaped for DeviceRef {
    const FIELDS: Fields = &[
        ("index", Shape::Integer),
        ("token", Shape::Text),
        ("token_hash", Shape::Text),
    ];
}

/// What became of the receipts; they are on disk.
#[derive(Serialize, ToSchema)]
#[schema(as = AppReceiptsTaken)]
pub(crate) struct TakenView {
    #[schema(value_type = String)]
    message_id: PublicId,
    /// Where the message stands now.
    status: &'static str,
    r#final: bool,
    version: u16,
    /// In the order in which they came.
    results: Vec<ResultView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AppReceiptResult)]
struct ResultView {
    event: &'static str,
    /// The device's place in the message's `devices`.
    device: u8,
    /// `recorded`, or `repeated`: it was told before, and changed nothing.
    result: &'static str,
}

/// The receipt token that a request comes with instead of a key.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let token = std::str::from_utf8(auth::bearer(value.as_bytes())?).ok()?;
    token.starts_with(receipt_token::PREFIX).then_some(token)
}

/// Answers `POST /v1/messages/{id}/receipts`.
pub(crate) async fn take<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    slot: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let headers = &asked.parts.headers;
    let (record, own) = match token(headers) {
        Some(token) => of_token(gateway, &asked.name, token).await?,
        None => (view::own_record(gateway, asked).await?, None),
    };
    let message = &*record.message;
    let told = body::read_within(gateway, headers, slot, BODY_MAX).await?;
    if !message.has_app_receipts() {
        return Err(refusal(AppRefusal::NotAsked));
    }
    let receipts = checked(message, told, own)?;
    let answer = gateway.store.app_receipts(message.id, receipts.clone());
    let taken = match answer.await? {
        AppAnswer::Taken(taken) => taken,
        AppAnswer::Refused(at, why) => {
            if let Some(receipt) = receipts.get(at) {
                count(*receipt, "refused");
            }
            return Err(refusal(why));
        }
        AppAnswer::Gone => return Err(missing(&asked.name)),
    };
    let view = taken_view(gateway, message, &receipts, &taken);
    answer::json(StatusCode::OK, &view)
}

/// The message and the device that a token speaks for.
///
/// # Errors
/// `unauthenticated`, the same whatever is wrong with it, before the store is asked; `not_found` when the
/// message is not kept any more.
async fn of_token(
    gateway: &Gateway,
    name: &str,
    token: &str,
) -> Result<(Record, Option<u8>), Problem> {
    let opened = gateway.store.ids().parse_message(name).and_then(|id| {
        let device = gateway.receipt_keys.device(token, id)?;
        Some((id, device))
    });
    let Some((id, device)) = opened else {
        return Err(auth::unauthenticated(
            "the receipt token is not good for this message",
            ", error=\"invalid_token\"",
        ));
    };
    let record = gateway.store.get(id).await;
    Ok((record.ok_or_else(|| missing(name))?, Some(device)))
}

fn missing(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no message {name}"))
}

fn refusal(why: AppRefusal) -> Problem {
    let (code, detail) = match why {
        AppRefusal::NotAsked => (
            Code::InvalidState,
            "the message was not accepted with receipts: \"app\"",
        ),
        AppRefusal::NoDevice => (Code::InvalidState, "the message has no such device"),
        AppRefusal::NotSent => (
            Code::InvalidState,
            "the message was not sent to this device",
        ),
        AppRefusal::TooLate => (
            Code::AlreadyFinal,
            "the message has been final for more than 72 hours",
        ),
    };
    Problem::new(code, detail)
}

/// Checks what was told, all errors at once. `own`: the device that a token speaks for.
fn checked(
    message: &Message,
    (told, shapes): (ReceiptsIn, Vec<FieldError>),
    own: Option<u8>,
) -> Result<Vec<AppReceipt>, Problem> {
    let mut errors = Vec::new();
    let one = ReceiptIn {
        event: told.event,
        device: told.device,
        at: told.at,
    };
    // A list that could not be read is not none: there need be no receipt beside it.
    let in_list = |shape: &FieldError| {
        let at = shape.pointer.as_deref();
        at.is_some_and(|at| below(at, "/receipts"))
    };
    let receipts = match told.receipts {
        None if shapes.iter().any(in_list) => return Err(Problem::of(shapes)),
        None => vec![one_of(message, one, (own, ""), &mut errors)],
        Some(list) => {
            for (at, given) in [
                ("/event", one.event.is_some()),
                ("/device", one.device.is_some()),
                ("/at", one.at.is_some()),
            ] {
                if given {
                    errors.push(FieldError::at(at, "exclusive", "excludes receipts"));
                }
            }
            if !(1..=RECEIPTS_MAX).contains(&list.len()) {
                let detail = format!("must have 1..{RECEIPTS_MAX} receipts");
                errors.push(FieldError::at("/receipts", "out_of_range", detail));
            }
            let list = list.into_iter().take(RECEIPTS_MAX).enumerate();
            list.map(|(index, one)| {
                let at = format!("/receipts/{index}");
                one_of(message, one, (own, &at), &mut errors)
            })
            .collect()
        }
    };
    let errors = with_values(shapes, errors);
    match (errors.is_empty(), receipts.into_iter().collect()) {
        (true, Some(receipts)) => Ok(receipts),
        _ => Err(Problem::of(errors)),
    }
}

fn one_of(
    message: &Message,
    told: ReceiptIn,
    (own, at): (Option<u8>, &str),
    errors: &mut Vec<FieldError>,
) -> Option<AppReceipt> {
    let place = |field: &str| {
        let mut place = at.to_owned();
        push_token(&mut place, field);
        place
    };
    let event = told.event.as_deref().and_then(AppEvent::from_name);
    if event.is_none() {
        let code = match told.event {
            Some(_) => "not_one_of",
            None => "required",
        };
        let detail = "must be delivered, displayed or opened";
        errors.push(FieldError::at(place("event"), code, detail));
    }
    let told_at = told.at.as_deref().map(timestamp);
    if told_at == Some(None) {
        errors.push(FieldError::at(place("at"), "not_rfc3339", NOT_RFC3339));
    }
    let device = device(message, told.device, own);
    let part = match device {
        Ok(part) => Some(part),
        Err((code, detail)) => {
            errors.push(FieldError::at(place("device"), code, detail));
            None
        }
    };
    Some(AppReceipt {
        part: part?,
        event: event?,
        told_at: told_at.and_then(|at: Option<UnixMs>| at),
        by_token: own.is_some(),
    })
}

/// The part that a device is.
fn device(
    message: &Message,
    named: Option<DeviceRef>,
    own: Option<u8>,
) -> Result<u8, (&'static str, &'static str)> {
    let count = u8::try_from(DEVICES_MAX).unwrap_or(u8::MAX);
    let parts = || (0..count).filter_map(|place| message.device_part(place));
    let part = match named {
        None => match own {
            Some(own) => message.device_part(own),
            None if parts().count() == 1 => parts().next(),
            None => {
                let detail =
                    "the message has several devices: say which, by index, token or token_hash";
                return Err(("required", detail));
            }
        },
        Some(DeviceRef {
            index: Some(index),
            token: None,
            token_hash: None,
        }) => u8::try_from(index)
            .ok()
            .and_then(|place| message.device_part(place)),
        Some(DeviceRef {
            index: None,
            token: Some(token),
            token_hash: None,
        }) => parts().find(|part| {
            let device = message.device(*part);
            device.is_some_and(|device| device.is_named(&token))
        }),
        Some(DeviceRef {
            index: None,
            token: None,
            token_hash: Some(hash),
        }) => parts().find(|part| {
            let device = message.device(*part);
            device.is_some_and(|device| TokenHash(&device.token).to_string() == hash)
        }),
        Some(_) => return Err(("exclusive", "needs one of index, token and token_hash")),
    };
    let part = part.ok_or(("unknown_device", "the message has no such device"))?;
    match own {
        Some(own) if own != message.device_place(part) => {
            Err(("not_allowed_here", "the receipt token is another device's"))
        }
        _ => Ok(part),
    }
}

fn taken_view(
    gateway: &Gateway,
    message: &Message,
    receipts: &[AppReceipt],
    taken: &AppTaken,
) -> TakenView {
    let result = |(receipt, new): (&AppReceipt, &bool)| {
        let result = if *new { "recorded" } else { "repeated" };
        count(*receipt, result);
        ResultView {
            event: receipt.event.name(),
            device: message.device_place(receipt.part),
            result,
        }
    };
    TakenView {
        message_id: gateway.store.ids().message(message.id),
        status: taken.status.name(),
        r#final: taken.is_final,
        version: taken.version,
        results: receipts.iter().zip(&taken.new).map(result).collect(),
    }
}

fn count(receipt: AppReceipt, result: &'static str) {
    let by = if receipt.by_token { "token" } else { "key" };
    let event = receipt.event.name();
    counter!(names::APP_RECEIPTS, "event" => event, "by" => by, "result" => result).increment(1);
}
