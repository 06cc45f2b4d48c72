//! What is chosen of several candidates, by what is known.

use proptest::prelude::*;

use super::*;

fn know(rule: Option<IdRule>) -> Knowledge {
    Knowledge {
        format: IdFormat::Auto,
        rule,
        used: [false; Rung::COUNT],
        two_faced: true,
        telling: true,
        text_two_faced: false,
        doubtful: false,
        last: false,
    }
}

fn one(id: u64, rung: Rung, agrees: Agreement) -> Candidate {
    Candidate {
        id: MessageId(id),
        part: 0,
        rung,
        agrees,
        awaits: true,
        found: Found::Id,
    }
}

fn chosen(candidates: &[Candidate], know: Knowledge) -> Option<u64> {
    match choose(candidates, &know) {
        Choice::One(one) => Some(one.id.0),
        Choice::Nothing | Choice::Ambiguous => None,
    }
}

use Agreement::{No, Unknown, Yes};
use Rung::{CaseFolded, DecimalToHex, Exact, HexToDecimal, Transformed, ZerosStripped};

#[test]
fn numbers_agree_when_one_is_the_others_national_form() {
    let phone = |text: &str| Phone::from_digits(text.as_bytes());
    let to = Phone::parse("+46701234567").unwrap();
    assert_eq!(agreement(to, phone("46701234567")), Yes);
    assert_eq!(agreement(to, phone("701234567")), Yes);
    assert_eq!(agreement(to, phone("1234567")), Yes);
    assert_eq!(agreement(to, phone("46701234568")), No);
    assert_eq!(agreement(to, phone("2234567")), No);
    assert_eq!(agreement(to, None), Unknown);
}

#[test]
fn only_digits_that_differ_between_the_bases_are_two_faced() {
    for (id, two_faced, telling) in [
        ("16", true, true),
        ("0016", true, true),
        ("7", false, false),
        ("007", false, false),
        ("7a", false, true),
        ("x-1", false, true),
    ] {
        assert_eq!(is_two_faced(id.as_bytes()), two_faced, "{id}");
        assert_eq!(is_telling(id.as_bytes()), telling, "{id}");
    }
}

#[test]
fn only_short_ids_may_be_of_their_carrier_in_the_other_base_too() {
    for (id, near) in [
        ("16", true),
        ("0000000016", true),
        ("7a3", true),
        ("123456", true),
        ("2050949570", false),
        ("1000000000", false),
        ("100000000", true),
        ("7a3f01c2", false),
        ("16777216000000000000", false),
        ("x-16", false),
        ("", false),
    ] {
        assert_eq!(has_near_reading(id.as_bytes()), near, "{id}");
    }
}

#[test]
fn the_texts_id_counts_where_the_tlvs_finds_nothing_and_its_recipient_agrees() {
    let by_text = |id, rung, agrees| Candidate {
        found: Found::TextId,
        ..one(id, rung, agrees)
    };
    let unread = know(None);
    assert_eq!(chosen(&[by_text(1, Exact, Yes)], unread), Some(1));
    assert_eq!(chosen(&[by_text(1, ZerosStripped, Yes)], unread), Some(1));
    for agrees in [Unknown, No] {
        for last in [false, true] {
            let know = Knowledge { last, ..unread };
            assert_eq!(chosen(&[by_text(1, Exact, agrees)], know), None);
        }
    }
    // The TLV's has the word, and so has what it may still come to mean.
    let both = [by_text(1, Exact, Yes), one(2, Exact, Yes)];
    assert_eq!(chosen(&both, unread), Some(2));
    let pinned = know(Some(IdRule::HexToDec));
    let waits = [by_text(1, Exact, Yes), one(2, HexToDecimal, Yes)];
    assert_eq!(chosen(&waits, pinned), None);
    // The other base only by the route's own rule.
    assert_eq!(chosen(&[by_text(1, DecimalToHex, Yes)], unread), None);
    assert_eq!(chosen(&[by_text(1, DecimalToHex, Yes)], pinned), Some(1));
    // One that reads in both bases only when all answers must be there.
    let two_faced = Knowledge {
        text_two_faced: true,
        ..unread
    };
    assert_eq!(chosen(&[by_text(1, Exact, Yes)], two_faced), None);
    let last = Knowledge {
        last: true,
        ..two_faced
    };
    assert_eq!(chosen(&[by_text(1, Exact, Yes)], last), Some(1));
    let two = [by_text(1, Exact, Yes), by_text(2, Exact, Yes)];
    assert_eq!(choose(&two, &last), Choice::Ambiguous);
}

