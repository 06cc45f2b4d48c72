//! Links: how a dispatcher and a route's connections talk. Attempts in, answers out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::clock::UnixMs;
use crate::outcome::{Answer, Attempt};

/// A connection's number within its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LinkIx(pub u16);

/// A dispatcher's end of one link. The link answers every attempt it is handed exactly once, also
/// when it dies: what it may have written is then unknown, what it certainly has not is not sent.
#[derive(Debug)]
pub struct LinkHandle {
    /// Which one.
    pub link: LinkIx,
    /// Attempts for it: never more out than the window it came up with, so sending never waits.
    pub attempts: mpsc::Sender<Vec<Attempt>>,
}

/// What a link that is up carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Attempts out, receipts in.
    Both,
    /// Attempts only.
    Attempts,
    /// Receipts only: it comes up with a window of 0.
    Receipts,
}

impl Carries {
    /// Whether attempts can go over it.
    #[must_use]
    pub fn attempts(self) -> bool {
        self != Self::Receipts
    }

    /// Whether receipts can come over it.
    #[must_use]
    pub fn receipts(self) -> bool {
        self != Self::Attempts
    }
}

/// What a link that is down does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It tries again then.
    Again(UnixMs),
    /// The peer takes no more of its kind: it tries again then, much later.
    TooMany(UnixMs),
    /// Nothing, until somebody has looked and the gateway is started again.
    Stopped,
}

/// How a link that is up shows that its peer is there: written by the link at each turn, read by
/// whoever asks.
#[derive(Debug, Default)]
pub struct Pulse {
    /// UTC milliseconds.
    heard_at: AtomicU64,
    /// Microseconds and one; 0 is none.
    round_trip: AtomicU64,
    misses: AtomicU64,
}

/// A [`Pulse`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// When the peer was heard last: any octet counts.
    pub heard_at: UnixMs,
    /// How long its answer to our last answered question took; `None`: none has been answered yet.
    pub round_trip: Option<Duration>,
    /// Questions whether it is there since it was heard last.
    pub misses: u32,
}

impl Pulse {
    /// Shows it.
    pub fn set(&self, beat: Beat) {
        let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX - 1) + 1;
        let round_trip = beat.round_trip.map_or(0, micros);
        // Each is shown by itself: they need not be of the same turn.
        self.heard_at.store(beat.heard_at.0, Ordering::Relaxed);
        self.round_trip.store(round_trip, Ordering::Relaxed);
        self.misses.store(beat.misses.into(), Ordering::Relaxed);
    }

    /// What is shown; `None` before the first [`Self::set`].
    #[must_use]
    pub fn beat(&self) -> Option<Beat> {
        let heard_at = UnixMs(self.heard_at.load(Ordering::Relaxed)).known()?;
        let round_trip = self.round_trip.load(Ordering::Relaxed).checked_sub(1);
        let misses = self.misses.load(Ordering::Relaxed);
        Some(Beat {
            heard_at,
            round_trip: round_trip.map(Duration::from_micros),
            misses: u32::try_from(misses).unwrap_or(u32::MAX),
        })
    }
}

/// Why a peer refuses whatever comes of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    /// Its quota has nothing left.
    Quota,
    /// The service is too busy.
    Busy,
}

/// What a link tells its dispatcher.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is up and takes up to `window` unanswered attempts.
    Up {
        /// Which one.
        link: LinkIx,
        /// Unanswered attempts it takes.
        window: usize,
        /// The peer's address, for whoever asks.
        peer: String,
        /// Which way.
        carries: Carries,
        /// How it shows that the peer is there.
        pulse: Arc<Pulse>,
    },
    /// It is not up any more (or could not be). Every attempt has been answered before this.
    Down {
        /// Which one.
        link: LinkIx,
        /// Why, in words.
        why: String,
        /// What follows.
        then: Then,
    },
    /// It takes another number of unanswered attempts from now on. What is out already stays out.
    Window {
        /// Which one.
        link: LinkIx,
        /// Unanswered attempts it takes.
        window: usize,
        /// What made the peer end a connection of it, where one did since it was last told.
        goaway: Option<String>,
    },
    /// It is not needed as the account stands now, and is not up.
    Unused {
        /// Which one.
        link: LinkIx,
    },
    /// It waits for the peer to connect, and is not up.
    Listening {
        /// Which one.
        link: LinkIx,
    },
    /// The peer refuses whatever comes of the whole account, on any link, until then.
    Refusing {
        /// When it may be asked again.
        until: Instant,
        /// What it says.
        why: Refuses,
    },
    /// It does so no longer, before that time: it took something, or somebody has put it right.
    TakesAgain,
    /// Answers, in the order they came.
    Answers {
        /// Which one.
        link: LinkIx,
        /// The answers.
        answers: Vec<Answer>,
        /// How full the peer said it is in the last of them that told, 0 to 100 (SMPP v5.0
        /// congestion_state).
        congestion: Option<u8>,
    },
    /// What the peer said after all about attempts that were answered as unknown: their ids may
    /// still be receipted. Not a second answer: nothing is freed or decided by it.
    Late {
        /// Which one.
        link: LinkIx,
        /// What it said.
        answers: Vec<Answer>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_shows_what_was_set_last_and_nothing_before() {
        let pulse = Pulse::default();
        assert_eq!(pulse.beat(), None);
        for round_trip in [
            None,
            Some(Duration::ZERO),
            Some(Duration::from_micros(1_500)),
        ] {
            let beat = Beat {
                heard_at: UnixMs(7),
                round_trip,
                misses: 2,
            };
            pulse.set(beat);
            assert_eq!(pulse.beat(), Some(beat));
        }
        let longest = Some(Duration::MAX);
        let heard_at = UnixMs(7);
        pulse.set(Beat {
            heard_at,
            round_trip: longest,
            misses: 0,
        });
        assert!(
            pulse
                .beat()
                .is_some_and(|beat| beat.round_trip > Some(Duration::from_secs(1)))
        );
    }
}
