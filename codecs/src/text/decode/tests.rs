//! Every data_coding, headers that lie, packed septets, and what peers get wrong in UCS-2.

use proptest::prelude::*;

use super::*;
use crate::text::dcs::{Class, WaitingKind};
use crate::text::gsm7::packed;
use crate::text::udh::{Concat, Fields, Ports, UdhTooLong};
use crate::text::{Encoding, Reference};

fn read(octets: &[u8], data_coding: u8, default: Alphabet) -> Decoded {
    decode(octets, Dcs::parse(data_coding), None, &default.into())
}

fn text(octets: &[u8], data_coding: u8) -> (Option<String>, &'static str) {
    let read = read(octets, data_coding, Alphabet::Gsm7);
    (read.text, read.encoding)
}

#[test]
fn the_full_octet_is_read() {
    use Coding::{Default as D, *};
    // SMPP v3.4 §5.2.19 below 0x10.
    let low = [
        D,
        Ascii,
        Octets,
        Latin1,
        Octets,
        Jis,
        Cyrillic,
        Hebrew,
        Ucs2,
        Pictogram,
        Iso2022Jp,
        Gsm7,
        Gsm7,
        ExtendedKanji,
        Korean,
        Gsm7,
    ];
    for (raw, coding) in (0..).zip(low) {
        let dcs = Dcs::parse(raw);
        assert_eq!(
            (dcs.coding, dcs.class, dcs.waiting),
            (coding, None, None),
            "{raw:#x}"
        );
    }
}

#[test]
fn from_0x10_on_the_octet_is_that_of_3gpp() {
    use Coding::{Gsm7, Octets, Ucs2};
    // 3GPP TS 23.038 §4.
    let class = |raw| Dcs::parse(raw).class;
    for (raw, coding, of) in [
        (0x10, Gsm7, Some(Class::Flash)),
        (0x11, Gsm7, Some(Class::Handset)),
        (0x14, Octets, Some(Class::Flash)),
        (0x18, Ucs2, Some(Class::Flash)),
        (0x1b, Ucs2, Some(Class::Terminal)),
        (0x1c, Gsm7, Some(Class::Flash)),
        (0x24, Octets, None),
        (0x48, Ucs2, None),
        (0x58, Ucs2, Some(Class::Flash)),
        (0x80, Gsm7, None),
        (0xbf, Gsm7, None),
        (0xf0, Gsm7, Some(Class::Flash)),
        (0xf2, Gsm7, Some(Class::Sim)),
        (0xf5, Octets, Some(Class::Handset)),
        (0xf8, Gsm7, Some(Class::Flash)),
    ] {
        assert_eq!(
            (Dcs::parse(raw).coding, class(raw)),
            (coding, of),
            "{raw:#x}"
        );
    }
    for raw in 0..=255u8 {
        let dcs = Dcs::parse(raw);
        assert_eq!(dcs.raw, raw);
        assert_eq!(
            dcs.compressed,
            matches!(raw, 0x20..=0x3f | 0x60..=0x7f),
            "{raw:#x}"
        );
        assert_eq!(
            dcs.delete_after_reading,
            matches!(raw, 0x40..=0x7f),
            "{raw:#x}"
        );
        assert_eq!(
            dcs.waiting.is_some(),
            matches!(raw, 0xc0..=0xef),
            "{raw:#x}"
        );
    }
    let waiting = |raw| {
        let dcs = Dcs::parse(raw);
        let waiting = dcs.waiting.unwrap();
        (dcs.coding, waiting.active, waiting.kind, waiting.discard)
    };
    assert_eq!(waiting(0xc8), (Gsm7, true, WaitingKind::Voicemail, true));
    assert_eq!(waiting(0xd1), (Gsm7, false, WaitingKind::Fax, false));
    assert_eq!(waiting(0xea), (Ucs2, true, WaitingKind::Email, false));
    assert_eq!(waiting(0xc3), (Gsm7, false, WaitingKind::Other, true));
}

