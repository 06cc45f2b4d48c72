//! The request as it comes: one pass over the JSON, texts borrowed from the body where they can be.
//!
//! Fields stand in alphabetical order, so that serializing a [`Request`] gives canonical JSON (sorted
//! keys), which is what an idempotency key's fingerprint is taken over. What has the wrong shape is
//! explained by [`super::shape`]; what has a wrong value, by [`super::check`].

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::shape;
use crate::message::Channel;

pub(crate) mod merge;
mod push;
pub(crate) mod tlv;
mod to;

pub(crate) use push::{OverlayIn, PushIn};
pub(crate) use tlv::TlvsIn;
pub(crate) use to::{DeviceIn, To};

/// A message to be sent.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SendMessage)]
pub(crate) struct Request<'a> {
    /// Where its events go, instead of the tenant's endpoints.
    #[serde(
        borrow,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) callback: Option<CallbackIn<'a>>,
    /// `sms` or `push`: sugar for a one-step plan; excludes `plan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "sms")]
    pub(crate) channel: Option<Str<'a>>,
    /// `otp`, `transactional` (default), `conversational` or `promotional`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "otp")]
    pub(crate) class: Option<Str<'a>>,
    /// The client's own reference: searchable, not unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub(crate) client_ref: Option<Str<'a>>,
    /// What to say; excludes `text`.
    #[serde(
        borrow,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) content: Option<ContentIn<'a>>,
    /// RFC 3339 in UTC; excludes `ttl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Str<'a>>,
    /// A sender on the tenant's list. Required, but not where nothing goes by sms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 64, example = "ACME")]
    pub(crate) from: Option<Str<'a>>,
    /// Items of batches only; single sends use the header.
    #[serde(skip_serializing)]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub(crate) idempotency_key: Option<Str<'a>>,
    /// At most 20 keys of 40 characters with values of 500, 4 KiB in all. Echoed only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    pub(crate) metadata: Option<Metadata<'a>>,
    /// The channels to take, one after the other. Without it, and without `channel`, the only one that
    /// `to` and `content` allow.
    #[serde(
        borrow,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) plan: Option<PlanIn<'a>>,
    /// What to do when things are uncertain.
    #[serde(
        borrow,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) policy: Option<PolicyIn<'a>>,
    /// `high`, `normal` or `low`; by class when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) priority: Option<Str<'a>>,
    /// `none` (default), or `app`: the app tells what became of a push to devices, and until it does, or
    /// `receipts.timeout` of its route is over, `sent` is not final. Each push then carries its message's
    /// id and a token for `/v1/messages/{id}/receipts`.
    #[serde(borrow, skip_serializing_if = "is_none")]
    #[schema(value_type = Option<String>, example = "app")]
    pub(crate) receipts: Option<Str<'a>>,
    /// At most 10, each `[a-z0-9_.-]{1,64}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) tags: Option<Vec<Str<'a>>>,
    /// Sugar for `content.text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub(crate) text: Option<Str<'a>>,
    /// The recipient: E.164, or every address that the plan needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = to::Forms<'_>, example = "+46701234567", required)]
    pub(crate) to: Option<To<'a>>,
    /// Ids of the platform above, echoed in every event.
    #[serde(
        borrow,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) tracking: Option<TrackingIn<'a>>,
    /// Seconds from acceptance until it is not sent any more: 10 to 2,419,200.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10, maximum = 2419200)]
    pub(crate) ttl: Option<i64>,
}

/// `callback`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Callback)]
pub(crate) struct CallbackIn<'a> {
    /// An endpoint of the tenant.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) endpoint_id: Option<Str<'a>>,
    /// Event types or prefixes such as `message.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) types: Option<Vec<Str<'a>>>,
    /// A URL below a prefix that is registered on an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uri")]
    pub(crate) url: Option<Str<'a>>,
}

/// `content`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Content)]
pub(crate) struct ContentIn<'a> {
    /// What a push says in its own way.
    #[serde(
        borrow,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) push: Option<PushIn<'a>>,
    /// What the sms channel says in its own way.
    #[serde(
        borrow,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) sms: Option<SmsIn<'a>>,
    /// The body of each channel that has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub(crate) text: Option<Str<'a>>,
}

