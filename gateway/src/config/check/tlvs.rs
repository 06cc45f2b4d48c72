//! Checks of `routes.*.tlvs.*`: TLVs of a carrier's own, by names that the operator chooses.

use std::collections::BTreeSet;

use codecs::smpp::tlv::{Pdus, Tag};

use super::section::{Field, Section};
use crate::config::load::Value;
use crate::config::{Tlv, TlvKind};
use crate::message::tlv::{TLVS_MAX, TlvValue};

/// interface_version of SMPP 3.3, which has no TLVs. smpp.md §1.2.
const VERSION_33: u8 = 0x33;

/// Notes a value that needs TLVs where the route's version has none.
pub(super) fn needs_tlvs(field: &Field<'_>, version: u8) {
    if version <= VERSION_33 {
        field.wrong("version = \"3.4\" or \"5.0\": SMPP 3.3 has no TLVs");
    }
}

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
            out: false,
            sent: None,
            read: true,
        });
    }
    needs_tlvs(&section.at, version);
    // Without a value, only messages that bring one of their own carry it.
    let sent = match &value {
        Some(value) => Some(octets(value, kind)?),
        None => None,
    };
    if let Some(tag_field) = &tag_field {
        suits(tag_field, tag, value.as_ref().zip(sent.as_deref()));
    }
    Some(Tlv {
        name: name.to_owned(),
        tag: tag.0,
        kind,
        out: true,
        sent,
        read: matches!(direction, Direction::Both),
    })
}

/// Notes what the specification has against sending this.
fn suits(tag_field: &Field<'_>, tag: Tag, value: Option<(&Field<'_>, &[u8])>) {
    if OURS.contains(&tag) {
        tag_field.wrong("another tag: this one the gateway writes itself");
    } else if let Some(rule) = tag.rule() {
        let name = rule.name;
        if !rule.pdus.contains(Pdus::SUBMIT) {
            tag_field.wrong(&format!(
                "a tag that submit_sm may carry; this one is {name}"
            ));
        } else if let Some((value, sent)) = value
            && !(rule.shape.fits_length(sent) && rule.shape.fits_value(sent))
        {
            value.wrong(&format!("a value that {name} may have (SMPP v3.4 §5.3.2)"));
        }
    }
}

/// The value as it goes out.
fn octets(field: &Field<'_>, kind: TlvKind) -> Option<Vec<u8>> {
    let expected = kind.expected();
    let value = match &field.node.value {
        Value::Integer(number) if kind.is_number() => {
            u64::try_from(*number).ok().map(TlvValue::Number)
        }
        _ if kind.is_number() => None,
        _ => Some(TlvValue::Text(field.text(expected)?)),
    };
    let octets = value.and_then(|value| kind.octets(value));
    if octets.is_none() {
        field.wrong(expected);
    }
    octets
}
