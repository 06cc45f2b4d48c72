//! What a customer says once, as APNs' payload and as FCM's message.
//!
//! Overlays win: `apns` and `fcm` are merged into what is made of the other fields as a JSON merge
//! patch (RFC 7396), so that `null` takes a member away. JSON comes out compact, with its members
//! in the order of their names, and holds nothing that the customer did not say.
//!
//! Design: without an overlay nothing but the octets is allocated; with one, they are read back,
//! merged and checked as a tree.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::apns::PushType;
use crate::fcm::{self, MessageError};

mod aps;
mod payload;
#[cfg(test)]
mod tests;

pub use payload::ApnsPush;

/// How urgent a message is, in the customer's three steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// APNs 10, FCM `HIGH`.
    High,
    /// APNs 5, FCM `NORMAL`.
    Normal,
    /// APNs 1 for alerts and 5 for the rest, FCM `NORMAL`.
    Low,
}

/// What a customer says: `content.push` of contract.md §1, and what stands around it.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The first line.
    pub title: Option<&'a str>,
    /// The text.
    pub body: Option<&'a str>,
    /// A picture. FCM shows it; on APNs it is the member `image_url` for the app's notification
    /// service extension, which `mutable-content` calls.
    pub image_url: Option<&'a str>,
    /// What to open: the member `deep_link` beside `aps`, or of FCM's `data`.
    pub deep_link: Option<&'a str>,
    /// The app's own keys: beside `aps`, or FCM's `data`.
    pub data: &'a BTreeMap<String, String>,
    /// The customer's own key: a later message with it takes an earlier one's place, also where
    /// both wait at the service. FCM keeps four such keys for a device, and gives each twenty
    /// messages at once and one in three minutes.
    pub collapse_key: Option<&'a str>,
    /// What a repetition of this message replaces on the screen if there is no `collapse_key`:
    /// APNs' collapse id, FCM's `tag`; never FCM's collapse key, whose limits would lose messages.
    pub replace_id: Option<&'a str>,
    /// A sound's name in the app; `default` on both. On FCM only beside a text, as `badge`.
    pub sound: Option<&'a str>,
    /// The number on the app's icon. FCM's `notification_count` has no 0.
    pub badge: Option<u32>,
    /// APNs: the actions under the notification.
    pub category: Option<&'a str>,
    /// APNs: the group that it is shown in.
    pub thread_id: Option<&'a str>,
    /// Nothing is shown: APNs' background push, FCM's data message.
    pub silent: bool,
    /// APNs' push type; `None`: background if silent, else alert.
    pub push_type: Option<PushType>,
    /// Merged into APNs' payload.
    pub apns: Option<&'a Map<String, Value>>,
    /// Merged into FCM's message.
    pub fcm: Option<&'a Map<String, Value>>,
    /// `None`: each service's own default.
    pub urgency: Option<Urgency>,
    /// FCM: seconds that it is kept, cut to four weeks. APNs is told a time, in a header.
    pub ttl_seconds: Option<u64>,
    /// What the app needs to tell what became of it: members beside `aps`, or of FCM's `data`. An
    /// alert then has `mutable-content`, so that the app's notification service extension is called.
    pub receipt: Option<ReceiptKey<'a>>,
}

/// What an app tells with what became of a push.
#[derive(Debug, Clone, Copy)]
pub struct ReceiptKey<'a> {
    /// The message, as the API names it.
    pub message_id: &'a str,
    /// What opens it: a [receipt token](crate::receipt_token).
    pub token: &'a str,
}

/// The member that holds [`ReceiptKey::message_id`].
pub const RECEIPT_MESSAGE_ID: &str = "trunkline_message_id";

/// The member that holds [`ReceiptKey::token`].
pub const RECEIPT_TOKEN: &str = "trunkline_receipt_token";

/// A service that a message is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Apple's.
    Apns,
    /// Google's.
    Fcm,
}

