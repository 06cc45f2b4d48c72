//! APNs' answers: status, headers and body to what they mean.

use serde_json::Value;

use super::ApnsId;
use super::reason::{self, classify};
use crate::verdict::{Class, Reason, kept};

/// Most octets of a body that is read. Chosen: Apple's have up to 80; a proxy's page is kept by its
/// start only.
pub const ANSWER_OCTETS_MAX: usize = 4_096;

/// An answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub class: Class,
    /// The id that it is for; `None` if the header is absent or no UUID.
    pub apns_id: Option<ApnsId>,
    /// Why it was refused; none where the body does not name it.
    pub reason: Reason,
    /// The start of a body that names no reason: a proxy's page, or what broke off. Untrusted text.
    pub text: Box<str>,
    /// Since when the token is known to be gone, in milliseconds since 1970; with 410 only.
    pub timestamp_ms: Option<u64>,
}

impl Answer {
    /// Reads an answer: its status, its header `apns-id`, and its body, of which
    /// [`ANSWER_OCTETS_MAX`] are looked at.
    #[must_use]
    pub fn read(status: u16, apns_id: Option<&[u8]>, body: &[u8]) -> Self {
        let apns_id = apns_id.and_then(ApnsId::parse);
        if status == 200 {
            return Self {
                status,
                class: Class::Accepted,
                apns_id,
                reason: Reason::None,
                text: Box::default(),
                timestamp_ms: None,
            };
        }
        let body = body.get(..ANSWER_OCTETS_MAX).unwrap_or(body);
        let json = parse(body);
        let named = named(json.as_ref());
        let text = match &named {
            Some(_) => Box::default(),
            None => kept(body).into(),
        };
        let reason = named.unwrap_or(Reason::None);
        Self {
            status,
            class: classify(status, Some(reason.text())),
            apns_id,
            reason,
            text,
            timestamp_ms: json.and_then(|json| json.get("timestamp")?.as_u64()),
        }
    }
}

/// Why APNs closes a connection: the debug data of a GOAWAY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoAway {
    /// The reason, or the text as it came.
    pub reason: Reason,
    /// What it means for the connections to come: [`Class::ConnectionFatal`] if nothing more.
    pub class: Class,
}

impl GoAway {
    /// Reads the debug data: `{"reason":"…"}`, a plain text, or nothing.
    #[must_use]
    pub fn read(debug_data: &[u8]) -> Self {
        let data = debug_data.get(..ANSWER_OCTETS_MAX).unwrap_or(debug_data);
        let reason = named(parse(data).as_ref()).unwrap_or_else(|| Reason::other(data));
        // What is only about one message says nothing about a connection.
        let class = match reason::find(reason.text()).map(|row| row.class) {
            Some(class @ (Class::PermanentConfig | Class::ConnectionThrottled)) => class,
            _ => Class::ConnectionFatal,
        };
        Self { reason, class }
    }
}

fn parse(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

/// The reason that a body names.
fn named(json: Option<&Value>) -> Option<Reason> {
    let text = json.and_then(|json| json.get("reason")?.as_str())?;
    Some(match reason::find(text) {
        Some(row) => Reason::Known(row.reason),
        None => Reason::other(text.as_bytes()),
    })
}
