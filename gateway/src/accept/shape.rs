//! Shapes: says what exactly is wrong with JSON that cannot be read, field by field.
//!
//! The slow path: reached only by requests that cannot be read. The table below holds every field of
//! a message in contract.md §1; those that this version lacks answer `not_available`. What else is read
//! from JSON has its table beside its struct.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::accept::problem::{Code, ERRORS_MAX, FieldError, Problem, shown};
use crate::accept::request::{Object as FromObject, Request, malformed, without_position};

#[cfg(test)]
mod tests;
mod twice;

pub(crate) use twice::first as first_twice;

/// The fields of an object, by name.
pub(crate) type Fields = &'static [(&'static str, Shape)];

/// What is read from a JSON object, and from nothing else.
pub(crate) trait Shaped {
    /// Every field that it may have. What has one of these shapes can be read.
    const FIELDS: Fields;
}

impl Shaped for Request<'_> {
    const FIELDS: Fields = MESSAGE;
}

/// What a field may hold.
pub(crate) enum Shape {
    Text,
    Integer,
    Boolean,
    /// An object of strings.
    TextMap,
    /// An object of anything.
    AnyObject,
    /// A string, or an integer that is not negative.
    TextOrInteger,
    /// An object of these.
    TextOrIntegerMap,
    Object(Fields),
    /// A string, or the object.
    TextOr(Fields),
    /// A string; the object form is not in this version.
    TextOrLater,
    List(&'static Self),
    /// In the contract, not in this version.
    Later,
    /// As [`Shape::Later`], but for its default, as JSON: who says it asks for nothing.
    Default(&'static str),
    /// Content of a channel that is not enabled.
    OtherChannel,
}

use Shape::{
    AnyObject, Boolean, Default, Integer, Later, List, Object, OtherChannel, Text, TextMap, TextOr,
    TextOrInteger, TextOrIntegerMap, TextOrLater,
};

const MESSAGE: Fields = &[
    (
        "callback",
        Object(&[("endpoint_id", Text), ("types", List(&Text)), ("url", Text)]),
    ),
    ("channel", Text),
    ("class", Text),
    ("client_ref", Text),
    ("content", Object(CONTENT)),
    ("expires_at", Text),
    ("from", TextOrLater),
    ("idempotency_key", Text),
    ("metadata", TextMap),
    ("plan", Object(&[("steps", List(&Object(STEP)))])),
    ("policy", Object(POLICY)),
    ("priority", Text),
    ("receipts", Text),
    ("routing", Later),
    ("send_at", Later),
    ("tags", List(&Text)),
    ("tenant", Later),
    ("text", Text),
    ("to", TextOr(TO)),
    ("tracking", Object(TRACKING)),
    ("ttl", Integer),
];

static POLICY: Fields = &[
    ("on_ambiguous", Text),
    ("frequency_cap", Default("\"respect\"")),
    ("quiet_hours", Default("\"respect\"")),
    ("redact_to", Default("false")),
    ("retain_content", Default("\"full\"")),
    ("suppressions", Text),
];

static TO: Fields = &[
    ("app", Text),
    ("condition", Text),
    ("devices", List(&Object(DEVICE))),
    ("phone", Text),
    ("topic", Text),
    ("country", Later),
    ("email", Later),
    ("locale", Later),
    ("ref", Later),
    ("timezone", Later),
];

static DEVICE: Fields = &[
    ("app", Text),
    ("platform", Text),
    ("registered_at", Text),
    ("token", Text),
];

static CONTENT: Fields = &[
    ("sms", Object(SMS)),
    ("text", Text),
    ("push", Object(PUSH)),
    ("email", OtherChannel),
    ("rcs", OtherChannel),
];

static PUSH: Fields = &[
    ("apns", AnyObject),
    ("badge", Integer),
    ("body", Text),
    ("category", Text),
    ("collapse_key", Text),
    ("data", TextMap),
    ("deep_link", Text),
    ("fcm", AnyObject),
    ("image_url", Text),
    ("push_type", Text),
    ("silent", Boolean),
    ("sound", Text),
    ("thread_id", Text),
    ("title", Text),
];

static SMS: Fields = &[
    ("data", Text),
    ("encoding", Text),
    ("flash", Boolean),
    ("max_segments", Integer),
    ("on_too_long", Text),
    ("smart_encoding", Text),
    ("text", Text),
    ("udh", Text),
    ("regulatory", Later),
    ("tlv", TextOrIntegerMap),
];

static STEP: Fields = &[
    ("channel", Text),
    (
        "failover",
        Object(&[("max_routes", Integer), ("on", List(&Text))]),
    ),
    ("on", List(&Text)),
    ("revoke", Default("true")),
    ("until", Text),
    ("wait", Later),
];

static TRACKING: Fields = &[
    ("campaign_id", Text),
    ("correlation_id", Text),
    ("journey_id", Text),
    ("journey_step", Text),
    ("template_id", Text),
    ("template_version", Text),
    ("trigger_id", Text),
];

/// The fields that may be sent with their default only: the schema's name, the field and its value.
pub(crate) fn defaults() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    let tables = [("Policy", POLICY), ("Step", STEP)];
    tables.into_iter().flat_map(|(schema, fields)| {
        fields.iter().filter_map(move |(name, shape)| match shape {
            Default(json) => Some((schema, *name, serde_json::from_str(json).ok()?)),
            _ => None,
        })
    })
}

/// Reads a small object. Wrong shapes are returned beside what could be read, so that wrong values of
/// the other fields can be added: see [`with_values`].
///
/// # Errors
/// `malformed_json` when it is not JSON, `invalid_request` when it is no object.
pub(crate) fn read<T>(json: &[u8]) -> Result<(T, Vec<FieldError>), Problem>
where
    T: DeserializeOwned + Shaped,
{
    match serde_json::from_slice::<FromObject<T>>(json) {
        Ok(read) => Ok((read.0, Vec::new())),
        Err(error) if error.is_data() => explain(json, &error),
        Err(error) => Err(malformed(&error)),
    }
}

/// Explains JSON that could not be read because of `error`. What is wrong is taken out, so that the
/// rest can be checked as well.
///
/// # Errors
/// A problem when it is not JSON at all, or not an object.
pub(crate) fn explain<T>(
    json: &[u8],
    error: &serde_json::Error,
) -> Result<(T, Vec<FieldError>), Problem>
where
    T: Deserialize<'static> + Shaped,
{
    let mut value: Value = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
    let twice = twice::first(json);
    if !value.is_object() {
        return Err(Problem::of(vec![FieldError::at(
            "",
            "wrong_type",
            "must be an object",
        )]));
    }
    let mut errors = Vec::new();
    walk(
        &mut value,
        &Object(T::FIELDS),
        &mut String::new(),
        &mut errors,
    );
    // A name that comes twice is not seen in a map, which keeps the last.
    if let Some(pointer) = twice {
        errors.push(FieldError::at(pointer, "duplicate_key", "comes twice"));
    }
    match T::deserialize(value) {
        Ok(read) => Ok((read, errors)),
        Err(_) => {
            let reason = without_position(error);
            Err(Problem::of(vec![FieldError::at(
                "",
                "not_readable",
                reason,
            )]))
        }
    }
}

/// Whether the shape of a field that `error` is about is told as wrong already: what follows from it
/// says nothing more.
pub(crate) fn is_told(shapes: &[FieldError], error: &FieldError) -> bool {
    let place = error.pointer.as_deref().unwrap_or_default();
    shapes.iter().any(|shape| {
        let known = shape.pointer.as_deref().unwrap_or_default();
        below(known, place) || below(place, known)
    })
}

/// Wrong shapes, and the wrong values of the other fields.
pub(crate) fn with_values(mut shapes: Vec<FieldError>, values: Vec<FieldError>) -> Vec<FieldError> {
    let told = shapes.len();
    for error in values {
        if !is_told(&shapes[..told], &error) {
            shapes.push(error);
        }
    }
    shapes
}

/// Whether `place` is `root` or lies below it: the next character must begin a new part.
pub(crate) fn below(place: &str, root: &str) -> bool {
    place
        .strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || root.ends_with('/') || rest.starts_with(['/', '?']))
}

