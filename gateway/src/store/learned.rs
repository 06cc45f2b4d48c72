//! Learned: how a route's receipts name what its answers named, found out by watching.
//!
//! ```text
//!   learning ── 20 in a row by one rule ──► pinned ── 3 in a row by others ──► learning
//! ```
//! Under `id_format = "auto"` a pinned rule is believed where a recipient does not decide; what it
//! does not explain is still looked for by the others (see `matching.rs`), later.

use codecs::smpp::receipt::Rung;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::outcome::PartRule;
use crate::store::IdFormat;
use crate::store::matching::IdRule;

/// Receipts in a row that make a rule certain. smpp.md §4.4.
pub const AGREEING_TO_PIN: u8 = 20;
/// Receipts in a row that only another rule explains, and the pinned one is given up. Chosen: one or
/// two may be an old message's, or of a test.
pub const AGAINST_TO_UNPIN: u8 = 3;
/// Long messages in a row, each with a receipt of its first (or last) part alone when its time was over,
/// after which the operator is told. Chosen: as many as make a rule of ids; a carrier that loses one receipt
/// in two makes such a row once in 2^20 of them.
pub(crate) const LONE_TO_TELL: u8 = 20;
/// Hits between two records of the counts in the journal. Chosen: the counts are figures to look at,
/// and a crash may cost the last ones of them.
const HITS_PER_RECORD: u64 = 1_000;

/// What a route's receipts have taught. Its counts are since the route's first receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// The rule, and since when it is certain.
    pub pinned: Option<(IdRule, UnixMs)>,
    /// The rule of the last receipts, and how many of them in a row.
    pub running: Option<(IdRule, u8)>,
    /// Receipts in a row that the pinned rule does not explain.
    pub against: u8,
    /// How often a pinned rule was given up.
    pub unpinned: u32,
    /// Receipts by the rung that found their message.
    pub hits: [u64; Rung::COUNT],
    /// Receipts that the pinned rule did not explain, and another one did.
    pub missed: u64,
    /// The one part of the last long messages that receipts came for, and how many of them in a row.
    pub lone: Option<(PartRule, u8)>,
}

/// What a hit changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// Nothing that has to be written down.
    None,
    /// The counts, which have not been written down for a while.
    Counts,
    /// The rule is certain from now on.
    Pinned(IdRule),
    /// The rule is not certain any more.
    Unpinned(IdRule),
}

impl Learned {
    /// A receipt's message was found on `rung`. `telling`: its id reads differently in the other base,
    /// so that the rung says something about the carrier.
    pub(crate) fn hit(
        &mut self,
        rung: Rung,
        telling: bool,
        format: IdFormat,
        now: UnixMs,
    ) -> Lesson {
        if let Some(hits) = self.hits.get_mut(rung as usize) {
            *hits += 1;
        }
        let counts = match self.hits.iter().sum::<u64>() % HITS_PER_RECORD {
            0 => Lesson::Counts,
            _ => Lesson::None,
        };
        if format != IdFormat::Auto || !telling {
            return counts;
        }
        let rule = IdRule::of(rung);
        self.running = match self.running {
            Some((running, count)) if running == rule => Some((rule, count.saturating_add(1))),
            _ => Some((rule, 1)),
        };
        match self.pinned {
            Some((pinned, _)) if pinned == rule => {
                self.against = 0;
                counts
            }
            Some((pinned, _)) => {
                self.missed += 1;
                self.against = self.against.saturating_add(1);
                if self.against < AGAINST_TO_UNPIN {
                    return counts;
                }
                (self.pinned, self.against) = (None, 0);
                self.unpinned = self.unpinned.saturating_add(1);
                Lesson::Unpinned(pinned)
            }
            None if self
                .running
                .is_some_and(|(_, count)| count >= AGREEING_TO_PIN) =>
            {
                self.pinned = Some((rule, now));
                Lesson::Pinned(rule)
            }
            None => counts,
        }
    }

    /// A long message has got receipts of this part alone, in all its time; `All`: not so. `true`: that is
    /// new, and has to be written down.
    pub(crate) fn long_message(&mut self, lone: PartRule) -> bool {
        let was = self.lone;
        self.lone = match (lone, was) {
            (PartRule::All, _) => None,
            (_, Some((running, count))) if running == lone => {
                Some((lone, count.saturating_add(1).min(LONE_TO_TELL)))
            }
            _ => Some((lone, 1)),
        };
        self.lone != was
    }

