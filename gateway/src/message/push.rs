//! PushContent: what a push says, as a message keeps it: the JSON of [`Text::Push`].
//!
//! `accept` writes it, checked; the connectors read it for each request and make a payload of it. It has
//! one form: members in the order of their names, none that says nothing, and as `body` the text that is
//! sent, `content.text` where the customer gave no other.
//!
//! [`Text::Push`]: super::Text::Push

use std::borrow::Cow;
use std::collections::BTreeMap;

use codecs::apns::PushType;
use codecs::push::Content;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// What a push says: `content.push` of contract.md §1. Texts are borrowed from the JSON unless they have
/// escapes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushContent<'a> {
    /// Merged into APNs' payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apns: Option<Cow<'a, Map<String, Value>>>,
    /// The number on the app's icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge: Option<u32>,
    /// The text.
    #[serde(
        borrow,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub body: Option<Cow<'a, str>>,
    /// APNs: the actions under it.
    #[serde(
        borrow,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub category: Option<Cow<'a, str>>,
    /// The customer's own key for what takes an earlier one's place.
    #[serde(
        borrow,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub collapse_key: Option<Cow<'a, str>>,
    /// The app's own keys.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// What to open.
    #[serde(
        borrow,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub deep_link: Option<Cow<'a, str>>,
    /// Merged into FCM's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fcm: Option<Cow<'a, Map<String, Value>>>,
    /// A picture.
    #[serde(
        borrow,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub image_url: Option<Cow<'a, str>>,
    /// APNs' push type; `None`: background if silent, else alert.
    #[serde(
        deserialize_with = "push_type",
        serialize_with = "push_type_name",
        skip_serializing_if = "Option::is_none"
    )]
    pub push_type: Option<PushType>,
    /// Nothing is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// A sound's name in the app.
    #[serde(
        borrow,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub sound: Option<Cow<'a, str>>,
    /// APNs: the group that it is shown in.
    #[serde(
        borrow,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub thread_id: Option<Cow<'a, str>>,
    /// The first line.
    #[serde(
        borrow,
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub title: Option<Cow<'a, str>>,
}

impl<'a> PushContent<'a> {
    /// Reads what a message keeps.
    ///
    /// # Errors
    /// When it is damaged: no JSON, or not of this form.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// What a message keeps.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and maps with names: nothing that JSON cannot write.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What payloads are made of. What stands around it, which is `replace_id`, `urgency` and
    /// `ttl_seconds`, is not in it and stays for the connector to say:
    /// `Content { replace_id: Some(&id), ..push.content() }`.
    #[must_use]
    pub fn content(&self) -> Content<'_> {
        Content {
            title: self.title.as_deref(),
            body: self.body.as_deref(),
            image_url: self.image_url.as_deref(),
            deep_link: self.deep_link.as_deref(),
            collapse_key: self.collapse_key.as_deref(),
            sound: self.sound.as_deref(),
            badge: self.badge,
            category: self.category.as_deref(),
            thread_id: self.thread_id.as_deref(),
            silent: self.silent,
            push_type: self.push_type,
            apns: self.apns.as_deref(),
            fcm: self.fcm.as_deref(),
            ..Content::new(&self.data)
        }
    }
}

/// serde's `Option<Cow<str>>` would always own.
fn text<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text = Option::<Text<'a>>::deserialize(deserializer)?;
    Ok(text.map(|text| text.0))
}

fn push_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PushType>, D::Error> {
    let Some(name) = text(deserializer)? else {
        return Ok(None);
    };
    match PushType::parse(&name) {
        Some(kind) => Ok(Some(kind)),
        None => Err(D::Error::custom("no push type of APNs")),
    }
}

fn push_type_name<S: Serializer>(
    kind: &Option<PushType>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    kind.map(PushType::name).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_kept_comes_back_and_becomes_the_same_payloads() {
        let apns = map(json!({"aps": {"interruption-level": "active"}}));
        let fcm = map(json!({"android": {"ttl": "60s"}}));
        let push = PushContent {
            apns: Some(Cow::Owned(apns)),
            badge: Some(3),
            body: Some("line\n\"two\"".into()),
            category: Some("ORDER".into()),
            collapse_key: Some("order-1182".into()),
            data: [("order".to_owned(), "1182".to_owned())].into(),
            deep_link: Some("shop://o/1182".into()),
            fcm: Some(Cow::Owned(fcm)),
            image_url: Some("https://shop.example/o.png".into()),
            push_type: Some(PushType::Alert),
            silent: false,
            sound: Some("ding.caf".into()),
            thread_id: Some("orders".into()),
            title: Some("Ready".into()),
        };
        let json = push.to_json();
        let read = PushContent::parse(&json).unwrap();
        assert_eq!(read, push);
        assert_eq!(read.to_json(), json, "one form");
        let limit = codecs::fcm::PAYLOAD_OCTETS_MAX;
        assert_eq!(read.content().apns(), push.content().apns());
        assert_eq!(read.content().fcm(limit), push.content().fcm(limit));
        let payload = read.content().apns().unwrap().payload;
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        for (at, value) in [
            ("/aps/alert/title", json!("Ready")),
            ("/aps/alert/body", json!("line\n\"two\"")),
            ("/aps/badge", json!(3)),
            ("/aps/category", json!("ORDER")),
            ("/aps/interruption-level", json!("active")),
            ("/aps/sound", json!("ding.caf")),
            ("/aps/thread-id", json!("orders")),
            ("/order", json!("1182")),
            ("/deep_link", json!("shop://o/1182")),
            ("/image_url", json!("https://shop.example/o.png")),
        ] {
            assert_eq!(payload.pointer(at), Some(&value), "{at}");
        }
    }

    #[test]
    fn what_says_nothing_is_not_kept_and_texts_are_borrowed() {
        assert_eq!(PushContent::default().to_json(), "{}");
        let json = r#"{"push_type":"background","silent":true,"title":"a"}"#;
        let read = PushContent::parse(json).unwrap();
        assert!(matches!(read.title, Some(Cow::Borrowed("a"))));
        assert_eq!(read.push_type, Some(PushType::Background));
        assert_eq!(read.to_json(), json);
    }

    #[test]
    fn damage_is_an_error_and_no_other_push() {
        for json in ["", "[", "7", r#"{"push_type":"x"}"#, r#"{"badge":-1}"#] {
            assert!(PushContent::parse(json).is_err(), "{json}");
        }
    }
}
