//! Full: which destinations the peer has no room for, and which of its refusals are the route's.
//! Pure; time is an argument.
//!
//! A peer that has no room may mean all of the route or one destination
//! ([`Retry::Full`](crate::outcome::Retry::Full)). The first time slows the route down. A destination that
//! gets it again waits, so that it does not stand before all others; and unless the peer has taken others
//! since, the route is slowed down again as well.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::message::steps::Destination;

/// Destinations remembered; beyond it a refusal is taken for the route's, which slows it down. Chosen:
/// a queue of phones that are switched off, at a size that costs about a megabyte.
pub const KNOWN_MAX: usize = 10_000;
/// A destination that was not refused for so long is forgotten. Chosen: three of the longest pauses.
const FORGET: Duration = Duration::from_secs(15 * 60);
/// The longest pause of a destination, minutes. smpp.md §3.4: 1 to 5 min.
const MINUTES_MAX: u8 = 5;

/// Whose a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The whole route is to slow down.
    Route,
    /// Only this destination waits.
    Destination {
        /// For so long.
        minutes: u8,
    },
    /// The destination waits, and the route is to slow down.
    Both {
        /// For so long, the destination.
        minutes: u8,
    },
}

/// The destinations that were refused.
#[derive(Clone, Debug, Default)]
pub struct Full {
    known: FxHashMap<Destination, Known>,
    /// What the peer has taken, of any destination, while some were known.
    taken: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    at: Instant,
    /// Until when it waits; before, it was only refused once.
    until: Option<Instant>,
    minutes: u8,
    /// What the peer had taken by then.
    taken: u64,
}

impl Full {
    /// The peer has no room for what was sent at `sent`.
    pub fn refused(&mut self, now: Instant, sent: Instant, to: Destination) -> Whose {
        let taken = self.taken;
        if let Some(known) = self.known.get_mut(&to) {
            if sent < known.at {
                // Parts of one message: one refusal.
                return known.until.map_or(Whose::Route, |_| Whose::Destination {
                    minutes: known.minutes,
                });
            }
            let others_go = taken > known.taken;
            (known.at, known.taken) = (now, taken);
            known.minutes = match known.minutes {
                0 => 1,
                minutes => minutes.saturating_mul(2).min(MINUTES_MAX),
            };
            let minutes = known.minutes;
            known.until = Some(now + Duration::from_secs(60) * u32::from(minutes));
            return match others_go {
                true => Whose::Destination { minutes },
                false => Whose::Both { minutes },
            };
        }
        if self.known.len() < KNOWN_MAX {
            let first = Known {
                at: now,
                until: None,
                minutes: 0,
                taken,
            };
            self.known.insert(to, first);
        }
        Whose::Route
    }

    /// The peer took one. Where nothing has been full, nothing is looked at.
    pub fn accepted(&mut self, to: Destination) {
        if !self.known.is_empty() {
            self.taken += 1;
            self.known.remove(&to);
        }
    }

    /// Forgets what was long ago.
    pub fn step(&mut self, now: Instant) {
        self.known
            .retain(|_, known| now.saturating_duration_since(known.at) < FORGET);
    }

    /// Destinations that wait now. Looks at each: at most [`KNOWN_MAX`].
    #[must_use]
    pub fn waiting(&self, now: Instant) -> usize {
        let waits = |known: &&Known| known.until.is_some_and(|until| now < until);
        self.known.values().filter(waits).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Phone;

    const MINUTE: Duration = Duration::from_secs(60);

    fn to(number: usize) -> Destination {
        Destination::of(Phone::parse(&format!("+4670{number:07}")).unwrap())
    }

    #[test]
    fn a_destination_that_is_refused_again_while_others_go_waits_one_to_five_minutes() {
        let mut full = Full::default();
        let (gone, fine) = (to(1), to(2));
        let mut now = Instant::now();
        assert_eq!(full.refused(now, now, gone), Whose::Route);
        assert_eq!(full.waiting(now), 0);
        for minutes in [1, 2, 4, 5, 5] {
            full.accepted(fine);
            now += MINUTE;
            assert_eq!(
                full.refused(now, now, gone),
                Whose::Destination { minutes },
                "{minutes}"
            );
            assert_eq!(full.waiting(now), 1);
        }
        // The other parts of the same message, sent before that.
        let earlier = now - Duration::from_millis(1);
        assert_eq!(
            full.refused(now, earlier, gone),
            Whose::Destination { minutes: 5 }
        );
        assert_eq!(full.waiting(now + 5 * MINUTE), 0);
        full.accepted(gone);
        assert_eq!(full.refused(now, now, gone), Whose::Route, "from the start");
    }

    #[test]
    fn a_peer_that_takes_nothing_is_full_itself() {
        let mut full = Full::default();
        let mut now = Instant::now();
        assert_eq!(full.refused(now, now, to(1)), Whose::Route);
        for minutes in [1, 2, 4, 5, 5] {
            now += MINUTE;
            let both = Whose::Both { minutes };
            assert_eq!(full.refused(now, now, to(1)), both);
        }
    }

    #[test]
    fn no_more_is_remembered_than_its_bound_and_nothing_for_ever() {
        let mut full = Full::default();
        let start = Instant::now();
        for number in 0..KNOWN_MAX + 10 {
            full.refused(start, start, to(number));
            full.accepted(to(9_999_999));
        }
        assert_eq!(full.known.len(), KNOWN_MAX);
        let later = start + MINUTE;
        let beyond = full.refused(later, later, to(KNOWN_MAX + 1));
        assert_eq!(beyond, Whose::Route, "there is no room to remember it");
        let known = full.refused(later, later, to(1));
        assert_eq!(known, Whose::Destination { minutes: 1 });
        full.step(start + FORGET);
        assert_eq!(full.known.len(), 1);
        full.step(later + FORGET);
        assert_eq!(full.known.len(), 0);
    }
}
