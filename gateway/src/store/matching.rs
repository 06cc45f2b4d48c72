//! Matching: which message a receipt belongs to, among those whose ids look like its own. Pure.
//!
//! ```text
//!   exact ─► case ─► zeros ─► decimal ↔ hex ─► the route's transform        (smpp.md §4.4)
//!   └─── Same ────────────┘   └ HexToDec, DecToHex ┘   └ Transform          rules
//! ```
//! Design: a receipt that is given to the wrong message is worse than one that waits. So candidates
//! of every rung are looked at together; a recipient that agrees decides between them; and where it
//! says nothing, only the rule that the route is known to follow (configured, or learned: see
//! `learned.rs`) is believed. What cannot be told apart, or would have to break that rule, waits as a
//! receipt does that came before its answer. Once every answer must be there it is looked at again
//! ([`Knowledge::last`]), and then a single candidate of any rung is taken: a carrier that changes its
//! ways loses no receipt.
//!
//! Not settled by this: before a rule is known, a receipt of digits that comes before its answer, while
//! another message to the same number has the other base's reading of it as its id.

use codecs::smpp::receipt::Rung;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::message::life::{PartState, What};
use crate::message::{MessageId, Phone};
use crate::outcome::Receipt;
use crate::store::{IdFormat, Ladder, Record};

/// Digits of the shortest number that is compared by its end: E.164 numbers have at least seven, and
/// national ones are written without their country.
const SUFFIX_DIGITS_MIN: u32 = 7;

/// How an id in a receipt relates to the answer's: what a route can be known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IdRule {
    /// The same, but for case and leading zeros.
    Same,
    /// The answer has it in hex, the receipt in decimal.
    HexToDec,
    /// The answer has it in decimal, the receipt in hex.
    DecToHex,
    /// The same after the route's `id_transform`.
    Transform,
}

impl IdRule {
    /// The rule that a rung belongs to.
    #[must_use]
    pub fn of(rung: Rung) -> Self {
        match rung {
            Rung::Exact | Rung::CaseFolded | Rung::ZerosStripped => Self::Same,
            Rung::DecimalToHex => Self::HexToDec,
            Rung::HexToDecimal => Self::DecToHex,
            Rung::Transformed => Self::Transform,
        }
    }

    /// Its word in the config, the API and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::HexToDec => "hex-to-dec",
            Self::DecToHex => "dec-to-hex",
            Self::Transform => "transform",
        }
    }
}

/// What a receipt's recipient says of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// It is the message's, or its national form.
    Yes,
    /// The receipt names none that can be read.
    Unknown,
    /// It is another number.
    No,
}

/// A part of a message whose id, in some form, is the receipt's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: MessageId,
    pub(crate) part: u8,
    pub(crate) rung: Rung,
    pub(crate) agrees: Agreement,
    /// No final receipt has come for the part.
    pub(crate) awaits: bool,
}

/// Candidates of one receipt: nearly always one.
pub(crate) type Candidates = SmallVec<[Candidate; 2]>;

/// What is known when a receipt is matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knowledge {
    /// As configured.
    pub(crate) format: IdFormat,
    /// The rule that the route follows: configured, or learned and pinned.
    pub(crate) rule: Option<IdRule>,
    /// Rungs that this route was seen to use.
    pub(crate) used: [bool; Rung::COUNT],
    /// The id may be read in both bases, with different results.
    pub(crate) two_faced: bool,
    /// The id reads differently in the other base, or not at all: the rung tells a rule.
    pub(crate) telling: bool,
    /// The receipt's time is over: a single candidate is taken.
    pub(crate) last: bool,
}

impl Knowledge {
    /// The rule that a candidate follows: an id that is the same in both bases follows any.
    fn rule_of(&self, one: &Candidate) -> IdRule {
        match (IdRule::of(one.rung), self.rule) {
            (IdRule::Same, Some(rule)) if !self.telling => rule,
            (rule, _) => rule,
        }
    }
}

