//! Reply: what a handset is answered by itself when it asks for something, and the guard that keeps
//! two machines from answering each other. Pure; the store's writer owns the only guard.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::rules::canonical;
use super::{Inbound, Intent};
use crate::clock::UnixMs;
use crate::message::{Phone, RouteIx, TenantIx};

/// How long a pair gets no second reply to the same wish, in milliseconds (smpp.md §5: one in ten
/// minutes).
pub const APART_MS: u64 = 600_000;
/// Replies of the last [`APART_MS`] that are remembered; beyond it none is made. Chosen: 80 a second,
/// more than a campaign's STOPs, in 2 MB.
pub const REMEMBERED_MAX: usize = 50_000;

/// Characters of a reply's text. Chosen: two segments of GSM-7, or a few of UCS-2.
pub const TEXT_CHARS_MAX: usize = 320;

/// A confirmation that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Whose number was written to.
    pub tenant: TenantIx,
    /// Who wrote.
    pub to: Phone,
    /// The number that was written to, as the config spells it.
    pub from: &'a str,
    /// The route it came on: its carrier has the number.
    pub route: RouteIx,
    /// What was asked for.
    pub intent: Intent,
    /// Now.
    pub now: UnixMs,
}

/// Which pairs had a reply to what, not long ago. Bounded by [`REMEMBERED_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Guard {
    until: FxHashMap<u64, UnixMs>,
    /// In the order they were made.
    order: VecDeque<(u64, UnixMs)>,
}

/// What the guard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A reply may be made.
    Free,
    /// The pair had one.
    Repeated,
    /// Nobody could remember it.
    Full,
}

impl Guard {
    /// Whether a reply to this message may be made now.
    #[must_use]
    pub fn judge(&self, inbound: &Inbound, intent: Intent, now: UnixMs) -> Verdict {
        let known = self.until.get(&key(inbound, intent));
        if known.is_some_and(|until| *until > now) {
            Verdict::Repeated
        } else if self.order.len() >= REMEMBERED_MAX {
            Verdict::Full
        } else {
            Verdict::Free
        }
    }

    /// Remembers a message's reply, if it has one.
    pub fn note(&mut self, inbound: &Inbound) {
        if let Some((intent, _)) = &inbound.keyword
            && inbound.auto_reply.is_some()
        {
            let until = UnixMs(inbound.received_at.0.saturating_add(APART_MS));
            self.insert(key(inbound, *intent), until);
        }
    }

    fn insert(&mut self, key: u64, until: UnixMs) {
        self.until.insert(key, until);
        self.order.push_back((key, until));
    }

    /// Forgets those whose time is over.
    pub fn forget(&mut self, now: UnixMs) {
        while let Some((key, until)) = self.order.front().copied().filter(|(_, at)| *at <= now) {
            self.order.pop_front();
            if self.until.get(&key) == Some(&until) {
                self.until.remove(&key);
            }
        }
    }

    /// What a snapshot holds: keys, and until when.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<(u64, UnixMs)> {
        self.order.iter().copied().collect()
    }

    /// From a snapshot.
    #[must_use]
    pub fn from_snapshot(replies: Vec<(u64, UnixMs)>) -> Self {
        let mut guard = Self::default();
        for (key, until) in replies {
            guard.insert(key, until);
        }
        guard
    }

    /// What it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // Each is in both, and a map has empty slots.
        self.order.len() * 3 * size_of::<(u64, UnixMs)>()
    }
}

/// A pair and a wish. All words for the same wish are one, so that a machine that varies them gets no
/// second reply either.
fn key(inbound: &Inbound, intent: Intent) -> u64 {
    let intent: u64 = match intent {
        Intent::OptOut => 0,
        Intent::OptIn => 1,
        Intent::Help => 2,
    };
    let from = xxh3_64_with_seed(canonical(&inbound.from).as_bytes(), intent);
    xxh3_64_with_seed(canonical(&inbound.to).as_bytes(), from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageId;

    fn stop(from: &str, at: u64) -> Inbound {
        Inbound {
            id: MessageId(1),
            tenant: TenantIx(0),
            endpoint: None,
            route: RouteIx(0),
            from: from.into(),
            to: "71234".into(),
            text: Some("STOP".into()),
            encoding: "gsm7".into(),
            concat: None,
            pieces: Vec::new(),
            keyword: Some((Intent::OptOut, "STOP".into())),
            own_keyword: None,
            received_at: UnixMs(at),
            auto_reply: Some(MessageId(2)),
            in_reply_to: None,
        }
    }

    #[test]
    fn a_pair_gets_one_reply_to_a_wish_in_ten_minutes_however_the_carrier_writes_its_numbers() {
        let mut guard = Guard::default();
        let first = stop("+46701234567", 1_000);
        guard.note(&first);
        let again = stop("46701234567", 1_000);
        let judge = |guard: &Guard, inbound, at| guard.judge(inbound, Intent::OptOut, UnixMs(at));
        assert_eq!(judge(&guard, &again, 600_999), Verdict::Repeated);
        assert_eq!(judge(&guard, &again, 601_000), Verdict::Free);
        let other = stop("+46701234568", 1_000);
        assert_eq!(judge(&guard, &other, 1_000), Verdict::Free);
        let help = guard.judge(&first, Intent::Help, UnixMs(1_000));
        assert_eq!(help, Verdict::Free, "another wish");
        let guard = Guard::from_snapshot(guard.to_snapshot());
        assert_eq!(judge(&guard, &first, 600_999), Verdict::Repeated);
    }

    #[test]
    fn a_full_guard_makes_no_reply_until_the_oldest_is_over() {
        let mut guard = Guard::default();
        for number in 0..REMEMBERED_MAX {
            let at = u64::try_from(number).unwrap();
            guard.note(&stop(&format!("+467{number:08}"), at));
        }
        let next = stop("+46801234567", 0);
        let judge = |guard: &Guard, at| guard.judge(&next, Intent::OptOut, UnixMs(at));
        assert_eq!(judge(&guard, 50_000), Verdict::Full);
        guard.forget(UnixMs(APART_MS));
        assert_eq!(judge(&guard, APART_MS), Verdict::Free);
        guard.forget(UnixMs(2 * APART_MS));
        assert!(guard.until.is_empty() && guard.order.is_empty());
    }
}