/// `content.sms`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SmsContent)]
pub(crate) struct SmsIn<'a> {
    /// Octets instead of a text, as base64: 1 to 2,680 with `encoding` `binary`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "byte")]
    pub(crate) data: Option<Str<'a>>,
    /// `auto` (default), `gsm7`, `ucs2` or, with `data`, `binary`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) encoding: Option<Str<'a>>,
    /// Shown at once and not stored (message class 0).
    #[serde(skip_serializing_if = "is_default_flash")]
    #[schema(default = false)]
    pub(crate) flash: Option<bool>,
    /// 1 to 20; 10 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 20)]
    pub(crate) max_segments: Option<i64>,
    /// `reject` (default), or `truncate`: what goes beyond `max_segments` is cut off.
    #[serde(skip_serializing_if = "is_reject")]
    #[schema(value_type = Option<String>)]
    pub(crate) on_too_long: Option<Str<'a>>,
    /// `off` (default), `safe` or `full`: typography, or also accents, that the GSM 7-bit alphabet
    /// lacks are replaced where the text then needs no UCS-2. Not with a given `encoding`.
    #[serde(skip_serializing_if = "is_off")]
    #[schema(value_type = Option<String>)]
    pub(crate) smart_encoding: Option<Str<'a>>,
    /// Instead of `content.text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) text: Option<Str<'a>>,
    /// At most 16 TLVs, each value at most 255 octets: by a name of the routes' dictionary
    /// (`routes.*.tlvs`), with text or a number as it says there, or by a tag from `0x1400` to `0x3FFF`,
    /// with hexadecimal digits. Each candidate route has to know the name, and as the same. In every
    /// submit, before what the route itself adds. Takes the scope `messages:raw`.
    #[serde(borrow, skip_serializing_if = "tlv::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>)]
    pub(crate) tlv: Option<TlvsIn<'a>>,
    /// The user data header before `data`, as base64, its length octet included; in every segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "byte")]
    pub(crate) udh: Option<Str<'a>>,
}

/// What says its default asks for nothing: it is the same request to an idempotency key as without.
fn is_default_flash(flash: &Option<bool>) -> bool {
    *flash != Some(true)
}

fn is_reject(word: &Option<Str<'_>>) -> bool {
    word.as_deref().is_none_or(|word| word == "reject")
}

fn is_none(word: &Option<Str<'_>>) -> bool {
    word.as_deref().is_none_or(|word| word == "none")
}

fn is_respect(word: &Option<Str<'_>>) -> bool {
    word.as_deref().is_none_or(|word| word == "respect")
}

fn is_off(word: &Option<Str<'_>>) -> bool {
    word.as_deref().is_none_or(|word| word == "off")
}

/// `plan`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Plan)]
pub(crate) struct PlanIn<'a> {
    /// 1 to 5, each with another channel: those that this version has are two.
    #[serde(borrow, deserialize_with = "objects")]
    #[schema(min_items = 1, max_items = 5)]
    pub(crate) steps: Vec<StepIn<'a>>,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Step)]
pub(crate) struct StepIn<'a> {
    /// `sms` or `push`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "sms", required)]
    pub(crate) channel: Option<Str<'a>>,
    /// When and how often to try another route.
    #[serde(
        borrow,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) failover: Option<FailoverIn<'a>>,
    /// When the next step follows: `no_route` (none leads there), `rejected` (nobody took it), and
    /// `undelivered`, which only a last step or one of push may name in this version. These three when
    /// absent. `expired`, `unknown` and `timeout` are not in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) on: Option<Vec<Str<'a>>>,
    /// The status that ends the plan well: of sms `delivered`, of push `sent`; no other in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) until: Option<Str<'a>>,
}

impl StepIn<'_> {
    /// `step.on` where nothing is said (contract.md §1).
    const ON_DEFAULT: [&'static str; 3] = ["no_route", "rejected", "undelivered"];

    /// `step.until` where nothing is said (contract.md §1).
    pub(crate) fn until_default(channel: Channel) -> &'static str {
        match channel {
            Channel::Sms => "delivered",
            Channel::Push => "sent",
        }
    }

    /// Takes out what says its default; the order of `on` means nothing.
    pub(crate) fn without_defaults(&mut self) {
        let channel = self.channel.as_deref().and_then(Channel::from_name);
        if let (Some(channel), Some(until)) = (channel, self.until.as_deref())
            && until == Self::until_default(channel)
        {
            self.until = None;
        }
        if let Some(on) = &self.on
            && on.len() == Self::ON_DEFAULT.len()
            && Self::ON_DEFAULT
                .iter()
                .all(|word| on.iter().any(|own| &**own == *word))
        {
            self.on = None;
        }
    }
}

/// `failover`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Failover)]
pub(crate) struct FailoverIn<'a> {
    /// 1 to 5; 3 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 5)]
    pub(crate) max_routes: Option<i64>,
    /// `route_down`, `throttled`, `transient`, `no_response`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) on: Option<Vec<Str<'a>>>,
}