#[test]
fn each_coding_is_read_by_its_table() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(text(&[0x00, 0x11, 0x1b, 0x65], 0), (some("@_€"), "gsm7"));
    assert_eq!(text(b"@_\xe9", 1), (some("@_\u{fffd}"), "ascii"));
    assert_eq!(text(&[0xe9, 0x40], 3), (some("é@"), "latin1"));
    // "あ" in Shift JIS, ISO-2022-JP and EUC-JP; a JIS X 0212 character; "한" in EUC-KR.
    assert_eq!(text(&[0x82, 0xa0], 5), (some("あ"), "shift_jis"));
    assert_eq!(text(b"\x1b$B$\x22\x1b(B", 10), (some("あ"), "iso-2022-jp"));
    assert_eq!(text(&[0xa4, 0xa2], 13), (some("あ"), "euc-jp"));
    assert_eq!(text(&[0x8f, 0xb0, 0xa1], 13), (some("丂"), "euc-jp"));
    assert_eq!(text(&[0xc7, 0xd1], 14), (some("한"), "euc-kr"));
    assert_eq!(text(&[0xb0, 0xdf], 6), (some("Ап"), "iso-8859-5"));
    assert_eq!(text(&[0xe0, 0xfa], 7), (some("את"), "iso-8859-8"));
    for octets_or_pictogram in [2, 4, 9, 0x14, 0xf4, 0x20, 0x38] {
        assert_eq!(text(b"abc", octets_or_pictogram), (None, "binary"));
    }
    // Flash in GSM 7-bit and in UCS-2, voicemail in both: the low four bits alone would misread.
    assert_eq!(text(&[0x00], 0xf0), (some("@"), "gsm7"));
    assert_eq!(text(&[0x04, 0x16], 0x18), (some("Ж"), "ucs2"));
    assert_eq!(text(&[0x00], 0xc8), (some("@"), "gsm7"));
    assert_eq!(text(&[0x04, 0x16], 0xe8), (some("Ж"), "ucs2"));
}

#[test]
fn data_coding_0_means_what_the_carrier_says() {
    use Alphabet::{Ascii, Gsm7, Gsm7Packed, Latin1, Utf8};
    let cases: [(&[u8], Alphabet, &str, &str); 5] = [
        (&[0x01, 0x41], Gsm7, "£A", "gsm7"),
        (&[0xa3, 0x41], Latin1, "£A", "latin1"),
        ("£A".as_bytes(), Utf8, "£A", "utf8"),
        (&[0xa3, 0x41], Ascii, "\u{fffd}A", "ascii"),
        // "hello" on the air, the example of many textbooks.
        (&[0xe8, 0x32, 0x9b, 0xfd, 0x06], Gsm7Packed, "hello", "gsm7"),
    ];
    for (octets, alphabet, expected, encoding) in cases {
        let read = read(octets, 0, alphabet);
        assert_eq!(
            (read.text.as_deref(), read.encoding),
            (Some(expected), encoding)
        );
        assert_eq!(read.replaced, expected.contains('\u{fffd}'));
    }
    // GSM 7-bit by name is not the default alphabet, but is packed where the link packs.
    assert_eq!(read(&[0x01], 0xf0, Latin1).text.as_deref(), Some("£"));
    assert_eq!(
        read(&[0xe8, 0x32], 0xf0, Gsm7Packed).text.as_deref(),
        Some("he")
    );
    let ia5 = Charset {
        ia5_is_default: true,
        ..Gsm7.into()
    };
    assert_eq!(
        decode(&[0x00], Dcs::parse(1), None, &ia5).text.as_deref(),
        Some("@")
    );
}

#[test]
fn what_peers_get_wrong_in_ucs2_is_read_and_told() {
    let decoded = |octets: &[u8], little| {
        let charset = Charset {
            ucs2_little_endian: little,
            ..Charset::default()
        };
        let read = decode(octets, Dcs::parse(8), None, &charset);
        (
            read.text.unwrap(),
            read.odd_length,
            read.byte_order_mark,
            read.replaced,
        )
    };
    assert_eq!(
        decoded(&[0, 0x41], false),
        ("A".into(), false, false, false)
    );
    assert_eq!(
        decoded(&[0, 0x41, 0x42], false),
        ("A".into(), true, false, false)
    );
    assert_eq!(
        decoded(&[0xfe, 0xff, 0, 0x41], true),
        ("A".into(), false, true, false)
    );
    assert_eq!(
        decoded(&[0xff, 0xfe, 0x41, 0], false),
        ("A".into(), false, true, false)
    );
    assert_eq!(decoded(&[0x41, 0], true), ("A".into(), false, false, false));
    let pair = [0xd8, 0x3d, 0xde, 0x00];
    assert_eq!(decoded(&pair, false).0, "😀");
    assert_eq!(
        decoded(&pair[..2], false),
        ("\u{fffd}".into(), false, false, true)
    );
    assert_eq!(decoded(&pair[2..], false).0, "\u{fffd}");
}

