//! Guard: whether what a service says of tokens can be believed. Pure.
//!
//! A wrong environment or a wrong key looks as if every device had gone (push.md R13): a customer who then
//! deletes tokens has lost all of them. So when too many of the last answers call their token bad, nothing
//! is told of tokens until that has passed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Slices of the window: what is forgotten goes a slice at a time.
const SLICES: u32 = 10;

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

/// The last answers of a route.
#[derive(Debug)]
pub struct Guard {
    rule: Rule,
    /// When a slice began, answers in it, and those of them that call their token bad. At most
    /// [`SLICES`] and one.
    slices: VecDeque<(Instant, u32, u32)>,
}

impl Guard {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            slices: VecDeque::new(),
        }
    }

    /// An answer came. Whether what it says of a token can be believed.
    pub fn saw(&mut self, now: Instant, bad: bool) -> bool {
        let slice = self.rule.window / SLICES;
        while let Some(first) = self.slices.front()
            && now.saturating_duration_since(first.0) > self.rule.window
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
        self.trusts()
    }

    /// Whether tokens are told of now.
    #[must_use]
    pub fn trusts(&self) -> bool {
        let sum = |of: fn(&(Instant, u32, u32)) -> u32| -> u64 {
            self.slices.iter().map(|slice| u64::from(of(slice))).sum()
        };
        let (all, bad) = (sum(|slice| slice.1), sum(|slice| slice.2));
        // Counts of answers fit a float's 53 bits.
        #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
        let ratio = bad as f64 / all.max(1) as f64;
        all < u64::from(self.rule.min_answers) || ratio <= self.rule.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_believed_until_too_many_are_bad_and_again_after_that() {
        let mut guard = Guard::new(Rule {
            ratio: 0.2,
            window: Duration::from_secs(100),
            min_answers: 10,
        });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..9 {
            assert!(guard.saw(at(second), true), "nine answers say nothing");
        }
        assert!(!guard.saw(at(9), true), "all of ten are bad");
        for second in 10..60 {
            guard.saw(at(second), false);
        }
        assert!(guard.trusts(), "ten of sixty are not too many");
        for second in 60..70 {
            guard.saw(at(second), true);
        }
        assert!(!guard.trusts());
        assert!(guard.saw(at(300), true), "that was long ago");
    }
}
