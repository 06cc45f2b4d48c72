//! What candidate routes have in common decides; the customer's wishes come first.

use super::*;

fn dialect(alphabet: Alphabet) -> Dialect {
    Dialect {
        alphabet,
        ..Dialect::default()
    }
}

fn long(long: Long) -> Dialect {
    Dialect {
        long,
        ..Dialect::default()
    }
}

fn turkish() -> Dialect {
    Dialect {
        national: vec![Language::Turkish, Language::Spanish],
        ..Dialect::default()
    }
}

fn wish(text: &str) -> Wish<'_> {
    Wish {
        text,
        max_segments: 10,
        ..Wish::default()
    }
}

fn written(wish: Wish<'_>, routes: &[Dialect]) -> Written {
    let routes: Vec<&Dialect> = routes.iter().collect();
    write(&wish, &routes).unwrap()
}

fn refused(wish: Wish<'_>, routes: &[Dialect]) -> SegmentError {
    let routes: Vec<&Dialect> = routes.iter().collect();
    write(&wish, &routes).unwrap_err()
}

#[test]
fn a_plain_message_has_no_options_with_and_without_routes() {
    for routes in [&[][..], &[Dialect::default(), Dialect::default()]] {
        for (text, encoding, parts) in [
            ("hello", Encoding::Gsm7, 1),
            ("жук", Encoding::Ucs2, 1),
            (&"x".repeat(161), Encoding::Gsm7, 2),
        ] {
            let plan = written(wish(text), routes);
            assert_eq!((plan.encoding, plan.parts), (encoding, parts));
            assert_eq!((plan.sms, plan.text), (None, None));
        }
    }
}

#[test]
fn one_route_that_cannot_write_the_text_in_data_coding_0_makes_it_ucs2_for_all() {
    let euro = wish("10 €");
    for (alphabet, encoding) in [
        (Alphabet::Gsm7Packed, Encoding::Gsm7),
        (Alphabet::Utf8, Encoding::Gsm7),
        (Alphabet::Latin1, Encoding::Ucs2),
        (Alphabet::Ascii, Encoding::Ucs2),
    ] {
        let plan = written(euro, &[Dialect::default(), dialect(alphabet)]);
        assert_eq!(plan.encoding, encoding, "{alphabet:?}");
    }
    let cafe = written(wish("café"), &[dialect(Alphabet::Latin1)]);
    assert_eq!(cafe.encoding, Encoding::Gsm7);
    // Latin-1 has it, GSM 7-bit has not: carriers drop it.
    let garcon = written(wish("garçon"), &[dialect(Alphabet::Latin1)]);
    assert_eq!(garcon.encoding, Encoding::Ucs2);
    let forced = Wish {
        encoding: Some(Encoding::Gsm7),
        ..euro
    };
    assert_eq!(
        refused(forced, &[dialect(Alphabet::Ascii)]),
        SegmentError::NotOnRoute
    );
    let character = 'ж';
    let zhe = Wish {
        text: "ж",
        ..forced
    };
    let error = refused(zhe, &[dialect(Alphabet::Ascii)]);
    assert_eq!(error, SegmentError::NotRepresentable { character });
}

#[test]
fn letters_that_overflow_short_message_in_utf8_go_as_ucs2() {
    let text = "Δ".repeat(130);
    assert_eq!(written(wish(&text), &[dialect(Alphabet::Gsm7)]).parts, 1);
    let utf8 = written(wish(&text), &[dialect(Alphabet::Utf8)]);
    assert_eq!((utf8.encoding, utf8.parts), (Encoding::Ucs2, 2));
    let whole = Dialect {
        long: Long::Payload,
        ..dialect(Alphabet::Utf8)
    };
    assert_eq!(written(wish(&text), &[whole]).encoding, Encoding::Gsm7);
}

#[test]
fn national_tables_need_all_routes_and_have_to_save_a_segment() {
    let text = "ş".repeat(100);
    let plan = written(wish(&text), &[turkish()]);
    assert_eq!((plan.encoding, plan.parts), (Encoding::Gsm7, 1));
    let sms = plan.sms.unwrap();
    assert_eq!((sms.locking_shift, sms.single_shift), (Some(1), None));
    let plan = written(wish(&text), &[turkish(), Dialect::default()]);
    assert_eq!(
        (plan.encoding, plan.parts, plan.sms),
        (Encoding::Ucs2, 2, None)
    );
    // As short in UCS-2: no header that a carrier may drop.
    let plan = written(wish("ş"), &[turkish()]);
    assert_eq!((plan.encoding, plan.sms), (Encoding::Ucs2, None));
}

