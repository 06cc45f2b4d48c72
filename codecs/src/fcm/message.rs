//! An FCM message: what Google would refuse in it, how large it is, and the request's body.

use serde_json::{Map, Value};

use super::target::{Target, in_topic};

/// Most octets of a message's payload, as [`Message::octets`] counts them. REST reference,
/// `ErrorCode`, "Message too big".
pub const PAYLOAD_OCTETS_MAX: usize = 4_096;

/// The same for a topic or a condition.
pub const TOPIC_PAYLOAD_OCTETS_MAX: usize = 2_048;

/// Most seconds that FCM keeps a message: four weeks. REST reference, `AndroidConfig.ttl`.
pub const TTL_SECONDS_MAX: u64 = 2_419_200;

/// Most characters of an analytics label: `^[a-zA-Z0-9-_.~%]{1,50}$`. REST reference,
/// `FcmOptions`.
pub const ANALYTICS_LABEL_CHARS_MAX: usize = 50;

/// Members that name the target or are Google's to fill, which come from elsewhere; and those of the
/// request around the message, in which Google knows none of them ("Unknown name", INVALID_ARGUMENT).
/// REST reference, `Message` and `messages.send`; protobuf's JSON takes both spellings.
const NOT_IN_OVERLAY: [&str; 8] = [
    "condition",
    "fid",
    "message",
    "name",
    "token",
    "topic",
    "validateOnly",
    "validate_only",
];

/// What is wrong at a member of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// It is the target's, Google's own, or of the request around the message.
    NotHere,
    /// It is no object.
    NotAnObject,
    /// It is no string.
    NotAString,
    /// The key is reserved: `from`, `message_type`, `gcm…`, `google…`.
    ReservedKey,
    /// It is no duration such as `3600s` of 0 to [`TTL_SECONDS_MAX`].
    Ttl,
    /// It is neither `NORMAL` nor `HIGH`.
    Priority,
    /// It is no analytics label.
    AnalyticsLabel,
    /// It is no `https` URL.
    Link,
    /// The payload for APNs in it has this many octets, more than [`PAYLOAD_OCTETS_MAX`].
    ApnsPayload(usize),
}

/// What FCM would refuse in a message, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageError {
    /// The member, as in `android.ttl`; a key of `data` follows it.
    pub at: Box<str>,
    /// What is wrong there.
    pub problem: Problem,
}

