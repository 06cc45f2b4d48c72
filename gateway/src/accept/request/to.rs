//! `to` as it comes: a number, or every address that a plan may need.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{Str, objects_if};

/// The recipient. A bare string is sugar for `{"phone": …}`, and is the same request.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = Recipient)]
pub(crate) struct To<'a> {
    /// The app that listens to `topic` or `condition`, as routes name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub(crate) app: Option<Str<'a>>,
    /// A condition on at most five FCM topics, instead of devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "'news' in topics && !('sport' in topics)")]
    pub(crate) condition: Option<Str<'a>>,
    /// 1 to 10 apps on devices, each of which gets the push.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 10)]
    pub(crate) devices: Option<Vec<DeviceIn<'a>>>,
    /// E.164.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "+46701234567")]
    pub(crate) phone: Option<Str<'a>>,
    /// An FCM topic instead of devices: its name without `/topics/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub(crate) topic: Option<Str<'a>>,
    /// Whether it came as a bare string: tells where an error is.
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) bare: bool,
}

impl To<'_> {
    /// Whether it says anything that a push can go to.
    pub(crate) fn is_pushed_to(&self) -> bool {
        self.devices.is_some() || self.topic.is_some() || self.condition.is_some()
    }
}

/// The forms of `to`, for the document.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = To)]
#[expect(dead_code, reason = "only the document is made of it")]
pub(crate) enum Forms<'a> {
    /// `phone` alone.
    Number(String),
    /// Any of them.
    Addresses(To<'a>),
}

/// An app on a device.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Device)]
pub(crate) struct DeviceIn<'a> {
    /// The app, as routes name it.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, max_length = 64, example = "shop-ios", required)]
    pub(crate) app: Option<Str<'a>>,
    /// `ios` (over APNs) or `android` (over FCM).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "ios", required)]
    pub(crate) platform: Option<Str<'a>>,
    /// RFC 3339 in UTC: when the app got the token. What a service says of an earlier token is not
    /// taken for this one. At most 5 minutes in the future, for clocks that are ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) registered_at: Option<Str<'a>>,
    /// Of `ios` hexadecimal digits, of `android` FCM's registration token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, max_length = 4096, required)]
    pub(crate) token: Option<Str<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for To<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToVisitor)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ToObject<'a> {
    #[serde(borrow)]
    app: Option<Str<'a>>,
    condition: Option<Str<'a>>,
    #[serde(deserialize_with = "objects_if")]
    devices: Option<Vec<DeviceIn<'a>>>,
    phone: Option<Str<'a>>,
    topic: Option<Str<'a>>,
}

struct ToVisitor;

impl<'de> Visitor<'de> for ToVisitor {
    type Value = To<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an object")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(bare(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(bare(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(bare(Cow::Owned(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let object = ToObject::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(To {
            app: object.app,
            condition: object.condition,
            devices: object.devices,
            phone: object.phone,
            topic: object.topic,
            bare: false,
        })
    }
}

fn bare(phone: Cow<'_, str>) -> To<'_> {
    To {
        phone: Some(Str(phone)),
        bare: true,
        ..To::default()
    }
}
