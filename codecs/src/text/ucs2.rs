//! UCS-2 as carriers mean it: UTF-16, big endian.

use bytes::BufMut;

/// Counts the 16-bit units of a text.
#[must_use]
pub fn units(text: &str) -> usize {
    // Every character has one octet that does not continue another; those of four octets, which
    // take a surrogate pair, start at 0xF0.
    text.bytes()
        .map(|octet| usize::from(octet & 0xc0 != 0x80) + usize::from(octet >= 0xf0))
        .sum()
}

/// Appends a text as UTF-16 big endian, two octets per unit.
pub fn encode(text: &str, out: &mut impl BufMut) {
    for unit in text.encode_utf16() {
        out.put_u16(unit);
    }
}

/// As [`encode`], little endian for a peer that reads no other.
pub fn write(text: &str, little_endian: bool, out: &mut impl BufMut) {
    if !little_endian {
        return encode(text, out);
    }
    for unit in text.encode_utf16() {
        out.put_u16_le(unit);
    }
}

/// Reads UTF-16, big endian unless a byte order mark says otherwise; never fails.
///
/// A lone surrogate becomes U+FFFD; of an odd number of octets the last is dropped, which the
/// caller sees in the length and counts as the peer's quirk.
#[must_use]
pub fn decode(octets: &[u8]) -> String {
    read(octets, false)
}

/// As [`decode`], for a peer that writes little endian where it writes no byte order mark.
#[must_use]
pub fn read(octets: &[u8], little_endian: bool) -> String {
    let (octets, little_endian) = match byte_order_mark(octets) {
        Some(little_endian) => (octets.get(2..).unwrap_or_default(), little_endian),
        None => (octets, little_endian),
    };
    let unit = if little_endian {
        u16::from_le_bytes
    } else {
        u16::from_be_bytes
    };
    let units = octets.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The byte order mark at the front, if there is one: whether it says little endian.
#[must_use]
pub const fn byte_order_mark(octets: &[u8]) -> Option<bool> {
    match octets {
        [0xfe, 0xff, ..] => Some(false),
        [0xff, 0xfe, ..] => Some(true),
        _ => None,
    }
}