impl std::fmt::Display for MessageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` ", self.at.escape_debug())?;
        match self.problem {
            Problem::NotHere => {
                f.write_str("does not belong into an FCM overlay, which is of the message itself")
            }
            Problem::NotAnObject => f.write_str("must be an object"),
            Problem::NotAString => f.write_str("must be a string"),
            Problem::ReservedKey => f.write_str(
                "is a reserved key: `from`, `message_type`, and what starts with `gcm` or `google`",
            ),
            Problem::Ttl => write!(
                f,
                "must be seconds such as `3600s`, at most {TTL_SECONDS_MAX}"
            ),
            Problem::Priority => f.write_str("must be `NORMAL` or `HIGH`"),
            Problem::AnalyticsLabel => write!(
                f,
                "must be 1 to {ANALYTICS_LABEL_CHARS_MAX} letters, digits and `-_.~%`"
            ),
            Problem::Link => f.write_str("must be an https URL"),
            Problem::ApnsPayload(octets) => {
                write!(f, "has {octets} octets, APNs takes {PAYLOAD_OCTETS_MAX}")
            }
        }
    }
}

impl std::error::Error for MessageError {}

/// Says whether a key may stand in `data`. REST reference, `Message.data` and `ErrorCode`.
#[must_use]
pub fn check_data_key(key: &str) -> bool {
    let reserved = key == "from" || key == "message_type";
    !(reserved || key.starts_with("gcm") || key.starts_with("google"))
}

/// A message without its target: one object of JSON, compact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    json: Vec<u8>,
    octets: usize,
}

impl Message {
    /// Checks a message that was put together, and writes it. Members that are not known pass:
    /// Google adds to them.
    ///
    /// # Errors
    /// The first [`MessageError`].
    pub fn new(message: &Map<String, Value>) -> Result<Self, MessageError> {
        check(message)?;
        let mut json = Vec::with_capacity(512);
        crate::json::object(&mut json, message);
        let octets = counted(message);
        Ok(Self { json, octets })
    }

    /// A message that needs no check: one object, and the octets that Google counts.
    pub(crate) fn written(json: Vec<u8>, octets: usize) -> Self {
        Self { json, octets }
    }

    /// The object.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Octets of the payload: keys and values of `data` (or `android.data`, if larger) and of
    /// `notification`. Google documents "the payload data … both the keys and the values"; tests
    /// found `data` counted (autopush-rs#203) and 4,096 taken while 5,000 was refused. The keys
    /// around them, the target and the overlays of other platforms are not counted.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// The most that [`Message::octets`] may be for this target.
    #[must_use]
    pub fn octets_max(target: Target<'_>) -> usize {
        if target.is_topic() {
            TOPIC_PAYLOAD_OCTETS_MAX
        } else {
            PAYLOAD_OCTETS_MAX
        }
    }

    /// The request's body, with the target as the message's last member. With `validate_only`
    /// Google checks it and sends nothing.
    #[must_use]
    pub fn request(&self, target: Target<'_>, validate_only: bool) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.json.len() + 256);
        body.extend_from_slice(b"{\"message\":");
        let members = self.json.strip_suffix(b"}").unwrap_or(&self.json);
        body.extend_from_slice(members);
        if members.len() > 1 {
            body.push(b',');
        }
        target.write(&mut body);
        body.push(b'}');
        if validate_only {
            body.extend_from_slice(b",\"validate_only\":true");
        }
        body.push(b'}');
        body
    }
}

fn error(at: &str, problem: Problem) -> MessageError {
    MessageError {
        at: at.into(),
        problem,
    }
}

/// The object at a member; `None` if there is no such member.
fn object<'a>(
    of: &'a Map<String, Value>,
    member: &str,
    at: &str,
) -> Result<Option<&'a Map<String, Value>>, MessageError> {
    match of.get(member) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(error(at, Problem::NotAnObject)),
    }
}

/// Checks a member that is a string, if it is there.
fn text(
    of: &Map<String, Value>,
    member: &str,
    at: &str,
    problem: Problem,
    fits: impl Fn(&str) -> bool,
) -> Result<(), MessageError> {
    match of.get(member) {
        None => Ok(()),
        Some(Value::String(text)) if fits(text) => Ok(()),
        Some(Value::String(_)) => Err(error(at, problem)),
        Some(_) => Err(error(at, Problem::NotAString)),
    }
}

fn check(message: &Map<String, Value>) -> Result<(), MessageError> {
    for member in NOT_IN_OVERLAY {
        if message.contains_key(member) {
            return Err(error(member, Problem::NotHere));
        }
    }
    check_strings(message, "data", "data", check_data_key)?;
    check_label(message, "fcm_options")?;
    if let Some(notification) = object(message, "notification", "notification")? {
        for (member, at) in [
            ("title", "notification.title"),
            ("body", "notification.body"),
            ("image", "notification.image"),
        ] {
            text(notification, member, at, Problem::NotAString, |_| true)?;
        }
    }
    if let Some(android) = object(message, "android", "android")? {
        check_strings(android, "data", "android.data", check_data_key)?;
        check_label(android, "android.fcm_options")?;
        object(android, "notification", "android.notification")?;
        let collapse = "android.collapse_key";
        text(
            android,
            "collapse_key",
            collapse,
            Problem::NotAString,
            |_| true,
        )?;
        text(android, "ttl", "android.ttl", Problem::Ttl, |ttl| {
            duration_ms(ttl).is_some_and(|ms| ms <= TTL_SECONDS_MAX * 1_000)
        })?;
        let priorities = ["NORMAL", "HIGH", "normal", "high"];
        let fits = |priority: &str| priorities.contains(&priority);
        text(
            android,
            "priority",
            "android.priority",
            Problem::Priority,
            fits,
        )?;
    }
    if let Some(apns) = object(message, "apns", "apns")? {
        check_strings(apns, "headers", "apns.headers", |_| true)?;
        check_label(apns, "apns.fcm_options")?;
        if let Some(payload) = object(apns, "payload", "apns.payload")? {
            let mut json = Vec::new();
            crate::json::object(&mut json, payload);
            if json.len() > PAYLOAD_OCTETS_MAX {
                return Err(error("apns.payload", Problem::ApnsPayload(json.len())));
            }
        }
    }
    if let Some(webpush) = object(message, "webpush", "webpush")? {
        check_strings(webpush, "headers", "webpush.headers", |_| true)?;
        check_strings(webpush, "data", "webpush.data", check_data_key)?;
        check_label(webpush, "webpush.fcm_options")?;
        if let Some(options) = object(webpush, "fcm_options", "webpush.fcm_options")? {
            let at = "webpush.fcm_options.link";
            text(options, "link", at, Problem::Link, |link| {
                link.starts_with("https://")
            })?;
        }
    }
    Ok(())
}

/// A map of strings, if it is there.
fn check_strings(
    of: &Map<String, Value>,
    member: &str,
    at: &str,
    allowed: impl Fn(&str) -> bool,
) -> Result<(), MessageError> {
    let Some(map) = object(of, member, at)? else {
        return Ok(());
    };
    for (key, value) in map {
        let at = || format!("{at}.{}", crate::verdict::kept(key.as_bytes()));
        if !allowed(key) {
            return Err(error(&at(), Problem::ReservedKey));
        }
        if !value.is_string() {
            return Err(error(&at(), Problem::NotAString));
        }
    }
    Ok(())
}

/// `fcm_options.analytics_label` of what is at `at` without its last member.
fn check_label(of: &Map<String, Value>, at: &str) -> Result<(), MessageError> {
    let Some(options) = object(of, "fcm_options", at)? else {
        return Ok(());
    };
    let at = format!("{at}.analytics_label");
    text(
        options,
        "analytics_label",
        &at,
        Problem::AnalyticsLabel,
        |label| {
            (1..=ANALYTICS_LABEL_CHARS_MAX).contains(&label.len()) && label.bytes().all(in_topic)
        },
    )
}

/// Octets as [`Message::octets`] has them.
fn counted(message: &Map<String, Value>) -> usize {
    let strings = |map: Option<&Value>| {
        let pairs = map.and_then(Value::as_object).into_iter().flatten();
        pairs
            .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
            .sum::<usize>()
    };
    let android = message
        .get("android")
        .and_then(|android| android.get("data"));
    strings(message.get("data")).max(strings(android)) + strings(message.get("notification"))
}

/// Milliseconds of a duration in protobuf's JSON: decimal seconds, a fraction of up to nine
/// digits, `s`. Rounded up. protobuf, `google.protobuf.Duration`.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let seconds = text.strip_suffix('s')?;
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse::<u64>().ok()?;
    let whole: u64 = whole.parse().ok()?;
    whole
        .checked_mul(1_000)?
        .checked_add(nanos.div_ceil(1_000_000))
}
