//! Names that come twice in one object: serde_json's map keeps the last and does not tell.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::push_token;

/// The pointer of the first member whose name came before in its object. `json` can be read.
pub(crate) fn first(json: &[u8]) -> Option<String> {
    let mut found = None;
    let mut at = String::new();
    let walk = Walk {
        at: &mut at,
        found: &mut found,
    };
    // The error is only how the walk ends early.
    drop(walk.deserialize(&mut serde_json::Deserializer::from_slice(json)));
    found
}

/// Walks a value that lies at `at`.
struct Walk<'a> {
    at: &'a mut String,
    found: &'a mut Option<String>,
}

impl Walk<'_> {
    fn inner(&mut self) -> Walk<'_> {
        Walk {
            at: self.at,
            found: self.found,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        let length = self.at.len();
        while let Some(name) = map.next_key::<String>()? {
            push_token(self.at, &name);
            if !names.insert(name) {
                *self.found = Some(self.at.clone());
                return Err(A::Error::custom("twice"));
            }
            map.next_value_seed(self.inner())?;
            self.at.truncate(length);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let length = self.at.len();
        for index in 0usize.. {
            push_token(self.at, &index.to_string());
            let more = seq.next_element_seed(self.inner())?;
            self.at.truncate(length);
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        IgnoredAny::deserialize(deserializer).map(drop)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
