//! Receipts as carriers write them.

use bytes::BytesMut;
use codecs::smpp::{DataSm, DeliverSm, Limits, TlvBuf};

use codecs::smpp::receipt::Format;

use super::*;
use crate::message::RouteIx;
use crate::outcome::error_map::ErrorMap;

#[path = "tests/corpus.rs"]
mod corpus;

fn config() -> Config {
    Config::new(RouteIx(2), "carrier-a", vec![], "acme", "secret")
}

fn reading(reading: Reading) -> Config {
    Config {
        reading,
        ..config()
    }
}

fn frame(sm: &DeliverSm<'_>) -> Frame {
    let mut out = BytesMut::new();
    sm.encode(1, &Limits::SPEC, &mut out).unwrap();
    Frame::new(out.freeze()).unwrap()
}

fn from(ton: u8, addr: &[u8]) -> Address<'_> {
    Address { ton, npi: 1, addr }
}

fn receipt_of(sm: &DeliverSm<'_>, config: &Config) -> Receipt {
    match read(&frame(sm), config, UnixMs(9)) {
        (Read::Receipt(receipt), _) => *receipt,
        (other, _) => panic!("{other:?}"),
    }
}

fn text(text: &[u8]) -> DeliverSm<'_> {
    DeliverSm {
        esm_class: 4,
        short_message: text,
        ..DeliverSm::default()
    }
}

#[test]
fn a_carriers_own_word_and_its_pdu_are_kept() {
    for (word, kept) in [("UNDELIV", ""), ("undeliv", ""), ("FAILED", "FAILED")] {
        let text_of = format!("id:7 stat:{word} err:1");
        let sm = text(text_of.as_bytes());
        let receipt = receipt_of(&sm, &config());
        assert_eq!(receipt.state, ReceiptState::Undeliverable);
        assert_eq!(&*receipt.stat, kept);
        assert_eq!(receipt.pdu.octets(), &**frame(&sm).octets());
    }
    let long = format!("id:7 stat:{} text:{}", "DELIVRD", "x".repeat(600));
    let mut payload = TlvBuf::new();
    payload.push(Tag::MESSAGE_PAYLOAD, long.as_bytes()).unwrap();
    let sm = DeliverSm {
        tlvs: payload.as_tlvs(),
        ..text(b"")
    };
    assert_eq!(
        receipt_of(&sm, &config()).pdu.octets().len(),
        RawOctets::OCTETS_MAX
    );
}

#[test]
fn text_alone_is_enough() {
    let sm = text(b"id:77 done date:2611200901 stat:UNDELIV err:027 text:hej");
    let receipt = receipt_of(&sm, &config());
    assert_eq!(&*receipt.provider_id, b"77");
    assert_eq!(
        (receipt.state, &*receipt.err),
        (ReceiptState::Undeliverable, "027")
    );
    assert_eq!(
        receipt.reason,
        Some(Reason::Unclassified),
        "err means what the carrier says"
    );
    assert!(receipt.raw.starts_with("id:77"));
    let map = ErrorMap::built_in("generic-gsm").unwrap();
    let gsm = reading(Reading {
        error_map: ErrorMap::parse(map).unwrap(),
        utc_offset_min: 60,
        ..Reading::default()
    });
    let by_profile = receipt_of(&sm, &gsm);
    assert_eq!(by_profile.reason, Some(Reason::AbsentSubscriber));
    let hour = by_profile.operator_at.unwrap().0 + 3_600_000;
    assert_eq!(receipt.operator_at, Some(UnixMs(hour)));
}

#[test]
fn tlvs_win_over_text_unless_the_route_says_otherwise() {
    let mut tlvs = TlvBuf::new();
    tlvs.push_cstring(Tag::RECEIPTED_MESSAGE_ID, b"abc")
        .unwrap();
    tlvs.push(Tag::MESSAGE_STATE, &[2]).unwrap();
    tlvs.push(Tag::NETWORK_ERROR_CODE, &[3, 0, 0]).unwrap();
    let sm = DeliverSm {
        tlvs: tlvs.as_tlvs(),
        ..text(b"id:99 stat:EXPIRED err:000")
    };
    let receipt = receipt_of(&sm, &config());
    assert_eq!(
        (&*receipt.provider_id, receipt.state),
        (&b"abc"[..], ReceiptState::Delivered)
    );
    assert_eq!(
        (receipt.reason, receipt.network_error),
        (None, Some((3, 0)))
    );
    assert!(receipt.raw.is_empty());
    assert_eq!(
        &*receipt.text_id, b"99",
        "kept where the TLV's finds nothing"
    );
    let alike = DeliverSm {
        tlvs: sm.tlvs,
        ..text(b"id:ABC stat:DELIVRD")
    };
    assert!(receipt_of(&alike, &config()).text_id.is_empty());
    let prefer = reading(Reading {
        prefer_text: true,
        ..Reading::default()
    });
    let receipt = receipt_of(&sm, &prefer);
    assert_eq!(receipt.state, ReceiptState::Expired);
    assert_eq!(receipt.reason, Some(Reason::ExpiredAtCarrier));
}

