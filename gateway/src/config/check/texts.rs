//! Checks of how a carrier wants texts written: `routes.*.charset` and `routes.*.long_messages`.

use codecs::text::{Alphabet, Dialect, Flash, Language, Long};

use super::section::Section;
use super::tlvs::needs_tlvs;

/// Words of `charset.default`.
const ALPHABETS: [(&str, Alphabet); 5] = [
    ("gsm7-unpacked", Alphabet::Gsm7),
    ("gsm7-packed", Alphabet::Gsm7Packed),
    ("latin1", Alphabet::Latin1),
    ("ascii", Alphabet::Ascii),
    ("utf8", Alphabet::Utf8),
];

/// Words of `charset.flash`: a data_coding, or the TLV.
const FLASHES: [(&str, Flash); 4] = [
    ("f0", Flash::F0),
    ("10", Flash::Ten),
    ("18", Flash::Eighteen),
    ("tlv", Flash::Tlv),
];

/// Words of `long_messages`.
const LONGS: [(&str, Long); 4] = [
    ("udh8", Long::Udh8),
    ("udh16", Long::Udh16),
    ("sar", Long::Sar),
    ("payload", Long::Payload),
];

/// The dialect of a route of this version, with the defaults where nothing is said.
pub(super) fn dialect(route: &Section<'_>, version: u8) -> Dialect {
    let charset = route
        .opt("charset")
        .and_then(|field| field.section("routes.*.charset"));
    let mut dialect = Dialect::default();
    if let Some(field) = route.opt("long_messages") {
        dialect.long = field.word(&LONGS, &[]).unwrap_or_default();
        if matches!(dialect.long, Long::Sar | Long::Payload) {
            needs_tlvs(&field, version);
        }
    }
    let Some(charset) = charset else {
        return dialect;
    };
    if let Some(field) = charset.opt("default") {
        // UCS-2 is data_coding 8; behind 0 no carrier is known to have it.
        dialect.alphabet = field.word(&ALPHABETS, &["ucs2"]).unwrap_or_default();
    }
    if let Some(field) = charset.opt("flash") {
        dialect.flash = field.word(&FLASHES, &[]).unwrap_or_default();
        if dialect.flash == Flash::Tlv {
            needs_tlvs(&field, version);
        }
    }
    if let Some(field) = charset.opt("latin1") {
        dialect.latin1 = field.bool("whether the carrier delivers all of Latin-1");
    }
    if let Some(field) = charset.opt("ia5") {
        let words = [("ascii", false), ("default", true)];
        dialect.ia5_is_default = field.word(&words, &[]).unwrap_or_default();
    }
    if let Some(field) = charset.opt("ucs2") {
        let words = [("be", false), ("le", true)];
        dialect.ucs2_little_endian = field.word(&words, &[]).unwrap_or_default();
    }
    dialect.national = national(&charset, &dialect);
    dialect
}

fn national(charset: &Section<'_>, dialect: &Dialect) -> Vec<Language> {
    let words = Language::ALL.map(|language| (language.name(), language));
    let expected = "a list of languages, each once: \"turkish\", \"spanish\", \"portuguese\", …";
    let Some(field) = charset.opt("national") else {
        return Vec::new();
    };
    let mut languages = Vec::new();
    for item in field.list(words.len(), expected) {
        match item.word(&words, &[]) {
            Some(known) if languages.contains(&known) => item.wrong(expected),
            Some(known) => languages.push(known),
            None => {}
        }
    }
    if languages.is_empty() {
        return languages;
    }
    if !matches!(dialect.alphabet, Alphabet::Gsm7 | Alphabet::Gsm7Packed) {
        field.wrong("no languages, or default = \"gsm7-unpacked\" or \"gsm7-packed\": national tables are GSM 7-bit");
    } else if !matches!(dialect.long, Long::Udh8 | Long::Udh16) {
        field.wrong("no languages, or long_messages = \"udh8\" or \"udh16\": national tables are named in the header");
    }
    languages
}
