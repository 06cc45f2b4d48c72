//! Each row of the table of limits (smpp.md §2.3), what is never cut, and each alphabet's octets.

use proptest::prelude::*;

use super::*;
use crate::text::{Charset, Dcs, ESM_CLASS_UDHI, Options, Udh, decode, plan, segment};

use Language::{Hindi, Portuguese, Spanish, Turkish, Urdu};
use ReferenceWidth::{Eight, Sixteen};

fn layout(encoding: Encoding, shifts: Shifts, width: ReferenceWidth) -> Layout<'static> {
    Layout {
        shifts,
        width,
        ..Layout::plain(encoding)
    }
}

fn limits(encoding: Encoding, shifts: Shifts) -> [usize; 3] {
    let of = |width| layout(encoding, shifts, width);
    [
        of(Eight).single_limit(),
        of(Eight).segment_limit(),
        of(Sixteen).segment_limit(),
    ]
}

/// Every part's user data, as [`Layout::write`] gives it, and whether it has a header.
fn written(layout: &Layout<'_>, text: &str, tie: Tie, alphabet: Alphabet) -> Vec<(bool, Vec<u8>)> {
    let total = u8::try_from(layout.count(text).unwrap()).unwrap();
    (0..total)
        .map(|index| {
            let mut out = Vec::new();
            let part = Part { index, total, tie };
            let header = layout.write(text, part, alphabet, &mut out).unwrap();
            (header, out)
        })
        .collect()
}

#[test]
fn limits_gsm7() {
    assert_eq!(limits(Encoding::Gsm7, Shifts::NONE), [160, 153, 152]);
}

#[test]
fn limits_gsm7_with_one_national_table() {
    for shifts in [
        Shifts {
            single: Some(Turkish),
            locking: None,
        },
        Shifts {
            single: None,
            locking: Some(Turkish),
        },
    ] {
        assert_eq!(limits(Encoding::Gsm7, shifts), [155, 149, 148]);
    }
}

#[test]
fn limits_gsm7_with_both_national_tables() {
    let both = Shifts {
        single: Some(Turkish),
        locking: Some(Turkish),
    };
    assert_eq!(limits(Encoding::Gsm7, both), [152, 146, 145]);
}

#[test]
fn limits_octets() {
    let of = |width| layout(Encoding::Ucs2, Shifts::NONE, width).octet_limits();
    assert_eq!((of(Eight), of(Sixteen)), ((140, 134), (140, 133)));
    let ports = Layout {
        elements: &[5, 4, 0x0b, 0x84, 0, 0],
        ..Layout::plain(Encoding::Ucs2)
    };
    assert_eq!(ports.octet_limits(), (133, 128));
    let full = [0; 139];
    let full = Layout {
        elements: &full,
        ..Layout::plain(Encoding::Ucs2)
    };
    assert_eq!(
        (full.count_octets(0), full.count_octets(1)),
        (Some(1), None)
    );
}

#[test]
fn limits_latin_1() {
    assert_eq!(limits(Encoding::Latin1, Shifts::NONE), [140, 134, 133]);
}

/// An octet for each character, which a reader of data_coding 3 reads back; nothing else is in it.
#[test]
fn latin_1_is_written_as_it_is_read_by_both_ways() {
    let text = "\u{e7}a, na\u{ef}ve \u{c5}se! ".repeat(12);
    let layout = Layout::plain(Encoding::Latin1);
    assert_eq!(layout.count(&text), Ok(2));
    let mut joined = String::new();
    for part in 0..2 {
        let mut plain = Vec::new();
        let eight = Reference::Eight(7);
        segment(&text, Encoding::Latin1, part, 2, eight, &mut plain).unwrap();
        let tie = Tie::Header(eight);
        let place = Part {
            index: part,
            total: 2,
            tie,
        };
        let mut laid = Vec::new();
        layout
            .write(&text, place, Charset::default(), &mut laid)
            .unwrap();
        assert_eq!(plain, laid);
        assert!(plain.len() <= USER_DATA_OCTETS);
        let read = decode(&plain[6..], Dcs::parse(3), None, &Charset::default());
        joined.push_str(&read.text.unwrap());
    }
    assert_eq!(joined, text);
    let mut out = Vec::new();
    let one = Reference::Eight(0);
    assert!(segment("\u{20ac}", Encoding::Latin1, 0, 1, one, &mut out).is_err());
}

#[test]
fn limits_ucs2() {
    assert_eq!(limits(Encoding::Ucs2, Shifts::NONE), [70, 67, 66]);
}

