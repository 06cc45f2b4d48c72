//! Shapes: says what exactly is wrong with JSON that is no [`Request`], field by field.
//!
//! The slow path: reached only by requests that cannot be read. The table below holds every request
//! field of contract.md §1; those that this version lacks answer `not_available`.

use serde::Deserialize;
use serde_json::Value;

use crate::accept::problem::{Code, ERRORS_MAX, FieldError, Problem, shown};
use crate::accept::request::{Request, malformed, without_position};

mod twice;

pub(crate) use twice::first as first_twice;

/// What a field may hold.
enum Shape {
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
    Object(&'static [(&'static str, Self)]),
    /// A string, or the object.
    TextOr(&'static [(&'static str, Self)]),
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

static MESSAGE: &[(&str, Shape)] = &[
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

static POLICY: &[(&str, Shape)] = &[
    ("on_ambiguous", Text),
    ("frequency_cap", Default("\"respect\"")),
    ("quiet_hours", Default("\"respect\"")),
    ("redact_to", Default("false")),
    ("retain_content", Default("\"full\"")),
    ("suppressions", Text),
];

static TO: &[(&str, Shape)] = &[
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

static DEVICE: &[(&str, Shape)] = &[
    ("app", Text),
    ("platform", Text),
    ("registered_at", Text),
    ("token", Text),
];

static CONTENT: &[(&str, Shape)] = &[
    ("sms", Object(SMS)),
    ("text", Text),
    ("push", Object(PUSH)),
    ("email", OtherChannel),
    ("rcs", OtherChannel),
];

static PUSH: &[(&str, Shape)] = &[
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

static SMS: &[(&str, Shape)] = &[
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

static STEP: &[(&str, Shape)] = &[
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

static TRACKING: &[(&str, Shape)] = &[
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

/// Explains JSON that could not be read as a [`Request`] because of `error`. What is wrong is taken
/// out, so that the rest can be checked as well.
///
/// # Errors
/// A problem when it is not JSON at all, or not an object.
pub(crate) fn explain(
    json: &[u8],
    error: &serde_json::Error,
) -> Result<(Request<'static>, Vec<FieldError>), Problem> {
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
        &Object(MESSAGE),
        &mut String::new(),
        &mut errors,
    );
    // A name that comes twice is not seen in a map, which keeps the last.
    if let Some(pointer) = twice {
        errors.push(FieldError::at(pointer, "duplicate_key", "comes twice"));
    }
    match Request::deserialize(value) {
        Ok(request) => Ok((request, errors)),
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

#[cfg(test)]
mod tests {
    use crate::accept::problem::{Code, Problem};
    use crate::accept::request::{merge, parse};

    fn errors(json: &str) -> Vec<(String, &'static str)> {
        let (_, errors) = parse(json.as_bytes()).unwrap();
        let pairs = errors.into_iter().map(|e| (e.pointer.unwrap(), e.code));
        pairs.collect()
    }

    #[test]
    fn unknown_fields_are_named_at_every_depth() {
        assert_eq!(
            errors(r#"{"expire_at":"x","content":{"sms":{"max_segment":1}},"to":{"fone":"1"}}"#),
            [
                ("/content/sms/max_segment".into(), "unknown_field"),
                ("/expire_at".into(), "unknown_field"),
                ("/to/fone".into(), "unknown_field"),
            ]
        );
    }

    #[test]
    fn fields_of_the_contract_that_are_not_built_say_so() {
        for (json, pointer) in [
            (r#"{"send_at":"2026-11-21T08:00:00Z"}"#, "/send_at"),
            (r#"{"routing":{"prefer":["a"]}}"#, "/routing"),
            (r#"{"from":{"pool":"se"}}"#, "/from"),
            (r#"{"to":{"phone":"+46701234567","ref":"u"}}"#, "/to/ref"),
            (r#"{"to":{"email":"a@b"}}"#, "/to/email"),
            (
                r#"{"content":{"sms":{"regulatory":{}}}}"#,
                "/content/sms/regulatory",
            ),
            (r#"{"plan":{"steps":[{"wait":3}]}}"#, "/plan/steps/0/wait"),
            (
                r#"{"plan":{"steps":[{"revoke":false}]}}"#,
                "/plan/steps/0/revoke",
            ),
            (
                r#"{"policy":{"quiet_hours":"ignore"}}"#,
                "/policy/quiet_hours",
            ),
            (
                r#"{"policy":{"retain_content":"hash"}}"#,
                "/policy/retain_content",
            ),
        ] {
            let (_, errors) = parse(json.as_bytes()).unwrap();
            assert_eq!(errors.len(), 1, "{json}");
            assert_eq!(errors[0].pointer.as_deref(), Some(pointer));
            assert_eq!(Problem::of(errors).code, Code::NotAvailable, "{json}");
        }
    }

    #[test]
    fn a_field_that_is_not_built_may_be_sent_with_its_default() {
        let (plain, _) = parse(br#"{"plan":{"steps":[{"channel":"sms"}]}}"#).unwrap();
        for json in [
            r#"{"plan":{"steps":[{"channel":"sms","until":"delivered"}]}}"#,
            r#"{"plan":{"steps":[{"channel":"sms","revoke":true}]}}"#,
            r#"{"plan":{"steps":[{"channel":"sms","on":["undelivered","rejected","no_route"]}]}}"#,
        ] {
            let (mut request, mut errors) = parse(json.as_bytes()).unwrap();
            merge::expand(&mut request, &mut errors);
            assert_eq!(errors, [], "{json}");
            let text = |request| serde_json::to_string(request).unwrap();
            assert_eq!(text(&request), text(&plain), "the same request: {json}");
        }
        for json in [
            r#"{"policy":{"quiet_hours":"respect","suppressions":"respect","frequency_cap":"respect"}}"#,
            r#"{"policy":{"retain_content":"full","redact_to":false}}"#,
        ] {
            assert_eq!(errors(json), [], "{json}");
        }
        assert_eq!(super::defaults().count(), 5, "each is a table's field");
    }

    #[test]
    fn channels_that_are_not_enabled_say_so() {
        for json in [r#"{"content":{"email":{}}}"#, r#"{"content":{"rcs":{}}}"#] {
            let (_, errors) = parse(json.as_bytes()).unwrap();
            assert_eq!(Problem::of(errors).code, Code::ChannelNotEnabled);
        }
    }

    #[test]
    fn wrong_types_are_named() {
        assert_eq!(
            errors(r#"{"content":{"sms":{"tlv":{"a":"x","b":7,"c":-1,"d":true,"e":null}}}}"#),
            [
                ("/content/sms/tlv/c".into(), "wrong_type"),
                ("/content/sms/tlv/d".into(), "wrong_type"),
            ]
        );
        assert_eq!(
            errors(
                r#"{"ttl":"60","text":5,"tags":["a",1,true],"metadata":{"a/b":1},"to":7,"plan":[]}"#
            ),
            [
                ("/metadata/a~1b".into(), "wrong_type"),
                ("/plan".into(), "wrong_type"),
                ("/tags/1".into(), "wrong_type"),
                ("/tags/2".into(), "wrong_type"),
                ("/text".into(), "wrong_type"),
                ("/to".into(), "wrong_type"),
                ("/ttl".into(), "wrong_type"),
            ]
        );
        assert_eq!(
            errors(r#"{"content":["a"],"plan":{"steps":[["sms"]]},"tracking":[]}"#),
            [
                ("/content".into(), "wrong_type"),
                ("/plan/steps/0".into(), "wrong_type"),
                ("/tracking".into(), "wrong_type"),
            ],
            "a list is no object"
        );
        assert_eq!(errors(r#"{"ttl":1.5}"#), [("/ttl".into(), "wrong_type")]);
    }

    #[test]
    fn what_can_be_read_is_kept_for_the_check() {
        let (request, errors) = parse(br#"{"to":"+46701234567","nope":1,"ttl":5}"#).unwrap();
        assert_eq!(errors.len(), 1);
        assert_eq!(request.ttl, Some(5));
        assert_eq!(request.to.unwrap().phone.unwrap().0, "+46701234567");
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let (request, errors) = parse(br#"{"ttl":null,"text":null,"to":null}"#).unwrap();
        assert!(errors.is_empty() && request.ttl.is_none() && request.to.is_none());
        assert_eq!(errors.len(), 0);
        let (_, errors) = parse(br#"{"send_at":null}"#).unwrap();
        assert_eq!(
            errors,
            [],
            "null of a field that is not built asks for nothing"
        );
    }

    #[test]
    fn what_is_not_json_or_not_an_object_is_a_problem_with_a_position() {
        let problem = parse(b"{\"to\":\n}").unwrap_err();
        assert_eq!(problem.code, Code::MalformedJson);
        assert!(
            problem.detail.contains("line 2 column 1"),
            "{}",
            problem.detail
        );
        assert_eq!(parse(b"").unwrap_err().code, Code::MalformedJson);
        assert_eq!(parse(b"{} x").unwrap_err().code, Code::MalformedJson);
        assert_eq!(
            parse(b"{\"text\":\"\xff\"}").unwrap_err().code,
            Code::MalformedJson
        );
        assert_eq!(
            parse(b"{\"nope\":1,").unwrap_err().code,
            Code::MalformedJson
        );
        assert_eq!(parse(b"[]").unwrap_err().code, Code::InvalidRequest);
        assert_eq!(parse(b"7").unwrap_err().code, Code::InvalidRequest);
    }

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        for (json, pointer) in [
            (r#"{"ttl":5,"ttl":6}"#, "/ttl"),
            (r#"{"send_at":null,"ttl":5,"ttl":6}"#, "/ttl"),
            (r#"{"ttl":5,"t\u0074l":5}"#, "/ttl"),
            (
                r#"{"plan":{"steps":[{"until":"delivered","channel":"push","channel":"sms"}]}}"#,
                "/plan/steps/0/channel",
            ),
            (
                r#"{"policy":{"redact_to":false,"redact_to":true}}"#,
                "/policy/redact_to",
            ),
        ] {
            let found = errors(json);
            assert!(
                found.contains(&(pointer.into(), "duplicate_key")),
                "{json}: {found:?}"
            );
        }
    }

    #[test]
    fn errors_stop_at_their_bound() {
        let mut json = String::from("{");
        for n in 0..10_000 {
            json.push_str(&format!("\"f{n}\":1,"));
        }
        json.push_str("\"z\":1}");
        assert!(errors(&json).len() < 40);
        let long = format!(
            r#"{{"{}":{{"x":1}},"metadata":{{"a":1}}}}"#,
            "k".repeat(60_000)
        );
        assert!(errors(&long).iter().all(|(pointer, _)| pointer.len() < 100));
    }
}