#[test]
fn the_room_is_left_for_16_bit_references_where_one_route_wants_them() {
    let text = "x".repeat(153 * 2);
    assert_eq!(written(wish(&text), &[long(Long::Udh8)]).parts, 2);
    let plan = written(wish(&text), &[long(Long::Udh8), long(Long::Udh16)]);
    assert_eq!(plan.parts, 3);
    assert!(plan.sms.unwrap().wide_reference);
    assert_eq!(
        written(wish("x"), &[long(Long::Udh16)]).sms,
        None,
        "one part has none"
    );
    let sar = written(wish(&text), &[long(Long::Sar)]);
    assert_eq!((sar.parts, sar.sms), (2, None));
}

#[test]
fn handed_over_whole_only_where_all_routes_want_that() {
    let text = "x".repeat(400);
    let plan = written(wish(&text), &[long(Long::Payload), long(Long::Payload)]);
    assert_eq!(
        (plan.parts, plan.sms.unwrap().payload_segments),
        (1, Some(3))
    );
    let plan = written(wish(&text), &[long(Long::Payload), long(Long::Udh8)]);
    assert_eq!((plan.parts, plan.sms), (3, None));
    assert_eq!(written(wish("x"), &[long(Long::Payload)]).sms, None);
    let short = Wish {
        max_segments: 2,
        ..wish(&text)
    };
    let error = refused(short, &[long(Long::Payload)]);
    assert_eq!(error, SegmentError::TooManySegments { needed: 3 });
}

#[test]
fn smart_encoding_changes_no_more_than_it_needs_and_only_where_it_helps() {
    let of = |text, smart| {
        let plan = written(
            Wish {
                smart,
                ..wish(text)
            },
            &[],
        );
        (plan.encoding, plan.text, plan.replaced.len())
    };
    let changed = |text: &str, count| (Encoding::Gsm7, Some(text.to_owned()), count);
    assert_eq!(of("“hi”", None), (Encoding::Ucs2, None, 0));
    assert_eq!(of("“hi”", Some(Level::Safe)), changed("\"hi\"", 2));
    assert_eq!(of("“garçon”", Some(Level::Safe)), (Encoding::Ucs2, None, 0));
    assert_eq!(of("“garçon”", Some(Level::Full)), changed("\"garcon\"", 3));
    // Quotes alone are enough, so é stays; and a text of another script stays as it is.
    assert_eq!(of("“café”", Some(Level::Full)), changed("\"café\"", 2));
    assert_eq!(of("“Привет”", Some(Level::Full)), (Encoding::Ucs2, None, 0));
    // One that fits as it is is not touched: ` is in no GSM table, ' would be.
    assert_eq!(of("it's", Some(Level::Full)), (Encoding::Gsm7, None, 0));
}

#[test]
fn too_long_is_refused_or_cut_as_the_customer_says() {
    let text = "x".repeat(400);
    let two = Wish {
        max_segments: 2,
        ..wish(&text)
    };
    assert_eq!(
        refused(two, &[]),
        SegmentError::TooManySegments { needed: 3 }
    );
    let cut = written(
        Wish {
            truncate: true,
            ..two
        },
        &[],
    );
    assert_eq!((cut.parts, cut.text.unwrap().len()), (2, 306));
    let one = written(
        Wish {
            truncate: true,
            max_segments: 1,
            ..two
        },
        &[],
    );
    assert_eq!((one.parts, one.text.unwrap().len()), (1, 160));
    let short = written(
        Wish {
            truncate: true,
            ..wish("short")
        },
        &[],
    );
    assert_eq!(short.text, None);
}

#[test]
fn flash_is_kept_and_ucs2_where_a_route_knows_no_other() {
    let flash = Wish {
        flash: true,
        ..wish("hi")
    };
    let plan = written(flash, &[Dialect::default()]);
    assert_eq!(plan.encoding, Encoding::Gsm7);
    assert!(plan.sms.unwrap().flash);
    let eighteen = Dialect {
        flash: Flash::Eighteen,
        ..turkish()
    };
    assert_eq!(
        written(flash, &[Dialect::default(), eighteen.clone()]).encoding,
        Encoding::Ucs2
    );
    let long = "ş".repeat(100);
    assert_eq!(
        written(
            Wish {
                text: &long,
                ..flash
            },
            std::slice::from_ref(&eighteen)
        )
        .encoding,
        Encoding::Ucs2
    );
    let forced = Wish {
        encoding: Some(Encoding::Gsm7),
        ..flash
    };
    assert_eq!(refused(forced, &[eighteen]), SegmentError::NotOnRoute);
    // data_coding 0xF0 names GSM 7-bit: the carrier's own alphabet is out of play.
    let euro = Wish {
        text: "€", ..flash
    };
    assert_eq!(
        written(euro, &[dialect(Alphabet::Latin1)]).encoding,
        Encoding::Gsm7
    );
}

