//! `content.push` as it comes.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};
use utoipa::ToSchema;

use super::{Metadata, Str};

/// `content.push`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = PushContent)]
pub(crate) struct PushIn<'a> {
    /// Merged into APNs' payload as RFC 7396 says (`null` takes a member away): at most 8,192 octets.
    #[serde(skip_serializing_if = "OverlayIn::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) apns: Option<OverlayIn>,
    /// The number on the app's icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2147483647)]
    pub(crate) badge: Option<i64>,
    /// The text; `content.text` when absent, where the push shows any.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub(crate) body: Option<Str<'a>>,
    /// APNs: the actions under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub(crate) category: Option<Str<'a>>,
    /// At most 64 octets: a later push with the same key takes this one's place. When absent, a
    /// repetition of this message takes its place on the screen, and nothing else does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub(crate) collapse_key: Option<Str<'a>>,
    /// The app's own keys: beside `aps`, or FCM's `data`.
    #[serde(skip_serializing_if = "says_nothing")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    pub(crate) data: Option<Metadata<'a>>,
    /// What to open: the member `deep_link` beside `aps`, or of FCM's `data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    pub(crate) deep_link: Option<Str<'a>>,
    /// Merged into FCM's message as RFC 7396 says: at most 8,192 octets.
    #[serde(skip_serializing_if = "OverlayIn::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) fcm: Option<OverlayIn>,
    /// A picture: an https URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    pub(crate) image_url: Option<Str<'a>>,
    /// APNs' push type: `alert` (default), `background` (default with `silent`), `voip`,
    /// `complication`, `fileprovider`, `location`, `mdm`, `liveactivity`, `pushtotalk`, `widgets` or
    /// `controls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "alert")]
    pub(crate) push_type: Option<Str<'a>>,
    /// Nothing is shown: APNs' background push, FCM's data message.
    #[serde(skip_serializing_if = "is_loud")]
    #[schema(default = false)]
    pub(crate) silent: Option<bool>,
    /// A sound's name in the app; `default` on both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub(crate) sound: Option<Str<'a>>,
    /// APNs: the group that it is shown in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub(crate) thread_id: Option<Str<'a>>,
    /// The first line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub(crate) title: Option<Str<'a>>,
}

/// What asks for nothing is the same request to an idempotency key as without.
fn says_nothing(data: &Option<Metadata<'_>>) -> bool {
    data.as_ref().is_none_or(|data| data.0.is_empty())
}

fn is_loud(silent: &Option<bool>) -> bool {
    *silent != Some(true)
}

/// An object of any JSON, in which no name comes twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct OverlayIn(pub(crate) Map<String, Value>);

impl OverlayIn {
    fn is_none(overlay: &Option<Self>) -> bool {
        overlay.as_ref().is_none_or(|overlay| overlay.0.is_empty())
    }

    /// Puts `base` under it: what it says wins, also `null`; objects are merged.
    pub(crate) fn over(&mut self, base: &Self) {
        over(&mut self.0, &base.0);
    }
}

fn over(own: &mut Map<String, Value>, base: &Map<String, Value>) {
    for (name, value) in base {
        match (own.get_mut(name), value) {
            (Some(Value::Object(own)), Value::Object(base)) => over(own, base),
            (Some(_), _) => {}
            (None, value) => {
                own.insert(name.clone(), value.clone());
            }
        }
    }
}

impl<'de> Deserialize<'de> for OverlayIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Self)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        members(map)
    }
}

/// serde_json's own map keeps the last of two and does not tell.
fn members<'de, A: MapAccess<'de>>(mut map: A) -> Result<Map<String, Value>, A::Error> {
    let mut members = Map::new();
    while let Some((name, value)) = map.next_entry::<String, Any>()? {
        if members.insert(name, value.0).is_some() {
            return Err(A::Error::custom("a name comes twice"));
        }
    }
    Ok(members)
}

/// Any JSON. Its depth is bounded by serde_json (128).
struct Any(Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor).map(Self)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has no other numbers than these.
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element::<Any>()? {
            values.push(value.0);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        members(map).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(json: &str) -> Result<OverlayIn, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn an_overlay_comes_as_it_is() {
        let json = r#"{"a":[1,-2,0.5,true,null,"x\n"],"b":{"c":{}}}"#;
        let read = overlay(json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<Value>(json).unwrap(),
            Value::Object(read.0)
        );
    }

    #[test]
    fn a_name_that_comes_twice_is_no_overlay() {
        for json in [
            r#"{"a":1,"a":2}"#,
            r#"{"b":{"a":1,"a":1}}"#,
            r#"{"b":[{"a":1,"\u0061":1}]}"#,
            "[]",
            "7",
        ] {
            assert!(overlay(json).unwrap_err().is_data(), "{json}");
        }
    }

    #[test]
    fn of_two_overlays_the_upper_one_wins() {
        let mut own = overlay(r#"{"aps":{"badge":null,"sound":"a"},"x":1}"#).unwrap();
        let base = r#"{"aps":{"badge":3,"category":"c"},"x":{"y":1},"z":[1]}"#;
        own.over(&overlay(base).unwrap());
        let merged = r#"{"aps":{"badge":null,"category":"c","sound":"a"},"x":1,"z":[1]}"#;
        assert_eq!(own, overlay(merged).unwrap());
    }
}