/// `policy`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Policy)]
pub(crate) struct PolicyIn<'a> {
    /// `retry` or `hold`: what follows when a carrier never answered.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) on_ambiguous: Option<Str<'a>>,
    /// `respect`, or with the scope `policy:override` `ignore`.
    #[serde(borrow, skip_serializing_if = "is_respect")]
    #[schema(value_type = Option<String>)]
    pub(crate) suppressions: Option<Str<'a>>,
}

/// `tracking`. Each at most 128 characters.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Tracking)]
#[allow(missing_docs, reason = "the contract's words")]
pub(crate) struct TrackingIn<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) campaign_id: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) correlation_id: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) journey_id: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) journey_step: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) template_id: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) template_version: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) trigger_id: Option<Str<'a>>,
}

impl<'a> TrackingIn<'a> {
    /// Its fields by name.
    pub(crate) fn fields(&self) -> [(&'static str, &Option<Str<'a>>); 7] {
        [
            ("campaign_id", &self.campaign_id),
            ("correlation_id", &self.correlation_id),
            ("journey_id", &self.journey_id),
            ("journey_step", &self.journey_step),
            ("template_id", &self.template_id),
            ("template_version", &self.template_version),
            ("trigger_id", &self.trigger_id),
        ]
    }
}

/// A text that is borrowed from the body unless it has escapes. (`Option<Cow<str>>` would always own.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Str<'a>(pub(crate) Cow<'a, str>);

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Str<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(StrVisitor)
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Str(Cow::Owned(text)))
    }
}

/// Metadata in key order. A key that comes twice is kept twice, for the check to refuse.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata<'a>(pub(crate) Vec<(Str<'a>, Str<'a>)>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(&key.0, &value.0)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Metadata<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry::<Str<'de>, Str<'de>>()? {
            entries.push(entry);
        }
        entries.sort_by(|a, b| a.0.0.cmp(&b.0.0));
        Ok(Metadata(entries))
    }
}

/// A struct that is read from an object only: serde's derived ones would also take a list.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Reads a field that is an object, if it is there.
pub(crate) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let object = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(object.map(|object| object.0))
}

fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

/// Reads a field that is a list of objects, if it is there.
pub(crate) fn objects_if<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(objects.map(|objects| objects.into_iter().map(|object| object.0).collect()))
}

/// Whether JSON that can be read is an object.
pub(crate) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Reads one message. Wrong shapes are returned beside what could be read, so that the check can add
/// the wrong values of the other fields.
///
/// # Errors
/// A `malformed_json` problem when the bytes are not JSON.
pub(crate) fn parse(json: &[u8]) -> Result<(Request<'_>, Vec<FieldError>), Problem> {
    match serde_json::from_slice::<Object<_>>(json) {
        Ok(request) => Ok((request.0, Vec::new())),
        Err(error) if error.is_data() => shape::explain(json, &error),
        Err(error) => Err(malformed(&error)),
    }
}

/// What a message's JSON is a piece of: positions in it are told in terms of what was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    /// One of the `messages` of a batch.
    Item,
    /// The `defaults` of a batch or stream.
    Defaults,
    /// A line of a stream, counted from 1, blank ones too.
    Line(u32),
}

impl Piece {
    /// Reads one message as [`parse`] does.
    ///
    /// # Errors
    /// As [`parse`].
    pub(crate) fn parse(self, json: &[u8]) -> Result<(Request<'_>, Vec<FieldError>), Problem> {
        parse(json).map_err(|problem| match problem.code {
            Code::MalformedJson => self.malformed(json),
            _ => problem,
        })
    }

    /// Reads it again only for the position, which is rare enough.
    fn malformed(self, json: &[u8]) -> Problem {
        let error = match serde_json::from_slice::<Object<Request<'_>>>(json) {
            Err(error) if !error.is_data() => error,
            _ => match serde_json::from_slice::<serde_json::Value>(json) {
                Err(error) => error,
                Ok(_) => return Problem::new(Code::MalformedJson, "not JSON"),
            },
        };
        let (what, line, column) = (without_position(&error), error.line(), error.column());
        let detail = match self {
            Self::Item => format!("{what} at line {line} column {column} of the item"),
            Self::Defaults => format!("{what} at line {line} column {column} of the defaults"),
            Self::Line(line) => format!("{what} at column {column} of the stream's line {line}"),
        };
        Problem::new(Code::MalformedJson, detail)
    }
}

/// The problem of bytes that are not JSON, with the position.
pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::MalformedJson, error.to_string())
}

/// What is wrong, without where: the position is of what was read, which need not be what was sent.
pub(crate) fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}
