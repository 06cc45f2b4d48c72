//! Inbound parts: where they belong, who wrote, and that nothing of their octets is lost.

use bytes::BytesMut;
use codecs::smpp::{DataSm, DeliverSm, Limits, Sar, Tag, TlvBuf};

use codecs::smpp::deliver::ESM_UDHI;

use super::*;
use crate::message::RouteIx;

fn config() -> Config {
    let hosts = vec!["127.0.0.1:2775".to_owned()];
    Config::new(RouteIx(3), "carrier-a", hosts, "acme", "secret")
}

fn handset(octets: &[u8]) -> DeliverSm<'_> {
    DeliverSm {
        source: Address {
            ton: 1,
            npi: 1,
            addr: b"46701234567",
        },
        dest: Address {
            ton: 3,
            npi: 0,
            addr: b"71234",
        },
        short_message: octets,
        ..DeliverSm::default()
    }
}

fn read_one(encode: impl FnOnce(&mut BytesMut)) -> InboundPart {
    let (part, quirks) = read_odd(encode);
    assert_eq!(quirks, Quirks::NONE);
    part
}

fn read_odd(encode: impl FnOnce(&mut BytesMut)) -> (InboundPart, Quirks) {
    let mut out = BytesMut::new();
    encode(&mut out);
    let frame = Frame::new(out.freeze()).unwrap();
    read(&frame, &config(), UnixMs(5)).unwrap()
}

#[test]
fn a_short_message_is_read_with_its_addresses() {
    let part = read_one(|out| handset(b"Hi").encode(1, &Limits::SPEC, out).unwrap());
    assert_eq!((part.route, part.received_at), (RouteIx(3), UnixMs(5)));
    assert_eq!((&*part.from, &*part.to), ("+46701234567", "71234"));
    assert_eq!((part.concat, part.header), (None, 0));
    assert_eq!(&*part.octets, b"Hi");
}

#[test]
fn tlvs_are_kept_by_the_routes_names_and_unknown_ones_in_hex() {
    let mut tlvs = TlvBuf::new();
    for (tag, value) in [
        (0x1503, &b"240"[..]),
        (0x001E, b"MO-77\0"),
        (0x1499, b"\x01\xff"),
        (0x000D, b"\x01"),
    ] {
        tlvs.push(Tag(tag), value).unwrap();
    }
    let sm = DeliverSm {
        tlvs: tlvs.as_tlvs(),
        ..handset(b"Hi")
    };
    let mut out = BytesMut::new();
    sm.encode(1, &Limits::SPEC, &mut out).unwrap();
    let frame = Frame::new(out.freeze()).unwrap();
    let mut config = config();
    config
        .tlvs
        .read(0x1503, "mcc", crate::connect::smpp::Shown::Text);
    let (part, _) = read(&frame, &config, UnixMs(5)).unwrap();
    let kept: Vec<(&str, &str)> = part
        .tlvs
        .iter()
        .map(|tlv| (&*tlv.name, &*tlv.value))
        .collect();
    assert_eq!(
        kept,
        [
            ("mcc", "240"),
            ("0x1499", "01ff"),
            ("receipted_message_id", "MO-77")
        ]
    );
}

#[test]
fn a_place_is_read_from_either_width_of_header_and_from_sar() {
    let eight = DeliverSm {
        esm_class: ESM_UDHI,
        ..handset(&[5, 0, 3, 200, 3, 2, b'x'])
    };
    let part = read_one(|out| eight.encode(1, &Limits::SPEC, out).unwrap());
    let place = part.concat.unwrap();
    assert_eq!((place.width, place.reference), (Width::Eight, 200));
    assert_eq!((place.total, place.sequence, part.header), (3, 2, 6));
    assert_eq!(part.octets.len(), 7, "the header is kept");

    let sixteen = DeliverSm {
        esm_class: ESM_UDHI,
        ..handset(&[6, 8, 4, 1, 0, 3, 2, b'x'])
    };
    let part = read_one(|out| sixteen.encode(1, &Limits::SPEC, out).unwrap());
    let place = part.concat.unwrap();
    assert_eq!((place.width, place.reference), (Width::Sixteen, 256));

    let mut tlvs = TlvBuf::new();
    let sar = Sar {
        reference: 256,
        total: 3,
        number: 2,
    };
    tlvs.push_sar(sar).unwrap();
    let sar = DeliverSm {
        tlvs: tlvs.as_tlvs(),
        ..handset(b"x")
    };
    let part = read_one(|out| sar.encode(1, &Limits::SPEC, out).unwrap());
    let place = part.concat.unwrap();
    assert_eq!((place.width, place.reference), (Width::Sar, 256));
    assert_eq!((place.total, place.sequence), (3, 2));
}