/// Whose a receipt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// This part's.
    One(Candidate),
    /// No message's that is known.
    Nothing,
    /// One of several: it cannot be told which.
    Ambiguous,
}

/// Whether an id reads as a number in both bases, and as different ones: digits only, of which one
/// alone is the same in both.
pub(crate) fn is_two_faced(id: &[u8]) -> bool {
    let zeros = id.iter().take_while(|octet| **octet == b'0').count();
    id.len() > zeros + 1 && id.iter().all(u8::is_ascii_digit)
}

/// Whether an id tells by which rule its route writes ids: all but numbers that are the same in both
/// bases.
pub(crate) fn is_telling(id: &[u8]) -> bool {
    is_two_faced(id) || !id.iter().all(u8::is_ascii_digit)
}

/// Whether two numbers are the same, or one is the end of the other: carriers write national forms.
pub(crate) fn agreement(to: Phone, recipient: Option<Phone>) -> Agreement {
    let Some(recipient) = recipient else {
        return Agreement::Unknown;
    };
    let (one, other) = (to.number(), recipient.number());
    let (long, short) = (one.max(other), one.min(other));
    let digits = short.checked_ilog10().map_or(1, |log| log + 1);
    let end = 10u64.checked_pow(digits).map_or(long, |scale| long % scale);
    if digits >= SUFFIX_DIGITS_MIN && end == short {
        Agreement::Yes
    } else {
        Agreement::No
    }
}

/// What a message's part says about a receipt; `None` when none of its ids is the receipt's: the key
/// that led here is a hash.
pub(crate) fn candidate(
    record: (&crate::message::Message, &crate::message::life::Life),
    part: u8,
    receipt: &Receipt,
    ladder: &Ladder,
) -> Option<Candidate> {
    let (message, life) = record;
    let rung = life
        .log
        .iter()
        .filter_map(|change| match &change.what {
            What::Answered {
                route,
                part: answered,
                provider_id,
                ..
            } if *route == receipt.route && *answered == part && !provider_id.is_empty() => {
                codecs::smpp::receipt::relate(provider_id, &receipt.provider_id, &ladder.transform)
            }
            _ => None,
        })
        .min()?;
    let state = life.parts.get(usize::from(part));
    Some(Candidate {
        id: message.id,
        part,
        rung,
        agrees: agreement(message.to, receipt.recipient),
        awaits: !matches!(state, Some(PartState::Receipted(_))),
    })
}

/// The same, of a record as read from the archive.
pub(crate) fn candidate_of(
    record: &Record,
    part: u8,
    receipt: &Receipt,
    ladder: &Ladder,
) -> Option<Candidate> {
    candidate((&record.message, &record.life), part, receipt, ladder)
}

/// Adds a candidate, unless its part is there already.
pub(crate) fn add(candidates: &mut Candidates, one: Candidate) {
    let known = |known: &Candidate| known.id == one.id && known.part == one.part;
    if !candidates.iter().any(known) {
        candidates.push(one);
    }
}

