//! TLVs of a message's own: what is asked for, how values are written, and what is sent.

use serde::{Deserialize, Serialize};

use super::RouteIx;

/// TLVs of one message. Chosen: no carrier's document names more than five.
pub const TLVS_MAX: usize = 16;
/// Octets of a value. Chosen: as of everything else that a carrier may name.
pub const VALUE_OCTETS_MAX: usize = 255;

/// A TLV that every submit of a message carries, as on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmsTlv {
    /// Its tag.
    pub tag: u16,
    /// Its value, at most 255 octets.
    pub value: Box<[u8]>,
}

/// A value as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvValue<'a> {
    /// Text, or hexadecimal digits.
    Text(&'a str),
    /// A number.
    Number(u64),
}

/// A TLV as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlvWish<'a> {
    /// A name of the routes' dictionaries, or a tag such as `0x1400` (see [`raw_tag`]).
    pub name: &'a str,
    /// Its value; of a tag, hexadecimal digits.
    pub value: TlvValue<'a>,
}

/// Why a message's TLV cannot be sent over its candidate routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlvRefusal {
    /// Which one, by its place among those asked for.
    pub place: usize,
    /// What is wrong with it.
    pub why: TlvWhy,
}

/// What is wrong with a TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvWhy {
    /// This route has none of this name that goes out.
    Unknown(RouteIx),
    /// This route speaks SMPP 3.3, which has none.
    NoTlvs(RouteIx),
    /// This route writes values in another form, which is told.
    Value(RouteIx, &'static str),
    /// The specification does not let the TLV that this route means have such a value; its name there.
    Specification(RouteIx, &'static str),
    /// These two routes have different TLVs under the name.
    Differs(RouteIx, RouteIx),
    /// Another one that is asked for has the same tag.
    SameTag,
}

/// The tag that a name is, as `0x1400`: four hexadecimal digits.
#[must_use]
pub fn raw_tag(name: &str) -> Option<u16> {
    let digits = name.strip_prefix("0x").filter(|d| d.len() == 4)?;
    let hex = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

/// How a TLV's value is written in the config and by clients, and shown in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvKind {
    /// Text that ends with a NUL on the wire.
    CString,
    /// Text without one.
    Octets,
    /// Anything, in hexadecimal digits.
    Hex,
    /// A number of one octet.
    U8,
    /// A number of two octets, big-endian.
    U16,
    /// A number of four octets, big-endian.
    U32,
}

impl TlvKind {
    /// Whether its values are numbers.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Self::U8 | Self::U16 | Self::U32)
    }

    /// Its values in words.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::CString => "1 to 254 ASCII characters",
            Self::Octets => "text of at most 255 octets",
            Self::Hex => "an even number of hexadecimal digits, at most 510",
            Self::U8 => "a number from 0 to 255",
            Self::U16 => "a number from 0 to 65535",
            Self::U32 => "a number from 0 to 4294967295",
        }
    }

    /// Whether a value on the wire may be one of this kind.
    #[must_use]
    pub fn writes(self, octets: &[u8]) -> bool {
        match self {
            Self::CString => octets.ends_with(&[0]),
            Self::Octets | Self::Hex => true,
            Self::U8 => octets.len() == size_of::<u8>(),
            Self::U16 => octets.len() == size_of::<u16>(),
            Self::U32 => octets.len() == size_of::<u32>(),
        }
    }

    /// The value as it goes out, at most [`VALUE_OCTETS_MAX`] octets; `None` if it is none of this kind.
    #[must_use]
    pub fn octets(self, value: TlvValue<'_>) -> Option<Vec<u8>> {
        match (self, value) {
            (Self::CString, TlvValue::Text(text)) => {
                let fits = (1..VALUE_OCTETS_MAX).contains(&text.len())
                    && text.bytes().all(|octet| matches!(octet, 0x20..=0x7e));
                fits.then(|| [text.as_bytes(), &[0]].concat())
            }
            (Self::Octets, TlvValue::Text(text)) => {
                (text.len() <= VALUE_OCTETS_MAX).then(|| text.as_bytes().to_vec())
            }
            (Self::Hex, TlvValue::Text(text)) => unhex(text),
            (Self::U8, TlvValue::Number(number)) => {
                Some(u8::try_from(number).ok()?.to_be_bytes().to_vec())
            }
            (Self::U16, TlvValue::Number(number)) => {
                Some(u16::try_from(number).ok()?.to_be_bytes().to_vec())
            }
            (Self::U32, TlvValue::Number(number)) => {
                Some(u32::try_from(number).ok()?.to_be_bytes().to_vec())
            }
            _ => None,
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 2 * VALUE_OCTETS_MAX {
        return None;
    }
    let digit = |octet: u8| {
        char::from(octet)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    digits
        .chunks_exact(2)
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_by_their_kind_and_bounded() {
        let text = |kind: TlvKind, text: &str| kind.octets(TlvValue::Text(text));
        let number = |kind: TlvKind, number| kind.octets(TlvValue::Number(number));
        assert_eq!(text(TlvKind::CString, "1101").unwrap(), b"1101\0");
        assert_eq!(text(TlvKind::Octets, "1101").unwrap(), b"1101");
        assert_eq!(text(TlvKind::Hex, "00fF").unwrap(), b"\x00\xff");
        assert_eq!(number(TlvKind::U8, 255).unwrap(), [255]);
        assert_eq!(number(TlvKind::U16, 258).unwrap(), [1, 2]);
        assert_eq!(number(TlvKind::U32, 258).unwrap(), [0, 0, 1, 2]);
        for kind in [TlvKind::CString, TlvKind::Octets, TlvKind::Hex] {
            assert_eq!(text(kind, &"0".repeat(512)), None, "{kind:?}");
            assert_eq!(number(kind, 1), None, "{kind:?}");
        }
        assert_eq!(text(TlvKind::CString, "é"), None);
        assert_eq!(text(TlvKind::CString, ""), None);
        assert_eq!(text(TlvKind::Hex, "0"), None);
        assert_eq!(number(TlvKind::U8, 256), None);
        assert_eq!(number(TlvKind::U16, 65_536), None);
        assert_eq!(number(TlvKind::U32, 1 << 32), None);
        assert_eq!(text(TlvKind::U8, "1"), None);
    }

    #[test]
    fn a_raw_tag_has_four_digits() {
        assert_eq!(raw_tag("0x14aF"), Some(0x14AF));
        for name in ["1400", "0x140", "0x14000", "0x+140", "0X1400", "pe"] {
            assert_eq!(raw_tag(name), None, "{name}");
        }
    }
}
