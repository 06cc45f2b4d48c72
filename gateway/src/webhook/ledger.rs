//! The ledger: which deliveries are out, and how far the cursor may go.
//!
//! Several deliveries are out at a time and end in any order. The cursor goes only over what has
//! ended without a hole: over deliveries that were taken, or handed to the retry set.

use std::collections::VecDeque;

/// Deliveries in the order in which they were formed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    cursor: u64,
    out: VecDeque<Out>,
}

#[derive(Debug)]
struct Out {
    first: u64,
    settled: bool,
}

impl Ledger {
    /// Begins at a remembered cursor.
    #[must_use]
    pub(super) fn at(cursor: u64) -> Self {
        Self {
            cursor,
            out: VecDeque::new(),
        }
    }

    /// A delivery whose first event is `first` goes out. Deliveries are formed in event order.
    pub(super) fn begin(&mut self, first: u64) {
        debug_assert!(self.out.back().is_none_or(|last| last.first < first));
        self.out.push_back(Out {
            first,
            settled: false,
        });
    }

    /// The delivery that starts with `first` needs no more place here.
    pub(super) fn settle(&mut self, first: u64) {
        if let Ok(index) = self.out.binary_search_by_key(&first, |out| out.first) {
            self.out[index].settled = true;
        }
        while self.out.front().is_some_and(|out| out.settled) {
            self.out.pop_front();
        }
    }

    /// How many deliveries are out or wait for an earlier one.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// The cursor: everything up to it has been settled. `passed` says how far events have been
    /// formed into deliveries or passed over as not wanted.
    pub(super) fn cursor(&mut self, passed: u64) -> u64 {
        let reached = self.out.front().map_or(passed, |out| out.first - 1);
        self.cursor = self.cursor.max(reached);
        self.cursor
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_cursor_stops_before_the_first_delivery_that_is_still_out() {
        let mut ledger = Ledger::at(10);
        ledger.begin(12);
        ledger.begin(20);
        ledger.begin(30);
        assert_eq!(ledger.cursor(40), 11);
        ledger.settle(20);
        assert_eq!(ledger.cursor(40), 11);
        ledger.settle(12);
        assert_eq!(ledger.cursor(40), 29);
        ledger.settle(30);
        assert_eq!(ledger.cursor(40), 40);
        ledger.settle(99);
        assert_eq!(ledger.cursor(39), 40, "it never goes back");
    }

    proptest! {
        /// Whatever the order of the ends: no unsettled event is at or below the cursor, and when
        /// all have ended the cursor has reached the end.
        #[test]
        fn nothing_unsettled_is_ever_passed(
            sizes in proptest::collection::vec(1u64..50, 1..40),
            keys in proptest::collection::vec(any::<u32>(), 40),
        ) {
            let mut ledger = Ledger::at(0);
            let mut firsts = Vec::new();
            let mut next = 1;
            for size in &sizes {
                firsts.push(next);
                ledger.begin(next);
                next += size;
            }
            let mut order: Vec<usize> = (0..firsts.len()).collect();
            order.sort_by_key(|i| keys[*i]);
            let mut left: std::collections::BTreeSet<u64> = firsts.iter().copied().collect();
            for i in order {
                ledger.settle(firsts[i]);
                left.remove(&firsts[i]);
                let cursor = ledger.cursor(next - 1);
                let expected = left.first().map_or(next - 1, |first| first - 1);
                prop_assert_eq!(cursor, expected);
            }
        }
    }
}
