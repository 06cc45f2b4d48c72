//! What APNs asks of a request's headers and payload. Pure.
//!
//! Source: Apple, "Sending notification requests to APNs". The order in which Apple looks at things
//! is not documented (push.md §10); chosen: path, then who asks, then headers, then payload, then
//! the token. Written down here once more and not taken from the codec, whose mistakes would not
//! be seen.

use crate::push::hpack::Headers;

/// A refusal: status and reason.
pub(super) type Refusal = (u16, &'static str);

/// Octets of `apns-collapse-id`.
const COLLAPSE_ID_OCTETS_MAX: usize = 64;

/// Octets of a payload, and of a VoIP payload.
const PAYLOAD_OCTETS_MAX: usize = 4_096;
const VOIP_OCTETS_MAX: usize = 5_120;

/// Digits of a device token that are taken: 100 octets were seen (push.md §1.1).
const TOKEN_DIGITS_MAX: usize = 200;

/// Push types, and what follows the bundle id in their topics. `mdm` has a topic of its own.
const PUSH_TYPES: &[(&str, &str)] = &[
    ("alert", ""),
    ("background", ""),
    ("mdm", ""),
    ("voip", ".voip"),
    ("complication", ".complication"),
    ("fileprovider", ".pushkit.fileprovider"),
    ("location", ".location-query"),
    ("liveactivity", ".push-type.liveactivity"),
    ("pushtotalk", ".voip-ptt"),
    ("widgets", ".push-type.widgets"),
    ("controls", ".push-type.controls"),
];

/// Headers that may come once only.
const ONCE: [&str; 8] = [
    ":path",
    "apns-collapse-id",
    "apns-expiration",
    "apns-id",
    "apns-priority",
    "apns-push-type",
    "apns-topic",
    "authorization",
];

/// The device token of a request that goes to the right place.
pub(super) fn device_token(headers: &Headers) -> Result<&[u8], Refusal> {
    if headers.get(":method") != Some(b"POST") {
        return Err((405, "MethodNotAllowed"));
    }
    let path = headers.get(":path").unwrap_or_default();
    let token = path.strip_prefix(b"/3/device/").ok_or((404, "BadPath"))?;
    if token.is_empty() {
        return Err((400, "MissingDeviceToken"));
    }
    if token.contains(&b'/') {
        return Err((404, "BadPath"));
    }
    for name in ONCE {
        let same = headers
            .iter()
            .filter(|(found, _)| *found == name.as_bytes());
        if same.count() > 1 {
            return Err((400, "DuplicateHeaders"));
        }
    }
    Ok(token)
}

/// What the rest asks: the bundle id, if the topic is right in itself.
pub(super) fn check<'a>(
    headers: &'a Headers,
    body: &[u8],
    token: &[u8],
    certificate: bool,
) -> Result<Option<&'a [u8]>, Refusal> {
    if headers.get("apns-id").is_some_and(|id| !is_uuid(id)) {
        return Err((400, "BadMessageId"));
    }
    let expiration = headers.get("apns-expiration");
    if expiration.is_some_and(|at| number(at).is_none()) {
        return Err((400, "BadExpirationDate"));
    }
    let push_type = match headers.get("apns-push-type") {
        // Asked for on watchOS only: without, it is an alert.
        None => None,
        Some(name) => {
            let mut known = PUSH_TYPES.iter();
            let known = known.find(|(known, _)| known.as_bytes() == name);
            Some(*known.ok_or((400, "InvalidPushType"))?)
        }
    };
    let priority = headers.get("apns-priority").unwrap_or(b"10");
    let known = [b"10".as_slice(), b"5", b"1"].contains(&priority);
    let kind = push_type.map_or("alert", |(name, _)| name);
    // "Always use priority 5. Using priority 10 is an error."
    if !known || (kind == "background" && priority == b"10") {
        return Err((400, "BadPriority"));
    }
    let collapse = headers.get("apns-collapse-id");
    if collapse.is_some_and(|id| id.is_empty() || id.len() > COLLAPSE_ID_OCTETS_MAX) {
        return Err((400, "BadCollapseId"));
    }
    let bundle = topic(headers.get("apns-topic"), push_type, certificate)?;
    payload(body, kind)?;
    let digits = token.len() <= TOKEN_DIGITS_MAX && token.len().is_multiple_of(2);
    if !digits || !token.iter().all(u8::is_ascii_hexdigit) {
        return Err((400, "BadDeviceToken"));
    }
    Ok(bundle)
}

/// The bundle id in a topic; `None` where the topic is none: a certificate names one itself.
fn topic<'a>(
    topic: Option<&'a [u8]>,
    push_type: Option<(&str, &str)>,
    certificate: bool,
) -> Result<Option<&'a [u8]>, Refusal> {
    let Some(topic) = topic else {
        return match certificate {
            true => Ok(None),
            false => Err((400, "MissingTopic")),
        };
    };
    let allowed = |octet: &u8| octet.is_ascii_alphanumeric() || b".-_".contains(octet);
    if topic.is_empty() || !topic.iter().all(allowed) {
        return Err((400, "BadTopic"));
    }
    match push_type {
        Some((kind, _)) if kind == "mdm" && !certificate => Err((400, "TopicDisallowed")),
        Some((kind, _)) if kind == "location" && certificate => Err((400, "TopicDisallowed")),
        Some((_, suffix)) => {
            let bundle = topic.strip_suffix(suffix.as_bytes());
            bundle.map(Some).ok_or((400, "BadTopic"))
        }
        None => Ok(Some(topic)),
    }
}

