//! Writes APNs' payload and FCM's message.

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::{Content, ContentError, Platform, RECEIPT_MESSAGE_ID, RECEIPT_TOKEN, Urgency, aps};
use crate::apns::{Priority, PushType};
use crate::fcm::{self, Message, TTL_SECONDS_MAX};
use crate::json::{self, Writer};

/// What goes to APNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApnsPush<'a> {
    /// The body: JSON within the push type's limit.
    pub payload: Vec<u8>,
    /// `apns-push-type`.
    pub push_type: PushType,
    /// `apns-priority`: one that the push type allows.
    pub priority: Priority,
    /// `apns-collapse-id`.
    pub collapse_id: Option<&'a str>,
}

impl Urgency {
    fn apns(self) -> Priority {
        match self {
            Self::High => Priority::Immediate,
            Self::Normal => Priority::Conserving,
            Self::Low => Priority::Lowest,
        }
    }

    fn fcm(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Normal | Self::Low => "NORMAL",
        }
    }
}

pub(super) fn apns<'a>(content: &Content<'a>) -> Result<ApnsPush<'a>, ContentError> {
    let push_type = content.push_type()?;
    check_shown(content, push_type)?;
    check_data(content, Platform::Apns)?;
    let mut payload = Vec::with_capacity(512);
    write_apns(&mut payload, content, push_type);
    if let Some(overlay) = content.apns {
        let merged = merged(&payload, overlay);
        aps::check(&merged, push_type)?;
        payload.clear();
        json::object(&mut payload, &merged);
    } else if push_type == PushType::Alert {
        if !has_text(content) && content.badge.is_none() && content.sound.is_none() {
            return Err(ContentError::NothingToShow);
        }
    } else if push_type == PushType::LiveActivity {
        // Only an overlay can say what a Live Activity needs.
        aps::check(&merged(&payload, &Map::new()), push_type)?;
    }
    let limit = push_type.rules().payload_octets_max;
    if payload.len() > limit {
        return Err(ContentError::TooLarge {
            platform: Platform::Apns,
            octets: payload.len(),
            limit,
        });
    }
    Ok(ApnsPush {
        payload,
        push_type,
        priority: push_type.priority(content.urgency.map(Urgency::apns)),
        collapse_id: content.collapse_key.or(content.replace_id),
    })
}

pub(super) fn fcm(content: &Content<'_>, octets_max: usize) -> Result<Message, ContentError> {
    let push_type = content.push_type()?;
    if push_type == PushType::Background {
        check_shown(content, push_type)?;
    }
    check_data(content, Platform::Fcm)?;
    let mut out = Vec::with_capacity(512);
    let octets = write_fcm(&mut out, content);
    let message = match content.fcm {
        // What is there for its receipts says nothing.
        None if octets == receipt_octets(content) && push_type != PushType::Background => {
            return Err(ContentError::NothingToShow);
        }
        None => Message::written(out, octets),
        Some(overlay) => Message::new(&merged(&out, overlay)).map_err(ContentError::Fcm)?,
    };
    if message.octets() > octets_max {
        return Err(ContentError::TooLarge {
            platform: Platform::Fcm,
            octets: message.octets(),
            limit: octets_max,
        });
    }
    Ok(message)
}

/// What was written, with an overlay merged into it.
fn merged(written: &[u8], overlay: &Map<String, Value>) -> Map<String, Value> {
    // Our own octets; were they none, the overlay would stand alone and its check would say so.
    let mut merged = serde_json::from_slice(written).unwrap_or_default();
    json::merge(&mut merged, overlay);
    merged
}

fn has_text(content: &Content<'_>) -> bool {
    content.title.is_some() || content.body.is_some()
}

/// Refuses what a push type cannot show.
fn check_shown(content: &Content<'_>, push_type: PushType) -> Result<(), ContentError> {
    if push_type.rules().shows {
        return Ok(());
    }
    let said = [
        ("title", content.title.is_some()),
        ("body", content.body.is_some()),
        ("image_url", content.image_url.is_some()),
        ("badge", content.badge.is_some()),
        ("sound", content.sound.is_some()),
        ("category", content.category.is_some()),
        ("thread_id", content.thread_id.is_some()),
    ];
    match said.into_iter().find(|(_, said)| *said) {
        Some((field, _)) => Err(ContentError::NotShown { field, push_type }),
        None => Ok(()),
    }
}

/// Refuses keys of `data` that would stand in another field's place.
fn check_data(content: &Content<'_>, platform: Platform) -> Result<(), ContentError> {
    let own = |key: &str| [RECEIPT_MESSAGE_ID, RECEIPT_TOKEN].contains(&key);
    let taken = |key: &str| match platform {
        _ if content.receipt.is_some() && own(key) => true,
        Platform::Apns => {
            key == "aps"
                || (key == "deep_link" && content.deep_link.is_some())
                || (key == "image_url" && content.image_url.is_some())
        }
        Platform::Fcm => {
            !fcm::check_data_key(key) || (key == "deep_link" && content.deep_link.is_some())
        }
    };
    match content.data.keys().find(|key| taken(key)) {
        Some(key) => Err(ContentError::DataKey {
            platform,
            key: key.as_str().into(),
        }),
        None => Ok(()),
    }
}

