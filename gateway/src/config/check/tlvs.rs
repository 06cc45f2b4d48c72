//! Checks of `routes.*.tlvs.*`: TLVs of a carrier's own, by names that the operator chooses.

use std::collections::BTreeSet;

use codecs::smpp::tlv::{Pdus, Tag};

use super::section::{Field, Section};
use crate::config::load::Value;
use crate::config::{Tlv, TlvKind};

/// TLVs of one route. Chosen: no carrier's document names more than five.
const TLVS_MAX: usize = 16;
/// Octets of a value. Chosen: as of everything else that a carrier may name.
const VALUE_OCTETS_MAX: usize = 255;
/// interface_version of SMPP 3.3, which has no TLVs.
const VERSION_33: u8 = 0x33;

/// What the gateway writes itself: the text, and where a part belongs. SMPP v3.4 §5.3.2.
const OURS: [Tag; 4] = [
    Tag::MESSAGE_PAYLOAD,
    Tag::SAR_MSG_REF_NUM,
    Tag::SAR_TOTAL_SEGMENTS,
    Tag::SAR_SEGMENT_SEQNUM,
];

#[derive(Clone, Copy)]
enum Direction {
    Out,
    In,
    Both,
}

pub(super) fn read(route: &Section<'_>, version: u8) -> Vec<Tlv> {
    let expected = "a table of at most 16 TLVs, each under its name";
    let Some(field) = route.opt("tlvs") else {
        return Vec::new();
    };
    let Some(table) = field.table(expected) else {
        return Vec::new();
    };
    if table.len() > TLVS_MAX {
        field.wrong(expected);
    }
    let mut tags = BTreeSet::new();
    let named = table.iter().map(|(name, node)| field.child(name, node));
    let pairs = table.keys().zip(named);
    let mut tlvs = Vec::with_capacity(table.len().min(TLVS_MAX));
    for (name, field) in pairs.take(TLVS_MAX) {
        let fits =
            |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) {
            field.wrong("a name of 1 to 32 of a-z, 0-9 and _");
        }
        if let Some(tlv) = one(name, &field, version) {
            if !tags.insert(tlv.tag) {
                field.wrong("each tag once");
            }
            tlvs.push(tlv);
        }
    }
    tlvs
}

fn one(name: &str, field: &Field<'_>, version: u8) -> Option<Tlv> {
    let section = field.section("routes.*.tlvs.*")?;
    let tag_field = section.need("tag", "the TLV's tag, as in 0x1400");
    let tag = tag_field.as_ref().map(|field| {
        let tag = field.int(1..=0xFFFF, "the TLV's tag, as in 0x1400");
        Tag(u16::try_from(tag).unwrap_or_default())
    });
    let kinds = [
        ("cstring", TlvKind::CString),
        ("octets", TlvKind::Octets),
        ("hex", TlvKind::Hex),
        ("u8", TlvKind::U8),
        ("u16", TlvKind::U16),
        ("u32", TlvKind::U32),
    ];
    let kind = section
        .need(
            "type",
            "\"cstring\", \"octets\", \"hex\", \"u8\", \"u16\" or \"u32\"",
        )
        .and_then(|field| field.word(&kinds, &[]));
    let directions = [
        ("out", Direction::Out),
        ("in", Direction::In),
        ("both", Direction::Both),
    ];
    let direction = section
        .need("direction", "\"out\", \"in\" or \"both\"")
        .and_then(|field| field.word(&directions, &[]));
    let value = section.opt("value");
    let (tag, kind, direction) = (tag?, kind?, direction?);
    if matches!(direction, Direction::In) {
        if let Some(value) = value {
            value.wrong("no value where direction = \"in\": it is the carrier's");
        }
        return Some(Tlv {
            name: name.to_owned(),
            tag: tag.0,
            kind,
            sent: None,
            read: true,
        });
    }
    if version <= VERSION_33 {
        section
            .at
            .wrong("version = \"3.4\" or \"5.0\": SMPP 3.3 has no TLVs");
    }
    let Some(value) = value else {
        let expected =
            "what every submit_sm carries; a value for each message is not in this version";
        section.at.missing("value", expected);
        return None;
    };
    let sent = octets(&value, kind)?;
    if let Some(tag_field) = &tag_field {
        suits(tag_field, &value, tag, &sent);
    }
    Some(Tlv {
        name: name.to_owned(),
        tag: tag.0,
        kind,
        sent: Some(sent),
        read: matches!(direction, Direction::Both),
    })
}

/// Notes what the specification has against sending this.
fn suits(tag_field: &Field<'_>, value: &Field<'_>, tag: Tag, sent: &[u8]) {
    if OURS.contains(&tag) {
        tag_field.wrong("another tag: this one the gateway writes itself");
    } else if let Some(rule) = tag.rule() {
        let name = rule.name;
        if !rule.pdus.contains(Pdus::SUBMIT) {
            tag_field.wrong(&format!(
                "a tag that submit_sm may carry; this one is {name}"
            ));
        } else if !rule.shape.fits_length(sent) || !rule.shape.fits_value(sent) {
            value.wrong(&format!("a value that {name} may have (SMPP v3.4 §5.3.2)"));
        }
    }
}

/// The value as it goes out.
fn octets(field: &Field<'_>, kind: TlvKind) -> Option<Vec<u8>> {
    let number = |most: u64| {
        let fits = matches!(&field.node.value, Value::Integer(_));
        fits.then(|| field.int(0..=most, "a number"))
    };
    let expected = match kind {
        TlvKind::CString => "1 to 254 ASCII characters",
        TlvKind::Octets => "text of at most 255 octets",
        TlvKind::Hex => "an even number of hexadecimal digits, at most 510",
        TlvKind::U8 => "a number from 0 to 255",
        TlvKind::U16 => "a number from 0 to 65535",
        TlvKind::U32 => "a number from 0 to 4294967295",
    };
    let octets = match kind {
        TlvKind::CString => {
            let text = field.text_where(expected, |text| {
                (1..VALUE_OCTETS_MAX).contains(&text.len())
                    && text.bytes().all(|octet| matches!(octet, 0x20..=0x7e))
            });
            return Some([text.as_bytes(), &[0]].concat());
        }
        TlvKind::Octets => {
            let text = field.text_where(expected, |text| text.len() <= VALUE_OCTETS_MAX);
            return Some(text.into_bytes());
        }
        TlvKind::Hex => return field.parsed(expected, unhex),
        TlvKind::U8 => number(u8::MAX.into()).map(|n| last(n, 1)),
        TlvKind::U16 => number(u16::MAX.into()).map(|n| last(n, 2)),
        TlvKind::U32 => number(u32::MAX.into()).map(|n| last(n, 4)),
    };
    if octets.is_none() {
        field.wrong(expected);
    }
    octets
}

/// The last octets of a number, big-endian.
fn last(number: u64, count: usize) -> Vec<u8> {
    number.to_be_bytes().into_iter().skip(8 - count).collect()
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
