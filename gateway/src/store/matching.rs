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
//! Before a rule is known, an id that reads in the other base as one of about its own length may be that
//! of a message whose answer is still to come ([`Knowledge::doubtful`]). So the receipt is given to
//! nobody while such a message may be out: see `unnamed.rs`.
//!
//! Where a receipt's TLV names one id and its text another one, the TLV's has the word, and the text's
//! counts when nothing has the TLV's: only for a recipient that agrees, and at once only if it has one
//! reading.

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
    pub(crate) found: Found,
}

/// What a candidate was found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The receipt's id.
    Id,
    /// The text's id, which is not the TLV's.
    TextId,
    /// The number it went to: see `by_number.rs`.
    Number,
}

impl Candidate {
    fn by_text(&self) -> bool {
        self.found == Found::TextId
    }
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
    /// The text's id, where it is another one, may be read in both bases.
    pub(crate) text_two_faced: bool,
    /// No rule is known, and the id has a reading that its carrier may give out as well
    /// ([`has_near_reading`]).
    pub(crate) doubtful: bool,
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

    /// Whether the id may be another message's as well, which is not known yet.
    pub(crate) fn doubts(&self, one: &Candidate) -> bool {
        self.doubtful && one.rung != Rung::Transformed && !one.by_text()
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

/// How much longer or shorter an id in the other base may be, and still be one of the same carrier at the
/// same time: a counter may be about to get another digit. Chosen.
const NEAR_DIGITS: usize = 1;
/// Digits of the longest id that is looked at so. Chosen: of ten digits, the readings differ 68-fold, and
/// no counter grows so while a message waits for its receipt.
const NEAR_LENGTH_MAX: usize = 9;

/// Whether an id reads in the other base as one of about the same length.
pub(crate) fn has_near_reading(id: &[u8]) -> bool {
    let own = codecs::smpp::receipt::canonical_key(id).len();
    if own > NEAR_LENGTH_MAX {
        return false;
    }
    let other = |rung: Rung| matches!(rung, Rung::DecimalToHex | Rung::HexToDecimal);
    codecs::smpp::receipt::id_forms(id)
        .iter()
        .any(|form| other(form.rung) && form.key.len().abs_diff(own) <= NEAR_DIGITS)
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
    (receipt, by_text): (&Receipt, bool),
    ladder: &Ladder,
) -> Option<Candidate> {
    let (message, life) = record;
    let id = if by_text {
        &receipt.text_id
    } else {
        &receipt.provider_id
    };
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
                codecs::smpp::receipt::relate(provider_id, id, &ladder.transform)
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
        found: match by_text {
            true => Found::TextId,
            false => Found::Id,
        },
    })
}

/// The same, of a record as read from the archive.
pub(crate) fn candidate_of(
    record: &Record,
    part: u8,
    receipt: (&Receipt, bool),
    ladder: &Ladder,
) -> Option<Candidate> {
    candidate((&record.message, &record.life), part, receipt, ladder)
}

/// The ids of a receipt, and whether it is the text's that is not the TLV's.
pub(crate) fn ids(receipt: &Receipt) -> impl Iterator<Item = (&[u8], bool)> {
    let text = Some((&*receipt.text_id, true)).filter(|(id, _)| !id.is_empty());
    std::iter::once((&*receipt.provider_id, false)).chain(text)
}

/// Adds a candidate, unless its part is there already: the TLV's id comes first.
pub(crate) fn add(candidates: &mut Candidates, one: Candidate) {
    let known = |known: &Candidate| known.id == one.id && known.part == one.part;
    if !candidates.iter().any(known) {
        candidates.push(one);
    }
}

/// Whose the receipt is. See the module's words.
pub(crate) fn choose(candidates: &[Candidate], know: &Knowledge) -> Choice {
    match by_id(candidates, know) {
        Choice::Nothing => by_other_id(candidates, know),
        choice => choice,
    }
}

/// Whose it is by the text's id, where the TLV's gives it to nobody.
fn by_other_id(candidates: &[Candidate], know: &Knowledge) -> Choice {
    let agreeing = candidates
        .iter()
        .filter(|one| one.agrees == Agreement::Yes)
        .copied();
    let (found, by_tlv): (Candidates, Candidates) = agreeing.partition(|one| one.by_text());
    // One that the TLV's id may mean after all, by a rule that is not the route's, waits for its time.
    if !by_tlv.is_empty() || know.text_two_faced && !know.last {
        return Choice::Nothing;
    }
    let found: Candidates = of(&found, |one| {
        let rule = IdRule::of(one.rung);
        rule == IdRule::Same || Some(rule) == know.rule
    });
    match best_rung(found.iter())[..] {
        [one] => Choice::One(one),
        [] => Choice::Nothing,
        _ => Choice::Ambiguous,
    }
}

fn by_id(candidates: &[Candidate], know: &Knowledge) -> Choice {
    let ruled = |one: &Candidate| Some(know.rule_of(one)) == know.rule;
    let allowed = |one: &&Candidate| {
        let rule = know.rule_of(one);
        let waits = know.rule.is_some() && !know.last && rule != IdRule::Transform;
        !one.by_text() && is_allowed(know.format, rule) && (ruled(one) || !waits)
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
mod tests;