/// Members that are strings, in the order of their names.
fn sorted<'a>(
    content: &Content<'a>,
    more: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> SmallVec<[(&'a str, &'a str); 16]> {
    let data = content.data.iter();
    let mut members: SmallVec<_> = data.map(|(key, text)| (&**key, &**text)).collect();
    let said = |(key, text): (&'a str, Option<&'a str>)| text.map(|text| (key, text));
    members.extend(more.into_iter().filter_map(said));
    if let Some(receipt) = content.receipt {
        members.push((RECEIPT_MESSAGE_ID, receipt.message_id));
        members.push((RECEIPT_TOKEN, receipt.token));
    }
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}

fn write_apns(out: &mut Vec<u8>, content: &Content<'_>, push_type: PushType) {
    let more = [
        ("deep_link", content.deep_link),
        ("image_url", content.image_url),
    ];
    let members = sorted(content, more);
    let (before, after) = members.split_at(members.partition_point(|(key, _)| *key < "aps"));
    let mut payload = Writer::open(out);
    for (key, text) in before {
        payload.text(key, text);
    }
    if aps::needs_aps(push_type) {
        write_aps(payload.name("aps"), content, push_type);
    }
    for (key, text) in after {
        payload.text(key, text);
    }
    payload.close();
}

fn write_aps(out: &mut Vec<u8>, content: &Content<'_>, push_type: PushType) {
    let mut aps = Writer::open(out);
    if has_text(content) {
        let mut alert = Writer::open(aps.name("alert"));
        alert.text_if("body", content.body);
        alert.text_if("title", content.title);
        alert.close();
    }
    if let Some(badge) = content.badge {
        aps.number("badge", badge.into());
    }
    aps.text_if("category", content.category);
    if push_type == PushType::Background {
        aps.number("content-available", 1);
    }
    if matches!(push_type, PushType::Widgets | PushType::Controls) {
        aps.name("content-changed").extend_from_slice(b"true");
    }
    let told = content.receipt.is_some() && push_type == PushType::Alert;
    if content.image_url.is_some() || told {
        aps.number("mutable-content", 1);
    }
    aps.text_if("sound", content.sound);
    aps.text_if("thread-id", content.thread_id);
    aps.close();
}

/// Octets of what an app needs for its receipts, as FCM counts them.
fn receipt_octets(content: &Content<'_>) -> usize {
    content.receipt.map_or(0, |receipt| {
        let keys = RECEIPT_MESSAGE_ID.len() + RECEIPT_TOKEN.len();
        keys + receipt.message_id.len() + receipt.token.len()
    })
}

/// Writes FCM's message and returns its octets as FCM counts them.
fn write_fcm(out: &mut Vec<u8>, content: &Content<'_>) -> usize {
    let shown = has_text(content) || content.image_url.is_some();
    let mut message = Writer::open(out);
    let collapse = content.collapse_key;
    // `android.notification` would make a notification of a data message.
    let tag = collapse.or(content.replace_id).filter(|_| shown);
    let sound = content.sound.filter(|_| shown);
    let badge = content.badge.filter(|&badge| shown && badge > 0);
    let notification = tag.is_some() || sound.is_some() || badge.is_some();
    let ttl = content.ttl_seconds;
    if notification || collapse.is_some() || content.urgency.is_some() || ttl.is_some() {
        let mut android = Writer::open(message.name("android"));
        android.text_if("collapse_key", collapse);
        if notification {
            let mut shown = Writer::open(android.name("notification"));
            if let Some(badge) = badge {
                shown.number("notification_count", badge.into());
            }
            shown.text_if("sound", sound);
            shown.text_if("tag", tag);
            shown.close();
        }
        android.text_if("priority", content.urgency.map(Urgency::fcm));
        if let Some(seconds) = ttl {
            android.text("ttl", &format!("{}s", seconds.min(TTL_SECONDS_MAX)));
        }
        android.close();
    }
    let mut octets = 0;
    let data = sorted(content, [("deep_link", content.deep_link)]);
    if !data.is_empty() {
        let mut object = Writer::open(message.name("data"));
        for (key, text) in data {
            object.text(key, text);
            octets += key.len() + text.len();
        }
        object.close();
    }
    if shown {
        let mut object = Writer::open(message.name("notification"));
        for (key, text) in [
            ("body", content.body),
            ("image", content.image_url),
            ("title", content.title),
        ] {
            object.text_if(key, text);
            octets += text.map_or(0, |text| key.len() + text.len());
        }
        object.close();
    }
    message.close();
    octets
}