fn fields(elements: &[u8]) -> (Fields, bool) {
    let mut user_data = vec![u8::try_from(elements.len()).unwrap()];
    user_data.extend_from_slice(elements);
    user_data.push(b'!');
    let (udh, rest) = Udh::split(&user_data).unwrap();
    assert_eq!(rest, b"!");
    assert_eq!(udh.octets.len(), elements.len() + 1);
    (udh.fields, udh.overrun)
}

#[test]
fn a_header_is_walked_within_its_length() {
    let concat = |reference, total, sequence| Fields {
        concat: Some(Concat {
            reference,
            total,
            sequence,
        }),
        ..Fields::default()
    };
    let eight = concat(Reference::Eight(7), 3, 2);
    assert_eq!(fields(&[0, 3, 7, 3, 2]), (eight, false));
    assert_eq!(
        fields(&[8, 4, 1, 2, 3, 2]),
        (concat(Reference::Sixteen(0x0102), 3, 2), false)
    );
    // Unknown elements, ones of a wrong length and duplicates are stepped over.
    assert_eq!(fields(&[0x70, 2, 9, 9, 0, 3, 7, 3, 2]), (eight, false));
    assert_eq!(fields(&[0, 2, 9, 9, 0, 3, 7, 3, 2]), (eight, false));
    assert_eq!(fields(&[0, 3, 7, 3, 2, 0, 3, 8, 9, 9]), (eight, false));
    assert_eq!(fields(&[0, 3, 7, 3, 2, 8, 4, 8, 8, 9, 9]), (eight, false));
    // An element that reaches past the header ends the walk; a lone octet is no element.
    assert_eq!(fields(&[0, 3, 7, 3, 2, 5, 200, 1]), (eight, true));
    assert_eq!(fields(&[0, 3, 7, 3, 2, 5]), (eight, true));
    assert_eq!(fields(&[]), (Fields::default(), false));
    let (all, _) = fields(&[5, 4, 0x0b, 0x84, 0, 9, 0x24, 1, 3, 0x25, 1, 1]);
    assert_eq!(
        all.ports,
        Some(Ports {
            destination: 2948,
            source: 9
        })
    );
    assert_eq!((all.single_shift, all.locking_shift), (Some(3), Some(1)));
    assert_eq!(
        fields(&[4, 2, 1, 2]).0.ports,
        Some(Ports {
            destination: 1,
            source: 2
        })
    );
}

#[test]
fn a_header_longer_than_the_user_data_is_refused() {
    for (user_data, claimed) in [
        (&[][..], 1),
        (&[1], 2),
        (&[5, 0, 3, 1, 2], 6),
        (&[255; 9], 256),
    ] {
        let there = user_data.len();
        assert_eq!(Udh::split(user_data), Err(UdhTooLong { claimed, there }));
    }
    assert!(Udh::split(&[0]).is_ok());
}

#[test]
fn parts_that_make_no_sense_are_no_parts() {
    let is_part = |total, sequence| {
        let reference = Reference::Eight(0);
        Concat {
            reference,
            total,
            sequence,
        }
        .is_part()
    };
    assert!(is_part(2, 1) && is_part(2, 2) && is_part(255, 255));
    assert!(!is_part(0, 0) && !is_part(1, 1) && !is_part(3, 0) && !is_part(3, 4));
}

