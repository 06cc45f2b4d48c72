//! Boundaries, round trips, and where other implementations cut.

use proptest::prelude::*;

use super::*;
use crate::testdata::{rows, unescape};

fn planned(text: &str) -> Plan {
    plan(
        text,
        Options {
            max_segments: 255,
            ..Options::default()
        },
    )
    .unwrap()
}

/// The user data of every segment.
fn all(text: &str, reference: Reference) -> (Plan, Vec<Vec<u8>>) {
    let options = Options {
        max_segments: 255,
        reference_width: reference.width(),
        encoding: EncodingChoice::Auto,
    };
    let plan = plan(text, options).unwrap();
    let octets = (0..plan.segments).map(|index| {
        let mut out = Vec::new();
        segment(
            text,
            plan.encoding,
            index,
            plan.segments,
            reference,
            &mut out,
        )
        .unwrap();
        out
    });
    (plan, octets.collect())
}

fn decoded(encoding: Encoding, octets: &[u8]) -> String {
    match encoding {
        Encoding::Gsm7 => gsm7::decode(octets),
        Encoding::Ucs2 => ucs2::decode(octets),
        Encoding::Latin1 => octets.iter().copied().map(char::from).collect(),
    }
}

#[test]
fn cuts_where_other_implementations_cut() {
    let mut seen = 0;
    for row in rows(include_str!("../../testdata/segments.tsv")) {
        let [encoding, units, _, text] = row[..] else {
            panic!("{row:?}")
        };
        let text = unescape(text);
        let (plan, segments) = all(&text, Reference::Eight(7));
        assert_eq!(plan.encoding.name(), encoding, "{text:?}");
        let header = if plan.segments == 1 { 0 } else { 6 };
        let octets_per_unit = if plan.encoding == Encoding::Gsm7 {
            1
        } else {
            2
        };
        let ours: Vec<String> = segments
            .iter()
            .map(|octets| ((octets.len() - header) / octets_per_unit).to_string())
            .collect();
        assert_eq!(ours.join(","), units, "{text:?}");
        seen += 1;
    }
    assert_eq!(seen, 273);
}

#[test]
fn limits_are_those_of_the_specification() {
    use ReferenceWidth::{Eight, Sixteen};
    let limits = |encoding: Encoding| {
        [
            encoding.single_limit(),
            encoding.segment_limit(Eight),
            encoding.segment_limit(Sixteen),
        ]
    };
    assert_eq!(limits(Encoding::Gsm7), [160, 153, 152]);
    assert_eq!(limits(Encoding::Ucs2), [70, 67, 66]);
}

#[test]
fn every_character_of_the_alphabet_has_its_code() {
    // 3GPP TS 23.038 §6.2.1, spot by spot; the table itself is checked by the round trip.
    let cases: [(&str, &[u8]); 8] = [
        ("@£$¥", &[0, 1, 2, 3]),
        ("ÇØøÅå", &[9, 0x0b, 0x0c, 0x0e, 0x0f]),
        ("Δ_Ξ", &[0x10, 0x11, 0x1a]),
        ("ÄÖÑÜ§", &[0x5b, 0x5c, 0x5d, 0x5e, 0x5f]),
        ("äöñüà¿", &[0x7b, 0x7c, 0x7d, 0x7e, 0x7f, 0x60]),
        ("€^{}", &[0x1b, 0x65, 0x1b, 0x14, 0x1b, 0x28, 0x1b, 0x29]),
        (
            "\\[~]|",
            &[0x1b, 0x2f, 0x1b, 0x3c, 0x1b, 0x3d, 0x1b, 0x3e, 0x1b, 0x40],
        ),
        ("¤¡\u{c}\n\r", &[0x24, 0x40, 0x1b, 0x0a, 0x0a, 0x0d]),
    ];
    for (text, octets) in cases {
        let mut out = Vec::new();
        gsm7::encode(text, &mut out).unwrap();
        assert_eq!(out, octets);
        assert_eq!(gsm7::decode(octets), text);
        assert_eq!(gsm7::septets(text), Ok(octets.len()));
    }
    let all: Vec<u8> = (0..128).filter(|code| *code != 0x1b).collect();
    let mut again = Vec::new();
    gsm7::encode(&gsm7::decode(&all), &mut again).unwrap();
    assert_eq!(again, all);
}

#[test]
fn small_c_with_cedilla_is_not_in_the_alphabet() {
    let options = Options {
        encoding: EncodingChoice::Gsm7,
        ..Options::default()
    };
    assert_eq!(
        plan("garçon", options),
        Err(TextError::NotRepresentable {
            at: 3,
            character: 'ç'
        })
    );
    assert_eq!(
        plan("a\u{1b}", options),
        Err(TextError::NotRepresentable {
            at: 1,
            character: '\u{1b}'
        })
    );
    assert_eq!(planned("garçon").encoding, Encoding::Ucs2);
}

#[test]
fn decoding_takes_any_septets() {
    assert_eq!(gsm7::decode(&[0x1b, 0x41]), "A");
    assert_eq!(gsm7::decode(&[0x41, 0x1b, 0x1b, 0x42]), "A B");
    assert_eq!(gsm7::decode(&[0x41, 0x1b]), "A ");
    assert_eq!(
        gsm7::decode(&[0x80, 0xff, 0x1b, 0x90]),
        "\u{fffd}\u{fffd}\u{fffd}"
    );
    assert_eq!(ucs2::decode(&[0xfe, 0xff, 0x00, 0x41]), "A");
    assert_eq!(ucs2::decode(&[0xff, 0xfe, 0x41, 0x00]), "A");
    assert_eq!(ucs2::decode(&[0x00, 0x41, 0x00]), "A");
    assert_eq!(ucs2::decode(&[0xd8, 0x3d, 0x00, 0x41]), "\u{fffd}A");
}