#[test]
fn parts_tied_by_tlvs_leave_room_for_the_header_that_the_smsc_adds() {
    let text = "x".repeat(154 + 153);
    let plain = Layout::plain(Encoding::Gsm7);
    let parts = written(&plain, &text, Tie::Elsewhere, Alphabet::Gsm7);
    let lengths: Vec<usize> = parts.iter().map(|(_, octets)| octets.len()).collect();
    assert_eq!(lengths, [153, 153, 1]);
    assert!(parts.iter().all(|(header, _)| !header));
}

#[test]
fn a_full_part_fills_140_octets_on_the_air_and_no_more() {
    let rows = [
        (Encoding::Gsm7, Shifts::NONE, "a"),
        (
            Encoding::Gsm7,
            Shifts {
                single: Some(Turkish),
                locking: None,
            },
            "a",
        ),
        (
            Encoding::Gsm7,
            Shifts {
                single: Some(Turkish),
                locking: Some(Turkish),
            },
            "ğ",
        ),
        (Encoding::Ucs2, Shifts::NONE, "ж"),
    ];
    for (encoding, shifts, letter) in rows {
        for (width, reference) in [
            (Eight, Reference::Eight(7)),
            (Sixteen, Reference::Sixteen(7)),
        ] {
            let layout = layout(encoding, shifts, width);
            for (units, parts) in [
                (layout.single_limit(), 1),
                (layout.single_limit() + 1, 2),
                (layout.segment_limit() * 2, 2),
                (layout.segment_limit() * 2 + 1, 3),
            ] {
                let text = letter.repeat(units);
                assert_eq!(layout.count(&text), Ok(parts), "{layout:?} {units}");
                let on_air = written(&layout, &text, Tie::Header(reference), Alphabet::Gsm7Packed);
                let longest = on_air.iter().map(|(_, octets)| octets.len()).max().unwrap();
                assert!(
                    (138..=140).contains(&longest),
                    "{layout:?} {units}: {longest}"
                );
            }
        }
    }
}

#[test]
fn headers_name_tables_and_carry_own_elements_beside_the_reference() {
    let shifts = Shifts {
        single: Some(Spanish),
        locking: Some(Portuguese),
    };
    let own = Layout {
        elements: &[5, 4, 0x0b, 0x84, 0, 9],
        ..layout(Encoding::Gsm7, shifts, Sixteen)
    };
    let text = "x".repeat(own.single_limit() + 1);
    let parts = written(
        &own,
        &text,
        Tie::Header(Reference::Sixteen(0x1234)),
        Alphabet::Gsm7,
    );
    let header = [
        18, 8, 4, 0x12, 0x34, 2, 1, 0x24, 1, 2, 0x25, 1, 3, 5, 4, 0x0b, 0x84, 0, 9,
    ];
    assert_eq!(parts[0].1[..19], header);
    let (udh, _) = Udh::split(&parts[1].1).unwrap();
    assert_eq!(udh.fields.concat.unwrap().sequence, 2);
    assert_eq!(udh.fields.ports.unwrap().destination, 2948);
    assert!(!udh.overrun);
    // One part needs no reference, but the tables have to be named.
    let one = written(&own, "x", Tie::Elsewhere, Alphabet::Gsm7);
    assert_eq!(
        one[0].1[..13],
        [12, 0x24, 1, 2, 0x25, 1, 3, 5, 4, 0x0b, 0x84, 0, 9]
    );
}

#[test]
fn octets_are_cut_in_order_and_keep_own_elements() {
    let ports = [5, 4, 0x0b, 0x84, 0, 0];
    let own = Layout {
        elements: &ports,
        ..Layout::plain(Encoding::Ucs2)
    };
    let data: Vec<u8> = (0..=255).collect();
    let total = u8::try_from(own.count_octets(data.len()).unwrap()).unwrap();
    assert_eq!(total, 2);
    let mut joined = Vec::new();
    for index in 0..total {
        let mut out = Vec::new();
        let tie = Tie::Header(Reference::Eight(9));
        assert_eq!(
            own.write_octets(&data, Part { index, total, tie }, &mut out),
            Ok(true)
        );
        assert!(out.len() <= 140);
        let (udh, rest) = Udh::split(&out).unwrap();
        assert_eq!(udh.fields.ports.unwrap().destination, 2948);
        joined.extend_from_slice(rest);
    }
    assert_eq!(joined, data);
    let part = Part {
        index: 2,
        total,
        tie: Tie::Elsewhere,
    };
    assert_eq!(
        own.write_octets(&data, part, &mut Vec::new()),
        Err(TextError::NoSuchSegment)
    );
}