#[test]
fn spare_bits_and_trailing_returns_do_not_change_the_text() {
    // 7 septets leave 7 spare bits: without the return they would read as "@".
    for text in [
        "1234567",
        "12345678",
        "1234567\r",
        "12345678\r",
        "@",
        "\r",
        "@@@@@@@@",
        "",
    ] {
        for header in [0, 6, 7, 4, 9] {
            let mut septets = Vec::new();
            gsm7::encode(text, &mut septets).unwrap();
            let mut octets = Vec::new();
            let fill = packed::fill_bits(header);
            packed::pack(septets.iter().copied(), fill, &mut octets);
            let back = gsm7::decode(&packed::unpack(&octets, fill));
            // On a handset the second return only moves to the start of the same line.
            let doubled =
                text.ends_with('\r') && (septets.len() * 7 + fill as usize).is_multiple_of(8);
            let expected = if doubled {
                format!("{text}\r")
            } else {
                text.to_owned()
            };
            assert_eq!(back, expected, "{text:?} after {header}");
        }
    }
}

#[test]
fn fill_bits_reach_the_next_septet() {
    // 3GPP TS 23.040 §9.2.3.24: 6 octets are 48 bits, one short of 7 septets.
    assert_eq!(
        [0, 6, 7, 4, 9, 12].map(packed::fill_bits),
        [0, 1, 0, 3, 5, 2]
    );
    // "A" after the 8-bit concatenation header: one fill bit, then 0x41 shifted over it.
    let mut octets = Vec::new();
    packed::pack([0x41], packed::fill_bits(6), &mut octets);
    assert_eq!(octets, [0x82]);
    let (udh, rest) = Udh::split(&[5, 0, 3, 1, 2, 1, 0x82]).unwrap();
    let read = decode(
        rest,
        Dcs::parse(0),
        Some(&udh),
        &Alphabet::Gsm7Packed.into(),
    );
    assert_eq!(read.text.as_deref(), Some("A"));
}

proptest! {
    #[test]
    fn any_octets_are_read_within_the_stated_size(
        octets in prop::collection::vec(any::<u8>(), 0..300),
        raw: u8,
        header in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        packed: bool,
        little: bool,
    ) {
        let header = header.unwrap_or_default();
        let udh = Udh::split(&header).ok();
        let charset = Charset {
            default: if packed { Alphabet::Gsm7Packed } else { Alphabet::Gsm7 },
            ia5_is_default: little,
            ucs2_little_endian: little,
        };
        let read = decode(&octets, Dcs::parse(raw), udh.as_ref().map(|(udh, _)| udh), &charset);
        let text = read.text.unwrap_or_default();
        prop_assert!(text.len() <= octets.len() * 8 / 7 * 3 + 3, "{} of {}", text.len(), octets.len());
    }

    #[test]
    fn headers_come_back(
        concat in prop::option::of((any::<bool>(), any::<u16>(), any::<u8>(), any::<u8>())),
        ports in prop::option::of((any::<u16>(), any::<u16>())),
        single_shift: Option<u8>,
        locking_shift: Option<u8>,
    ) {
        let fields = Fields {
            concat: concat.map(|(wide, number, total, sequence)| Concat {
                reference: if wide {
                    Reference::Sixteen(number)
                } else {
                    Reference::Eight(number.to_le_bytes()[0])
                },
                total,
                sequence,
            }),
            ports: ports.map(|(destination, source)| Ports { destination, source }),
            single_shift,
            locking_shift,
        };
        let mut octets = Vec::new();
        fields.write(&mut octets);
        prop_assert_eq!(octets.len(), fields.octets());
        if !octets.is_empty() {
            let (udh, rest) = Udh::split(&octets).unwrap();
            prop_assert_eq!((udh.fields, udh.overrun, rest.len()), (fields, false, 0));
        }
    }

    #[test]
    fn packed_septets_come_back(
        septets in prop::collection::vec(0u8..128, 0..200),
        header in 0usize..40,
    ) {
        let mut octets = Vec::new();
        let fill = packed::fill_bits(header);
        packed::pack(septets.iter().copied(), fill, &mut octets);
        let mut back = packed::unpack(&octets, fill);
        if septets.last() == Some(&0x0d) && back.len() == septets.len() + 1 {
            back.pop();
        }
        prop_assert_eq!(back, septets);
    }

    #[test]
    fn what_we_write_unpacked_is_read(text in "[ -~£é€Δ\n]{0,160}") {
        let mut octets = Vec::new();
        if gsm7::encode(&text, &mut octets).is_ok() {
            let read = read(&octets, Encoding::Gsm7.data_coding(), Alphabet::Gsm7);
            prop_assert_eq!(read.text, Some(text));
        }
    }
}