#[test]
fn data_sm_payload_and_ucs2_texts_are_read() {
    let mut tlvs = TlvBuf::new();
    tlvs.push(Tag::MESSAGE_PAYLOAD, b"id:5 stat:REJECTD err:010")
        .unwrap();
    let data = DataSm {
        esm_class: 4,
        tlvs: tlvs.as_tlvs(),
        ..DataSm::default()
    };
    let mut out = BytesMut::new();
    data.encode(1, &Limits::SPEC, &mut out).unwrap();
    let (Read::Receipt(receipt), _) =
        read(&Frame::new(out.freeze()).unwrap(), &config(), UnixMs(1))
    else {
        panic!("a receipt")
    };
    assert_eq!(
        (&*receipt.provider_id, receipt.state),
        (&b"5"[..], ReceiptState::Rejected)
    );
    let wide: Vec<u8> = "id:6 stat:DELIVRD"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let narrow = b"id:6 stat:DELIVRD".to_vec();
    for octets in [wide, narrow] {
        let sm = DeliverSm {
            data_coding: 8,
            ..text(&octets)
        };
        assert_eq!(&*receipt_of(&sm, &config()).provider_id, b"6");
    }
}

#[test]
fn the_recipient_is_the_sender_without_its_prefix() {
    let of = |source| {
        let sm = DeliverSm {
            source,
            ..text(b"id:1 stat:DELIVRD")
        };
        receipt_of(&sm, &config())
            .recipient
            .map(|phone| phone.number())
    };
    assert_eq!(of(from(1, b"46701234567")), Some(46_701_234_567));
    assert_eq!(of(from(0, b"+46701234567")), Some(46_701_234_567));
    // The store compares ends of numbers.
    assert_eq!(of(from(2, b"701234567")), Some(701_234_567));
    assert_eq!(of(from(0, b"0701234567")), Some(701_234_567));
    assert_eq!(of(from(0, b"0046701234567")), Some(46_701_234_567));
    assert_eq!(of(from(5, b"ACME")), None);
}

#[test]
fn intermediate_states_never_end_a_message() {
    let sm = DeliverSm {
        esm_class: 0x20,
        ..text(b"id:1 stat:UNDELIV")
    };
    assert_eq!(receipt_of(&sm, &config()).state, ReceiptState::Enroute);
}

#[test]
fn messages_and_nonsense_are_told_apart() {
    let inbound = DeliverSm {
        short_message: b"id:1 stat:DELIVRD",
        ..DeliverSm::default()
    };
    let plain = (Read::Inbound, Quirks::NONE);
    assert_eq!(read(&frame(&inbound), &config(), UnixMs(1)), plain);
    let by_text = reading(Reading {
        by_text: true,
        ..Reading::default()
    });
    assert!(matches!(
        read(&frame(&inbound), &by_text, UnixMs(1)),
        (Read::Receipt(_), Quirks::RECEIPT_BY_TEXT)
    ));
    let sme_ack = DeliverSm {
        esm_class: 0x08,
        ..inbound
    };
    assert_eq!(read(&frame(&sme_ack), &by_text, UnixMs(1)), plain);
}