/// Checks one value; `false` says that it has to be taken out.
fn walk(value: &mut Value, shape: &Shape, at: &mut String, errors: &mut Vec<FieldError>) -> bool {
    if errors.len() > ERRORS_MAX {
        return false;
    }
    let wrong = match (shape, value) {
        (Text, Value::String(_)) | (TextOr(_) | TextOrLater, Value::String(_)) => return true,
        (Integer, Value::Number(number)) if number.is_i64() => return true,
        (Boolean, Value::Bool(_)) => return true,
        (TextOrInteger, Value::String(_)) => return true,
        (TextOrInteger, Value::Number(number)) if number.is_u64() => return true,
        (AnyObject, Value::Object(_)) => return true,
        (TextMap, Value::Object(map)) => {
            members(map, at, errors, |_| Some(&Text));
            return true;
        }
        (TextOrIntegerMap, Value::Object(map)) => {
            members(map, at, errors, |_| Some(&TextOrInteger));
            return true;
        }
        (Object(fields) | TextOr(fields), Value::Object(map)) => {
            members(map, at, errors, |name| {
                fields.iter().find(|field| field.0 == name).map(|f| &f.1)
            });
            return true;
        }
        (List(each), Value::Array(values)) => return list(values, each, at, errors),
        // Taken out: it is the same request as without.
        (Default(json), value) if is_default(value, json) => return false,
        (TextOrLater, Value::Object(_)) | (Later | Default(_), _) => {
            errors.push(not_available(at.clone()));
            return false;
        }
        (OtherChannel, _) => {
            errors.push(
                FieldError::at(at.clone(), "channel_not_enabled", "")
                    .alone(Code::ChannelNotEnabled),
            );
            return false;
        }
        (Text | TextOrLater, _) => "must be a string",
        (Integer, _) => "must be an integer",
        (Boolean, _) => "must be true or false",
        (TextMap, _) => "must be an object of strings",
        (TextOrInteger, _) => "must be a string or an integer that is not negative",
        (TextOrIntegerMap, _) => "must be an object of strings and integers",
        (Object(_) | AnyObject, _) => "must be an object",
        (TextOr(_), _) => "must be a string or an object",
        (List(_), _) => "must be a list",
    };
    errors.push(FieldError::at(at.clone(), "wrong_type", wrong));
    false
}