fn payload(body: &[u8], kind: &str) -> Result<(), Refusal> {
    let most = match kind {
        "voip" => VOIP_OCTETS_MAX,
        _ => PAYLOAD_OCTETS_MAX,
    };
    if body.len() > most {
        return Err((413, "PayloadTooLarge"));
    }
    // What is no JSON object holds no payload; Apple names no other reason for it.
    let object = body.trim_ascii_start().starts_with(b"{");
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(body);
    if !object || json.is_err() {
        return Err((400, "PayloadEmpty"));
    }
    Ok(())
}

/// Decimal digits.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &[u8]) -> bool {
    let hyphens = [8, 13, 18, 23];
    let fits = |(at, octet): (usize, &u8)| match hyphens.contains(&at) {
        true => *octet == b'-',
        false => octet.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.iter().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::hpack::{Decoder, write_field};

    const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut block = Vec::new();
        for (name, value) in fields {
            write_field(name, value.as_bytes(), &mut block);
        }
        let mut headers = Headers::default();
        Decoder::default().decode(&block, &mut headers).unwrap();
        headers
    }

    fn refused(fields: &[(&str, &str)], body: &str) -> &'static str {
        let headers = headers(fields);
        match check(&headers, body.as_bytes(), TOKEN.as_bytes(), false) {
            Ok(_) => "",
            Err((_, reason)) => reason,
        }
    }

    #[test]
    fn asks_for_method_path_token_and_headers_that_come_once() {
        let path = format!("/3/device/{TOKEN}");
        let asked = |method: &str, path: &str, extra: &[(&str, &str)]| {
            let fields = [&[(":method", method), (":path", path)], extra].concat();
            device_token(&headers(&fields)).map(<[u8]>::to_vec)
        };
        assert_eq!(asked("POST", &path, &[]).unwrap(), TOKEN.as_bytes());
        assert_eq!(asked("GET", &path, &[]), Err((405, "MethodNotAllowed")));
        assert_eq!(asked("POST", "/2/device/ab", &[]), Err((404, "BadPath")));
        assert_eq!(
            asked("POST", "/3/device/", &[]),
            Err((400, "MissingDeviceToken"))
        );
        let twice = [("apns-topic", "a"), ("apns-topic", "a")];
        assert_eq!(asked("POST", &path, &twice), Err((400, "DuplicateHeaders")));
    }

    #[test]
    fn refuses_each_header_with_its_reason() {
        let topic = ("apns-topic", "com.example.app");
        let voip = ("apns-topic", "com.example.app.voip");
        let kind = |name| ("apns-push-type", name);
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[topic], ""),
            (&[topic, kind("alert"), ("apns-priority", "1")], ""),
            (&[voip, kind("voip")], ""),
            (&[topic, kind("background"), ("apns-priority", "5")], ""),
            (&[], "MissingTopic"),
            (&[("apns-topic", "com example")], "BadTopic"),
            (&[topic, kind("voip")], "BadTopic"),
            (&[topic, kind("mdm")], "TopicDisallowed"),
            (&[topic, kind("Alert")], "InvalidPushType"),
            (&[topic, ("apns-priority", "7")], "BadPriority"),
            (&[topic, kind("background")], "BadPriority"),
            (&[topic, ("apns-expiration", "soon")], "BadExpirationDate"),
            (&[topic, ("apns-expiration", "-1")], "BadExpirationDate"),
            (&[topic, ("apns-expiration", "0")], ""),
            (&[topic, ("apns-id", "1")], "BadMessageId"),
            (&[topic, ("apns-collapse-id", "")], "BadCollapseId"),
        ];
        for (fields, reason) in cases {
            assert_eq!(refused(fields, r#"{"aps":{}}"#), *reason, "{fields:?}");
        }
        let long = "x".repeat(65);
        let fields = [topic, ("apns-collapse-id", &*long)];
        assert_eq!(refused(&fields, "{}"), "BadCollapseId");
    }

    #[test]
    fn refuses_payloads_by_size_and_form() {
        let sized = |octets: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(octets - 8));
        let alert = [("apns-topic", "com.example.app")];
        let voip = [
            ("apns-topic", "com.example.app.voip"),
            ("apns-push-type", "voip"),
        ];
        assert_eq!(refused(&alert, ""), "PayloadEmpty");
        assert_eq!(refused(&alert, "[]"), "PayloadEmpty");
        assert_eq!(refused(&alert, "{"), "PayloadEmpty");
        assert_eq!(refused(&alert, &sized(4_096)), "");
        assert_eq!(refused(&alert, &sized(4_097)), "PayloadTooLarge");
        assert_eq!(refused(&voip, &sized(5_120)), "");
        assert_eq!(refused(&voip, &sized(5_121)), "PayloadTooLarge");
    }

    #[test]
    fn refuses_a_token_that_is_none() {
        let headers = headers(&[("apns-topic", "com.example.app")]);
        for token in ["abc", "xy", &"ab".repeat(101)] {
            let refused = check(&headers, b"{}", token.as_bytes(), false);
            assert_eq!(refused, Err((400, "BadDeviceToken")), "{token}");
        }
        let none = Headers::default();
        let without = check(&none, b"{}", TOKEN.as_bytes(), true);
        assert_eq!(without, Ok(None), "a certificate names the topic");
    }
}