#[test]
fn a_handsets_message_is_none_the_less_for_the_class_of_a_receipt() {
    let of = |sm: &DeliverSm<'_>, config: &Config| read(&frame(sm), config, UnixMs(1));
    let ucs2 = DeliverSm {
        data_coding: UCS2,
        ..text(b"\0S\0T\0O\0P")
    };
    for sm in [text(b"STOP"), ucs2] {
        let misnamed = (Read::Inbound, Quirks::MESSAGE_AS_RECEIPT);
        assert_eq!(of(&sm, &config()), misnamed);
    }
    let unreadable = |sm: &DeliverSm<'_>, config: &Config| {
        assert!(matches!(of(sm, config), (Read::Unreadable(_), _)), "{sm:?}");
    };
    let formatted = reading(Reading {
        format: Some(Format::parse("{stat},{done},{submit},{err},{},{},{id}").unwrap()),
        ..Reading::default()
    });
    unreadable(&text(b"STOP"), &formatted);
    for (tag, value) in [
        (Tag::RECEIPTED_MESSAGE_ID, &b"\0"[..]),
        (Tag::MESSAGE_STATE, &[99]),
        (Tag::NETWORK_ERROR_CODE, &[3]),
    ] {
        let mut tlvs = TlvBuf::new();
        tlvs.push(tag, value).unwrap();
        let sm = DeliverSm {
            tlvs: tlvs.as_tlvs(),
            ..text(b"STOP")
        };
        unreadable(&sm, &config());
    }
    let part = DeliverSm {
        esm_class: 0x44,
        ..text(b"\x05\0\x03\x01\x02\x02STOP")
    };
    unreadable(&part, &config());
    unreadable(&text(b"message delivered"), &config());
}

#[test]
fn what_a_receipt_is_lived_with_for_is_named_and_a_plain_one_has_nothing() {
    const TEXT: &[u8] = b"id:7 stat:DELIVRD err:000";
    const STATE: &[(Tag, &[u8])] = &[(Tag::MESSAGE_STATE, &[2])];
    const ID: &[(Tag, &[u8])] = &[(Tag::RECEIPTED_MESSAGE_ID, b"7\0")];
    let by_text = reading(Reading {
        by_text: true,
        ..Reading::default()
    });
    let ucs2: Vec<u8> = TEXT.iter().flat_map(|&octet| [0, octet]).collect();
    let behind = |header: &[u8]| [header, TEXT].concat();
    let fits = behind(&[3, 0x70, 1, 0]);
    let reaches_past = behind(&[3, 0x70, 2, 0]);
    let too_long = [&b" "[..], TEXT].concat();
    for (esm_class, data_coding, text, tlvs, quirks) in [
        (4, 0, TEXT, &[][..], Quirks::NONE),
        (4, 0, TEXT, STATE, Quirks::NONE),
        (0x20, 0, TEXT, STATE, Quirks::NONE),
        (0, 0, TEXT, STATE, Quirks::RECEIPT_BY_TLV),
        (8, 0, TEXT, ID, Quirks::RECEIPT_BY_TLV),
        (0, 0, TEXT, &[], Quirks::RECEIPT_BY_TEXT),
        (4, 8, TEXT, &[], Quirks::ASCII_AS_UCS2),
        (4, 8, TEXT, STATE, Quirks::ASCII_AS_UCS2),
        (4, 8, &ucs2, &[], Quirks::NONE),
        (4, 8, b"", STATE, Quirks::RECEIPT_WITHOUT_ID),
        (0x44, 0, &fits, &[], Quirks::NONE),
        (0x44, 0, &reaches_past, &[], Quirks::BAD_UDH),
        (0x44, 0, &too_long, &[], Quirks::BAD_UDH),
    ] {
        let mut buf = TlvBuf::new();
        for (tag, value) in tlvs {
            buf.push(*tag, value).unwrap();
        }
        let sm = DeliverSm {
            esm_class,
            data_coding,
            short_message: text,
            tlvs: buf.as_tlvs(),
            ..DeliverSm::default()
        };
        let (_, found) = read(&frame(&sm), &by_text, UnixMs(1));
        assert_eq!(found, quirks, "{sm:?}");
        buf.push(Tag::MESSAGE_PAYLOAD, text).unwrap();
        let data = DataSm {
            esm_class,
            data_coding,
            tlvs: buf.as_tlvs(),
            ..DataSm::default()
        };
        let mut out = BytesMut::new();
        data.encode(1, &Limits::SPEC, &mut out).unwrap();
        let (_, found) = read(&Frame::new(out.freeze()).unwrap(), &by_text, UnixMs(1));
        let mut quirks = quirks;
        quirks.insert(Quirks::RECEIPT_IN_DATA_SM);
        assert_eq!(found, quirks, "{data:?}");
    }
}