impl Platform {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Apns => "APNs",
            Self::Fcm => "FCM",
        }
    }
}

/// Why no message can be made of what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentError {
    /// `silent` with a push type that is not background.
    Silent(PushType),
    /// The push type shows nothing, but this field is something to show.
    NotShown {
        /// The field, as in `title` or `apns.aps.alert`.
        field: &'static str,
        /// The push type.
        push_type: PushType,
    },
    /// An alert with no text, badge or sound; for FCM, with neither text nor data.
    NothingToShow,
    /// A key of `data` that is taken: by the service, or by another field.
    DataKey {
        /// The service.
        platform: Platform,
        /// The key.
        key: Box<str>,
    },
    /// A member of the `apns` overlay that APNs or the app would not understand.
    Overlay {
        /// The member, as in `aps.badge`.
        at: &'static str,
        /// What must stand there.
        expected: &'static str,
    },
    /// What FCM would refuse.
    Fcm(MessageError),
    /// More octets than the service takes.
    TooLarge {
        /// The service.
        platform: Platform,
        /// How many there are, as the service counts.
        octets: usize,
        /// How many may be.
        limit: usize,
    },
}

impl std::fmt::Display for ContentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent(push_type) => {
                write!(
                    f,
                    "`silent` does not go with push type {}",
                    push_type.name()
                )
            }
            Self::NotShown { field, push_type } => {
                let name = push_type.name();
                write!(
                    f,
                    "push type {name} shows nothing: `{field}` does not go with it"
                )
            }
            Self::NothingToShow => f.write_str(
                "an alert needs a title, a body, a badge or a sound; what only wakes the app is \
                 `silent`",
            ),
            Self::DataKey { platform, key } => {
                let (name, key) = (platform.name(), key.escape_debug());
                write!(f, "the key `{key}` of `data` is taken on {name}")
            }
            Self::Overlay { at, expected } => write!(f, "`apns.{at}` must be {expected}"),
            Self::Fcm(error) => write!(f, "fcm: {error}"),
            Self::TooLarge {
                platform,
                octets,
                limit,
            } => {
                let name = platform.name();
                write!(f, "{octets} octets for {name}, which takes {limit}")
            }
        }
    }
}

impl std::error::Error for ContentError {}

impl<'a> Content<'a> {
    /// Nothing said yet but the app's keys.
    #[must_use]
    pub fn new(data: &'a BTreeMap<String, String>) -> Self {
        Self {
            title: None,
            body: None,
            image_url: None,
            deep_link: None,
            data,
            collapse_key: None,
            replace_id: None,
            sound: None,
            badge: None,
            category: None,
            thread_id: None,
            silent: false,
            push_type: None,
            apns: None,
            fcm: None,
            urgency: None,
            ttl_seconds: None,
            receipt: None,
        }
    }

    /// APNs' push type.
    ///
    /// # Errors
    /// [`ContentError::Silent`] if the two fields contradict each other.
    pub fn push_type(&self) -> Result<PushType, ContentError> {
        match (self.silent, self.push_type) {
            (true, None | Some(PushType::Background)) => Ok(PushType::Background),
            (true, Some(other)) => Err(ContentError::Silent(other)),
            (false, given) => Ok(given.unwrap_or(PushType::Alert)),
        }
    }

    /// What goes to APNs: the payload and the headers that follow from what was said.
    ///
    /// # Errors
    /// The first [`ContentError`].
    pub fn apns(&self) -> Result<ApnsPush<'a>, ContentError> {
        payload::apns(self)
    }

    /// What goes to FCM, without its target; at most `octets_max` as FCM counts them
    /// ([`fcm::Message::octets_max`]).
    ///
    /// # Errors
    /// The first [`ContentError`].
    pub fn fcm(&self, octets_max: usize) -> Result<fcm::Message, ContentError> {
        payload::fcm(self, octets_max)
    }
}