#[test]
fn the_empty_text_is_one_empty_segment() {
    assert_eq!(
        planned(""),
        Plan {
            encoding: Encoding::Gsm7,
            segments: 1
        }
    );
    assert_eq!(all("", Reference::Eight(1)).1, [Vec::<u8>::new()]);
}

#[test]
fn headers_count_from_one_and_carry_the_reference() {
    let text = "x".repeat(161);
    let (_, eight) = all(&text, Reference::Eight(0xab));
    assert_eq!(eight[0][..6], [5, 0, 3, 0xab, 2, 1]);
    assert_eq!(eight[1][..6], [5, 0, 3, 0xab, 2, 2]);
    assert_eq!((eight[0].len(), eight[1].len()), (159, 14));
    let (_, sixteen) = all(&text, Reference::Sixteen(0xabcd));
    assert_eq!(sixteen[1][..7], [6, 8, 4, 0xab, 0xcd, 2, 2]);
    assert_eq!((sixteen[0].len(), sixteen[1].len()), (159, 16));
}

#[test]
fn an_escape_pair_moves_to_the_next_segment_whole() {
    let text = format!("{}€{}", "a".repeat(152), "b".repeat(20));
    let (_, segments) = all(&text, Reference::Eight(1));
    assert_eq!(segments[0].len(), 6 + 152);
    assert_eq!(segments[1][6..8], [0x1b, 0x65]);
}

#[test]
fn a_cluster_longer_than_a_segment_is_cut_between_characters() {
    let text = format!("e{}", "\u{301}".repeat(200));
    let (plan, segments) = all(&text, Reference::Eight(1));
    assert_eq!(plan.segments, 3);
    assert_eq!(segments[0].len(), 6 + 134);
    let smileys = "\u{200d}😀".repeat(40);
    let (_, segments) = all(&smileys, Reference::Sixteen(1));
    assert!(
        segments
            .iter()
            .all(|octets| ucs2::decode(&octets[7..]).find('\u{fffd}').is_none())
    );
}

#[test]
fn too_many_segments_says_how_many() {
    let text = "x".repeat(153 * 11);
    assert_eq!(
        plan(&text, Options::default()),
        Err(TextError::TooManySegments { needed: 11 })
    );
    assert_eq!(
        plan(&text[1..153 * 10], Options::default())
            .unwrap()
            .segments,
        10
    );
    let huge = "x".repeat(153 * 300);
    let options = Options {
        max_segments: 255,
        ..Options::default()
    };
    assert_eq!(
        plan(&huge, options),
        Err(TextError::TooManySegments { needed: 300 })
    );
}

#[test]
fn a_segment_that_the_plan_does_not_have_is_an_error() {
    let text = "x".repeat(200);
    let mut out = Vec::new();
    for (index, total) in [(2, 2), (0, 3), (0, 1), (0, 0), (1, 1), (255, 255)] {
        let outcome = segment(
            &text,
            Encoding::Gsm7,
            index,
            total,
            Reference::Eight(1),
            &mut out,
        );
        assert_eq!(outcome, Err(TextError::NoSuchSegment), "{index} of {total}");
    }
    assert!(segment("ж", Encoding::Gsm7, 0, 1, Reference::Eight(1), &mut out).is_err());
    assert!(out.is_empty());
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~€£àé\\n]{0,400}",
        "[a-z\u{300}-\u{303}\u{200d}\u{fe0f}ж😀🇸🇪👍🏽]{0,200}",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn segments_joined_are_the_text(text in texts(), wide: bool) {
        let reference = if wide { Reference::Sixteen(77) } else { Reference::Eight(77) };
        let header = reference.width().header_octets();
        let (plan, segments) = all(&text, reference);
        let mut joined = String::new();
        for octets in &segments {
            let body = if plan.segments == 1 { &octets[..] } else { &octets[header..] };
            let units = match plan.encoding {
                Encoding::Gsm7 => octets.len(),
                Encoding::Ucs2 | Encoding::Latin1 => octets.len() * 8 / 7,
            };
            prop_assert!(units <= 160);
            // What may start with a byte order mark is read raw.
            let piece = match plan.encoding {
                Encoding::Gsm7 | Encoding::Latin1 => decoded(plan.encoding, body),
                Encoding::Ucs2 => {
                    let units: Vec<u16> = body.as_chunks::<2>().0.iter()
                        .map(|pair| u16::from_be_bytes(*pair)).collect();
                    String::from_utf16(&units).unwrap()
                }
            };
            joined.push_str(&piece);
        }
        prop_assert_eq!(&joined, &text);
        if plan.segments == 1 && !text.starts_with('\u{feff}') && !text.starts_with('\u{fffe}') {
            prop_assert_eq!(decoded(plan.encoding, &segments[0]), text);
        }
    }

    #[test]
    fn counts_are_what_is_written(text in texts()) {
        let mut out = Vec::new();
        ucs2::encode(&text, &mut out);
        prop_assert_eq!(out.len(), ucs2::units(&text) * 2);
        let mut out = Vec::new();
        match gsm7::septets(&text) {
            Ok(septets) => {
                prop_assert_eq!(gsm7::encode(&text, &mut out), Ok(()));
                prop_assert_eq!(out.len(), septets);
            }
            Err(error) => prop_assert_eq!(gsm7::encode(&text, &mut out), Err(error)),
        }
    }

    #[test]
    fn decoders_take_anything(octets: Vec<u8>) {
        prop_assert!(gsm7::decode(&octets).chars().count() <= octets.len());
        prop_assert!(ucs2::decode(&octets).chars().count() <= octets.len());
    }
}