#[test]
fn what_cannot_be_read_is_kept_as_it_came_and_safe_to_show() {
    let odd = DeliverSm {
        source: from(1, b"46701234567"),
        ..text(b"id:1 stat:\x1b[31mWHAT\r\n\xff")
    };
    let pdu = frame(&odd);
    let (Read::Unreadable(unreadable), _) = read(&pdu, &config(), UnixMs(7)) else {
        panic!("unreadable")
    };
    let kept = Unreadable {
        route: RouteIx(2),
        provider_id: b"1"[..].into(),
        recipient: Phone::parse("+46701234567"),
        text: "id:1 stat:\\x1b[31mWHAT\\r\\n\\xff".into(),
        pdu: pdu.octets()[..].into(),
        received_at: UnixMs(7),
    };
    assert_eq!(*unreadable, kept);
    let mut payload = TlvBuf::new();
    payload.push(Tag::MESSAGE_PAYLOAD, &[b'7'; 60_000]).unwrap();
    let long = DeliverSm {
        tlvs: payload.as_tlvs(),
        ..text(b"")
    };
    let (Read::Unreadable(unreadable), _) = read(&frame(&long), &config(), UnixMs(7)) else {
        panic!("unreadable")
    };
    let sizes = (unreadable.pdu.len(), unreadable.text.len());
    assert_eq!(sizes, (PDU_OCTETS_MAX, RAW_OCTETS_MAX));
}

#[test]
fn what_is_kept_is_bounded() {
    let long = [
        &b"id:"[..],
        &[b'7'; 100],
        b" stat:UNDELIV err:",
        &[b'e'; 60],
        b" text:",
        &[0xE5; 60],
    ]
    .concat();
    let receipt = receipt_of(&text(&long), &config());
    assert_eq!(receipt.err.len(), ERR_OCTETS_MAX);
    assert!(receipt.raw.len() <= RAW_OCTETS_MAX && receipt.raw.is_ascii());
}

#[test]
fn a_routes_own_words_formats_and_final_states_are_read_as_it_means_them() {
    let map = "[stat]\n00 = { state = \"delivered\" }\n01 = { state = \"sent\" }\n\
               DND_REJECTED = { state = \"rejected\", reason = \"blocked_destination\" }\n";
    let own = reading(Reading {
        format: Some(Format::parse("{stat},{done},{submit},{err},{},{},{id}").unwrap()),
        error_map: ErrorMap::parse(map).unwrap(),
        by_text: true,
        ..Reading::default()
    });
    for (word, state) in [
        ("00", ReceiptState::Delivered),
        ("01", ReceiptState::Enroute),
    ] {
        let csv = format!("{word},0210021543,0210021500,,447887123456,8000,we2345");
        for esm_class in [0, 4] {
            let sm = DeliverSm {
                esm_class,
                ..text(csv.as_bytes())
            };
            let receipt = receipt_of(&sm, &own);
            assert_eq!(
                (&*receipt.provider_id, receipt.state),
                (&b"we2345"[..], state)
            );
        }
    }
    // What is not of the format is read as key:value.
    let words = text(b"id:7 stat:DND_REJECTED err:1");
    let receipt = receipt_of(&words, &own);
    let found = (receipt.state, receipt.reason);
    assert_eq!(
        found,
        (ReceiptState::Rejected, Some(Reason::BlockedDestination))
    );
    assert!(matches!(
        read(&frame(&words), &config(), UnixMs(1)),
        (Read::Unreadable(_), Quirks::NONE)
    ));

    let state = |stat: &str, rules: &Reading| {
        let text_of = format!("id:7 stat:{stat}");
        receipt_of(&text(text_of.as_bytes()), &reading(rules.clone())).state
    };
    let plain = Reading::default();
    assert_eq!(state("ACCEPTD", &plain), ReceiptState::Accepted);
    assert_eq!(state("UNKNOWN", &plain), ReceiptState::Unknown);
    let other = Reading {
        accepted_is_final: true,
        unknown_is_open: true,
        ..plain
    };
    assert_eq!(state("ACCEPTD", &other), ReceiptState::Delivered);
    assert_eq!(state("UNKNOWN", &other), ReceiptState::Enroute);
}