#[test]
fn graphemes_stay_whole_where_they_fit() {
    // A conjunct with its vowel sign, a syllable of decomposed Hangul, a family, CR LF.
    for cluster in [
        "\u{915}\u{94d}\u{937}\u{93f}",
        "\u{1112}\u{1161}\u{11ab}",
        "👨\u{200d}👩\u{200d}👧",
        "\r\n",
    ] {
        let units = cluster.encode_utf16().count();
        let text = format!("{}{cluster}{}", "ж".repeat(67 - units + 1), "ж".repeat(30));
        let plain = Layout::plain(Encoding::Ucs2);
        let pieces: Vec<&str> = plain.pieces(&text).collect();
        assert_eq!(pieces.len(), 2, "{cluster:?}");
        assert!(pieces[1].starts_with(cluster), "{pieces:?}");
    }
    // The same with septets of a national table.
    let hindi = layout(
        Encoding::Gsm7,
        Shifts {
            single: None,
            locking: Some(Hindi),
        },
        Eight,
    );
    let conjunct = "\u{915}\u{94d}\u{937}\u{93f}";
    let text = format!("{}{conjunct}{}", "म".repeat(147), "म".repeat(30));
    assert!(hindi.pieces(&text).nth(1).unwrap().starts_with(conjunct));
}

#[test]
fn an_escape_pair_of_a_national_table_moves_whole() {
    let spanish = layout(
        Encoding::Gsm7,
        Shifts {
            single: Some(Spanish),
            locking: None,
        },
        Eight,
    );
    let text = format!("{}á{}", "a".repeat(148), "b".repeat(20));
    let parts = written(
        &spanish,
        &text,
        Tie::Header(Reference::Eight(1)),
        Alphabet::Gsm7,
    );
    assert_eq!(parts[0].1.len(), 9 + 148);
    assert_eq!(parts[1].1[9..11], [0x1b, 0x61]);
}

#[test]
fn as_much_as_fits_is_the_beginning() {
    let plain = Layout::plain(Encoding::Gsm7);
    let text = "x".repeat(500);
    assert_eq!(plain.fitting(&text, 1).len(), 160);
    assert_eq!(plain.fitting(&text, 2).len(), 306);
    assert_eq!(plain.fitting(&text, 10).len(), 500);
    let euro = format!("{}€", "x".repeat(159));
    assert_eq!(plain.fitting(&euro, 1).len(), 159);
    for parts in 1..4 {
        let fitting = plain.fitting(&text, parts);
        assert_eq!(plain.count(fitting), Ok(usize::from(parts)));
    }
}

#[test]
fn each_alphabet_writes_its_own_octets() {
    let plain = Layout::plain(Encoding::Gsm7);
    let of = |text, alphabet| {
        let mut out = Vec::new();
        let part = Part {
            index: 0,
            total: 1,
            tie: Tie::Elsewhere,
        };
        plain.write(text, part, alphabet, &mut out).map(|_| out)
    };
    assert_eq!(of("£A", Alphabet::Gsm7).unwrap(), [0x01, 0x41]);
    assert_eq!(of("£A", Alphabet::Latin1).unwrap(), [0xa3, 0x41]);
    assert_eq!(of("£A", Alphabet::Utf8).unwrap(), "£A".as_bytes());
    assert_eq!(
        of("hello", Alphabet::Gsm7Packed).unwrap(),
        [0xe8, 0x32, 0x9b, 0xfd, 0x06]
    );
    let lacks = |at, character| Err(TextError::NotRepresentable { at, character });
    assert_eq!(of("a£", Alphabet::Ascii), lacks(1, '£'));
    assert_eq!(of("a€", Alphabet::Latin1), lacks(1, '€'));
    assert_eq!(
        of("aç", Alphabet::Latin1),
        lacks(1, 'ç'),
        "carriers drop what GSM lacks"
    );
    for (alphabet, text, holds) in [
        (Alphabet::Gsm7, "€Δ", true),
        (Alphabet::Latin1, "é£", true),
        (Alphabet::Latin1, "é€", false),
        (Alphabet::Ascii, "e", true),
        (Alphabet::Ascii, "é", false),
        (Alphabet::Utf8, "€Δ", true),
    ] {
        assert_eq!(alphabet.holds(text), holds, "{alphabet:?} {text}");
    }
}

