//! The octets of each dialect, part by part.

use codecs::text::{Alphabet, Charset, Dcs, Language, Udh, decode};

use super::*;
use crate::message::Texts;
use crate::message::tlv::SmsTlv;

fn message(text: &str, encoding: Encoding, segments: u8, sms: Option<SmsOptions>) -> Message {
    Message {
        encoding,
        segments,
        concat_ref: 0x1234,
        sms: sms.map(Box::new),
        texts: Texts::pack(["ACME", text, "", "", "", "", "", "", "", ""]).unwrap(),
        ..crate::connect::smpp::tests::message("+46701234567", "x")
    }
}

fn long(long: Long) -> Dialect {
    Dialect {
        long,
        ..Dialect::default()
    }
}

fn all(message: &Message, dialect: &Dialect) -> Vec<Content> {
    let parts = 0..message.segments;
    parts
        .map(|part| write(message, message.encoding, part, dialect).unwrap())
        .collect()
}

/// What a handset shows of these parts, read by header and data_coding.
fn shown(parts: &[Content], charset: &Charset) -> String {
    let mut text = String::new();
    for part in parts {
        let octets = &part.short_message[..];
        let (udh, rest) = if part.esm_class == ESM_CLASS_UDHI {
            let (udh, rest) = Udh::split(octets).unwrap();
            (Some(udh), rest)
        } else {
            (None, octets)
        };
        let read = decode(rest, Dcs::parse(part.data_coding), udh.as_ref(), charset);
        text.push_str(&read.text.unwrap());
    }
    text
}

#[test]
fn a_carrier_that_reads_little_endian_gets_it_in_every_part() {
    let dialect = Dialect {
        ucs2_little_endian: true,
        ..Dialect::default()
    };
    assert!(!dialect.is_plain());
    let text = "Ж😀".repeat(30);
    let parts = all(&message(&text, Encoding::Ucs2, 2, None), &dialect);
    assert_eq!(parts[0].short_message[6..8], [0x16, 0x04]);
    assert_eq!(shown(&parts, &dialect.charset()), text);
}

#[test]
fn an_8_bit_reference_is_the_low_octet_and_a_16_bit_one_needs_the_room() {
    let text = "x".repeat(300);
    let narrow = message(&text, Encoding::Gsm7, 2, None);
    assert_eq!(
        all(&narrow, &long(Long::Udh8))[1].short_message[..6],
        [5, 0, 3, 0x34, 2, 2]
    );
    // Planned without the room, before the config changed.
    assert_eq!(
        all(&narrow, &long(Long::Udh16))[0].short_message[..6],
        [5, 0, 3, 0x34, 2, 1]
    );
    let wide = SmsOptions {
        wide_reference: true,
        ..SmsOptions::default()
    };
    let wide = message(&text, Encoding::Gsm7, 2, Some(wide));
    assert_eq!(
        all(&wide, &long(Long::Udh16))[1].short_message[..7],
        [6, 8, 4, 0x12, 0x34, 2, 2]
    );
    // A failover to a route that wants 8 bits cuts at the same places.
    let narrower = all(&wide, &long(Long::Udh8));
    assert_eq!(narrower[0].short_message.len(), 6 + 152);
    assert_eq!(shown(&narrower, &Charset::default()), text);
}

#[test]
fn sar_says_the_same_in_tlvs_and_has_no_header() {
    let text = "y".repeat(300);
    let parts = all(&message(&text, Encoding::Gsm7, 2, None), &long(Long::Sar));
    let sar = parts[1].tlvs.as_tlvs().sar().unwrap();
    assert_eq!((sar.reference, sar.total, sar.number), (0x1234, 2, 2));
    assert!(parts.iter().all(|part| part.esm_class == 0));
    assert_eq!(shown(&parts, &Charset::default()), text);
    let one = &all(&message("y", Encoding::Gsm7, 1, None), &long(Long::Sar))[0];
    assert!(one.tlvs.as_tlvs().is_empty());
    // Tables have to be named in a header, so the reference stands there too.
    let options = SmsOptions {
        locking_shift: Some(1),
        ..SmsOptions::default()
    };
    let national = message(&"ş".repeat(200), Encoding::Gsm7, 2, Some(options));
    let parts = all(&national, &long(Long::Sar));
    assert!(parts.iter().all(|part| part.tlvs.as_tlvs().is_empty()));
    assert_eq!(shown(&parts, &Charset::default()), "ş".repeat(200));
}

#[test]
fn a_text_handed_over_whole_is_in_message_payload_alone() {
    let text = "z€".repeat(200);
    let options = SmsOptions {
        payload_segments: Some(4),
        ..SmsOptions::default()
    };
    let parts = all(
        &message(&text, Encoding::Gsm7, 1, Some(options)),
        &long(Long::Payload),
    );
    let [part] = &parts[..] else {
        panic!("one part")
    };
    assert_eq!((part.esm_class, part.short_message.len()), (0, 0));
    let payload = part.tlvs.as_tlvs().message_payload().unwrap();
    let read = decode(
        payload,
        Dcs::parse(part.data_coding),
        None,
        &Charset::default(),
    );
    assert_eq!(read.text.as_deref(), Some(text.as_str()));
}

