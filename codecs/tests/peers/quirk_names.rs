//! README's table of quirks is the code's, and the TLV table keeps its own rules.

use std::collections::BTreeSet;

use codecs::smpp::session::Odd;
use codecs::smpp::tlv::{RULES, Shape};
use codecs::smpp::{CommandId, Quirks, Tag, TlvBuf};

const README: &str = include_str!("../../../README.md");

#[test]
fn readme_lists_every_name_that_the_quirks_counter_can_have_and_no_other() {
    let section = README.split("\n## Quirks\n").nth(1).expect("a section");
    let section = section.split("\n## ").next().unwrap();
    let listed: BTreeSet<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let quirks = Quirks::NAMES.iter().map(|(_, name)| *name);
    let odds = Odd::NAMES.into_iter().filter(|&name| name != "quirk");
    let names: BTreeSet<_> = quirks.chain(odds).collect();
    assert_eq!(listed, names);
    assert_eq!(names.len(), Quirks::NAMES.len() + Odd::NAMES.len() - 1);
}

#[test]
fn the_tlv_table_is_sorted_fits_its_bitset_and_names_each_tag_once() {
    assert!(RULES.is_sorted_by(|one, other| one.tag < other.tag));
    assert!(RULES.len() <= 64, "{} rows", RULES.len());
    let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
    assert!(RULES.iter().all(|rule| [0x34, 0x50].contains(&rule.since)));
    for rule in RULES {
        assert_eq!(rule.tag.rule(), Some(rule));
    }
    assert_eq!(Tag(0x1400).rule(), None);
}

#[test]
fn typed_accessors_keep_each_shape() {
    let tlvs = |tag, value: &[u8]| {
        let mut tlvs = TlvBuf::new();
        tlvs.push(tag, value).unwrap();
        tlvs
    };
    let submit = CommandId::SUBMIT_SM;
    let of = |tag, value: &[u8]| tlvs(tag, value).as_tlvs().oddities(submit).is_empty();
    for (tag, value, fits) in [
        (Tag::DEST_ADDR_SUBUNIT, &b"\x01"[..], true),
        (Tag::DEST_ADDR_SUBUNIT, b"\x05", false),
        (Tag::QOS_TIME_TO_LIVE, b"\0\0\0\x09", true),
        (Tag::QOS_TIME_TO_LIVE, b"\0\0\x09", false),
        (Tag::SOURCE_TELEMATICS_ID, b"\x01", true),
        (Tag::SOURCE_TELEMATICS_ID, b"\0\x01", true),
        (Tag::DEST_NETWORK_ID, b"262010\0", true),
        (Tag::DEST_NETWORK_ID, b"2620100", false),
        (Tag::DEST_NETWORK_ID, b"26\x00010\0", false),
        (Tag::ALERT_ON_MESSAGE_DELIVERY, b"", true),
        (Tag::SAR_TOTAL_SEGMENTS, b"\0", false),
        (Tag::CALLBACK_NUM, b"123", false),
    ] {
        assert_eq!(of(tag, value), fits, "{tag:?} {value:?}");
    }
    let ttl = tlvs(Tag::QOS_TIME_TO_LIVE, b"\0\0\x01\x02");
    assert_eq!(ttl.as_tlvs().qos_time_to_live(), Some(258));
    let network = tlvs(Tag::DEST_NETWORK_ID, b"262010\0");
    assert_eq!(network.as_tlvs().dest_network_id(), Some(&b"262010"[..]));
    let total = tlvs(Tag::SAR_TOTAL_SEGMENTS, b"\0");
    assert_eq!(total.as_tlvs().sar_total_segments(), None);
    assert!(matches!(
        Tag::QOS_TIME_TO_LIVE.rule().unwrap().shape,
        Shape::U32
    ));
}