/// Whose the receipt is. See the module's words.
pub(crate) fn choose(candidates: &[Candidate], know: &Knowledge) -> Choice {
    let ruled = |one: &Candidate| Some(know.rule_of(one)) == know.rule;
    let allowed = |one: &&Candidate| {
        let rule = know.rule_of(one);
        let waits = know.rule.is_some() && !know.last && rule != IdRule::Transform;
        is_allowed(know.format, rule) && (ruled(one) || !waits)
    };
    let all: Candidates = candidates.iter().filter(allowed).copied().collect();
    if all.is_empty() {
        return Choice::Nothing;
    }
    // What the route is known to do, unless the recipient speaks against it.
    let own = best_rung(all.iter().filter(|one| ruled(one)));
    let mild: Candidates = of(&own, |one| one.agrees != Agreement::No);
    if let [one] = mild[..]
        && (one.agrees == Agreement::Yes || is_trusted(&one, know))
    {
        return Choice::One(one);
    }
    // The recipient decides, between the rungs as well as on one.
    let yes: Candidates = of(&all, |one| one.agrees == Agreement::Yes);
    if !yes.is_empty() {
        return among_agreeing(&yes, know);
    }
    let mut unknown: Candidates = of(&all, |one| one.agrees == Agreement::Unknown);
    if unknown.iter().all(|one| know.rule_of(one) == IdRule::Same) {
        unknown = best_rung(unknown.iter());
    }
    if !unknown.is_empty() {
        return match unknown[..] {
            [one] if is_trusted(&one, know) || know.last => Choice::One(one),
            [_] => Choice::Nothing,
            _ => Choice::Ambiguous,
        };
    }
    // Every recipient is another's: some carriers write their own number there.
    match all[..] {
        [one] if one.awaits && (is_certain(&one, know) || know.last && one.rung == Rung::Exact) => {
            Choice::One(one)
        }
        [_] => Choice::Nothing,
        _ => Choice::Ambiguous,
    }
}

fn of(candidates: &Candidates, wanted: impl Fn(&Candidate) -> bool) -> Candidates {
    candidates
        .iter()
        .filter(|one| wanted(one))
        .copied()
        .collect()
}

/// Those on the first rung that any of them stands on: an id that is the same is not also the same but
/// for its case.
fn best_rung<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone) -> Candidates {
    let best = candidates.clone().map(|one| one.rung).min();
    candidates
        .filter(|one| Some(one.rung) == best)
        .copied()
        .collect()
}

/// Several messages to the same number: the route's rule, then the first rung, then who still waits
/// for a receipt. Between rules only the route's can tell: the one that waits for none may have got
/// its receipt twice.
fn among_agreeing(yes: &Candidates, know: &Knowledge) -> Choice {
    let ruled = of(yes, |one| Some(know.rule_of(one)) == know.rule);
    let left = if ruled.is_empty() { yes } else { &ruled };
    let first = left.first().map(|one| know.rule_of(one));
    if left.iter().any(|one| Some(know.rule_of(one)) != first) {
        return Choice::Ambiguous;
    }
    let mut left = best_rung(left.iter());
    if left.len() > 1 {
        left.retain(|one| one.awaits);
    }
    match left[..] {
        [one] => Choice::One(one),
        _ => Choice::Ambiguous,
    }
}

/// Whether a candidate is believed that no recipient speaks for.
fn is_trusted(one: &Candidate, know: &Knowledge) -> bool {
    let used = know.used.get(one.rung as usize).copied().unwrap_or(false);
    match (know.rule_of(one), know.rule) {
        (IdRule::Transform, _) => true,
        // Ids that differ in case only may be two messages', where the route never folded one.
        (IdRule::Same, None | Some(IdRule::Same)) => {
            one.rung == Rung::Exact || know.rule.is_none() || used
        }
        (rule, known) => Some(rule) == known,
    }
}

/// Whether a candidate is believed that the recipient speaks against.
fn is_certain(one: &Candidate, know: &Knowledge) -> bool {
    match know.rule {
        Some(rule) => rule == know.rule_of(one) && is_trusted(one, know),
        None => one.rung == Rung::Exact && !know.two_faced,
    }
}

/// Whether the config lets a rule be tried.
pub(crate) fn is_allowed(format: IdFormat, rule: IdRule) -> bool {
    match (format, rule) {
        (IdFormat::Auto, _) | (_, IdRule::Transform) => true,
        (IdFormat::Same, rule) => rule == IdRule::Same,
        (IdFormat::HexToDec, rule) => rule == IdRule::HexToDec,
        (IdFormat::DecToHex, rule) => rule == IdRule::DecToHex,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn know(rule: Option<IdRule>) -> Knowledge {
        Knowledge {
            format: IdFormat::Auto,
            rule,
            used: [false; Rung::COUNT],
            two_faced: true,
            telling: true,
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
}
