//! `content.sms.tlv` as it comes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Str;
use crate::message::tlv::TlvValue;

/// TLVs in the order of their names. A name that comes twice is kept twice, for the check to refuse.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlvsIn<'a>(pub(crate) Vec<(Str<'a>, TlvIn<'a>)>);

/// A TLV's value.
#[derive(Clone, Debug)]
pub(crate) enum TlvIn<'a> {
    Text(Str<'a>),
    Number(u64),
}

impl TlvIn<'_> {
    /// The value without its owner.
    pub(crate) fn value(&self) -> TlvValue<'_> {
        match self {
            Self::Text(text) => TlvValue::Text(text),
            Self::Number(number) => TlvValue::Number(*number),
        }
    }
}

/// None asks for nothing: it is the same request to an idempotency key as without.
pub(crate) fn is_none(tlvs: &Option<TlvsIn<'_>>) -> bool {
    tlvs.as_ref().is_none_or(|tlvs| tlvs.0.is_empty())
}

impl Serialize for TlvsIn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                TlvIn::Text(text) => map.serialize_entry(name, text)?,
                TlvIn::Number(number) => map.serialize_entry(name, number)?,
            }
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TlvsIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TlvsVisitor)
    }
}

struct TlvsVisitor;

impl<'de> Visitor<'de> for TlvsVisitor {
    type Value = TlvsIn<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings and integers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry::<Str<'de>, TlvIn<'de>>()? {
            entries.push(entry);
        }
        entries.sort_by(|a, b| a.0.0.cmp(&b.0.0));
        Ok(TlvsIn(entries))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TlvIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TlvVisitor)
    }
}

struct TlvVisitor;

impl<'de> Visitor<'de> for TlvVisitor {
    type Value = TlvIn<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an integer that is not negative")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(TlvIn::Text(Str(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TlvIn::Text(Str(Cow::Owned(text.to_owned()))))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(TlvIn::Number(number))
    }
}