#[test]
fn the_recipient_decides_between_the_bases() {
    let hex = one(1, DecimalToHex, Yes);
    let same = one(2, Exact, No);
    assert_eq!(chosen(&[same, hex], know(None)), Some(1));
    let both = [one(1, DecimalToHex, Yes), one(2, Exact, Yes)];
    assert_eq!(choose(&both, &know(None)), Choice::Ambiguous);
    assert_eq!(chosen(&both, know(Some(IdRule::HexToDec))), Some(1));
    assert_eq!(chosen(&both, know(Some(IdRule::Same))), Some(2));
    let neither = [one(1, DecimalToHex, Unknown), one(2, Exact, Unknown)];
    assert_eq!(choose(&neither, &know(None)), Choice::Ambiguous);
    assert_eq!(chosen(&neither, know(Some(IdRule::HexToDec))), Some(1));
}

#[test]
fn without_a_recipient_only_the_routes_own_rule_is_believed() {
    for rung in [Exact, CaseFolded, ZerosStripped, Transformed] {
        assert_eq!(
            chosen(&[one(1, rung, Unknown)], know(None)),
            Some(1),
            "{rung:?}"
        );
    }
    for rung in [DecimalToHex, HexToDecimal] {
        assert_eq!(
            chosen(&[one(1, rung, Unknown)], know(None)),
            None,
            "{rung:?}"
        );
        let known = know(Some(IdRule::of(rung)));
        assert_eq!(chosen(&[one(1, rung, Unknown)], known), Some(1), "{rung:?}");
    }
    // Base 62: another message's, until the route was seen to fold case.
    let folded = [one(1, CaseFolded, Unknown)];
    assert_eq!(chosen(&folded, know(Some(IdRule::Same))), None);
    let mut seen = know(Some(IdRule::Same));
    seen.used[CaseFolded as usize] = true;
    assert_eq!(chosen(&folded, seen), Some(1));
}

#[test]
fn against_the_routes_rule_a_receipt_waits_until_its_answer_must_be_there() {
    let pinned = know(Some(IdRule::HexToDec));
    let last = Knowledge {
        last: true,
        ..pinned
    };
    for agrees in [Yes, Unknown] {
        assert_eq!(chosen(&[one(1, Exact, agrees)], pinned), None);
        assert_eq!(chosen(&[one(1, Exact, agrees)], last), Some(1));
    }
    let two = [one(1, Exact, Unknown), one(2, HexToDecimal, Unknown)];
    assert_eq!(choose(&two, &last), Choice::Ambiguous);
}

#[test]
fn another_recipient_is_believed_over_an_id_that_reads_in_both_bases() {
    let odd = [one(1, Exact, No)];
    assert_eq!(chosen(&odd, know(None)), None);
    let plain = Knowledge {
        two_faced: false,
        ..know(None)
    };
    assert_eq!(
        chosen(&odd, plain),
        Some(1),
        "some carriers write their own number"
    );
    assert_eq!(chosen(&odd, know(Some(IdRule::Same))), Some(1));
    let done = [Candidate {
        awaits: false,
        ..odd[0]
    }];
    assert_eq!(
        chosen(&done, know(Some(IdRule::Same))),
        None,
        "the id was given out again"
    );
}

#[test]
fn an_id_given_out_again_is_the_one_that_waits() {
    let old = Candidate {
        awaits: false,
        ..one(1, Exact, Yes)
    };
    assert_eq!(
        chosen(&[one(2, Exact, Yes), old], know(Some(IdRule::Same))),
        Some(2)
    );
    let both = [one(2, Exact, Yes), one(1, Exact, Yes)];
    assert_eq!(choose(&both, &know(Some(IdRule::Same))), Choice::Ambiguous);
}

#[test]
fn a_configured_rule_is_the_only_one() {
    let configured = Knowledge {
        format: IdFormat::HexToDec,
        last: true,
        ..know(Some(IdRule::HexToDec))
    };
    assert_eq!(chosen(&[one(1, Exact, Yes)], configured), None);
    assert_eq!(chosen(&[one(1, Transformed, Unknown)], configured), Some(1));
}

proptest! {
    #[test]
    fn nothing_is_chosen_that_is_no_candidate_or_that_another_speaks_louder_for(
        all in proptest::collection::vec((0u64..4, 0usize..6, 0u8..3, any::<bool>()), 0..5),
        rule in proptest::option::of(0usize..6),
        last: bool,
        two_faced: bool,
    ) {
        let agreement = |n: u8| [Yes, Unknown, No][usize::from(n)];
        let mut candidates = Candidates::new();
        for (id, rung, agrees, awaits) in all {
            add(&mut candidates, Candidate {
                awaits,
                ..one(id, Rung::ALL[rung], agreement(agrees))
            });
        }
        let know = Knowledge {
            last,
            two_faced,
            ..know(rule.map(|rung| IdRule::of(Rung::ALL[rung])))
        };
        if let Choice::One(found) = choose(&candidates, &know) {
            prop_assert!(candidates.contains(&found));
            let louder = |other: &&Candidate| {
                other.id != found.id && other.agrees == Yes && found.agrees == No
                    && Some(IdRule::of(other.rung)) == know.rule
            };
            prop_assert_eq!(candidates.iter().find(louder), None);
            prop_assert!(found.agrees != No || found.awaits);
        }
    }
}
