//! The tables against what the specification says of them, and round trips over all their pairs.

use super::*;
use crate::text::{Alphabet, Dcs, Udh, decode, gsm7};

/// Every pair of tables, the default ones among them.
fn pairs() -> impl Iterator<Item = Shifts> {
    let languages = || std::iter::once(None).chain(Language::ALL.map(Some));
    languages()
        .filter(|locking| locking.is_none_or(Language::has_locking))
        .flat_map(move |locking| languages().map(move |single| Shifts { locking, single }))
}

#[test]
fn there_are_thirteen_languages_and_their_ids_come_back() {
    for (id, language) in (1..).zip(Language::ALL) {
        assert_eq!((language.id(), Language::from_id(id)), (id, Some(language)));
    }
    assert_eq!((Language::from_id(0), Language::from_id(14)), (None, None));
    assert_eq!(pairs().count(), 13 * 14);
}

#[test]
fn without_a_language_the_tables_are_the_default_ones() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(Shifts::NONE.decode(&all), gsm7::decode(&all));
    for code in 0..=127u8 {
        let octets = [ESCAPE, code];
        assert_eq!(
            Shifts::NONE.decode(&octets),
            gsm7::decode(&octets),
            "{code:#x}"
        );
    }
    for character in ('\0'..'\u{3000}').chain(['😀']) {
        assert_eq!(
            Shifts::NONE.width(character),
            gsm7::width(character),
            "{character:?}"
        );
    }
}

#[test]
fn whatever_the_tables_read_they_write_again() {
    for shifts in pairs() {
        for code in 0..=127u8 {
            for octets in [&[code][..], &[ESCAPE, code]] {
                let text = shifts.decode(octets);
                if text.contains(char::REPLACEMENT_CHARACTER) || octets.ends_with(&[ESCAPE]) {
                    continue;
                }
                let mut again = Vec::new();
                shifts.encode(&text, &mut again).unwrap();
                assert_eq!(shifts.decode(&again), text, "{shifts:?} {octets:x?}");
                assert_eq!(shifts.septets(&text), Ok(again.len()));
            }
        }
    }
}

#[test]
fn each_language_writes_a_word_of_its_own() {
    use Language::{
        Bengali, Gujarati, Hindi, Kannada, Malayalam, Oriya, Portuguese, Punjabi, Spanish, Tamil,
        Telugu, Turkish, Urdu,
    };
    // 3GPP TS 23.038 annex A, read off the tables by hand: first with the single shift table alone
    // where it has the letters, then with the locking one.
    let locking = |language, text: &str, octets: &[u8]| {
        let shifts = Shifts {
            locking: Some(language),
            single: None,
        };
        let mut out = Vec::new();
        shifts.encode(text, &mut out).unwrap();
        assert_eq!(out, octets, "{text}");
        assert_eq!(shifts.decode(octets), text);
    };
    let single = |language, text: &str, octets: &[u8]| {
        let shifts = Shifts {
            locking: None,
            single: Some(language),
        };
        let mut out = Vec::new();
        shifts.encode(text, &mut out).unwrap();
        assert_eq!(out, octets, "{text}");
        assert_eq!(shifts.decode(octets), text);
    };
    single(
        Turkish,
        "Iğdır",
        &[b'I', 0x1b, 0x67, b'd', 0x1b, 0x69, b'r'],
    );
    locking(Turkish, "Iğdır", &[b'I', 0x0c, b'd', 0x07, b'r']);
    single(Spanish, "Ávila", &[0x1b, 0x41, b'v', b'i', b'l', b'a']);
    locking(Portuguese, "São", &[b'S', 0x7b, b'o']);
    single(Portuguese, "São", &[b'S', 0x1b, 0x7b, b'o']);
    locking(Bengali, "কথা", &[0x15, 0x2a, 0x50]);
    locking(Gujarati, "ગામ", &[0x17, 0x50, 0x42]);
    locking(Hindi, "हिन्दी", &[0x4d, 0x51, 0x2f, 0x5f, 0x2b, 0x52]);
    locking(Kannada, "ಕನ್ನಡ", &[0x15, 0x2f, 0x5f, 0x2f, 0x24]);
    locking(Malayalam, "മലയാളം", &[0x42, 0x46, 0x43, 0x50, 0x47, 0x01]);
    locking(Oriya, "ଓଡ\u{b3c}ିଆ", &[0x13, 0x24, 0x4e, 0x51, 0x04]);
    locking(Punjabi, "ਪੰਜਾਬ", &[0x3d, 0x7b, 0x1d, 0x50, 0x40]);
    locking(Tamil, "தமிழ்", &[0x27, 0x42, 0x51, 0x48, 0x5f]);
    locking(Telugu, "తెలుగు", &[0x27, 0x58, 0x46, 0x53, 0x17, 0x53]);
    locking(Urdu, "اردو", &[0x00, 0x25, 0x1a, 0x53]);
    single(Hindi, "०९", &[0x1b, 0x1c, 0x1b, 0x25]);
}

#[test]
fn blank_single_shift_codes_show_the_locking_table() {
    // 3GPP TS 23.038 §6.2.1.1: the character of the locking table in use.
    let turkish = Shifts {
        locking: Some(Language::Turkish),
        single: Some(Language::Turkish),
    };
    assert_eq!(turkish.decode(&[0x1b, 0x04, 0x1b, 0x47, 0x1b]), "€Ğ ");
    let bengali = Shifts {
        locking: Some(Language::Bengali),
        single: None,
    };
    assert_eq!(
        bengali.decode(&[0x0c, 0x1b, 0x0c, 0x80]),
        "\u{fffd}\u{fffd}\u{fffd}"
    );
}

#[test]
fn the_header_names_the_tables_that_the_text_is_read_by() {
    let read = |header: &[u8], octets: &[u8], alphabet: Alphabet| {
        let user_data = [header, octets].concat();
        let (udh, rest) = Udh::split(&user_data).unwrap();
        decode(rest, Dcs::parse(0), Some(&udh), &alphabet.into())
            .text
            .unwrap()
    };
    let turkish_locking = [3, 0x25, 1, 1];
    assert_eq!(read(&turkish_locking, &[0x07], Alphabet::Gsm7), "ı");
    assert_eq!(read(&[3, 0x24, 1, 1], &[0x1b, 0x69], Alphabet::Gsm7), "ı");
    assert_eq!(
        read(
            &[6, 0x24, 1, 1, 0x25, 1, 3],
            &[0x04, 0x1b, 0x69],
            Alphabet::Gsm7
        ),
        "êı"
    );
    // Reserved, and the locking table that Spanish does not have: the default alphabet.
    assert_eq!(read(&[3, 0x25, 1, 77], &[0x07], Alphabet::Gsm7), "ì");
    assert_eq!(read(&[3, 0x25, 1, 2], &[0x07], Alphabet::Gsm7), "ì");
    // Packed: four octets of header leave three fill bits before the first septet.
    assert_eq!(
        read(&turkish_locking, &[0x07 << 3, 0], Alphabet::Gsm7Packed),
        "ı"
    );
}
