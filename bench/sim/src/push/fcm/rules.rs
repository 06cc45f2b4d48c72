//! What FCM asks of a message. Pure.
//!
//! Source: REST reference, `projects.messages`; "Send messages to topics"; `ErrorCode`. Sentences
//! are Google's where they are known. Written down here once more and not taken from the codec,
//! whose mistakes would not be seen.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Octets of a payload, and of one for a topic or a condition.
const PAYLOAD_OCTETS_MAX: usize = 4_096;
const TOPIC_OCTETS_MAX: usize = 2_048;

/// Seconds that a message may wait: four weeks.
const TTL_SECONDS_MAX: u64 = 2_419_200;

/// Topics in a condition.
const CONDITION_TOPICS_MAX: usize = 5;

/// Members of `message`.
const MEMBERS: [&str; 11] = [
    "name",
    "data",
    "notification",
    "android",
    "webpush",
    "apns",
    "fcm_options",
    "token",
    "fid",
    "topic",
    "condition",
];

/// Why a message is refused, always INVALID_ARGUMENT: the field, if one is named, and the sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) field: Option<Cow<'static, str>>,
    pub(super) message: Cow<'static, str>,
}

/// A message that FCM would take.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken<'a> {
    /// The token, topic or condition.
    pub(super) target: &'a str,
    pub(super) validate_only: bool,
}

fn invalid<T>(
    field: impl Into<Cow<'static, str>>,
    message: impl Into<Cow<'static, str>>,
) -> Result<T, Invalid> {
    Err(Invalid {
        field: Some(field.into()),
        message: message.into(),
    })
}

/// Looks at a request's body.
pub(super) fn check(json: &Value) -> Result<Taken<'_>, Invalid> {
    let message = json.get("message").and_then(Value::as_object);
    let Some(message) = message else {
        return invalid("message", "Message is not set.");
    };
    if let Some(name) = message.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
        let sentence = "Invalid JSON payload received. Unknown name";
        let text = format!("{sentence} \"{name}\" at 'message': Cannot find field.");
        return invalid("message", text);
    }
    let (kind, target) = target(message)?;
    let many = kind != "token" && kind != "fid";
    strings(message, "data", "message.data")?;
    let android = message.get("android").and_then(Value::as_object);
    if let Some(android) = android {
        strings(android, "data", "message.android.data")?;
        let ttl = android.get("ttl").map(|ttl| ttl.as_str().and_then(seconds));
        if ttl.is_some_and(|ttl| ttl.is_none_or(|ttl| ttl > TTL_SECONDS_MAX)) {
            return invalid("message.android.ttl", "Invalid value (TTL)");
        }
        let priority = android.get("priority").map(Value::as_str);
        let known = ["NORMAL", "HIGH", "normal", "high"].map(Some);
        if priority.is_some_and(|priority| !known.contains(&priority)) {
            return invalid("message.android.priority", "Invalid value (TYPE_ENUM)");
        }
    }
    let most = if many {
        TOPIC_OCTETS_MAX
    } else {
        PAYLOAD_OCTETS_MAX
    };
    if octets(message) > most {
        return Err(Invalid {
            field: None,
            message: "Message is too large. The maximum is 4K (4096 bytes).".into(),
        });
    }
    let validate_only = json.get("validate_only").and_then(Value::as_bool);
    Ok(Taken {
        target,
        validate_only: validate_only.unwrap_or(false),
    })
}

/// The one target, and what kind it is.
fn target(message: &Map<String, Value>) -> Result<(&'static str, &str), Invalid> {
    let mut targets = ["token", "fid", "topic", "condition"]
        .into_iter()
        .filter_map(|kind| Some((kind, message.get(kind)?)));
    let (kind, target) = match (targets.next(), targets.next()) {
        (Some(one), None) => one,
        (None, _) => return invalid("message", "Recipient of the message is not set."),
        (Some(_), Some(_)) => {
            return invalid(
                "message",
                "Invalid value at 'message' (oneof), oneof field 'target' is already set.",
            );
        }
    };
    let target = target.as_str().unwrap_or_default();
    let fits = match kind {
        "topic" => is_topic(target),
        "condition" => is_condition(target),
        _ => !target.is_empty() && target.bytes().all(|octet| octet.is_ascii_graphic()),
    };
    match (fits, kind) {
        (true, _) => Ok((kind, target)),
        (false, "topic") => invalid("message.topic", "Invalid topic name"),
        (false, "condition") => invalid(
            "message.condition",
            "Invalid condition expression provided.",
        ),
        (false, _) => Err(Invalid {
            field: None,
            message: "The registration token is not a valid FCM registration token".into(),
        }),
    }
}