#[test]
fn a_header_longer_than_the_user_data_is_text_and_no_place() {
    let broken = DeliverSm {
        esm_class: ESM_UDHI,
        ..handset(&[200, 0, 3, 1, 2, 1])
    };
    let (part, quirks) = read_odd(|out| broken.encode(1, &Limits::SPEC, out).unwrap());
    assert_eq!((part.concat, part.header), (None, 0));
    assert_eq!(part.octets.len(), 6);
    assert_eq!(quirks, Quirks::BAD_UDH);

    let past_its_end = DeliverSm {
        esm_class: ESM_UDHI,
        ..handset(&[7, 0, 3, 1, 2, 1, 0x70, 9, b'x'])
    };
    let (part, quirks) = read_odd(|out| past_its_end.encode(1, &Limits::SPEC, out).unwrap());
    assert_eq!(part.concat.map(|place| place.total), Some(2));
    assert_eq!((part.header, quirks), (8, Quirks::BAD_UDH));
}

#[test]
fn data_sm_carries_its_text_in_message_payload() {
    let mut tlvs = TlvBuf::new();
    let long = [b'x'; 300];
    tlvs.push(Tag::MESSAGE_PAYLOAD, &long).unwrap();
    let data = DataSm {
        source: handset(b"").source,
        dest: handset(b"").dest,
        data_coding: 3,
        tlvs: tlvs.as_tlvs(),
        ..DataSm::default()
    };
    let part = read_one(|out| data.encode(1, &Limits::SPEC, out).unwrap());
    assert_eq!((&*part.octets, part.data_coding), (&long[..], 3));
    assert_eq!(&*part.from, "+46701234567");
}

#[test]
fn addresses_become_e164_where_that_is_certain_and_stay_as_they_are_elsewhere() {
    let read = |ton, addr: &str, country| {
        let addr = addr.as_bytes();
        address(Address { ton, npi: 1, addr }, country)
    };
    for (ton, addr, country, expected) in [
        (1, "46701234567", None, "+46701234567"),
        (1, "+46701234567", None, "+46701234567"),
        (0, "46701234567", None, "+46701234567"),
        (0, "0046701234567", None, "+46701234567"),
        (2, "+46701234567", None, "+46701234567"),
        (0, "0701234567", None, "0701234567"),
        (2, "701234567", None, "701234567"),
        (2, "0701234567", Some("46"), "+46701234567"),
        (2, "2025550123", Some("1"), "+12025550123"),
        (0, "2025550123", Some("1"), "+12025550123"),
        (0, "12025550123", Some("1"), "+12025550123"),
        (0, "0701234567", Some("46"), "+46701234567"),
        (1, "4915112345678", Some("46"), "+4915112345678"),
        (0, "71234", Some("46"), "71234"),
        (1, "71234", None, "71234"),
        (3, "1234567", None, "1234567"),
        (5, "ACME", Some("46"), "ACME"),
        (5, "1234567", None, "1234567"),
        (0, "", None, ""),
    ] {
        assert_eq!(
            &*read(ton, addr, country),
            expected,
            "{ton} {addr} {country:?}"
        );
    }
    let long = "a".repeat(300);
    assert_eq!(read(5, &long, None).len(), ADDRESS_OCTETS_MAX);
}

#[test]
fn what_a_handset_acknowledges_is_marked() {
    for (esm_class, acknowledges) in [
        (0x00, None),
        (0x08, Some(Acknowledged::Delivery)),
        (0x10, Some(Acknowledged::User)),
        (0x0B, Some(Acknowledged::Delivery)),
        (0x04, None),
        (0x18, None),
    ] {
        let sm = DeliverSm {
            esm_class,
            short_message: b"YES",
            ..DeliverSm::default()
        };
        let part = read_one(|out| sm.encode(1, &Limits::SPEC, out).unwrap());
        assert_eq!(part.acknowledges, acknowledges, "{esm_class:#x}");
    }
}