#[test]
fn octets_are_cut_for_their_own_header() {
    let ports = [5, 4, 0x0b, 0x84, 0, 0];
    let of = |length: usize, udh| {
        let data = vec![7; length];
        let plan = written(
            Wish {
                data: Some(&data),
                udh,
                ..wish("")
            },
            &[],
        );
        assert_eq!(plan.encoding, Encoding::Binary);
        (plan.parts, plan.sms.map(|sms| sms.udh.len()))
    };
    assert_eq!(of(140, &[]), (1, None));
    assert_eq!(of(141, &[]), (2, None));
    assert_eq!(of(133, &ports), (1, Some(6)));
    assert_eq!(of(134, &ports), (2, Some(6)));
    let full = [0; 139];
    let data = [1];
    let none = Wish {
        data: Some(&data),
        udh: &full,
        ..wish("")
    };
    assert_eq!(
        refused(none, &[]),
        SegmentError::TooManySegments { needed: usize::MAX }
    );
}

fn latin1(flash: Flash) -> Dialect {
    Dialect {
        latin1: true,
        flash,
        ..Dialect::default()
    }
}

#[test]
fn latin_1_is_for_what_septets_cannot_write_where_all_routes_deliver_it() {
    let takes = latin1(Flash::F0);
    let of = |text: &str, routes: &[Dialect]| {
        let plan = written(wish(text), routes);
        assert_eq!((plan.sms, plan.text), (None, None));
        (plan.encoding, plan.parts)
    };
    let garcon = "ç".repeat(141);
    let both = [takes.clone(), takes.clone()];
    assert_eq!(of(&garcon, &both), (Encoding::Latin1, 2));
    assert_eq!(of("café @ 5", &both), (Encoding::Gsm7, 1));
    assert_eq!(of("ç, 10 €", &both), (Encoding::Ucs2, 1), "no euro in it");
    let one = [takes.clone(), Dialect::default()];
    assert_eq!(of(&garcon, &one), (Encoding::Ucs2, 3), "the strictest");
    assert_eq!(of(&garcon, &[]), (Encoding::Ucs2, 3));
    // What another route's data_coding 0 lacks is Latin-1 for all, too.
    let ascii = Dialect {
        latin1: true,
        ..dialect(Alphabet::Ascii)
    };
    assert_eq!(of("café", &[takes, ascii]), (Encoding::Latin1, 1));
}

#[test]
fn flash_goes_in_latin_1_only_where_a_tlv_says_it() {
    let of = |routes: &[Dialect]| {
        let flash = Wish {
            flash: true,
            ..wish("ç")
        };
        written(flash, routes).encoding
    };
    assert_eq!(of(&[latin1(Flash::Tlv)]), Encoding::Latin1);
    for other in [Flash::F0, Flash::Ten, Flash::Eighteen] {
        let routes = [latin1(Flash::Tlv), latin1(other)];
        assert_eq!(of(&routes), Encoding::Ucs2, "{other:?}");
    }
}

#[test]
fn nothing_is_replaced_or_shifted_where_latin_1_is_as_short() {
    let full = |text: &str, routes: &[Dialect]| {
        let wish = Wish {
            smart: Some(Level::Full),
            ..wish(text)
        };
        let plan = written(wish, routes);
        (plan.encoding, plan.parts, plan.text.is_some())
    };
    let routes = [latin1(Flash::F0)];
    assert_eq!(full("garçon", &routes), (Encoding::Latin1, 1, false));
    let long = "ç".repeat(150);
    assert_eq!(full(&long, &routes), (Encoding::Gsm7, 1, true), "saves one");
    assert_eq!(full("garçon", &[]), (Encoding::Gsm7, 1, true));
    let national = [Dialect {
        national: vec![Language::Portuguese],
        ..latin1(Flash::F0)
    }];
    let plan = written(wish("ê"), &national);
    assert_eq!((plan.encoding, plan.sms), (Encoding::Latin1, None));
    let plan = written(wish(&"ê".repeat(150)), &national);
    assert_eq!((plan.encoding, plan.parts), (Encoding::Gsm7, 1), "a table");
}