    /// Which part receipts seem to come for alone.
    #[must_use]
    pub fn looks_like(&self) -> Option<PartRule> {
        let (lone, count) = self.lone?;
        (count >= LONE_TO_TELL).then_some(lone)
    }

    /// The rule to believe: the configured one, or the pinned one.
    pub(crate) fn rule(&self, format: IdFormat) -> Option<IdRule> {
        match format {
            IdFormat::Auto => self.pinned.map(|(rule, _)| rule),
            IdFormat::Same => Some(IdRule::Same),
            IdFormat::HexToDec => Some(IdRule::HexToDec),
            IdFormat::DecToHex => Some(IdRule::DecToHex),
        }
    }

    /// Rungs that may be believed without a recipient. Where the rule is configured, case and zeros
    /// never matter.
    pub(crate) fn used(&self, format: IdFormat) -> [bool; Rung::COUNT] {
        match format {
            IdFormat::Auto => self.hits.map(|hits| hits > 0),
            IdFormat::Same | IdFormat::HexToDec | IdFormat::DecToHex => [true; Rung::COUNT],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(learned: &mut Learned, rung: Rung, count: u8) -> Vec<Lesson> {
        (0..count)
            .map(|_| learned.hit(rung, true, IdFormat::Auto, UnixMs(7)))
            .filter(|lesson| *lesson != Lesson::None)
            .collect()
    }

    #[test]
    fn twenty_in_a_row_pin_and_three_against_unpin() {
        let mut learned = Learned::default();
        assert_eq!(hits(&mut learned, Rung::DecimalToHex, 19), []);
        assert_eq!(
            hits(&mut learned, Rung::Exact, 1),
            [],
            "another one breaks the row"
        );
        assert_eq!(hits(&mut learned, Rung::DecimalToHex, 19), []);
        let pinned = Lesson::Pinned(IdRule::HexToDec);
        assert_eq!(hits(&mut learned, Rung::DecimalToHex, 1), [pinned]);
        assert_eq!(learned.rule(IdFormat::Auto), Some(IdRule::HexToDec));
        assert_eq!(hits(&mut learned, Rung::Exact, 2), []);
        assert_eq!(
            hits(&mut learned, Rung::DecimalToHex, 1),
            [],
            "not in a row"
        );
        assert_eq!(hits(&mut learned, Rung::CaseFolded, 2), []);
        let unpinned = Lesson::Unpinned(IdRule::HexToDec);
        assert_eq!(hits(&mut learned, Rung::CaseFolded, 1), [unpinned]);
        assert_eq!((learned.rule(IdFormat::Auto), learned.missed), (None, 5));
        // The three that unpinned count for the rule that they agree on.
        assert_eq!(hits(&mut learned, Rung::ZerosStripped, 16), []);
        let pinned = Lesson::Pinned(IdRule::Same);
        assert_eq!(hits(&mut learned, Rung::Exact, 1), [pinned]);
    }

    #[test]
    fn twenty_long_messages_in_a_row_tell_which_part_receipts_come_for() {
        let mut learned = Learned::default();
        let mut end = |lone, times| {
            let new = (0..times).filter(|_| learned.long_message(lone)).count();
            (new, learned.looks_like())
        };
        assert_eq!(end(PartRule::First, 19), (19, None));
        assert_eq!(end(PartRule::All, 2), (1, None), "all parts have theirs");
        assert_eq!(end(PartRule::First, 19), (19, None));
        assert_eq!(end(PartRule::Last, 19), (19, None), "another part's");
        assert_eq!(end(PartRule::Last, 3), (1, Some(PartRule::Last)));
        assert_eq!(
            end(PartRule::All, 1),
            (1, None),
            "it does not hold any more"
        );
    }

    #[test]
    fn only_auto_learns_and_only_from_ids_that_tell() {
        let mut learned = Learned::default();
        for _ in 0..50 {
            learned.hit(Rung::Exact, false, IdFormat::Auto, UnixMs(7));
            learned.hit(Rung::Exact, true, IdFormat::Same, UnixMs(7));
        }
        assert_eq!((learned.pinned, learned.hits[0]), (None, 100));
        assert_eq!(learned.rule(IdFormat::DecToHex), Some(IdRule::DecToHex));
    }
}
