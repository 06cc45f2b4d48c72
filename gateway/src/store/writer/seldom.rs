//! Seldom: what a handset can make happen as often as it likes is logged once in a while.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::clock::UnixMs;

/// Between two lines about the same (chosen: an operator sees that it goes on; a metric counts them all).
const APART: Duration = Duration::from_secs(10);

/// When it was last logged, by what it is about: a few words of the code's own.
#[derive(Debug, Default)]
pub(super) struct Seldom(FxHashMap<&'static str, UnixMs>);

impl Seldom {
    /// Whether it may be logged now; then not again for a while.
    pub(super) fn may(&mut self, what: &'static str, now: UnixMs) -> bool {
        let due = |at: &UnixMs| now.since(*at) >= APART;
        let may = self.0.get(what).is_none_or(due);
        if may {
            self.0.insert(what, now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_logged_once_in_ten_seconds() {
        let mut seldom = Seldom::default();
        let at = |seldom: &mut Seldom, what, ms: u64| seldom.may(what, UnixMs(1_000_000 + ms));
        assert!(at(&mut seldom, "nobodys", 0));
        assert!(!at(&mut seldom, "nobodys", 9_999));
        assert!(at(&mut seldom, "shared", 9_999));
        assert!(at(&mut seldom, "nobodys", 10_000));
        assert!(!at(&mut seldom, "nobodys", 10_001));
    }
}