#[test]
fn the_national_tables_that_take_the_fewest_parts_win() {
    let base = Layout::plain(Encoding::Gsm7);
    let of = |text: &str, languages: &[Language]| national(text, languages, &base);
    let (layout, parts) = of("Günaydın, İğdır", &[Turkish, Portuguese]).unwrap();
    assert_eq!((layout.shifts.locking, parts), (Some(Turkish), 1));
    // 'ł' is nobody's.
    assert_eq!(of("łódź", &Language::ALL), None);
    // Every letter doubled by an escape would take two parts; the locking table takes one.
    let (layout, parts) = of(&"ş".repeat(155), &[Turkish]).unwrap();
    assert_eq!(
        layout.shifts,
        Shifts {
            locking: Some(Turkish),
            single: None
        }
    );
    assert_eq!(parts, 1);
    let (layout, _) = of("áéíóú", &[Spanish]).unwrap();
    assert_eq!(
        layout.shifts,
        Shifts {
            locking: None,
            single: Some(Spanish)
        }
    );
    assert_eq!(of("abc", &[]), None);
    let (layout, _) = of("اردو ABC", &[Urdu]).unwrap();
    assert_eq!(
        layout.shifts,
        Shifts {
            locking: Some(Urdu),
            single: Some(Urdu)
        }
    );
}

fn layouts() -> impl Strategy<Value = Layout<'static>> {
    let language = || prop::option::of(prop::sample::select(Language::ALL.to_vec()));
    let elements: Vec<&'static [u8]> = vec![&[], &[5, 4, 1, 2, 3, 4]];
    (
        prop::bool::ANY,
        language(),
        language(),
        prop::sample::select(elements),
        prop::bool::ANY,
    )
        .prop_map(|(ucs2, locking, single, elements, wide)| Layout {
            encoding: if ucs2 { Encoding::Ucs2 } else { Encoding::Gsm7 },
            shifts: if ucs2 {
                Shifts::NONE
            } else {
                Shifts {
                    locking: locking.filter(|known| known.has_locking()),
                    single,
                }
            },
            elements,
            width: if wide { Sixteen } else { Eight },
        })
}

proptest! {
    /// What is written is read again by the header and the alphabet, whatever the layout, and no
    /// part is longer than 140 octets on the air.
    #[test]
    fn parts_come_back(
        layout in layouts(),
        text in "[ -~]{0,60}[a-zğışİçãõáéíóúकखगणमঅআاردوж😀€\\[\\]{}^|]{0,400}",
        packed: bool,
    ) {
        let Ok(total) = layout.count(&text) else { return Ok(()) };
        let reference = match layout.width {
            Eight => Reference::Eight(9),
            Sixteen => Reference::Sixteen(0x0909),
        };
        let alphabet = if packed { Alphabet::Gsm7Packed } else { Alphabet::Gsm7 };
        let dcs = Dcs::parse(layout.encoding.data_coding());
        let charset = Charset::from(alphabet);
        let mut joined = String::new();
        let parts = written(&layout, &text, Tie::Header(reference), alphabet);
        prop_assert_eq!(parts.len(), total);
        for (header, octets) in &parts {
            let (udh, rest) = if *header {
                let (udh, rest) = Udh::split(octets).unwrap();
                (Some(udh), rest)
            } else {
                (None, &octets[..])
            };
            let on_air = udh.map_or(0, |udh| udh.octets.len()) + match layout.encoding {
                Encoding::Gsm7 if !packed => (rest.len() * 7).div_ceil(8),
                _ => rest.len(),
            };
            prop_assert!(on_air <= 140, "{}", on_air);
            joined.push_str(&decode(rest, dcs, udh.as_ref(), &charset).text.unwrap());
        }
        prop_assert_eq!(joined, text);
    }

    /// The plain path and the general one write the same octets.
    #[test]
    fn the_plain_path_is_the_same_without_detours(text in "[ -~€é]{0,500}|[ж😀a]{0,200}", wide: bool) {
        let width = if wide { Sixteen } else { Eight };
        let reference = if wide { Reference::Sixteen(300) } else { Reference::Eight(44) };
        let options = Options { max_segments: 255, reference_width: width, ..Options::default() };
        let plan = plan(&text, options).unwrap();
        let general = Layout { width, ..Layout::plain(plan.encoding) };
        let parts = written(&general, &text, Tie::Header(reference), Alphabet::Gsm7);
        prop_assert_eq!(parts.len(), usize::from(plan.segments));
        for (index, (header, octets)) in (0..).zip(&parts) {
            let mut out = Vec::new();
            segment(&text, plan.encoding, index, plan.segments, reference, &mut out).unwrap();
            prop_assert_eq!(&out, octets);
            prop_assert_eq!(*header, plan.segments > 1 && ESM_CLASS_UDHI == 0x40);
        }
    }
}
