//! Guard: whether what a service says of tokens can be believed. Pure.
//!
//! A wrong environment or a wrong key looks as if every device had gone (push.md R13): a customer who then
//! deletes tokens has lost all of them. So when too many of the last answers call their token bad, nothing
//! is told of tokens until that has passed.
//!
//! It is judged by tenant and app: one customer's old list holds back no other's news, and one app of many
//! that is set up wrong is not hidden by the others' good answers.

use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHasher};

use crate::message::TenantIx;

/// Slices of the window: what is forgotten goes a slice at a time.
const SLICES: u32 = 10;

/// Tenants' apps that are judged apart on one route; what comes beyond is judged together. Chosen: some 300
/// octets each, and far above what a route serves at a time.
const JUDGED_MAX: usize = 1_024;

/// How it judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Answers that call their token bad, of all answers: above this they are not believed.
    pub ratio: f64,
    /// Over this time.
    pub window: Duration,
    /// Fewer answers than this say nothing.
    pub min_answers: u32,
}

/// The last answers of a route, by tenant and app.
#[derive(Debug)]
pub struct Guards {
    rule: Rule,
    /// By [`whose`]; at most [`JUDGED_MAX`].
    judged: FxHashMap<u64, Guard>,
    /// All others.
    rest: Guard,
}

impl Guards {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            judged: FxHashMap::default(),
            rest: Guard::default(),
        }
    }

    /// An answer came for a device of `whose`. Whether what it says of the token can be believed.
    pub(super) fn saw(&mut self, now: Instant, whose: u64, bad: bool) -> bool {
        if self.judged.len() >= JUDGED_MAX && !self.judged.contains_key(&whose) {
            let window = self.rule.window;
            self.judged.retain(|_, guard| !guard.is_over(now, window));
        }
        let guard = if self.judged.len() < JUDGED_MAX {
            self.judged.entry(whose).or_default()
        } else {
            self.judged.get_mut(&whose).unwrap_or(&mut self.rest)
        };
        guard.saw(&self.rule, now, bad)
    }
}

/// Whose answers are judged together, as a number: where two have the same one, they are.
pub(super) fn whose(tenant: TenantIx, app: &str) -> u64 {
    let mut hasher = FxHasher::default();
    (tenant, app).hash(&mut hasher);
    hasher.finish()
}

/// The last answers of one tenant's app.
#[derive(Debug, Default)]
struct Guard {
    /// When a slice began, answers in it, and those of them that call their token bad. At most
    /// [`SLICES`] and one.
    slices: VecDeque<(Instant, u32, u32)>,
}

impl Guard {
    /// Whether nothing came for the whole window.
    fn is_over(&self, now: Instant, window: Duration) -> bool {
        let last = self.slices.back();
        last.is_none_or(|last| now.saturating_duration_since(last.0) > window)
    }

    /// An answer came. Whether what it says of a token can be believed.
    fn saw(&mut self, rule: &Rule, now: Instant, bad: bool) -> bool {
        let slice = rule.window / SLICES;
        while let Some(first) = self.slices.front()
            && now.saturating_duration_since(first.0) > rule.window
        {
            self.slices.pop_front();
        }
        match self.slices.back_mut() {
            Some(last) if now.saturating_duration_since(last.0) < slice => {
                last.1 = last.1.saturating_add(1);
                last.2 = last.2.saturating_add(u32::from(bad));
            }
            _ => self.slices.push_back((now, 1, u32::from(bad))),
        }
        self.trusts(rule)
    }

    /// Whether tokens are told of now.
    fn trusts(&self, rule: &Rule) -> bool {
        let sum = |of: fn(&(Instant, u32, u32)) -> u32| -> u64 {
            self.slices.iter().map(|slice| u64::from(of(slice))).sum()
        };
        let (all, bad) = (sum(|slice| slice.1), sum(|slice| slice.2));
        // Counts of answers fit a float's 53 bits.
        #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
        let ratio = bad as f64 / all.max(1) as f64;
        all < u64::from(rule.min_answers) || ratio <= rule.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        ratio: 0.2,
        window: Duration::from_secs(100),
        min_answers: 10,
    };

    #[test]
    fn tokens_are_believed_until_too_many_are_bad_and_again_after_that() {
        let mut guard = Guards::new(RULE);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..9 {
            assert!(guard.saw(at(second), 1, true), "nine answers say nothing");
        }
        assert!(!guard.saw(at(9), 1, true), "all of ten are bad");
        let well: Vec<bool> = (10..60).map(|s| guard.saw(at(s), 1, false)).collect();
        assert!(well[49], "ten of sixty are not too many");
        let bad: Vec<bool> = (60..70).map(|s| guard.saw(at(s), 1, true)).collect();
        assert!(!bad[9]);
        assert!(guard.saw(at(300), 1, true), "that was long ago");
    }

    #[test]
    fn one_tenants_bad_tokens_hold_back_nobody_elses_news_and_hide_behind_no_others() {
        let mut guard = Guards::new(RULE);
        let now = Instant::now();
        let (bad, well) = (whose(TenantIx(1), "shop"), whose(TenantIx(2), "shop"));
        let other_app = whose(TenantIx(1), "courier");
        for _ in 0..1_000 {
            assert!(guard.saw(now, well, false));
        }
        let believed: Vec<bool> = (0..20).map(|_| guard.saw(now, bad, true)).collect();
        assert!(!believed[19], "all of its own are bad");
        assert!(guard.saw(now, well, true));
        assert!(guard.saw(now, other_app, true));
    }

    #[test]
    fn judges_a_bounded_number_apart_and_forgets_those_that_are_silent() {
        let mut guard = Guards::new(RULE);
        let now = Instant::now();
        for number in 0..10_000 {
            guard.saw(now, whose(TenantIx(number), "shop"), true);
        }
        assert_eq!(guard.judged.len(), JUDGED_MAX);
        assert!(!guard.saw(now, whose(TenantIx(10_001), "shop"), true));
        let later = now + 2 * RULE.window;
        assert!(guard.saw(later, whose(TenantIx(10_001), "shop"), true));
        assert_eq!(guard.judged.len(), 1);
    }
}