/// Whether `value` is the default that `json` says.
fn is_default(value: &Value, json: &str) -> bool {
    serde_json::from_str::<Value>(json).is_ok_and(|default| default == *value)
}

/// What is said of what the contract has and this version lacks.
pub(crate) const NOT_IN_THIS_VERSION: &str = "not in this version";

/// A field that the contract has and this version lacks.
pub(crate) fn not_available(pointer: impl Into<String>) -> FieldError {
    FieldError::at(pointer, "not_available", NOT_IN_THIS_VERSION).alone(Code::NotAvailable)
}

fn members(
    map: &mut serde_json::Map<String, Value>,
    at: &mut String,
    errors: &mut Vec<FieldError>,
    shape_of: impl Fn(&str) -> Option<&'static Shape>,
) {
    let length = at.len();
    map.retain(|name, value| {
        push_token(at, name);
        // null says the same as leaving the field out, whatever the field is.
        let keep = match shape_of(name) {
            Some(_) if value.is_null() => false,
            Some(shape) => walk(value, shape, at, errors),
            None => {
                if errors.len() <= ERRORS_MAX {
                    errors.push(FieldError::at(at.clone(), "unknown_field", ""));
                }
                false
            }
        };
        at.truncate(length);
        keep
    });
}

fn list(
    values: &mut [Value],
    each: &'static Shape,
    at: &mut String,
    errors: &mut Vec<FieldError>,
) -> bool {
    let length = at.len();
    let mut sound = true;
    for (index, value) in values.iter_mut().enumerate() {
        push_token(at, &index.to_string());
        sound &= walk(value, each, at, errors);
        at.truncate(length);
    }
    // Taking out single elements would move the places of the others: all go.
    sound
}

/// Appends a reference token, escaped as RFC 6901 §3 says.
pub(crate) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for char in shown(token).chars() {
        match char {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}
