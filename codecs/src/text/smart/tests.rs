//! Every character of the lists, and what must stay.

use proptest::prelude::*;

use super::*;
use crate::text::ucs2;

fn safe(text: &str) -> String {
    apply(text, Level::Safe).0
}

fn full(text: &str) -> String {
    apply(text, Level::Full).0
}

#[test]
fn typography_becomes_ascii() {
    for (from, to) in [
        ("\u{2018}\u{2019}\u{201a}\u{201b}\u{2032}`\u{b4}", "'''''''"),
        (
            "\u{201c}\u{201d}\u{201e}\u{201f}\u{2033}«»",
            "\"\"\"\"\"\"\"",
        ),
        (
            "\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}",
            "-------",
        ),
        ("\u{2026}", "..."),
        ("\u{a0}\u{2000}\u{2005}\u{200a}\u{202f}\u{3000}", "      "),
        ("a\u{200b}b\u{feff}c\u{2060}d\u{ad}e", "abcde"),
        ("Cafe\u{301}", "Café"),
    ] {
        assert_eq!(safe(from), to);
        assert!(gsm7::septets(to).is_ok());
    }
}

#[test]
fn joiners_inside_emoji_and_indic_clusters_stay() {
    for text in [
        "👩\u{200d}💻",
        "क\u{94d}\u{200d}ष",
        "ن\u{200c}ه",
        "❤\u{fe0f}",
    ] {
        assert_eq!((safe(text).as_str(), full(text).as_str()), (text, text));
        assert_eq!(apply(text, Level::Full).1, []);
    }
}

#[test]
fn full_drops_only_the_accents_that_the_alphabet_lacks() {
    assert_eq!(full("garçon á ñ é Ç ü"), "garcon a ñ é Ç ü");
    assert_eq!(
        full("Łódź, œuvre, Þór, đak, ı"),
        "Lodz, oeuvre, Thor, dak, i"
    );
    assert_eq!(full("o\u{302}\u{323}"), "o", "marks upon marks");
    assert_eq!(full("ά Ж 中"), "ά Ж 中", "not Latin");
    assert_eq!(safe("garçon"), "garçon");
}

#[test]
fn every_change_is_reported_with_its_place() {
    let (text, changes) = apply("e\u{301}“x”…\u{200b}ç", Level::Full);
    assert_eq!(text, "é\"x\"...c");
    let told: Vec<_> = changes
        .iter()
        .map(|c| (c.position, c.original.as_str(), c.replacement.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (0, "e\u{301}", "é"),
            (2, "“", "\""),
            (4, "”", "\""),
            (5, "…", "..."),
            (6, "\u{200b}", ""),
            (7, "ç", "c"),
        ]
    );
    assert_eq!(apply("plain @€", Level::Full).1, []);
}

proptest! {
    #[test]
    fn what_the_alphabet_has_is_never_touched(text in "[@£$¥èéùìòÇ\nØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà€{}|~^-]{0,200}") {
        prop_assert_eq!(apply(&text, Level::Full), (text, vec![]));
    }

    #[test]
    fn twice_is_once_and_the_changes_explain_the_difference(text: String, all: bool) {
        let level = if all { Level::Full } else { Level::Safe };
        let (once, changes) = apply(&text, level);
        prop_assert_eq!(&apply(&once, level).0, &once);
        prop_assert!(once.len() <= text.len() * 3);
        // Taking each change back gives the original.
        let mut again = String::new();
        let (mut rest, mut position) = (once.as_str(), 0);
        for change in &changes {
            let untouched: String = rest.chars().take(change.position - position).collect();
            again.push_str(&untouched);
            again.push_str(&change.original);
            rest = rest[untouched.len()..].strip_prefix(change.replacement.as_str()).unwrap();
            position = change.position + change.original.chars().count();
        }
        again.push_str(rest);
        prop_assert_eq!(ucs2::units(&again), ucs2::units(&text));
        prop_assert_eq!(again, text);
    }
}