#[test]
fn a_reason_comes_from_the_routes_map_and_else_from_what_is_the_same_everywhere() {
    let of = |map: Option<&str>, network: &[u8], err: &str| {
        let mut tlvs = TlvBuf::new();
        tlvs.push(Tag::NETWORK_ERROR_CODE, network).unwrap();
        let text = format!("id:7 stat:UNDELIV err:{err}");
        let sm = DeliverSm {
            esm_class: 4,
            short_message: text.as_bytes(),
            tlvs: tlvs.as_tlvs(),
            ..DeliverSm::default()
        };
        let map = map.map(|name| ErrorMap::built_in(name).unwrap());
        let error_map = ErrorMap::parse(map.unwrap_or_default()).unwrap();
        receipt_of(
            &sm,
            &reading(Reading {
                error_map,
                ..Reading::default()
            }),
        )
        .reason
        .unwrap()
    };
    assert_eq!(
        of(None, &[3, 0, 27], "001"),
        Reason::AbsentSubscriber,
        "GSM's own code"
    );
    assert_eq!(
        of(None, b"3027", "001"),
        Reason::AbsentSubscriber,
        "in ASCII"
    );
    assert_eq!(
        of(None, &[3, 0, 0, 27], "001"),
        Reason::AbsentSubscriber,
        "in four octets"
    );
    assert_eq!(
        of(None, &[8, 0, 27], "001"),
        Reason::Unclassified,
        "err means nothing by itself"
    );
    assert_eq!(
        of(Some("twilio"), &[3, 0, 1], "001"),
        Reason::AbsentSubscriber,
        "its own err first"
    );
    assert_eq!(
        of(Some("infobip"), &[8, 0, 1], "001"),
        Reason::UnknownSubscriber
    );
    assert_eq!(
        of(Some("clickatell"), &[3, 0, 2], "000"),
        Reason::UnknownSubscriber
    );
    assert_eq!(
        of(Some("clickatell"), &[3, 0, 1], "000"),
        Reason::Unclassified,
        "not GSM's 1"
    );
    assert_eq!(of(Some("twilio"), &[8, 0, 0], "954"), Reason::Unclassified);
}

#[test]
fn one_without_an_id_tells_number_sender_and_times_where_the_route_says_so() {
    let sm = DeliverSm {
        source: from(1, b"46701234567"),
        dest: from(5, b"ACME"),
        ..text(b"submit date:2611211200 done date:2611211201 stat:DELIVRD err:000")
    };
    let (plain, quirks) = read(&frame(&sm), &config(), UnixMs(9));
    assert!(matches!(plain, Read::Unreadable(_)));
    assert_eq!(quirks, Quirks::RECEIPT_WITHOUT_ID);
    let own = reading(Reading {
        without_id: true,
        ..Reading::default()
    });
    let (found, quirks) = read(&frame(&sm), &own, UnixMs(9));
    assert_eq!(quirks, Quirks::RECEIPT_WITHOUT_ID);
    let Read::Receipt(receipt) = found else {
        panic!("{found:?}")
    };
    assert!(receipt.provider_id.is_empty());
    assert_eq!(receipt.recipient, Phone::parse("+46701234567"));
    let clues = receipt.clues.unwrap();
    assert_eq!(&*clues.sender, "ACME");
    let done = receipt.operator_at.unwrap();
    assert_eq!(clues.submitted_at, Some(UnixMs(done.0 - 60_000)));
    // News of a try, or without a number: nobody's.
    let of_a_try = DeliverSm {
        short_message: b"stat:ENROUTE",
        ..sm
    };
    let no_number = DeliverSm {
        source: from(5, b"ACME"),
        ..sm
    };
    for sm in [of_a_try, no_number] {
        let (found, _) = read(&frame(&sm), &own, UnixMs(9));
        assert!(matches!(found, Read::Unreadable(_)), "{found:?}");
    }
    // With an id it has the same beside it.
    let named = receipt_of(&text(b"id:7 stat:DELIVRD"), &own);
    assert!(named.clues.is_some() && !named.provider_id.is_empty());
}

#[test]
fn unknown_tlvs_are_kept_of_good_news_as_of_bad() {
    for (word, standard) in [("DELIVRD", false), ("UNDELIV", false), ("DELIVRD", true)] {
        let mut buf = TlvBuf::new();
        buf.push(Tag::RECEIPTED_MESSAGE_ID, b"7\0").unwrap();
        if !standard {
            buf.push(Tag(0x1411), b"O2").unwrap();
        }
        let text_of = format!("id:7 stat:{word} err:000");
        let sm = DeliverSm {
            tlvs: buf.as_tlvs(),
            ..text(text_of.as_bytes())
        };
        let receipt = receipt_of(&sm, &config());
        let shown: Vec<_> = receipt
            .tlvs
            .iter()
            .map(|tlv| (&*tlv.name, &*tlv.value))
            .collect();
        match standard {
            true => assert_eq!(shown, []),
            false => assert_eq!(shown, [("0x1411", "4f32")], "{word}"),
        }
    }
}