#[test]
fn data_coding_0_is_the_routes_own_alphabet() {
    for alphabet in [Alphabet::Gsm7Packed, Alphabet::Latin1, Alphabet::Utf8] {
        let dialect = Dialect {
            alphabet,
            ..Dialect::default()
        };
        let text = "£é".repeat(100);
        let parts = all(&message(&text, Encoding::Gsm7, 2, None), &dialect);
        assert!(parts.iter().all(|part| part.data_coding == 0));
        assert_eq!(shown(&parts, &alphabet.into()), text, "{alphabet:?}");
        let ucs2 = all(&message("ж", Encoding::Ucs2, 1, None), &dialect);
        assert_eq!(
            (ucs2[0].data_coding, &ucs2[0].short_message[..]),
            (8, &[4, 0x36][..])
        );
    }
    let ascii = Dialect {
        alphabet: Alphabet::Ascii,
        ..Dialect::default()
    };
    assert!(
        write(
            &message("é", Encoding::Gsm7, 1, None),
            Encoding::Gsm7,
            0,
            &ascii
        )
        .is_err()
    );
}

#[test]
fn flash_is_said_the_routes_way() {
    let options = SmsOptions {
        flash: true,
        ..SmsOptions::default()
    };
    let of = |flash, encoding| {
        let dialect = Dialect {
            flash,
            ..Dialect::default()
        };
        let parts = all(&message("hi", encoding, 1, Some(options.clone())), &dialect);
        let mut tlvs = parts[0].tlvs.as_tlvs().iter();
        let subunit = tlvs.find(|tlv| tlv.tag == Tag::DEST_ADDR_SUBUNIT);
        (parts[0].data_coding, subunit.map(|tlv| tlv.value.to_vec()))
    };
    assert_eq!(of(Flash::F0, Encoding::Gsm7), (0xf0, None));
    assert_eq!(of(Flash::Ten, Encoding::Gsm7), (0x10, None));
    assert_eq!(of(Flash::F0, Encoding::Ucs2), (0x18, None));
    assert_eq!(of(Flash::Tlv, Encoding::Gsm7), (0x00, Some(vec![1])));
    assert_eq!(of(Flash::Tlv, Encoding::Ucs2), (0x08, Some(vec![1])));
}

#[test]
fn a_messages_own_tlvs_are_in_each_part_and_win() {
    let tlv = |tag, value: &[u8]| SmsTlv {
        tag,
        value: value.into(),
    };
    let options = SmsOptions {
        flash: true,
        tlvs: [tlv(0x1400, b"1101\0"), tlv(0x0005, &[2])].into(),
        ..SmsOptions::default()
    };
    let dialect = Dialect {
        flash: Flash::Tlv,
        ..Dialect::default()
    };
    let long = message(&"x".repeat(200), Encoding::Gsm7, 2, Some(options));
    for part in all(&long, &dialect) {
        let tlvs: Vec<_> = part
            .tlvs
            .as_tlvs()
            .iter()
            .map(|t| (t.tag.0, t.value))
            .collect();
        assert_eq!(tlvs, [(0x1400, &b"1101\0"[..]), (0x0005, &[2])]);
    }
}

#[test]
fn octets_go_out_as_they_came_behind_their_own_header() {
    let data: Vec<u8> = (0..200).collect();
    let body = STANDARD.encode(&data);
    let ports = [5, 4, 0x0b, 0x84, 0, 9];
    let options = SmsOptions {
        udh: ports.into(),
        ..SmsOptions::default()
    };
    let parts = all(
        &message(&body, Encoding::Binary, 2, Some(options)),
        &Dialect::default(),
    );
    let mut joined = Vec::new();
    for part in &parts {
        assert_eq!((part.data_coding, part.esm_class), (4, ESM_CLASS_UDHI));
        let (udh, rest) = Udh::split(&part.short_message).unwrap();
        assert_eq!(udh.fields.ports.unwrap().destination, 2948);
        assert!(udh.fields.concat.unwrap().is_part());
        joined.extend_from_slice(rest);
    }
    assert_eq!(joined, data);
    let bare = all(
        &message(&body[..4], Encoding::Binary, 1, None),
        &Dialect::default(),
    );
    assert_eq!(
        (bare[0].esm_class, &bare[0].short_message[..]),
        (0, &data[..3])
    );
}

#[test]
fn a_national_text_names_its_tables_in_every_part() {
    let options = SmsOptions {
        locking_shift: Some(Language::Turkish.id()),
        single_shift: Some(Language::Turkish.id()),
        ..SmsOptions::default()
    };
    let text = "ığşçİĞŞÇ^".repeat(20);
    let national = message(&text, Encoding::Gsm7, 2, Some(options));
    for alphabet in [Alphabet::Gsm7, Alphabet::Gsm7Packed] {
        let dialect = Dialect {
            alphabet,
            ..Dialect::default()
        };
        let parts = all(&national, &dialect);
        assert_eq!(shown(&parts, &alphabet.into()), text, "{alphabet:?}");
    }
}

#[test]
fn latin_1_goes_as_it_is_and_as_ucs2_where_the_route_does_not_take_it_any_more() {
    let takes = Dialect {
        latin1: true,
        long: Long::Sar,
        ..Dialect::default()
    };
    let text = "ç".repeat(200);
    let parts = all(&message(&text, Encoding::Latin1, 2, None), &takes);
    assert!(parts.iter().all(|part| part.data_coding == 3));
    assert_eq!(parts[0].short_message, [0xE7; 134]);
    assert_eq!(shown(&parts, &Charset::default()), text);
    let other = Dialect::default();
    let ucs2 = all(&message("ça", Encoding::Latin1, 1, None), &other);
    assert_eq!(
        (ucs2[0].data_coding, &ucs2[0].short_message[..]),
        (8, &[0, 0xE7, 0, b'a'][..])
    );
    // 200 take three parts there: the message has two.
    let long = message(&text, Encoding::Latin1, 2, None);
    assert!(write(&long, long.encoding, 0, &other).is_err());
}