/// A map of strings without reserved keys.
fn strings(of: &Map<String, Value>, member: &str, at: &str) -> Result<(), Invalid> {
    let Some(map) = of.get(member) else {
        return Ok(());
    };
    let Some(map) = map.as_object() else {
        return invalid(at.to_owned(), format!("Invalid value at '{at}' (Map)"));
    };
    for (number, (key, value)) in map.iter().enumerate() {
        if !value.is_string() {
            let field = format!("{at}[{number}].value");
            let text = format!("Invalid value at '{field}' (TYPE_STRING), {value}");
            return invalid(field, text);
        }
        let reserved = key == "from" || key == "message_type";
        if reserved || key.starts_with("google") || key.starts_with("gcm") {
            return Err(Invalid {
                field: None,
                message: format!("Invalid data payload key: {key}").into(),
            });
        }
    }
    Ok(())
}

fn is_topic(topic: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.~%".contains(&octet);
    !topic.is_empty() && topic.bytes().all(allowed)
}

/// `'a' in topics && ('b' in topics || !('c' in topics))`: every topic is one, there are few of
/// them, what is between is of operators, and parentheses fit.
fn is_condition(condition: &str) -> bool {
    let parts: Vec<&str> = condition.split('\'').collect();
    let topics = parts.iter().skip(1).step_by(2);
    let (count, fit) = (parts.len() / 2, topics.copied().all(is_topic));
    let rest: String = parts.iter().step_by(2).copied().collect();
    let rest = rest.replace(" in topics", "@");
    let operands = rest.matches('@').count();
    let operators = rest.matches("&&").count() + rest.matches("||").count();
    let known = rest.bytes().all(|octet| b"@&|()! ".contains(&octet));
    let (open, closed) = (rest.matches('(').count(), rest.matches(')').count());
    let right = (1..=CONDITION_TOPICS_MAX).contains(&count) && fit && known;
    right && operands == count && operators + 1 == count && open == closed
}

/// Whole seconds of a duration, rounded up: `3600s`, `1.5s`.
fn seconds(text: &str) -> Option<u64> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    (0.0..1e15)
        .contains(&seconds)
        .then(|| seconds.ceil() as u64)
}

/// Octets of `data` and `notification`, keys and values.
fn octets(message: &Map<String, Value>) -> usize {
    let strings = |map: Option<&Value>| -> usize {
        let pairs = map.and_then(Value::as_object).into_iter().flatten();
        pairs
            .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
            .sum()
    };
    strings(message.get("data")) + strings(message.get("notification"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(json: &Value) -> String {
        match check(json) {
            Ok(_) => String::new(),
            Err(invalid) => format!("{}: {}", invalid.field.unwrap_or_default(), invalid.message),
        }
    }

    #[test]
    fn takes_each_kind_of_target() {
        for (kind, target) in [
            ("token", "abc:APA91-_x"),
            ("fid", "fid1"),
            ("topic", "news~%1"),
            (
                "condition",
                "'a' in topics && ('b' in topics || !('c' in topics))",
            ),
        ] {
            let json = json!({ "message": { kind: target, "data": { "k": "v" } } });
            let taken = check(&json).unwrap();
            assert_eq!((taken.target, taken.validate_only), (target, false));
        }
        let json = json!({ "message": { "token": "a" }, "validate_only": true });
        assert!(check(&json).unwrap().validate_only);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let cases = [
            (json!({}), "message: Message is not set."),
            (json!({ "message": {} }), "message: Recipient"),
            (
                json!({ "message": { "token": "a", "topic": "b" } }),
                "message: Invalid value at",
            ),
            (
                json!({ "message": { "token": "a", "tokn": 1 } }),
                "message: Invalid JSON payload",
            ),
            (
                json!({ "message": { "token": "a", "data": { "k": 12 } } }),
                "message.data[0].value: ",
            ),
            (
                json!({ "message": { "token": "a", "data": { "from": "x" } } }),
                ": Invalid data payload key: from",
            ),
            (
                json!({ "message": { "token": "a", "android": { "ttl": "2419201s" } } }),
                "message.android.ttl",
            ),
            (
                json!({ "message": { "token": "a", "android": { "ttl": 5 } } }),
                "message.android.ttl",
            ),
            (
                json!({ "message": { "token": "a", "android": { "priority": "10" } } }),
                "message.android.priority",
            ),
            (
                json!({ "message": { "topic": "/topics/x" } }),
                "message.topic",
            ),
            (
                json!({ "message": { "condition": "'a' in topics &&" } }),
                "message.condition",
            ),
            (
                json!({ "message": { "condition": "a in topics" } }),
                "message.condition",
            ),
            (
                json!({ "message": { "token": "a b" } }),
                ": The registration token",
            ),
        ];
        for (json, start) in cases {
            let refused = refused(&json);
            assert!(refused.starts_with(start), "{json}: {refused}");
        }
    }

    #[test]
    fn counts_keys_and_values() {
        let sized = |kind: &str, octets: usize| {
            let data = "x".repeat(octets - 1);
            refused(&json!({ "message": { kind: "a", "data": { "k": data } } }))
        };
        assert_eq!(sized("token", 4_096), "");
        assert!(sized("token", 4_097).contains("too large"));
        assert_eq!(sized("topic", 2_048), "");
        assert!(sized("topic", 2_049).contains("too large"));
    }
}
