//! Oracles: our texts against programs that nobody here wrote, on 204,000 random ones.
//!
//! | who | what | cases |
//! |---|---|---|
//! | PyPI gsmcodecs | all pairs of national tables, written and read | 120,000 |
//! | Perl's Encode | the default alphabet, written and read | 60,000 |
//! | npm sms-segments-calculator | encoding and where a text is cut | 24,000 |
//! | npm split-sms | the same, without graphemes, which it cuts | of these, about a half |
//!
//! One process for each. Where an oracle is wrong, the test names the case and says why.

use codecs::text::gsm7::{self, national::Shifts};
use codecs::text::{Encoding, Language, Options, ReferenceWidth, Segments, plan, ucs2};
use serde_json::{Value, json};
use trunkline_tests::peers;

/// Random numbers that are the same in every run (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A pair of tables, any of them, as often as another.
fn shifts(random: &mut Random) -> Shifts {
    let locking = Language::from_id(u8::try_from(random.below(14)).unwrap());
    let single = Language::from_id(u8::try_from(random.below(14)).unwrap());
    Shifts {
        locking: locking.filter(|language| language.has_locking()),
        single,
    }
}

/// What gsmcodecs 1.0.0 has otherwise than 3GPP TS 23.038 annex A, as far as three transcriptions
/// agree against it (Android's GsmAlphabet, warthog618/sms, ours):
/// - the comma at 0x2C of the locking tables from Bengali to Urdu is an apostrophe there, so that
///   these languages have no comma at all, but two apostrophes (the other one in the single shift);
/// - Kannada's DDA at 0x24 of the locking table is PA there, which stands at 0x3D as well;
/// - Telugu's single shift table lacks the euro sign at 0x65, which the other twelve have.
///
/// `code` is (table's language, whether it is the locking table, code).
fn gsmcodecs_is_wrong(shifts: Shifts, shifted: bool, code: u8) -> bool {
    if shifted {
        return shifts.single == Some(Language::Telugu) && code == 0x65;
    }
    let indic = shifts.locking.is_some_and(|language| language.id() >= 4);
    (indic && code == 0x2c) || (shifts.locking == Some(Language::Kannada) && code == 0x24)
}

/// Septets as pairs (behind an escape, code).
fn units(septets: &[u8]) -> Vec<(bool, u8)> {
    let mut units = Vec::new();
    let mut octets = septets.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            0x1b => units.extend(octets.next().map(|&code| (true, code))),
            code => units.push((false, code)),
        }
    }
    units
}

/// Septets that both sides have a character for: random ones are read by us, and those that we call
/// blank, or that show another table's character, are left out.
fn septets(random: &mut Random, shifts: Shifts) -> Vec<u8> {
    let mut septets = Vec::new();
    for _ in 0..random.below(160) {
        let code = u8::try_from(random.below(128)).unwrap();
        let shifted = random.below(4) == 0;
        let unit = if shifted {
            vec![0x1b, code]
        } else {
            vec![code]
        };
        let text = shifts.decode(&unit);
        let mut again = Vec::new();
        let ours = code != 0x1b
            && shifts.encode(&text, &mut again).is_ok()
            && shifts.decode(&again) == text
            && !text.contains('\u{fffd}');
        // A blank single shift code shows the locking table, which gsmcodecs refuses.
        let falls_back = shifted && text == shifts.decode(&[code]) && again.len() == 1;
        if ours && !falls_back && !gsmcodecs_is_wrong(shifts, shifted, code) {
            septets.extend(unit);
        }
    }
    septets
}

#[tokio::test]
async fn national_alphabets_are_written_and_read_as_gsmcodecs_does() {
    let test = "national_alphabets_are_written_and_read_as_gsmcodecs_does";
    if !peers::pypi(test, "gsmcodecs") {
        return;
    }
    let mut random = Random(23_038);
    let cases: Vec<(Shifts, Vec<u8>)> = (0..60_000)
        .map(|_| {
            let shifts = shifts(&mut random);
            let septets = septets(&mut random, shifts);
            (shifts, septets)
        })
        .collect();
    let pair = |shifts: Shifts| {
        let id = |language: Option<Language>| language.map_or(0, Language::id);
        (id(shifts.locking), id(shifts.single))
    };
    let asked: Vec<Value> = cases
        .iter()
        .flat_map(|(shifts, septets)| {
            let (locking, single) = pair(*shifts);
            [
                json!({"locking": locking, "single": single, "octets": hex(septets)}),
                json!({"locking": locking, "single": single, "text": shifts.decode(septets)}),
            ]
        })
        .collect();
    let answers = peers::oracle("python", "oracle.py", &asked).await.unwrap();
    let mut characters = 0;
    for ((shifts, septets), answer) in cases.iter().zip(answers.chunks(2)) {
        let text = shifts.decode(septets);
        assert_eq!(answer[0]["text"], text, "{shifts:?} {septets:02x?}");
        let mut ours = Vec::new();
        shifts.encode(&text, &mut ours).unwrap();
        let theirs = answer[1]["octets"]
            .as_str()
            .unwrap_or_else(|| panic!("{shifts:?} {text:?}"));
        // A few characters stand in a table twice (U+00A1, *): either code is right.
        let theirs = unhex(theirs);
        let wrong = units(&theirs)
            .iter()
            .any(|&(shifted, code)| gsmcodecs_is_wrong(*shifts, shifted, code));
        if !wrong {
            assert_eq!(shifts.decode(&theirs), text, "{shifts:?} {text:?}");
            assert_eq!(theirs.len(), ours.len(), "{shifts:?} {text:?}");
        }
        characters += text.chars().count();
    }
    assert!(
        characters > 1_000_000,
        "{characters}: the cases are no cases"
    );
}

#[tokio::test]
async fn the_default_alphabet_is_written_and_read_as_perl_does() {
    let test = "the_default_alphabet_is_written_and_read_as_perl_does";
    if !peers::debian(test, "perl", "/usr/bin/perl") {
        return;
    }
    let mut random = Random(338);
    let extension = [0x0a, 0x14, 0x28, 0x29, 0x2f, 0x3c, 0x3d, 0x3e, 0x40, 0x65];
    let cases: Vec<Vec<u8>> = (0..30_000)
        .map(|_| {
            let mut septets = Vec::new();
            for _ in 0..random.below(160) {
                match u8::try_from(random.below(128)).unwrap() {
                    // Unknown extensions are refused there and shown by us, as the handset does.
                    0x1b => septets.extend([0x1b, *random.pick(&extension)]),
                    code => septets.push(code),
                }
            }
            septets
        })
        .collect();
    let asked: Vec<Value> = cases
        .iter()
        .flat_map(|septets| {
            let text = gsm7::decode(septets);
            [
                Value::from(format!("d:{}", hex(septets))),
                Value::from(format!("e:{}", hex(text.as_bytes()))),
            ]
        })
        .collect();
    let answers = peers::oracle("perl", "oracle.pl", &asked).await.unwrap();
    for (septets, answer) in cases.iter().zip(answers.chunks(2)) {
        let text = gsm7::decode(septets);
        assert_eq!(answer[0], hex(text.as_bytes()), "{septets:02x?}");
        assert_eq!(answer[1], hex(septets), "{text:?}");
        let mut ours = Vec::new();
        gsm7::encode(&text, &mut ours).unwrap();
        assert_eq!(&ours, septets);
    }
}

/// A random text and whether it has graphemes of several characters.
fn text(random: &mut Random) -> (String, bool) {
    const PLAIN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,!?-";
    const BASIC: &str = "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¤%&()*+/:;<=>¡ÄÖÑÜ§¿äöñüà";
    const EXTENSION: &str = "^{}\\[~]|€\u{c}";
    const BMP: &str = "çáőλшжнЖ中文字短信“”—…한글ひらא";
    const PAIRS: &str = "😀🎉🚀𝒳🀄";
    const CLUSTERS: [&str; 8] = [
        "e\u{301}",
        "o\u{302}\u{323}",
        "👍🏽",
        "👩\u{200d}💻",
        "👨\u{200d}👩\u{200d}👧",
        "❤\u{fe0f}",
        "🇸🇪",
        "1\u{fe0f}\u{20e3}",
    ];
    let mixes: [&[&str]; 7] = [
        &[PLAIN],
        &[PLAIN, BASIC],
        &[PLAIN, PLAIN, EXTENSION],
        &[BMP],
        &[PLAIN, BMP],
        &[PLAIN, PLAIN, PAIRS],
        &[PAIRS],
    ];
    // Around the limits more often than not.
    let length = match random.below(3) {
        0 => random.below(480),
        1 => *random.pick(&[67, 70, 134, 153, 160, 306]) + random.below(7) - 3,
        _ => random.below(100),
    };
    let clusters = random.below(4) == 0;
    let mix = *random.pick(&mixes);
    let mut text = String::new();
    let mut units = 0;
    while units < length {
        if clusters && random.below(3) == 0 {
            let cluster = *random.pick(&CLUSTERS);
            text.push_str(cluster);
            units += cluster.encode_utf16().count();
        } else {
            let letters: Vec<char> = random.pick(mix).chars().collect();
            let letter = *random.pick(&letters);
            text.push(letter);
            units += letter.len_utf16();
        }
    }
    (text, clusters)
}

/// Our encoding of a text and the units of each segment, in the oracles' form.
fn ours(text: &str) -> Value {
    let options = Options {
        max_segments: 255,
        ..Options::default()
    };
    let plan = plan(text, options).unwrap();
    let units = |piece: &str| match plan.encoding {
        Encoding::Gsm7 => gsm7::septets(piece).unwrap(),
        Encoding::Ucs2 | Encoding::Latin1 => ucs2::units(piece),
    };
    let segments: Vec<usize> = if plan.segments == 1 {
        vec![units(text)]
    } else {
        let pieces = Segments::new(text, plan.encoding, ReferenceWidth::Eight);
        pieces.map(units).collect()
    };
    assert_eq!(segments.len(), usize::from(plan.segments));
    json!({"encoding": plan.encoding.name(), "segments": segments})
}

#[tokio::test]
async fn texts_are_cut_where_npm_cuts_them() {
    let test = "texts_are_cut_where_npm_cuts_them";
    if !peers::npm(test, "sms-segments-calculator") || !peers::npm(test, "split-sms") {
        return;
    }
    let mut random = Random(160_153);
    let cases: Vec<(String, bool)> = (0..24_000).map(|_| text(&mut random)).collect();
    let asked: Vec<Value> = cases.iter().map(|(text, _)| text.as_str().into()).collect();
    let answers = peers::oracle("node", "oracle.js", &asked).await.unwrap();
    let (mut split, mut long) = (0, 0);
    for ((text, clusters), answer) in cases.iter().zip(&answers) {
        let ours = ours(text);
        assert_eq!(answer["calculator"], ours, "{text:?}");
        // split-sms cuts graphemes: only texts without them are its own.
        if !clusters {
            assert_eq!(answer["split"], ours, "{text:?}");
            split += 1;
        }
        long += usize::from(ours["segments"].as_array().unwrap().len() > 1);
    }
    assert!(
        split > 12_000 && long > 5_000,
        "{split} {long}: the cases are no cases"
    );
}
